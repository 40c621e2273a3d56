"""Files that are here, or can be had: found by their names, waited for, fetched from other servers and kept.

What is fetched is kept up to a limit; what was asked for longest ago goes first. spec: Matrix client-server-api
content-repo, server-server-api "Content Repository"
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

import structlog
from msgspec.structs import replace

from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.core.listings import OldMediaQuery
from tripoint.core.media_types import clean_filename, clean_type
from tripoint.core.mxc import Mxc
from tripoint.media.files import Files, FileTooLarge, OpenFile
from tripoint.media.ports import File, NoSuchFile, RemoteMedia
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.shelf import Shelf, file_of
from tripoint.store.interface import MediaStore
from tripoint.store.writes import PutMedia

log = structlog.get_logger("tripoint.media")

# spec: timeout_ms: "SHOULD impose a maximum value".
MAX_WAIT_MS: Final = 60_000
MAX_WAITING: Final = 1000
# Files of other servers that are fetched at a time, and of one of them: a slow one does not take every turn.
MAX_FETCHES: Final = 16
MAX_PER_SERVER: Final = 4
# A file that could not be had is not asked for again so soon; nor are more such names remembered.
FAILED_MS: Final = 60_000
MAX_FAILED: Final = 10_000
# When a file was last asked for is written down this exactly.
USED_MS: Final = 86_400_000
# A name is forgotten this long after it has lapsed: an upload that began in time may still run (UPLOAD_S).
LAPSED_MS: Final = 7_200_000
_SWEEP_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """`file_bytes`: of one file of another server. `bytes`: of all of them. `local_ms`, `remote_ms`: how long files
    that nobody asks for are kept, of this server and of others; 0: as long as there is room."""

    file_bytes: int
    bytes: int
    local_ms: int = 0
    remote_ms: int = 0


class Library:
    """media.ports.FileLibrary. `remote` stays None where this server asks no others."""

    def __init__(
        self,
        server: ServerName,
        store: MediaStore,
        shelf: Shelf,
        files: Files,
        limits: CacheLimits,
        now_ms: Callable[[], int],
    ) -> None:
        self.limits = limits
        self.remote: RemoteMedia | None = None
        self._server = server
        self._store = store
        self._shelf = shelf
        self._files = files
        self._now_ms = now_ms
        self._waiting: dict[Mxc, set[asyncio.Future[None]]] = {}
        self._fetches: dict[Mxc, asyncio.Task[File]] = {}
        self._turns = asyncio.Semaphore(MAX_FETCHES)
        self._turns_of: WeakValueDictionary[ServerName, asyncio.Semaphore] = WeakValueDictionary()
        self._failed: dict[Mxc, tuple[int, MediaRefusal]] = {}

    async def close(self) -> None:
        """Give up what is being fetched."""
        tasks = list(self._fetches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def find(self, mxc: Mxc, *, wait_ms: int = 0, fetch: bool = True) -> File:
        row = await self._store.load_media(mxc.server, mxc.media_id)
        if row is None:
            if mxc.server == self._server or not fetch or self.remote is None:
                raise MediaRefused(MediaRefusal.NOT_FOUND)
            return await self._fetched(mxc)
        if row.quarantined:
            raise MediaRefused(MediaRefusal.NOT_FOUND)
        if row.content is None:
            row = await self._awaited(mxc, row, min(wait_ms, MAX_WAIT_MS))
        elif self._now_ms() - row.used_ts_ms > USED_MS:
            await self._used(row)
        return file_of(row)

    async def open(self, file: File, part: tuple[int, int] | None = None) -> OpenFile:
        """Raises MediaRefused(NOT_FOUND) where the bytes are gone meanwhile."""
        try:
            opened = await self._files.open(file.content, part)
        except OSError as error:
            log.error("media.not_read", mxc=str(file.mxc), error=str(error))
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        if opened is None:
            log.error("media.bytes_missing", mxc=str(file.mxc), content=file.content)
            row = await self._store.load_media(file.mxc.server, file.mxc.media_id)
            if row is not None and row.uploader is None and not row.quarantined:
                await self._shelf.drop(row)  # the next who asks makes this server fetch it again
            raise MediaRefused(MediaRefusal.NOT_FOUND)
        return opened

    # -- files that are announced

    def arrived(self, file: File) -> None:
        """A file is here now: wake whoever waits for it."""
        for future in self._waiting.get(file.mxc, ()):
            if not future.done():
                future.set_result(None)

    async def _awaited(self, mxc: Mxc, row: PutMedia, wait_ms: int) -> PutMedia:
        if (row.expires_ts_ms or 0) <= self._now_ms():
            raise MediaRefused(MediaRefusal.NOT_FOUND)
        if wait_ms > 0 and sum(map(len, self._waiting.values())) < MAX_WAITING:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(mxc, set()).add(future)
            try:
                # It may have come while the row was being read.
                now = await self._store.load_media(mxc.server, mxc.media_id)
                if now is None or now.content is None:
                    async with asyncio.timeout(wait_ms / 1000):
                        await future
            except TimeoutError:
                pass
            finally:
                self._waiting[mxc].discard(future)
                if not self._waiting[mxc]:
                    del self._waiting[mxc]
            now = await self._store.load_media(mxc.server, mxc.media_id)
            if now is not None and now.content is not None:
                return now
        raise MediaRefused(MediaRefusal.NOT_YET_UPLOADED)

    # -- other servers' files

    async def _used(self, row: PutMedia) -> None:
        assert row.content is not None
        await self._shelf.commit(replace(row, used_ts_ms=self._now_ms()))

    async def _fetched(self, mxc: Mxc) -> File:
        """Fetch a file once, however many ask for it at a time. One who gives up does not end it for the others."""
        failed = self._failed.get(mxc)
        if failed is not None and failed[0] > self._now_ms():
            raise MediaRefused(failed[1])
        task = self._fetches.get(mxc)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(mxc))
            self._fetches[mxc] = task
            task.add_done_callback(lambda done: self._fetch_ended(mxc, done))
        return await asyncio.shield(task)

    def _fetch_ended(self, mxc: Mxc, task: asyncio.Task[File]) -> None:
        self._fetches.pop(mxc, None)
        if task.cancelled():
            return
        error = task.exception()
        passing = (MediaRefusal.SERVER_BUSY, MediaRefusal.NOT_YET_UPLOADED)
        if isinstance(error, MediaRefused) and error.refusal not in passing:
            while len(self._failed) >= MAX_FAILED:
                del self._failed[next(iter(self._failed))]
            self._failed[mxc] = (self._now_ms() + FAILED_MS, error.refusal)

    async def _fetch(self, mxc: Mxc) -> File:
        assert self.remote is not None
        turns_of_server = self._turns_of.setdefault(mxc.server, asyncio.Semaphore(MAX_PER_SERVER))
        async with turns_of_server, self._turns:
            try:
                async with self.remote.fetch(mxc) as found:
                    incoming = await self._files.receive(found.pieces, self.limits.file_bytes)
                    now = self._now_ms()
                    row = PutMedia(
                        mxc.server, mxc.media_id, incoming.content, clean_type(found.type),
                        clean_filename(found.filename), incoming.size, None, now, now,
                    )  # fmt: skip
                    await self._shelf.keep(incoming, row)
            except NoSuchFile as error:
                missing = MediaRefusal.NOT_YET_UPLOADED if error.not_yet else MediaRefusal.NOT_FOUND
                raise MediaRefused(missing) from None
            except FileTooLarge:
                raise MediaRefused(MediaRefusal.REMOTE_TOO_LARGE) from None
            except RemoteFailed as error:
                log.info("media.not_fetched", mxc=str(mxc), reason=error.reason)
                raise MediaRefused(MediaRefusal.REMOTE_FAILED, f"{mxc.server} did not give the file") from error
            except OSError as error:
                log.error("media.not_written", error=str(error))
                raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        log.info("media.fetched", mxc=str(mxc), size=row.size)
        return file_of(row)

    # -- what has had its time

    async def sweep(self) -> None:
        """Forget names whose files did not come, and cached files beyond what is kept."""
        for row in await self._store.load_lapsed_media(self._now_ms() - LAPSED_MS):
            await self._shelf.drop(row)
        while (over := await self._store.load_cached_bytes(self._server) - self.limits.bytes) > 0:
            rows = await self._store.load_cached_media(self._server, _SWEEP_ROWS)
            for row in rows:
                if over <= 0:
                    break
                over -= row.size
                await self._shelf.drop(row)
            if not rows:
                break
        for local, life_ms in ((True, self.limits.local_ms), (False, self.limits.remote_ms)):
            if life_ms:
                await self.drop_unused(local=local, before_ms=self._now_ms() - life_ms)

    async def drop_unused(
        self, *, local: bool, before_ms: int, larger_than: int = 0, pictures: bool = False
    ) -> Sequence[Mxc]:
        """Drop files that nobody has asked for since a time (core.listings.OldMediaQuery); which they were."""
        dropped: list[Mxc] = []
        query = OldMediaQuery(self._server, local, before_ms, larger_than, pictures, _SWEEP_ROWS)
        while rows := await self._store.list_old_media(query):
            for row in rows:
                await self._shelf.drop(row)
                dropped.append(Mxc(row.server, row.media_id))
        return dropped
