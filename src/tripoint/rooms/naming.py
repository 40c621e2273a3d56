"""Names of rooms on this server: aliases and the directory.

spec: Matrix client-server "Room aliases", "Listing rooms"; docs/mapping.md 3.3, 6.2
"""

from collections.abc import Callable

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import (
    InvalidId,
    RoomAlias,
    ServerName,
    UserId,
    fold_alias_localpart,
    make_room_alias,
    server_of,
    split_room_alias,
)
from tripoint.rooms.changes import DirectoryChanged, RoomChange
from tripoint.rooms.commands import DeleteAlias, Done, RenameRoom, SetAlias, SetListed
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.settings import SPELLING
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutAlias, Write


class Names:
    """Handlers of alias and directory commands. Names in the making are reserved, so that two rooms made at
    the same moment cannot have the same one."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        room_bus: Bus[RoomChange],
        may_name: Callable[[UserId, RoomAlias], bool] = lambda user_id, alias: True,
    ) -> None:
        """`may_name`: whether a name is not kept from somebody for others (core/app_services.py)."""
        self._may_name = may_name
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._room_bus = room_bus
        self._reserved: set[RoomAlias] = set()

    def check_may_name(self, actor: UserId, alias: RoomAlias) -> None:
        """Refused(ALIAS_EXCLUSIVE) where a name is kept for others."""
        if not self._may_name(actor, alias):
            raise Refused(Refusal.ALIAS_EXCLUSIVE)

    async def reserve(self, alias: RoomAlias, actor: UserId) -> None:
        """Hold a free name until release(). Refused: ALIAS_TAKEN, ALIAS_EXCLUSIVE."""
        self.check_may_name(actor, alias)
        taken = await self._store.load_alias(alias) is not None
        if taken or alias in self._reserved:
            raise Refused(Refusal.ALIAS_TAKEN, f"The room name {alias} is taken")
        self._reserved.add(alias)

    def release(self, alias: RoomAlias) -> None:
        self._reserved.discard(alias)

    async def set_alias(self, command: SetAlias) -> Done:
        """Any member may name a room, as long as the name is free."""
        alias = command.alias
        if server_of(alias) != self._writer.signer.server:
            raise Refused(Refusal.BAD_ALIAS, "That name belongs to another server")
        alias = self.fold(alias)
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        await self.reserve(alias, command.actor)
        try:
            await self._writer.write([PutAlias(alias, room.room_key, command.actor)])
        finally:
            self.release(alias)
        await self._reload(room)
        return Done(room.room_id)

    async def delete_alias(self, command: DeleteAlias) -> Done:
        """Its maker, or who may set the canonical alias, takes a name away.

        spec: DELETE /directory/room: the server may also remove it from m.room.canonical_alias; we do, if the
        actor has the level.
        """
        actor = command.actor
        alias = self.fold(command.alias)
        room_id = await self._store.load_alias(alias)
        if room_id is None:
            raise Refused(Refusal.NO_SUCH_ALIAS)
        self.check_may_name(actor, alias)
        room = await self._rooms.get(room_id)
        power = room.head_power()
        may = power.user(actor) >= power.event("m.room.canonical_alias", is_state=True)
        inside = room.head_membership(actor) == "join"
        creator = await self._store.load_alias_creator(alias)
        if not (inside and may) and creator != actor:
            raise Refused(Refusal.POWER_TOO_LOW, "You may not remove this room name")
        drop: list[Write] = [PutAlias(alias, None, actor)]
        content = _without(room, alias)
        if content is not None and inside and may:
            transaction = self._writer.begin(room)
            transaction.append(actor, "m.room.canonical_alias", content, state_key="")
            await self._writer.commit(room, transaction, origin=command.origin, writes=drop)
        else:
            await self._writer.write(drop)
        await self._reload(room)
        return Done(room.room_id)

    async def rename(self, command: RenameRoom) -> Done:
        """The alias comes first: who is told of the event can go by it."""
        if not self.is_local(command.alias):
            raise Refused(Refusal.BAD_ALIAS, "That name belongs to another server")
        alias = self.fold(command.alias)
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        power = room.head_power()
        if power.user(command.actor) < power.event("m.room.canonical_alias", is_state=True):
            raise Refused(Refusal.POWER_TOO_LOW, "You may not rename this room")
        event = room.head_event("m.room.canonical_alias")
        content = {} if event is None else dict(event.content)
        spelled = _spelled(command.alias, alias)
        if content.get("alias") == alias and content.get(SPELLING) == spelled:
            return Done(room.room_id)
        if await self._store.load_alias(alias) != room.room_id:
            await self.set_alias(SetAlias(actor=command.actor, alias=alias, room_id=room.room_id))
        transaction = self._writer.begin(room)
        content = _renamed(content, alias, spelled, command.reason)
        transaction.append(command.actor, "m.room.canonical_alias", content, state_key="")
        done = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, done.event_id)

    async def set_listed(self, command: SetListed) -> Done:
        room = await self._rooms.get(command.room_id)
        self.check_may_list(room, command.actor)
        if room.row.listed != command.listed:
            row = replace(room.row, listed=command.listed)
            await self._writer.commit(room, self._writer.begin(room), row=row)
            self._room_bus.publish(DirectoryChanged(room.room_id, command.actor, command.origin))
        return Done(room.room_id)

    def check_may_list(self, room: Room, actor: UserId) -> None:
        """docs/mapping.md 6.2: the level of m.room.canonical_alias, from every side."""
        if room.head_membership(actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        power = room.head_power()
        if power.user(actor) < power.event("m.room.canonical_alias", is_state=True):
            raise Refused(Refusal.POWER_TOO_LOW, "You may not change this room's place in the directory")

    @property
    def server(self) -> ServerName:
        """This server."""
        return self._writer.signer.server

    def is_local(self, alias: RoomAlias) -> bool:
        """Whether it is this server that says where an alias leads."""
        return server_of(alias) == self.server

    def fold(self, alias: RoomAlias) -> RoomAlias:
        """A local alias as it is stored (docs/mapping.md 3.3); another server's is its own matter.
        Refused(BAD_ALIAS)."""
        localpart, server = split_room_alias(alias)
        if server != self._writer.signer.server:
            return alias
        try:
            return make_room_alias(fold_alias_localpart(localpart), server)
        except InvalidId as error:
            raise Refused(Refusal.BAD_ALIAS, f"That is not a valid room name: {error}") from error

    async def _reload(self, room: Room) -> None:
        room.set_aliases(await self._store.load_aliases(room.room_key))
        self._room_bus.publish(DirectoryChanged(room.room_id))


def _spelled(wished: RoomAlias, alias: RoomAlias) -> str | None:
    """The channel name as it was wished, where that is the alias but for the case of its letters."""
    written, folded = split_room_alias(wished)[0], split_room_alias(alias)[0]
    alike = len(written) == len(folded) and all(a in (b, b.upper()) for a, b in zip(written, folded, strict=True))
    return f"#{written}" if written != folded and alike else None


def _renamed(content: JsonObject, alias: RoomAlias, spelled: str | None, reason: str | None) -> JsonObject:
    """The content with another canonical alias, and why; the one before is an alternative."""
    before, others = content.get("alias"), content.get("alt_aliases")
    alternatives = [other for other in others if other != alias] if isinstance(others, list) else []
    if isinstance(before, str) and before not in ("", alias, *alternatives):
        alternatives.insert(0, before)
    kept: JsonObject = {key: value for key, value in content.items() if key not in ("reason", SPELLING)}
    if spelled is not None:
        kept[SPELLING] = spelled
    if reason:
        kept["reason"] = reason
    return {**kept, "alias": alias, "alt_aliases": alternatives}


def _without(room: Room, alias: RoomAlias) -> JsonObject | None:
    """The canonical alias content without `alias`; None if it does not name it."""
    event = room.head_event("m.room.canonical_alias")
    if event is None:
        return None
    content = {key: value for key, value in event.content.items() if key != "reason"}  # that of the name before
    alternatives = content.get("alt_aliases")
    named = False
    if content.get("alias") == alias:
        del content["alias"]
        named = True
    if isinstance(alternatives, list) and alias in alternatives:
        content["alt_aliases"] = [other for other in alternatives if other != alias]
        named = True
    return content if named else None
