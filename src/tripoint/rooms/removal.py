"""Ends: rooms that nobody is in any more, and rooms that somebody wants to forget.

spec: docs/mapping.md 4.8 (temporary channels end with their last member); Matrix client-server
POST /rooms/{roomId}/forget
"""

from tripoint.bus.interface import Bus
from tripoint.core.ids import RoomId
from tripoint.rooms.changes import DirectoryChanged, RoomChange
from tripoint.rooms.commands import Done, Forget
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.writer import Writer
from tripoint.store.writes import DropRoom, PutMembership


class Removal:
    """Drops what has ended from the store and from memory."""

    def __init__(
        self, rooms: LoadedRooms, writer: Writer, index: MembershipIndex, room_bus: Bus[RoomChange]
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._index = index
        self._room_bus = room_bus

    async def left(self, room_id: RoomId) -> None:
        """Somebody left: a temporary room without members goes, with its alias and history.

        So does a room that was never opened (XEP-0045 10.1.3: who cancels the configuration destroys it).
        """
        room = self._rooms.peek(room_id)
        if room is None or not (room.row.temporary or room.locked):
            return
        if room.joined_count() or room.pending_units:
            return
        self._rooms.remove(room_id)
        self._index.forget_room(room_id)
        # The highest positions may go with the room: say how far the stream was, so that none is used twice.
        floor = self._writer.stream.floor()
        try:
            await self._writer.write([DropRoom(room.room_key), floor])
        finally:
            self._rooms.removed(room_id)
        self._room_bus.publish(DirectoryChanged(room_id))

    async def forget(self, command: Forget) -> Done:
        """The room no longer appears among the user's own. Refused(ALREADY_JOINED) while inside."""
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) not in ("leave", "ban"):
            raise Refused(Refusal.ALREADY_JOINED, "Leave the room before you forget it")
        # With the commit, so that an invitation that is committed right behind it stays.
        await self._writer.write(
            [PutMembership(command.actor, room.room_key, None, 0)],
            lambda: self._index.forget(command.actor, room.room_id),
        )
        return Done(room.room_id)
