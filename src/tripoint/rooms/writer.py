"""Committing: a transaction's events become rows, and after the commit changes that everybody hears of.

The one place where rooms are written, for local commands and (through accept.py, later) remote events alike.
Events of a room are built on its head at once and committed in groups; see store/group_commit.py.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.changes import EventCommitted, MembershipChanged, RoomChange, StateReset, UserChange
from tripoint.rooms.commands import Origin
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Extremity, Head, Room, StateKey, member_of
from tripoint.rooms.transaction import RoomTransaction, Signer
from tripoint.store.interface import StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import AddEvent, AddStateGroup, PlaceEvent, PutMembership, PutRoom, StateDelta, Write

# A group is written whole once its chain of deltas is this long, or half as long as the room's state: reading
# a state walks at most that many rows, and a join costs one short row.
MAX_CHAIN = 100


class _Item:
    """One event of a unit, and the head after it."""

    __slots__ = ("event", "head", "position", "token")

    def __init__(self, event: Event, position: int, head: Head, token: str | None) -> None:
        self.event = event
        self.position = position
        self.head = head
        self.token = token


def stored_token(origin: Origin | None) -> str | None:
    """What is kept with an event so that it is found again: see commands.Origin."""
    if origin is None or origin.token is None:
        return None
    if origin.once:
        scope = f"{origin.scope}\x1f" if origin.scope else ""
        return f"{origin.session}\x1f{scope}{origin.token}"
    return origin.token if origin.keep else None


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """An event of another server with its verdict and the states around it (accept.py).

    States map (type, state_key) to event keys; `own_key` stands for this event's own key, which it gets when
    it is committed. `current` is the room's state from now on, None where the head stays (rejected,
    soft-failed); `changed` the events in which that differs from the head.
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


class Writer:
    """Commits transactions of all rooms of this process.

    `groups` is the highest state group in use. Changes are published on `room_bus` and `user_bus`.
    """

    def __init__(
        self,
        stream: Stream,
        groups: int,
        memberships: MembershipIndex,
        room_bus: Bus[RoomChange],
        user_bus: Bus[UserChange],
        signer: Signer,
    ) -> None:
        self.stream = stream
        self.signer = signer
        self._groups = groups
        self._created_ms = 0
        self._memberships = memberships
        self._room_bus = room_bus
        self._user_bus = user_bus
        self._suffix = f":{signer.server}"

    def begin(self, room: Room) -> RoomTransaction:
        """A transaction on a room's head, dated now. Submit it before anything is awaited."""
        return RoomTransaction(self.signer, room.version, room)

    def begin_room(self, version: RoomVersion) -> RoomTransaction:
        """A transaction whose first event makes a new room.

        From version 12 on a room's id is the hash of its create event: two rooms of one maker in the same
        millisecond would be the same room. So creation times of this server never repeat.
        """
        self._created_ms = max(self.signer.clock_ms(), self._created_ms + 1)
        return RoomTransaction(self.signer, version, None, self._created_ms)

    def submit(
        self,
        room: Room,
        transaction: RoomTransaction,
        *,
        origin: Origin | None = None,
        writes: Iterable[Write] = (),
        row: PutRoom | None = None,
        on_commit: Callable[[], None] | None = None,
    ) -> "asyncio.Future[None]":
        """Put a transaction's events on the room's head and queue them; the future is done after the commit.

        `origin` marks the last event, which is the one that was asked for. `writes` go into the same unit,
        `row` replaces the room's record. `on_commit` runs before the changes are told. On failure the future
        raises Refused(SERVER_BUSY) and the room is as it was. Refused(NO_SUCH_ROOM) for a room that was dropped.
        """
        if room.gone:
            raise Refused(Refusal.NO_SUCH_ROOM)
        unit: list[Write] = []
        items: list[_Item] = []
        last = len(transaction.events) - 1
        for index, event in enumerate(transaction.events):
            token = stored_token(origin) if index == last else None
            items.append(self._place(room, event, token, unit))
        if row is not None:
            room.row = row
        room.row = replace(room.row, head_group=room.head.group, extremities=room.head.rows())
        stored_row = room.row
        unit.append(stored_row)
        unit.extend(writes)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        room.pending_units += 1

        def done(error: StoreError | None) -> None:
            if error is not None:
                room.discard_pending()
                if not future.done():
                    future.set_exception(Refused(Refusal.SERVER_BUSY))
                return
            room.pending_units -= 1
            room.committed_row = stored_row
            changes = self._take(room, items, origin)
            if on_commit is not None:
                on_commit()
            self._tell(changes)
            if not future.done():
                future.set_result(None)

        self.stream.submit(unit, done)
        return future

    def submit_remote(
        self,
        room: Room,
        place: RemotePlace,
        *,
        writes: Sequence[Write] = (),
        on_commit: Callable[[], None] | None = None,
    ) -> "asyncio.Future[None]":
        """Queue an event of another server; as submit(), but its states were worked out beforehand."""
        if room.gone:
            raise Refused(Refusal.NO_SUCH_ROOM)
        event, head = place.event, room.head
        unit: list[Write] = list(writes)
        shown = place.current is not None
        number = self.stream.next()
        event_key = number if place.known_key is None else place.known_key
        position = number if shown else None

        def own(keys: Mapping[StateKey, int]) -> dict[StateKey, int]:
            return {key: event_key if at == place.own_key else at for key, at in keys.items()}

        after = own(place.after)
        group = self._group_of(room, unit, after, place.before_group, place.before)
        if place.known_key is None:
            unit.append(
                AddEvent(
                    event_key,
                    position,
                    room.room_key,
                    event.event_id,
                    group,
                    event.origin_server_ts,
                    place.flags,
                    event.type if event.state_key is not None else None,
                    event.state_key,
                    None,
                    event.json,
                )
            )
        else:
            unit.append(PlaceEvent(event_key, position, group, place.flags))
        changed: dict[StateKey, tuple[Event, int] | None] = {}
        if place.current is not None:
            current = own(place.current)
            changed = {
                key: None if found is None else (found, current[key]) for key, found in place.changed.items()
            }
            if current == after:
                head.group = group
            else:
                head.group = self._group_of(room, unit, current, head.group, room.head_keys())
            head.extremities = {
                event_id: at for event_id, at in head.extremities.items() if event_id not in event.prev_events
            }
            head.extremities[event.event_id] = Extremity(event.depth, group)
            room.pending.update(changed)
            unit.extend(self._membership_writes(room, changed, number))
        room.row = replace(room.row, head_group=head.group, extremities=head.rows())
        stored_row, new_head = room.row, head.copy()
        unit.append(stored_row)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        room.pending_units += 1

        def done(error: StoreError | None) -> None:
            if error is not None:
                room.discard_pending()
                if not future.done():
                    future.set_exception(Refused(Refusal.SERVER_BUSY))
                return
            room.pending_units -= 1
            room.committed_row = stored_row
            if on_commit is not None:
                on_commit()
            if shown:
                self._tell_remote(room, event, number, changed, new_head)
            if not future.done():
                future.set_result(None)

        self.stream.submit(unit, done)
        return future

    def _group_of(
        self,
        room: Room,
        unit: list[Write],
        state: Mapping[StateKey, int],
        base: int | None,
        base_state: Mapping[StateKey, int],
    ) -> int:
        """A group that holds `state`: `base` itself, a delta on it, or a whole new one."""
        if base and state == base_state:
            return base
        self._groups += 1
        head = room.head
        entries = tuple((*key, at) for key, at in state.items() if base_state.get(key) != at)
        # How long another group's chain is, nobody counts: it is as long as the head's or shorter.
        deltas = head.deltas + len(entries)
        if not base or deltas > max(MAX_CHAIN, head.full // 2) or any(key not in state for key in base_state):
            # Deltas only add: where something is gone the state is written whole.
            base, entries = None, tuple((*key, at) for key, at in state.items())
            head.deltas, head.full = 0, len(entries)
        else:
            head.deltas = deltas
        unit.append(AddStateGroup(self._groups, room.room_key, base, entries))
        return self._groups

    def _membership_writes(
        self, room: Room, changed: Mapping[StateKey, tuple[Event, int] | None], position: int
    ) -> list[Write]:
        """Where local users stand after a change of state."""
        return [
            PutMembership(
                UserId(state_key),
                room.room_key,
                "leave" if entry is None else member_of(entry[0]).membership,
                position,
            )
            for (type_, state_key), entry in changed.items()
            if type_ == "m.room.member" and state_key.endswith(self._suffix)
        ]

    def _tell_remote(
        self,
        room: Room,
        event: Event,
        position: int,
        changed: Mapping[StateKey, tuple[Event, int] | None],
        head: Head,
    ) -> None:
        """Tell an event of another server, and then whatever else its arrival changed."""
        before = room.reset_state(changed, position, head)
        key = None if event.state_key is None else event.key
        replaced = None if key is None else before.get(key, room.state.get(key))
        if replaced is event:
            replaced = None
        room.shown(HistoryItem(position, event, None, replaced))
        told = EventCommitted(position, room.room_id, event, replaced)
        for (type_, state_key), entry in changed.items():
            if type_ == "m.room.member":
                membership = "leave" if entry is None else member_of(entry[0]).membership
                self._memberships.set(UserId(state_key), room.room_id, membership, position)
        self._tell([told])
        reset: list[tuple[Event | None, Event | None]] = []
        for changed_key, entry in changed.items():
            if changed_key != key:
                reset.append((before[changed_key], None if entry is None else entry[0]))
        if key is not None and (now := room.state.get(key)) is not event:
            # It was told and lost the resolution: it is visibly undone.
            reset.append((event, now))
        if reset:
            self._room_bus.publish(StateReset(position, room.room_id, tuple(reset)))

    async def commit(
        self,
        room: Room,
        transaction: RoomTransaction,
        *,
        origin: Origin | None = None,
        writes: Iterable[Write] = (),
        row: PutRoom | None = None,
        on_commit: Callable[[], None] | None = None,
    ) -> None:
        """submit() and wait. Who stops waiting does not stop the commit."""
        future = self.submit(room, transaction, origin=origin, writes=writes, row=row, on_commit=on_commit)
        await asyncio.shield(future)

    async def write(self, writes: Sequence[Write], on_commit: Callable[[], None] | None = None) -> None:
        """Store what is not an event. `on_commit` as in Stream.commit. Raises Refused(SERVER_BUSY)."""
        try:
            await self.stream.commit(writes, on_commit)
        except StoreError as error:
            raise Refused(Refusal.SERVER_BUSY) from error

    def _place(self, room: Room, event: Event, token: str | None, unit: list[Write]) -> _Item:
        """Put one event on the head; its rows go into `unit`."""
        position = self.stream.next()
        head = room.head
        if event.state_key is not None:
            room.pending[event.type, event.state_key] = (event, position)
            unit.append(self._new_group(room, event.type, event.state_key, position))
            if event.type == "m.room.member" and event.state_key.endswith(self._suffix):
                unit.append(
                    PutMembership(
                        UserId(event.state_key), room.room_key, member_of(event).membership, position
                    )
                )
        head.extremities = {
            event_id: at for event_id, at in head.extremities.items() if event_id not in event.prev_events
        }
        head.extremities[event.event_id] = Extremity(event.depth, head.group)
        unit.append(
            AddEvent(
                position,
                position,
                room.room_key,
                event.event_id,
                head.group,
                event.origin_server_ts,
                0,
                event.type if event.state_key is not None else None,
                event.state_key,
                token,
                event.json,
            )
        )
        return _Item(event, position, head.copy(), token)

    def _new_group(self, room: Room, type_: str, state_key: str, position: int) -> AddStateGroup:
        """The state after a state event: a delta, or all of it now and then."""
        self._groups += 1
        head = room.head
        base: int | None = head.group
        entries: StateDelta
        if head.group == 0 or head.deltas >= max(MAX_CHAIN, head.full // 2):
            base = None
            entries = tuple((*key, event_key) for key, event_key in room.head_keys().items())
            head.deltas, head.full = 0, len(entries)
        else:
            entries = ((type_, state_key, position),)
            head.deltas += 1
        head.group = self._groups
        return AddStateGroup(self._groups, room.room_key, base, entries)

    def _take(self, room: Room, items: list[_Item], origin: Origin | None) -> list[EventCommitted]:
        """Move the committed room up; the changes to tell."""
        changes = []
        for item in items:
            token = item.token if origin is not None and origin.keep else None
            replaced = room.committed(HistoryItem(item.position, item.event, token), item.head)
            changes.append(
                EventCommitted(
                    item.position,
                    room.room_id,
                    item.event,
                    replaced,
                    origin if item is items[-1] else None,
                )
            )
            event = item.event
            if event.type == "m.room.member" and event.state_key is not None:
                membership = member_of(event).membership
                self._memberships.set(UserId(event.state_key), room.room_id, membership, item.position)
        return changes

    def _tell(self, changes: list[EventCommitted]) -> None:
        for change in changes:
            event = change.event
            if event.type == "m.room.member" and event.state_key is not None:
                before = "leave" if change.replaced is None else member_of(change.replaced).membership
                after = member_of(event).membership
                # Those who serve the user hear first, so that they watch the room when it is told.
                if after != before and event.state_key.endswith(self._suffix):
                    self._user_bus.publish(
                        MembershipChanged(UserId(event.state_key), change.room_id, after, before, change)
                    )
            self._room_bus.publish(change)
