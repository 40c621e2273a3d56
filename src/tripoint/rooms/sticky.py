"""Sticky events of all rooms, as long as they are sticky: an hour at most.

What is written down with an event (sticky_writes) says until when, and whether it soft-failed: those are looked at
again when the standing of their senders changes (unfailing.py). In memory an event is a few words; what it says is in
the store. Their positions are those of the stream, so a reader that comes by position misses none.
spec: MSC4354
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.sticky import sticky_until_ms
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.store.interface import RoomStore
from tripoint.store.writes import ForgetSticky, PutSticky, Write


class Sticky(Struct, frozen=True):
    """An event that everybody who is in the room is to get. `until_ms`: for how long."""

    position: int
    event_id: EventId
    sender: UserId
    until_ms: int


def sticky_writes(event: Event, event_key: int, room_key: int, now_ms: int, *, failed: bool = False) -> list[Write]:
    """What is stored beside an event that is received now; nothing for nearly all. What is over by now goes."""
    if event.sticky_ms is None:
        return []
    until_ms = sticky_until_ms(event.sticky_ms, event.origin_server_ts, now_ms)
    if until_ms <= now_ms:
        return []
    return [ForgetSticky(now_ms), PutSticky(event_key, room_key, event.sender, until_ms, failed)]


class StickyBoard:
    """Which events of which rooms are sticky now. It hears of all rooms (`room_changed`) before those who ask it."""

    def __init__(self, store: RoomStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        # By rising position; what is over stays until the room is looked at.
        self._rooms: dict[RoomId, list[Sticky]] = {}
        self._until: dict[EventId, int] = {}
        self._ends: list[tuple[int, RoomId]] = []

    async def start(self) -> None:
        """Take in what is on disk."""
        for row in await self._store.load_sticky(self._now_ms()):
            if row.position is not None:
                self._add(row.room_id, Sticky(row.position, row.event_id, row.sender, row.until_ms))

    def room_changed(self, change: RoomChange) -> None:
        if not isinstance(change, EventCommitted) or change.event.sticky_ms is None:
            return
        event, now_ms = change.event, self._now_ms()
        until_ms = sticky_until_ms(event.sticky_ms or 0, event.origin_server_ts, now_ms)
        if until_ms > now_ms:
            self._add(change.room_id, Sticky(change.position, event.event_id, event.sender, until_ms))

    def _add(self, room_id: RoomId, sticky: Sticky) -> None:
        self._forget_old()
        of_room = self._rooms.setdefault(room_id, [])
        of_room.insert(bisect_right(of_room, sticky.position, key=lambda one: one.position), sticky)
        self._until[sticky.event_id] = sticky.until_ms
        heapq.heappush(self._ends, (sticky.until_ms, room_id))

    def _forget_old(self) -> None:
        if not self._ends:
            return
        now_ms = self._now_ms()
        while self._ends and self._ends[0][0] <= now_ms:
            room_id = heapq.heappop(self._ends)[1]
            kept = []
            for one in self._rooms.get(room_id, ()):
                if one.until_ms > now_ms:
                    kept.append(one)
                else:
                    self._until.pop(one.event_id, None)
            if kept:
                self._rooms[room_id] = kept
            else:
                self._rooms.pop(room_id, None)

    def rooms(self) -> Collection[RoomId]:
        """Where anything is sticky; nearly always few."""
        self._forget_old()
        return self._rooms.keys()

    def of(self, room_id: RoomId, after: int, upto: int) -> Sequence[Sticky]:
        """What is sticky in a room, at after < position <= upto."""
        now_ms = self._now_ms()
        return [
            one
            for one in self._rooms.get(room_id, ())
            if after < one.position <= upto and one.until_ms > now_ms
        ]

    def left_ms(self, event_id: EventId) -> int | None:
        """How long an event is sticky yet; None: it is not."""
        until_ms = self._until.get(event_id)
        left_ms = 0 if until_ms is None else until_ms - self._now_ms()
        return left_ms if left_ms > 0 else None
