"""A stream that a component opened to us, as a pure state machine: header, handshake, stanzas from its domain.

What is wrong with a stanza's addresses ends the stream, as between servers: the component is broken, and its operator
is told by the error.
spec: XEP-0114 3; RFC6120 4.9.1.2 (errors about the header come after one of ours), 8.1.1.2, 8.1.2.2.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from tripoint.xmpp.hearing import Hearing
from tripoint.xmpp.jid import InvalidJid, domain_in, prepare_domain
from tripoint.xmpp.s2s.actions import Close, Send, Stanza, as_client, stream_error
from tripoint.xmpp.tables import COMPONENT_NS
from tripoint.xmpp.wire import (
    MAX_STANZA_BYTES_UNAUTHENTICATED,
    STREAMS_NS,
    Element,
    StreamError,
    StreamOpened,
    escape_attribute,
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The handshake was right: the component `name` is here."""

    name: str


Action = Send | Close | Accepted | Stanza


class State(Enum):
    """Where the negotiation is."""

    AWAIT_HEADER = "await header"
    HANDSHAKE = "await handshake"
    OPEN = "open"
    CLOSED = "closed"


class ComponentStream:
    """Methods return what to do now; none does I/O. `secrets`: of every component, by its prepared domain; `new_id`
    gives stream ids that nobody guesses."""

    def __init__(self, secrets: Mapping[str, str], new_id: Callable[[], str], stanza_bytes: int) -> None:
        self.state = State.AWAIT_HEADER
        self.name = ""  # once it has named itself; nothing is proved by it
        self._secrets = secrets
        self._id = new_id()
        self._stanza_bytes = stanza_bytes
        self._hearing: Hearing[Action] = Hearing(MAX_STANZA_BYTES_UNAUTHENTICATED)

    def receive(self, data: bytes) -> list[Action]:
        """What these bytes lead to."""
        return self._hearing.receive(data, self)

    def fail(self, condition: str, text: str) -> list[Action]:
        """End the stream with an error. spec: RFC6120 4.9.1"""
        if self.state is State.CLOSED:
            return []
        header = [Send(self._header())] if self.state is State.AWAIT_HEADER else []
        self._close()
        return [*header, Send(stream_error(condition, text)), Close()]

    def close(self) -> list[Action]:
        """End the stream in peace."""
        if self.state is State.CLOSED:
            return []
        self._close()
        return [Send(b"</stream:stream>"), Close()]

    # -- what the component sends

    def header(self, header: StreamOpened, actions: list[Action]) -> None:
        if header.default_ns != COMPONENT_NS:
            raise StreamError("invalid-namespace", "This port is for components: jabber:component:accept")
        try:
            name = prepare_domain(header.to or "")
        except InvalidJid:
            name = ""
        if name not in self._secrets:
            raise StreamError("host-unknown", f"No component {(header.to or '')[:200]} is configured here")
        self.name = name
        self.state = State.HANDSHAKE
        actions.append(Send(self._header()))

    def element(self, element: Element, actions: list[Action]) -> None:
        if (element.namespace, element.name) == (STREAMS_NS, "error"):
            actions += self.close()
        elif self.state is State.HANDSHAKE:
            self._handshake(element, actions)
        elif element.namespace == COMPONENT_NS and element.name in ("message", "presence", "iq"):
            actions.append(self._stanza(element))
        else:
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")

    def ended(self, actions: list[Action]) -> None:
        actions += self.close()

    def broke(self, error: StreamError, actions: list[Action]) -> None:
        actions += self.fail(error.condition, error.text)

    def _handshake(self, element: Element, actions: list[Action]) -> None:
        if (element.namespace, element.name) != (COMPONENT_NS, "handshake"):
            raise StreamError("not-authorized", "A handshake comes first")
        given = element.text.strip().encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, handshake(self._id, self._secrets[self.name]).encode()):
            raise StreamError("not-authorized", "The handshake is wrong: is the secret the same on both sides?")
        self.state = State.OPEN
        self._hearing.limit(self._stanza_bytes)
        actions += [Send(b"<handshake/>"), Accepted(self.name)]

    def _stanza(self, element: Element) -> Stanza:
        from_, to = element.get("from"), element.get("to")
        if not from_ or not to:
            raise StreamError("improper-addressing", "Every stanza of a component has a 'from' and a 'to'")
        try:
            sender, _ = domain_in(from_), domain_in(to)
        except InvalidJid:
            raise StreamError("improper-addressing", "The 'from' or 'to' of a stanza is no address") from None
        if sender != self.name:
            raise StreamError("invalid-from", f"This component is {self.name}, and nobody else")
        return Stanza(as_client(element, COMPONENT_NS))

    def _header(self) -> bytes:
        named = f" from='{escape_attribute(self.name)}'" if self.name else ""
        return (
            f"<?xml version='1.0'?><stream:stream xmlns='{COMPONENT_NS}' xmlns:stream='{STREAMS_NS}'{named} "
            f"id='{escape_attribute(self._id)}'>"
        ).encode()

    def _close(self) -> None:
        self.state = State.CLOSED
        self._hearing.stop()


def handshake(stream_id: str, secret: str) -> str:
    """What a component that knows the secret says. spec: XEP-0114 3, steps 1 to 4"""
    return hashlib.sha1((stream_id + secret).encode()).hexdigest()
