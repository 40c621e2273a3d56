"""Bytes and names of files kept in step: no name without its bytes, no bytes for long without a name.

The order that makes it so: bytes are durable in their place, then the name is committed; a name is taken away, then
bytes that no name stands for. A crash between the two leaves bytes without a name, never the other way round.
"""

import asyncio
from collections import Counter

import structlog
from msgspec.structs import replace

from tripoint.core.ids import UserId
from tripoint.core.mxc import Mxc
from tripoint.media.files import Files, Incoming
from tripoint.media.ports import File
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.store.interface import MediaStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutMedia

log = structlog.get_logger("tripoint.media")


class Shelf:
    """Puts files in and takes them out."""

    def __init__(self, store: MediaStore, stream: Stream, files: Files) -> None:
        self._store = store
        self._stream = stream
        self._files = files
        self._arriving: Counter[str] = Counter()  # bytes whose names are being written
        # Bytes that may have lost their last name: whoever brings the same again takes them from here.
        self._doomed: set[str] = set()
        self._sweeping = asyncio.Lock()
        self._removing: dict[str, asyncio.Event] = {}  # bytes that are being taken away

    async def commit(self, *rows: PutMedia) -> None:
        """Write names. MediaRefused(SERVER_BUSY) where the store cannot."""
        try:
            await self._stream.commit(rows)
        except StoreError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error

    async def keep(self, incoming: Incoming, row: PutMedia) -> None:
        """Bytes and their name. MediaRefused(SERVER_BUSY), and then nothing was kept."""
        content = incoming.content
        self._arriving[content] += 1
        self._doomed.discard(content)
        if (removed := self._removing.get(content)) is not None:
            await removed.wait()
        refused: MediaRefused | None = None
        try:
            await self._files.place(incoming)
            # Whoever is cancelled here leaves the bytes: their name may be on its way to the disk.
            await self.commit(row)
        except OSError as error:
            log.error("media.not_written", error=str(error))
            await self._files.discard(incoming)
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        except MediaRefused as error:
            refused = error
        finally:
            self._arriving[content] -= 1
            if not self._arriving[content]:
                del self._arriving[content]
        if refused is not None:
            await self._sweep_out(content)
            raise refused

    async def drop(self, row: PutMedia) -> None:
        """Take a name away, and the bytes if no other name stands for them."""
        await self.commit(gone(row))
        if row.content is not None:
            await self._sweep_out(row.content)

    async def quarantine(self, mxc: Mxc, *, on: bool = True, by: UserId | None = None) -> bool:
        """Give a file out to nobody any more, or again; False where there is no such file. The bytes stay, and with
        them the evidence; another server's file is not fetched again. `by`: the administrator who says so."""
        row = await self._store.load_media(mxc.server, mxc.media_id)
        if row is None:
            return False
        await self.commit(replace(row, quarantined=on, quarantined_by=by if on else None))
        return True

    async def _sweep_out(self, content: str) -> None:
        async with self._sweeping:
            self._doomed.add(content)
            kept = await self._store.is_content_kept(content)
            # Who brought the same bytes since the question has taken them off the list, or is writing their name.
            if not kept and content in self._doomed and content not in self._arriving:
                await self._remove(content)
            self._doomed.discard(content)


    async def _remove(self, content: str) -> None:
        """Bytes that cannot be taken away now stay without a name: `tripoint media check` finds them."""
        removed = self._removing[content] = asyncio.Event()
        try:
            await self._files.remove(content)
        except OSError as error:
            log.error("media.not_removed", content=content, error=str(error))
        finally:
            del self._removing[content]
            removed.set()


def gone(row: PutMedia) -> PutMedia:
    """The write that takes a name away."""
    return PutMedia(row.server, row.media_id, None, None, None, 0, None, 0, 0)


def file_of(row: PutMedia) -> File:
    """A row whose bytes are here."""
    assert row.content is not None and row.type is not None, "the bytes have not come"
    return File(Mxc(row.server, row.media_id), row.content, row.type, row.filename, row.size)
