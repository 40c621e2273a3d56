"""Keeps the full-text index up with the rooms: behind them by some seconds, and level before anybody asks it.

It reads the log of events as it was committed, and what was redacted since. The index is made from nothing where it is
lost, broken or of another database; the sends of others do not wait for it.  docs/decisions/search.md
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import orjson
import structlog

from tripoint.core.ids import EventId
from tripoint.core.json_view import object_at, text_at
from tripoint.core.searchable import searchable_text
from tripoint.core.words import Question, words_of
from tripoint.rooms.changes import EventCommitted, RoomChange, Swept
from tripoint.store.interface import Document, Reached, SearchIndex, SearchStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import ForgetWordsGone

log = structlog.get_logger()

# How far behind it may be while nobody asks: a burst is indexed at once, not line by line.
DELAY_S: Final = 5.0
# Events that are taken up at once: about ten milliseconds of one thread.
BATCH: Final = 500
# Steps that somebody who asks waits for; a new index of an old server is filled in the background.
LEVEL: Final = 20
NOTHING: Final = Reached(0, EventId(""))


class Indexing:
    """`room_changed` hears of all rooms; run() is a task of its own."""

    def __init__(self, store: SearchStore, stream: Stream, index: SearchIndex) -> None:
        self._store = store
        self._stream = stream
        self._index = index
        self._reached = NOTHING
        self._behind = asyncio.Event()
        self._redacted = asyncio.Event()
        self._one = asyncio.Lock()

    async def start(self) -> None:
        """Open the index, and empty it if it is of another database."""
        reached = await self._index.open()
        known = (await self._store.load_events([reached.event_key])).get(reached.event_key)
        # It may have gone with its room, or have another key where it was placed late; what never was is of another
        # database, or of a newer copy of this one.
        other = known is not None and known.event_id != reached.event_id
        if other or reached.event_key > self._stream.committed:
            await self._index.start_anew()
            reached = NOTHING
        self._reached = reached
        self._behind.set()

    def room_changed(self, change: RoomChange) -> None:
        if type(change) is EventCommitted:
            self._behind.set()
            if change.event.type == "m.room.redaction":
                self._redacted.set()
        elif type(change) is Swept:
            self._behind.set()
            self._redacted.set()

    async def run(self) -> None:
        """Follow for as long as the server runs."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            self._redacted.clear()
            try:
                while await self._step():
                    pass
                more = True
                while more:
                    more = await self._index.tidy()
            except StoreError as error:
                log.error("search.not_indexed", error=str(error))
            with suppress(TimeoutError):
                # What is taken back does not wait: until then its words are on the disk. No wait_for: on Python 3.11
                # it loses a cancellation that comes in the moment in which something is taken back.
                async with asyncio.timeout(DELAY_S):
                    await self._redacted.wait()

    async def find(
        self, question: Question, rooms: Sequence[int] | None, *, before: int | None, limit: int
    ) -> Sequence[int]:
        """SearchIndex.find, with everything in it that was committed before."""
        await self.level()
        return await self._index.find(question, rooms, before=before, limit=limit)

    async def level(self) -> None:
        """Take up what was committed so far, unless that is very much."""
        for _ in range(LEVEL):
            if not await self._step():
                return

    async def close(self) -> None:
        await self._index.close()

    async def _step(self) -> bool:
        """Take up the next events and redactions; whether there is more."""
        async with self._one:
            # First the log: what was redacted before it was taken up is taken up without words.
            rows = await self._store.load_log(self._reached.event_key, BATCH)
            gone = await self._store.load_words_gone(BATCH)
            if not rows and not gone:
                return False
            added = [_document(row.event_key, row.place, row.room_key, row.json) for row in rows]
            lost = [_document(row.event_key, row.position, row.room_key, row.json) for row in gone]
            reached = Reached(rows[-1].logged, rows[-1].event_id) if rows else self._reached
            await self._index.add(
                [document for document in added if document.words],
                [document for document in lost if document.words],
                reached,
            )
            self._reached = reached
            if gone:
                await self._stream.commit([ForgetWordsGone(gone[-1].number)])
            return len(rows) == BATCH or len(gone) == BATCH


def _document(event_key: int, position: int, room_key: int, json: bytes) -> Document:
    fields = orjson.loads(json)
    text = searchable_text(text_at(fields, "type") or "", object_at(fields, "content"))
    return Document(event_key if position > 0 else -event_key, room_key, tuple(words_of(text)))
