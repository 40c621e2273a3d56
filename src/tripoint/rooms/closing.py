"""Closing a room: everybody goes, its names and its place in the directory too, and nobody of this server comes back.

A federated room cannot be destroyed: history, and members whom the closer may not put out, stay with other servers. So
it is shut, emptied as far as one may, and blocked here. Where another room takes its place a tombstone says so.
spec: docs/mapping.md 4.9; XEP-0045 10.9; Matrix client-server-api m.room.tombstone.
"""

import asyncio
from collections.abc import Iterator

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, UserId, server_of
from tripoint.core.power import Rank, rank_of
from tripoint.rooms.changes import DirectoryChanged, RoomChange, RoomClosed
from tripoint.rooms.commands import (
    CloseRoom,
    Command,
    Done,
    Invite,
    InviteByAddress,
    Join,
    Knock,
    RedeemInvite,
    UnlockRoom,
    UpgradeRoom,
)
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.succession import TOMBSTONE, UPGRADED, replacement_in
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutAlias, PutClosedRoom

# Member events of one commit; others have their turn in between.
AT_ONCE = 50
_ASKS_TO_BE_IN = (Join, Knock, Invite, InviteByAddress, RedeemInvite, UnlockRoom, UpgradeRoom)
TEXT = "This room was closed"


class Closing:
    """The handler of CloseRoom, and who knows which rooms are closed here. start() before anything else."""

    def __init__(self, rooms: LoadedRooms, writer: Writer, store: RoomStore, room_bus: Bus[RoomChange]) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._room_bus = room_bus
        self._closed: dict[RoomId, str] = {}

    async def start(self) -> None:
        """Read which rooms are closed."""
        self._closed = dict(await self._store.load_closed_rooms())

    def is_closed(self, room_id: RoomId) -> bool:
        """Whether nobody of this server gets into this room any more."""
        return room_id in self._closed

    def closed_by(self, room_id: RoomId) -> str | None:
        """Who has closed or blocked a room, "" where that is not known; None for one that is open."""
        return self._closed.get(room_id)

    async def block(self, room_id: RoomId, by: UserId) -> None:
        """Nobody of this server gets into this room any more; who is inside stays. The room need not be known here."""

        def blocked() -> None:
            self._closed.setdefault(room_id, by)

        await self._writer.write([PutClosedRoom(room_id, by)], blocked)

    async def unblock(self, room_id: RoomId) -> None:
        """Whoever the room lets in gets into it again."""

        def opened() -> None:
            self._closed.pop(room_id, None)

        await self._writer.write([PutClosedRoom(room_id, None)], opened)

    def check(self, command: Command) -> None:
        """Refused(NO_SUCH_ROOM) for what would bring somebody into a closed room."""
        if self._closed and isinstance(command, _ASKS_TO_BE_IN) and command.room_id in self._closed:
            raise Refused(Refusal.NO_SUCH_ROOM, TEXT)

    async def close(self, command: CloseRoom) -> Done:
        """See commands.CloseRoom. What was begun and failed can be asked for again."""
        room = await self._rooms.get(command.room_id)
        actor = command.actor
        if room.head_membership(actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        if replacement_in(room.head_event(*TOMBSTONE), room.room_id) not in (None, command.replacement):
            # By the name it was meant to be closed by, it is the other one already.
            raise Refused(Refusal.NOT_JOINED, UPGRADED)
        if rank_of(room.head_power(), actor, "join") is not Rank.OWNER:
            raise Refused(Refusal.POWER_TOO_LOW, "Only an owner closes a room")
        await self._shut(room, command)
        people = [user_id for user_id, member in room.members().items() if member.membership in _PRESENT]
        people = [user_id for user_id in people if user_id != actor]
        for some in _parts(people):
            await self._put_out(room, command, some)
            await asyncio.sleep(0)
        await self._put_out(room, command, [actor])
        await self._writer.write([PutAlias(alias, None, actor) for alias in room.aliases])
        room.set_aliases(())
        self._room_bus.publish(DirectoryChanged(room.room_id))
        return Done(room.room_id)

    async def _shut(self, room: Room, command: CloseRoom) -> None:
        """Nobody comes in any more, and those who are there hear why."""
        transaction = self._writer.begin(room)
        actor, power = command.actor, room.head_power()
        if command.replacement is not None and room.head_event("m.room.tombstone") is None:
            body = command.reason or "This room has been replaced"
            content: JsonObject = {"body": body, "replacement_room": command.replacement}
            transaction.append(actor, "m.room.tombstone", content, state_key="")
        if room.join_rule != "invite" and power.user(actor) >= power.event("m.room.join_rules", is_state=True):
            transaction.append(actor, "m.room.join_rules", {"join_rule": "invite"}, state_key="")

        def shut() -> None:
            self._closed.setdefault(room.room_id, actor)
            self._room_bus.publish(
                RoomClosed(room.room_id, command.reason, command.replacement, command.venue, command.venue_password)
            )

        room.closing = True
        try:
            await self._writer.commit(
                room,
                transaction,
                row=replace(room.row, listed=False, locked_until_ms=None, unlock_join_rule=None),
                writes=[PutClosedRoom(room.room_id, actor)],
                on_commit=shut,
            )
        except Refused:
            room.closing = False
            raise

    async def _put_out(self, room: Room, command: CloseRoom, people: list[UserId]) -> None:
        """Kick whom the actor may; of this server's others, each leaves in his own name."""
        transaction = self._writer.begin(room)
        power, server = transaction.power(), self._writer.signer.server
        own = power.user(command.actor)
        for user_id in people:
            event = room.head_event("m.room.member", user_id)
            if event is None or member_of(event).membership not in _PRESENT:
                continue
            may = own >= power.kick and power.user(user_id) < own
            if not may and server_of(user_id) != server:
                continue
            content: JsonObject = {"membership": "leave"}
            if command.reason:
                content["reason"] = command.reason
            transaction.append(command.actor if may else user_id, "m.room.member", content, state_key=user_id)
        if transaction.events:
            await self._writer.commit(room, transaction)


_PRESENT = frozenset({"join", "invite", "knock"})


def _parts(people: list[UserId]) -> Iterator[list[UserId]]:
    for start in range(0, len(people), AT_ONCE):
        yield people[start : start + AT_ONCE]
