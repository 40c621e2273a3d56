"""The ends of a room's graph (forward extremities), and how many of them a room may have.

An event cites at most 20 events before it (spec: server-server-api, PDUs), and the state after all ends is worked
out with each event of another server. So a room has no more than 20: then what we say cites them all, stands
where its state says it stands, and thousands of forks cost no more than twenty. An end that goes is no less in
the history; whoever cites it makes it part of the present again.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tripoint.core.event import Event, reference_text
from tripoint.core.event_format import MAX_PREV_EVENTS
from tripoint.core.ids import EventId, ServerName, server_of


class Extremity(NamedTuple):
    """A forward extremity: its depth, the state group after it, the server that made it, and what events that
    follow it write beside its id (core.event.reference_text: nothing from room version 3 on)."""

    depth: int
    group: int
    server: ServerName
    reference: str


def extremity_of(event: Event, group: int) -> Extremity:
    """An event as an end, with the state group after it."""
    return Extremity(event.depth, group, server_of(event.sender), reference_text(event))


def ends_with(ends: Mapping[EventId, Extremity], event: Event) -> dict[EventId, Extremity]:
    """Those of `ends` (the oldest first) that remain beside a new end `event`: not its parents, and so many that
    there is room for it.

    Where there are too many the server with the most of them loses its oldest: who floods a room with forks
    pushes out their own, and nobody else's.
    """
    kept = {event_id: end for event_id, end in ends.items() if event_id not in event.prev_events}
    own = server_of(event.sender)
    while len(kept) >= MAX_PREV_EVENTS:
        counts = Counter(end.server for end in kept.values())
        counts[own] += 1
        most = max(counts.values())
        del kept[next(i for i, end in kept.items() if counts[end.server] == most)]
    return kept
