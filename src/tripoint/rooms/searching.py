"""Searching for words: what the index finds, looked at again with the eyes of who asks.

The index says which events may answer. Each is read, may be seen or not (visibility.py), is of a room that is asked
for, and really has the words, before it counts.
spec: client-server search; docs/mapping.md 14.5; docs/decisions/search.md
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.searchable import KEYS, searchable_text
from tripoint.core.words import Question, read_question
from tripoint.rooms.history import HistoryItem, Hit, SearchPage, SearchQuery, matches
from tripoint.rooms.indexing import Indexing
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.room import Room
from tripoint.rooms.visibility import Sight
from tripoint.store.interface import RoomStore, StoredEvent

# Events that one page looks at, and of which the best are found.
MAX_LOOKED_AT: Final = 1000
# Events that are read at once.
_CHUNK: Final = 100
# Somebody in more rooms than this has the index asked about all rooms, and the others' left out afterwards.
_MAX_NAMED: Final = 500
# Matches in one room that a page is cut from.
MAX_IN_ROOM: Final = 5000


class Searching:
    """Part of reader.Reader: `sight` and `item` are its own."""

    def __init__(
        self,
        rooms: LoadedRooms,
        store: RoomStore,
        indexing: Indexing,
        sight: Callable[[Room, UserId], Awaitable[Sight]],
        item: Callable[[Room, StoredEvent], Awaitable[HistoryItem]],
        hides: Callable[[UserId, Event], bool],
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._indexing = indexing
        self._sight = sight
        self._item = item
        self._hides = hides

    async def in_room(self, room: Room, text: str) -> tuple[Question, Sequence[StoredEvent]]:
        """Events of a room that may have the words, by their positions."""
        question = read_question(text)
        if not question:
            return question, ()
        rows = await self._indexing.find(question, [room.room_key], before=None, limit=MAX_IN_ROOM)
        found = [stored async for _, stored in self._stored(rows)]
        here = [stored for stored in found if stored.room_key == room.room_key and stored.position]
        return question, sorted(here, key=lambda stored: stored.place)

    async def search(self, query: SearchQuery) -> SearchPage:
        question = read_question(query.text)
        asked = await self._asked_rooms(query)
        if not question or not asked:
            return SearchPage((), 0, None, question.highlights)
        named = list(asked) if len(asked) <= _MAX_NAMED else None
        before = None if query.ranked else query.start
        rows = await self._indexing.find(question, named, before=before, limit=MAX_LOOKED_AT)
        look = _Look(self, query, question, asked)
        if query.ranked:
            return await self._best(query, question, rows, look)
        hits: list[Hit] = []
        end = rows[-1] if len(rows) == MAX_LOOKED_AT else None
        async for row, stored in self._stored(rows):
            if (hit := await look.hit(stored)) is not None:
                hits.append(hit)
                if len(hits) == query.limit:
                    end = row if row != rows[-1] else end
                    break
        return SearchPage(tuple(hits), len(rows), end, question.highlights)

    async def _best(
        self, query: SearchQuery, question: Question, rows: Sequence[int], look: "_Look"
    ) -> SearchPage:
        """spec: client-server search "Ordering": of the newest that may answer, those that do it best."""
        found = [hit async for _, stored in self._stored(rows) if (hit := await look.hit(stored)) is not None]
        found.sort(key=lambda hit: -hit.rank)  # stable: the newer of two that are as good comes first
        start = query.start or 0
        page = found[start : start + query.limit]
        end = start + len(page)
        return SearchPage(tuple(page), len(found), end if end < len(found) else None, question.highlights)

    async def _stored(self, rows: Sequence[int]) -> AsyncIterator[tuple[int, StoredEvent]]:
        """The events of rows, as far as they are still there."""
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            found = await self._store.load_events([abs(row) for row in part])
            for row in part:
                if abs(row) in found:
                    yield row, found[abs(row)]
            await asyncio.sleep(0)

    async def _asked_rooms(self, query: SearchQuery) -> dict[int, RoomId]:
        """Rooms where the viewer is or was and has not forgotten, by their keys."""
        wanted = None if query.rooms is None else frozenset(query.rooms)
        return {
            row.room_key: row.room_id
            for row in await self._store.load_memberships(query.viewer)
            if row.membership in ("join", "leave", "ban")
            and (wanted is None or row.room_id in wanted)
            and row.room_id not in query.not_rooms
        }

    async def room(self, room_id: RoomId) -> Room:
        return await self._rooms.get(room_id)

    async def sight(self, room: Room, viewer: UserId) -> Sight:
        return await self._sight(room, viewer)

    async def item(self, room: Room, stored: StoredEvent) -> HistoryItem:
        return await self._item(room, stored)

    def hides(self, viewer: UserId, event: Event) -> bool:
        return self._hides(viewer, event)


class _Look:
    """One question's look at what the index found."""

    def __init__(
        self, of: Searching, query: SearchQuery, question: Question, asked: Mapping[int, RoomId]
    ) -> None:
        self._of = of
        self._query = query
        self._question = question
        self._asked = asked
        self._rooms: dict[int, tuple[Room, Sight]] = {}

    async def hit(self, stored: StoredEvent) -> Hit | None:
        query, room_id = self._query, self._asked.get(stored.room_key)
        if room_id is None or stored.position is None:
            return None
        room, sight = await self._room(stored.room_key, room_id)
        if room.encrypted:
            return None
        item = await self._of.item(room, stored)
        event = item.event
        key = KEYS.get(event.type)
        if key not in query.keys or not matches(query, event) or self._of.hides(query.viewer, event):
            return None
        if query.after_ts_ms is not None and event.origin_server_ts < query.after_ts_ms:
            return None
        if query.before_ts_ms is not None and event.origin_server_ts > query.before_ts_ms:
            return None
        rank = self._question.rank(searchable_text(event.type, event.content))
        if not rank:
            return None
        await sight.reach(stored.place)
        return Hit(room_id, item, rank) if sight.may_see(stored.place) else None

    async def _room(self, room_key: int, room_id: RoomId) -> tuple[Room, Sight]:
        found = self._rooms.get(room_key)
        if found is None:
            room = await self._of.room(room_id)
            found = self._rooms[room_key] = (room, await self._of.sight(room, self._query.viewer))
        return found
