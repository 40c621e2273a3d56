"""Replacing a room: a new one is made, everything that can go over goes over, and the old one leads to it.

What makes the new room and what closes the old one is one unit of the store, so there is no half of an upgrade: it is
there or it is not, whenever the server stops. Members of this server who see rooms by IRC or XMPP are in the new room
with that same unit, since their clients know of no tombstones; who comes later is following.py's.
spec: Matrix client-server-api "Room Upgrades", POST /upgrade; docs/mapping.md 21.4. What goes over is inheritance.py.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import InvalidId, RoomAlias, RoomId, UserId, parse_user_id, server_of
from tripoint.core.room_version import RoomVersion, UnknownRoomVersion, get_room_version
from tripoint.rooms.changes import DirectoryChanged, RoomChange
from tripoint.rooms.closing import TEXT as CLOSED
from tripoint.rooms.commands import Done, UpgradeRoom
from tripoint.rooms.elsewhere import Elsewhere
from tripoint.rooms.inheritance import (
    JOIN_RULES,
    POWER,
    ban_content,
    bans_of,
    carried_member,
    closed_levels,
    creation_content,
    inherited_levels,
    inherited_state,
    join_rules_for,
    moved_aliases,
    people_to_invite,
)
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import People
from tripoint.rooms.ports import Member
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Head, Room
from tripoint.rooms.settings import rule_asks_password
from tripoint.rooms.succession import TOMBSTONE, UPGRADED, predecessor_of, replacement_in
from tripoint.rooms.transaction import RoomTransaction
from tripoint.rooms.turns import Turns
from tripoint.rooms.writer import Part, Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutAlias, PutRoom, PutRoomPassword, Write

log = structlog.get_logger()

# Events that are built before others have their turn.
AT_ONCE = 20
# Member events of the unit that makes the room: bans, invitations and those who come along, of each so many. What is
# beyond that follows right behind.
MAX_MEMBERS = 500
# Members of other servers who are invited by us where the new room is not open; their clients may do more.
MAX_INVITED_AWAY = 100


@dataclass(slots=True)
class _Plan:
    """One upgrade that is being built."""

    old: Room
    version: RoomVersion
    command: UpgradeRoom
    owner: UserId
    creators: tuple[UserId, ...]
    # Member events that the unit has no place for: bans, invitations.
    rest: list[tuple[UserId, JsonObject]] = field(default_factory=list)
    away: list[Member] = field(default_factory=list)  # who is invited over federation afterwards


class Upgrading:
    """The handler of UpgradeRoom. `mint` gives 18 random characters for ids of rooms before version 12."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        people: People,
        elsewhere: Elsewhere,
        room_bus: Bus[RoomChange],
        *,
        is_on_a_view: Callable[[UserId], bool],
        turns: Turns,
        mint: Callable[[], str],
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._people = people
        self._elsewhere = elsewhere
        self._room_bus = room_bus
        self._is_on_a_view = is_on_a_view
        self._turns = turns
        self._mint = mint
        # Upgrades of one room, one after the other; not the turns of remote events, which go on.
        self._own_turns = Turns()
        # What comes behind a unit; it goes on, whoever has stopped waiting for it.
        self._finishing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End the invitations that are on their way."""
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)

    async def upgrade(self, command: UpgradeRoom) -> Done:
        """See commands.UpgradeRoom."""
        async with self._own_turns.of(command.room_id):
            room = await self._rooms.get(command.room_id)
            self._check_may(room, command.actor)
            plan = _Plan(room, self._version(room, command), command, command.owner or command.actor, command.creators)
            await self._check_people(plan)
            done = await self._done_before(plan)
            if done is not None:
                return Done(done)
            new = await self._replace(plan)
            await asyncio.shield(self._begin(self._write_the_rest(plan, new)))
        if plan.away:
            self._begin(self._invite_away(plan, new))
        log.info("room.upgraded", room_id=room.room_id, replacement=new.room_id, version=plan.version.id)
        return Done(new.room_id, created=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task

    # -- whether

    def _check_may(self, room: Room, actor: UserId) -> None:
        if room.head_membership(actor) != "join" or room.outside:
            raise Refused(Refusal.NOT_JOINED)
        if room.closing:
            raise Refused(Refusal.NO_SUCH_ROOM, CLOSED)
        power = room.head_power()
        needed = power.event(TOMBSTONE[0], is_state=True)
        if power.user(actor) < needed:
            raise Refused(Refusal.POWER_TOO_LOW, f"Upgrading this room needs power level {needed:g}")
        if room.row.temporary:
            text = "A temporary channel ends with its last member; make it permanent first (CS REGISTER)"
            raise Refused(Refusal.NOT_SUPPORTED, text)
        if room.partial is not None:
            # Who is banned, and who is in it, is not all known: a new room would let in whom it must not.
            raise Refused(Refusal.SERVER_BUSY, "This server does not know all members yet; try again in a moment")

    def _version(self, room: Room, command: UpgradeRoom) -> RoomVersion:
        try:
            return get_room_version(command.room_version or room.version.id)
        except UnknownRoomVersion as error:
            raise Refused(Refusal.VERSION_UNSUPPORTED) from error

    async def _check_people(self, plan: _Plan) -> None:
        """Creators are users; the new owner is a member of this server."""
        for user_id in plan.creators:
            try:
                parse_user_id(user_id)
            except InvalidId as error:
                raise Refused(Refusal.BAD_CONTENT, f"A creator is no user: {error}") from error
        owner, room = plan.owner, plan.old
        if owner == plan.command.actor:
            return
        if server_of(owner) != self._writer.signer.server:
            raise Refused(Refusal.NOT_SUPPORTED, "Only somebody with an account here can have the room made for him")
        if room.head_membership(owner) != "join":
            raise Refused(Refusal.TARGET_NOT_JOINED)
        if self._people.is_guest(owner):
            raise Refused(Refusal.GUESTS_FORBIDDEN, "A guest cannot own a room")

    async def _done_before(self, plan: _Plan) -> RoomId | None:
        """The room that this same upgrade has made already: who got no answer asks again."""
        tombstone = plan.old.head_event(*TOMBSTONE)
        named = replacement_in(tombstone, plan.old.room_id)
        if tombstone is None or named is None or tombstone.sender != plan.command.actor:
            return None
        new = await self._rooms.find(named)
        same = (
            new is not None
            and not new.outside
            and predecessor_of(new) == plan.old.room_id
            and new.version is plan.version
            and new.create_event.sender == plan.owner
        )
        return named if same else None

    # -- the unit

    async def _replace(self, plan: _Plan) -> Room:
        old = plan.old
        try:
            transaction = await self._new_room(plan)
        except Refused as refused:
            if refused.refusal is not Refusal.POWER_TOO_LOW:
                raise
            # Its maker lacks no right: it is the state of the old room that this version does not take.
            raise Refused(Refusal.INVALID_ROOM_STATE, f"A room cannot begin like that: {refused.text}") from refused
        key, aliases = self._writer.mint_room_key(), tuple(old.aliases)
        writes = await self._moved_rows(old, key, aliases)
        # From here on nothing is awaited but the room's policy server, which has a turn of its own.
        async with self._turns.of(old.room_id):
            closing = await self._writer.recommended(old, self._closing(plan, transaction.room_id))
            row = _row(old, transaction, key, self._writer.signer.clock_ms())
            new = Room(
                row, plan.version, {}, keys={}, positions={}, aliases=(), last_position=0, head=Head({}, 0, 0, 0)
            )

            def moved() -> None:
                self._rooms.add(new)
                new.set_aliases(aliases)
                old.set_aliases(alias for alias in old.aliases if alias not in aliases)

            parts = (Part(old, closing, replace(old.row, listed=False)), Part(new, transaction, row))
            with self._rooms.expecting(new):
                await self._writer.commit_together(parts, writes=writes, on_commit=moved)
        for room in (old, new):
            self._room_bus.publish(DirectoryChanged(room.room_id))
        return new

    async def _new_room(self, plan: _Plan) -> RoomTransaction:
        """Create, the owner, what goes over, bans and invitations, the levels, who is brought along.

        Until there are levels the maker may do everything (rooms/v*.md), so they come behind what may need more than
        he has.
        """
        old, version, owner = plan.old, plan.version, plan.owner
        server = self._writer.signer.server
        transaction = self._writer.begin_room(version)
        if not version.room_id_is_create_hash:
            transaction.name_room(RoomId(f"!{self._mint()}:{server}"))
        last = max(old.head.extremities.items(), key=lambda end: end[1].depth)[0]
        creators = tuple(user for user in plan.creators if user != owner)
        create = creation_content(old, version, last, creators)
        create["room_version"] = version.id
        if plan.command.federate is not None:
            create["m.federate"] = plan.command.federate
        if version.creator_in_content:
            create["creator"] = owner
        transaction.append(owner, "m.room.create", create, state_key="")
        transaction.append(owner, "m.room.member", _carried(old, owner, "join"), state_key=owner)
        if (aliases := moved_aliases(old, server)) is not None:
            transaction.append(owner, "m.room.canonical_alias", aliases[0], state_key="")
        steps: list[tuple[UserId, str, str, JsonObject]] = [
            (owner, draft.type, draft.state_key, draft.content) for draft in inherited_state(old, version)
        ]
        bans = [(ban.user_id, ban_content(ban)) for ban in bans_of(old)]
        here, away = people_to_invite(old, server, owner)
        here.sort(key=lambda one: not self._comes_along(plan, one))
        invitations: list[tuple[UserId, JsonObject]] = []
        if join_rules_for(old, version).get("join_rule") != "public":
            invitations = [(one.user_id, carried_member(one, "invite")) for one in here]
            plan.away = away[:MAX_INVITED_AWAY]
        plan.rest = bans[MAX_MEMBERS:] + invitations[MAX_MEMBERS:]
        for user_id, content in bans[:MAX_MEMBERS] + invitations[:MAX_MEMBERS]:
            steps.append((owner, "m.room.member", user_id, content))
        handed_over = None if owner == plan.command.actor else plan.command.actor
        levels = inherited_levels(old, version, owner, creators, handed_over)
        steps.append((owner, POWER, "", levels))
        along = [one for one in here[:MAX_MEMBERS] if self._comes_along(plan, one)]
        steps += [(one.user_id, "m.room.member", one.user_id, carried_member(one, "join")) for one in along]
        for number, (sender, type_, state_key, content) in enumerate(steps):
            transaction.append(sender, type_, content, state_key=state_key)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        return transaction

    def _comes_along(self, plan: _Plan, one: Member) -> bool:
        """Whether a member of this server is in the new room from its beginning, by its maker's side."""
        if plan.old.head_membership(one.user_id) != "join":
            return False
        if one.user_id == plan.command.actor:
            return True
        enters = plan.old.guest_access == "can_join" or not self._people.is_guest(one.user_id)
        return enters and self._is_on_a_view(one.user_id)

    def _closing(self, plan: _Plan, new: RoomId) -> RoomTransaction:
        """The old room leads to the new one, and is left to those who have rights there."""
        old, actor = plan.old, plan.command.actor
        self._check_may(old, actor)  # building took a moment
        transaction = self._writer.begin(old)
        content: JsonObject = {"body": UPGRADED, "replacement_room": new}
        transaction.append(actor, TOMBSTONE[0], content, state_key="")
        optional = [(POWER, closed_levels(old.head_power()))]
        if (aliases := moved_aliases(old, self._writer.signer.server)) is not None:
            optional.insert(0, ("m.room.canonical_alias", aliases[1]))
        for type_, wished in optional:
            try:
                transaction.append(actor, type_, wished, state_key="")
            except Refused as refused:
                # spec: "If possible": who may replace a room need not have these rights too.
                log.info("room.not_closed", room_id=old.room_id, type=type_, reason=refused.text)
        return transaction

    async def _moved_rows(self, old: Room, key: int, aliases: Sequence[RoomAlias]) -> list[Write]:
        """Names and the password of the room belong to the new one."""
        writes: list[Write] = []
        for alias in aliases:
            creator = await self._store.load_alias_creator(alias)
            writes.append(PutAlias(alias, key, creator or old.create_event.sender))
        if rule_asks_password(old.head_event(JOIN_RULES)):
            stored = await self._store.load_room_password(old.room_key)
            if stored is not None:
                writes.append(PutRoomPassword(key, stored.verifier, stored.before))
        return writes

    # -- afterwards

    async def _write_the_rest(self, plan: _Plan, new: Room) -> None:
        """Bans and invitations that the first unit had no place for."""
        for start in range(0, len(plan.rest), AT_ONCE):
            transaction = self._writer.begin(new)
            for user_id, content in plan.rest[start : start + AT_ONCE]:
                wanted = ("leave",) if content["membership"] == "invite" else ("leave", "invite", "join", "knock")
                if new.head_membership(user_id) in wanted:
                    transaction.append(plan.owner, "m.room.member", content, state_key=user_id)
            if transaction.events:
                await self._writer.commit(new, transaction)
            await asyncio.sleep(0)

    async def _invite_away(self, plan: _Plan, new: Room) -> None:
        """Invite members of other servers. Their servers are asked; who is not reached can still be invited by hand."""
        for member in plan.away:
            if new.head_membership(member.user_id) != "leave":
                continue
            try:
                await self._elsewhere.invite(new, plan.owner, member.user_id, {"membership": "invite"})
            except Refused as refused:
                log.info(
                    "room.not_invited", room_id=new.room_id, user_id=member.user_id, refusal=refused.refusal.name
                )


def _carried(old: Room, user_id: UserId, membership: str) -> JsonObject:
    member = old.member(user_id)
    return {"membership": membership} if member is None else carried_member(member, membership)


def _row(old: Room, transaction: RoomTransaction, key: int, now_ms: int) -> PutRoom:
    return PutRoom(
        room_key=key,
        room_id=transaction.room_id,
        version=transaction.version.id,
        head_group=0,
        extremities=(),
        created_ts_ms=now_ms,
        listed=old.row.listed,
        temporary=False,
        locked_until_ms=old.row.locked_until_ms,
        unlock_join_rule=old.row.unlock_join_rule,
        direct_pair=old.row.direct_pair,
    )
