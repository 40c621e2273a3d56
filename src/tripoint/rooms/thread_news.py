"""Threads in which something is new, over all rooms of a reader; relating.py has the threads of one room.

The newest events of threads of several rooms are gone through together, by falling position. What counts of a thread is
decided where its newest event is met, with everything else of it that lies in the window, so that a page may end
anywhere and the next one knows by the same means what was on this one.
spec: MSC4360
"""

import heapq
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from tripoint.core.event import redact
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.relations import child_of
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.history import HistoryItem, ThreadUpdate, ThreadUpdates, ThreadUpdatesQuery
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.relating import THREAD
from tripoint.rooms.room import Room
from tripoint.rooms.visibility import Sight
from tripoint.store.interface import RelationRow, RoomStore, StoredEvent

# Events that one question goes over; where it ends the next page goes on.
MAX_SCAN: Final = 2000
_CHUNK: Final = 50
# What is new in one thread and is looked at one by one: more than a timeline shows.
MAX_CHILDREN: Final = 500


class ThreadNews:
    """Part of reader.Reader: `sight` and `item` are its own."""

    def __init__(
        self,
        rooms: LoadedRooms,
        store: RoomStore,
        index: MembershipIndex,
        blocks: Blocks,
        sight: Callable[[Room, UserId], Awaitable[Sight]],
        item: Callable[[Room, StoredEvent], Awaitable[HistoryItem]],
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._index = index
        self._blocks = blocks
        self._sight = sight
        self._item = item

    async def updates(self, query: ThreadUpdatesQuery) -> ThreadUpdates:
        """A page; see ThreadUpdatesQuery."""
        ignored = frozenset(self._blocks.of(query.viewer).users)
        looks: dict[RoomId, _Look] = {}
        seen: set[tuple[RoomId, EventId]] = set()
        found: list[ThreadUpdate] = []
        scanned = 0
        async for room, row in self._rows(query, await self._heads(query)):
            scanned += 1
            if scanned > MAX_SCAN:
                return ThreadUpdates(tuple(found), row.position)
            if (room.room_id, row.target) in seen or row.sender in ignored:
                continue
            look = looks.get(room.room_id)
            if look is None:
                sight = await self._sight(room, query.viewer)
                look = looks[room.room_id] = _Look(self._store, self._item, query, room, sight, ignored)
            if not await look.may_see(row):
                continue
            seen.add((room.room_id, row.target))
            update = await look.update(row)
            if update is None:
                continue
            if len(found) == query.limit:
                return ThreadUpdates(tuple(found), row.position)
            found.append(update)
        return ThreadUpdates(tuple(found), None)

    async def _heads(self, query: ThreadUpdatesQuery) -> Mapping[RoomId, int]:
        """The rooms in which something is new, and the position of the newest of it."""
        if query.rooms is not None:
            memberships = await self._index.load(query.viewer)
            joined = {room_id for room_id in query.rooms if memberships.get(room_id, ("",))[0] == "join"}
            return {room_id: min(query.rooms[room_id], query.upto) for room_id in joined}
        return dict(
            await self._store.load_related_rooms(query.viewer, THREAD, after=query.after, upto=query.upto)
        )

    async def _rows(
        self, query: ThreadUpdatesQuery, heads: Mapping[RoomId, int]
    ) -> AsyncIterator[tuple[Room, RelationRow]]:
        """The events of all threads of these rooms in the window, by falling position."""
        heap = [(-position, room_id) for room_id, position in heads.items()]
        heapq.heapify(heap)
        read: dict[RoomId, deque[RelationRow]] = {}
        while heap:
            upto, room_id = heap[0]
            try:
                room = await self._rooms.get(room_id)
            except Refused as refused:
                if refused.refusal is not Refusal.NO_SUCH_ROOM:
                    raise
                heapq.heappop(heap)  # it ended just now
                continue
            rows = read.get(room_id)
            if not rows:
                rows = read[room_id] = deque(
                    await self._store.load_room_relations(room.room_key, THREAD, upto=-upto, limit=_CHUNK)
                )
            if not rows or rows[0].position <= query.after:
                heapq.heappop(heap)
                continue
            if rows[0].position != -upto:
                heapq.heapreplace(heap, (-rows[0].position, room_id))
                continue
            row = rows.popleft()
            heapq.heapreplace(heap, (-(rows[0].position if rows else row.position - 1), room_id))
            yield room, row


class _Look:
    """One reader's look at the threads of one room."""

    def __init__(
        self,
        store: RoomStore,
        item: Callable[[Room, StoredEvent], Awaitable[HistoryItem]],
        query: ThreadUpdatesQuery,
        room: Room,
        sight: Sight,
        ignored: frozenset[UserId],
    ) -> None:
        self._store = store
        self._item = item
        self._query = query
        self._room = room
        self._sight = sight
        self._ignored = ignored

    async def may_see(self, row: RelationRow) -> bool:
        if row.sender in self._ignored:
            return False
        await self._sight.reach(row.position)
        return self._sight.may_see(row.position)

    async def update(self, latest: RelationRow) -> ThreadUpdate | None:
        """What is told of the thread whose newest event in the window this is; None: nothing."""
        query = self._query
        if query.end > query.upto and await self._all_in(latest.target, query.upto, query.end):
            return None  # it was on a page before this one
        before = await self._all_in(latest.target, query.after, latest.position - 1)
        shown = query.shown.get(self._room.room_id)
        if shown:
            rows = await self._store.load_events([row.event_key for row in (latest, *before)])
            if all(stored.event_id in shown for stored in rows.values()):
                return None
        root = await self._store.load_event(latest.target)
        item = None
        if root is not None and root.room_key == self._room.room_key and root.position is not None:
            await self._sight.reach(root.position)
            item = await self._item(self._room, root)
            if child_of(item.event.content) is not None:
                return None  # spec: threading: what is about another event is no root
            if item.event.sender in self._ignored:
                item = HistoryItem(item.position, redact(item.event))
            if not self._sight.may_see(item.position):
                item = None
        prior = before[0].position if before else None
        return ThreadUpdate(self._room.room_id, latest.target, item, prior)

    async def _all_in(self, root: EventId, after: int, upto: int) -> list[RelationRow]:
        """What of a thread lies there and may be seen, the newest first."""
        rows = await self._store.load_relations(
            self._room.room_key,
            [root],
            rel_type=THREAD,
            after=after,
            upto=upto,
            limit=MAX_CHILDREN,
            backward=True,
        )
        return [row for row in rows if await self.may_see(row)]
