"""What the state machines of both directions have their driver do, and parts of streams that both write. Pure."""

from dataclasses import dataclass

from tripoint.xmpp.s2s.dialback import DIALBACK_NS, SERVER_NS
from tripoint.xmpp.tables import STREAM_ERRORS_NS
from tripoint.xmpp.wire import STREAMS_NS, Element, escape_attribute, escape_text


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write out what is waiting and begin the handshake; then tls_started()."""


@dataclass(frozen=True, slots=True)
class Close:
    """Write out what is waiting and close the connection."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the authoritative server of `originating` whether it made this key; answer with verified().

    spec: XEP-0220 2.1.2
    """

    originating: str
    receiving: str
    key: str
    stream_id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Stanzas may be sent now. `how`: "external" or "dialback"."""

    how: str


@dataclass(frozen=True, slots=True)
class Proved:
    """The peer has proved that it is `theirs` to `ours`, and stanzas from `ours` to `theirs` may go back over this
    stream. spec: XEP-0288 2.2"""

    theirs: str
    ours: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The authoritative server has answered: `valid` or not, None for an error."""

    valid: bool | None


@dataclass(frozen=True, slots=True)
class Failed:
    """No stanza can go this way; `reason` in words for operators."""

    reason: str


@dataclass(frozen=True, slots=True)
class Managed:
    """From here on stanzas are counted, in both directions; `on` False: no more. spec: XEP-0198 3"""

    on: bool = True


@dataclass(frozen=True, slots=True)
class TellHandled:
    """The peer asks how many stanzas were handled since they are counted. spec: XEP-0198 4"""


@dataclass(frozen=True, slots=True)
class Handled:
    """The peer has handled so many. spec: XEP-0198 4"""

    h: int


@dataclass(frozen=True, slots=True)
class Stanza:
    """A stanza whose two domains were checked; its namespace is jabber:client, as everywhere inside."""

    element: Element


def stream_header(from_: str | None, to: str | None, stream_id: str | None = None) -> bytes:
    """spec: RFC6120 4.7; XEP-0220 2.1.1: the prefix of dialback is declared in the header"""
    attributes = "" if stream_id is None else f" id='{escape_attribute(stream_id)}'"
    if from_ is not None:
        attributes += f" from='{escape_attribute(from_)}'"
    if to is not None:
        attributes += f" to='{escape_attribute(to)}'"
    return (
        f"<?xml version='1.0'?><stream:stream xmlns='{SERVER_NS}' xmlns:stream='{STREAMS_NS}' "
        f"xmlns:db='{DIALBACK_NS}'{attributes} version='1.0' xml:lang='en'>"
    ).encode()


def stream_error(condition: str, text: str) -> bytes:
    """spec: RFC6120 4.9"""
    return (
        f"<stream:error><{condition} xmlns='{STREAM_ERRORS_NS}'/>"
        f"<text xmlns='{STREAM_ERRORS_NS}' xml:lang='en'>{escape_text(text)}</text></stream:error></stream:stream>"
    ).encode()


def as_client(element: Element, namespace: str = SERVER_NS) -> Element:
    """The element with the namespace of its stream called jabber:client, all through; changed in place, since it was
    just read."""
    waiting = [element]
    while waiting:
        one = waiting.pop()
        if one.namespace == namespace:
            one.namespace = "jabber:client"
            waiting += one.elements()
    return element
