"""multipart/mixed of two parts, as one server gives another a file: facts first, then the bytes. Pure.

spec: Matrix server-server-api getContent; RFC2046 5.1. The second part may be as long as it likes: it is handed on as
it comes, in any pieces.
"""

from __future__ import annotations

import re
from typing import Final

from tripoint.core.errors import PeerError

_BOUNDARY: Final = re.compile(r";\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE)
# What a part's headers, and the part with the facts, may take.
_MAX_HEAD: Final = 16_384
_MAX_FACTS: Final = 65_536


class BadMultipart(PeerError):
    """A body that is not what its content type says."""


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart/mixed content type. Raises BadMultipart."""
    kind, semicolon, rest = content_type.partition(";")
    found = _BOUNDARY.search(semicolon + rest)
    if kind.strip().lower() != "multipart/mixed" or found is None:
        raise BadMultipart("not multipart/mixed with a boundary")
    return (found[1] or found[2]).encode("latin-1", "replace")


class MultipartReader:
    """Reads the two parts. `headers` are those of the second, with lower-case names, once they have come."""

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\r\n--" + boundary
        # The first boundary may stand at the very beginning.
        self._buffer = bytearray(b"\r\n")
        self._part = 0
        self._in_head = False
        self._at_start = True
        self.headers: dict[str, str] | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take what came; the bytes of the second part in it. What follows it is ignored. Raises BadMultipart."""
        if self.done:
            return b""
        self._buffer += data
        while self._part < 2 or self._in_head:
            if not (self._read_head() if self._in_head else self._skip_to_part()):
                return b""
        return self._body()

    def end(self) -> None:
        """Nothing more comes. Raises BadMultipart where that is too early."""
        if not self.done:
            raise BadMultipart("it ends before its last boundary")

    def _skip_to_part(self) -> bool:
        """What is before the first part, and the first part itself."""
        buffer = self._buffer
        at = buffer.find(self._mark)
        if at < 0:
            if len(buffer) > _MAX_FACTS:
                raise BadMultipart("its first part is too long")
            return False
        line_end = buffer.find(b"\r\n", at + len(self._mark))
        if line_end < 0:
            if len(buffer) - at > _MAX_HEAD:
                raise BadMultipart("its boundary does not end")
            return False
        rest = bytes(buffer[at + len(self._mark) : line_end])
        if rest.startswith(b"--"):
            raise BadMultipart("it has no second part")
        if rest.strip(b" \t"):
            # Another boundary that begins like this one.
            del buffer[: at + len(self._mark)]
            return True
        # The line's end is kept: a part without headers has an empty line at once.
        del buffer[:line_end]
        self._part += 1
        self._in_head = True
        return True

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > _MAX_HEAD:
            if len(self._buffer) > _MAX_HEAD:
                raise BadMultipart("its headers are too long")
            return False
        if self._part == 2:
            self.headers = _headers(bytes(self._buffer[:end]))
        # The end of the empty line is kept: in a part without a body it may be the one before the next boundary.
        del self._buffer[: end + 2]
        self._in_head = False
        return True

    def _body(self) -> bytes:
        buffer = self._buffer
        if self._at_start:
            if len(buffer) < len(self._mark):
                return b""
            self._at_start = False
            if not buffer.startswith(self._mark):
                del buffer[:2]
        at = buffer.find(self._mark)
        if at >= 0:
            self.done = True
            found = bytes(buffer[:at])
            buffer.clear()
            return found
        safe = len(buffer) - len(self._mark) + 1
        if safe <= 0:
            return b""
        found = bytes(buffer[:safe])
        del buffer[:safe]
        return found


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found
