"""How a stream lies on its transport: one XML document over TCP, or one for each message of a WebSocket. Pure.

A framing turns what arrives into stream events and says how a stream is opened and ended; all between is the same, and
connection.py does not know which it is. What goes out over a WebSocket has to name its own namespaces: standalone()
adds them to stanzas that were made for a stream.
spec: RFC6120 4.2, 4.4; RFC7395 3.3-3.7. Read next: connection.py.
"""

import re
from typing import Final, Protocol

from tripoint.xmpp.wire import (
    CLIENT_NS,
    MAX_STANZA_BYTES_UNAUTHENTICATED,
    STREAMS_NS,
    Broken,
    Element,
    StreamClosed,
    StreamEvent,
    StreamOpened,
    StreamParser,
)

FRAMING_NS: Final = "urn:ietf:params:xml:ns:xmpp-framing"

# spec: RFC7395 3.3.3: each message is a document of its own. Whatever it uses, it declares: this prefix is nobody's.
_AROUND: Final = f"<tripoint-frame:stream xmlns:tripoint-frame='{STREAMS_NS}'>".encode()
_DECLARATION: Final = re.compile(rb"<\?xml\s([^?]*)\?>\s*")
_ENCODING: Final = re.compile(rb"encoding\s*=\s*['\"]([^'\"]*)['\"]")


class Framing(Protocol):
    """One stream after the other on one connection. `renewals` counts them: events of a former one are void."""

    renewals: int

    @property
    def starttls(self) -> bool:
        """Whether TLS can begin inside."""

    @property
    def ending(self) -> bytes:
        """What ends our side of the stream."""

    def renew(self, max_stanza_bytes: int) -> None:
        """A new stream begins; what is left of the old one is dropped."""

    def widen(self, max_stanza_bytes: int) -> None:
        """The stream goes on, and takes larger stanzas."""

    def receive(self, data: bytes) -> list[StreamEvent]:
        """What these bytes complete, or this message holds. Never raises for what a peer sent."""

    def close(self) -> None:
        """Whatever comes from now on is dropped."""

    def opening(self, attributes: str) -> bytes:
        """The header of our side of the stream."""


class StreamFraming:
    """A stream over TCP. spec: RFC6120 4"""

    starttls = True
    ending = b"</stream:stream>"

    def __init__(self) -> None:
        self.renewals = 0
        self._parser = StreamParser(MAX_STANZA_BYTES_UNAUTHENTICATED)

    def renew(self, max_stanza_bytes: int) -> None:
        self.renewals += 1
        self._parser.close()
        self._parser = StreamParser(max_stanza_bytes)

    def widen(self, max_stanza_bytes: int) -> None:
        self._parser.max_stanza_bytes = max_stanza_bytes

    def receive(self, data: bytes) -> list[StreamEvent]:
        return self._parser.receive(data)

    def close(self) -> None:
        self._parser.close()

    def opening(self, attributes: str) -> bytes:
        return (
            f"<?xml version='1.0'?><stream:stream xmlns='{CLIENT_NS}' xmlns:stream='{STREAMS_NS}'{attributes}>"
        ).encode()


class MessageFraming:
    """A stream over a WebSocket: what is received and sent are whole messages. spec: RFC7395 3.3"""

    starttls = False  # spec: RFC7395 3.9
    ending = f"<close xmlns='{FRAMING_NS}'/>".encode()

    def __init__(self) -> None:
        self.renewals = 0
        self._max_bytes = MAX_STANZA_BYTES_UNAUTHENTICATED
        self._over = False

    def renew(self, max_stanza_bytes: int) -> None:
        self.renewals += 1
        self._max_bytes = max_stanza_bytes

    def widen(self, max_stanza_bytes: int) -> None:
        self._max_bytes = max_stanza_bytes

    def close(self) -> None:
        self._over = True

    def opening(self, attributes: str) -> bytes:
        return f"<open xmlns='{FRAMING_NS}'{attributes}/>".encode()

    def receive(self, data: bytes) -> list[StreamEvent]:
        if self._over:
            return []
        event = self._read(data)
        if isinstance(event, Broken | StreamClosed):
            self._over = True
        return [event]

    def _read(self, message: bytes) -> StreamEvent:
        if not message.startswith(b"<"):
            # spec: RFC7395 3.3.3; 3.8: whitespace to keep the connection alive is an error too
            return Broken("bad-format", "A message begins with <")
        if len(message) > self._max_bytes:
            return Broken("policy-violation", "The stanza is larger than this server takes")
        if (declared := _DECLARATION.match(message)) is not None:
            encoding = _ENCODING.search(declared.group(1))
            if encoding is not None and encoding.group(1).upper() not in (b"UTF-8", b"UTF8"):
                return Broken("unsupported-encoding", "XMPP is written in UTF-8")
            message = message[declared.end() :]
        if message.startswith(b"<!DOCTYPE"):
            return Broken("restricted-xml", "A document type declaration is not allowed in XMPP")
        parser = StreamParser(self._max_bytes)
        parser.receive(_AROUND)
        events = parser.receive(message)
        parser.close()
        if len(events) == 1 and isinstance(events[0], Broken):
            return events[0]
        if len(events) != 1 or not isinstance(events[0], Element):
            return Broken("not-well-formed", "A message holds one element, whole")
        return _event_of(events[0])


def _event_of(element: Element) -> StreamEvent:
    if element.name not in ("open", "close"):
        return element
    if element.namespace != FRAMING_NS:
        # spec: RFC7395 3.3.2
        return Broken("invalid-namespace", f"<{element.name}/> is not in the namespace of framed streams")
    if element.name == "close":
        return StreamClosed()
    return StreamOpened(
        to=element.get("to"),
        from_=element.get("from"),
        version=element.get("version"),
        lang=element.get("xml:lang"),
        default_ns=CLIENT_NS,
    )


_STANZA: Final = re.compile(rb"<(?:message|presence|iq)(?=[ />])")
_NEEDS_PREFIX: Final = b"<stream:"
_PREFIX: Final = f" xmlns:stream='{STREAMS_NS}'".encode()
_CLIENT: Final = f" xmlns='{CLIENT_NS}'".encode()
_NAME: Final = re.compile(rb"<[^ />]+")


def standalone(xml: bytes) -> bytes:
    """A top-level element of a stream, made for the inside of a stream header, as a document. spec: RFC7395 3.3.3

    Elements that are no stanzas name their namespace already; a `<` in text is escaped, so that the prefix is found
    where it is used and nowhere else.
    """
    added = b""
    if (stanza := _STANZA.match(xml)) is not None and not xml.startswith(b" xmlns=", stanza.end()):
        added = _CLIENT
    if _NEEDS_PREFIX in xml:
        added += _PREFIX
    if not added:
        return xml
    name = _NAME.match(xml)
    assert name is not None  # what is sent begins with an element
    return xml[: name.end()] + added + xml[name.end() :]
