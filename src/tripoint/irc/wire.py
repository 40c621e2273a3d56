"""Bytes to IRC lines and back. Pure: no socket, no clock.

A line is ``['@' tags SP] [':' source SP] command {SP param} [SP ':' trailing] CR LF``.  What comes in is cut
and parsed without ever raising: a peer's mistake is a value (`TooLong`, `Malformed`) in its place among the
lines.  What goes out is refused when it is built, so no CR, LF or NUL can reach a wire.

Does not know any command.  spec: RFC2812 2.3, IRCv3 message-tags.  Read next: tripoint/irc/connection.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

# spec: RFC2812 2.3: 512 bytes with the CR LF.
MAX_BODY_BYTES = 510
# spec: IRCv3 message-tags "Size limit": a client sends at most 4094 bytes of tag data, a server adds as much.
MAX_TAG_DATA_BYTES = 4094
# The longest run of bytes without LF that can still become a legal line: '@' data SP body CR.
MAX_PENDING_BYTES = 1 + MAX_TAG_DATA_BYTES + 1 + MAX_BODY_BYTES + 1
# RFC2812 2.3 allows 15 parameters; what follows is the last one, spaces and all.
MAX_PARAMS = 15

NO_TAGS: Mapping[str, str] = {}


class Line(msgspec.Struct, frozen=True):
    """One message from a peer. `command` is upper case; an absent tag value is ``""``.

    `utf8` is False if the body had to be read as cp1252 (MAPPING 10.9); the handler warns.
    """

    command: str
    params: tuple[str, ...] = ()
    source: str = ""
    tags: Mapping[str, str] = NO_TAGS
    utf8: bool = True

    def param(self, index: int, default: str = "") -> str:
        """The parameter at `index`, or `default` if it is absent or empty."""
        return self.params[index] if index < len(self.params) and self.params[index] else default


class TooLong(msgspec.Struct, frozen=True):
    """A line over the limits. It is refused whole (417), never cut short. `what` is "tags" or "body"."""

    what: str


class Malformed(msgspec.Struct, frozen=True):
    """A line that is no message at all; `reason` is for the peer."""

    reason: str


Incoming = Line | TooLong | Malformed


class LineReader:
    """Cuts a byte stream into lines; buffers at most `MAX_PENDING_BYTES`.

    The result does not depend on how the stream was cut into chunks.  LF alone ends a line as well as CR LF
    does: COMPAT: many scripts and nc send LF.
    """

    __slots__ = ("_overflow", "_pending")

    def __init__(self) -> None:
        self._pending = b""
        self._overflow = False

    def receive(self, data: bytes) -> list[Incoming]:
        """Everything complete after `data`, in order. Empty lines are ignored (RFC2812 2.3.1)."""
        found: list[Incoming] = []
        pieces = data.split(b"\n")
        last = len(pieces) - 1
        for index, piece in enumerate(pieces):
            if self._overflow:
                if index < last:
                    found.append(TooLong("body"))
                    self._overflow = False
                continue
            if self._pending:
                piece = self._pending + piece
                self._pending = b""
            if index < last:
                line = parse_line(piece)
                if line is not None:
                    found.append(line)
            elif len(piece) > MAX_PENDING_BYTES:
                self._overflow = True
            else:
                self._pending = piece
        return found


def parse_line(raw: bytes) -> Incoming | None:
    """One line without its LF. None for an empty one. Never raises."""
    raw = raw.rstrip(b"\r")
    if not raw:
        return None
    tags = NO_TAGS
    if raw[0] == 64:  # '@'
        data, _, raw = raw[1:].partition(b" ")
        if len(data) > MAX_TAG_DATA_BYTES:
            return TooLong("tags")
        raw = raw.lstrip(b" ")
        tags = parse_tags(data)
    if len(raw) > MAX_BODY_BYTES:
        return TooLong("body")
    if b"\0" in raw or b"\r" in raw:
        return Malformed("A line must not hold NUL or CR")
    utf8 = True
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        utf8 = False
        text = _decode_cp1252(raw)
    source = ""
    if text.startswith(":"):
        source, _, text = text[1:].partition(" ")
        text = text.lstrip(" ")
    # `head` holds the command and the middle parameters; what follows " :" is the trailing one.
    head, colon, trailing = text.partition(" :")
    words = head.split(" ") if " " in head else [head]
    if "" in words:
        words = [word for word in words if word]
    if not words or not _is_command(words[0]):
        return Malformed("A line must begin with a command") if words or source or tags else None
    params = words[1:]
    if len(params) >= MAX_PARAMS:
        # spec: RFC2812 2.3.1: after 14 middle parameters the colon before the last one is optional.
        rest = text
        for _ in range(MAX_PARAMS):
            rest = rest.lstrip(" ").partition(" ")[2]
        rest = rest.lstrip(" ")
        params = [*params[: MAX_PARAMS - 1], rest.removeprefix(":")]
    elif colon:
        params.append(trailing)
    return Line(words[0].upper(), tuple(params), source, tags, utf8)


def _is_command(word: str) -> bool:
    """Letters or three digits; digits inside names are let through so that the answer can be 421."""
    return word.isascii() and word.isalnum() and len(word) <= 32


def _decode_cp1252(raw: bytes) -> str:
    """The five bytes that cp1252 leaves undefined are read as Latin-1 controls, so this never fails."""
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return "".join(
            chr(byte) if byte in b"\x81\x8d\x8f\x90\x9d" else bytes((byte,)).decode("cp1252") for byte in raw
        )


_UNESCAPE = {":": ";", "s": " ", "\\": "\\", "r": "\r", "n": "\n"}
_ESCAPE = str.maketrans({";": "\\:", " ": "\\s", "\\": "\\\\", "\r": "\\r", "\n": "\\n"})


def parse_tags(data: bytes) -> dict[str, str]:
    """Tag data without '@' and SP. The last of equal keys wins; a value that is not UTF-8 is dropped whole.

    spec: IRCv3 message-tags "Format": values that cannot be decoded may be dropped but not patched.
    """
    tags: dict[str, str] = {}
    for item in data.split(b";"):
        key, _, value = item.partition(b"=")
        if not key:
            continue
        try:
            name, text = key.decode(), value.decode()
        except UnicodeDecodeError:
            continue
        if "\0" in text or "\0" in name:
            continue
        tags[name] = unescape_tag_value(text) if "\\" in text else text
    return tags


def unescape_tag_value(value: str) -> str:
    """spec: IRCv3 message-tags "Escaping values": an invalid or lone backslash disappears."""
    out: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            character = _UNESCAPE.get(character, character)
        out.append(character)
    return "".join(out)


def escape_tag_value(value: str) -> str:
    """The value as it stands on the wire; NUL has no escape and is dropped."""
    return value.replace("\0", "").translate(_ESCAPE)


class Unbuildable(ValueError):
    """Our own mistake: the line that was to be sent cannot be written. Not a peer's error."""


def build_tags(tags: Iterable[tuple[str, str]]) -> str:
    """``key=value;key`` without '@'. Values are escaped here; an empty one is written as a missing one."""
    return ";".join(f"{key}={escape_tag_value(value)}" if value else key for key, value in tags)


def build_line(command: str, *params: str, source: str = "", tags: str = "") -> bytes:
    """One whole line with CR LF.  `tags` comes from `build_tags`.

    The last parameter is written with a colon if it needs one.  Raises Unbuildable for CR, LF, NUL anywhere,
    for a middle parameter that is empty, holds a space or begins with a colon, and for a line over 512 bytes.
    """
    words = [f":{source}", command] if source else [command]
    if params:
        for middle in params[:-1]:
            if not middle or " " in middle or middle[0] == ":":
                raise Unbuildable(f"not a middle parameter: {middle!r}")
            words.append(middle)
        last = params[-1]
        words.append(f":{last}" if not last or " " in last or last[0] == ":" else last)
    return seal(" ".join(words), tags)


def seal(text: str, tags: str = "") -> bytes:
    """The last check and the CR LF: every outgoing line is made here."""
    # A lone surrogate (JSON can carry one) has no UTF-8 form: it becomes "?".
    body = text.encode("utf-8", "replace")
    if len(body) > MAX_BODY_BYTES:
        raise Unbuildable(f"{len(body)} bytes are too many for one line")
    if b"\n" in body or b"\r" in body or b"\0" in body:
        raise Unbuildable("CR, LF or NUL in a line")
    if not tags:
        return body + b"\r\n"
    head = tags.encode()
    if b" " in head or b"\n" in head or b"\r" in head or b"\0" in head:
        raise Unbuildable("a tag was not escaped")
    return b"@" + head + b" " + body + b"\r\n"
