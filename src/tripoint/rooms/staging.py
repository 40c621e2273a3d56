"""Events of other servers that cannot be judged at once: kept on disk, and judged room by room behind the answer.

What is taken in here is acknowledged to its sender, so it is stored first. For each room that has something waiting
one task fetches what is missing (catch_up.py), in the order of arrival, a bounded number of rooms at a time. What
cannot be had is tried again, later each time and of other servers too, and then dropped: later events of the room lead
to it again. A room that waits for more than its share says so, and takes no more.
spec: Matrix server-server-api "Transactions", "Checks performed on receipt of a PDU"
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog

from tripoint.core.errors import PeerError
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, ServerName, server_of
from tripoint.rooms.accept import Verdict
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.store.interface import FederationStore, RoomStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutStagedPdu

log = structlog.get_logger()

# PDUs that may wait for one room; the event that is the newest makes us fetch those between.
MAX_WAITING: Final = 100
# Rooms that are worked on at a time.
MAX_ROOMS: Final = 32
# The waits between the tries for one event (s). After the last it is dropped.
WAITS_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
# So many tries must fail before a short gap is left open.
PATIENT: Final = 5
# Fetching for one event altogether: a server that answers slowly holds up its room no longer than this.
TAKE_S: Final = 120.0

# The signed event of a stored PDU: checked again, since it may have waited for its keys. Raises PeerError.
Check = Callable[[Room, bytes], Awaitable[Event]]


class StagingStore(RoomStore, FederationStore, Protocol):
    """The parts of the store that are read here."""


class TakesEvents(Protocol):
    """catch_up.CatchUp."""

    async def take(self, event: Event, origin: ServerName, *, patient: bool = False) -> Verdict | None: ...


class Staging:
    """start() takes up what was waiting when the process ended; close() leaves it for the next."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        store: StagingStore,
        stream: Stream,
        check: Check,
        catch_up: TakesEvents,
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._store = store
        self._stream = stream
        self._check = check
        self._catch_up = catch_up
        self._report = report
        self._gate = asyncio.Semaphore(MAX_ROOMS)
        self._waiting: dict[int, int] = {}  # room -> PDUs that are stored for it
        self._arrived: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closing = False

    async def start(self) -> None:
        for room_key in await self._store.load_staged_rooms():
            self._waiting[room_key] = len(await self._store.load_staged_pdus(room_key))
            self._begin(room_key)

    @property
    def waiting(self) -> int:
        return sum(self._waiting.values())

    async def put(self, room: Room, event_id: EventId, origin: ServerName, json: bytes) -> None:
        """Store a PDU that is to be judged later; returns when it is on disk. Refused: RATE_LIMITED
        where the room has its share, SERVER_BUSY."""
        if self._waiting.get(room.room_key, 0) >= MAX_WAITING:
            raise Refused(Refusal.RATE_LIMITED, "Too many events of this room wait for what they lack")
        self._waiting[room.room_key] = self._waiting.get(room.room_key, 0) + 1
        try:
            await self._stream.commit([PutStagedPdu(event_id, room.room_key, origin, json)])
        except StoreError as error:
            self._count_down(room.room_key, 1)
            raise Refused(Refusal.SERVER_BUSY) from error
        self._begin(room.room_key)

    async def close(self) -> None:
        self._closing = True
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, room_key: int) -> None:
        if self._closing:
            return
        if room_key in self._tasks:
            self._arrived[room_key].set()
            return
        self._arrived[room_key] = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._work(room_key))
        self._tasks[room_key] = task
        task.add_done_callback(lambda _: self._ended(room_key))

    def _ended(self, room_key: int) -> None:
        self._tasks.pop(room_key, None)
        if self._arrived.pop(room_key).is_set():
            # It came when nothing was found any more.
            self._begin(room_key)

    async def _work(self, room_key: int) -> None:
        """Until nothing waits for the room. Each event has its own tries, so that one that cannot be had holds up no
        other."""
        loop = asyncio.get_running_loop()
        arrived = self._arrived[room_key]
        tries: dict[EventId, tuple[int, float]] = {}  # how often it was tried, and when it is due again
        while staged := await self._store.load_staged_pdus(room_key):
            arrived.clear()
            # Counted again: what came twice is stored once.
            self._waiting[room_key] = len(staged)
            for one in staged:
                attempt, due = tries.get(one.event_id, (0, 0.0))
                if due > loop.time():
                    continue
                if await self._settle(room_key, one, attempt):
                    tries.pop(one.event_id, None)
                else:
                    wait_s = WAITS_S[min(attempt, len(WAITS_S) - 1)]
                    tries[one.event_id] = attempt + 1, loop.time() + wait_s
            if tries:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(due for _, due in tries.values())):
                        await arrived.wait()
        self._waiting.pop(room_key, None)

    async def _settle(self, room_key: int, staged: PutStagedPdu, attempt: int) -> bool:
        """Judge one event. Whether it waits no more: because it was judged, or because it is given up."""
        try:
            async with self._gate:
                room = await self._room(room_key)
                settled = room is None or await self._try(room, staged, attempt)
        except Exception as error:  # a bug must not hold up the room for ever
            self._report("federation.staging", error)
            settled = False
        if not settled:
            if attempt < len(WAITS_S):
                return False
            log.info("federation.event_given_up", event_id=staged.event_id, server=staged.origin)
        return await self._forget(staged, room_key)

    async def _try(self, room: Room, staged: PutStagedPdu, attempt: int) -> bool:
        try:
            async with asyncio.timeout(TAKE_S):
                event = await self._check(room, staged.json)
                server = self._whom(room, staged, event, attempt)
                patient = attempt < PATIENT
                return await self._catch_up.take(event, server, patient=patient) is not None
        except TimeoutError:
            return False
        except PeerError as error:
            # Its keys may be had later.
            log.debug("federation.pdu_dropped", server=staged.origin, reason=str(error))
            return attempt >= 2
        except Refused as refused:
            return refused.refusal is Refusal.NO_SUCH_ROOM

    def _whom(self, room: Room, staged: PutStagedPdu, event: Event, attempt: int) -> ServerName:
        """Whom to ask: who sent it; then whose it is; then whoever else is in the room."""
        sender = server_of(event.sender)
        if attempt == 0 or sender not in room.servers():
            return staged.origin
        asked = [staged.origin, sender, *sorted(room.servers())]
        others = [server for server in dict.fromkeys(asked) if server != self._server]
        return others[attempt % len(others)] if others else staged.origin

    async def _room(self, room_key: int) -> Room | None:
        row = await self._store.load_room_by_key(room_key)
        if row is None:
            return None
        try:
            return await self._rooms.get(RoomId(row.room_id))
        except Refused:
            return None

    async def _forget(self, staged: PutStagedPdu, room_key: int) -> bool:
        try:
            await self._stream.commit([PutStagedPdu(staged.event_id, None, staged.origin, b"")])
        except StoreError as error:
            # The store is full or gone; everything else says so as well. Later this event is found to be known.
            log.warning("federation.not_stored", error=str(error))
            await asyncio.sleep(WAITS_S[-2])
            return False
        self._count_down(room_key, 1)
        return True

    def _count_down(self, room_key: int, by: int) -> None:
        left = self._waiting.get(room_key, 0) - by
        if left > 0:
            self._waiting[room_key] = left
        else:
            self._waiting.pop(room_key, None)
