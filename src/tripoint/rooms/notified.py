"""What a user was notified of, in all rooms, the newest first.

Nothing is kept for it: push rules are asked again, of the newest events of the rooms that the user is in.
spec: Matrix client-server GET /notifications
"""

import asyncio
import heapq
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import Json
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room
from tripoint.rooms.unread import ReadMarks, Unreads
from tripoint.store.interface import MembershipRow, RoomStore, StoredEvent

MAX_PAGE: Final = 100
# Events that one page looks at, of all rooms together.
MAX_LOOKED_AT: Final = 2000
_CHUNK: Final = 50
_END: Final = 2**62


class Notification(Struct, frozen=True):
    """An event of which somebody was notified, what his rules said to do, and whether he has read it."""

    room_id: RoomId
    item: HistoryItem
    actions: tuple[Json, ...]
    read: bool


class NotificationPage(Struct, frozen=True):
    """`end`: what is behind it stands before this position; None: nothing more."""

    notifications: tuple[Notification, ...]
    end: int | None


class Notified:
    """Answers GET /notifications."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore, unreads: Unreads) -> None:
        self._rooms = rooms
        self._store = store
        self._unreads = unreads

    async def page(
        self, user_id: UserId, *, before: int | None, limit: int, highlights_only: bool
    ) -> NotificationPage:
        """The newest notifications from before a position."""
        rules = await self._unreads.rules(user_id)
        walk = _Walk(self._rooms, self._store, _END if before is None else before)
        for room_of in await self._store.load_memberships(user_id):
            if room_of.membership == "join":
                await walk.enter(room_of)
        found: list[Notification] = []
        marks: dict[RoomId, tuple[ReadMarks, int]] = {}
        for looked_at in range(MAX_LOOKED_AT):
            if looked_at % _CHUNK == 0:
                await asyncio.sleep(0)
            step = await walk.next()
            if step is None:
                return NotificationPage(tuple(found), None)
            room, row = step
            if row.redacted_by is None:
                item = self._unreads.item(room, row)
                verdict = self._unreads.verdict(room, user_id, rules, item)
                if verdict.notify and (verdict.highlight or not highlights_only):
                    if room.room_id not in marks:
                        entered = await self._unreads.entered(room, user_id)
                        marks[room.room_id] = (await self._unreads.marks(room, user_id), entered)
                    own, entered = marks[room.room_id]
                    if row.place > entered:
                        read = own.has_read(row.place, await self._unreads.thread_of(room, item.event))
                        found.append(Notification(room.room_id, item, verdict.actions, read))
            if len(found) == limit or looked_at == MAX_LOOKED_AT - 1:
                return NotificationPage(tuple(found), row.place)
        raise AssertionError("the last step returns")


class _Walk:
    """Events of several rooms, by falling position; of a room nothing is read before its turn has come."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore, before: int) -> None:
        self._loaded = rooms
        self._store = store
        self._before = before
        # (-position, number of the room); and the rooms, with what is read and not given yet, the newest last
        self._heap: list[tuple[int, int]] = []
        self._rooms: list[tuple[MembershipRow, list[StoredEvent]]] = []

    async def enter(self, row: MembershipRow) -> None:
        last = await self._store.load_last_position(row.room_key)
        self._rooms.append((row, []))
        heapq.heappush(self._heap, (-min(last, self._before - 1), len(self._rooms) - 1))

    async def next(self) -> tuple[Room, StoredEvent] | None:
        """The newest event that was not given yet, and its room. A room that was closed meanwhile is left out."""
        while self._heap:
            upto, number = heapq.heappop(self._heap)
            row, waiting = self._rooms[number]
            if not waiting:
                found = await self._store.load_timeline(
                    row.room_key, after=0, upto=-upto, limit=_CHUNK, backward=True
                )
                waiting.extend(reversed(found))
                if not waiting:
                    continue
                if waiting[-1].place < -upto:
                    heapq.heappush(self._heap, (-waiting[-1].place, number))
                    continue
            try:
                room = await self._loaded.get(row.room_id)
            except Refused:
                continue
            event = waiting.pop()
            following = waiting[-1].place if waiting else event.place - 1
            heapq.heappush(self._heap, (-following, number))
            return room, event
        return None
