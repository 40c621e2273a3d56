"""What may be said when on a socket for syncs, and what it means. Pure.

A client names itself, asks once, and acknowledges each answer by its token; the acknowledgement is the next request.
Nothing is told beyond one answer that was not acknowledged.
spec: docs/clients/sync-socket.md. Read next: session.py.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

import orjson
from msgspec import Struct

from tripoint.core.canonical_json import Json

# After so long without news an answer without news is told. Of what follows the first answer no less than the second:
# a client that names no time would have its empty answers as fast as it acknowledges.
DEFAULT_TIMEOUT_MS: Final = 30_000
LEAST_TIMEOUT_MS: Final = 5_000
_SYNC_PARAMETERS: Final = ("since", "filter", "full_state", "set_presence", "timeout", "use_state_after")


class Close(IntEnum):
    """Codes of close frames. spec: RFC6455 7.4; from 4000 on they are this protocol's own"""

    GOING_AWAY = 1001
    NO_BYTES = 1003
    BUG = 1011
    BAD_MESSAGE = 4400
    UNAUTHORISED = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


class Phase(Enum):
    """Where the talk is."""

    NAMELESS = "nameless"  # nobody has logged in
    READY = "ready"  # nothing is asked
    ASKING = "asking"  # an answer is waited for
    TOLD = "told"  # an answer was given and not acknowledged


class Kind(Enum):
    """What is asked for, by its word."""

    SYNC = "sync"
    SLIDING_SYNC = "sliding_sync"


class Ask(Struct, frozen=True):
    """A request: query parameters of GET /v3/sync, or the body of POST /v4/sync."""

    kind: Kind
    parameters: Mapping[str, Json]

    def after(self, token: str) -> "Ask":
        """The same, from the answer with this token on."""
        timeout = self.parameters["timeout"]
        assert isinstance(timeout, int)
        kept = {name: value for name, value in self.parameters.items() if name != "full_state"}
        name = "since" if self.kind is Kind.SYNC else "pos"
        return Ask(self.kind, {**kept, "timeout": max(timeout, LEAST_TIMEOUT_MS), name: token})


class LogIn(Struct, frozen=True):
    """A client says by which token it is let in from now on."""

    access_token: str


class BadMessage(Exception):
    """The talk ends: a client said what has no meaning, or not now. `str()` says so to it, in 123 bytes at most."""


class Dialogue:
    """One side's view of it; the other end is the client."""

    def __init__(self, *, named: bool) -> None:
        self.phase = Phase.READY if named else Phase.NAMELESS
        self._ask: Ask | None = None
        self._token = ""

    def receive(self, message: bytes) -> Ask | LogIn:
        """What a message wants. BadMessage."""
        try:
            value = orjson.loads(message)
        except orjson.JSONDecodeError:
            raise BadMessage("A message is JSON") from None
        if not isinstance(value, dict) or len(value) != 1:
            raise BadMessage("A message is an object with one key")
        ((word, content),) = value.items()
        if word == "access_token":
            if not isinstance(content, str) or not content:
                raise BadMessage("access_token is a string")
            return LogIn(content)
        if self.phase is Phase.NAMELESS:
            raise BadMessage("The first message is access_token")
        if word == "ack":
            return self._acknowledged(content)
        if word not in (Kind.SYNC.value, Kind.SLIDING_SYNC.value):
            raise BadMessage("A message is access_token, sync, sliding_sync or ack")
        if not isinstance(content, dict):
            raise BadMessage(f"{word} is an object")
        return self._asked(_ask(Kind(word), content))

    def _acknowledged(self, token: Json) -> Ask:
        if self.phase is not Phase.TOLD or self._ask is None:
            raise BadMessage("There is no answer to acknowledge")
        if token != self._token:
            raise BadMessage("ack is the token of the answer before it")
        return self._asked(self._ask.after(self._token))

    def _asked(self, ask: Ask) -> Ask:
        self._ask = ask
        self.phase = Phase.ASKING
        return ask

    def named(self) -> None:
        """The client's token was good."""
        if self.phase is Phase.NAMELESS:
            self.phase = Phase.READY

    def told(self, body: bytes) -> bytes:
        """The message with an answer, whose body begins with its token."""
        assert self._ask is not None, "who is answered has asked"
        begin = body.index(b':"') + 2
        self._token = body[begin : body.index(b'"', begin)].decode()
        self.phase = Phase.TOLD
        return b'{"%s":%s}' % (self._ask.kind.value.encode(), body)

    def refused(self, status: int, body: bytes) -> bytes:
        """The message with an error, instead of an answer; the client asks anew, or corrects itself."""
        self.phase = Phase.NAMELESS if self.phase is Phase.NAMELESS else Phase.READY
        return b'{"error":{"status":%d,%s}' % (status, body[1:])


def _ask(kind: Kind, content: dict[str, Json]) -> Ask:
    timeout = content.get("timeout", DEFAULT_TIMEOUT_MS)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or not 0 <= timeout < 10**9:
        raise BadMessage("timeout is a whole number of milliseconds")
    if kind is Kind.SLIDING_SYNC:
        return Ask(kind, {**content, "timeout": timeout})
    found: dict[str, Json] = {}
    for name in _SYNC_PARAMETERS:
        value = content.get(name)
        if value is None:
            continue
        if name in ("full_state", "use_state_after"):
            if not isinstance(value, bool):
                raise BadMessage(f"{name} is true or false")
        elif name == "filter":
            if not isinstance(value, str | dict):
                raise BadMessage("filter is the id of a filter, or a filter")
        elif name != "timeout" and not isinstance(value, str):
            raise BadMessage(f"{name} is a string")
        found[name] = value
    return Ask(kind, {**found, "timeout": timeout})
