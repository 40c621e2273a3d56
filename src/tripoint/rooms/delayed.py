"""Events that are sent later: scheduled, put off, sent early or taken back, and kept until they are.

What is scheduled is on disk before it is acknowledged. What fell due while the server was stopped is sent at its start,
in the order in which it was due. Each is sent once: its id is the transaction id under which it is sent, and whoever
comes back after a kill finds the event that was made. Rights are those of the moment of sending.
spec: MSC4140
"""

import asyncio
import heapq
import hmac
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import orjson
import structlog
from msgspec import Struct
from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import Command, Done, Origin, SendEvent, SendState
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.interface import DelayedStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutDelayed

log = structlog.get_logger()

# What one account may have scheduled, and how far ahead: a reminder for next month, and no archive.
MAX_SCHEDULED: Final = 100
MAX_DELAY_MS: Final = 31 * 24 * 3600 * 1000
# spec: "The recommended strategy is to retain finalised events for up to 7 days or 1000 events per user"
KEPT_MS: Final = 7 * 24 * 3600 * 1000
KEPT: Final = 1000
# A store that is full is tried again so soon.
AGAIN_MS: Final = 5000


class Outcome(Struct, frozen=True):
    """What became of an event: the id it got, or why it was not sent (errcode, text), or neither: it was cancelled."""

    at_ms: int
    event_id: str | None = None
    error: tuple[str, str] | None = None


class DelayedEvent(Struct, frozen=True):
    """`state_key` None: no state event. `since_ms`: when it was scheduled or last restarted."""

    delay_id: str
    user_id: UserId
    room_id: RoomId
    type: str
    state_key: str | None
    content: JsonObject
    delay_ms: int
    since_ms: int
    outcome: Outcome | None = None
    sticky_ms: int | None = None

    @property
    def due_ms(self) -> int:
        return self.since_ms + self.delay_ms


class TooMany(Exception):
    """An account has as many scheduled as it may have; the next of them is sent in `wait_ms`."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        super().__init__("You have as many delayed events as an account may have")


class Finalised(Exception):
    """What is asked cannot be done any more: it was sent, or will never be."""


class Delayed:
    """All delayed events of this server. `do` carries out commands; `code_of` gives the errcode of a refusal; `secret`
    makes ids that nobody guesses."""

    def __init__(
        self,
        store: DelayedStore,
        stream: Stream,
        do: Callable[[Command], Awaitable[Done]],
        now_ms: Callable[[], int],
        secret: bytes,
    ) -> None:
        self._secret = secret
        self._store = store
        self._stream = stream
        self._do = do
        self._now_ms = now_ms
        self.code_of: Callable[[Refused], str] = lambda _: "M_UNKNOWN"
        self._events: dict[str, DelayedEvent] = {}
        self._sent: dict[str, str] = {}  # event id -> delay id
        self._of_user: dict[UserId, dict[str, None]] = {}
        self._due: list[tuple[int, str]] = []
        self._locks: dict[str, asyncio.Lock] = {}
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Take in what is scheduled, and what became of the others."""
        for row in await self._store.load_delayed():
            outcome = None if row.outcome is None else _outcome(row.outcome)
            content: JsonObject = orjson.loads(row.content or b"{}")
            self._keep(
                DelayedEvent(
                    row.delay_id,
                    row.user_id,
                    row.room_id,
                    row.type,
                    row.state_key,
                    content,
                    row.delay_ms,
                    row.since_ms,
                    outcome,
                    row.sticky_ms,
                )
            )

    async def run(self) -> None:
        """Send what is due, as long as the server runs."""
        while True:
            self._changed.clear()
            wait_ms = await self.send_due()
            try:
                async with asyncio.timeout(None if wait_ms is None else wait_ms / 1000):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def send_due(self) -> int | None:
        """Send everything that is due, one after the other; how long it is until the next one."""
        while self._due:
            due_ms, delay_id = self._due[0]
            event = self._events.get(delay_id)
            if event is None or event.outcome is not None or event.due_ms != due_ms:
                heapq.heappop(self._due)
                continue
            wait_ms = due_ms - self._now_ms()
            if wait_ms > 0:
                return wait_ms
            try:
                await self._send(delay_id, by_hand=False)
            except StoreError as error:
                log.warning("delayed.not_sent", reason=str(error))
                return AGAIN_MS
        return None

    # -- asked for by clients

    def id_of(self, session: str, request: str) -> str:
        """The id for a request of a client's session: the same one for the same request, again."""
        told = f"delayed\0{session}\0{request}".encode()
        return hmac.new(self._secret, told, "sha256").hexdigest()[:40]

    async def schedule(self, event: DelayedEvent) -> str:
        """Keep it and send it later. One of the same id is there already: the same request, again.

        Raises TooMany, and as all of these Refused(SERVER_BUSY).
        """
        known = self._events.get(event.delay_id)
        if known is not None and known.user_id == event.user_id:
            return known.delay_id
        scheduled = self.scheduled(event.user_id)
        if len(scheduled) >= MAX_SCHEDULED:
            raise TooMany(max(1, scheduled[0].due_ms - self._now_ms()))
        with _said_busy():
            await self._write(event)
        return event.delay_id

    def of(self, user_id: UserId, delay_id: str) -> DelayedEvent | None:
        """One's own; None for what is not there, or somebody else's."""
        event = self._events.get(delay_id)
        return event if event is not None and event.user_id == user_id else None

    def named(self, delay_id: str) -> DelayedEvent | None:
        """Whosever it is: who knows its id may act on it, as one may have told a call's server."""
        return self._events.get(delay_id)

    def delay_of(self, event_id: str) -> str | None:
        """As what an event was scheduled, for its sender's eyes."""
        return self._sent.get(event_id)

    def scheduled(self, user_id: UserId) -> list[DelayedEvent]:
        """Those that will be sent, the next one first."""
        found = [self._events[delay_id] for delay_id in self._of_user.get(user_id, ())]
        return sorted((one for one in found if one.outcome is None), key=lambda one: (one.due_ms, one.delay_id))

    async def cancel(self, event: DelayedEvent) -> None:
        """It is never sent. Raises Finalised where it was."""
        async with self._lock(event.delay_id):
            present = self._events[event.delay_id]
            if present.outcome is None:
                with _said_busy():
                    await self._finish(present, Outcome(self._now_ms()))
            elif present.outcome.event_id is not None:
                raise Finalised("It was sent already")

    async def restart(self, event: DelayedEvent) -> None:
        """The whole delay, from now on. Raises Finalised."""
        async with self._lock(event.delay_id):
            present = self._events[event.delay_id]
            if present.outcome is not None:
                raise Finalised("It was sent already, or will not be")
            with _said_busy():
                await self._write(replace(present, since_ms=self._now_ms()))

    async def send_now(self, event: DelayedEvent) -> None:
        """Send it. Raises Finalised where it was cancelled, and Refused as sending does: then it stays scheduled."""
        with _said_busy():
            await self._send(event.delay_id, by_hand=True)
        outcome = self._events[event.delay_id].outcome
        if outcome is None or outcome.event_id is None:
            raise Finalised("It was cancelled")

    # -- what is done

    async def _send(self, delay_id: str, *, by_hand: bool) -> None:
        async with self._lock(delay_id):
            event = self._events.get(delay_id)
            if event is None or event.outcome is not None or (not by_hand and event.due_ms > self._now_ms()):
                return
            try:
                done = await self._do(_command(event))
            except Refused as refused:
                if refused.refusal is Refusal.SERVER_BUSY:
                    raise StoreError(refused.text) from refused
                if by_hand:
                    raise
                # spec: "the homeserver SHOULD NOT retry"
                await self._finish(event, Outcome(self._now_ms(), error=(self.code_of(refused), refused.text)))
            else:
                await self._finish(event, Outcome(self._now_ms(), event_id=done.event_id))

    async def _finish(self, event: DelayedEvent, outcome: Outcome) -> None:
        await self._write(replace(event, outcome=outcome))
        ended = [self._events[one] for one in self._of_user.get(event.user_id, ())]
        ended = sorted((one for one in ended if one.outcome is not None), key=_ended_ms)
        late = [one for one in ended if _ended_ms(one) < self._now_ms() - KEPT_MS]
        for one in {one.delay_id: one for one in (*late, *ended[: max(0, len(ended) - KEPT)])}.values():
            await self._drop(one)

    async def _write(self, event: DelayedEvent) -> None:
        await self._stream.commit([_row(event)], lambda: self._keep(event))

    def _keep(self, event: DelayedEvent) -> None:
        self._events[event.delay_id] = event
        self._of_user.setdefault(event.user_id, {})[event.delay_id] = None
        if event.outcome is not None and event.outcome.event_id is not None:
            self._sent[event.outcome.event_id] = event.delay_id
        if event.outcome is None:
            heapq.heappush(self._due, (event.due_ms, event.delay_id))
            self._changed.set()

    async def _drop(self, event: DelayedEvent) -> None:
        def dropped() -> None:
            self._events.pop(event.delay_id, None)
            if event.outcome is not None and event.outcome.event_id is not None:
                self._sent.pop(event.outcome.event_id, None)
            mine = self._of_user.get(event.user_id, {})
            mine.pop(event.delay_id, None)
            if not mine:
                self._of_user.pop(event.user_id, None)

        await self._stream.commit([replace(_row(event), content=None)], dropped)

    def _lock(self, delay_id: str) -> asyncio.Lock:
        locks = self._locks
        for idle in [key for key, lock in locks.items() if not lock.locked()] if len(locks) > KEPT else ():
            del locks[idle]
        return locks.setdefault(delay_id, asyncio.Lock())


@contextmanager
def _said_busy() -> Iterator[None]:
    """What the store cannot take is refused to whoever asked."""
    try:
        yield
    except StoreError as error:
        raise Refused(Refusal.SERVER_BUSY) from error


def _ended_ms(event: DelayedEvent) -> int:
    return 0 if event.outcome is None else event.outcome.at_ms


def _command(event: DelayedEvent) -> Command:
    if event.state_key is not None:
        return SendState(
            actor=event.user_id,
            room_id=event.room_id,
            type=event.type,
            state_key=event.state_key,
            content=event.content,
            sticky_ms=event.sticky_ms,
        )
    # The id that the event got before the server was killed is found by this.
    origin = Origin(f"{event.user_id}/delayed", event.delay_id, once=True, scope="delayed")
    return SendEvent(
        actor=event.user_id,
        room_id=event.room_id,
        type=event.type,
        content=event.content,
        origin=origin,
        sticky_ms=event.sticky_ms,
    )


def _row(event: DelayedEvent) -> PutDelayed:
    outcome = event.outcome
    return PutDelayed(
        event.delay_id,
        event.user_id,
        event.room_id,
        event.type,
        event.state_key,
        orjson.dumps(event.content),
        event.delay_ms,
        event.since_ms,
        None if outcome is None else orjson.dumps([outcome.at_ms, outcome.event_id, outcome.error]),
        event.sticky_ms,
    )


def _outcome(data: bytes) -> Outcome:
    at_ms, event_id, error = orjson.loads(data)
    return Outcome(at_ms, event_id, None if error is None else (error[0], error[1]))
