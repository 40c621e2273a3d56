"""Where bytes of files lie, whatever it is: a folder (disk.py) or a bucket (bucket.py). tests/media hold both to this.

Bytes are known by the SHA-256 of them, so the same picture sent a hundred times is there once. What cannot be written
or read raises OSError; who asked is told that the server is busy, and nothing is acknowledged that is not kept.
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class FileTooLarge(Exception):
    """What is written is over its limit."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes that have come and lie on disk, not in their place yet. `content`: their SHA-256 in hex."""

    path: Path
    content: str
    size: int


class OpenFile(Protocol):
    """A part of a file that is being read (net.http_body.Pieces)."""

    length: int

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None:
        """Nobody reads any more."""


class Files(Protocol):
    """The bytes."""

    async def receive(self, pieces: AsyncIterable[bytes], limit_bytes: int) -> Incoming:
        """Write what comes to a side, durably. Raises FileTooLarge, OSError, and what `pieces` raises; then nothing
        is left of it."""

    async def place(self, incoming: Incoming) -> None:
        """Put what has come in its place. Durable when it returns; the side is empty again. Raises OSError."""

    async def discard(self, incoming: Incoming) -> None:
        """What has come is not wanted."""

    async def open(self, content: str, part: tuple[int, int] | None = None) -> OpenFile | None:
        """The bytes with this hash, or `part` (first byte, length) of them; None if there are none. Raises OSError."""

    async def remove(self, content: str) -> None:
        """Take the bytes with this hash away, if they are there. Raises OSError."""

    def at_hand(self, content: str) -> AbstractAsyncContextManager[Path]:
        """The bytes with this hash as a file, for a program that reads one. Raises OSError."""

    def listing(self) -> AsyncIterator[tuple[str, int]]:
        """(hash, size) of all that is there. Raises OSError."""

    async def close(self) -> None: ...
