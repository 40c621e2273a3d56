"""Small pictures of large ones: made by a process of its own, kept beside the files.

Only the sizes that the specification names are made, so that nobody fills a disk by asking for every width.
spec: Matrix client-server-api "Thumbnails"
"""

import asyncio
from typing import Final

import structlog

from tripoint.core.media_types import bare_type
from tripoint.media.disk import Disk
from tripoint.media.files import Files, OpenFile
from tripoint.media.ports import File
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.side_process import SideProcess

log = structlog.get_logger("tripoint.media")

# spec: "Servers SHOULD produce thumbnails with the following dimensions"; each is made in both methods here.
SIZES: Final = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))
IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
# Larger files are no pictures that people look at in a chat.
MAX_SOURCE_BYTES: Final = 50_000_000
# What one picture may take; the process is killed then.
JOB_S: Final = 20.0
# What a message may wait for the size of its picture.
MEASURE_S: Final = 5.0
MAX_SMALL: Final = 10_000
_SUFFIXES: Final = {"image/png": "png", "image/jpeg": "jpg"}


def image_worker() -> SideProcess:
    """The process that looks at pictures (thumbnail_worker.py)."""
    return SideProcess("tripoint.media.thumbnail_worker", JOB_S, MediaRefusal.NO_THUMBNAIL)


class Thumbnails:
    """media.ports.ThumbnailService."""

    def __init__(self, files: Files, disk: Disk, worker: SideProcess) -> None:
        """`disk`: where they are kept."""
        self._files = files
        self._disk = disk
        self._worker = worker
        # Pictures that are no larger than a thumbnail, so that they need not be looked at again.
        self._small: dict[tuple[str, str], None] = {}
        self._making: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def thumbnail(self, file: File, width: int, height: int, *, crop: bool) -> tuple[OpenFile, str] | None:
        if bare_type(file.type) not in IMAGE_TYPES:
            raise MediaRefused(MediaRefusal.NO_THUMBNAIL)
        size = next((one for one in SIZES if one[0] >= width and one[1] >= height), None)
        if size is None:
            return None
        if file.size > MAX_SOURCE_BYTES:
            raise MediaRefused(MediaRefusal.IMAGE_TOO_LARGE)
        name = f"{size[0]}x{size[1]}-{'crop' if crop else 'scale'}"
        if (file.content, name) in self._small:
            return None
        try:
            found = await self._open(file, name)
            if found is not None:
                return found
            await self._made(file, size, name, crop=crop)
            return await self._open(file, name)
        except OSError as error:
            log.error("media.no_thumbnail", mxc=str(file.mxc), error=str(error))
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error

    async def measure(self, file: File) -> tuple[int, int] | None:
        """Width and height of a picture; None for what is none, or too large a one, or where it would take long:
        somebody's message waits for it."""
        if bare_type(file.type) not in IMAGE_TYPES or file.size > MAX_SOURCE_BYTES:
            return None
        try:
            async with asyncio.timeout(MEASURE_S), self._files.at_hand(file.content) as source:
                answer = await self._worker.do({"source": str(source)})
        except (MediaRefused, TimeoutError, OSError):
            return None
        return None if "error" in answer else (answer["width"], answer["height"])

    async def close(self) -> None:
        """Give up what is being made."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._worker.close()

    async def _made(self, file: File, size: tuple[int, int], name: str, *, crop: bool) -> None:
        """Make a thumbnail once, however many ask for it at a time: everybody in a room does, when a picture comes."""
        key = (file.content, name)
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.get_running_loop().create_task(self._make(file, size, name, crop=crop))
            task.add_done_callback(lambda done: self._making_ended(key, done))
        await asyncio.shield(task)

    def _making_ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may

    async def _make(self, file: File, size: tuple[int, int], name: str, *, crop: bool) -> None:
        job = {"width": size[0], "height": size[1], "crop": crop}
        made = self._disk.side_path()
        try:
            async with self._files.at_hand(file.content) as source:
                answer = await self._worker.do({**job, "source": str(source), "target": str(made)})
            if answer.get("error") == "too large":
                raise MediaRefused(MediaRefusal.IMAGE_TOO_LARGE)
            if "error" in answer:
                raise MediaRefused(MediaRefusal.NO_THUMBNAIL)
            if answer["type"] is not None:
                await self._disk.place_thumbnail(made, file.content, f"{name}.{_SUFFIXES[answer['type']]}")
                return
            while len(self._small) >= MAX_SMALL:
                del self._small[next(iter(self._small))]
            self._small[file.content, name] = None
        finally:
            made.unlink(missing_ok=True)

    async def _open(self, file: File, name: str) -> tuple[OpenFile, str] | None:
        for content_type, suffix in _SUFFIXES.items():
            opened = await self._disk.open_thumbnail(file.content, f"{name}.{suffix}")
            if opened is not None:
                return opened, content_type
        return None
