"""The two graphs that events form: over prev_events (what came before) and auth_events (what permits).

spec: Matrix server-server-api PDUs, rooms/v2 definitions (auth chain, auth difference), rooms/v12 (conflicted
state subgraph). Pure walks over events that the caller has loaded; none recurses, since chains are long.
Read next: state_res/.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from tripoint.core.event import Event, StateKey
from tripoint.core.ids import EventId

_Rank = TypeVar("_Rank", bound="tuple[object, ...]")


class MissingEvents(LookupError):
    """Events that the caller did not load; `event_ids` are those found missing so far."""

    event_ids: frozenset[EventId]

    def __init__(self, event_ids: Iterable[EventId]) -> None:
        self.event_ids = frozenset(event_ids)
        super().__init__(f"{len(self.event_ids)} events are needed and not loaded")


def auth_chain(event_ids: Iterable[EventId], events: Mapping[EventId, Event]) -> set[EventId]:
    """All events reachable over auth_events from these, without these unless one permits another.

    Raise MissingEvents with every id that cannot be followed, so that a caller loads them in one go.
    """
    chain: set[EventId] = set()
    missing: set[EventId] = set()
    waiting = list(event_ids)
    started = set(waiting)
    while waiting:
        event_id = waiting.pop()
        event = events.get(event_id)
        if event is None:
            missing.add(event_id)
            continue
        for auth_id in event.auth_events:
            if auth_id not in chain:
                chain.add(auth_id)
                if auth_id not in started:
                    waiting.append(auth_id)
    if missing:
        raise MissingEvents(missing)
    return chain


def auth_difference(
    state_sets: Sequence[Mapping[StateKey, EventId]], events: Mapping[EventId, Event]
) -> set[EventId]:
    """The events that are in the full auth chain of some state and not of all.

    spec: rooms/v2 definitions: union of the chains minus their intersection. An event of a state counts as part
    of its own chain there, as deployed servers have it: the text, read to the letter, would put an event on which
    all states agree into the difference if only one state's chains reach it.
    """
    everywhere: set[EventId] | None = None
    anywhere: set[EventId] = set()
    for state in state_sets:
        chain = auth_chain(state.values(), events).union(state.values())
        anywhere |= chain
        everywhere = chain if everywhere is None else everywhere & chain
    return anywhere - (everywhere or set())


def conflicted_subgraph(
    conflicted: Collection[EventId], events: Mapping[EventId, Event]
) -> set[EventId]:
    """Every event on a path over auth_events from one of these events to another of them, ends included.

    spec: rooms/v12 definitions, conflicted state subgraph
    """
    reachable = auth_chain(conflicted, events) | set(conflicted)
    leads_back: set[EventId] = set()
    # Earliest first, so that what an event refers to has been decided before it.
    for event_id in topological_order(reachable, events, lambda event: event.auth_events):
        for auth_id in events[event_id].auth_events:
            if auth_id in leads_back or auth_id in conflicted:
                leads_back.add(event_id)
                break
    return leads_back | set(conflicted)


def topological_order(
    event_ids: Collection[EventId],
    events: Mapping[EventId, Event],
    parents: Callable[[Event], Iterable[EventId]],
) -> list[EventId]:
    """These events, every one after those of its parents that are among them; ties by depth, then id."""
    return lexicographic_order(
        event_ids, events, parents, lambda event: (event.depth, event.event_id)
    )


def lexicographic_order(
    event_ids: Collection[EventId],
    events: Mapping[EventId, Event],
    parents: Callable[[Event], Iterable[EventId]],
    rank: Callable[[Event], _Rank],
) -> list[EventId]:
    """The topological ordering of these events that is smallest by `rank`, parents first.

    Kahn's algorithm with the smallest candidate chosen at each step. `rank` must tell any two events apart.
    Raise MissingEvents if one is not loaded. A cycle cannot occur among events whose ids are hashes; where
    ids are given it would be a forgery, and its members are left out.
    """
    missing = [event_id for event_id in event_ids if event_id not in events]
    if missing:
        raise MissingEvents(missing)
    inside = set(event_ids)
    children: dict[EventId, list[EventId]] = {}
    waits_for: dict[EventId, int] = {}
    for event_id in inside:
        known = {parent for parent in parents(events[event_id]) if parent in inside}
        waits_for[event_id] = len(known)
        for parent in known:
            children.setdefault(parent, []).append(event_id)
    ready = [(rank(events[event_id]), event_id) for event_id, count in waits_for.items() if count == 0]
    heapq.heapify(ready)
    ordered: list[EventId] = []
    while ready:
        _, event_id = heapq.heappop(ready)
        ordered.append(event_id)
        for child in children.get(event_id, ()):
            waits_for[child] -= 1
            if waits_for[child] == 0:
                heapq.heappush(ready, (rank(events[child]), child))
    return ordered


def timeline_order(events: Iterable[Event]) -> list[Event]:
    """Events of one room, parents (prev_events) before children; ties by depth, then id."""
    by_id = {event.event_id: event for event in events}
    return [by_id[i] for i in topological_order(by_id, by_id, lambda event: event.prev_events)]


def forward_extremities(before: Iterable[EventId], event: Event, *, hidden: bool = False) -> set[EventId]:
    """The ends of the graph after this event has come: it replaces those of its parents that were ends.

    `hidden`: the event is rejected or soft-failed; then it is no end, and neither frees its parents.
    spec: server-server-api soft-failure, rejection
    """
    ends = set(before)
    if hidden:
        return ends
    ends.difference_update(event.prev_events)
    ends.add(event.event_id)
    return ends


def next_depth(parents: Iterable[Event], max_depth: int) -> int:
    """The depth of an event after these: the greatest of theirs plus one, at most the version's limit.

    spec: server-server-api definitions, depth
    """
    return min(max((event.depth for event in parents), default=0) + 1, max_depth)
