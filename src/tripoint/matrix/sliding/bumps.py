"""bump_stamp: where in the stream somebody last said something in a room. spec: MSC4186 `bump_stamp`"""

from collections import OrderedDict
from typing import Final

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.ports import RoomReader, RoomView

# spec: "Proper" activity
PROPER: Final = (
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "m.beacon_info",
)
KEPT: Final = 50_000


class Bumps:
    def __init__(self, reader: RoomReader) -> None:
        self._reader = reader
        self._kept: OrderedDict[RoomId, int] = OrderedDict()

    def room_changed(self, change: RoomChange) -> None:
        if isinstance(change, EventCommitted) and change.event.type in PROPER:
            self._keep(change.room_id, change.position)

    async def of(self, room: RoomView, user_id: UserId) -> int:
        """The position for somebody who is in the room."""
        known = self._kept.get(room.room_id)
        if known is not None:
            return known
        for item in reversed(room.recent):
            if item.event.type in PROPER:
                self._keep(room.room_id, item.position)
                return item.position
        query = HistoryQuery(
            room_id=room.room_id,
            viewer=user_id,
            direction=Direction.BACKWARD,
            limit=1,
            types=PROPER,
            only_here=True,
        )
        page = await self._reader.history(query)
        if page.items:
            self._keep(room.room_id, max(page.items[0].position, self._kept.get(room.room_id, 0)))
            return self._kept[room.room_id]
        # He sees none of it, which may be otherwise for others.
        return room.state_positions.get(("m.room.create", ""), 0)

    def _keep(self, room_id: RoomId, position: int) -> None:
        self._kept[room_id] = position
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
