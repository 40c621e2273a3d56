"""Policy lists: rooms whose rules say who is to be kept out of the rooms that follow them.

A room follows a list by a state event of ours, in the name of whoever wrote it: as long as he is in the room and may
ban, this server bans for him whom the list is about, members and whoever comes. Another server does nothing by it.
Rules about rooms are for people and servers to act on (server_lists.py), not for rooms.
spec: Matrix client-server-api "Moderation policy lists"; docs/mapping.md 9.14
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import structlog

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.glob import glob_expression
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.json_view import text_at
from tripoint.core.stand_ins import guise_of
from tripoint.core.vendor import V
from tripoint.rooms.changes import EventCommitted, RoomChange, StateReset
from tripoint.rooms.commands import Ban, Command, Done, FollowList, MaskList
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.masks import meets_list
from tripoint.rooms.ports import NameTable, RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.store.interface import StoreError

log = structlog.get_logger()

LISTS: Final = f"{V}.room.policy_lists"
MAX_LISTS: Final = 10
# Rules of one list that are held against people; the oldest go first where there are more.
MAX_RULES: Final = 50_000
# The name table: room -> the lists that it follows, so that nobody has to look through all rooms.
_KIND: Final = "policy_lists"
# COMPAT: lists of today have rules under the names from before the specification.
_USERS: Final = frozenset({"m.policy.rule.user", "m.room.rule.user", "org.matrix.mjolnir.rule.user"})
_SERVERS: Final = frozenset({"m.policy.rule.server", "m.room.rule.server", "org.matrix.mjolnir.rule.server"})
_ROOMS: Final = frozenset({"m.policy.rule.room", "m.room.rule.room", "org.matrix.mjolnir.rule.room"})
_BANS: Final = frozenset({"m.ban", "org.matrix.mjolnir.ban"})
# Rooms and people that wait to be looked at. Who does not fit is met when he comes again.
QUEUE: Final = 1000

PutState = Callable[[Room, Command, str, str, JsonObject], Awaitable[Done]]


def lists_of(room: RoomView) -> tuple[RoomId, ...]:
    """The lists that a room follows, as far as they are room ids."""
    event = room.state.get((LISTS, ""))
    named = None if event is None else event.content.get("rooms")
    if not isinstance(named, list):
        return ()
    return tuple(RoomId(one) for one in named if isinstance(one, str) and one.startswith("!"))[:MAX_LISTS]


class Entities:
    """The rules about one kind of entity: most name one, the others are globs. Reasons are texts."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._globs: list[tuple[re.Pattern[str], str]] = []

    def add(self, entity: str, reason: str) -> None:
        if "*" not in entity and "?" not in entity:
            self._exact[entity.lower()] = reason
        else:
            self._globs.append((re.compile(glob_expression(entity), re.IGNORECASE | re.DOTALL), reason))

    def about(self, entity: str) -> str | None:
        """The reason of a rule about this one; None where there is none."""
        found = self._exact.get(entity.lower())
        if found is not None:
            return found
        return next((reason for glob, reason in self._globs if glob.match(entity)), None)


class Rules:
    """The rules of one list. `servers` and `rooms` are what they say of these; `authors` the servers of who wrote them.

    What a rule says of users is `against`; one about a server is about all of its users.
    """

    def __init__(self, state: Mapping[tuple[str, str], Event]) -> None:
        self.servers = Entities()
        self.rooms = Entities()
        self.authors: set[ServerName] = set()
        self._exact: dict[str, str] = {}
        self._globs: list[tuple[re.Pattern[str], str]] = []
        for count, ((type_, _), event) in enumerate([*state.items()][::-1]):
            if count >= MAX_RULES:
                break
            entity, about_user = text_at(event.content, "entity"), type_ in _USERS
            if not entity or not (about_user or type_ in _SERVERS or type_ in _ROOMS):
                continue
            if text_at(event.content, "recommendation") not in _BANS:
                continue
            reason = text_at(event.content, "reason") or f"Rule about {entity}"
            self.authors.add(server_of(event.sender))
            if type_ in _ROOMS:
                self.rooms.add(entity, reason)
                continue
            if not about_user:
                self.servers.add(entity, reason)
            self._add(entity, reason, about_user=about_user)

    def _add(self, entity: str, reason: str, *, about_user: bool) -> None:
        if "*" not in entity and "?" not in entity:
            self._exact[entity.lower()] = reason
        else:
            glob = entity if about_user else f"@*:{entity}"
            self._globs.append((re.compile(glob_expression(glob), re.IGNORECASE | re.DOTALL), reason))

    def against(self, user_id: UserId, server: ServerName) -> str | None:
        """Why this user is to be kept out; None where no rule is about him. Nobody shuts `server`, this one, out."""
        person = guise_of(user_id, server)
        if person is not None and (reason := self.against(UserId(person), server)) is not None:
            return reason  # of another XMPP server, by the name that rules have for them
        names = (user_id.lower(), server_of(user_id).lower())
        for name in names[: 1 if server_of(user_id) == server else 2]:
            if name in self._exact:
                return self._exact[name]
        for expression, reason in self._globs:
            if expression.match(user_id) and not expression.match(f"@:{server}"):
                return reason
        return None


class PolicyLists:
    """The handler of FollowList; hears of all rooms (`room_changed`); `ban` carries out one command."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        put_state: PutState,
        ban: Callable[[Ban], Awaitable[Done]],
        names: NameTable,
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._put_state = put_state
        self._ban = ban
        self._names = names
        self._lists: dict[RoomId, tuple[RoomId, ...]] = {}
        self._rules: dict[RoomId, Rules] = {}
        self._waiting: dict[tuple[RoomId, UserId | None], None] = {}
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take in which rooms follow what."""
        for room_id, lists in (await self._names.load_names(_KIND, "")).items():
            if lists:
                self._lists[RoomId(room_id)] = tuple(map(RoomId, lists.split(" ")))

    async def close(self) -> None:
        """End what is running; who was not put out yet is met when he comes again, or the list changes."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    # -- following

    async def follow(self, command: FollowList) -> Done:
        """See commands.FollowList."""
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        power = room.head_power()
        if power.user(command.actor) < power.ban:
            raise Refused(Refusal.POWER_TOO_LOW, "A room follows a list in the name of somebody who may ban there")
        lists = lists_of(room)
        if not command.on:
            if command.list_id not in lists:
                raise Refused(Refusal.NO_SUCH_MASK, "This room does not follow that list")
            left = [one for one in lists if one != command.list_id]
            return await self._put_state(room, command, LISTS, "", {"rooms": [*left]})
        source = await self._rooms.get(command.list_id)
        readable = source.head_membership(command.actor) == "join" or source.history_visibility == "world_readable"
        if not readable or not source.is_here(self._server):
            raise Refused(Refusal.NOT_JOINED, "Join the list first: this server hears of its rules by its members")
        if command.list_id == command.room_id:
            raise Refused(Refusal.BAD_CONTENT, "The rules that a room has itself hold in it anyway")
        if command.list_id in lists:
            return Done(room.room_id)
        if len(lists) >= MAX_LISTS:
            raise Refused(Refusal.LIST_FULL)
        return await self._put_state(room, command, LISTS, "", {"rooms": [*lists, command.list_id]})

    # -- what is heard

    def room_changed(self, change: RoomChange) -> None:
        """Only looks; what is done is done later."""
        if isinstance(change, StateReset):
            events: Iterable[Event | None] = [event for pair in change.changed for event in pair]
        elif isinstance(change, EventCommitted):
            events = (change.event,)
        else:
            return
        for event in events:
            if event is not None and event.state_key is not None:
                self._heard(change.room_id, event)

    def _heard(self, room_id: RoomId, event: Event) -> None:
        if event.type == LISTS:
            self._take(room_id)
        elif event.type == "m.room.member":
            if event.state_key is not None and event.state_key.endswith(f":{self._server}"):
                self._rules.pop(room_id, None)  # whether this server is in the list may be otherwise now
            room = self._rooms.peek(room_id)
            if room is not None and (LISTS, "") in room.state and text_at(event.content, "membership") == "join":
                self._take(room_id)  # a server that was killed may not have noted it
                self._look_at(room_id, UserId(event.state_key or ""))
        elif event.type in _USERS or event.type in _SERVERS or event.type in _ROOMS:
            self._rules.pop(room_id, None)
            for follower, lists in self._lists.items():
                if room_id in lists:
                    self._look_at(follower, None)

    def _take(self, room_id: RoomId) -> None:
        room = self._rooms.peek(room_id)
        lists = () if room is None else lists_of(room)
        if lists == self._lists.get(room_id, ()):
            return
        self._names.put_name(_KIND, "", room_id, " ".join(lists))
        if lists:
            self._lists[room_id] = lists
            self._look_at(room_id, None)
        else:
            self._lists.pop(room_id, None)
        kept = {one for followed in self._lists.values() for one in followed}
        for gone in self._rules.keys() - kept:
            del self._rules[gone]

    def _look_at(self, room_id: RoomId, user_id: UserId | None) -> None:
        if len(self._waiting) < QUEUE:
            self._waiting[room_id, user_id] = None
            if self._worker is None or self._worker.done():
                self._worker = asyncio.ensure_future(self._work())

    # -- what is done

    async def against(self, room: Room, user_id: UserId, guise: str | None = None) -> str | None:
        """Why a list that the room follows keeps this user out; None where none does, or the room says otherwise."""
        for list_id in lists_of(room):
            reason = (await self.rules_of(list_id)).against(user_id, self._server)
            shown = guise or guise_of(user_id, self._server)
            if reason is not None and not meets_list(room, MaskList.EXEMPT, user_id, shown):
                return reason
        return None

    async def rules_of(self, list_id: RoomId) -> Rules:
        """What a list says; nothing where this server is not in it."""
        rules = self._rules.get(list_id)
        if rules is None:
            room = await self._rooms.find(list_id)
            # A list that this server is not in any more says nothing new; what it said is not held on to.
            there = room is not None and room.is_here(self._server)
            rules = self._rules[list_id] = Rules(room.state if room is not None and there else {})
        return rules

    async def _work(self) -> None:
        while self._waiting:
            room_id, user_id = next(iter(self._waiting))
            del self._waiting[room_id, user_id]
            try:
                await self._put_out(room_id, user_id)
            except (Refused, StoreError) as error:
                # The one in whose name it is done has lost the right, or left: it is for nobody to enforce.
                log.info("policy_lists.not_enforced", room_id=room_id, reason=str(error))
            except Exception:  # the others have their turn; the bug is told
                log.exception("policy_lists.failed", room_id=room_id)

    async def _put_out(self, room_id: RoomId, only: UserId | None) -> None:
        room = await self._rooms.get(room_id)
        event = room.state.get((LISTS, ""))
        if event is None or server_of(event.sender) != self._server:
            return
        for user_id in [*room.joined()] if only is None else [only]:
            reason = await self.against(room, user_id)
            if reason is None or room.head_membership(user_id) != "join":
                continue
            try:
                await self._ban(Ban(actor=event.sender, room_id=room_id, target=user_id, reason=reason))
            except Refused as refused:
                if refused.refusal is not Refusal.SAME_POWER:
                    raise
