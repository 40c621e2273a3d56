"""Bytes of files on disk: written to a side, made durable, then put in their place by their hash (files.py).

What has a name under content/ is whole; what a killed server leaves in coming/ is thrown away at the next start. All of
it happens on threads of its own: a slow disk stops no chat.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from tripoint.media.files import FileTooLarge, Incoming, OpenFile

T = TypeVar("T")

# Disks take a few at a time gladly; sixteen uploads on one slow disk need no more threads.
_THREADS: Final = 4
_CHUNK: Final = 131_072
# Pieces are gathered to this much for one trip to a thread.
_GATHER: Final = 262_144


class _Open:
    """A file, or a part of it, that is being read. It stays readable when its name is taken away."""

    def __init__(self, disk: "Disk", descriptor: int, size: int, part: tuple[int, int] | None) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._start, self.length = part or (0, size)
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        at, end = self._start, self._start + self.length
        while at < end and not self._closed:
            data = await self._disk.off_loop(partial(os.pread, self._descriptor, min(_CHUNK, end - at), at))
            if not data:
                return
            at += len(data)
            yield data

    def close(self) -> None:
        """Called when nobody reads: a read that was cancelled has waited for its thread."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


class Disk:
    """The folder of files. start() before anything else."""

    def __init__(self, folder: Path) -> None:
        self._content = folder / "content"
        self._coming = folder / "coming"
        self._thumbnails = folder / "thumbnails"
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="media-disk")

    def start(self) -> None:
        """Make the folders; throw away what was half there. Raises OSError."""
        for folder in (self._content, self._coming, self._thumbnails):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._coming.iterdir():
            left.unlink()

    async def close(self) -> None:
        """Nothing is asked any more: its threads have little to end."""
        self._pool.shutdown(wait=True)

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Do something slow on a thread. Cancelled, it waits for the thread: what it uses stays in use till then."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    # -- files

    async def receive(self, pieces: AsyncIterable[bytes], limit_bytes: int) -> Incoming:
        path = self._coming / secrets.token_hex(16)
        descriptor = await self.off_loop(partial(os.open, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        digest, size = hashlib.sha256(), 0
        gathered: list[bytes] = []
        waiting = 0

        def write(data: bytes) -> None:
            digest.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

        kept = False
        try:
            async for piece in pieces:
                size += len(piece)
                if size > limit_bytes:
                    raise FileTooLarge
                gathered.append(piece)
                waiting += len(piece)
                if waiting >= _GATHER:
                    await self.off_loop(partial(write, b"".join(gathered)))
                    gathered, waiting = [], 0
            if gathered:
                await self.off_loop(partial(write, b"".join(gathered)))
            await self.off_loop(partial(os.fsync, descriptor))
            kept = True
            return Incoming(path, digest.hexdigest(), size)
        finally:
            os.close(descriptor)
            if not kept:
                await self.off_loop(partial(path.unlink, missing_ok=True))

    async def place(self, incoming: Incoming) -> None:
        await self.off_loop(partial(_place, incoming.path, self.path(incoming.content)))

    async def discard(self, incoming: Incoming) -> None:
        await self.off_loop(partial(incoming.path.unlink, missing_ok=True))

    def path(self, content: str) -> Path:
        """Where the bytes with this hash are, if they are here."""
        return self._content / content[:2] / content

    async def open(self, content: str, part: tuple[int, int] | None = None) -> OpenFile | None:
        return await self._open(self.path(content), part)

    async def _open(self, path: Path, part: tuple[int, int] | None = None) -> OpenFile | None:
        def opened() -> tuple[int, int] | None:
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            return descriptor, os.fstat(descriptor).st_size

        found = await self.off_loop(opened)
        return None if found is None else _Open(self, *found, part)

    async def remove(self, content: str) -> None:
        """Names only, of the thumbnails too: quick enough for the loop."""
        self.path(content).unlink(missing_ok=True)
        self.forget_thumbnails(content)

    @asynccontextmanager
    async def at_hand(self, content: str) -> AsyncIterator[Path]:
        yield self.path(content)

    async def listing(self) -> AsyncIterator[tuple[str, int]]:
        for folder in sorted(await self.off_loop(partial(_inside, self._content))):
            for path in await self.off_loop(partial(_inside, folder)):
                size = await self.off_loop(partial(_size, path))
                if size is not None:
                    yield path.name, size

    # -- thumbnails: they can be made again, so nothing about them needs to be durable

    def thumbnail_folder(self, content: str) -> Path:
        return self._thumbnails / content[:2] / content

    def side_path(self) -> Path:
        """A new path beside the others, for something that is being made."""
        return self._coming / secrets.token_hex(16)

    def forget_thumbnails(self, content: str) -> None:
        """Their file is gone."""
        shutil.rmtree(self.thumbnail_folder(content), ignore_errors=True)

    async def open_thumbnail(self, content: str, name: str) -> OpenFile | None:
        """One that was made."""
        return await self._open(self.thumbnail_folder(content) / name)

    async def place_thumbnail(self, made: Path, content: str, name: str) -> Path:
        """Put a thumbnail that was made at a side path in its place."""
        path = self.thumbnail_folder(content) / name

        def move() -> None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(made, path)

        await self.off_loop(move)
        return path


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None  # it was taken away meanwhile


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True, mode=0o700)
    os.replace(source, target)
    # The name of the file, and of the folder in which it may be the first.
    _sync_folder(target.parent)
    _sync_folder(target.parent.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
