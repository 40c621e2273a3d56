"""Committing events of other servers: their place, the states around them, and what a resolution changed.

accept.py has judged them and worked out the states; this puts them on the room's head and tells them. Local
events are writer.py's, whose queue both share.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tripoint.core.event import Event, redact
from tripoint.core.ids import UserId
from tripoint.rooms.changes import EventCommitted, StateReset
from tripoint.rooms.ends import ends_with, extremity_of
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.redactions import NOTHING, Redacting
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Head, Room, StateKey, membership_of
from tripoint.rooms.sticky import sticky_writes
from tripoint.rooms.writer import Writer
from tripoint.store.interface import StoredEvent
from tripoint.store.writes import (
    FLAG_REDACTED,
    FLAG_RELAYED,
    AddEvent,
    PlaceEvent,
    PutMembership,
    ReplaceEventJson,
    Write,
)


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """An event of another server with its verdict and the states around it (accept.py).

    States map (type, state_key) to event keys; `own_key` stands for this event's own key, which it gets when
    it is committed. `current` is the room's state from now on, None where the head stays (rejected,
    soft-failed); `changed` the events in which that differs from the head. `enters`: the event is this server's
    way into the room, and what the head was before does not count any more. `redacting`: redactions.py; it counts where
    the event is accepted. `may_unfail`: it is soft-failed by what the room is now alone (sticky.py).
    """

    event: Event
    known_key: int | None
    flags: int
    own_key: int
    before: Mapping[StateKey, int]
    before_group: int | None
    after: Mapping[StateKey, int]
    current: Mapping[StateKey, int] | None
    changed: Mapping[StateKey, Event | None]
    enters: bool = False
    redacting: Redacting = NOTHING
    may_unfail: bool = False


class RemoteWriter:
    """Commits what accept.py has judged."""

    def __init__(self, writer: Writer, memberships: MembershipIndex) -> None:
        self._writer = writer
        self._memberships = memberships
        self._suffix = f":{writer.signer.server}"

    def submit(
        self,
        room: Room,
        place: RemotePlace,
        *,
        writes: Sequence[Write] = (),
        on_commit: Callable[[], None] | None = None,
        keep: Callable[[int, Mapping[StateKey, int]], None] | None = None,
    ) -> "asyncio.Future[None]":
        """Queue an event whose states were worked out; the future is done after the commit, as Writer.submit's.

        `keep` is told which group has the state after the event.
        """
        if room.gone:
            raise Refused(Refusal.NO_SUCH_ROOM)
        head, redacting = room.head, NOTHING if place.current is None else place.redacting
        event = place.event if redacting.because is None else redact(place.event)
        flags = place.flags if redacting.because is None else place.flags | FLAG_REDACTED
        unit: list[Write] = [*writes, *redacting.writes]
        shown = place.current is not None and not redacting.hidden
        number = self._writer.stream.next()
        event_key = number if place.known_key is None else place.known_key
        position = number if shown else None

        def own(keys: Mapping[StateKey, int]) -> Mapping[StateKey, int]:
            if event.state_key is None or keys.get(event.key) != place.own_key:
                return keys
            return {**keys, event.key: event_key}

        after = own(place.after)
        group = self._writer.groups.holding(room, after, place.before_group, place.before, unit)
        if keep is not None:
            keep(group, after)
        if place.known_key is None:
            unit.append(
                AddEvent(
                    event_key,
                    position,
                    room.room_key,
                    event.event_id,
                    group,
                    event.origin_server_ts,
                    flags,
                    event.type if event.state_key is not None else None,
                    event.state_key,
                    None,
                    event.json,
                    None if redacting.because is None else redacting.because.event_id,
                )
            )
        else:
            unit.append(PlaceEvent(event_key, position, group, flags))
            if redacting.because is not None:
                unit.append(ReplaceEventJson(event_key, flags, event.json, redacting.because.event_id))
        if shown or place.may_unfail:
            now_ms = self._writer.signer.clock_ms()
            unit.extend(sticky_writes(event, event_key, room.room_key, now_ms, failed=not shown))
        changed: dict[StateKey, tuple[Event, int] | None] = {}
        if place.current is not None:
            current = own(place.current)
            changed = {
                key: None if found is None else (event if found is place.event else found, current[key])
                for key, found in place.changed.items()
            }
            if current == after:
                head.group = group
            else:
                head.group = self._writer.groups.holding(room, current, head.group, room.head_keys(), unit)
            head.extremities = {} if place.enters else ends_with(head.extremities, event)
            head.extremities[event.event_id] = extremity_of(event, group)
            room.pending.update(changed)
            unit.extend(self.membership_writes(room, changed, number))
        new_head = head.copy()

        def committed() -> None:
            if on_commit is not None:
                on_commit()
            if redacting.target is not None:
                room.redacted(redacting.target, event)
            if place.current is not None:
                self._tell(room, event, event_key, number, changed, new_head, place, shown=shown)

        return self._writer.queue(room, unit, committed)

    def submit_next(self, room: Room, event: Event) -> "asyncio.Future[None]":
        """Queue an event that follows all ends of the room and is allowed there: as submit(), where no state has to
        be worked out."""
        if room.gone:
            raise Refused(Refusal.NO_SUCH_ROOM)
        unit: list[Write] = []
        number = self._writer.stream.next()
        head = room.head
        changed: dict[StateKey, tuple[Event, int] | None] = {}
        if event.state_key is not None:
            changed[event.key] = (event, number)
            room.pending.update(changed)
            unit.append(self._writer.groups.after(room, event.type, event.state_key, number))
            unit.extend(self.membership_writes(room, changed, number))
        unit.append(
            AddEvent(
                number,
                number,
                room.room_key,
                event.event_id,
                head.group,
                event.origin_server_ts,
                0,
                event.type if event.state_key is not None else None,
                event.state_key,
                None,
                event.json,
            )
        )
        unit.extend(sticky_writes(event, number, room.room_key, self._writer.signer.clock_ms()))
        head.extremities = ends_with(head.extremities, event)
        head.extremities[event.event_id] = extremity_of(event, head.group)
        new_head = head.copy()
        return self._writer.queue(room, unit, lambda: self._tell(room, event, number, number, changed, new_head))

    def unfail(self, room: Room, stored: StoredEvent, event: Event) -> "asyncio.Future[None]":
        """Queue a message that soft-failed and is allowed now: it is told as one that has just come. It ends nothing
        and no state is after it, so the room's head stays where it is."""
        if room.gone:
            raise Refused(Refusal.NO_SUCH_ROOM)
        number = self._writer.stream.next()
        unit: list[Write] = [PlaceEvent(stored.event_key, number, stored.state_group, 0)]
        unit.extend(sticky_writes(event, stored.event_key, room.room_key, self._writer.signer.clock_ms()))
        head = room.head.copy()
        return self._writer.queue(room, unit, lambda: self._tell(room, event, stored.event_key, number, {}, head))

    def membership_writes(
        self, room: Room, changed: Mapping[StateKey, tuple[Event, int] | None], position: int
    ) -> list[Write]:
        """Where local users stand after a change of state."""
        return [
            PutMembership(
                UserId(state_key),
                room.room_key,
                membership_of(None if entry is None else entry[0]),
                position,
            )
            for (type_, state_key), entry in changed.items()
            if type_ == "m.room.member" and state_key.endswith(self._suffix)
        ]

    def _tell(
        self,
        room: Room,
        event: Event,
        event_key: int,
        position: int,
        changed: Mapping[StateKey, tuple[Event, int] | None],
        head: Head,
        place: RemotePlace | None = None,
        *,
        shown: bool = True,
    ) -> None:
        """Tell an event of another server if it is `shown`, and then whatever else its arrival changed.

        In two steps, so that whoever hears of a step finds the room as that step leaves it: first as if the
        event stood, then as the resolution has it.
        """
        rest = dict(changed)
        replaced: Event | None = None
        if place is not None and place.enters:
            # Nobody of this server was inside: there is no earlier picture of the room to correct.
            room.version = event.version
            replaced = self._take_state(room, changed, position, head)[event.key]
            rest = {}
        elif event.state_key is not None:
            key = event.key
            entry = rest.pop(key, None)
            replaced = room.state.get(key)
            former = None if replaced is None else (replaced, room.state_keys[key])
            wins = entry is not None and entry[0].event_id == event.event_id
            if key in changed or replaced is None or replaced.event_id != event.event_id:
                self._take_state(room, {key: entry if wins else (event, event_key)}, position, head)
                if not wins:
                    # It was told and lost the resolution: it is visibly undone.
                    rest[key] = entry if key in changed else former
        if shown:
            room.shown(
                HistoryItem(position, event, None, replaced, None if place is None else place.redacting.because)
            )
            relayed = place is not None and bool(place.flags & FLAG_RELAYED)
            redacted = None if place is None else place.redacting.original
            told = EventCommitted(
                position, room.room_id, event, replaced, relayed=relayed, redacted=redacted
            )
            self._writer.tell([told])
        before = self._take_state(room, rest, position, head)
        if rest:
            room.reset_position = position
            pairs = [(before[key], None if entry is None else entry[0]) for key, entry in rest.items()]
            self._writer.tell_reset(StateReset(position, room.room_id, tuple(pairs)))

    def _take_state(
        self, room: Room, changed: Mapping[StateKey, tuple[Event, int] | None], position: int, head: Head
    ) -> dict[StateKey, Event | None]:
        """As Room.reset_state, and local users' lists of rooms with it."""
        before = room.reset_state(changed, position, head)
        for (type_, state_key), entry in changed.items():
            if type_ == "m.room.member":
                membership = membership_of(None if entry is None else entry[0])
                self._memberships.set(UserId(state_key), room.room_id, membership, position)
        return before

    # -- rooms whose state was not whole (partial.py)

    def take_missing(
        self, room: Room, missing: Mapping[StateKey, tuple[Event, int] | None], position: int
    ) -> None:
        """Entries of the state that were so all the time are known from now on. They are on disk."""
        room.take_missing(missing)
        for (type_, state_key), entry in missing.items():
            if type_ == "m.room.member" and entry is not None:
                self._memberships.set(UserId(state_key), room.room_id, membership_of(entry[0]), position)

    def undo(
        self, room: Room, key: StateKey, former: tuple[Event, int] | None, writes: Sequence[Write]
    ) -> "asyncio.Future[None]":
        """Queue a state that has `former` under a key again, since what stood there was not allowed."""
        position = self._writer.stream.next()
        before = room.head_keys()
        after = {k: at for k, at in before.items() if k != key}
        if former is not None:
            after[key] = former[1]
        unit: list[Write] = list(writes)
        room.head.group = self._writer.groups.holding(room, after, room.head.group, before, unit)
        room.pending[key] = former
        unit.extend(self.membership_writes(room, {key: former}, position))
        head = room.head.copy()

        def committed() -> None:
            gone = self._take_state(room, {key: former}, position, head)[key]
            room.reset_position = position
            pair = (gone, None if former is None else former[0])
            self._writer.tell_reset(StateReset(position, room.room_id, (pair,)))

        return self._writer.queue(room, unit, committed)
