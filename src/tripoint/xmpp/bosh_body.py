"""The wrapper of BOSH: what a request's <body/> asks for, and the <body/> of an answer. Pure.

spec: XEP-0124 6, 7, 17; XEP-0206 4-6. Who answers when is bosh.py's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tripoint.xmpp.wire import STREAMS_NS, Broken, Element, StreamParser, escape_attribute

HTTPBIND_NS: Final = "http://jabber.org/protocol/httpbind"
XBOSH_NS: Final = "urn:xmpp:xbosh"
VERSION: Final = (1, 11)
# spec: XEP-0124 14.1
MAX_RID: Final = 9_007_199_254_740_991

# Like a WebSocket's message, a body is read inside an element that no peer can name.
_AROUND: Final = f"<tripoint-frame:stream xmlns:tripoint-frame='{STREAMS_NS}'>".encode()
_DECLARATION: Final = re.compile(rb"\s*(?:<\?xml\s[^?]*\?>\s*)?")
_NUMBER: Final = re.compile(r"\d{1,16}", re.ASCII)
_KEY: Final = re.compile(r"[0-9a-fA-F]{40}")
_VER: Final = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)
_TRUE: Final = ("true", "1")


class BadBody(ValueError):
    """A request that is no <body/> as the text has it."""


@dataclass(frozen=True, slots=True)
class Body:
    """One request. Numbers are None where they are not given; seconds."""

    rid: int
    sid: str | None
    to: str | None
    from_: str | None
    lang: str | None
    ver: tuple[int, int] | None
    wait: int | None
    hold: int | None
    pause: int | None
    content: str | None
    key: str | None
    newkey: str | None
    ack: int | None
    stream: str | None
    version: str | None  # of XMPP
    restart: bool
    terminate: bool
    payloads: tuple[Element, ...]
    size: int

    @property
    def is_empty(self) -> bool:
        """Whether it brings nothing and asks for nothing."""
        return not (self.payloads or self.restart or self.terminate or self.pause is not None)


def read_body(data: bytes, max_bytes: int) -> Body:
    """Raises BadBody."""
    start = _DECLARATION.match(data)
    parser = StreamParser(max_bytes)
    parser.receive(_AROUND)
    events = parser.receive(data[start.end() if start is not None else 0 :].rstrip())
    parser.close()
    if len(events) != 1 or not isinstance(events[0], Element):
        found = events[0] if events else None
        raise BadBody(found.text if isinstance(found, Broken) else "one <body/> is expected")
    element = events[0]
    if (element.name, element.namespace) != ("body", HTTPBIND_NS):
        raise BadBody("the wrapper is <body xmlns='http://jabber.org/protocol/httpbind'/>")
    if element.text.strip():
        raise BadBody("there is text beside the payloads")
    rid = _number(element, "rid")
    if rid is None or not 0 < rid <= MAX_RID:
        raise BadBody("rid is a positive number up to 9007199254740991")
    ver = element.get("ver")
    found_ver = None if ver is None else _VER.fullmatch(ver)
    keys = [element.get(name) for name in ("key", "newkey")]
    if any(key is not None and not _KEY.fullmatch(key) for key in keys):
        raise BadBody("a key is 40 hexadecimal digits")
    return Body(
        rid=rid,
        sid=element.get("sid"),
        to=element.get("to"),
        from_=element.get("from"),
        lang=element.get("xml:lang"),
        ver=None if found_ver is None else (int(found_ver[1]), int(found_ver[2])),
        wait=_number(element, "wait"),
        hold=_number(element, "hold"),
        pause=_number(element, "pause"),
        content=element.get("content"),
        key=keys[0],
        newkey=keys[1],
        ack=_number(element, "ack"),
        stream=element.get("stream"),
        version=element.get(f"{{{XBOSH_NS}}}version"),
        restart=element.get(f"{{{XBOSH_NS}}}restart") in _TRUE,
        terminate=element.get("type") == "terminate",
        payloads=tuple(element.elements()),
        size=len(data),
    )


def _number(element: Element, name: str) -> int | None:
    text = element.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise BadBody(f"{name} is a number")
    return int(text)


def write_body(attributes: Sequence[tuple[str, str]], payload: bytes = b"") -> bytes:
    """An answer. `payload`: elements that name their namespaces, but for the prefix of streams."""
    told = "".join(f" {name}='{escape_attribute(value)}'" for name, value in attributes)
    prefix = f" xmlns:stream='{STREAMS_NS}'" if b"<stream:" in payload else ""
    head = f"<body xmlns='{HTTPBIND_NS}'{prefix}{told}"
    return f"{head}>".encode() + payload + b"</body>" if payload else f"{head}/>".encode()
