"""Invitations that come from other servers, and what becomes of them while this server is not in the room.

spec: Matrix server-server-api PUT /invite; docs/mapping.md 9.9. How local users invite is membership.py's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from tripoint.core.canonical_json import Json
from tripoint.core.event import Event, add_signature
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.rooms.accept import Accept, Lacking
from tripoint.rooms.foreigners import check_has_account
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import People
from tripoint.rooms.outside import Outside
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import member_of
from tripoint.rooms.server_lists import ServerLists
from tripoint.rooms.turns import Turns
from tripoint.rooms.writer import Writer

# Who invites waits for our answer; what is not there by then comes with the next event of the room.
CATCH_UP_S = 10.0


class Invitations:
    """Takes invitations of local users."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        accept: Accept,
        outside: Outside,
        people: People,
        turns: Turns,
        is_closed: Callable[[RoomId], bool],
    ) -> None:
        self._is_closed = is_closed
        self._rooms = rooms
        self._writer = writer
        self._accept = accept
        self._outside = outside
        self._people = people
        self._turns = turns
        # The policy lists of the server itself; set by who wires.
        self.server_lists: ServerLists | None = None
        # Takes in an event and what it lacks (CatchUp.take); set where there are other servers to ask.
        self.catch_up: Callable[[Event, ServerName], Awaitable[object]] | None = None

    async def receive(self, event: Event, told: Sequence[Json]) -> Event:
        """Tell a local user of an invitation whose signatures were checked; it comes back signed by this server.

        `told`: the room's stripped state. Refused: NO_SUCH_USER, GUESTS_FORBIDDEN, INVITES_BLOCKED, ALREADY_JOINED,
        BANNED (by a list of the server), NO_SUCH_ROOM (it was closed here).
        """
        target = UserId(event.state_key or "")
        if self._is_closed(event.room_id):
            raise Refused(Refusal.NO_SUCH_ROOM, "This room was closed here")
        if not await self._people.exists(target):
            raise Refused(Refusal.NO_SUCH_USER)
        if self.server_lists is not None:
            await self.server_lists.check_invites(UserId(event.sender), target, event.room_id)
        if self._people.refuses_invites(target):
            raise Refused(Refusal.INVITES_BLOCKED)
        if self._people.is_guest(target):
            raise Refused(Refusal.GUESTS_FORBIDDEN, "Guests cannot be invited to rooms of other servers")
        signer = self._writer.signer
        check_has_account(target, signer.server)
        signed = add_signature(event, signer.server, signer.key)
        async with self._turns.of(event.room_id):
            room = await self._rooms.find(event.room_id)
            if room is None or not room.is_here(signer.server):
                if room is not None and room.head_membership(target) == "join":
                    raise Refused(Refusal.ALREADY_JOINED)
                await self._outside.take(signed, told)
                return signed
        await self._take_in(signed)
        return signed

    async def _take_in(self, signed: Event) -> None:
        """We are in the room: the invitation is an event like any other.

        It comes with a transaction too, but not where we have entered just now: its server knew us outside then, and
        nobody sends us what was before.
        """
        if not isinstance(await self._accept.receive(signed), Lacking) or self.catch_up is None:
            return
        with suppress(TimeoutError, Refused):
            async with asyncio.timeout(CATCH_UP_S):
                await self.catch_up(signed, server_of(signed.sender))

    async def take_back(self, event: Event) -> bool:
        """A membership event of a local user came for a room that this server is not in: an invitation is taken
        back, or a knock declined. True if it counted.

        It counts where it is the inviter's server that says so; what others in the room did is not known here.
        """
        target = UserId(event.state_key or "")
        if event.type != "m.room.member" or member_of(event).membership not in ("leave", "ban"):
            return False
        async with self._turns.of(event.room_id):
            room = await self._rooms.find(event.room_id)
            if room is None or room.is_here(self._writer.signer.server):
                return False
            current = room.head_event("m.room.member", target)
            if current is None or member_of(current).membership not in ("invite", "knock"):
                return False
            asked = member_of(current).membership == "knock"
            if not asked and server_of(event.sender) != server_of(current.sender):
                return False
            await self._outside.take(event)
            return True
