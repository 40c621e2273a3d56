"""People of other XMPP servers, for whom users of this server stand: which rooms they may be in.

A room of this server alone, that lets them in by its own state V.room.foreign or, where that says nothing, lets guests
in; and only as long as their server is not denied there.
spec: docs/mapping.md 1.7, 9.2, 15.8, 23.1. Who else is let in, and how, is entry.py's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import Done, Leave
from tripoint.rooms.listing import DENIED_NOTE
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import says_of_foreigners

log = structlog.get_logger()

OTHER_SERVER: Final = "This room is not of this server: join it through your own server"
NOT_YET: Final = "People of other XMPP servers cannot be invited to a room that is being made; let them in there first"


def lets_foreigners_in(room: RoomView, server: ServerName) -> bool:
    """Whether people of other XMPP servers may be in a room at all. docs/mapping.md 23.1"""
    if room.canonical_alias is None or server_of(room.canonical_alias) != server:
        return False
    said = says_of_foreigners(room.state)
    return room.guest_access == "can_join" if said is None else said


def domain_of(user_id: UserId, server: ServerName) -> str | None:
    """The domain of the person for whom a user stands; None for everybody else."""
    address = stand_in_address(user_id, server)
    return None if address is None else address.partition("@")[2]


def is_denied(room: RoomView, user_id: UserId, server: ServerName) -> bool:
    """Whether the room denies the server of the person for whom this user stands. docs/mapping.md 9.2"""
    domain = domain_of(user_id, server)
    return domain is not None and not room.allows_server(ServerName(domain))


def check_foreigner(room: RoomView, user_id: UserId, server: ServerName) -> None:
    """Refused, in words for either side, for somebody of another XMPP server whom the room does not let in. A direct
    room is theirs (docs/mapping.md 15.8)."""
    if stand_in_address(user_id, server) is None or user_id in (room.direct_pair or ()):
        return
    if room.canonical_alias is not None and server_of(room.canonical_alias) != server:
        raise Refused(Refusal.FOREIGNERS_FORBIDDEN, OTHER_SERVER)
    if not lets_foreigners_in(room, server):
        raise Refused(Refusal.FOREIGNERS_FORBIDDEN)
    if is_denied(room, user_id, server):
        raise Refused(Refusal.BANNED, "Your server is denied in this room")


def check_has_account(user_id: UserId, server: ServerName) -> None:
    """Refused for somebody who comes into a room of this server alone, and into none that is elsewhere or not yet."""
    if stand_in_address(user_id, server) is not None:
        raise Refused(Refusal.FOREIGNERS_FORBIDDEN, NOT_YET)


class Departures:
    """Those whose server a room denies from now on leave it. Hears of all rooms' changes (`room_changed`); `leave`
    carries out one command. docs/mapping.md 9.2, 9.12"""

    def __init__(self, server: ServerName, rooms: LoadedRooms, leave: Callable[[Leave], Awaitable[Done]]) -> None:
        self._server = server
        self._rooms = rooms
        self._leave = leave
        self._running: set[asyncio.Task[None]] = set()

    def room_changed(self, change: RoomChange) -> None:
        """Is anybody to go? Only looks; what is done is done later."""
        if not isinstance(change, EventCommitted) or change.event.type != "m.room.server_acl":
            return
        room = self._rooms.peek(change.room_id)
        if room is None:
            return
        leaving = [user_id for user_id in room.joined() if is_denied(room, user_id, self._server)]
        if leaving:
            task = asyncio.ensure_future(self._see_out(room.room_id, leaving))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what is running."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _see_out(self, room_id: RoomId, leaving: list[UserId]) -> None:
        for user_id in leaving:
            try:
                await self._leave(Leave(actor=user_id, room_id=room_id, reason=DENIED_NOTE))
            except Refused as refused:
                # He went by himself, or the room is closed.
                log.info("room.foreigner_not_gone", room_id=room_id, refusal=refused.refusal.name)
