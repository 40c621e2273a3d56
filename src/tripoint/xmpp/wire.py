"""XMPP on the wire: bytes to stanzas and back, pure.

`StreamParser` takes the bytes of one XML stream in any chunks and returns stream events; what XMPP forbids in
XML (DTD, entity, comment, processing instruction) and what passes a limit ends the stream with a Broken event
that names the stream error. Going out, text and attribute values are escaped and code points that XML cannot
carry are dropped when the bytes are built (docs/mapping.md 10.9), so nothing can be injected.

spec: RFC6120 4.2 (stream header), 4.7 (attributes), 4.9.3 (stream errors), 11 (XML usage).
Not here: what the elements mean, and which of them may come when (connection.py). Read next: connection.py.
"""

import pyexpat
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Union

from tripoint.core.errors import PeerError
from tripoint.core.vendor import NS

STREAMS_NS: Final = "http://etherx.jabber.org/streams"
CLIENT_NS: Final = "jabber:client"
XML_NS: Final = "http://www.w3.org/XML/1998/namespace"

# Limits of what a peer may send. Deepest nesting seen in published extensions is about 10 (PubSub with Jingle).
MAX_DEPTH: Final = 40
MAX_ATTRIBUTES: Final = 50
MAX_ELEMENTS: Final = 4000  # or more, where larger stanzas are taken:
BYTES_PER_ELEMENT: Final = 64
# expat keeps every element and attribute name of a stream for its whole life; clients use a few hundred.
MAX_NAMES: Final = 5000
# Of a server: what all its people use, for weeks, and not one of them may end it for the others in a moment.
MAX_NAMES_OF_SERVERS: Final = 30_000
# What is left of a stanza that was refused (StreamParser.forgiving): one element of this name, with the reason.
REFUSED: Final = "refused"
REFUSED_NS: Final = NS + "#refused"
# docs/mapping.md 10.8; before authentication nobody needs more than a SASL message.
MAX_STANZA_BYTES: Final = 262_144
MAX_STANZA_BYTES_UNAUTHENTICATED: Final = 16_384
MAX_NAME_CHARS: Final = 1000
# A stanza is measured where its end tag begins; this much more may arrive before the tag is whole.
_END_TAG_SLACK: Final = 8192

_SEPARATOR = " "  # cannot occur in a name; a namespace that holds one is refused


class Element:
    """One XML element: namespace, local name, attributes, children (elements and strings, in order).

    Attributes in a namespace have the key `{namespace}name`; `xml:lang` is `xml:lang`. Treat as frozen.
    """

    __slots__ = ("attributes", "children", "name", "namespace")

    def __init__(
        self,
        name: str,
        namespace: str,
        attributes: Mapping[str, str] | None = None,
        children: Sequence[Union["Element", str]] = (),
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.attributes: dict[str, str] = dict(attributes) if attributes else {}
        self.children: list[Element | str] = list(children)

    def get(self, attribute: str) -> str | None:
        return self.attributes.get(attribute)

    def elements(self) -> Iterator["Element"]:
        """Child elements, in order."""
        for child in self.children:
            if not isinstance(child, str):
                yield child

    def child(self, name: str, namespace: str) -> Union["Element", None]:
        """The first child element of this name, or None."""
        for child in self.children:
            if not isinstance(child, str) and child.name == name and child.namespace == namespace:
                return child
        return None

    def first(self) -> Union["Element", None]:
        """The first child element, or None."""
        return next(self.elements(), None)

    @property
    def text(self) -> str:
        """The character data directly inside, joined."""
        return "".join([child for child in self.children if isinstance(child, str)])

    def child_text(self, name: str, namespace: str) -> str | None:
        """The text of the first child of this name, or None where there is no such child."""
        child = self.child(name, namespace)
        return None if child is None else child.text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Element):
            return NotImplemented
        return (self.name, self.namespace, self.attributes, self.children) == (
            other.name,
            other.namespace,
            other.attributes,
            other.children,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Element({render(self).decode()})"


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The opening tag of a stream. `default_ns` is the content namespace it declares."""

    to: str | None
    from_: str | None
    version: str | None
    lang: str | None
    default_ns: str | None
    id: str | None = None

    @property
    def speaks_xmpp(self) -> bool:
        """Its version is 1.0, or a later one, which goes down to that; none at all is 0.9. spec: RFC6120 4.7.5"""
        major = (self.version or "").partition(".")[0]
        return major.isascii() and major.isdigit() and int(major[:9]) >= 1


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The closing tag: the peer sends nothing more."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer broke the rules; the stream ends with this error. `condition` is of RFC6120 4.9.3."""

    condition: str
    text: str


StreamEvent = StreamOpened | StreamClosed | Broken | Element


class StreamError(PeerError):
    """The peer broke its grammar or order. `condition` names the stream error that answers it."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition
        self.text = text


class StreamParser:
    """One XML stream. Feed it with receive(); a restarted stream is a new parser.

    `forgiving`: where a stanza has too many or too deeply nested elements, only that it was refused is left inside of
    it, and the stream goes on: on the stream of a server others are not to pay for what one person writes.
    After a Broken or StreamClosed event it swallows whatever comes.
    """

    __slots__ = (
        "_consumed",
        "_default_ns",
        "_depth",
        "_elements",
        "_events",
        "_fed",
        "_names",
        "_over",
        "_parser",
        "_refused",
        "_stack",
        "_tail",
        "forgiving",
        "max_names",
        "max_stanza_bytes",
    )

    def __init__(
        self, max_stanza_bytes: int = MAX_STANZA_BYTES, max_names: int = MAX_NAMES, *, forgiving: bool = False
    ) -> None:
        self.max_stanza_bytes = max_stanza_bytes
        self.forgiving = forgiving
        self._refused = ""  # why what is being read is refused
        self.max_names = max_names
        self._events: list[StreamEvent] = []
        self._stack: list[Element] = []
        self._depth = 0
        self._elements = 0
        self._fed = 0
        self._consumed = 0  # where the last whole stanza ended
        self._over = False
        self._default_ns: str | None = None
        self._tail = b""  # the beginning of a character that more bytes have to complete
        self._names: dict[str, str] = {}
        parser = pyexpat.ParserCreate("UTF-8", _SEPARATOR, intern=self._names)
        # COMPAT: expat 2.6 waits for more bytes before it looks again at a cut token, which holds back a
        # finished stanza; the stanza limit bounds what that protects from.
        if hasattr(parser, "SetReparseDeferralEnabled"):
            parser.SetReparseDeferralEnabled(False)
        parser.ordered_attributes = True
        parser.buffer_size = 512  # 8 KiB by default, and there is one per connection
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartNamespaceDeclHandler = self._namespace
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._forbidden_doctype
        parser.CommentHandler = self._forbidden_comment
        parser.ProcessingInstructionHandler = self._forbidden_instruction
        self._parser: pyexpat.XMLParserType | None = parser

    def receive(self, data: bytes) -> list[StreamEvent]:
        """What these bytes complete, in order. Never raises for bytes of a peer."""
        if self._over or self._parser is None:
            return []
        parser = self._parser
        if self._fed < 2 and _is_not_utf8(self._fed, data):
            self._break("unsupported-encoding", "XMPP is written in UTF-8")
            data = b""
        self._fed += len(data)
        try:
            if data:
                parser.Parse(data, False)
            if self._fed - self._consumed > self.max_stanza_bytes + _END_TAG_SLACK:
                raise StreamError("policy-violation", "The stanza is larger than this server takes")
        except StreamError as error:
            self._break(error.condition, error.text)
        except pyexpat.ExpatError as error:
            seen = self._tail + data
            at = parser.ErrorByteIndex - (self._fed - len(seen))
            self._break(*_expat_condition(error.code, seen[max(at, 0) : at + 4]))
        self._tail = data[-3:] if len(data) > 2 else (self._tail + data)[-3:]
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Free the parser; whatever comes later is swallowed. For a stream that is being replaced."""
        self._over = True
        # The handlers are bound methods: without this the parser and self keep each other alive.
        self._parser = None
        self._stack.clear()

    def _break(self, condition: str, text: str) -> None:
        self._events.append(Broken(condition, text))
        self.close()

    # -- handlers of expat; what they raise passes through Parse()

    def _start(self, raw: str, attributes: list[str]) -> None:
        depth = self._depth = self._depth + 1
        if self._refused:
            return
        namespace, _, name = raw.rpartition(_SEPARATOR)
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            self._refuse("The element has too many attributes")
            return
        if len(raw) > MAX_NAME_CHARS:
            self._refuse("The name of the element is too long")
            return
        if namespace == XML_NS:
            raise StreamError("bad-format", "No element is defined in the XML namespace")
        if depth == 1:
            self._open(name, namespace, _attributes(attributes))
            return
        if depth > MAX_DEPTH:
            self._refuse("The XML is nested too deeply")
            return
        if depth == 2:
            self._elements = 0
        self._elements += 1
        if self._elements > MAX_ELEMENTS and self._elements > self.max_stanza_bytes // BYTES_PER_ELEMENT:
            self._refuse("The stanza has too many elements")
            return
        element = Element.__new__(Element)
        element.name = name
        element.namespace = namespace
        element.attributes = _attributes(attributes) if attributes else {}
        element.children = []
        self._stack.append(element)

    def _refuse(self, why: str) -> None:
        """The stanza is not taken, or the stream ends. What encloses the stanza is not there yet."""
        if not self.forgiving or not self._stack:
            raise StreamError("policy-violation", why)
        self._refused = why
        del self._stack[1:]

    def _end(self, raw: str) -> None:
        self._depth -= 1
        stack = self._stack
        if self._refused:
            if self._depth > 1:
                return
            stack[0].children = [Element(REFUSED, REFUSED_NS, None, [self._refused])]
            self._refused = ""
        if self._depth > 1:
            element = stack.pop()
            if len(element.children) > 1:
                _join_text(element)
            stack[-1].children.append(element)
            return
        parser = self._parser
        assert parser is not None  # close() is never called from within Parse()
        end = parser.CurrentByteIndex
        if end - self._consumed > self.max_stanza_bytes:
            raise StreamError("policy-violation", "The stanza is larger than this server takes")
        if self._depth == 1:
            self._consumed = end
            element = stack.pop()
            if len(element.children) > 1:
                _join_text(element)
            self._events.append(element)
            if len(self._names) > self.max_names:
                raise StreamError("policy-violation", "The stream uses too many different names")
        else:
            self._over = True
            self._events.append(StreamClosed())

    def _text(self, data: str) -> None:
        if self._refused:
            return
        if self._depth > 1:
            self._stack[-1].children.append(data)
        elif data.strip(" \t\r\n"):
            # spec: RFC6120 11.7: between stanzas only whitespace may stand
            raise StreamError("bad-format", "There is text between the stanzas")
        elif self._parser is not None:
            self._consumed = self._parser.CurrentByteIndex

    def _open(self, name: str, namespace: str, attributes: dict[str, str]) -> None:
        if name != "stream" or namespace != STREAMS_NS:
            # spec: RFC6120 4.9.3.10 (invalid-namespace) and 4.9.3.1 (bad-format)
            if namespace != STREAMS_NS:
                raise StreamError("invalid-namespace", "The stream is not in the stream namespace")
            raise StreamError("bad-format", "The first element must be a stream header")
        self._consumed = self._parser.CurrentByteIndex if self._parser is not None else 0
        self._events.append(
            StreamOpened(
                to=attributes.get("to"),
                from_=attributes.get("from"),
                version=attributes.get("version"),
                lang=attributes.get("xml:lang"),
                default_ns=self._default_ns,
                id=attributes.get("id"),
            )
        )

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        if uri is not None and _SEPARATOR in uri:
            raise StreamError("invalid-namespace", "A namespace name holds a space")
        if self._depth == 0 and prefix is None:
            self._default_ns = uri

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        # spec: RFC6120 11.6: UTF-8 only, and 4.9.3.22
        if encoding is not None and encoding.upper() not in ("UTF-8", "UTF8"):
            raise StreamError("unsupported-encoding", "XMPP is written in UTF-8")

    def _forbidden_doctype(self, name: str, system: str | None, public: str | None, internal: bool) -> None:
        raise StreamError("restricted-xml", "A document type declaration is not allowed in XMPP")

    def _forbidden_comment(self, data: str) -> None:
        raise StreamError("restricted-xml", "Comments are not allowed in XMPP")

    def _forbidden_instruction(self, target: str, data: str) -> None:
        raise StreamError("restricted-xml", "Processing instructions are not allowed in XMPP")


def _join_text(element: Element) -> None:
    """Make one string of neighbouring ones: where text was cut by the chunks it came in must not show."""
    joined: list[Element | str] = []
    pending: list[str] = []
    for child in element.children:
        if isinstance(child, str):
            pending.append(child)
            continue
        if pending:
            joined.append("".join(pending))
            pending.clear()
        joined.append(child)
    if pending:
        joined.append("".join(pending))
    element.children = joined


def _attributes(ordered: list[str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for at in range(0, len(ordered), 2):
        raw = ordered[at]
        if _SEPARATOR in raw:
            namespace, _, name = raw.rpartition(_SEPARATOR)
            raw = f"xml:{name}" if namespace == XML_NS else f"{{{namespace}}}{name}"
        attributes[raw] = ordered[at + 1]
    return attributes


def _is_not_utf8(fed: int, data: bytes) -> bool:
    """expat would follow a byte order mark, or a NUL beside the first character, into UTF-16."""
    return (fed == 0 and data[:1] in (b"\xfe", b"\xff")) or b"\0" in data[: 2 - fed]


_EXPAT = pyexpat.errors.codes


def _expat_condition(code: int, found: bytes) -> tuple[str, str]:
    """The stream error for an error of the parser, which has `found` these bytes."""
    if code == _EXPAT[pyexpat.errors.XML_ERROR_INVALID_TOKEN] and _breaks_utf8(found):
        # spec: RFC6120 4.9.3.22: violating the rules of UTF-8 is named so
        return "unsupported-encoding", "This is not UTF-8"
    if code == _EXPAT[pyexpat.errors.XML_ERROR_UNDEFINED_ENTITY]:
        return "restricted-xml", "Only the five predefined entities are allowed in XMPP"
    if code in (
        _EXPAT[pyexpat.errors.XML_ERROR_UNKNOWN_ENCODING],
        _EXPAT[pyexpat.errors.XML_ERROR_INCORRECT_ENCODING],
    ):
        return "unsupported-encoding", "XMPP is written in UTF-8"
    if code == _EXPAT[pyexpat.errors.XML_ERROR_NO_MEMORY]:
        return "resource-constraint", "The server cannot parse this now"
    return (
        "not-well-formed",
        f"The XML is not well-formed: {pyexpat.errors.messages.get(code, 'syntax error')}",
    )


def _breaks_utf8(found: bytes) -> bool:
    """Whether no character begins so. What is cut short is not judged."""
    try:
        found.decode()
    except UnicodeDecodeError as error:
        return error.start == 0 and error.reason != "unexpected end of data"
    return False


# -- output

# spec: XML 1.0 2.2; everything outside is dropped: it could not be sent in any form.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_SPECIAL = re.compile("[&<>\r]|[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATTRIBUTE_SPECIAL = re.compile("[&<>'\"]|[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "'": "&apos;",
    '"': "&quot;",
    "\r": "&#13;",
    "\n": "&#10;",
    "\t": "&#9;",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*\Z")


def _escape_match(match: re.Match[str]) -> str:
    return _ESCAPES.get(match.group(), "")


def escape_text(text: str) -> str:
    """Character data: `&`, `<`, `>` escaped, a carriage return kept as a reference, illegal ones dropped."""
    return _TEXT_SPECIAL.sub(_escape_match, text)


def escape_attribute(text: str) -> str:
    """An attribute value for single or double quotes; illegal code points dropped."""
    return _ATTRIBUTE_SPECIAL.sub(_escape_match, text)


def drop_illegal(text: str) -> str:
    """`text` without the code points that XML 1.0 cannot carry. docs/mapping.md 10.9"""
    return _ILLEGAL.sub("", text)


def render(element: Element, default_ns: str = CLIENT_NS) -> bytes:
    """The element as bytes, to stand where `default_ns` is the default namespace."""
    out: list[str] = []
    _render_into(out, element, default_ns)
    return "".join(out).encode()


def _render_into(out: list[str], element: Element, default_ns: str) -> None:
    name = element.name
    if element.namespace == STREAMS_NS:
        # The prefix is declared by every stream header that is sent here.
        name, inner_ns = "stream:" + name, default_ns
        out.append(f"<{name}")
    elif element.namespace == default_ns:
        inner_ns = default_ns
        out.append(f"<{name}")
    else:
        inner_ns = element.namespace
        out.append(f"<{name} xmlns='{escape_attribute(inner_ns)}'")
    foreign = 0
    for key, value in element.attributes.items():
        if key[0] == "{":
            namespace, _, local = key[1:].rpartition("}")
            foreign += 1
            out.append(
                f" xmlns:a{foreign}='{escape_attribute(namespace)}' a{foreign}:{local}='{escape_attribute(value)}'"
            )
        else:
            out.append(f" {key}='{escape_attribute(value)}'")
    if not element.children:
        out.append("/>")
        return
    out.append(">")
    for child in element.children:
        if isinstance(child, str):
            out.append(escape_text(child))
        else:
            _render_into(out, child, inner_ns)
    out.append(f"</{name}>")


def parse_fragment(text: str) -> list[Element]:
    """The elements of an XML fragment of our own making, read with the rules of the wire.

    Raises StreamError for what a stream would not take. Used for payloads kept with an event.
    """
    parser = StreamParser()
    head = f"<stream:stream xmlns='{CLIENT_NS}' xmlns:stream='{STREAMS_NS}'>"
    events = parser.receive(head.encode() + text.encode("utf-8", "surrogatepass"))
    events += parser.receive(b"</stream:stream>")
    parser.close()
    elements = []
    for event in events:
        if isinstance(event, Broken):
            raise StreamError(event.condition, event.text)
        if isinstance(event, Element):
            elements.append(event)
    return elements
