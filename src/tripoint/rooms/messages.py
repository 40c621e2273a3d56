"""Saying things: messages, any state event, topics, redactions, ranks.

spec: Matrix client-server "Sending events to a room", "Redactions"; docs/mapping.md 7.1, 8.1, 10, 11.9
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import load_event, redact
from tripoint.core.ids import EventId, InvalidId, RoomAlias, RoomId, UserId, parse_room_alias, parse_user_id, server_of
from tripoint.core.json_view import object_at
from tripoint.core.power import GrantRefused, PowerLevels, change_levels, change_ranks
from tripoint.core.relations import child_of
from tripoint.rooms.abroad import Abroad
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.changes import RoomChange
from tripoint.rooms.closing import TEXT as CLOSED
from tripoint.rooms.commands import (
    VIEWS,
    Ban,
    Command,
    Done,
    Invite,
    Join,
    Kick,
    Knock,
    Leave,
    Redact,
    SendEvent,
    SendState,
    SetLevels,
    SetRanks,
    SetTopic,
    Unban,
)
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.pace import Pace
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.settings import text_rule, without_colours
from tripoint.rooms.shadows import tell_alone
from tripoint.rooms.state_words import level_needed
from tripoint.rooms.succession import TOMBSTONE, UPGRADED, replacement_in
from tripoint.rooms.writer import Writer, stored_token
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_REDACTED, ReplaceEventJson

# Repeats of a transaction id come within seconds; older ones are found on disk.
REMEMBERED_TOKENS = 4096
# Reactions to one message among which one's own are sought.
MAX_ANNOTATIONS = 2000



class Messages:
    """Handlers of what members say. Non-members are refused with NOT_JOINED before anything is built."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        membership: Membership,
        blocks: Blocks,
        people: People,
        room_bus: Bus[RoomChange],
    ) -> None:
        # Set where there are other servers to ask.
        self.abroad: Abroad | None = None
        self._people = people
        self._room_bus = room_bus
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._membership = membership
        self._blocks = blocks
        self._pace = Pace(writer.signer.clock_ms)
        self._recent_tokens: OrderedDict[tuple[RoomId, str], asyncio.Future[EventId]] = OrderedDict()
        self._redacting: set[EventId] = set()  # what somebody takes away in this moment

    async def send_event(self, command: SendEvent) -> Done:
        if command.type == "m.room.redaction":
            return await self.redact(_as_redaction(command))
        if command.type == "m.room.create":
            raise Refused(Refusal.POWER_TOO_LOW, "A room is created once")
        room = await self._rooms.get(command.room_id)
        return await self._once(room, command, lambda: self._send(room, command))

    async def _send(self, room: Room, command: SendEvent) -> EventId:
        self._check_inside(room, command.actor)
        if command.type == "m.room.message":
            _check_says(command.content)
            self._check_not_moved(room, command)
        power = room.head_power()
        if power.user(command.actor) < power.event(command.type, is_state=False):
            raise Refused(Refusal.CANNOT_SPEAK)
        if _by_a_view(command) and room.head_event("m.room.encryption") is not None:
            # docs/mapping.md 19.2, 27.10: not even where the room became so a moment ago.
            raise Refused(Refusal.ENCRYPTED)
        pair = room.direct_pair or ()
        if command.actor in pair and any(self._blocks.blocks(command.actor, other) for other in pair):
            raise Refused(Refusal.BLOCKED)
        child = child_of(command.content)
        if child is not None:
            there = await self._check_relation(room, command, *child)
            if there is not None:
                return there
        content = without_colours(command.content) if text_rule(room.state, "no_colour") else command.content
        unsaid = self._pace.take(room, command)
        try:
            transaction = self._writer.begin(room, command.ts_ms)
            transaction.append(command.actor, command.type, content, sticky_ms=command.sticky_ms)
            if self._people.is_shadow_banned(command.actor):
                return tell_alone(self._room_bus, room, transaction.events[-1], command.origin)
            event = await self._writer.commit(room, transaction, origin=command.origin)
        except Refused:
            if unsaid is not None:
                unsaid()
            raise
        return event.event_id

    async def _check_relation(
        self, room: Room, command: SendEvent, rel_type: str, target: str
    ) -> EventId | None:
        """Refused for what cannot be about that event; the event that says the same already, for clients that say
        twice what they mean once.

        spec: event-annotations "Avoiding duplicate annotations", threading "Validation of m.thread relationships"
        """
        if rel_type == "m.thread":
            root = await self._store.load_event(EventId(target))
            known = root is not None and root.room_key == room.room_key
            if root is not None and known and child_of(load_event(root.json, root.event_id, room.version).content):
                raise Refused(Refusal.NO_THREAD_THERE)
        if rel_type != "m.annotation":
            return None
        mine = await self._store.load_related_by(room.room_key, [EventId(target)], rel_type, command.actor)
        if not mine:
            return None
        rows = await self._store.load_relations(
            room.room_key,
            [EventId(target)],
            rel_type=rel_type,
            after=room.oldest,
            upto=room.last_position,
            limit=MAX_ANNOTATIONS,
            backward=True,
        )
        own = [row.event_key for row in rows if row.sender == command.actor and row.type == command.type]
        key = object_at(command.content, "m.relates_to").get("key")
        for stored in (await self._store.load_events(own)).values():
            said = load_event(stored.json, stored.event_id, room.version)
            if object_at(said.content, "m.relates_to").get("key") == key:
                if _by_a_view(command):
                    return said.event_id
                raise Refused(Refusal.ALREADY_REACTED)
        return None

    async def _once(self, room: Room, command: Command, send: Callable[[], Awaitable[EventId]]) -> Done:
        """Send; where the origin says so, only unless the same session sent the same token before.

        spec: client-server "Transaction identifiers": the server returns the response of the first request.
        """
        token = stored_token(command.origin)
        if command.origin is None or not command.origin.once or token is None:
            return Done(room.room_id, await send())
        key = (room.room_id, token)
        sending = self._recent_tokens.get(key)
        if sending is None:
            for stored in await self._store.load_event_by_token(room.room_key, token):
                return Done(room.room_id, stored.event_id)
            sending = self._recent_tokens.get(key)
        if sending is None:
            sending = asyncio.ensure_future(send())
            self._recent_tokens[key] = sending
            sending.add_done_callback(lambda done: self._sent(key, done))
            if len(self._recent_tokens) > REMEMBERED_TOKENS:
                self._recent_tokens.popitem(last=False)
        return Done(room.room_id, await asyncio.shield(sending))

    def _sent(self, key: tuple[RoomId, str], sending: "asyncio.Future[EventId]") -> None:
        """What failed was not done: the same token may try again."""
        failed = sending.cancelled() or sending.exception() is not None
        if failed and self._recent_tokens.get(key) is sending:
            del self._recent_tokens[key]

    async def send_state(self, command: SendState) -> Done:
        if command.type == "m.room.member":
            if command.sticky_ms is not None:
                raise Refused(Refusal.BAD_CONTENT, "A membership is not sticky: everybody gets it as it is")
            return await self._send_member(command)
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        if command.type == "m.room.create":
            raise Refused(Refusal.POWER_TOO_LOW, "A room is created once")
        if command.type == "m.room.canonical_alias":
            await self._check_canonical_alias(room, command.content)
        return await self.put_state(
            room, command, command.type, command.state_key, command.content, sticky_ms=command.sticky_ms
        )

    async def set_topic(self, command: SetTopic) -> Done:
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        self._check_not_moved(room, command)
        return await self.put_state(room, command, "m.room.topic", "", topic_content(command.topic))

    async def set_ranks(self, command: SetRanks) -> Done:
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        power = room.head_power()
        for user_id, _ in command.ranks:
            if not command.absent and room.head_membership(user_id) not in ("join", "invite"):
                raise Refused(Refusal.TARGET_NOT_JOINED)
        try:
            content = change_ranks(power, command.actor, dict(command.ranks))
        except GrantRefused as error:
            raise Refused(_grant_refusal(power, command), error.reason) from error
        if content == power.content:
            return Done(room.room_id)
        return await self.put_state(room, command, "m.room.power_levels", "", content)

    async def set_levels(self, command: SetLevels) -> Done:
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        power = room.head_power()
        try:
            content = change_levels(power, command.actor, dict(command.levels))
        except GrantRefused as error:
            own = power.user(command.actor)
            above = any(u != command.actor and power.user(u) >= own for u, _ in command.levels)
            raise Refused(Refusal.SAME_POWER if above else Refusal.POWER_TOO_LOW, error.reason) from error
        if content == power.content:
            return Done(room.room_id)
        return await self.put_state(room, command, "m.room.power_levels", "", content)

    async def redact(self, command: Redact) -> Done:
        """spec: rooms/v3 "Handling redactions": own events, or with the redact level."""
        room = await self._rooms.get(command.room_id)
        return await self._once(room, command, lambda: self._redact(room, command))

    async def _redact(self, room: Room, command: Redact) -> EventId:
        stored = await self._store.load_event(command.event_id)
        self._check_inside(room, command.actor)
        if stored is None or stored.room_key != room.room_key or stored.position is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        # Taken away twice, it is told once: Matrix has both events in the graph, a view hears that it is gone.
        again = bool(stored.flags & FLAG_REDACTED) or command.event_id in self._redacting
        if again and _by_a_view(command):
            raise Refused(Refusal.NO_SUCH_EVENT)
        target = load_event(stored.json, stored.event_id, room.version)
        power = room.head_power()
        if target.sender != command.actor and self._people.is_suspended(command.actor):
            raise Refused(Refusal.ACCOUNT_SUSPENDED)
        if target.sender != command.actor and power.user(command.actor) < power.redact:
            raise Refused(Refusal.POWER_TOO_LOW, "You may only remove your own messages here")
        content: JsonObject = {}
        if command.reason is not None:
            content["reason"] = command.reason
        if room.version.redacts_in_content:
            content["redacts"] = command.event_id
        transaction = self._writer.begin(room)
        event = transaction.append(command.actor, "m.room.redaction", content, redacts=command.event_id)
        gone = redact(target)
        self._redacting.add(command.event_id)
        try:
            event = await self._writer.commit(
                room,
                transaction,
                origin=command.origin,
                writes=[ReplaceEventJson(stored.event_key, stored.flags | FLAG_REDACTED, gone.json, event.event_id)],
                on_commit=lambda: room.redacted(gone, event),
                redacted=None if again else target,
            )
        finally:
            if not again:
                self._redacting.discard(command.event_id)
        return event.event_id

    async def event_by_token(self, room: Room, sender: UserId, token: str) -> StoredEvent | None:
        """The newest event that `sender` sent with a kept token."""
        for stored in await self._store.load_event_by_token(room.room_key, token):
            if load_event(stored.json, stored.event_id, room.version).sender == sender:
                return stored
        return None

    async def put_state(
        self,
        room: Room,
        command: Command,
        type_: str,
        state_key: str,
        content: JsonObject,
        *,
        sticky_ms: int | None = None,
    ) -> Done:
        """Write one state event; none where the same stands there by the same hand. Refused(POWER_TOO_LOW)."""
        current = room.head_event(type_, state_key)
        same = current is not None and current.content == content and current.sender == command.actor
        if current is not None and same and sticky_ms is None:
            # Saying again what stands already makes no event: clients do, and history would fill with it.
            return Done(room.room_id, current.event_id)
        power = room.head_power()
        needed = power.event(type_, is_state=True)
        if power.user(command.actor) < needed:
            raise level_needed(type_, needed)
        transaction = self._writer.begin(room, command.ts_ms)
        transaction.append(command.actor, type_, content, state_key=state_key, sticky_ms=sticky_ms)
        if self._people.is_shadow_banned(command.actor):
            return Done(room.room_id, transaction.events[-1].event_id, created=True)
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id, created=True)

    async def _send_member(self, command: SendState) -> Done:
        """A member event written directly is the membership command that it stands for."""
        content, actor, room_id = command.content, command.actor, command.room_id
        try:
            target = parse_user_id(command.state_key)
        except InvalidId as error:
            raise Refused(Refusal.BAD_CONTENT, f"That is no user id: {error}") from error
        wish, reason_value = content.get("membership"), content.get("reason")
        reason = reason_value if isinstance(reason_value, str) else None
        origin, ts_ms = command.origin, command.ts_ms
        if wish in ("join", "knock") and target != actor:
            raise Refused(Refusal.POWER_TOO_LOW, f"Nobody can {wish} for somebody else")
        if wish == "join":
            return await self._rejoin(command)
        if wish == "knock":
            return await self._membership.knock(
                Knock(actor=actor, origin=origin, ts_ms=ts_ms, room_id=room_id, reason=reason)
            )
        if wish == "invite":
            direct = content.get("is_direct") is True
            return await self._membership.invite(
                Invite(
                    actor=actor,
                    origin=origin,
                    ts_ms=ts_ms,
                    room_id=room_id,
                    target=target,
                    reason=reason,
                    is_direct=direct,
                )
            )
        if wish == "ban":
            return await self._membership.ban(
                Ban(actor=actor, origin=origin, ts_ms=ts_ms, room_id=room_id, target=target, reason=reason)
            )
        if wish == "leave":
            if target == actor:
                return await self._membership.leave(
                    Leave(actor=actor, origin=origin, ts_ms=ts_ms, room_id=room_id, reason=reason)
                )
            room = await self._rooms.get(room_id)
            if room.head_membership(target) == "ban":
                return await self._membership.unban(
                    Unban(actor=actor, origin=origin, ts_ms=ts_ms, room_id=room_id, target=target, reason=reason)
                )
            return await self._membership.kick(
                Kick(actor=actor, origin=origin, ts_ms=ts_ms, room_id=room_id, target=target, reason=reason)
            )
        raise Refused(Refusal.BAD_CONTENT, "membership is join, invite, leave, ban or knock")

    async def _rejoin(self, command: SendState) -> Done:
        """A member's own join event with other content: that content, as the client wrote it."""
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            return await self._membership.join(
                Join(
                    actor=command.actor,
                    origin=command.origin,
                    ts_ms=command.ts_ms,
                    room_id=command.room_id,
                    content={key: value for key, value in command.content.items() if key != "membership"},
                )
            )
        transaction = self._writer.begin(room, command.ts_ms)
        transaction.append(
            command.actor, "m.room.member", command.content, state_key=command.actor
        )
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id)

    async def _check_canonical_alias(self, room: Room, content: JsonObject) -> None:
        """spec: m.room.canonical_alias: every alias that is new must be valid and point to this room."""
        current = room.head_event("m.room.canonical_alias")
        known = set() if current is None else aliases_in(current.content)
        wished = content.get("alias")
        alternatives = content.get("alt_aliases", [])
        if not isinstance(alternatives, list):
            raise Refused(Refusal.BAD_CONTENT, "alt_aliases is a list")
        for value in [*([] if wished in (None, "") else [wished]), *alternatives]:
            if not isinstance(value, str):
                raise Refused(Refusal.BAD_ALIAS)
            if value in known:
                continue
            try:
                alias = parse_room_alias(value)
            except InvalidId as error:
                raise Refused(Refusal.BAD_ALIAS, f"That is not a valid room name: {error}") from error
            if await self._leads_to(alias) != room.room_id:
                raise Refused(Refusal.NO_SUCH_ALIAS, f"{alias} does not point to this room")

    async def _leads_to(self, alias: RoomAlias) -> RoomId | None:
        if server_of(alias) == self._writer.signer.server or self.abroad is None:
            return await self._store.load_alias(alias)
        try:
            found = await self.abroad.resolve_alias(alias)
        except Refused as refused:
            raise Refused(Refusal.NO_SUCH_ALIAS, f"Nobody says where {alias} leads: {refused.text}") from refused
        return None if found is None else found.room_id

    def _check_inside(self, room: Room, actor: UserId) -> None:
        if room.head_membership(actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        if room.closing:
            # Nobody who is about to go would see it come back.
            raise Refused(Refusal.NO_SUCH_ROOM, CLOSED)


    def _check_not_moved(self, room: Room, command: Command) -> None:
        """Views are in the room that took this one's place as soon as it is there, and hear nothing of this one: what
        was on its way meanwhile, of somebody who still may speak here, is not said to nobody (docs/mapping.md 21.4).
        """
        tombstone = room.head_event(*TOMBSTONE)
        named = replacement_in(tombstone, room.room_id)
        if named is None or not _by_a_view(command):
            return
        new, is_told = self._rooms.peek(named), room.state.get(TOMBSTONE) is tombstone
        if not is_told or (new is not None and new.head_membership(command.actor) == "join"):
            raise Refused(Refusal.NOT_JOINED, UPGRADED)


def _check_says(content: JsonObject) -> None:
    """spec: module instant-messaging: "Homeservers SHOULD reject m.room.message events which don't have a msgtype key,
    or which don't have a textual body key" """
    for key in ("msgtype", "body"):
        if not isinstance(content.get(key), str):
            raise Refused(Refusal.BAD_CONTENT, f"A message has the text {key}")


def _by_a_view(command: Command) -> bool:
    """Whether a client of IRC or XMPP asks."""
    return command.origin is not None and command.origin.session.startswith(VIEWS)


def _grant_refusal(power: PowerLevels, command: SetRanks) -> Refusal:
    """Which kind of no a refused grant is: no right at all, not above them, or no such rank here (7.0)."""
    own = power.user(command.actor)
    if own < power.event("m.room.power_levels", is_state=True):
        return Refusal.POWER_TOO_LOW
    if any(user_id != command.actor and power.user(user_id) >= own for user_id, _ in command.ranks):
        return Refusal.SAME_POWER
    return Refusal.RANK_IMPOSSIBLE


def topic_content(topic: str) -> JsonObject:
    """spec: m.room.topic: `topic`, and the same text as m.topic for clients that read rich topics."""
    return {"topic": topic, "m.topic": {"m.text": [{"body": topic}]}}


def aliases_in(content: JsonObject) -> set[RoomAlias]:
    """The room names in the content of an m.room.canonical_alias."""
    values = [content.get("alias")]
    alternatives = content.get("alt_aliases")
    if isinstance(alternatives, list):
        values.extend(alternatives)
    return {RoomAlias(value) for value in values if isinstance(value, str) and value}


def _as_redaction(command: SendEvent) -> Redact:
    """A redaction sent as an ordinary event (spec: rooms/v11, `redacts` is in its content)."""
    target, reason = command.content.get("redacts"), command.content.get("reason")
    if not isinstance(target, str):
        raise Refused(Refusal.BAD_CONTENT, "A redaction names the event it redacts")
    return Redact(
        actor=command.actor,
        origin=command.origin,
        room_id=command.room_id,
        event_id=EventId(target),
        reason=reason if isinstance(reason, str) else None,
    )
