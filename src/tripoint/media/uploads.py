"""Files coming in: what an account may upload, the bytes to disk, the name into the store, in that order.

A file has its name only when its bytes are durable, so a name never leads to half a file. Names can also be had before
the bytes (Matrix `create`, XMPP slots): those lapse. spec: Matrix client-server-api content-repo
"""

import secrets
from collections import Counter
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from tripoint.core.ids import ServerName, UserId
from tripoint.core.media_types import UNKNOWN_TYPE, clean_filename, clean_type
from tripoint.core.mxc import Mxc
from tripoint.media.files import Files, FileTooLarge, Incoming
from tripoint.media.ports import File, Pending
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.shelf import Shelf, file_of
from tripoint.store.interface import MediaStore
from tripoint.store.writes import PutMedia

log = structlog.get_logger("tripoint.media")

# spec: createContent: the recommended 24 hours, and a limit of names that wait at a time.
PENDING_MS: Final = 86_400_000
MAX_PENDING: Final = 50
# Uploads of one account that come in at a time. A phone that sends an album has some ten.
MAX_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`file_bytes`: of one file. `account_bytes`: of all of an account's, 0 for no limit."""

    file_bytes: int
    account_bytes: int


class Uploads:
    """media.ports.UploadService. `arrived` hears of each file that is here now."""

    def __init__(
        self,
        server: ServerName,
        store: MediaStore,
        shelf: Shelf,
        files: Files,
        limits: UploadLimits,
        is_guest: Callable[[UserId], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self.limits = limits
        self.arrived: Callable[[File], None] = lambda file: None
        self._server = server
        self._store = store
        self._shelf = shelf
        self._files = files
        self._is_guest = is_guest
        self._now_ms = now_ms
        self._coming: Counter[UserId] = Counter()  # how many uploads of an account come in
        self._reserved: Counter[UserId] = Counter()  # bytes of them that are not in the store yet
        self._filling: set[Mxc] = set()  # names whose files come in now

    @property
    def limit_bytes(self) -> int:
        return self.limits.file_bytes

    async def upload(
        self,
        user_id: UserId,
        pieces: AsyncIterable[bytes],
        *,
        declared: int | None = None,
        type: str | None = None,
        filename: str | None = None,
    ) -> File:
        incoming = await self._receive(user_id, pieces, declared)
        now = self._now_ms()
        media_id = _new_id()
        row = PutMedia(
            self._server, media_id, incoming.content, clean_type(type), clean_filename(filename), incoming.size,
            user_id, now, now,
        )  # fmt: skip
        return await self._keep(user_id, incoming, row, already=0)

    async def create(
        self,
        user_id: UserId,
        *,
        type: str | None = None,
        filename: str | None = None,
        size: int = 0,
        lasts_ms: int = PENDING_MS,
    ) -> Pending:
        self._check_may(user_id)
        if size > self.limits.file_bytes:
            raise MediaRefused(MediaRefusal.TOO_LARGE)
        now = self._now_ms()
        pending = [row for row in await self._store.load_pending_media(user_id) if (row.expires_ts_ms or 0) > now]
        if len(pending) >= MAX_PENDING:
            wait = min((row.expires_ts_ms or 0) for row in pending) - now
            raise MediaRefused(MediaRefusal.TOO_MANY_PENDING, retry_after_ms=wait)
        await self._check_quota(user_id, size)
        row = PutMedia(
            self._server, _new_id(), None, clean_type(type), clean_filename(filename), size, user_id, now, now,
            expires_ts_ms=now + lasts_ms,
        )  # fmt: skip
        await self._shelf.commit(row)
        return _pending(row)

    async def upload_to(
        self,
        user_id: UserId,
        mxc: Mxc,
        pieces: AsyncIterable[bytes],
        *,
        declared: int | None = None,
        type: str | None = None,
        filename: str | None = None,
    ) -> File:
        row = await self._announced(user_id, mxc)
        if row.size and declared is not None and declared != row.size:
            raise MediaRefused(MediaRefusal.NOT_ANNOUNCED)
        if mxc in self._filling:
            raise MediaRefused(MediaRefusal.ALREADY_UPLOADED)
        self._filling.add(mxc)
        try:
            incoming = await self._receive(user_id, pieces, declared, already=row.size)
            if row.size and incoming.size != row.size:
                await self._files.discard(incoming)
                raise MediaRefused(MediaRefusal.NOT_ANNOUNCED)
            filled = PutMedia(
                row.server,
                row.media_id,
                incoming.content,
                clean_type(type) if type else row.type,
                clean_filename(filename) or row.filename,
                incoming.size,
                user_id,
                row.created_ts_ms,
                self._now_ms(),
            )
            return await self._keep(user_id, incoming, filled, already=row.size)
        finally:
            self._filling.discard(mxc)

    async def owner(self, mxc: Mxc, type: str | None) -> UserId | None:
        """Who got this name, to put a file there that says it is of this type. NOT_ANNOUNCED for another type."""
        row = await self._store.load_media(mxc.server, mxc.media_id)
        if row is None:
            return None
        if type is not None and UNKNOWN_TYPE not in (row.type, clean_type(type)) and clean_type(type) != row.type:
            raise MediaRefused(MediaRefusal.NOT_ANNOUNCED)
        return row.uploader

    async def _announced(self, user_id: UserId, mxc: Mxc) -> PutMedia:
        row = await self._store.load_media(mxc.server, mxc.media_id) if mxc.server == self._server else None
        if row is None or (row.content is None and (row.expires_ts_ms or 0) <= self._now_ms()):
            raise MediaRefused(MediaRefusal.NOT_FOUND)
        if row.uploader != user_id:
            raise MediaRefused(MediaRefusal.NOT_YOURS)
        if row.content is not None:
            raise MediaRefused(MediaRefusal.ALREADY_UPLOADED)
        return row

    def _check_may(self, user_id: UserId) -> None:
        if self._is_guest(user_id):
            raise MediaRefused(MediaRefusal.GUEST)

    async def _check_quota(self, user_id: UserId, more: int) -> None:
        """QUOTA where so much more is more than an account may have, what comes in at the moment counted too."""
        limit = self.limits.account_bytes
        if limit and await self._store.load_uploaded_bytes(user_id) + self._reserved[user_id] + more > limit:
            raise MediaRefused(MediaRefusal.QUOTA)

    async def _receive(
        self, user_id: UserId, pieces: AsyncIterable[bytes], declared: int | None, already: int = 0
    ) -> Incoming:
        """The bytes on disk, at a side. `already` of them are counted in the store."""
        self._check_may(user_id)
        if declared is not None and declared > self.limits.file_bytes:
            raise MediaRefused(MediaRefusal.TOO_LARGE)
        await self._check_quota(user_id, max((declared or 0) - already, 0))
        if self._coming[user_id] >= MAX_AT_ONCE:
            raise MediaRefused(MediaRefusal.TOO_MANY_PENDING, retry_after_ms=1000)
        expected = max((declared or 0) - already, 0)
        self._coming[user_id] += 1
        self._reserved[user_id] += expected
        try:
            incoming = await self._files.receive(pieces, self.limits.file_bytes)
        except FileTooLarge:
            raise MediaRefused(MediaRefusal.TOO_LARGE) from None
        except OSError as error:
            log.error("media.not_written", error=str(error))
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        finally:
            _give_back(self._coming, user_id, 1)
            _give_back(self._reserved, user_id, expected)
        return incoming

    async def _keep(self, user_id: UserId, incoming: Incoming, row: PutMedia, already: int) -> File:
        """Put the bytes in their place and the name into the store."""
        more = max(incoming.size - already, 0)
        try:
            await self._check_quota(user_id, more)
        except BaseException:
            await self._files.discard(incoming)
            raise
        self._reserved[user_id] += more
        try:
            await self._shelf.keep(incoming, row)
        finally:
            _give_back(self._reserved, user_id, more)
        file = file_of(row)
        self.arrived(file)
        log.info("media.uploaded", user_id=user_id, mxc=str(file.mxc), size=file.size, type=file.type)
        return file


def _pending(row: PutMedia) -> Pending:
    return Pending(
        Mxc(row.server, row.media_id), row.expires_ts_ms or 0, row.type or "", row.filename, row.size
    )


def _give_back(counter: Counter[UserId], user_id: UserId, amount: int) -> None:
    counter[user_id] -= amount
    if counter[user_id] <= 0:
        del counter[user_id]


def _new_id() -> str:
    """Unguessable: a name of a file in no room yet is known to its uploader alone."""
    return secrets.token_urlsafe(18)


