"""States of a room before and after any event: loaded by group, resolved where the graph forks.

A state is a map from (type, state_key) to the key of an event in the store. The algorithm is core.state_res;
this loads what it asks for. spec: Matrix rooms/v2, rooms/v12 "State resolution"
"""

from collections.abc import Mapping, Sequence

from tripoint.core.auth_rules import needed_keys_of
from tripoint.core.event import Event, load_event
from tripoint.core.ids import EventId
from tripoint.core.room_version import RoomVersion
from tripoint.core.state_res import missing_events, resolve
from tripoint.rooms.room import StateKey
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_REJECTED

StateKeys = dict[StateKey, int]


class States:
    """Loads and resolves states."""

    def __init__(self, store: RoomStore) -> None:
        self._store = store

    async def of_group(self, group: int) -> StateKeys:
        return dict(await self._store.load_state(group))

    async def auth_state(self, state: Mapping[StateKey, int], event: Event) -> dict[StateKey, Event]:
        """The part of a state that decides whether `event` is allowed."""
        wanted = {key: state[key] for key in needed_keys_of(event) if key in state}
        rows = await self._store.load_events(list(wanted.values()))
        return {key: parsed(rows[event_key], event.version) for key, event_key in wanted.items()}

    async def resolve(
        self, version: RoomVersion, states: Sequence[Mapping[StateKey, int]], own: Mapping[int, Event]
    ) -> StateKeys:
        """The resolution of several states. `own`: events that are not in the store yet, by their keys."""
        first = states[0]
        if all(state == first for state in states[1:]):
            return dict(first)
        keys: dict[EventId, int] = {}
        events: dict[EventId, Event] = {}
        rejected: set[EventId] = set()

        def take(stored: StoredEvent) -> None:
            events[stored.event_id] = parsed(stored, version)
            keys[stored.event_id] = stored.event_key
            if stored.flags & FLAG_REJECTED:
                rejected.add(stored.event_id)

        wanted = {event_key for state in states for event_key in state.values()} - own.keys()
        for stored in (await self._store.load_events(list(wanted))).values():
            take(stored)
        for event_key, event in own.items():
            events[event.event_id] = event
            keys[event.event_id] = event_key
        ids = {event_key: event_id for event_id, event_key in keys.items()}
        sets = [{key: ids[event_key] for key, event_key in state.items()} for state in states]
        while missing := missing_events(version, sets, events):
            found = await self._store.load_events_by_id(list(missing))
            if not found:
                raise LookupError(f"{len(missing)} events of an auth chain are not in the store")
            for stored in found.values():
                take(stored)
        resolved = resolve(version, sets, events, rejected=rejected)
        return {key: keys[event_id] for key, event_id in resolved.items()}


def parsed(stored: StoredEvent, version: RoomVersion) -> Event:
    return load_event(stored.json, stored.event_id, version)
