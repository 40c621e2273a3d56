"""State resolution of room version 1: by type, by depth, by hash of the id.

spec: Matrix rooms/v1 "State resolution". Looks at the states alone, never at auth chains. The text leaves three
things open, which are decided as the servers do with which such rooms are shared (docs/decisions/
state-resolution.md): a key that only some states have is in no conflict; conflicts between members do not see
each other's outcome; where the rules allow none of several events, the one that is ordered first counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from tripoint.core.auth_rules import NotAllowed, check_event_auth, needed_keys_of
from tripoint.core.event import Event, StateKey
from tripoint.core.graph import MissingEvents
from tripoint.core.ids import EventId
from tripoint.core.levels import POWER_LEVELS

_Conflicts = Mapping[StateKey, Iterable[EventId]]


def resolve_v1(
    state_sets: Sequence[Mapping[StateKey, EventId]], events: Mapping[EventId, Event]
) -> dict[StateKey, EventId]:
    """As resolve(). `events` holds the events that are in conflict, and those of all states that permit them."""
    resolved, conflicts = separate(state_sets)
    missing = {i for ids in conflicts.values() for i in ids if i not in events}
    if missing:
        raise MissingEvents(missing)
    # Power levels, then join rules, then members; each kind sees what was decided of the kinds before it.
    passes: tuple[_Conflicts, ...] = (
        {key: ids for key, ids in conflicts.items() if key == POWER_LEVELS},
        {key: ids for key, ids in conflicts.items() if key[0] == "m.room.join_rules"},
        {key: ids for key, ids in conflicts.items() if key[0] == "m.room.member"},
    )
    for conflicting in passes:
        resolved.update({key: _last_allowed(ids, resolved, events) for key, ids in conflicting.items()})
    # "For all other conflicts, just pick the event with the highest depth and lowest sha1(event_id) that passes
    # authentication in R."
    others = {key: _first_allowed(ids, resolved, events) for key, ids in conflicts.items() if key not in resolved}
    resolved.update(others)
    return resolved


def separate(
    state_sets: Sequence[Mapping[StateKey, EventId]],
) -> tuple[dict[StateKey, EventId], dict[StateKey, set[EventId]]]:
    """(the union of the states without conflicts, the conflicting events by key).

    "A conflict occurs between states where those states have different event_ids for the same (event_type,
    state_key)": where one has the key and another lacks it they are not different.
    """
    found: dict[StateKey, set[EventId]] = {}
    for state in state_sets:
        for key, event_id in state.items():
            found.setdefault(key, set()).add(event_id)
    resolved = {key: next(iter(ids)) for key, ids in found.items() if len(ids) == 1}
    return resolved, {key: ids for key, ids in found.items() if len(ids) > 1}


def missing_v1(
    state_sets: Sequence[Mapping[StateKey, EventId]], events: Mapping[EventId, Event]
) -> set[EventId]:
    """What resolve_v1 needs and `events` lacks: first the events in conflict, then those that permit them."""
    resolved, conflicts = separate(state_sets)
    ids = {event_id for conflicting in conflicts.values() for event_id in conflicting}
    missing = ids - events.keys()
    for event_id in ids - missing:
        for key in needed_keys_of(events[event_id]):
            needed = resolved.get(key)
            if needed is not None and needed not in events:
                missing.add(needed)
    return missing


def _ordered(event_ids: Iterable[EventId], events: Mapping[EventId, Event]) -> list[Event]:
    """By ascending depth, then descending sha1 of the id."""
    # sorted() keeps the order of equals: first by the second criterion.
    by_hash = sorted(event_ids, key=lambda i: hashlib.sha1(i.encode()).digest(), reverse=True)
    return sorted((events[i] for i in by_hash), key=lambda event: event.depth)


def _last_allowed(
    event_ids: Iterable[EventId], resolved: Mapping[StateKey, EventId], events: Mapping[EventId, Event]
) -> EventId:
    """Each is added to R if it is allowed after the one before; the first that is not ends it."""
    first, *rest = _ordered(event_ids, events)
    last = first
    for event in rest:
        if not _allowed(event, resolved, events, last):
            break
        last = event
    return last.event_id


def _first_allowed(
    event_ids: Iterable[EventId], resolved: Mapping[StateKey, EventId], events: Mapping[EventId, Event]
) -> EventId:
    ordered = _ordered(event_ids, events)
    for event in reversed(ordered):
        if _allowed(event, resolved, events, None):
            return event.event_id
    return ordered[0].event_id


def _allowed(
    event: Event, resolved: Mapping[StateKey, EventId], events: Mapping[EventId, Event], last: Event | None
) -> bool:
    """Whether the rules allow the event in state R, to which `last` was added."""
    wanted = {key: resolved[key] for key in needed_keys_of(event) if key in resolved}
    missing = [event_id for event_id in wanted.values() if event_id not in events]
    if missing:
        raise MissingEvents(missing)
    state = {key: events[event_id] for key, event_id in wanted.items()}
    if last is not None:
        state[last.key] = last
    try:
        check_event_auth(event, state)
    except NotAllowed:
        return False
    return True
