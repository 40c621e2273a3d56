"""Small pictures of large ones: made by a process of its own, kept beside the files.

Only the sizes that the specification names are made, so that nobody fills a disk by asking for every width.
spec: Matrix client-server-api "Thumbnails"
"""

import asyncio
import json
import os
import sys
from typing import Any, Final

import structlog

from tripoint.core.media_types import bare_type
from tripoint.media.disk import Disk
from tripoint.media.files import Files, OpenFile
from tripoint.media.ports import File
from tripoint.media.refusals import MediaRefusal, MediaRefused

log = structlog.get_logger("tripoint.media")

# spec: "Servers SHOULD produce thumbnails with the following dimensions"; each is made in both methods here.
SIZES: Final = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))
IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
# Larger files are no pictures that people look at in a chat.
MAX_SOURCE_BYTES: Final = 50_000_000
# What one picture may take; the process is killed then.
JOB_S: Final = 20.0
# Jobs that may wait for it, and how long.
MAX_WAITING: Final = 200
WAIT_S: Final = 60.0
# What a message may wait for the size of its picture.
MEASURE_S: Final = 5.0
MAX_SMALL: Final = 10_000
# It ends when nothing was asked for so long.
IDLE_S: Final = 60.0
_SUFFIXES: Final = {"image/png": "png", "image/jpeg": "jpg"}


class ImageWorker:
    """One process of thumbnail_worker.py, started when there is something to do. One job at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._idle: asyncio.TimerHandle | None = None

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer. MediaRefused(NO_THUMBNAIL) where it died of the job or took too long, SERVER_BUSY where
        others were before."""
        if self._waiting >= MAX_WAITING:
            raise MediaRefused(MediaRefusal.SERVER_BUSY)
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from None
        finally:
            self._waiting -= 1
        try:
            return await self._do(job)
        finally:
            self._turn.release()

    async def _do(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._idle is not None:
            self._idle.cancel()
        finished = False
        try:
            async with asyncio.timeout(JOB_S):
                process = await self._started()
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(json.dumps(job).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            if not line:
                raise ConnectionError("it ended")
            answer: dict[str, Any] = json.loads(line)
            finished = True
            return answer
        except (TimeoutError, OSError, ValueError) as error:
            log.warning("media.image_worker_failed", error=f"{type(error).__name__}: {error}")
            raise MediaRefused(MediaRefusal.NO_THUMBNAIL) from error
        finally:
            # After a job that did not end (or whose asker has gone) the next one must not read its answer.
            if not finished:
                await self._end()
            else:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._retire)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            # Nothing of this process's environment but where Python finds its modules.
            environment = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LC_ALL")}
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tripoint.media.thumbnail_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def _retire(self) -> None:
        """Nothing was asked for a while: the process reads the end of its input and ends."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        await self._end()


class Thumbnails:
    """media.ports.ThumbnailService."""

    def __init__(self, files: Files, disk: Disk, worker: ImageWorker) -> None:
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
