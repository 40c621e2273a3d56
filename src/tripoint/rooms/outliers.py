"""Outliers: events of other servers that are known only because others name them, or that came with joining.

Each is judged by its own auth events alone, since the state before it is not known; it is in no timeline and no
forward extremity. spec: Matrix server-server-api "Checks performed on receipt of a PDU" 4; glossary "outlier"
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tripoint.core.auth_rules import (
    NotAllowed,
    check_auth_events_selection,
    check_event_auth,
    state_of,
)
from tripoint.core.event import Event, create_id_of_room, same_event
from tripoint.core.graph import topological_order
from tripoint.core.ids import EventId
from tripoint.rooms.states import parsed
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import FLAG_OUTLIER, FLAG_REJECTED, AddEvent

# Judging takes some 30 µs an event: others have their turn after so many.
JUDGED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Outliers:
    """Events with their keys, and what is to be written of them. `rejected` are the ids of those that break the
    rules, as far as they are among `keys`."""

    writes: list[AddEvent]
    keys: Mapping[EventId, int]
    rejected: frozenset[EventId]


class OutlierJudge:
    """Judges and stores outliers."""

    def __init__(self, writer: Writer, store: RoomStore) -> None:
        self._writer = writer
        self._store = store

    async def add(self, room_key: int, events: Iterable[Event]) -> None:
        """Store those that are not known yet; what fails is kept as rejected."""
        judged = await self.judge(room_key, events)
        if judged.writes:
            await self._writer.write(judged.writes)

    async def judge(self, room_key: int, events: Iterable[Event]) -> Outliers:
        """The events with their verdicts; nothing is stored. Those that are known stay as they are.

        Write what comes back before anything else is awaited: it holds fresh keys.
        """
        wanted = {event.event_id: event for event in events}
        known = await self._store.load_events_by_id(list(wanted))
        keys: dict[EventId, int] = {}
        rejected: set[EventId] = set()
        for event_id, row in known.items():
            event = wanted[event_id]
            # A given id (room versions 1 and 2) may be that of another event: then this one does not count.
            clashes = row.room_key != room_key or not same_event(parsed(row, event.version), event)
            if not clashes:
                keys[event_id] = row.event_key
            if clashes or row.flags & FLAG_REJECTED:
                rejected.add(event_id)
        fresh = {i: event for i, event in wanted.items() if i not in known}
        at_hand = await self._at_hand(room_key, fresh, rejected)
        order = topological_order(fresh, fresh, lambda event: event.auth_events)
        for number, event_id in enumerate(order):
            if not _allowed(fresh[event_id], at_hand, rejected):
                rejected.add(event_id)
            if number % JUDGED_AT_ONCE == JUDGED_AT_ONCE - 1:
                await asyncio.sleep(0)
        writes = []
        for event_id in order:
            keys[event_id] = key = self._writer.stream.next()
            flags = FLAG_OUTLIER | (FLAG_REJECTED if event_id in rejected else 0)
            writes.append(_row(room_key, key, fresh[event_id], flags))
        return Outliers(writes, keys, frozenset(rejected))

    async def _at_hand(
        self, room_key: int, fresh: Mapping[EventId, Event], rejected: set[EventId]
    ) -> dict[EventId, Event]:
        """The auth events of `fresh`, from the store or from among themselves."""
        if not fresh:
            return {}
        version = next(iter(fresh.values())).version
        needed = {i for event in fresh.values() for i in event.auth_events}
        if version.room_id_is_create_hash:
            needed |= {create_id_of_room(event.room_id) for event in fresh.values()}
        found: dict[EventId, Event] = {}
        rows = await self._store.load_events_by_id(list(needed - fresh.keys()))
        for event_id, row in rows.items():
            if row.room_key == room_key:
                found[event_id] = parsed(row, version)
                if row.flags & FLAG_REJECTED:
                    rejected.add(event_id)
        return {**found, **fresh}


def _row(room_key: int, key: int, event: Event, flags: int) -> AddEvent:
    type_ = event.type if event.state_key is not None else None
    return AddEvent(
        key,
        None,
        room_key,
        event.event_id,
        0,
        event.origin_server_ts,
        flags,
        type_,
        event.state_key,
        None,
        event.json,
    )


def permits(state: Mapping[tuple[str, str], Event], event: Event) -> bool:
    """Whether a state allows an event."""
    try:
        check_event_auth(event, state)
    except NotAllowed:
        return False
    return True


def _allowed(event: Event, at_hand: Mapping[EventId, Event], rejected: set[EventId]) -> bool:
    """Whether an outlier passes the rules on its own auth events."""
    if any(event_id not in at_hand for event_id in event.auth_events):
        return False
    events: Sequence[Event] = [at_hand[event_id] for event_id in event.auth_events]
    try:
        check_auth_events_selection(event, events, rejected)
    except NotAllowed:
        return False
    state = state_of(e for e in events if e.is_state)
    if event.version.room_id_is_create_hash and event.type != "m.room.create":
        create = at_hand.get(create_id_of_room(event.room_id))
        if create is None:
            return False
        state["m.room.create", ""] = create
    return permits(state, event)
