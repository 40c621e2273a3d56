"""Committing: a transaction's events become rows, and after the commit changes that everybody hears of.

The one place where rooms are written, for local commands and (through accept.py, later) remote events alike.
Events of a room are built on its head at once and committed in groups; see store/group_commit.py.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.changes import EventCommitted, MembershipChanged, RoomChange, StateReset, UserChange
from tripoint.rooms.commands import Origin
from tripoint.rooms.ends import ends_with, extremity_of
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.policy import Policy, policy_server_of
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Head, Room, member_of, membership_of
from tripoint.rooms.state_groups import StateGroups
from tripoint.rooms.sticky import sticky_writes
from tripoint.rooms.transaction import RoomTransaction, Signer
from tripoint.rooms.turns import Turns
from tripoint.store.interface import StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import AddEvent, PutMembership, PutRoom, ReplaceEventJson, Write

# How often a policy server is asked about the same, because the room moved on meanwhile.
MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class Part:
    """What is committed of one room, where several rooms change together. `row` as in Writer.submit."""

    room: Room
    transaction: RoomTransaction
    row: PutRoom | None = None


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


class Writer:
    """Commits transactions of all rooms of this process.

    Changes are published on `room_bus` and `user_bus`. `room_keys` is the highest room key in use.
    `turns` are those of remote events.
    """

    def __init__(
        self,
        stream: Stream,
        groups: StateGroups,
        memberships: MembershipIndex,
        room_bus: Bus[RoomChange],
        user_bus: Bus[UserChange],
        signer: Signer,
        *,
        room_keys: int = 0,
        turns: Turns | None = None,
    ) -> None:
        self._turns = turns if turns is not None else Turns()
        # Set where there are policy servers to ask.
        self.policy: Policy | None = None
        self.stream = stream
        self.signer = signer
        self.groups = groups
        self._created_ms = 0
        self._room_keys = room_keys
        self._memberships = memberships
        self._room_bus = room_bus
        self._user_bus = user_bus
        self._suffix = f":{signer.server}"
        self._loop = asyncio.get_running_loop()

    def mint_room_key(self) -> int:
        """The key of a new room."""
        self._room_keys += 1
        return self._room_keys

    def begin(self, room: Room, ts_ms: int | None = None) -> RoomTransaction:
        """A transaction on a room's head, dated now or as `ts_ms` says. Submit it before anything is awaited."""
        return RoomTransaction(self.signer, room.version, room, ts_ms)

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
        redacted: Event | None = None,
        waiter: "asyncio.Future[None] | None" = None,
    ) -> "asyncio.Future[None]":
        """Put a transaction's events on the room's head and queue them; the future is done after the commit.

        `origin` marks the last event, which is the one that was asked for; `redacted` is told with it. `writes` go
        into the same unit, `row` replaces the room's record. `on_commit` runs before the changes are told. On
        failure the future raises Refused(SERVER_BUSY) and the room is as it was. Refused(NO_SUCH_ROOM) for a room
        that was dropped. `waiter` as for _queue().
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
        unit.extend(writes)

        def committed() -> None:
            changes = self._take(room, items, origin, redacted)
            if on_commit is not None:
                on_commit()
            self.tell(changes)

        return self._queue((room,), unit, committed, waiter)

    def queue(self, room: Room, unit: list[Write], committed: Callable[[], None]) -> "asyncio.Future[None]":
        """Queue the writes of a room whose head was moved, its record among them.

        `committed` runs once they are on disk. On failure the future raises Refused(SERVER_BUSY), and the head
        goes back to what is on disk.
        """
        return self._queue((room,), unit, committed)

    def _queue(
        self,
        rooms: Sequence[Room],
        unit: list[Write],
        committed: Callable[[], None],
        waiter: "asyncio.Future[None] | None" = None,
    ) -> "asyncio.Future[None]":
        """queue(). `waiter` is done with the future; it may be cancelled, and nothing else waits for it: what
        asyncio.shield makes, a turn of the loop sooner."""
        future: asyncio.Future[None] = self._loop.create_future()
        stored_rows: list[PutRoom] = []
        for room in rooms:
            room.row = replace(room.row, head_group=room.head.group, extremities=room.head.rows())
            stored_rows.append(room.row)
            room.pending_units += 1
            room.last_unit = future
        unit.extend(stored_rows)

        def done(error: StoreError | None) -> None:
            if error is not None:
                for room in rooms:
                    room.discard_pending()
                if not future.done():
                    future.set_exception(Refused(Refusal.SERVER_BUSY))
                if waiter is not None:
                    future.exception()  # told to the waiter, if he still is there
                    if not waiter.done():
                        waiter.set_exception(Refused(Refusal.SERVER_BUSY))
                return
            for room, stored_row in zip(rooms, stored_rows, strict=True):
                room.pending_units -= 1
                room.committed_row = stored_row
            committed()
            if not future.done():
                future.set_result(None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

        self.stream.submit(unit, done)
        return future

    async def commit_together(
        self, parts: Sequence[Part], *, writes: Iterable[Write] = (), on_commit: Callable[[], None] | None = None
    ) -> None:
        """Events of several rooms as one unit: all of them are stored, or none. Told room after room, in this order.

        `on_commit` runs when every room has moved and nothing was told yet. Refused as by commit(); policy servers
        are the caller's to ask (recommended()).
        """
        if any(part.room.gone for part in parts):
            raise Refused(Refusal.NO_SUCH_ROOM)
        unit: list[Write] = []
        placed: list[tuple[Room, list[_Item]]] = []
        for part in parts:
            placed.append((part.room, [self._place(part.room, e, None, unit) for e in part.transaction.events]))
            if part.row is not None:
                part.room.row = part.row
        unit.extend(writes)

        def committed() -> None:
            changes = [self._take(room, items, None, None) for room, items in placed]
            if on_commit is not None:
                on_commit()
            for some in changes:
                self.tell(some)

        await asyncio.shield(self._queue([part.room for part in parts], unit, committed))

    async def commit(
        self,
        room: Room,
        transaction: RoomTransaction,
        *,
        origin: Origin | None = None,
        writes: Iterable[Write] = (),
        row: PutRoom | None = None,
        on_commit: Callable[[], None] | None = None,
        redacted: Event | None = None,
    ) -> Event:
        """submit() and wait; the last event as it was committed. Who stops waiting does not stop the commit.

        A room with a policy server has it asked first; then the events may have moved behind what came meanwhile.
        Refused besides: what the policy server says, REMOTE_TIMEOUT.
        """
        if transaction.events and self.asks_first(room):
            async with self._turns.of(room.room_id):
                began = transaction.events
                transaction = await self.recommended(room, transaction)
                writes = _pointing_to(transaction.events, began, writes)
                future = self.submit(
                    room, transaction, origin=origin, writes=writes, row=row, on_commit=on_commit, redacted=redacted
                )
            await asyncio.shield(future)
            return transaction.events[-1]
        waiter: asyncio.Future[None] = self._loop.create_future()
        self.submit(
            *(room, transaction),
            origin=origin,
            writes=writes,
            row=row,
            on_commit=on_commit,
            redacted=redacted,
            waiter=waiter,
        )
        await waiter
        return transaction.events[-1] if transaction.events else room.create_event

    def asks_first(self, room: Room) -> bool:
        """Whether a policy server is asked before anything is committed in this room."""
        return self.policy is not None and policy_server_of(room) is not None

    async def recommended(self, room: Room, transaction: RoomTransaction) -> RoomTransaction:
        """The events with the signatures of the room's policy server, if it has one, on the room's head.

        Called with the room's turn held: others wait for it, so the head stays where it is, but for what was on its
        way.
        """
        if self.policy is None or not self.asks_first(room):
            return transaction
        for _ in range(MAX_TRIES):
            if not transaction.is_on_head:
                transaction = transaction.again()
            signed = [await self.policy.signed(room, event) for event in transaction.events]
            if transaction.is_on_head:
                transaction.events = signed
                return transaction
        raise Refused(Refusal.SERVER_BUSY)

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
            unit.append(self.groups.after(room, event.type, event.state_key, position))
            if event.type == "m.room.member" and event.state_key.endswith(self._suffix):
                unit.append(
                    PutMembership(
                        UserId(event.state_key), room.room_key, member_of(event).membership, position
                    )
                )
        head.extremities = ends_with(head.extremities, event)
        head.extremities[event.event_id] = extremity_of(event, head.group)
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
        unit.extend(sticky_writes(event, position, room.room_key, self.signer.clock_ms()))
        return _Item(event, position, head.copy(), token)

    def _take(
        self, room: Room, items: list[_Item], origin: Origin | None, redacted: Event | None
    ) -> list[EventCommitted]:
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
                    redacted=redacted if item is items[-1] else None,
                )
            )
            event = item.event
            if event.type == "m.room.member" and event.state_key is not None:
                membership = member_of(event).membership
                self._memberships.set(UserId(event.state_key), room.room_id, membership, item.position)
        return changes

    def tell(self, changes: list[EventCommitted]) -> None:
        """Tell everybody what is committed."""
        for change in changes:
            if change.event.type == "m.room.member":
                self.tell_member(change, change.replaced, change.event)
            self._room_bus.publish(change)

    def tell_member(self, change: EventCommitted | StateReset, before: Event | None, after: Event | None) -> None:
        """Tell those who serve a local user that a change, which the room hears next, moves him.

        They hear first, so that they watch the room when it is told.
        """
        some = after or before
        if some is None or some.state_key is None or not some.state_key.endswith(self._suffix):
            return
        was, now = membership_of(before), membership_of(after)
        if was != now:
            self._user_bus.publish(MembershipChanged(UserId(some.state_key), change.room_id, now, was, change))

    def tell_reset(self, reset: StateReset) -> None:
        """Tell everybody what a resolution changed."""
        for before, after in reset.changed:
            some = after or before
            if some is not None and some.type == "m.room.member":
                self.tell_member(reset, before, after)
        self._room_bus.publish(reset)


def _pointing_to(events: Sequence[Event], began: Sequence[Event], writes: Iterable[Write]) -> list[Write]:
    """The writes that go with events, where those were built again and have other ids."""
    ids = {old.event_id: new.event_id for old, new in zip(began, events, strict=True)}
    return [
        replace(write, redacted_by=ids.get(write.redacted_by, write.redacted_by))
        if isinstance(write, ReplaceEventJson)
        else write
        for write in writes
    ]
