"""Guests leave a room that does not let guests in any more.

spec: Matrix client-server-api guest-access: "If the m.room.guest_access event is changed to stop this from being the
case, the server MUST set those users' m.room.member state to leave." Who may come in is entry.py's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import Done, Leave
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused

log = structlog.get_logger("tripoint")

REASON: Final = "This room lets no guests in any more"


class ShowingOut:
    """Hears of all rooms' changes (`room_changed`); `leave` carries out one command."""

    def __init__(
        self,
        rooms: LoadedRooms,
        is_guest: Callable[[UserId], bool],
        leave: Callable[[Leave], Awaitable[Done]],
    ) -> None:
        self._rooms = rooms
        self._is_guest = is_guest
        self._leave = leave
        # One for each room that closed its door: a room that does so again meanwhile has nobody more to put out.
        self._running: dict[RoomId, asyncio.Task[None]] = {}

    def room_changed(self, change: RoomChange) -> None:
        """Is a door closed? Only looks; what is done is done later."""
        if not isinstance(change, EventCommitted) or change.event.type != "m.room.guest_access":
            return
        room = self._rooms.peek(change.room_id)
        if room is None or room.guest_access == "can_join" or change.room_id in self._running:
            return
        guests = [user_id for user_id in room.joined() if self._is_guest(user_id)]
        if guests:
            task = asyncio.ensure_future(self._put_out(change.room_id, guests))
            self._running[change.room_id] = task
            task.add_done_callback(lambda _: self._running.pop(change.room_id, None))

    async def close(self) -> None:
        """End what is running."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _put_out(self, room_id: RoomId, guests: list[UserId]) -> None:
        for user_id in guests:
            try:
                await self._leave(Leave(actor=user_id, room_id=room_id, reason=REASON))
            except Refused as refused:
                log.info("guests.not_shown_out", room_id=room_id, refusal=refused.refusal.name)
