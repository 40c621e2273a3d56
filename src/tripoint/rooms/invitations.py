"""Invitations that come from other servers, and what becomes of them while this server is not in the room.

spec: Matrix server-server-api PUT /invite; docs/mapping.md 9.9. How local users invite is membership.py's.
"""

from collections.abc import Callable, Sequence

from tripoint.core.canonical_json import Json
from tripoint.core.event import Event, add_signature
from tripoint.core.ids import RoomId, UserId, server_of
from tripoint.rooms.accept import Accept
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import People
from tripoint.rooms.outside import Outside
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import member_of
from tripoint.rooms.turns import Turns
from tripoint.rooms.writer import Writer


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

    async def receive(self, event: Event, told: Sequence[Json]) -> Event:
        """Tell a local user of an invitation whose signatures were checked; it comes back signed by this server.

        `told`: the room's stripped state. Refused: NO_SUCH_USER, GUESTS_FORBIDDEN, ALREADY_JOINED,
        NO_SUCH_ROOM (it was closed here).
        """
        target = UserId(event.state_key or "")
        if self._is_closed(event.room_id):
            raise Refused(Refusal.NO_SUCH_ROOM, "This room was closed here")
        if not await self._people.exists(target):
            raise Refused(Refusal.NO_SUCH_USER, f"There is no user {target}")
        if self._people.is_guest(target):
            raise Refused(Refusal.GUESTS_FORBIDDEN, "Guests cannot be invited to rooms of other servers")
        signer = self._writer.signer
        signed = add_signature(event, signer.server, signer.key)
        async with self._turns.of(event.room_id):
            room = await self._rooms.find(event.room_id)
            if room is None or not room.is_here(signer.server):
                if room is not None and room.head_membership(target) == "join":
                    raise Refused(Refusal.ALREADY_JOINED)
                await self._outside.take(signed, told)
                return signed
        # We are in the room: the invitation is an event like any other, and comes with a transaction too.
        await self._accept.receive(signed)
        return signed

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
