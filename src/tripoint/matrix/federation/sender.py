"""Transactions to other servers: who has something to say to whom, one at a time for each destination.

A destination has a lane (lanes.py) while there is something to say or to remember. Lanes with work stand in a queue
that a bounded number of tasks empties: a lane that was silent is sent at once, what comes while its transaction is on
the way goes with the next. Servers that do not answer are tried by tasks of their own, so that they take nobody's
place; there is one clock for all of them (tick) and no timer for each. What is written down, and when: outbox.py.
spec: Matrix server-server-api "Transactions". docs/decisions/sending.md
"""

import asyncio
import random
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import orjson
import structlog
from msgspec import Struct

from tripoint.accounts.to_device import ToDevice
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.matrix.federation.client import RemoteRefused
from tripoint.matrix.federation.edus import receipt_edu
from tripoint.matrix.federation.fleeting import Fleeting, RoomsOf
from tripoint.matrix.federation.lanes import Edu, EduKey, Failing, Lane, Parcel
from tripoint.matrix.federation.outgoing_devices import OutgoingDevices
from tripoint.rooms.changes import (
    DeviceListChanged,
    EventCommitted,
    MessagesQueued,
    PresenceChanged,
    ReceiptMoved,
    RoomChange,
    StateReset,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.outbox import Newcomer, Outbox, OutboxRow, Outgoing, OutgoingReceipt

log = structlog.get_logger()

# Transactions on their way at a time: to servers that answer, and to servers that did not.
MAX_SENDING: Final = 64
MAX_RETRYING: Final = 16
# How often retries are looked at and what is new is written down.
TICK_S: Final = 1.0
# A server that asks something is up, and is tried at once; but no more often than this.
HEARD_MS: Final = 10_000
# A server that does not answer, and to which nothing is to be said, is remembered this long after its retry was due.
FORGET_MS: Final = 24 * 60 * 60_000
# A server that comes into a room has to have the answer to its /send_join before it takes events of the room.
NEWCOMER_MS: Final = 5_000
# Answers that say that this very transaction will never be taken: what it held is told in another way.
HOPELESS: Final = frozenset({400, 413})

# (destination, transaction id, body): returns when the server has acknowledged, raises RemoteFailed.
Send = Callable[[ServerName, str, bytes], Awaitable[None]]


class Destination(Struct, frozen=True):
    """A server as administrators see it. `position`: up to where it has heard what concerns it; None: nobody knows."""

    server: ServerName
    failing: Failing | None
    position: int | None


class _Pool:
    """A queue of lanes and the tasks that empty it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ready: deque[Lane] = deque()
        self.running = 0


class Sender:
    """Sends to all destinations. start(), then room_changed() for every change, tick() now and then, close().

    `presence_of`: whom a user's presence is told through; None: nobody hears of presence.
    """

    def __init__(
        self,
        server: ServerName,
        outbox: Outbox,
        send: Send,
        now_ms: Callable[[], int],
        report: Callable[[str, BaseException], None],
        devices: OutgoingDevices,
        messages: ToDevice,
        *,
        presence_of: RoomsOf | None = None,
        chance: Callable[[], float] = random.random,
        name: str | None = None,
    ) -> None:
        self._server = server
        self._outbox = outbox
        self._send = send
        self._now_ms = now_ms
        self._report = report
        self._devices = devices
        devices.offer = self._offer_device
        self._messages = messages
        self._fleeting = Fleeting(server, outbox.servers, self.tell, now_ms, presence_of)
        self._chance = chance
        # spec: a transaction id is used once: this process's own prefix, and a number.
        self._prefix = name if name is not None else secrets.token_hex(6)
        self._number = 0
        self._lanes: dict[ServerName, Lane] = {}
        # Lanes with something to write down, and those that do not answer: sets in the order in which they came.
        self._dirty: dict[Lane, None] = {}
        self._down: dict[Lane, None] = {}
        self._sending, self._retrying = _Pool(MAX_SENDING), _Pool(MAX_RETRYING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._newcomers: deque[tuple[int, Newcomer]] = deque()  # by when they are told
        self._seen = self._floor = 0
        self._open = False  # between start() and close()
        self.results: Counter[str] = Counter()

    async def start(self) -> None:
        """Read what was written down, and the log behind it. Sends what is due."""
        saved = await self._outbox.load()
        for row in saved.destinations:
            lane = self._lane(row.server)
            lane.restore(row)
            self._dirty[lane] = None
            if lane.failing is not None:
                self._down[lane] = None
        for missed in saved.missed:
            if missed.since is not None:
                self._lane(missed.server).restore_missed(missed.room_key, missed.since)
        for server, txn_id in saved.unanswered:
            self._lane(server).restore_unanswered(txn_id)
        self._seen = max(self._seen, saved.upto)
        self._floor = saved.floor
        async for outgoing in self._outbox.events_after(saved.floor, saved.upto):
            self._offer(outgoing)
        async for receipt in self._outbox.receipts_after(saved.floor):
            self._offer_receipt(receipt)
        async for position, servers in self._devices.changes_after(saved.floor):
            self._offer_device(position, servers)
        for server in await self._messages.waiting_servers():
            self._lane(server).has_direct = True
        self._open = True
        for lane in list(self._lanes.values()):
            self._wake(lane)

    # -- what happens

    def room_changed(self, change: RoomChange) -> None:
        """A watcher of all rooms (fanout.hub)."""
        if isinstance(change, EventCommitted):
            outgoing = self._outbox.committed(change)
            self._seen = max(self._seen, change.position)
            if outgoing is not None:
                self._offer(outgoing)
            if change.event.type == "m.room.member":
                self._devices.room_changed(change)
                newcomer = self._outbox.newcomer(change)
                if newcomer is not None:
                    self._newcomers.append((self._now_ms() + NEWCOMER_MS, newcomer))
        elif isinstance(change, StateReset):
            self._outbox.forget(change.room_id)
        elif isinstance(change, ReceiptMoved):
            self._seen = max(self._seen, change.position)
            receipt = self._outbox.moved(change)
            if receipt is not None:
                self._offer_receipt(receipt)

        elif isinstance(change, TypingChanged):
            self._fleeting.typing_changed(change)

    def user_changed(self, change: UserChange) -> None:
        """A watcher of all users (fanout.hub)."""
        if isinstance(change, MessagesQueued):
            for server in change.servers:
                lane = self._lane(server)
                lane.has_direct = True
                self._dirty[lane] = None
                self._wake(lane)
            return
        if isinstance(change, DeviceListChanged):
            self._seen = max(self._seen, change.position)
            self._devices.user_changed(change)
            return
        if isinstance(change, PresenceChanged):
            self._fleeting.presence_changed(change)

    def _offer(self, outgoing: Outgoing) -> None:
        for server in outgoing.servers:
            lane = self._lane(server)
            if outgoing.position > lane.position:
                lane.add(outgoing)
                self._dirty[lane] = None
                self._wake(lane)

    def _offer_receipt(self, receipt: OutgoingReceipt) -> None:
        key, edu = receipt_edu(receipt)
        for server in receipt.servers:
            self.tell(server, key, edu)

    def _offer_device(self, position: int, servers: Sequence[ServerName], replaced: int = 0) -> None:
        for server in servers:
            lane = self._lane(server)
            lane.lack_device(position, replaced)
            self._dirty[lane] = None
            self._wake(lane)

    def tell(self, server: ServerName, key: EduKey, edu: Edu) -> None:
        """Something that is not kept. What was said before under the same key and is still here is replaced."""
        lane = self._lane(server)
        lane.add_edu(key, edu)
        self._dirty[lane] = None
        self._wake(lane)

    def heard_from(self, server: ServerName) -> None:
        """A request of another server has come and is proven to be its: it is up."""
        lane = self._lanes.get(server)
        if lane is None or lane.failing is None:
            return
        if self._now_ms() - lane.tried_at_ms < HEARD_MS:
            # Tried a moment ago, perhaps just before it was up: soon again, and not only when its turn comes.
            lane.retry_by(lane.tried_at_ms + HEARD_MS)
            return
        if lane.has_work:
            # Before those of which nothing is known.
            self._enqueue(lane, self._retrying, first=True)
        elif not (lane.busy or lane.queued):
            self._is_up(lane)

    # -- what administrators see and do

    def known(self) -> frozenset[ServerName]:
        """Servers to which something is to be said, or of which something is remembered."""
        return frozenset(self._lanes)

    def destination(self, server: ServerName) -> Destination:
        """How it stands with a server; one without a lane has everything up to now, as far as it is concerned."""
        lane = self._lanes.get(server)
        if lane is None:
            return Destination(server, None, self._seen)
        return Destination(server, lane.failing, lane.position or None)

    def try_again(self, server: ServerName) -> bool:
        """Try a server that did not answer at once; False where it is none of those."""
        lane = self._lanes.get(server)
        if lane is None or lane.failing is None:
            return False
        lane.retry_by(self._now_ms())
        if lane.has_work:
            self._enqueue(lane, self._retrying, first=True)
        elif not (lane.busy or lane.queued):
            self._is_up(lane)
        return True

    def failing_since(self, server: ServerName) -> int | None:
        """When a server stopped answering (ms); None: it answers, or there was nothing to tell it."""
        lane = self._lanes.get(server)
        return None if lane is None or lane.failing is None else lane.failing.since_ms

    def _lane(self, server: ServerName) -> Lane:
        lane = self._lanes.get(server)
        if lane is None:
            lane = self._lanes[server] = Lane(server)
        return lane

    # -- sending

    def _wake(self, lane: Lane) -> None:
        if lane.failing is None and lane.has_work:
            self._enqueue(lane, self._sending)

    def _enqueue(self, lane: Lane, pool: _Pool, *, first: bool = False) -> None:
        if lane.busy or lane.queued or not self._open:
            return
        lane.queued = True
        if first:
            pool.ready.appendleft(lane)
        else:
            pool.ready.append(lane)
        if pool.running < pool.limit:
            pool.running += 1
            task = asyncio.get_running_loop().create_task(self._work(pool))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, pool: _Pool) -> None:
        """Send what the lanes of a pool have to say, one transaction each in turn."""
        try:
            while pool.ready and self._open:
                lane = pool.ready.popleft()
                lane.queued, lane.busy = False, True
                try:
                    await self._turn(lane)
                except Exception as error:  # a bug: this lane waits as after a failure, the others go on
                    self._report("federation.sender", error)
                    self._is_down(lane, "a bug here")
                finally:
                    lane.busy = False
                self._wake(lane)
        finally:
            pool.running -= 1

    async def _turn(self, lane: Lane) -> None:
        lane.tried_at_ms = self._now_ms()
        unanswered = lane.unanswered
        if unanswered is not None:
            # spec: "must wait and retry for a 200 OK response before sending a transaction with a different txnId".
            txn_id, body = unanswered.txn_id, unanswered.body or await self._outbox.unanswered(lane.server)
            if body is None:
                lane.give_up()
                return
        else:
            parcel = await self._pack(lane)
            if not parcel.pdus and not parcel.edus:
                # It shares none of these rooms any more: there is nothing left to be told, and nobody to be tried.
                self._is_up(lane)
                return
            self._number += 1
            txn_id = f"{self._prefix}-{self._number}"
            body = parcel.seal(txn_id, self._server, self._now_ms())
        try:
            await self._send(lane.server, txn_id, body)
        except RemoteFailed as failed:
            self.results["failed"] += 1
            self._is_down(lane, failed.reason)
            if isinstance(failed, RemoteRefused) and failed.status in HOPELESS and (lost := lane.give_up()):
                log.warning("federation.message_not_taken", server=lane.server, reason=failed.reason)
                await self._messages.sent(lane.server, lost)
        else:
            self.results["sent"] += 1
            direct = unanswered.direct if unanswered is not None else parcel.direct
            self._is_up(lane)
            if direct.count:
                await self._messages.sent(lane.server, direct.upto)

    async def _pack(self, lane: Lane) -> Parcel:
        parcel = lane.pack()
        more: dict[int, int] = {}
        while (missed := lane.next_missed()) is not None:
            pdus, edus, rest = await self._missed(lane.server, *missed)
            if not lane.add_missed(pdus, edus):
                lane.leave_missed(missed[0])
                break
            if rest is not None:
                more[missed[0]] = rest
        for room_key, since in more.items():
            lane.lack_room(room_key, since)
        if lane.has_direct:
            await self._pack_direct(lane)
        self._dirty[lane] = None
        return parcel

    async def _missed(
        self, server: ServerName, key: int, since: int
    ) -> tuple[Sequence[bytes], Sequence[Edu], int | None]:
        """What a server missed in a room, or of a device (Lane.lack_device), and since when it misses more."""
        if key < 0:
            edu = await self._devices.edu(server, -key)
            return (), [] if edu is None else [edu], None
        missed = await self._outbox.missed(server, key, since)
        return missed.pdus, [receipt_edu(receipt)[1] for receipt in missed.receipts], missed.more

    async def _pack_direct(self, lane: Lane) -> None:
        limit, limit_bytes = lane.direct_room()
        if limit <= 0:
            return
        # What is queued from here on is seen by the next transaction.
        lane.has_direct = False
        rows = await self._messages.outgoing(lane.server, lane.direct_upto, limit)
        lane.has_direct = lane.has_direct or len(rows) == limit
        edus: list[Edu] = []
        upto = 0
        for row in rows:
            limit_bytes -= len(row.content)
            if limit_bytes < 0 and edus:
                lane.has_direct = True
                break
            edus.append(Edu("m.direct_to_device", orjson.loads(row.content)))
            upto = row.position
        if edus:
            lane.add_direct(edus, upto)

    def _is_up(self, lane: Lane) -> None:
        answered = lane.unanswered is not None or lane.parcel is None or lane.parcel.pdus or lane.parcel.edus
        if lane.failing is not None and answered:
            log.info(
                "federation.server_is_back",
                server=lane.server,
                after_s=(self._now_ms() - lane.failing.since_ms) // 1000,
                rooms_missed=len(lane.missed),
            )
        self._down.pop(lane, None)
        self._dirty[lane] = None
        lane.failing = None
        if lane.unanswered is not None:
            lane.arrived_at_last()
        elif lane.parcel is not None:
            lane.arrived()

    def _is_down(self, lane: Lane, reason: str) -> None:
        first = lane.failing is None
        lane.failed(self._now_ms(), self._chance())
        self._down[lane] = None
        self._dirty[lane] = None
        assert lane.failing is not None, "it has just failed"
        told = log.warning if first else log.debug
        retry_in_s = (lane.failing.retry_at_ms - self._now_ms()) // 1000
        told("federation.server_is_down", server=lane.server, reason=reason, retry_in_s=retry_in_s)

    # -- time

    async def run(self) -> None:
        """tick() until it is cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception as error:  # the clock goes on; the bug is told
                self._report("federation.tick", error)

    async def tick(self) -> None:
        """Try again whoever is due, and write down what is new."""
        now_ms = self._now_ms()
        for lane in list(self._down):
            if lane.failing is None or lane.failing.retry_at_ms > now_ms:
                continue
            if lane.has_work:
                self._enqueue(lane, self._retrying)
            elif now_ms - lane.failing.retry_at_ms > FORGET_MS and not lane.busy:
                lane.failing = None
                self._down.pop(lane, None)
                self._dirty[lane] = None
        while self._newcomers and self._newcomers[0][0] <= now_ms:
            self._welcome(self._newcomers.popleft()[1])
        self._fleeting.tick()
        await self.write_down()

    def _welcome(self, newcomer: Newcomer) -> None:
        """A server lacks what is sticky in a room from before it came."""
        lane = self._lane(newcomer.server)
        lane.lack_room(newcomer.room_key, newcomer.since)
        self._dirty[lane] = None
        self._wake(lane)

    async def write_down(self) -> None:
        """Store how far everybody is; with the next commit, together with whatever else is stored then."""
        held = self._devices.first_held()
        floor = self._seen if held is None else held - 1
        for lane in self._lanes.values():
            first = lane.first_position()
            if first is not None and first <= floor:
                floor = first - 1
        dirty, self._dirty = self._dirty, {}
        written = [(lane, *lane.rows(floor)) for lane in dirty]
        rows: list[OutboxRow] = []
        for _, destinations, missed, unanswered in written:
            rows += [*destinations, *missed, *unanswered]
        if floor != self._floor or rows:
            if not await self._outbox.save(rows, floor):
                for lane, _, missed, unanswered in written:
                    lane.rows_lost(missed, unanswered)
                self._dirty |= dirty
                log.warning("federation.not_stored", what="how far other servers are")
                return
            self._floor = floor
            for lane, _, _, unanswered in written:
                lane.rows_written(unanswered)
        for lane in dirty:
            if lane.is_settled(floor):
                if self._lanes.get(lane.server) is lane:
                    del self._lanes[lane.server]
            elif lane.is_quiet:
                self._dirty[lane] = None

    async def close(self) -> None:
        """Stop sending; what did not go out goes out after the next start."""
        self._open = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._devices.close()
        for _, newcomer in self._newcomers:
            self._welcome(newcomer)
        for lane in self._lanes.values():
            if lane.parcel is not None:
                lane.hold()
                self._dirty[lane] = None
        await self.write_down()

    # -- for the metrics

    def counts(self) -> Mapping[str, float]:
        """Destinations by what they are: down, behind (they missed something), sending."""
        lanes = self._lanes.values()
        return {
            "down": float(len(self._down)),
            "behind": float(sum(1 for lane in lanes if lane.missed and lane.failing is None)),
            "sending": float(sum(1 for lane in lanes if lane.busy)),
        }
