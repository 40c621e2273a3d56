"""One room in memory: its committed state, which everybody reads, and its head, which the writer builds on.

Between the moment an event is built and the moment it is on disk, it is in the head alone: readers never see
what may still be lost. Commits move the committed state up to the head; a failed commit drops the head.
Read next: transaction.py (building), writer.py (committing).
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId, server_of
from tripoint.core.power import PowerLevels, Rank, rank_of
from tripoint.core.room_version import RoomVersion
from tripoint.core.server_acl import ServerAcl
from tripoint.rooms.ends import Extremity
from tripoint.rooms.history import BEGINNING, HistoryItem
from tripoint.rooms.ports import Member
from tripoint.store.writes import PutPartialRoom, PutRoom

StateKey = tuple[str, str]

# How many of a room's newest events stay in memory for readers by position: a /sync or a reconnect that is
# less than this behind never touches the disk. 20 are shown by default; a busy minute is some 100.
RECENT_EVENTS = 100

USER_RULE = "m.policy.rule.user"
_POWER_KEYS = (("m.room.power_levels", ""), ("m.room.create", ""))


def member_of(event: Event) -> Member:
    """A member event as a Member. Fields of the wrong type count as absent: remote events may hold anything."""
    content = event.content
    membership, name, avatar = content.get("membership"), content.get("displayname"), content.get("avatar_url")
    return Member(
        UserId(event.state_key or ""),
        membership if isinstance(membership, str) else "leave",
        name if isinstance(name, str) else None,
        avatar if isinstance(avatar, str) else None,
        event,
    )


def membership_of(event: Event | None) -> str:
    """The membership that a member event gives; `leave` where there is none."""
    membership = None if event is None else event.content.get("membership")
    return membership if isinstance(membership, str) else "leave"


def direct_pair(one: UserId, other: UserId) -> str:
    """The key of two users' direct rooms, the same from both sides."""
    return " ".join(sorted((one, other)))


class Head:
    """Where the next event goes: the forward extremities, and the state group after all of them.

    `deltas` and `full` say how long the group's chain is, which decides when the next full state is written.
    """

    __slots__ = ("deltas", "extremities", "full", "group")

    def __init__(self, extremities: dict[EventId, Extremity], group: int, deltas: int, full: int) -> None:
        self.extremities = extremities
        self.group = group
        self.deltas = deltas
        self.full = full

    def rows(self) -> tuple[tuple[EventId, int, int], ...]:
        """The extremities as they are stored."""
        return tuple((event_id, at.depth, at.group) for event_id, at in self.extremities.items())

    def copy(self) -> "Head":
        return Head(dict(self.extremities), self.group, self.deltas, self.full)


class Room:
    """A room (rooms.ports.RoomView), plus what the writer needs.

    `row` is the room's own record; `aliases` its local aliases; `state` maps (type, state_key) to events.
    """

    def __init__(
        self,
        row: PutRoom,
        version: RoomVersion,
        state: Mapping[StateKey, Event],
        *,
        keys: Mapping[StateKey, int],
        positions: Mapping[StateKey, int],
        aliases: Iterable[RoomAlias],
        last_position: int,
        head: Head,
    ) -> None:
        self.row = row
        self.committed_row = row
        self.room_id: RoomId = row.room_id
        self.room_key = row.room_key
        self.version = version
        self.last_position = last_position
        self.state: dict[StateKey, Event] = dict(state)
        # The key in the store of each state event, and the position at which it became the state.
        self.state_keys: dict[StateKey, int] = dict(keys)
        self.state_positions: dict[StateKey, int] = dict(positions)
        # -- the head: what is built but not yet on disk, on top of `state`
        self.head = head
        # (event, its key), or None for state that a resolution took away.
        self.pending: dict[StateKey, tuple[Event, int] | None] = {}
        self.pending_units = 0
        # Done when everything is on disk that was built so far (Writer.queue).
        self.last_unit: asyncio.Future[None] | None = None
        # Where state changed last without an event of its own (changes.StateReset).
        self.reset_position = 0
        # How it was entered, while its members are not all here (partial.py), and where they came.
        self.partial: PutPartialRoom | None = None
        self.completed_position = 0
        self.gone = False  # dropped from the store
        self.closing = False  # everybody is being put out (closing.py)
        self.other_servers: tuple[ServerName, ...] | None = None  # where it is known who hears of it (audience.py)
        self._committed_head = head.copy()
        # -- recent history: every event of the room after `recent_from` is in `recent`
        self.recent: deque[HistoryItem] = deque()
        self.recent_from = last_position
        self._alias_set: set[RoomAlias] = set(aliases)
        self._members: dict[UserId, Member] = {}
        self._joined: dict[UserId, Member] = {}
        self._servers: dict[ServerName, int] = {}
        self._acl: tuple[Event | None, ServerAcl | None] = (None, None)
        self._rules: tuple[Event, ...] | None = None
        for (type_, state_key), event in self.state.items():
            if type_ == "m.room.member":
                self._set_member(UserId(state_key), event)
        self._power: PowerLevels | None = None
        self._head_power: tuple[Event | None, PowerLevels] | None = None

    # -- what everybody reads: the committed room

    @property
    def power(self) -> PowerLevels:
        if self._power is None:
            self._power = PowerLevels.from_state(self.state, self.version)
        return self._power

    @property
    def create_event(self) -> Event:
        return self.state["m.room.create", ""]

    @property
    def name(self) -> str | None:
        return self._text("m.room.name", "name")

    @property
    def topic(self) -> str | None:
        return self._text("m.room.topic", "topic")

    @property
    def topic_event(self) -> Event | None:
        return self.state.get(("m.room.topic", ""))

    @property
    def canonical_alias(self) -> RoomAlias | None:
        alias = self._text("m.room.canonical_alias", "alias")
        return RoomAlias(alias) if alias else None

    @property
    def aliases(self) -> Sequence[RoomAlias]:
        canonical = self.canonical_alias
        return sorted(self._alias_set, key=lambda alias: (alias != canonical, alias))

    @property
    def join_rule(self) -> str:
        return self._text("m.room.join_rules", "join_rule") or "invite"

    @property
    def history_visibility(self) -> str:
        visibility = self._text("m.room.history_visibility", "history_visibility")
        # spec: client-server history_visibility: no or an unknown value is treated as shared.
        return visibility if visibility in ("world_readable", "shared", "invited", "joined") else "shared"

    @property
    def guest_access(self) -> str:
        return self._text("m.room.guest_access", "guest_access") or "forbidden"

    @property
    def direct_pair(self) -> tuple[UserId, UserId] | None:
        if self.row.direct_pair is None:
            return None
        one, _, other = self.row.direct_pair.partition(" ")
        return UserId(one), UserId(other)

    @property
    def encrypted(self) -> bool:
        return ("m.room.encryption", "") in self.state

    @property
    def listed(self) -> bool:
        return self.row.listed

    @property
    def oldest(self) -> int:
        """A position below all that this server has of the room, or may fetch of its past."""
        began_here = self.state_positions.get(("m.room.create", ""), 0) > 0
        return 0 if began_here else BEGINNING

    def is_here(self, server: ServerName) -> bool:
        """Whether `server`, which keeps this room, takes part in it: it has somebody inside, or nobody has."""
        return not self.outside and (server in self._servers or not self._servers)

    @property
    def outside(self) -> bool:
        """Known by an invitation or a knock alone: this server has nothing of the room's graph (outside.py)."""
        return not self._committed_head.extremities

    @property
    def locked(self) -> bool:
        return self.row.locked_until_ms is not None

    @property
    def created_ts_ms(self) -> int:
        return self.row.created_ts_ms

    def member(self, user_id: UserId) -> Member | None:
        return self._members.get(user_id)

    def membership(self, user_id: UserId) -> str:
        member = self._members.get(user_id)
        return "leave" if member is None else member.membership

    def joined(self) -> Mapping[UserId, Member]:
        return self._joined

    def servers(self) -> Mapping[ServerName, int]:
        """The servers with joined members, and how many each has."""
        return self._servers

    def allows_server(self, server: ServerName) -> bool:
        """Whether the room's access control list lets a server take part."""
        event = self.state.get(("m.room.server_acl", ""))
        if self._acl[0] is not event:
            self._acl = (event, None if event is None else ServerAcl(event.content))
        acl = self._acl[1]
        return acl is None or acl.allows(server)

    def user_rules(self) -> tuple[Event, ...]:
        """The room's own rules about users (m.policy.rule.user). A room is searched for them once per change."""
        if self._rules is None:
            self._rules = tuple(event for (type_, _), event in self.state.items() if type_ == USER_RULE)
        return self._rules

    def joined_count(self) -> int:
        return len(self._joined)

    def head_joined_count(self) -> int:
        """How many are joined after everything that was built so far."""
        count = len(self._joined)
        for (type_, state_key), pending in self.pending.items():
            if type_ == "m.room.member":
                now = pending is not None and member_of(pending[0]).membership == "join"
                count += now - (UserId(state_key) in self._joined)
        return count

    def members(self) -> Mapping[UserId, Member]:
        return self._members

    def rank(self, user_id: UserId) -> Rank:
        return rank_of(self.power, user_id, self.membership(user_id))

    def may_speak(self, user_id: UserId) -> bool:
        power = self.power
        return power.user(user_id) >= power.event("m.room.message", is_state=False)

    def _text(self, type_: str, field: str) -> str | None:
        event = self.state.get((type_, ""))
        if event is None:
            return None
        value = event.content.get(field)
        return value if isinstance(value, str) else None

    # -- what the writer builds on: the head

    def head_event(self, type_: str, state_key: str = "") -> Event | None:
        """The state event under a key after everything that was built so far."""
        key = (type_, state_key)
        if key not in self.pending:
            return self.state.get(key)
        pending = self.pending[key]
        return None if pending is None else pending[0]

    def head_keys(self) -> dict[StateKey, int]:
        """The whole state of the head, as a state group has it."""
        keys = dict(self.state_keys)
        for key, pending in self.pending.items():
            if pending is None:
                keys.pop(key, None)
            else:
                keys[key] = pending[1]
        return keys

    def pending_events(self) -> list[tuple[Event, int]]:
        """State events of the head that are not on disk yet, with their keys."""
        return [pending for pending in self.pending.values() if pending is not None]

    def head_membership(self, user_id: UserId) -> str:
        return membership_of(self.head_event("m.room.member", user_id))

    def head_power(self) -> PowerLevels:
        """Power levels after everything that was built so far."""
        event = self.head_event("m.room.power_levels")
        if self._head_power is None or self._head_power[0] is not event:
            state = {key: found for key in _POWER_KEYS if (found := self.head_event(*key)) is not None}
            self._head_power = event, PowerLevels.from_state(state, self.version)
        return self._head_power[1]

    # -- commits

    async def settled(self) -> None:
        """Wait until what was built so far is on disk, or has failed."""
        if self.last_unit is not None and not self.last_unit.done():
            await asyncio.wait([self.last_unit])

    def committed(self, item: HistoryItem, head: Head) -> Event | None:
        """An event is on disk: take it into the committed room. Returns the state event that it replaces."""
        event = item.event
        self.last_position = item.position
        self._committed_head = head
        if event.state_key is None:
            self._remember(item)
            return None
        key = (event.type, event.state_key)
        replaced = self.state.get(key)
        self._remember(HistoryItem(item.position, event, item.token, replaced))
        self.state[key] = event
        # An event of this server's stream has its position as its key.
        self.state_keys[key] = item.position
        self.state_positions[key] = item.position
        pending = self.pending.get(key)
        if pending is not None and pending[0] is event:
            del self.pending[key]
        if event.type == "m.room.member":
            self._set_member(UserId(event.state_key), event)
        elif event.type in ("m.room.power_levels", "m.room.create"):
            self._power = None
        elif event.type == USER_RULE:
            self._rules = None
        return replaced

    def reset_state(
        self, changed: Mapping[StateKey, tuple[Event, int] | None], position: int, head: Head
    ) -> dict[StateKey, Event | None]:
        """A resolution is on disk: take its state over. Returns what stood there before."""
        before = {key: self.state.get(key) for key in changed}
        self._committed_head = head
        for key, entry in changed.items():
            if self.pending.get(key, ()) is entry:
                del self.pending[key]
            if entry is None:
                self.state.pop(key, None)
                self.state_keys.pop(key, None)
                self.state_positions.pop(key, None)
            else:
                self.state[key], self.state_keys[key] = entry
                self.state_positions[key] = position
            if key[0] == "m.room.member":
                self._drop_or_set_member(UserId(key[1]), None if entry is None else entry[0])
        if any(key in changed for key in _POWER_KEYS):
            self._power = None
        self._rules = None
        return before

    def take_missing(self, missing: Mapping[StateKey, tuple[Event, int] | None]) -> None:
        """What was the state all the time, and is known from now on."""
        for key, entry in missing.items():
            if entry is None or key in self.state:
                continue
            self.state[key], self.state_keys[key] = entry
            self.state_positions[key] = 0
            if key[0] == "m.room.member":
                self._set_member(UserId(key[1]), entry[0])
        self._power = None
        self._rules = None
        self._head_power = None

    def forget_event(self, event_id: EventId) -> None:
        """An event is in no timeline any more."""
        self.recent = deque(item for item in self.recent if item.event.event_id != event_id)

    def shown(self, item: HistoryItem) -> None:
        """An event of another server is on disk and in the timeline. Its state came with reset_state()."""
        self.last_position = item.position
        self._remember(item)

    def recognise(self, stripped: Mapping[StateKey, Event]) -> None:
        """What was told of a room that this server is outside of. Events of its own stand over it."""
        for key, event in stripped.items():
            if key not in self.state_keys:
                self.state[key] = event
                self.state_positions.setdefault(key, 0)
                if key[0] == "m.room.member":
                    self._set_member(UserId(key[1]), event)
        self._power = None
        self._head_power = None

    def _drop_or_set_member(self, user_id: UserId, event: Event | None) -> None:
        if event is not None:
            self._set_member(user_id, event)
            return
        self._members.pop(user_id, None)
        self._set_joined(user_id, None)

    def discard_pending(self) -> None:
        """Commits failed: the head goes back to what is on disk."""
        self.row = self.committed_row
        self.pending.clear()
        self.pending_units = 0
        self.head = self._committed_head.copy()
        self._head_power = None

    def redacted(self, event: Event, because: Event) -> None:
        """An event of the room was redacted: show its redacted form from memory too."""
        for index, item in enumerate(self.recent):
            if item.event.event_id == event.event_id:
                self.recent[index] = replace(item, event=event, redacted_because=because)
            elif item.replaced is not None and item.replaced.event_id == event.event_id:
                # What stood before a later change is shown with it (unsigned.prev_content): redacted there too.
                self.recent[index] = replace(item, replaced=event)
        if event.state_key is not None:
            key = (event.type, event.state_key)
            current = self.state.get(key)
            if current is not None and current.event_id == event.event_id:
                self.state[key] = event
                if event.type == "m.room.member":
                    self._set_member(UserId(event.state_key), event)
                self._power = None
                self._rules = None
                self._head_power = None

    def set_aliases(self, aliases: Iterable[RoomAlias]) -> None:
        self._alias_set = set(aliases)

    def _remember(self, item: HistoryItem) -> None:
        self.recent.append(item)
        if len(self.recent) > RECENT_EVENTS:
            self.recent_from = self.recent.popleft().position

    def _set_member(self, user_id: UserId, event: Event) -> None:
        member = member_of(event)
        self._members[user_id] = member
        self._set_joined(user_id, member if member.membership == "join" else None)

    def _set_joined(self, user_id: UserId, member: Member | None) -> None:
        before = user_id in self._joined
        if member is not None:
            self._joined[user_id] = member
        else:
            self._joined.pop(user_id, None)
        if before != (member is not None):
            server = server_of(user_id)
            count = self._servers.get(server, 0) + (-1 if before else 1)
            if count:
                self._servers[server] = count
            else:
                self._servers.pop(server, None)
