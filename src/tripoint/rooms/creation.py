"""Making rooms: presets of the Matrix API, channels made by JOIN, MUCs made by entering.

spec: Matrix client-server createRoom (the order of the first events); docs/mapping.md 4.3, 7.8, 8.14
"""

from collections.abc import Callable

import structlog
from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import (
    InvalidId,
    RoomAlias,
    RoomId,
    ServerName,
    UserId,
    fold_alias_localpart,
    make_room_alias,
    parse_room_alias,
    server_of,
)
from tripoint.core.power import preset_power_levels, room_template
from tripoint.core.room_version import RoomVersion, UnknownRoomVersion, get_room_version
from tripoint.rooms.commands import CreateRoom, Done, StateDraft, Template, UnlockRoom
from tripoint.rooms.elsewhere import Elsewhere
from tripoint.rooms.foreigners import check_has_account
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import People, profile_content
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.messages import aliases_in, topic_content
from tripoint.rooms.naming import Names
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Head, Room, direct_pair
from tripoint.rooms.server_lists import ServerLists
from tripoint.rooms.settings import FOREIGN, foreign_content
from tripoint.rooms.transaction import RoomTransaction
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutAlias, PutRoom, Write

log = structlog.get_logger()

# XEP-0045 10.1.1 lets a service choose how long a room stays locked; docs/mapping.md 4.3 says ten minutes.
LOCK_MS = 10 * 60 * 1000

_JOIN_RULE = {
    Template.PRIVATE_CHAT: "invite",
    Template.TRUSTED_PRIVATE_CHAT: "invite",
    Template.PUBLIC_CHAT: "public",
    Template.CHANNEL: "public",
    Template.MUC: "public",
    Template.TEMPORARY: "public",
}
# docs/mapping.md 8.14: a room made from IRC keeps its past from those who come later.
_VISIBILITY = {Template.CHANNEL: "joined", Template.TEMPORARY: "joined"}
_GUESTS = {
    Template.PRIVATE_CHAT: "can_join",
    Template.TRUSTED_PRIVATE_CHAT: "can_join",
    Template.TEMPORARY: "can_join",
}
_OWN_CREATION_KEYS = frozenset({"creator", "room_version"})
# State of these types is made from createRoom's own fields or by the server.
_NOT_INITIAL = frozenset({"m.room.create", "m.room.member"})


class Creation:
    """Handlers of CreateRoom and UnlockRoom.

    `mint` gives 18 random characters for ids of rooms before version 12."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        people: People,
        names: Names,
        index: MembershipIndex,
        elsewhere: Elsewhere,
        *,
        default_version: str,
        mint: Callable[[], str],
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._people = people
        self._names = names
        self._index = index
        self._elsewhere = elsewhere
        self._default_version = default_version
        self._mint = mint
        # The policy lists of the server itself; set by who wires.
        self.server_lists: ServerLists | None = None

    @property
    def server(self) -> ServerName:
        return self._writer.signer.server

    async def create(self, command: CreateRoom, direct_with: UserId | None = None) -> Done:
        """One unit: create, creator's join, power levels, alias, preset, initial state, name, topic, invites.

        `direct_with` makes it a direct room of the actor and that user; a client's own direct room with one
        invitee is one too (docs/mapping.md 15.1).
        """
        try:
            version = get_room_version(command.room_version or self._default_version)
        except UnknownRoomVersion as error:
            raise Refused(Refusal.VERSION_UNSUPPORTED) from error
        profile = await self._people.profile(command.actor)
        await self._index.load(command.actor)
        self._index.check_one_more(command.actor)
        local = [user_id for user_id in command.invite if server_of(user_id) == self.server]
        away = [user_id for user_id in command.invite if server_of(user_id) != self.server]
        if away and command.creation_content.get("m.federate") is False:
            raise Refused(Refusal.NOT_SUPPORTED, "A room for users of this server alone has no others in it")
        if self.server_lists is not None:
            for user_id in command.invite:
                await self.server_lists.check_invites(command.actor, user_id)
        if direct_with is None and not command.is_direct:
            for user_id in local:
                check_has_account(user_id, self.server)
        invited = [(user_id, await self._invitable(user_id)) for user_id in local]
        alias = self._wished_alias(command)
        if alias is not None:
            await self._names.reserve(alias, command.actor)
        try:
            room_id = await self._create(
                command, version, alias, profile_content("join", profile), invited, direct_with
            )
        except Refused as refused:
            if refused.refusal is not Refusal.POWER_TOO_LOW:
                raise
            # The creator lacks no right: it is the wished state that the rules do not allow.
            raise Refused(Refusal.INVALID_ROOM_STATE, f"A room cannot begin like that: {refused.text}") from refused
        finally:
            if alias is not None:
                self._names.release(alias)
        for user_id in away:
            await self._invite_away(room_id, command, user_id, direct=direct_with is not None)
        return Done(room_id, created=True)

    async def _invite_away(self, room_id: RoomId, command: CreateRoom, target: UserId, *, direct: bool) -> None:
        """Invite a user of another server, now that there is a room.

        Where that fails the room stays: its maker sees who is in it and can invite again. A direct room, though,
        is for nobody else.
        """
        content: JsonObject = {"membership": "invite"}
        if command.is_direct:
            content["is_direct"] = True
        try:
            await self._elsewhere.invite(await self._rooms.get(room_id), command.actor, target, content)
        except Refused as refused:
            if direct:
                raise
            log.warning("room.not_invited", room_id=room_id, user_id=target, refusal=refused.refusal.name)

    async def _invitable(self, user_id: UserId) -> JsonObject:
        """The member content of an invitation to a local user."""
        if not await self._people.exists(user_id):
            raise Refused(Refusal.NO_SUCH_USER)
        if self._people.refuses_invites(user_id):
            raise Refused(Refusal.INVITES_BLOCKED)
        return profile_content("invite", await self._people.profile(user_id))

    def _wished_alias(self, command: CreateRoom) -> RoomAlias | None:
        if command.alias_localpart is None:
            return None
        return self.local_alias(command.alias_localpart)

    def local_alias(self, localpart: str) -> RoomAlias:
        """The alias under this server that `localpart` folds to (docs/mapping.md 3.3). Refused(BAD_ALIAS)."""
        try:
            folded = fold_alias_localpart(localpart)
            return parse_room_alias(make_room_alias(folded, self._writer.signer.server))
        except InvalidId as error:
            raise Refused(Refusal.BAD_ALIAS, f"That is not a valid room name: {error}") from error

    async def _create(
        self,
        command: CreateRoom,
        version: RoomVersion,
        alias: RoomAlias | None,
        join: JsonObject,
        invited: list[tuple[UserId, JsonObject]],
        direct_with: UserId | None,
    ) -> RoomId:
        actor = command.actor
        if direct_with is None and command.is_direct and len(command.invite) == 1 and alias is None:
            direct_with = command.invite[0]
        transaction = self._writer.begin_room(version)
        if not version.room_id_is_create_hash:
            transaction.name_room(RoomId(f"!{self._mint()}:{self._writer.signer.server}"))
        transaction.append(actor, "m.room.create", self._creation_content(command, version), state_key="")
        if command.nick is not None:
            join = {**join, "displayname": command.nick}
        transaction.append(actor, "m.room.member", join, state_key=actor)
        levels = self._power_levels(command, version)
        transaction.append(actor, "m.room.power_levels", levels, state_key="")
        self._append_state(transaction, command, alias)
        for user_id, content in invited:
            if command.is_direct:
                content["is_direct"] = True
            transaction.append(actor, "m.room.member", content, state_key=user_id)
        now_ms = self._writer.signer.clock_ms()
        row = PutRoom(
            room_key=self._writer.mint_room_key(),
            room_id=transaction.room_id,
            version=version.id,
            head_group=0,
            extremities=(),
            created_ts_ms=now_ms,
            listed=command.listed,
            temporary=command.template is Template.TEMPORARY,
            locked_until_ms=now_ms + LOCK_MS if command.locked else None,
            unlock_join_rule=_JOIN_RULE[command.template] if command.locked else None,
            direct_pair=None if direct_with is None else direct_pair(actor, direct_with),
        )
        room = Room(
            row,
            version,
            {},
            keys={},
            positions={},
            aliases=[alias] if alias else [],
            last_position=0,
            head=Head({}, 0, 0, 0),
        )
        writes: list[Write] = [PutAlias(alias, row.room_key, actor)] if alias else []
        with self._rooms.expecting(room):
            await self._writer.commit(
                room, transaction, origin=command.origin, writes=writes, on_commit=lambda: self._rooms.add(room)
            )
        return room.room_id

    def _creation_content(self, command: CreateRoom, version: RoomVersion) -> JsonObject:
        content: JsonObject = {
            key: value for key, value in command.creation_content.items() if key not in _OWN_CREATION_KEYS
        }
        content["room_version"] = version.id
        if version.creator_in_content:
            content["creator"] = command.actor
        if command.template is Template.TEMPORARY:
            content["m.federate"] = False
        if command.template is Template.TRUSTED_PRIVATE_CHAT and version.privileged_creators and command.invite:
            # spec: createRoom preset trusted_private_chat: from version 12 on invitees become creators.
            given = content.get("additional_creators", [])
            if not isinstance(given, list):
                raise Refused(Refusal.BAD_CONTENT, "additional_creators is a list of user ids")
            content["additional_creators"] = [*given, *(u for u in command.invite if u not in given)]
        return content

    def _power_levels(self, command: CreateRoom, version: RoomVersion) -> JsonObject:
        if command.template in (Template.CHANNEL, Template.MUC, Template.TEMPORARY):
            content = room_template(command.actor, version)
        else:
            trusted = command.invite if command.template is Template.TRUSTED_PRIVATE_CHAT else ()
            content = preset_power_levels(command.actor, version, trusted)
        # spec: createRoom power_level_content_override: keys replace those of the preset.
        return {**content, **(command.power_levels_override or {})}

    def _append_state(
        self, transaction: RoomTransaction, command: CreateRoom, alias: RoomAlias | None
    ) -> None:
        """spec: createRoom: canonical alias, preset, initial_state, name, topic, in this order."""
        actor = command.actor
        given = {(draft.type, draft.state_key) for draft in command.initial_state}
        if alias is not None:
            transaction.append(actor, "m.room.canonical_alias", {"alias": alias}, state_key="")
        join_rule = "invite" if command.locked else _JOIN_RULE[command.template]
        visibility = _VISIBILITY.get(command.template, "shared")
        guests = _GUESTS.get(command.template, "forbidden")
        preset = [
            StateDraft("m.room.join_rules", "", {"join_rule": join_rule}),
            StateDraft("m.room.history_visibility", "", {"history_visibility": visibility}),
            StateDraft("m.room.guest_access", "", {"guest_access": guests}),
        ]
        if command.template is Template.MUC:
            # docs/mapping.md 23.1
            preset.append(StateDraft(FOREIGN, "", foreign_content(True)))
        for draft in preset:
            if (draft.type, draft.state_key) not in given:
                transaction.append(actor, draft.type, draft.content, state_key=draft.state_key)
        for draft in command.initial_state:
            if draft.type in _NOT_INITIAL:
                raise Refused(Refusal.BAD_CONTENT, f"{draft.type} cannot be initial state")
            if draft.type == "m.room.canonical_alias":
                # As later on: a name must point to the room that shows it, and this room has no other yet.
                for named in aliases_in(draft.content):
                    if named != alias:
                        raise Refused(Refusal.NO_SUCH_ALIAS, f"{named} does not point to this room")
            transaction.append(actor, draft.type, draft.content, state_key=draft.state_key)
        if command.name is not None:
            transaction.append(actor, "m.room.name", {"name": command.name}, state_key="")
        if command.topic is not None:
            transaction.append(actor, "m.room.topic", topic_content(command.topic), state_key="")

    async def unlock(self, command: UnlockRoom) -> Done:
        room = await self._rooms.get(command.room_id)
        power = room.head_power()
        if power.user(command.actor) < power.event("m.room.join_rules", is_state=True):
            raise Refused(Refusal.POWER_TOO_LOW)
        if room.row.locked_until_ms is None:
            return Done(room.room_id)
        return await self._unlock(room, command.actor, command.join_rule)

    async def unlock_due(self, now_ms: int) -> None:
        """Open the rooms whose lock has run out; called now and then by runtime."""
        for row in await self._store.load_locked_rooms():
            if row.locked_until_ms is not None and row.locked_until_ms <= now_ms:
                room = await self._rooms.get(row.room_id)
                creator = room.create_event.sender
                if room.locked and room.head_membership(creator) == "join":
                    await self._unlock(room, creator)

    async def _unlock(self, room: Room, actor: UserId, join_rule: str | None = None) -> Done:
        row = room.row
        transaction = self._writer.begin(room)
        rule = join_rule or row.unlock_join_rule or "public"
        transaction.append(actor, "m.room.join_rules", {"join_rule": rule}, state_key="")
        opened = replace(row, locked_until_ms=None, unlock_join_rule=None)
        event = await self._writer.commit(room, transaction, row=opened)
        return Done(room.room_id, event.event_id)
