"""Temporary channels that somebody wants to keep: they stay when everybody has left, and have an owner with an account.

The guest who made the channel is its creator, and gone with his connection; while he is there, the server gives the
registrant his rights in his name, unless he has them.
spec: docs/mapping.md 4.8
"""

from collections.abc import Callable

from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at
from tripoint.core.power import Rank, rank_of
from tripoint.rooms.commands import Done, KeepRoom
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.writer import Writer

OWNER_LEVEL = 100


class Keeping:
    """The handler of KeepRoom."""

    def __init__(self, rooms: LoadedRooms, writer: Writer, is_guest: Callable[[UserId], bool]) -> None:
        self._rooms = rooms
        self._writer = writer
        self._is_guest = is_guest

    async def keep(self, command: KeepRoom) -> Done:
        """See commands.KeepRoom."""
        room = await self._rooms.get(command.room_id)
        actor, power = command.actor, room.head_power()
        if room.head_membership(actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        if not room.row.temporary:
            raise Refused(Refusal.NOT_SUPPORTED, "This room is no temporary channel: it stays as it is")
        rank = rank_of(power, actor, "join")
        if self._is_guest(actor) or Rank.OP.above(rank):
            raise Refused(Refusal.POWER_TOO_LOW, "An operator with an account makes a channel permanent")
        creator = room.create_event.sender
        if rank is Rank.OWNER:
            # Nothing is to be handed over: it was, by a guest who made an account (irc/identify.py), say.
            await self._writer.commit(room, self._writer.begin(room), row=replace(room.row, temporary=False))
            return Done(room.room_id)
        if room.head_membership(creator) != "join":
            raise Refused(Refusal.NOT_SUPPORTED, "Who made this channel has left, and nobody can hand it over")
        content: JsonObject = dict(power.content)
        content["users"] = {**object_at(power.content, "users"), actor: OWNER_LEVEL}
        transaction = self._writer.begin(room)
        transaction.append(creator, "m.room.power_levels", content, state_key="")
        event = await self._writer.commit(room, transaction, row=replace(room.row, temporary=False))
        return Done(room.room_id, event.event_id)
