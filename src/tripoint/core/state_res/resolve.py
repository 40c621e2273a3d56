"""Choosing the algorithm by room version, and saying which events it will look at."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence

from tripoint.core.event import Event, StateKey, create_id_of_room
from tripoint.core.graph import MissingEvents, auth_chain
from tripoint.core.ids import EventId
from tripoint.core.room_version import RoomVersion, StateRes
from tripoint.core.state_res.v1 import missing_v1, resolve_v1
from tripoint.core.state_res.v2 import resolve_v2


def resolve(
    version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, EventId]],
    events: Mapping[EventId, Event],
    *,
    rejected: Container[EventId] = frozenset(),
    auth_difference: Collection[EventId] | None = None,
) -> dict[StateKey, EventId]:
    """The resolution of a set of states, whatever their order.

    `events` must hold what missing_events names; else MissingEvents is raised. `rejected`: events that were
    rejected, which then permit nothing. `auth_difference`: if the store can tell it without loading whole
    auth chains; then only the events that differ, their chains among themselves, and their own auth events
    are needed. Algorithm 1 looks at neither.
    """
    if not state_sets:
        return {}
    first = state_sets[0]
    if all(state == first for state in state_sets[1:]):
        return dict(first)
    if version.state_res is StateRes.V1:
        return resolve_v1(state_sets, events)
    return resolve_v2(
        state_sets,
        events,
        rejected=rejected,
        auth_difference=auth_difference,
        subgraph=version.state_res is StateRes.V2_1,
    )


def missing_events(
    version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, EventId]],
    events: Mapping[EventId, Event],
) -> frozenset[EventId]:
    """What has to be loaded into `events` before resolve() can do without more: call it again after loading,
    until nothing is missing. Each round goes one step further back where a chain breaks off.
    """
    if not state_sets or all(state == state_sets[0] for state in state_sets[1:]):
        return frozenset()
    if version.state_res is StateRes.V1:
        return frozenset(missing_v1(state_sets, events))
    ids = {event_id for state in state_sets for event_id in state.values()}
    missing: set[EventId] = set()
    try:
        auth_chain(ids, events)
    except MissingEvents as error:
        missing.update(error.event_ids)
    if version.room_id_is_create_hash:
        # The create event is in nobody's auth_events; the room id names it.
        creates = {create_id_of_room(events[i].room_id) for i in ids if i in events}
        missing.update(creates - events.keys())
    return frozenset(missing)
