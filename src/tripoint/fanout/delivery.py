"""How bytes leave: one outbox per connection, all outboxes written once per turn of the loop.

A send() on loopback costs 5-7 µs whoever makes it, so what is appended within one turn is joined and written
once; on a busy server it waits for more (holding.py). When a peer does not read, its outbox grows to its limit and
`on_overflow` closes that connection; what it missed is in the room's history.
"""

from collections.abc import Callable
from typing import Protocol

from tripoint.fanout.holding import Pace


class ByteWriter(Protocol):
    """The part of asyncio.Transport that an outbox needs."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...


class Flusher:
    """Writes all outboxes that were touched in this turn of the loop. One per loop."""

    def __init__(self, pace: Pace) -> None:
        self.dirty: list[Outbox] = []
        self.generation = 0  # how many times they were written
        self.schedule = pace.holding(lambda: len(self.dirty), self._flush).schedule

    def add(self, outbox: "Outbox") -> None:
        """It is written when this turn is over, or a little later."""
        if not self.dirty:
            self.schedule()
        self.dirty.append(outbox)

    def _flush(self) -> None:
        outboxes, self.dirty = self.dirty, []
        self.generation += 1
        for outbox in outboxes:
            outbox.flush()


class Outbox:
    """Bytes on their way to one connection.

    `limit_bytes` bounds what waits in here and in the transport together; beyond it `on_overflow()` is called
    once and everything later is dropped.
    """

    __slots__ = ("_chunks", "_limit_bytes", "_on_overflow", "closed", "flusher", "sent", "sent_bytes", "transport")

    def __init__(
        self, transport: ByteWriter, flusher: Flusher, limit_bytes: int, on_overflow: Callable[[], None]
    ) -> None:
        self.transport = transport
        self.closed = False
        self.sent = 0  # what was written: how many times something was sent, and how many bytes
        self.sent_bytes = 0
        self.flusher = flusher
        self._chunks: list[bytes] = []
        self._limit_bytes = limit_bytes
        self._on_overflow = on_overflow

    def send(self, data: bytes) -> None:
        """Append whole lines or stanzas; they leave at the end of this turn."""
        if self.closed:
            return
        chunks = self._chunks
        if not chunks:
            self.flusher.add(self)
        chunks.append(data)

    def flush(self) -> None:
        """Write now what was appended (also before a TLS switch or a close)."""
        chunks = self._chunks
        if not chunks:
            return
        self._chunks = []
        self.write(chunks[0] if len(chunks) == 1 else b"".join(chunks), len(chunks))

    def write(self, data: bytes, pieces: int) -> None:
        """Write what was appended, in so many pieces."""
        if self.closed or self.transport.is_closing():
            return
        size = len(data)
        if self.transport.get_write_buffer_size() + size > self._limit_bytes:
            self.closed = True
            self._on_overflow()
            return
        self.sent += pieces
        self.sent_bytes += size
        self.transport.write(data)

    def close(self) -> None:
        """Nothing appended from now on is sent."""
        self.flush()
        self.closed = True
        self._chunks = []


class MessageOutbox(Outbox):
    """An outbox for a transport of messages: each piece becomes a message of its own, by `frame`.

    `frame` gives what goes over the wire, or nothing for a piece that can be sent no more.
    """

    __slots__ = ("_frame",)

    def __init__(
        self,
        transport: ByteWriter,
        flusher: Flusher,
        limit_bytes: int,
        on_overflow: Callable[[], None],
        frame: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(transport, flusher, limit_bytes, on_overflow)
        self._frame = frame

    def send(self, data: bytes) -> None:
        if not self.closed and (framed := self._frame(data)):
            super().send(framed)
