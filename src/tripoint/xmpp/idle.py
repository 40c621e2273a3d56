"""What can wait while nobody looks at a client: presence, chat states, receipts and news of what others publish.

While its client is inactive a session sends through a Held, which keeps such stanzas back. Of presence and chat states
the last of each sender is kept. When something comes that cannot wait, what waited goes out before it, in its order.
spec: XEP-0352 3.2, 4, 5. Who is inactive is nobody's business but the server's (6).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tripoint.xmpp.tables import (
    CARBONS_NS,
    CHAT_MARKERS_NS,
    CHAT_STATES_NS,
    CLIENT_NS,
    DELAY_NS,
    DISPLAYED_NS,
    FORWARD_NS,
    HINTS_NS,
    MUC_USER_NS,
    OCCUPANT_ID_NS,
    PUBSUB_EVENT_NS,
    RECEIPTS_NS,
    STANZA_ID_NS,
)
from tripoint.xmpp.wire import Element, StreamError, parse_fragment

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession

# Beyond this what waits goes out: a screen's worth of news, not a day's.
MAX_STANZAS: Final = 500
MAX_BYTES: Final = 262_144

# What a message may hold and still wait. Whatever else there is in it, somebody may want to see.
_QUIET: Final = frozenset(
    {CHAT_STATES_NS, CHAT_MARKERS_NS, RECEIPTS_NS, HINTS_NS, OCCUPANT_ID_NS, STANZA_ID_NS, DELAY_NS}
)

Key = tuple[str, str]
# The stanza can wait, but takes nobody's place.
ALONE: Final[Key] = ("", "")


def waits(data: bytes) -> Key | None:
    """Whether a stanza that we send can wait: None: it cannot; ALONE; or what it takes the place of."""
    if data.startswith(b"<iq") or b"<body" in data:
        return None
    try:
        (stanza,) = parse_fragment(data.decode())
    except (StreamError, ValueError):
        return None
    if stanza.name == "presence":
        return _presence_waits(stanza)
    return _message_waits(stanza)


def _presence_waits(stanza: Element) -> Key | None:
    """Who comes, goes and changes; not requests, errors, and what tells a client of itself (status codes)."""
    if stanza.get("type") not in (None, "unavailable"):
        return None
    x = stanza.child("x", MUC_USER_NS)
    if x is not None and x.child("status", MUC_USER_NS) is not None:
        return None
    return "presence", stanza.get("from") or ""


def _message_waits(stanza: Element) -> Key | None:
    if stanza.get("type") == "error":
        return None
    children = list(stanza.elements())
    if any(child.namespace == PUBSUB_EVENT_NS for child in children):
        # What was read elsewhere takes a notification away: that does not wait. docs/mapping.md 14.5
        return None if _is_about(stanza, DISPLAYED_NS) else ALONE
    if len(children) == 1 and children[0].namespace == CARBONS_NS:
        forwarded = children[0].child("forwarded", FORWARD_NS)
        inside = None if forwarded is None else forwarded.child("message", CLIENT_NS)
        return None if inside is None or _message_waits(inside) is None else ALONE
    if not children or any(child.namespace not in _QUIET and child.name != "thread" for child in children):
        return None
    if any(child.namespace in (CHAT_MARKERS_NS, RECEIPTS_NS) for child in children):
        return ALONE
    return "state", stanza.get("from") or ""


def _is_about(stanza: Element, node: str) -> bool:
    event = stanza.child("event", PUBSUB_EVENT_NS)
    return event is not None and any(child.get("node") == node for child in event.elements())


class Held:
    """What an inactive client is sent through; `send` is the way on."""

    __slots__ = ("_bytes", "_count", "_send", "_waiting")

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._waiting: dict[Key, bytes] = {}
        self._bytes = 0
        self._count = 0

    def pass_to(self, send: Callable[[bytes], None]) -> None:
        """There is another way on."""
        self._send = send

    def send(self, data: bytes) -> None:
        """A whole stanza: on its way, or put aside."""
        key = waits(data)
        if key is None:
            self.flush()
            self._send(data)
            return
        if key is ALONE:
            self._count += 1
            key = ("", str(self._count))
        former = self._waiting.pop(key, b"")
        self._waiting[key] = data
        self._bytes += len(data) - len(former)
        if len(self._waiting) > MAX_STANZAS or self._bytes > MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what waits, in its order."""
        waiting, self._waiting = self._waiting, {}
        self._bytes = 0
        for data in waiting.values():
            self._send(data)


def change_state(session: "XmppSession", element: Element) -> None:
    """<active/> or <inactive/>, in its turn between the stanzas. spec: XEP-0352 4.2, 5.1"""
    session.set_active(element.name == "active")
