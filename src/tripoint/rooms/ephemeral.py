"""What is told but not kept in the graph: typing, read markers, and what clients show each other in passing.

Typing lives in memory and ends by itself; receipts are stored, since clients ask for them after a restart.
spec: Matrix client-server modules typing_notifications, receipts, read_markers; docs/mapping.md 13.1-13.3
"""

from collections.abc import Callable, Sequence

from tripoint.bus.interface import Bus
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.changes import PassedOn, ReceiptMoved, RoomChange, TypingChanged
from tripoint.rooms.commands import Done, PassOn, SetReceipt, SetTyping
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.ports import Receipt
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.rooms.unread import MAIN, trace
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import FLAG_REDACTED, PutReceipt

# A client that says "typing for an hour" and dies would type for an hour: two minutes are plenty.
MAX_TYPING_MS = 120_000
RECEIPT_KINDS = ("m.read", "m.read.private", "m.fully_read")

CallLater = Callable[[float, Callable[[], None]], object]


class Typing:
    """Who is typing where. `call_later(seconds, function)` is the loop's."""

    def __init__(
        self,
        rooms: LoadedRooms,
        room_bus: Bus[RoomChange],
        clock_ms: Callable[[], int],
        call_later: CallLater,
    ) -> None:
        self._rooms = rooms
        self._room_bus = room_bus
        self._clock_ms = clock_ms
        self._call_later = call_later
        self._until: dict[RoomId, dict[UserId, int]] = {}

    def now(self, room_id: RoomId) -> frozenset[UserId]:
        return frozenset(self._until.get(room_id, ()))

    async def set(self, command: SetTyping) -> Done:
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        before = self.now(room.room_id)
        if command.typing:
            timeout_ms = max(1, min(command.timeout_ms, MAX_TYPING_MS))
            self._until.setdefault(room.room_id, {})[command.actor] = self._clock_ms() + timeout_ms
            self._call_later(timeout_ms / 1000 + 0.01, lambda: self._expire(room.room_id))
        else:
            self._drop(room.room_id, [command.actor])
        self._tell(room.room_id, before)
        return Done(room.room_id)

    def stop(self, room_id: RoomId, user_id: UserId) -> None:
        """A message or a departure ends typing."""
        if user_id in self._until.get(room_id, ()):
            before = self.now(room_id)
            self._drop(room_id, [user_id])
            self._tell(room_id, before)

    def _expire(self, room_id: RoomId) -> None:
        before = self.now(room_id)
        now_ms = self._clock_ms()
        self._drop(room_id, [user for user, until in self._until.get(room_id, {}).items() if until <= now_ms])
        self._tell(room_id, before)

    def _drop(self, room_id: RoomId, user_ids: Sequence[UserId]) -> None:
        users = self._until.get(room_id)
        if users is None:
            return
        for user_id in user_ids:
            users.pop(user_id, None)
        if not users:
            del self._until[room_id]

    def _tell(self, room_id: RoomId, before: frozenset[UserId]) -> None:
        after = self.now(room_id)
        if after != before:
            self._room_bus.publish(TypingChanged(room_id, after, before))


class Passing:
    """Shows to those who are in a room what is not kept of it."""

    def __init__(self, rooms: LoadedRooms, room_bus: Bus[RoomChange]) -> None:
        self._rooms = rooms
        self._room_bus = room_bus

    async def pass_on(self, command: PassOn) -> Done:
        """By the rights of a message. See commands.PassOn."""
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        if not room.may_speak(command.actor):
            raise Refused(Refusal.CANNOT_SPEAK)
        self._room_bus.publish(PassedOn(room.room_id, command.actor, command.payload, command.token))
        return Done(room.room_id)


class Receipts:
    """Read markers of rooms in memory, written through to the store."""

    def __init__(
        self, rooms: LoadedRooms, writer: Writer, store: RoomStore, room_bus: Bus[RoomChange]
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._room_bus = room_bus

    async def of_room(self, room_id: RoomId) -> Sequence[Receipt]:
        room = await self._rooms.get(room_id)
        return [
            Receipt(row.user_id, row.event_id, row.kind, row.thread_id or None, row.ts_ms, row.position)
            for row in await self._store.load_receipts(room.room_key)
        ]

    async def of_user(self, room_id: RoomId, user_id: UserId) -> Sequence[Receipt]:
        room = await self._rooms.get(room_id)
        return [
            Receipt(row.user_id, row.event_id, row.kind, row.thread_id or None, row.ts_ms, row.position)
            for row in await self._store.load_own_receipts(room.room_key, user_id)
        ]

    async def set(self, command: SetReceipt) -> Done:
        """Refused(BAD_CONTENT) for an unknown kind, NO_SUCH_EVENT for an event that is not in the room, NO_THREAD_THERE
        for one that is not in the thread."""
        if command.kind not in RECEIPT_KINDS:
            raise Refused(Refusal.BAD_CONTENT, f"{command.kind} is no kind of receipt")
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        stored = await self._store.load_event(command.event_id)
        if stored is None or stored.room_key != room.room_key or stored.position is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        # What came from another server is its own matter, and threads of XMPP are not those of Matrix: who asks from
        # there has no origin. What is redacted does not say any more where it was.
        if command.thread_id is not None and command.origin is not None and not stored.flags & FLAG_REDACTED:
            await self._check_thread(room, parsed(stored, room.version), command.thread_id)
        ts_ms = self._writer.signer.clock_ms() if command.ts_ms is None else command.ts_ms
        position = self._writer.stream.next()
        change = ReceiptMoved(
            position,
            room.room_id,
            command.actor,
            command.event_id,
            command.kind,
            command.thread_id,
            ts_ms,
        )
        row = PutReceipt(
            room.room_key,
            command.actor,
            command.kind,
            command.thread_id or "",
            command.event_id,
            ts_ms,
            position,
        )
        # Told with the commit: a reader by position who comes between the two would miss it for good.
        await self._writer.write([row], lambda: self._room_bus.publish(change))
        return Done(room.room_id)

    async def _check_thread(self, room: Room, event: Event, thread_id: str) -> None:
        """Refused(NO_THREAD_THERE) unless an event is in a thread, or related to its root.

        spec: POST /receipt: "The event_id is not related to the thread_id"; module receipts "Threaded read receipts":
        roots of threads, and what is related to them otherwise, are in the main timeline
        """
        thread, about = await trace(self._store, room, event)
        if thread is not None if thread_id == MAIN else thread_id not in about:
            raise Refused(Refusal.NO_THREAD_THERE, "That message is in another thread")
