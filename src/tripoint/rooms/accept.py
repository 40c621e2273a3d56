"""Events of other servers: the checks on receipt, forks and their resolution, soft failure.

Signatures and hashes were checked before (they need keys and the network); fetching what is missing is
catch_up's. Everything here works on what the store has and says what it lacks. Events of one room are taken
one at a time; local commands go on meanwhile, so the last step looks whether the head has moved.
spec: Matrix server-server-api "Checks performed on receipt of a PDU", "Rejection", "Soft failure"
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from tripoint.core.auth_rules import (
    NotAllowed,
    check_auth_events_selection,
    check_event_auth,
    needed_keys_of,
    state_of,
)
from tripoint.core.event import Event, same_event
from tripoint.core.ids import EventId, RoomId
from tripoint.core.levels import CREATE
from tripoint.rooms.ends import ends_with
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.outliers import permits
from tripoint.rooms.policy import POLICY, Policy
from tripoint.rooms.redactions import NOTHING, Redacting, Redactions
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote_writer import RemotePlace, RemoteWriter
from tripoint.rooms.room import Room, StateKey
from tripoint.rooms.states import StateKeys, States, parsed
from tripoint.rooms.turns import Turns
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_OUTLIER, FLAG_REJECTED, FLAG_RELAYED, FLAG_SOFT_FAILED

# How often the last step is done again because local commands moved the head meanwhile.
MAX_TRIES = 20
# Events that are taken one after the other without giving others a turn: some 3 ms.
IN_LOOP = 20


class Verdict(Enum):
    """What became of an event."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft_failed"  # kept, not shown, no forward extremity
    REJECTED = "rejected"  # kept so that it is known, takes part in nothing
    KNOWN = "known"  # it was there already
    CLASHES = "clashes"  # another event has its id (given ids, room versions 1 and 2): dropped


_VERDICTS = {
    0: Verdict.ACCEPTED,
    FLAG_RELAYED: Verdict.ACCEPTED,
    FLAG_SOFT_FAILED: Verdict.SOFT_FAILED,
    FLAG_REJECTED: Verdict.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Lacking:
    """An event cannot be judged before these are there."""

    prev_events: frozenset[EventId]
    auth_events: frozenset[EventId]


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an event came: the state before it as another server gave it, where there is a hole; whether this server
    spreads it; whether the room's policy server recommends it."""

    state_ids: Sequence[EventId] | None = None
    relayed: bool = False
    recommended: bool = True


SIMPLE = Arrival()


class Accept:
    """Takes events of other servers into rooms that this server is in."""

    def __init__(self, rooms: LoadedRooms, remote: RemoteWriter, store: RoomStore, turns: Turns) -> None:
        self._rooms = rooms
        self._remote = remote
        self._store = store
        self._states = States(store)
        self._redactions = Redactions(store, self._states)
        self._turns = turns
        # Set where there are policy servers to ask.
        self.policy: Policy | None = None
        # Hears of messages that soft-failed by what the room is now.
        self.soft_failed: Callable[[RoomId, Event], None] = lambda room_id, event: None
        # Events that are judged and not on disk yet, of all rooms, with what is done when they are.
        self._in_flight: dict[EventId, asyncio.Future[None]] = {}

    async def judged(self, event_ids: Sequence[EventId]) -> Mapping[EventId, Verdict]:
        """What became of those of these events that were judged before."""
        rows = await self._store.load_events_by_id(event_ids)
        return {
            event_id: _VERDICTS.get(row.flags & (FLAG_SOFT_FAILED | FLAG_REJECTED), Verdict.REJECTED)
            for event_id, row in rows.items()
            if not row.flags & FLAG_OUTLIER
        }

    async def receive(self, event: Event, *, relayed: bool = False, held: bool = False) -> Verdict | Lacking:
        """Judge one event and store it with its verdict. Refused(NO_SUCH_ROOM), SERVER_BUSY.

        `relayed`: it is another server's, and this one spreads it (it came by send_join and its kin).
        `held`: the caller has the room's turn.
        """
        if held:
            (outcome,) = await self._judge(event.room_id, [event], None, relayed)
        else:
            (outcome,) = await self._in_turn(event.room_id, [event], None, relayed)
        return outcome

    async def receive_all(self, events: Sequence[Event]) -> list[Verdict | Lacking]:
        """As receive() for each, in order; what simply follows the room's ends is committed together."""
        outcomes: list[Verdict | Lacking] = []
        for room_id, run in itertools.groupby(events, lambda event: event.room_id):
            outcomes += await self._in_turn(room_id, list(run), None, relayed=False)
        return outcomes

    async def receive_after(self, event: Event, state_ids: Sequence[EventId]) -> Verdict | Lacking:
        """As receive(), for an event before which there is a hole: `state_ids` is the state before it, as
        another server says. Events of it that are not in the store, or were rejected, do not count."""
        (outcome,) = await self._in_turn(event.room_id, [event], state_ids, relayed=False)
        return outcome

    async def _in_turn(
        self, room_id: RoomId, events: Sequence[Event], state_ids: Sequence[EventId] | None, relayed: bool
    ) -> list[Verdict | Lacking]:
        """Judge events of one room; whoever has the next turn finds them on disk."""
        async with self._turns.of(room_id):
            return await self._judge(room_id, events, state_ids, relayed)

    async def _judge(
        self, room_id: RoomId, events: Sequence[Event], state_ids: Sequence[EventId] | None, relayed: bool
    ) -> list[Verdict | Lacking]:
        outcomes: list[Verdict | Lacking] = []
        room = await self._rooms.get(room_id)
        if room.outside:
            raise Refused(Refusal.NO_SUCH_ROOM, "This server is not in that room")
        commits: list[asyncio.Future[None]] = []
        for number, event in enumerate(events, 1):
            if number % IN_LOOP == 0:
                await asyncio.sleep(0)
            recommended = True
            if self.policy is not None and POLICY in room.state:
                signed = await self.policy.recommended(room, event)
                recommended, event = signed is not None, signed or event
            if event.event_id in self._in_flight:
                await self._on_disk()
            how = Arrival(state_ids, relayed, recommended)
            simple = how == SIMPLE and not await self._redactions.concern(event)
            known = await self._store.load_event(event.event_id)
            commit = self._receive_next(room, event) if simple and known is None else None
            if commit is not None:
                commits.append(commit)
                outcomes.append(Verdict.ACCEPTED)
            else:
                # From here on the store is read: what was judged or built has to be there.
                await self._on_disk()
                await room.settled()
                outcomes.append(await self._receive(room, event, how, known))
        for commit in commits:
            await asyncio.shield(commit)
        return outcomes

    async def _on_disk(self) -> None:
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))

    def _sent(self, event_id: EventId, commit: "asyncio.Future[None]") -> None:
        self._in_flight[event_id] = commit

        def done(future: "asyncio.Future[None]") -> None:
            self._in_flight.pop(event_id, None)
            # Who waits for it is told of a failure; nobody may be waiting any more.
            future.cancelled() or future.exception()

        commit.add_done_callback(done)

    def _receive_next(self, room: Room, event: Event) -> "asyncio.Future[None] | None":
        """Take an event that everybody expects: it follows all ends, and cites what is the state there.

        Then the state before it is the current state, and what it cites is that state too: checks 4, 5 and 6 are
        one. None for any other event, and for what is not allowed: _receive() judges those. Awaits nothing.
        """
        if event.event_id in self._in_flight or event.type == "m.room.create" or not event.prev_events:
            return None
        if sorted(event.prev_events) != sorted(room.head.extremities):
            return None
        state = _head_state(room, event)
        by_id = {found.event_id: found for found in state.values()}
        wanted = len(state) - (room.version.room_id_is_create_hash and CREATE in state)
        if len(event.auth_events) != wanted or any(event_id not in by_id for event_id in event.auth_events):
            return None
        try:
            check_auth_events_selection(event, [by_id[event_id] for event_id in event.auth_events])
            check_event_auth(event, state)
        except NotAllowed:
            return None
        commit = self._remote.submit_next(room, event)
        self._sent(event.event_id, commit)
        return commit

    async def _receive(
        self, room: Room, event: Event, how: Arrival, known: StoredEvent | None
    ) -> Verdict | Lacking:
        state_ids = how.state_ids
        if known is not None:
            if known.room_key != room.room_key:
                return Verdict.CLASHES
            stored = parsed(known, room.version)
            if not same_event(stored, event):
                return Verdict.CLASHES
            if not known.flags & FLAG_OUTLIER:
                return Verdict.KNOWN
            # The copy that is judged is the one that is kept: of the two one may be redacted.
            event = stored
        if event.type == "m.room.create" or not event.prev_events:
            # A room has one create event, who is in the room has it, and nothing else is without a past.
            return Verdict.REJECTED
        auth = await self._store.load_events_by_id(event.auth_events)
        prev = await self._store.load_events_by_id(event.prev_events)
        if any(row.room_key != room.room_key for row in (*auth.values(), *prev.values())):
            # Its past is another room's: it has no state in this one, so there is nothing to keep.
            return Verdict.REJECTED
        lacking = Lacking(
            frozenset(i for i in event.prev_events if i not in prev or prev[i].flags & FLAG_OUTLIER),
            frozenset(i for i in event.auth_events if i not in auth),
        )
        if lacking.auth_events or (lacking.prev_events and state_ids is None):
            return lacking
        group: int | None = None
        if state_ids is not None:
            before = await self._state_of(room, state_ids)
        else:
            before, group = await self._state_before(room, list(prev.values()))
        # 4. "Passes authorization rules based on the event's auth events, otherwise it is rejected."
        allowed = self._allowed_by_auth_events(room, event, [auth[i] for i in event.auth_events])
        # 5. "... based on the state before the event, otherwise it is rejected."
        members = _members(parsed(auth[i], room.version) for i in event.auth_events) if room.partial else {}
        allowed = allowed and permits({**members, **await self._states.auth_state(before, event)}, event)
        redacting = await self._redactions.look(room, event, before) if allowed else NOTHING
        for _ in range(MAX_TRIES):
            place = await self._place(room, event, before, group, allowed, known, how, redacting, members)
            if place is not None:
                if event.event_id in self._in_flight:
                    # Taken meanwhile, by an event of another room.
                    return Verdict.CLASHES
                commit = self._remote.submit(room, place, keep=self._states.keep)
                self._sent(event.event_id, commit)
                await asyncio.shield(commit)
                if place.may_unfail:
                    self.soft_failed(room.room_id, event)
                return _VERDICTS[place.flags]
        raise Refused(Refusal.SERVER_BUSY)

    def _allowed_by_auth_events(self, room: Room, event: Event, rows: Sequence[StoredEvent]) -> bool:
        events = [parsed(row, room.version) for row in rows]
        rejected = frozenset(row.event_id for row in rows if row.flags & FLAG_REJECTED)
        try:
            check_auth_events_selection(event, events, rejected)
        except NotAllowed:
            return False
        state = state_of(events)
        if room.version.room_id_is_create_hash:
            state["m.room.create", ""] = room.create_event
        return permits(state, event)

    async def _state_of(self, room: Room, state_ids: Sequence[EventId]) -> StateKeys:
        """A state that another server named."""
        state: dict[StateKey, int] = {}
        for row in (await self._store.load_events_by_id(list(state_ids))).values():
            event = parsed(row, room.version)
            if event.state_key is not None and event.room_id == room.room_id and not row.flags & FLAG_REJECTED:
                state[event.key] = row.event_key
        return state

    async def _state_before(self, room: Room, prev: Sequence[StoredEvent]) -> tuple[StateKeys, int | None]:
        """(state before an event, its group if it is that of one group)."""
        groups = {row.state_group for row in prev}
        if len(groups) == 1:
            (group,) = groups
            return await self._states.of_group(group), group
        states = [await self._states.of_group(group) for group in sorted(groups)]
        return await self._states.resolve(room.version, states, {}), None

    async def _place(
        self,
        room: Room,
        event: Event,
        before: StateKeys,
        group: int | None,
        allowed: bool,
        known: StoredEvent | None,
        how: Arrival,
        redacting: Redacting,
        members: Mapping[StateKey, Event],
    ) -> RemotePlace | None:
        """Where the event goes; None if the head moved while this was found out. No await after the check."""
        head = room.head.rows()
        own_key = known.event_key if known is not None else -1
        after = before
        if event.state_key is not None and allowed:
            after = {**before, event.key: own_key}
        flags, may_unfail = FLAG_RELAYED if how.relayed else 0, False
        current: StateKeys | None = None
        if not allowed:
            flags = FLAG_REJECTED
        elif not how.recommended or not permits({**members, **_head_state(room, event)}, event):
            # 6. "... based on the current state of the room, otherwise it is soft failed."; 7. the policy server.
            flags = FLAG_SOFT_FAILED
            # spec: MSC4354: what the policy server is against stays so
            may_unfail = how.recommended and event.state_key is None
        else:
            remaining = ends_with(room.head.extremities, event)
            if not remaining:
                current = after
            else:
                states = [after]
                if len(room.head.extremities) == 1:
                    states.append(room.head_keys())
                else:
                    # A fork was made by an event of another server, and that is on disk by now.
                    groups = {at.group for at in remaining.values()}
                    states += [await self._states.of_group(at_group) for at_group in sorted(groups)]
                own = {} if after is before else {own_key: event}
                own |= {key: found for found, key in room.pending_events()}
                current = await self._states.resolve(room.version, states, own)
        changed: dict[StateKey, Event | None] = {}
        if current is not None:
            changed = await self._changed(room, current, own_key, event)
        if room.head.rows() != head:
            return None
        return RemotePlace(
            event=event,
            known_key=None if known is None else known.event_key,
            flags=flags,
            own_key=own_key,
            before=before,
            before_group=group,
            after=after,
            current=current,
            changed=changed,
            redacting=redacting,
            may_unfail=may_unfail,
        )

    async def unfail(self, room_id: RoomId, event_id: EventId) -> bool:
        """Look again at a message that soft-failed (sticky.py): whether it is shown from now on.
        Refused(NO_SUCH_ROOM), SERVER_BUSY."""
        async with self._turns.of(room_id):
            room = await self._rooms.get(room_id)
            stored = await self._store.load_event(event_id)
            if stored is None or stored.flags != FLAG_SOFT_FAILED or room.outside:
                return False
            event = parsed(stored, room.version)
            await room.settled()
            if event.sticky_ms is None or not permits(_head_state(room, event), event):
                return False
            await asyncio.shield(self._remote.unfail(room, stored, event))
        return True

    async def _changed(
        self, room: Room, current: Mapping[StateKey, int], own_key: int, event: Event
    ) -> dict[StateKey, Event | None]:
        """What differs from the room's head: the events that stand there now, None for what is gone."""
        head = room.head_keys()
        if current == head:
            return {}
        keys = [key for key in current if head.get(key) != current[key]]
        rows = await self._store.load_events([current[key] for key in keys if current[key] != own_key])
        pending = {event_key: found for found, event_key in room.pending_events()}
        changed: dict[StateKey, Event | None] = {}
        for key in keys:
            event_key = current[key]
            if event_key == own_key:
                changed[key] = event
            else:
                changed[key] = pending.get(event_key) or parsed(rows[event_key], room.version)
        changed.update({key: None for key in head if key not in current})
        return changed


def _members(events: Iterable[Event]) -> dict[StateKey, Event]:
    """The member events among those that an event cites: what is known of members while not all are here."""
    return {event.key: event for event in events if event.type == "m.room.member" and event.is_state}


def _head_state(room: Room, event: Event) -> dict[StateKey, Event]:
    return {key: found for key in needed_keys_of(event) if (found := room.head_event(*key)) is not None}
