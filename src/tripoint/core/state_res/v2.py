"""State resolution version 2, and 2.1, which differs in two places.

spec: Matrix rooms/v2 "State resolution" (room versions 2 to 11), rooms/v12 (2.1: the conflicted state
subgraph joins the full conflicted set, and the first iterative auth checks start from nothing). Terms and
steps are those of the text.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Final

from tripoint.core.auth_rules import NotAllowed, check_event_auth, needed_keys_of
from tripoint.core.event import Event, StateKey, create_id_of_room
from tripoint.core.graph import (
    MissingEvents,
    conflicted_subgraph,
    lexicographic_order,
)
from tripoint.core.graph import (
    auth_difference as difference_of_chains,
)
from tripoint.core.ids import EventId
from tripoint.core.levels import CREATE, POWER_LEVELS, PowerLevels

_INFINITE: Final = float("inf")


def resolve_v2(
    state_sets: Sequence[Mapping[StateKey, EventId]],
    events: Mapping[EventId, Event],
    *,
    rejected: Container[EventId],
    auth_difference: Collection[EventId] | None,
    subgraph: bool,
) -> dict[StateKey, EventId]:
    """As resolve(); `subgraph` makes it 2.1."""
    unconflicted, conflicted = separate(state_sets)
    if not conflicted:
        return unconflicted
    # Full conflicted set.
    full = set(conflicted)
    full |= set(difference_of_chains(state_sets, events) if auth_difference is None else auth_difference)
    if subgraph:
        full |= conflicted_subgraph(conflicted, events)
    _check_loaded(full, events)

    # 1. The power events of the full conflicted set with what of their auth chains is in it, in reverse
    # topological power ordering.
    power_ids = _with_chains_inside((i for i in full if is_power_event(events[i])), full, events)
    ordered = lexicographic_order(
        power_ids,
        events,
        lambda event: event.auth_events,
        lambda event: (-_sender_level(event, events), event.origin_server_ts, event.event_id),
    )
    # 2. Iterative auth checks from the unconflicted state map (2.1: from nothing).
    resolved = {} if subgraph else dict(unconflicted)
    _iterative_auth_checks(ordered, resolved, events, rejected)

    # 3. The other events by mainline ordering, based on the power levels so far.
    positions: dict[EventId, float] = dict(_mainline(resolved.get(POWER_LEVELS), events))
    rest = sorted(full - power_ids, key=lambda i: _mainline_rank(events[i], positions, events))
    # 4.
    _iterative_auth_checks(rest, resolved, events, rejected)

    # 5. What was never in question stays.
    resolved.update(unconflicted)
    return resolved


def separate(
    state_sets: Sequence[Mapping[StateKey, EventId]],
) -> tuple[dict[StateKey, EventId], set[EventId]]:
    """(unconflicted state map, conflicted state set). A key that one state lacks is conflicted."""
    seen: dict[StateKey, set[EventId]] = {}
    count: dict[StateKey, int] = {}
    for state in state_sets:
        for key, event_id in state.items():
            seen.setdefault(key, set()).add(event_id)
            count[key] = count.get(key, 0) + 1
    unconflicted: dict[StateKey, EventId] = {}
    conflicted: set[EventId] = set()
    for key, ids in seen.items():
        if len(ids) == 1 and count[key] == len(state_sets):
            unconflicted[key] = next(iter(ids))
        else:
            conflicted |= ids
    return unconflicted, conflicted


def is_power_event(event: Event) -> bool:
    """An event that might take away somebody's ability to do something.

    The text names types alone. That the state key is empty (nothing looks at others), and that a create event is
    one too, is how servers do it with which rooms are shared.
    """
    if event.state_key is None:
        return False
    if event.type in ("m.room.power_levels", "m.room.join_rules", "m.room.create"):
        return event.state_key == ""
    return (
        event.type == "m.room.member"
        and event.content.get("membership") in ("leave", "ban")
        and event.sender != event.state_key
    )


def _with_chains_inside(
    power_ids: Iterable[EventId], full: set[EventId], events: Mapping[EventId, Event]
) -> set[EventId]:
    # The text takes every event of the whole auth chain that is in the full conflicted set; we follow only
    # paths that stay in the set, as the servers with which rooms of version 2 to 11 are shared do. The two
    # differ where a path leaves the set and comes back, which 2.1 excludes: there such paths are in the set.
    found: set[EventId] = set()
    waiting = list(power_ids)
    while waiting:
        event_id = waiting.pop()
        if event_id not in found:
            found.add(event_id)
            waiting.extend(auth_id for auth_id in events[event_id].auth_events if auth_id in full)
    return found


def _sender_level(event: Event, events: Mapping[EventId, Event]) -> float:
    # "When looking at their respective auth_events."
    state = _auth_state(event, events, frozenset())
    return PowerLevels.from_state(state, event.version).user(event.sender)


def _auth_state(
    event: Event, events: Mapping[EventId, Event], rejected: Container[EventId]
) -> dict[StateKey, Event]:
    """What the event's own auth_events say, rejected ones left out; with the create event in any version."""
    _check_loaded(event.auth_events, events)
    state = {
        events[i].key: events[i] for i in event.auth_events if events[i].is_state and i not in rejected
    }
    if event.version.room_id_is_create_hash and event.type != "m.room.create":
        # spec: rooms/v12: the create event is not selected as an auth event, the room id implies it.
        create_id = create_id_of_room(event.room_id)
        _check_loaded((create_id,), events)
        state[CREATE] = events[create_id]
    return state


def _iterative_auth_checks(
    ordered: Iterable[EventId],
    resolved: dict[StateKey, EventId],
    events: Mapping[EventId, Event],
    rejected: Container[EventId],
) -> None:
    """Apply the events that the rules allow to `resolved`, one after the other."""
    for event_id in ordered:
        event = events[event_id]
        if not event.is_state:
            # An auth event that is no state event can be in a forged chain; it changes no state.
            continue
        state = _auth_state(event, events, rejected)
        for key in needed_keys_of(event):
            current = resolved.get(key)
            if current is not None:
                _check_loaded((current,), events)
                state[key] = events[current]
        try:
            check_event_auth(event, state)
        except NotAllowed:
            continue
        resolved[event.key] = event_id


def _mainline(event_id: EventId | None, events: Mapping[EventId, Event]) -> dict[EventId, int]:
    """The power levels event and those it came from, each with its index in the mainline."""
    mainline: dict[EventId, int] = {}
    while event_id is not None and event_id not in mainline:
        _check_loaded((event_id,), events)
        mainline[event_id] = len(mainline)
        event_id = _power_levels_of(events[event_id], events)
    return mainline


def _mainline_rank(
    event: Event, positions: dict[EventId, float], events: Mapping[EventId, Event]
) -> tuple[float, int, EventId]:
    """What the mainline ordering compares, smallest first.

    `positions`: of the mainline, and of every power levels event that was walked over: none is walked twice.
    """
    position = _INFINITE
    at = _power_levels_of(event, events)
    walked: list[EventId] = []
    while at is not None:
        if at in positions:
            position = positions[at]
            break
        walked.append(at)
        positions[at] = _INFINITE  # until it is known; a circle ends here
        _check_loaded((at,), events)
        at = _power_levels_of(events[at], events)
    positions.update(dict.fromkeys(walked, position))
    # 1. A greater position is smaller: it is based on an earlier event. 2. Time. 3. Id.
    return -position, event.origin_server_ts, event.event_id


def _power_levels_of(event: Event, events: Mapping[EventId, Event]) -> EventId | None:
    """The m.room.power_levels event among the event's auth_events."""
    _check_loaded(event.auth_events, events)
    for auth_id in event.auth_events:
        auth_event = events[auth_id]
        if auth_event.type == "m.room.power_levels" and auth_event.state_key == "":
            return auth_id
    return None


def _check_loaded(event_ids: Iterable[EventId], events: Mapping[EventId, Event]) -> None:
    missing = [event_id for event_id in event_ids if event_id not in events]
    if missing:
        raise MissingEvents(missing)
