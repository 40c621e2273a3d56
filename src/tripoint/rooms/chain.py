"""History of a channel whose room was replaced: it goes on in the rooms that were the channel before.

To IRC and XMPP a channel is one thing with one archive, however many rooms it has been. Each room has its own order,
and the one is wholly after the other. A place in such a history is a Cut: one position in every room. Ids are unique
over rooms, so an event is looked for in all of them; a time is a position in each.
Whether a viewer sees an event is decided for each of them, in its room.
spec: docs/mapping.md 14.1, 14.2, 21.4.  Read next: paging.py, succession.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.rooms.history import BEGINNING, ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.paging import Gathered, gather
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refusal, Refused

T = TypeVar("T")

# One position in each room of a chain, in its order.
Cut = tuple[int, ...]
# After every event that a room has.
_END: Final = 2**62


def later(one: Cut, other: Cut) -> Cut:
    """The later of two cuts, in each room."""
    return tuple(max(pair) for pair in zip(one, other, strict=True))


def earlier(one: Cut, other: Cut) -> Cut:
    """The earlier of two cuts, in each room."""
    return tuple(min(pair) for pair in zip(one, other, strict=True))


class Chain:
    """The rooms of a channel as one reader may read them, the newest first."""

    def __init__(self, reader: RoomReader, viewer: UserId, rooms: Sequence[RoomView]) -> None:
        self._reader = reader
        self._viewer = viewer
        self.rooms = tuple(rooms)

    @property
    def beginning(self) -> Cut:
        """Before everything."""
        return (BEGINNING,) * len(self.rooms)

    @property
    def now(self) -> Cut:
        """After everything."""
        return tuple(room.last_position for room in self.rooms)

    def at(self, position: int) -> Cut:
        """Where the server's stream was at a position: every room takes its positions from it."""
        return (position,) * len(self.rooms)

    async def find(self, event_id: EventId) -> tuple[RoomView, HistoryItem]:
        """An event that the viewer may see, and its room. Refused(NO_SUCH_EVENT)."""
        for room in self.rooms:
            try:
                return room, await self._reader.event(room.room_id, event_id, self._viewer)
            except Refused as refused:
                if refused.refusal is not Refusal.NO_SUCH_EVENT:
                    raise
        raise Refused(Refusal.NO_SUCH_EVENT)

    async def after(self, event_id: EventId) -> Cut:
        """Right behind an event: what precedes it in its room, and everything in older rooms, is before this."""
        room, item = await self.find(event_id)
        return self._cut(room, item.position)

    async def before(self, event_id: EventId) -> Cut:
        """Right before an event."""
        room, item = await self.find(event_id)
        return self._cut(room, item.position - 1)

    def _cut(self, room: RoomView, position: int) -> Cut:
        at = self.rooms.index(room)
        return tuple(
            BEGINNING if index < at else position if index == at else _END for index in range(len(self.rooms))
        )

    async def before_time(self, ts_ms: int) -> Cut:
        """Behind the last event before a time (ms since 1970), in each room."""
        return tuple([await self._reader.position_before(room.room_id, ts_ms) for room in self.rooms])

    async def gather(
        self,
        query: HistoryQuery,
        after: Cut,
        upto: Cut,
        show: Callable[[RoomView, HistoryItem], T | None],
        size: Callable[[T], int] | None = None,
        prepare: Callable[[RoomView, Sequence[HistoryItem]], Awaitable[None]] | None = None,
    ) -> Gathered[T]:
        """As paging.gather, of what lies after one cut and up to another, whichever rooms it lies in.

        Room and bounds of `query` do not matter; direction and limit do.
        """
        backward = query.direction is Direction.BACKWARD
        count: Callable[[T], int] = size if size is not None else lambda _: 1
        found: list[tuple[T, ...]] = []
        left = query.limit
        sized = 0
        more, complete = False, True
        order = range(len(self.rooms)) if backward else range(len(self.rooms) - 1, -1, -1)
        for index in order:
            room = self.rooms[index]
            low, high = after[index], min(upto[index], room.last_position)
            if high <= low:
                continue

            def measured(one: T) -> int:
                nonlocal sized
                counted = count(one)
                sized += counted
                return counted

            page = await gather(
                self._reader,
                replace(
                    query,
                    room_id=room.room_id,
                    anchor=ByPosition(high if backward else low),
                    until=ByPosition(low if backward else high),
                    limit=max(0, left),
                ),
                _of(room, show),
                measured,
                None if prepare is None else _of(room, prepare),
            )
            found.append(page.items)
            left, sized = left - min(sized, left), 0
            more, complete = page.more, page.complete
            if more or not complete:
                break
        pages = reversed(found) if backward else found
        return Gathered(tuple(one for page in pages for one in page), more, complete)


R = TypeVar("R")
A = TypeVar("A")


def _of(room: RoomView, function: Callable[[RoomView, A], R]) -> Callable[[A], R]:
    return lambda given: function(room, given)


async def open_chain(
    reader: RoomReader, room_id: RoomId, viewer: UserId, is_open: Callable[[RoomView], bool] = lambda room: True
) -> Chain:
    """The rooms of a channel as `viewer` may read them; `is_open` says which of the older ones can be shown at all.

    Whether the newest may be asked for is the caller's to look at. Who has left an older room still has what he saw
    there; who was banned from it has nothing.
    """
    rooms = list(await reader.lineage(room_id))
    readable = rooms[:1]
    for room in rooms[1:]:
        if room.membership(viewer) == "ban" or not is_open(room):
            break
        readable.append(room)
    return Chain(reader, viewer, readable)
