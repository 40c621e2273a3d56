"""What administrators see of files and do to them: quarantine, protection, deletion, who uploaded how much.

docs/operate/administration.md. What is sent in rooms is rooms/inspection.py's to say.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from tripoint.core.ids import ServerName, UserId
from tripoint.core.listings import MediaQuery, MediaUse, MediaUseQuery, Page
from tripoint.core.mxc import Mxc
from tripoint.media.library import Library
from tripoint.media.ports import StoredFile
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.shelf import Shelf
from tripoint.store.interface import MediaStore, StoreError
from tripoint.store.writes import PutMedia

# Files of one account that are looked at in one go.
_STEP = 500


class MediaDesk:
    """media.ports.MediaAdministration."""

    def __init__(self, server: ServerName, store: MediaStore, shelf: Shelf, library: Library) -> None:
        self._server = server
        self._store = store
        self._shelf = shelf
        self._library = library

    async def find(self, mxc: Mxc) -> StoredFile | None:
        row = await self._store.load_media(mxc.server, mxc.media_id)
        return None if row is None or row.content is None else _shown(row)

    async def of_user(self, query: MediaQuery) -> tuple[Sequence[StoredFile], int]:
        try:
            rows, total = await self._store.list_media(query)
        except StoreError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        return [_shown(row) for row in rows], total

    async def quarantine(self, names: Iterable[Mxc], *, by: UserId) -> int:
        count = 0
        for mxc in names:
            row = await self._store.load_media(mxc.server, mxc.media_id)
            if row is not None and not row.quarantined and not row.protected:
                count += await self._shelf.quarantine(mxc, by=by)
        return count

    async def quarantine_of_user(self, user_id: UserId, *, by: UserId) -> int:
        count, start, more = 0, 0, True
        while more:
            files, total = await self.of_user(MediaQuery(Page(start, _STEP), user_id, "media_id", False))
            count += await self.quarantine((file.mxc for file in files), by=by)
            start += len(files)
            more = bool(files) and start < total
        return count

    async def release(self, mxc: Mxc) -> bool:
        return await self._shelf.quarantine(mxc, on=False)

    async def protect(self, mxc: Mxc, *, on: bool) -> bool:
        row = await self._store.load_media(mxc.server, mxc.media_id)
        if row is None:
            return False
        await self._shelf.commit(replace(row, protected=on))
        return True

    async def delete(self, mxc: Mxc) -> bool:
        row = await self._store.load_media(mxc.server, mxc.media_id)
        if row is None:
            return False
        await self._shelf.drop(row)
        return True

    async def delete_unused(
        self, *, local: bool, before_ms: int, larger_than: int = 0, pictures: bool = False
    ) -> Sequence[Mxc]:
        try:
            return await self._library.drop_unused(
                local=local, before_ms=before_ms, larger_than=larger_than, pictures=pictures
            )
        except StoreError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error

    async def use(self, query: MediaUseQuery) -> tuple[Sequence[MediaUse], int]:
        try:
            return await self._store.list_media_use(query)
        except StoreError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error


def _shown(row: PutMedia) -> StoredFile:
    return StoredFile(
        Mxc(row.server, row.media_id),
        row.type or "",
        row.filename,
        row.size,
        row.uploader,
        row.created_ts_ms,
        row.used_ts_ms,
        row.quarantined,
        row.quarantined_by,
        row.protected,
    )
