"""Transactions of other servers: each PDU judged or put by, each with its result.

PDUs of one room are taken in order, several rooms side by side. What can be judged at once is judged before the
answer; what lacks something, or whose keys are slow, is stored and judged behind it (rooms/staging.py), so that no
gap holds up an answer and nothing that was answered is lost. One transaction that comes twice is taken once.
spec: Matrix server-server-api sendTransaction, "PDUs", "Server Access Control Lists (ACLs)"
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import orjson
import structlog

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.event import Event, parse_event
from tripoint.core.ids import EventId, RoomId, ServerName
from tripoint.core.sticky import KEY
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.matrix.errors import MatrixError, bad_json, bytes_response
from tripoint.matrix.federation.lanes import MAX_EDUS, MAX_PDUS
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.accept import Accept, Lacking, Verdict
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.staging import Staging

log = structlog.get_logger()

# A server sends one transaction at a time; the second is the one whose answer it no longer waited for.
MAX_OF_ORIGIN: Final = 2
MAX_AT_ONCE: Final = 100
# Rooms of one transaction that are worked on at a time.
ROOMS_AT_ONCE: Final = 10
# Keys of one event; and all of a transaction: what is not judged by then is put by.
KEYS_S: Final = 10.0
ANSWER_S: Final = 30.0
# Servers whose last answer is kept, in case it did not arrive.
ANSWERS_KEPT: Final = 1000
MAX_TXN_ID: Final = 255
# Events that nobody can use (unknown rooms, no signature, against the rules) which one server may send. Who is in a
# thousand rooms sends some; who sends nothing else is asked to wait.
JUNK: Final = Rate(5000, 100)
# Sticky events of one server: every client gets all of them, whatever it asks for. A call of a thousand people renews
# some thousand an hour. spec: MSC4354 "Rate limits", option A: "return a non-2xx status code from /send"
STICKY: Final = Rate(200, 5)
# How long events of a room wait that this server is entering just now; then they are to come again.
ENTERING_S: Final = 20.0
# Fifty events of the largest size and the rest; canonical JSON has no shorter form that is longer here.
BODY_BYTES: Final = 5 * 1_048_576

_RESULTS = {
    Verdict.REJECTED: "The rules of the room do not allow this event",
    Verdict.CLASHES: "There is another event with this id",
}

# (origin, EDUs): what is told and not kept.
TakeEdus = Callable[[ServerName, Sequence[JsonObject]], Awaitable[None]]
Results = dict[EventId, str | None]


class TransactionEndpoints:
    """PUT /send. `take_edus` comes after the PDUs: a receipt may be for one of them. `take_back` hears of memberships
    that end in rooms which `server`, this one, is not in."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        accept: Accept,
        staging: Staging,
        check: PduCheck,
        take_edus: TakeEdus,
        take_back: Callable[[Event], Awaitable[bool]],
    ) -> None:
        self._server = server
        self._take_back = take_back
        self._rooms = rooms
        self._accept = accept
        self._staging = staging
        self._check = check
        self._take_edus = take_edus
        self._running: dict[tuple[ServerName, str], asyncio.Future[bytes]] = {}
        self._busy: Counter[ServerName] = Counter()
        self._answers: OrderedDict[ServerName, tuple[str, bytes]] = OrderedDict()
        self._junk = TokenBuckets(JUNK)
        self._sticky = TokenBuckets(STICKY)
        # Returns when the room is entered, or could not be; at once for nearly all. Set by who wires.
        self.entered: Callable[[RoomId], Awaitable[None]] | None = None
        self.results: Counter[str] = Counter()

    @endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", auth=Auth.SERVER)
    async def send(self, call: Call) -> Response:
        origin, txn_id = call.origin, call.path["txnId"]
        if len(txn_id) > MAX_TXN_ID:
            raise bad_json(f"A transaction id has at most {MAX_TXN_ID} characters")
        kept = self._answers.get(origin)
        if kept is not None and kept[0] == txn_id:
            return bytes_response(kept[1])
        running = self._running.get((origin, txn_id))
        if running is None:
            pdus, edus = _contents(origin, call.json())
            if self._busy[origin] >= MAX_OF_ORIGIN or len(self._running) >= MAX_AT_ONCE:
                raise _too_fast("Transactions are taken one after the other", 1.0)
            if wait_s := self._junk.wait_s(origin, asyncio.get_running_loop().time()):
                raise _too_fast("Most of what your server sends is of no use here", wait_s)
            sticky = sum(1 for pdu in pdus if isinstance(pdu, dict) and KEY in pdu)
            if sticky and (wait_s := self._sticky.take(origin, asyncio.get_running_loop().time(), sticky)):
                raise _too_fast("Your server sends too many sticky events", wait_s)
            running = asyncio.ensure_future(self._take(origin, pdus, edus))
            self._running[origin, txn_id] = running
            self._busy[origin] += 1
            running.add_done_callback(lambda done: self._done(origin, txn_id, done))
        return bytes_response(await asyncio.shield(running))

    def _done(self, origin: ServerName, txn_id: str, done: "asyncio.Future[bytes]") -> None:
        self._running.pop((origin, txn_id), None)
        self._busy[origin] -= 1
        if not self._busy[origin]:
            del self._busy[origin]
        if not done.cancelled() and done.exception() is None:
            self._answers[origin] = (txn_id, done.result())
            self._answers.move_to_end(origin)
            if len(self._answers) > ANSWERS_KEPT:
                self._answers.popitem(last=False)

    async def close(self) -> None:
        """Transactions that are being taken are given up: they were not answered, and come again."""
        running = list(self._running.values())
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _take(self, origin: ServerName, pdus: Sequence[Json], edus: Sequence[JsonObject]) -> bytes:
        results: Results = {}
        by_room: dict[RoomId, tuple[Room, list[Event]]] = {}
        dropped: Counter[str] = Counter()
        await self._wait_for_entries(pdus)
        for pdu in pdus:
            try:
                room, event = await self._read(pdu)
            except (PeerError, Refused) as error:
                # Without its room's version an event has no id under which it could be answered.
                dropped[str(error)] += 1
                continue
            if not room.allows_server(origin):
                results[event.event_id] = "Your server is denied in this room"
            else:
                by_room.setdefault(room.room_id, (room, []))[1].append(event)
        if dropped:
            reasons = dict(dropped.most_common(3))
            log.info("federation.pdus_dropped", server=origin, number=dropped.total(), reasons=reasons)
        gate = asyncio.Semaphore(ROOMS_AT_ONCE)
        deadline = asyncio.get_running_loop().time() + ANSWER_S
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._take_room(origin, room, events, results, gate, deadline))
                for room, events in by_room.values()
            ]
        if not all(task.result() for task in tasks):
            # No result of single events, after which the server would not send them again.
            raise MatrixError(503, "M_UNKNOWN", "This server cannot store events right now")
        await self._take_edus(origin, edus)
        refused = sum(1 for error in results.values() if error is not None)
        for _ in range(dropped.total() + refused):
            self._junk.take(origin, asyncio.get_running_loop().time())
        self.results["dropped"] += dropped.total()
        self.results["refused"] += refused
        self.results["taken"] += sum(1 for error in results.values() if error is None)
        return orjson.dumps(
            {"pdus": {event_id: {} if error is None else {"error": error} for event_id, error in results.items()}}
        )

    async def _wait_for_entries(self, pdus: Sequence[Json]) -> None:
        """Who lets us into a room tells us of it at once, before we have looked at all that it has answered."""
        if self.entered is None:
            return
        named = {pdu.get("room_id") for pdu in pdus if isinstance(pdu, dict)}
        try:
            async with asyncio.timeout(ENTERING_S):
                for room_id in named:
                    if isinstance(room_id, str):
                        await self.entered(RoomId(room_id))
        except TimeoutError:
            raise MatrixError(503, "M_UNKNOWN", "This server is entering that room; try again") from None

    async def _read(self, pdu: Json) -> tuple[Room, Event]:
        """The room of a PDU and the event, unverified. Raises PeerError, Refused(NO_SUCH_ROOM)."""
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        if not isinstance(room_id, str) or not isinstance(pdu, dict):
            raise PeerError("a PDU names its room")
        room = await self._rooms.get(RoomId(room_id))
        return room, parse_event(pdu, room.version)

    async def _take_room(
        self,
        origin: ServerName,
        room: Room,
        events: Sequence[Event],
        results: Results,
        gate: asyncio.Semaphore,
        deadline: float,
    ) -> bool:
        """The results of a room's events. False where they could not be stored: all of it must come again."""
        async with gate:
            judged = await self._accept.judged([event.event_id for event in events])
            fresh: dict[EventId, Event] = {}
            for event in events:
                if (verdict := judged.get(event.event_id)) is not None:
                    results[event.event_id] = _RESULTS.get(verdict)
                else:
                    fresh.setdefault(event.event_id, event)
            verified = await self._verify(origin, fresh, results, deadline)
            try:
                if not room.is_here(self._server):
                    verified = [event for event in verified if not await self._is_taken_back(event, results)]
                outcomes = await self._accept.receive_all(verified)
                for event, outcome in zip(verified, outcomes, strict=True):
                    if not isinstance(outcome, Lacking):
                        results[event.event_id] = _RESULTS.get(outcome)
                if room.outside and any(event_id not in results for event_id in fresh):
                    raise Refused(Refusal.NO_SUCH_ROOM)
                # In the order in which they came: what lacks something, and what was not looked at in time.
                for event in fresh.values():
                    if event.event_id not in results:
                        await self._staging.put(room, event.event_id, origin, event.json)
                        results[event.event_id] = None
            except Refused as refused:
                if refused.refusal is Refusal.SERVER_BUSY:
                    return False
                # What of these is stored is known the next time; the others were not taken.
                for event_id in fresh:
                    results.setdefault(event_id, refused.text)
        return True

    async def _verify(
        self, origin: ServerName, fresh: Mapping[EventId, Event], results: Results, deadline: float
    ) -> list[Event]:
        """The events whose signatures hold. Those that are not signed as they must be have their result; those whose
        keys are slow are left out."""
        verified = []
        for event in fresh.values():
            left_s = min(KEYS_S, deadline - asyncio.get_running_loop().time())
            if left_s <= 0:
                break
            try:
                async with asyncio.timeout(left_s):
                    verified.append(await self._check.verify(event))
            except TimeoutError:
                continue
            except PeerError as error:
                log.info("federation.pdu_dropped", server=origin, event_id=event.event_id, reason=str(error))
                results[event.event_id] = f"This event is not signed as it must be: {error}"
            # A transaction of fifty events is no reason for the others to wait.
            await asyncio.sleep(0)
        return verified

    async def _is_taken_back(self, event: Event, results: Results) -> bool:
        """Where this server is not inside, somebody who was invited may not be any more."""
        if not await self._take_back(event):
            return False
        results[event.event_id] = None
        return True


def _too_fast(error: str, wait_s: float) -> MatrixError:
    return MatrixError(429, "M_LIMIT_EXCEEDED", error, retry_after_ms=int(wait_s * 1000) + 1)


def _contents(origin: ServerName, body: JsonObject) -> tuple[Sequence[Json], Sequence[JsonObject]]:
    """PDUs and EDUs of a transaction. Raises MatrixError where it is none."""
    if body.get("origin") != origin:
        raise bad_json("origin must be the server that sends the transaction")
    pdus, edus = body.get("pdus", []), body.get("edus", [])
    if not isinstance(pdus, list) or not isinstance(edus, list):
        raise bad_json("pdus and edus are lists")
    if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
        raise bad_json(f"A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs")
    return pdus, [edu for edu in edus if isinstance(edu, dict)]


