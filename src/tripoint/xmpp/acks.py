"""What was sent and is not acknowledged yet, what came and was handled: the two counters of a managed stream. Pure.

Counters are numbers modulo 2^32, and only stanzas count. The queue is bounded: beyond that the oldest stanzas are given
up, and who would need them cannot resume.
spec: XEP-0198 4, 5, 6. Read next: management.py.
"""

from collections import deque
from typing import Final, NamedTuple

from tripoint.core.errors import PeerError
from tripoint.xmpp.tables import SM_NS, STANZA_ERRORS_NS

WRAP: Final = 1 << 32
_MAX_DIGITS: Final = 10


class HandledTooMuch(PeerError):
    """The peer acknowledges stanzas that it was not sent. spec: XEP-0198 6"""

    def __init__(self, h: int, sent: int) -> None:
        super().__init__(f"You acknowledged {h} stanzas, but I only sent you {sent} so far.")
        self.h = h
        self.sent = sent


class Kept(NamedTuple):
    """A stanza that may have to be sent again. `mark`: whatever the sender wants to know of it later."""

    data: bytes
    mark: int


class Unacked:
    """Stanzas on their way to one peer, oldest first. `sent` and `acked` are counters; `given_up` is the mark of the
    oldest stanza that was dropped for want of room and is not acknowledged, None where there is none."""

    __slots__ = ("_bytes", "_kept", "_max_bytes", "_max_stanzas", "acked", "given_up", "sent")

    def __init__(self, max_stanzas: int, max_bytes: int) -> None:
        self.sent = self.acked = 0
        self.given_up: int | None = None
        self._kept: deque[Kept] = deque()
        self._bytes = 0
        self._max_stanzas = max_stanzas
        self._max_bytes = max_bytes

    @property
    def outstanding(self) -> int:
        """How many are not acknowledged."""
        return (self.sent - self.acked) % WRAP

    def kept(self) -> list[Kept]:
        """Those that could be sent again."""
        return list(self._kept)

    def add(self, data: bytes, mark: int) -> None:
        """A stanza is being sent."""
        self.sent = (self.sent + 1) % WRAP
        self._kept.append(Kept(data, mark))
        self._bytes += len(data)
        while len(self._kept) > self._max_stanzas or self._bytes > self._max_bytes:
            dropped = self._kept.popleft()
            self._bytes -= len(dropped.data)
            if self.given_up is None:
                self.given_up = dropped.mark

    def acknowledge(self, h: int) -> None:
        """The peer has handled everything up to `h`. Raises HandledTooMuch.

        A number from before changes nothing: it was true once.
        """
        newly = (h - self.acked) % WRAP
        if newly > self.outstanding:
            if newly >= WRAP // 2:
                return
            raise HandledTooMuch(h, self.sent)
        missing = self.outstanding - len(self._kept)
        self.acked = h
        if newly >= missing:
            self.given_up = None
        for _ in range(newly - missing):
            self._bytes -= len(self._kept.popleft().data)

    def can_go_on_from(self, h: int) -> bool:
        """Whether everything after `h` is still here. Raises HandledTooMuch."""
        newly = (h - self.acked) % WRAP
        if newly > self.outstanding:
            if newly >= WRAP // 2:
                return False
            raise HandledTooMuch(h, self.sent)
        return newly >= self.outstanding - len(self._kept)


def parse_count(text: str | None) -> int | None:
    """An unsignedInt as XML Schema has it; None for anything else. spec: XEP-0198 13"""
    text = (text or "").strip().removeprefix("+")
    if not text or len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number < WRAP else None


def parse_boolean(text: str | None) -> bool:
    """An xs:boolean; absent or anything else is false."""
    return (text or "").strip() in ("true", "1")


def failed(condition: str, h: int | None = None) -> bytes:
    """<failed/> with a stanza error condition. spec: XEP-0198 6"""
    counted = "" if h is None else f" h='{h}'"
    return f"<failed xmlns='{SM_NS}'{counted}><{condition} xmlns='{STANZA_ERRORS_NS}'/></failed>".encode()
