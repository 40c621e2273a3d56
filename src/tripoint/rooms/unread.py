"""What of a room its members have not read, counted by their push rules.

Nothing is written for it and nothing is done when a message comes: a count is made when somebody asks (a /sync that
has something to tell of the room), from the events behind the read position, and kept in memory so that the next
one goes on where it ended. docs/decisions/push.md
spec: Matrix client-server module push "Receiving notifications", "Marking notifications as read"; modules receipts,
threading; GET /sync "Unread Notification Counts"
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.push_conditions import Surroundings
from tripoint.core.push_rules import SILENT, PushRules, Verdict
from tripoint.core.relations import child_of
from tripoint.rooms.blocking import TYPES as BLOCKING
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.changes import (
    AccountDataChanged,
    EventCommitted,
    ReceiptMoved,
    RoomChange,
    RoomClosed,
    StateReset,
    Swept,
    UserChange,
)
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.states import parsed
from tripoint.store.interface import RoomStore, StoredEvent

LoadRules = Callable[[UserId], Awaitable[PushRules]]

# Of what is unread in a room, the newest events that are counted: nobody reads a larger number as another one.
MAX_COUNTED: Final = 500
# spec: module push: "encouraged to do a maximum of 3 hops to find a thread"
_HOPS: Final = 3
# Events after which others have their turn: somebody's rules may look for many words in each.
_AT_ONCE: Final = 20
# Rooms whose counts stay in memory, and counts in all of them.
_ROOMS: Final = 10_000
_COUNTS: Final = 50_000
# Receipts that move the read position.
MARKS: Final = ("m.read", "m.read.private")
MAIN: Final = "main"


class Count(Struct, frozen=True):
    """How many events notify, and how many of them highlight."""

    notifications: int = 0
    highlights: int = 0

    def plus(self, highlight: bool) -> "Count":
        return Count(self.notifications + 1, self.highlights + highlight)


NOTHING: Final = Count()


class Unread(Struct, frozen=True):
    """What of a room is unread: in its main timeline, and in each thread where anything is."""

    main: Count = NOTHING
    threads: Mapping[EventId, Count] = {}

    def together(self) -> Count:
        """Of all threads, for clients that know of none."""
        counts = (self.main, *self.threads.values())
        return Count(sum(one.notifications for one in counts), sum(one.highlights for one in counts))


class ReadMarks(Struct, frozen=True):
    """Up to where a user has read: everywhere, and in single threads beyond that (None: the main timeline)."""

    everywhere: int
    threads: Mapping[EventId | None, int]

    def has_read(self, position: int, thread: EventId | None) -> bool:
        return position <= max(self.everywhere, self.threads.get(thread, 0))


class _Counted(Struct, frozen=True):
    """A count, what it was made with, and up to which position."""

    rules: PushRules
    marks: ReadMarks
    upto: int
    unread: Unread


class Unreads:
    """Counts what is unread, and says what of an event's push rules comes for somebody."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore, blocks: Blocks, rules: LoadRules) -> None:
        self._rooms = rooms
        self._store = store
        self._blocks = blocks
        self._rules = rules
        self._counted: OrderedDict[RoomId, dict[UserId, _Counted]] = OrderedDict()
        self._size = 0
        self._forgotten = 0  # how often a count was dropped: what was begun before that is not kept

    def room_changed(self, change: RoomChange) -> None:
        """Forget what a change makes untrue."""
        if isinstance(change, EventCommitted):
            if change.event.type == "m.room.member":
                self._forget(change.room_id, UserId(change.event.state_key or ""))
            elif change.event.type == "m.room.redaction":
                self._forget_room(change.room_id)
        elif isinstance(change, ReceiptMoved):
            self._forget(change.room_id, change.user_id)
        elif isinstance(change, Swept | StateReset | RoomClosed):
            self._forget_room(change.room_id)

    def user_changed(self, change: UserChange) -> None:
        """Whom one has blocked counts in what is unread already."""
        if isinstance(change, AccountDataChanged) and change.type in BLOCKING:
            for room_id in self._counted:
                self._forget(room_id, change.user_id)

    def _forget_room(self, room_id: RoomId) -> None:
        self._forgotten += 1
        self._size -= len(self._counted.pop(room_id, {}))

    def _forget(self, room_id: RoomId, user_id: UserId) -> None:
        self._forgotten += 1
        if self._counted.get(room_id, {}).pop(user_id, None) is not None:
            self._size -= 1

    # -- counts

    async def of(self, room_id: RoomId, user_id: UserId) -> Unread:
        """What a joined local user has not read of a room. Refused(NO_SUCH_ROOM)."""
        room = self._rooms.peek(room_id) or await self._rooms.get(room_id)
        rules = await self._rules(user_id)
        begun = self._forgotten
        before = self._counted.get(room_id, {}).get(user_id)
        if before is None or before.rules is not rules:
            before = _Counted(rules, await self.marks(room, user_id), -1, Unread())
        if before.upto >= room.last_position:
            return before.unread
        after = await self._count(room, user_id, before)
        if self._forgotten == begun:
            self._keep(room_id, user_id, after)
        return after.unread

    async def _count(self, room: Room, user_id: UserId, before: _Counted) -> _Counted:
        """`before` and what came since."""
        marks = before.marks
        floor, upto = max(before.upto, marks.everywhere), room.last_position
        main, threads = before.unread.main, {**before.unread.threads}
        items = _recent(room, floor, upto) if floor >= room.recent_from else await self._items(room, floor, upto)
        for number, item in enumerate(items):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            event = item.event
            if event.sender == user_id:
                if event.state_key is None:
                    # spec: "by sending an event": what stands before it in its thread is read.
                    thread = await self.thread_of(room, event)
                    main = NOTHING if thread is None else main
                    if thread is not None:
                        threads.pop(thread, None)
                continue
            verdict = self.verdict(room, user_id, before.rules, item)
            if not verdict.notify:
                continue
            thread = None if child_of(event.content) is None else await self.thread_of(room, event)
            if marks.has_read(item.position, thread):
                continue
            if thread is None:
                main = main.plus(verdict.highlight)
            else:
                threads[thread] = threads.get(thread, NOTHING).plus(verdict.highlight)
        return _Counted(before.rules, marks, upto, Unread(main, threads))

    async def _items(self, room: Room, floor: int, upto: int) -> Sequence[HistoryItem]:
        """The newest events with floor < position <= upto, oldest first."""
        rows = await self._store.load_timeline(
            room.room_key, after=floor, upto=upto, limit=MAX_COUNTED, backward=True
        )
        return [self.item(room, row) for row in reversed(rows) if row.redacted_by is None]

    def item(self, room: Room, row: StoredEvent) -> HistoryItem:
        """An event of the past that nobody has redacted."""
        return HistoryItem(row.place, parsed(row, room.version), None, None)

    def _keep(self, room_id: RoomId, user_id: UserId, counted: _Counted) -> None:
        users = self._counted.setdefault(room_id, {})
        self._counted.move_to_end(room_id)
        self._size += user_id not in users
        users[user_id] = counted
        while self._size > _COUNTS or len(self._counted) > _ROOMS:
            _, gone = self._counted.popitem(last=False)
            self._size -= len(gone)

    # -- what counts are made of

    async def rules(self, user_id: UserId) -> PushRules:
        return await self._rules(user_id)

    def verdict(self, room: Room, user_id: UserId, rules: PushRules, item: HistoryItem) -> Verdict:
        """What an event comes to for a member. Nobody is notified of his own, of what was redacted, or of those whom
        he has blocked.  spec: module ignore-users"""
        event = item.event
        if event.sender == user_id or item.redacted_because is not None:
            return SILENT
        if event.state_key is None and self._blocks.blocks(user_id, event.sender):
            return SILENT
        member = room.member(user_id)
        name = None if member is None else member.displayname
        return rules.judge(event, Surroundings(room.joined_count(), name, room.power))

    async def marks(self, room: Room, user_id: UserId) -> ReadMarks:
        """Up to where a user has read; nothing from before he entered counts as unread."""
        everywhere = 0
        threads: dict[EventId | None, int] = {}
        for row in await self._store.load_own_receipts(room.room_key, user_id):
            if row.kind not in MARKS:
                continue
            stored = await self._store.load_event(row.event_id)
            if stored is None or stored.position is None:
                continue
            if not row.thread_id:
                everywhere = max(everywhere, stored.position)
            else:
                thread = None if row.thread_id == MAIN else EventId(row.thread_id)
                threads[thread] = max(threads.get(thread, 0), stored.position)
        if everywhere < room.state_positions.get(("m.room.member", user_id), 0):
            everywhere = max(everywhere, await self.entered(room, user_id))
        return ReadMarks(everywhere, threads)

    async def entered(self, room: Room, user_id: UserId) -> int:
        """The position of the event that began a user's stay; later ones of the same membership changed the profile."""
        entered, before = 0, "leave"
        for stored in await self._store.load_state_history(room.room_key, "m.room.member", user_id):
            membership = member_of(parsed(stored, room.version)).membership
            if membership == "join" and before != "join":
                entered = stored.place
            before = membership
        return entered

    async def thread_of(self, room: Room, event: Event) -> EventId | None:
        """The root of the thread that an event belongs to, by what it is about; None: the main timeline."""
        return (await trace(self._store, room, event))[0]


async def trace(store: RoomStore, room: Room, event: Event) -> tuple[EventId | None, Sequence[EventId]]:
    """(the root of the thread that an event belongs to, or None; the event and what it is about, as far as is known)"""
    seen = [event.event_id]
    for hop in range(_HOPS + 1):
        about = child_of(event.content)
        if about is None:
            break
        rel_type, target = about[0], EventId(about[1])
        if rel_type == "m.thread":
            return target, (*seen, target)
        if hop == _HOPS:
            break
        stored = await store.load_event(target)
        if stored is None or stored.room_key != room.room_key:
            break
        seen.append(target)
        event = parsed(stored, room.version)
    return None, seen


def _recent(room: Room, floor: int, upto: int) -> Sequence[HistoryItem]:
    """As Unreads._items, of what is in memory."""
    found: list[HistoryItem] = []
    for item in reversed(room.recent):
        if item.position <= floor or len(found) == MAX_COUNTED:
            break
        if item.position <= upto:
            found.append(item)
    found.reverse()
    return found
