"""Previews of links: made once for everybody who asks, kept for some days, thrown away with their pictures.

Who asks for what is nobody's business: links are not logged. A link that could not be had is not tried again at once.
spec: Matrix client-server-api GET /media/preview_url. Fetching is sites.py's.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

import orjson
import structlog

from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName, UserId
from tripoint.core.mxc import Mxc
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.media.ports import File
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.shelf import Shelf, file_of
from tripoint.media.sites import Picture, Sites, link_of
from tripoint.store.interface import MediaStore, StoreError
from tripoint.store.preview_store import PutPreview
from tripoint.store.stream import Stream
from tripoint.store.writes import PutMedia

log = structlog.get_logger("tripoint.media")

# How long a preview is as good as new, and how long it is kept for who asks for one of then.
FRESH_MS: Final = 3_600_000
KEPT_MS: Final = 7 * 86_400_000
MAX_PREVIEWS: Final = 20_000
# A link that could not be had is not tried again so soon; nor are more of them remembered.
FAILED_MS: Final = 300_000
MAX_FAILED: Final = 5_000
# Links that are fetched at a time, of them those that one account has asked for, and those that wait: a slow site that
# somebody links to does not take every turn. What one may take, its picture and all.
MAX_FETCHES: Final = 8
MAX_OF_USER: Final = 3
MAX_WAITING: Final = 100
MAKE_S: Final = 25.0
# Links that one account may have fetched.
RATE: Final = Rate(30, 0.5)
_SWEEP_ROWS: Final = 100

Measure = Callable[[File], Awaitable[tuple[int, int] | None]]


class Previews:
    """media.ports.PreviewService. `sites` None: there are none; `blocked`: sites of which none are made."""

    def __init__(
        self,
        server: ServerName,
        store: MediaStore,
        stream: Stream,
        shelf: Shelf,
        measure: Measure,
        blocked: Sequence[str],
        now_ms: Callable[[], int],
    ) -> None:
        self.sites: Sites | None = None
        self.blocked = blocked
        self._server = server
        self._store = store
        self._stream = stream
        self._shelf = shelf
        self._measure = measure
        self._now_ms = now_ms
        self._asked = TokenBuckets(RATE)
        self._making: dict[tuple[str, str], asyncio.Task[PutPreview]] = {}
        self._turns = asyncio.Semaphore(MAX_FETCHES)
        self._turns_of: WeakValueDictionary[UserId, asyncio.Semaphore] = WeakValueDictionary()
        self._failed: dict[tuple[str, str], int] = {}

    @property
    def is_on(self) -> bool:
        return self.sites is not None

    async def close(self) -> None:
        """Give up what is being fetched."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def preview(self, user_id: UserId, url: str, *, ts_ms: int | None, language: str) -> JsonObject:
        key = (link_of(url, self._is_blocked), language)
        row = await self._store.load_preview(*key)
        if row is None or not self._fits(row, ts_ms):
            row = await self._fetched(key, user_id)
        shown: JsonObject = orjson.loads(row.content or b"{}")
        if row.media_id is not None:
            media = await self._store.load_media(self._server, row.media_id)
            if media is None or media.quarantined:
                shown = {name: value for name, value in shown.items() if "image" not in name}
        return shown

    def _is_blocked(self, host: str) -> bool:
        return any(host == one.lower() or host.endswith(f".{one.lower()}") for one in self.blocked)

    def _fits(self, row: PutPreview, ts_ms: int | None) -> bool:
        """Whether what is kept will do: it is new, or nearer to the wanted time than what could be fetched now."""
        now_ms = self._now_ms()
        if now_ms - row.fetched_ts_ms < FRESH_MS:
            return True
        return ts_ms is not None and abs(row.fetched_ts_ms - ts_ms) <= now_ms - ts_ms

    async def _fetched(self, key: tuple[str, str], user_id: UserId) -> PutPreview:
        """Make a preview once, however many ask for it at a time: everybody in a room does, when a link comes."""
        if self._failed.get(key, 0) > self._now_ms():
            raise MediaRefused(MediaRefusal.NO_PREVIEW)
        task = self._making.get(key)
        if task is None:
            wait_s = self._asked.take(user_id, self._now_ms() / 1000)
            if wait_s > 0:
                raise MediaRefused(MediaRefusal.TOO_MANY_PREVIEWS, retry_after_ms=int(wait_s * 1000) + 1)
            if len(self._making) >= MAX_WAITING:
                raise MediaRefused(MediaRefusal.SERVER_BUSY)
            task = self._making[key] = asyncio.get_running_loop().create_task(self._make_in_turn(key, user_id))
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: tuple[str, str], task: asyncio.Task[PutPreview]) -> None:
        del self._making[key]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, MediaRefused) and error.refusal is MediaRefusal.NO_PREVIEW:
            while len(self._failed) >= MAX_FAILED:
                del self._failed[next(iter(self._failed))]
            self._failed.pop(key, None)
            self._failed[key] = self._now_ms() + FAILED_MS

    async def _make_in_turn(self, key: tuple[str, str], user_id: UserId) -> PutPreview:
        own = self._turns_of.setdefault(user_id, asyncio.Semaphore(MAX_OF_USER))
        async with own, self._turns:
            try:
                async with asyncio.timeout(MAKE_S):
                    return await self._make(*key)
            except RemoteFailed as failed:
                log.debug("media.no_preview", reason=failed.reason)
                raise MediaRefused(MediaRefusal.NO_PREVIEW) from failed
            except TimeoutError:
                raise MediaRefused(MediaRefusal.NO_PREVIEW) from None

    async def _make(self, url: str, language: str) -> PutPreview:
        assert self.sites is not None, "it was asked whether there are previews"
        found = await self.sites.look(url, language)
        picture = found.image
        if isinstance(picture, str):
            picture = await self.sites.picture(picture)
        tags: JsonObject = dict(found.tags)
        media_id = None
        if picture is not None:
            media_id = await self._keep(picture, tags)
        now_ms = self._now_ms()
        row = PutPreview(url, language, orjson.dumps(tags), media_id, now_ms, now_ms + KEPT_MS)
        before = await self._store.load_preview(url, language)
        await self._commit(row)
        if before is not None:
            await self._drop_picture(before)
        return row

    async def _keep(self, picture: Picture, tags: JsonObject) -> str | None:
        """A picture becomes a file of this server, if it is one; its name."""
        media_id, now_ms, incoming = secrets.token_urlsafe(18), self._now_ms(), picture.incoming
        row = PutMedia(
            self._server, media_id, incoming.content, picture.type, None, incoming.size, None, now_ms, now_ms
        )
        await self._shelf.keep(incoming, row)
        size = await self._measure(file_of(row))
        if size is None:
            await self._shelf.drop(row)
            return None
        tags["og:image"] = str(Mxc(self._server, media_id))
        tags["og:image:type"] = picture.type
        tags["og:image:width"], tags["og:image:height"] = size
        tags["matrix:image:size"] = incoming.size
        return media_id

    # -- what has had its time

    async def sweep(self) -> None:
        """Throw away what is old, and what there is too much of."""
        await self._drop_before(self._now_ms())
        while (over := await self._store.count_previews() - MAX_PREVIEWS) > 0:
            rows = await self._store.load_old_previews(2**62, min(over, _SWEEP_ROWS))
            for row in rows:
                await self._drop(row)
            if not rows:
                return

    async def _drop_before(self, expired_ms: int) -> None:
        while rows := await self._store.load_old_previews(expired_ms, _SWEEP_ROWS):
            for row in rows:
                await self._drop(row)

    async def _drop(self, row: PutPreview) -> None:
        await self._commit(PutPreview(row.url, row.language, None))
        await self._drop_picture(row)

    async def _drop_picture(self, row: PutPreview) -> None:
        if row.media_id is None:
            return
        media = await self._store.load_media(self._server, row.media_id)
        # What an administrator holds on to stays.
        if media is not None and not media.quarantined and not media.protected:
            await self._shelf.drop(media)

    async def _commit(self, row: PutPreview) -> None:
        try:
            await self._stream.commit([row])
        except StoreError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
