"""What operators of this server do to rooms: in the name of a member of this server who may do it, or not at all.

A room's rights are its own, and every server in it judges by them: an operator has no more power over it than the
people of his server have. Where he is in the room and may himself, it is he who does it.
spec: docs/mapping.md 18.4.
"""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from tripoint.core.ids import ServerName, UserId, server_of
from tripoint.rooms.commands import Command, Done, Forced, Invite, Join
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room

_NEEDS_INVITATION = frozenset({Refusal.NOT_INVITED, Refusal.WRONG_ROOM_PASSWORD})
_NEEDS_POWER = frozenset({Refusal.POWER_TOO_LOW, Refusal.SAME_POWER})


class Forcing:
    """The handler of Forced. `carry_out` does one command without looking at how many there were."""

    def __init__(
        self, server: ServerName, rooms: LoadedRooms, carry_out: Callable[[Command], Awaitable[Done]]
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._carry_out = carry_out

    async def do(self, command: Forced) -> Done:
        """See commands.Forced."""
        inner = command.wish
        if isinstance(inner, Join):
            return await self._let_in(command, inner)
        return await self._by_who_may(command, inner)

    async def _by_who_may(self, command: Forced, inner: Command) -> Done:
        room = await self._room(command)
        lacking: Refused | None = None
        for user_id in self._authorities(room, command.actor):
            try:
                return await self._carry_out(replace(inner, actor=user_id, origin=command.origin))
            except Refused as refused:
                if refused.refusal not in _NEEDS_POWER:
                    raise
                lacking = refused
        raise Refused(Refusal.NO_AUTHORITY) from lacking

    async def _let_in(self, command: Forced, inner: Join) -> Done:
        join = replace(inner, origin=command.origin)
        try:
            return await self._carry_out(join)
        except Refused as refused:
            if refused.refusal not in _NEEDS_INVITATION:
                raise
        invitation = Invite(actor=command.actor, room_id=inner.room_id, target=inner.actor, reason=inner.reason)
        await self._by_who_may(command, invitation)
        return await self._carry_out(join)

    async def _room(self, command: Forced) -> Room:
        room = await self._rooms.get(command.wish.room_id)
        if not room.is_here(self._server):
            raise Refused(Refusal.NO_AUTHORITY)
        return room

    def _authorities(self, room: Room, operator: UserId) -> list[UserId]:
        """In whose name it is tried: the operator himself, and whoever of this server has the most power."""
        power = room.head_power()
        here = [user_id for user_id in room.joined() if server_of(user_id) == self._server]
        highest = max(here, key=lambda user_id: (power.user(user_id), user_id), default=None)
        tried = [operator] if room.head_membership(operator) == "join" else []
        return tried if highest is None or highest in tried else [*tried, highest]
