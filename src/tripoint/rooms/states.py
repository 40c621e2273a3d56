"""States of a room before and after any event: loaded by group, resolved where the graph forks.

A state is a map from (type, state_key) to the key of an event in the store. The algorithm is core.state_res;
this loads what it asks for. spec: Matrix rooms/v2, rooms/v12 "State resolution"
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from tripoint.core.auth_rules import needed_keys_of
from tripoint.core.event import Event, StateKey, create_id_of_room, load_event
from tripoint.core.graph import auth_chain, auth_difference
from tripoint.core.ids import EventId
from tripoint.core.levels import CREATE, POWER_LEVELS
from tripoint.core.room_version import RoomVersion, StateRes
from tripoint.core.state_res import resolve
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_OUTLIER, FLAG_REJECTED

StateKeys = Mapping[StateKey, int]

# How many entries of states stay in memory, all rooms together: those of twenty ends of a room of 10,000, some 20 MB.
# A room that is flooded with forks is asked for the states of its ends with every event.
CACHED_ENTRIES = 250_000
# Events of auth chains that stay in memory, all rooms together: some 20 MB. Who first makes a long chain and then many
# forks has it walked with every fork; from memory that is fifty times cheaper.
CACHED_EVENTS = 10_000
# Events that are read, or resolved, without giving others a turn: some 5 ms.
IN_LOOP = 200

_Item = TypeVar("_Item")


class States:
    """Loads and resolves states. What it gives out is shared: not to be changed."""

    def __init__(self, store: RoomStore) -> None:
        self._store = store
        self._cached: OrderedDict[int, StateKeys] = OrderedDict()
        self._entries = 0
        self._chains: OrderedDict[EventId, _Judged] = OrderedDict()

    async def of_group(self, group: int) -> StateKeys:
        state = self._cached.get(group)
        if state is None:
            state = await self._store.load_state(group)
            self.keep(group, state)
        else:
            self._cached.move_to_end(group)
        return state

    def keep(self, group: int, state: StateKeys) -> None:
        """The state of a group is this one (groups never change): it need not be loaded soon."""
        if group in self._cached or len(state) > CACHED_ENTRIES:
            return
        self._cached[group] = state
        self._entries += len(state)
        while self._entries > CACHED_ENTRIES:
            _, gone = self._cached.popitem(last=False)
            self._entries -= len(gone)

    async def auth_state(self, state: StateKeys, event: Event) -> dict[StateKey, Event]:
        """The part of a state that decides whether `event` is allowed."""
        wanted = {key: state[key] for key in needed_keys_of(event) if key in state}
        rows = await self._store.load_events(list(wanted.values()))
        return {key: parsed(rows[event_key], event.version) for key, event_key in wanted.items()}

    async def resolve(
        self, version: RoomVersion, states: Sequence[StateKeys], own: Mapping[int, Event]
    ) -> StateKeys:
        """The resolution of several states. `own`: events that are not in the store yet, by their keys."""
        unique = list({id(state): state for state in states}.values())
        first = unique[0]
        if all(state == first for state in unique[1:]):
            return first
        resolution = _Resolution(self._store, version, unique, own, self._chains)
        outcome = await resolution.outcome()
        while len(self._chains) > CACHED_EVENTS:
            self._chains.popitem(last=False)
        return outcome


class _Judged(NamedTuple):
    """An event that has its place for good, with its key."""

    event: Event
    event_key: int
    room_key: int  # a room that ended and is entered again has other keys
    rejected: bool


class _Resolution:
    """One resolution. It loads what is in question and what that leads to, not the whole state of a large room."""

    def __init__(
        self,
        store: RoomStore,
        version: RoomVersion,
        states: Sequence[StateKeys],
        own: Mapping[int, Event],
        chains: OrderedDict[EventId, _Judged],
    ) -> None:
        self._store = store
        self._version = version
        self._states = states
        self._own = own
        self._chains = chains
        self._room_key: int | None = None
        self._events: dict[EventId, Event] = {}
        self._keys: dict[EventId, int] = {}
        self._ids: dict[int, EventId] = {}
        self._rejected: set[EventId] = set()

    async def outcome(self) -> StateKeys:
        question = keys_in_question(self._states)
        agreed = dict(self._states[0])
        for key in question:
            agreed.pop(key, None)
        await self._load(state[key] for state in self._states for key in question if key in state)
        conflicting = [
            {key: self._ids[state[key]] for key in question if key in state} for state in self._states
        ]
        difference: Collection[EventId] = ()
        if self._version.state_res is not StateRes.V1:
            await self._load_chains(self._ids.values())
            difference = await self._difference(conflicting, agreed)
        # The agreed state counts as far as rules look at it.
        needed = {CREATE, POWER_LEVELS}.union(
            *(needed_keys_of(event) for event in self._events.values() if event.is_state)
        )
        looked_at = {key: agreed[key] for key in needed if key in agreed}
        await self._load(looked_at.values())
        if self._version.state_res is not StateRes.V1:
            await self._load_chains([self._ids[event_key] for event_key in looked_at.values()])
        common = {key: self._ids[event_key] for key, event_key in looked_at.items()}
        work = partial(
            resolve,
            self._version,
            [{**common, **state} for state in conflicting],
            self._events,
            rejected=self._rejected,
            auth_difference=difference,
        )
        # Each event in question costs some 25 µs, and others are waiting for the loop.
        resolved = work() if len(self._events) < IN_LOOP else await asyncio.to_thread(work)
        return {**agreed, **{key: self._keys[event_id] for key, event_id in resolved.items()}}

    async def _difference(
        self, conflicting: Sequence[Mapping[StateKey, EventId]], agreed: StateKeys
    ) -> Collection[EventId]:
        """The auth difference of the whole states, as far as it is not in conflict anyway.

        What the agreed state's chains hold is in all chains; the rest differs where those of the events in
        conflict differ. The agreed state is loaded only where that leaves something in doubt.
        """
        in_conflict = {event_id for state in conflicting for event_id in state.values()}
        agreed_keys = set(agreed.values())
        doubtful = {
            event_id
            for event_id in auth_difference(conflicting, self._events) - in_conflict
            if self._keys[event_id] not in agreed_keys
        }
        if not doubtful:
            return ()
        await self._load(agreed_keys)
        agreed_ids = [self._ids[event_key] for event_key in agreed_keys]
        await self._load_chains(agreed_ids)
        return doubtful - auth_chain(agreed_ids, self._events)

    async def _load(self, event_keys: Iterable[int]) -> None:
        wanted = {event_key for event_key in event_keys if event_key not in self._ids}
        for event_key in wanted & self._own.keys():
            event = self._own[event_key]
            self._events[event.event_id] = event
            self._keys[event.event_id] = event_key
            self._ids[event_key] = event.event_id
        for part in _parts(list(wanted - self._own.keys())):
            for stored in (await self._store.load_events(part)).values():
                self._take(stored)
            await asyncio.sleep(0)

    async def _load_chains(self, event_ids: Iterable[EventId]) -> None:
        """The auth chains of loaded events: one round for each step back, whatever their number."""
        news = [self._events[event_id] for event_id in list(event_ids)]
        while news:
            wanted = {i for event in news for i in event.auth_events}
            if self._version.room_id_is_create_hash:
                # The create event is in nobody's auth_events; the room id names it.
                wanted.add(create_id_of_room(news[0].room_id))
            wanted -= self._events.keys()
            at_hand = (self._chains.get(event_id) for event_id in wanted)
            news = [self._add(judged) for judged in at_hand if judged and judged.room_key == self._room_key]
            wanted -= self._events.keys()
            for part in _parts(list(wanted)):
                found = await self._store.load_events_by_id(part)
                if len(found) != len(part):
                    raise LookupError(f"{len(part) - len(found)} events of an auth chain are not in the store")
                news += [self._take(stored) for stored in found.values()]
                await asyncio.sleep(0)

    def _take(self, stored: StoredEvent) -> Event:
        event = parsed(stored, self._version)
        self._room_key = stored.room_key
        judged = _Judged(event, stored.event_key, stored.room_key, bool(stored.flags & FLAG_REJECTED))
        if not stored.flags & FLAG_OUTLIER:
            # An outlier may yet be rejected where its place is.
            self._chains[stored.event_id] = judged
        return self._add(judged)

    def _add(self, judged: _Judged) -> Event:
        event = judged.event
        self._events[event.event_id] = event
        self._keys[event.event_id] = judged.event_key
        self._ids[judged.event_key] = event.event_id
        if judged.rejected:
            self._rejected.add(event.event_id)
        return event


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + IN_LOOP] for start in range(0, len(items), IN_LOOP))


def keys_in_question(states: Sequence[StateKeys]) -> set[StateKey]:
    """The keys under which not all states have the same event."""
    first, *rest = states
    found: set[StateKey] = set()
    for state in rest:
        differing = [key for key, event_key in state.items() if first.get(key) != event_key]
        found.update(differing)
        new = sum(key not in first for key in differing)
        if len(state) - new < len(first):
            found.update(first.keys() - state.keys())
    return found


def parsed(stored: StoredEvent, version: RoomVersion) -> Event:
    return load_event(stored.json, stored.event_id, version)
