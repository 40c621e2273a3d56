"""Bodies in pieces: an upload that is read while it comes, and an answer that is sent while it is read.

Neither is ever whole in memory. Read next: http.py, which decides when which is used.
spec: RFC9110 14 (ranges)
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

# What may wait for whoever reads an upload; beyond it the socket is not read.
HIGH_BYTES: Final = 262_144
LOW_BYTES: Final = 65_536


class ClientGone(Exception):
    """The connection ended before the body did. There is nobody to answer."""


class BodyTooLarge(Exception):
    """The body turned out to be over its limit while it was read."""


class BodyStream:
    """The body of a request as it comes in, for one reader: `async for piece in stream`.

    Raises ClientGone or BodyTooLarge to the reader. `declared` is the content-length, None where the client gave none.
    `started`, `full` and `drained` tell the connection when reading begins, and when to pause and go on.
    """

    def __init__(
        self,
        limit_bytes: int,
        declared: int | None,
        *,
        started: Callable[[], None],
        full: Callable[[], None],
        drained: Callable[[], None],
    ) -> None:
        self.declared = declared
        self.complete = False
        self._limit = limit_bytes
        self._started = started
        self._full = full
        self._drained = drained
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._received = 0
        self._paused = False
        self._failed: Exception | None = None
        self._wake: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        return self._paused

    def feed(self, data: bytes) -> None:
        """A piece came. What comes after a failure is thrown away."""
        if self._failed is not None:
            return
        self._received += len(data)
        if self._received > self._limit:
            self.fail(BodyTooLarge())
            return
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > HIGH_BYTES and not self._paused:
            self._paused = True
            self._full()
        self._tell()

    def end(self) -> None:
        """The last piece came."""
        self.complete = True
        self._tell()

    def fail(self, error: Exception) -> None:
        """No more will come; what nobody has read yet is given up."""
        if self._failed is None and not self.complete:
            self._failed = error
            self._pieces.clear()
            self._waiting = 0
            self._tell()

    def _tell(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._started()
        while True:
            if self._failed is not None:
                raise self._failed
            if self._pieces:
                piece = self._pieces.popleft()
                self._waiting -= len(piece)
                if self._paused and self._waiting <= LOW_BYTES:
                    self._paused = False
                    self._drained()
                yield piece
            elif self.complete:
                return
            else:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake


class Pieces(Protocol):
    """The body of an answer that is sent piece by piece: exactly `length` bytes. close() is called in every case."""

    @property
    def length(self) -> int: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


async def whole(data: bytes) -> AsyncIterator[bytes]:
    """A body that is there already, as a stream."""
    if data:
        yield data


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, length) of a Range header that asks for one part of `size` bytes.

    None: there is no range that is understood, so the whole is the answer. ValueError: it lies outside (416).
    spec: RFC9110 14.1.2, 14.2
    """
    unit, equals, text = (header or "").partition("=")
    first, dash, last = text.strip().partition("-")
    if unit.strip().lower() != "bytes" or not equals or not dash:
        return None
    if not all(part == "" or (part.isascii() and part.isdigit() and len(part) < 19) for part in (first, last)):
        return None
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise ValueError("outside")
        length = min(int(last), size)
        return size - length, length
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise ValueError("outside")
    end = min(int(last), size - 1) if last else size - 1
    return start, end - start + 1
