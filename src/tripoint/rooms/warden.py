"""Bans by mask for users of other servers: they are banned when they come, in the name of who set the mask.

Their own servers do not know of masks, so they come in; of the servers here that of the setter alone acts, for as
long as the setter is in the room and may ban.
spec: docs/mapping.md 9.3. Local users are refused before they come in: membership.py.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tripoint.core.ids import ServerName, UserId, server_of
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import Ban, Done
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.masks import ban_that_meets, rule_mask
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room, member_of

log = structlog.get_logger()

# Bans that may be under way; who comes beyond that meets the mask when he comes again.
MAX_RUNNING = 100


class Warden:
    """Hears of all rooms' changes (`room_changed`); `ban` carries out one command."""

    def __init__(self, server: ServerName, rooms: LoadedRooms, ban: Callable[[Ban], Awaitable[Done]]) -> None:
        self._server = server
        self._rooms = rooms
        self._ban = ban
        self._running: set[asyncio.Task[None]] = set()

    def room_changed(self, change: RoomChange) -> None:
        """Somebody of another server has come: is he to go? Only looks; what is done is done later."""
        if not isinstance(change, EventCommitted) or change.event.type != "m.room.member":
            return
        user_id = UserId(change.event.state_key or "")
        if member_of(change.event).membership != "join" or server_of(user_id) == self._server:
            return
        room = self._rooms.peek(change.room_id)
        if room is None or not room.user_rules() or len(self._running) >= MAX_RUNNING:
            return
        rule = ban_that_meets(room, user_id)
        if rule is None or server_of(rule.sender) != self._server:
            return
        task = asyncio.ensure_future(self._put_out(room, rule.sender, user_id, rule_mask(rule) or ""))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what is running."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _put_out(self, room: Room, actor: UserId, target: UserId, mask: str) -> None:
        if room.head_membership(target) != "join":
            return
        reason = f"Banned by mask: {mask}"
        try:
            await self._ban(Ban(actor=actor, room_id=room.room_id, target=target, reason=reason))
        except Refused as refused:
            # The setter has lost the right, or left: the mask is for nobody to enforce.
            log.info("masks.not_enforced", room_id=room.room_id, refusal=refused.refusal.name)
