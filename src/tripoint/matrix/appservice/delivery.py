"""Transactions to one application service: what happened since the last one, until it has acknowledged it.

A transaction is written down before it is sent, and is sent again as it was, under its id, until it is acknowledged:
over restarts too. What the service then hears goes on where the transaction ended. Nothing waits in memory but what is
in no history (passing.py). A service that does not answer is tried again later and later, and soon when it makes a
request.
spec: Matrix application-service-api "Pushing events"
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from msgspec.structs import replace

from tripoint.core.errors import RemoteFailed
from tripoint.matrix.appservice.link import ServiceLink
from tripoint.matrix.appservice.passing import Passing
from tripoint.matrix.render import Renderer
from tripoint.rooms.changes import EventCommitted, RoomChange, UserChange
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.service_log import ServiceLog, ServicePlace

log = structlog.get_logger()

# Of one transaction: what other servers send, and what services take.
MAX_EVENTS: Final = 100
MAX_BYTES: Final = 1_000_000
# A bridge may ask its network about every event before it acknowledges them.
TIMEOUT_S: Final = 60.0
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 300.0
# A place is written down with every transaction; where there are none, this often.
IDLE_S: Final = 60.0
# How long what is in no history waits for more of it: a line of typing is no transaction for each letter.
GATHER_S: Final = 0.05


class Delivery:
    """run() is a task of its own; room_changed() and user_changed() hear of everything. `passing` None: the service
    wants nothing but events. `first_retry_s`: how long to wait after the first failure."""

    def __init__(
        self,
        link: ServiceLink,
        service_log: ServiceLog,
        renderer: Renderer,
        passing: Passing | None,
        report: Callable[[str, BaseException], None],
        *,
        first_retry_s: float = FIRST_RETRY_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._service = link.service
        self._link = link
        self._log = service_log
        self._renderer = renderer
        self._passing = passing
        self._report = report
        self._first_retry_s = first_retry_s
        self._chance = chance
        self._retry_s = first_retry_s
        self._at: ServicePlace | None = None
        self._written = 0  # the place that is on disk
        self._behind = asyncio.Event()
        self._news = asyncio.Event()
        self._heard = asyncio.Event()
        self.failing = False
        self.results: Counter[str] = Counter()

    # -- what happens

    def room_changed(self, change: RoomChange) -> None:
        if isinstance(change, EventCommitted):
            self._behind.set()
            self._news.set()
        elif self._passing is not None and self._passing.room_changed(change):
            self._news.set()

    def user_changed(self, change: UserChange) -> None:
        if self._passing is not None and self._passing.user_changed(change):
            self._news.set()

    def heard_from(self) -> None:
        """The service has made a request: it is up."""
        self._heard.set()

    # -- sending

    async def begin(self) -> bool:
        """Take up where the service was; False where that could not be written down."""
        self._at = await self._log.load(self._service)
        if self._at is None:
            return False
        self._written = self._at.place or 0
        self._behind.set()
        self._news.set()
        return True

    async def run(self) -> None:
        """Tell the service what happens, for as long as the server runs."""
        while True:
            try:
                if (self._at is None and not await self.begin()) or not await self._turn():
                    await self._pause()
            except Exception as error:  # a bug is told, and what met it tried again: nothing is passed over
                self._report("appservice.delivery", error)
                await self._pause()

    async def close(self) -> None:
        """Write down how far it is."""
        if self._at is not None and self._at.body is None and self._at.place != self._written:
            await self._log.save(self._at)

    async def _turn(self) -> bool:
        """Send one transaction, or wait for something to send. False where it is to be tried again later."""
        at = self._at
        assert at is not None, "it has begun"
        if at.body is not None:
            return await self._send(at, at.body)
        if self._behind.is_set() or (self._passing is not None and len(self._passing)):
            return await self._pack(at)
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await self._news.wait()
        if not self._behind.is_set() and self._passing is not None and len(self._passing):
            await asyncio.sleep(GATHER_S)
        if not self._news.is_set() and at.place != self._written and await self._log.save(at):
            self._written = at.place or 0
        return True

    async def _pack(self, at: ServicePlace) -> bool:
        """Put together what there is; False where it could not be written down."""
        self._behind.clear()
        told = await self._log.after(self._service, at.place or 0)
        if told.more:
            self._behind.set()
        events, place = self._fitting(told.items, told.place)
        passing = [] if self._passing is None else self._passing.take()
        at = replace(at, place=place)
        if not events and not passing:
            self._at = at
            return True
        body = b'{"events":[' + b",".join(events) + b"]"
        if passing:
            body += b',"ephemeral":[' + b",".join(passing) + b"]"
        at = replace(at, number=at.number + 1, body=body + b"}")
        if not await self._log.save(at):
            self._behind.set()
            log.warning("appservice.not_stored", service=self._service.service_id)
            return False
        self._at, self._written = at, place
        return True

    def _fitting(self, items: Sequence[HistoryItem], place: int) -> tuple[list[bytes], int]:
        """As many events as go into one transaction, and up to where they are."""
        events: list[bytes] = []
        size = 0
        for item in items:
            event = self._renderer.history(item)
            size += len(event)
            if events and (size > MAX_BYTES or len(events) == MAX_EVENTS):
                self._behind.set()
                return events, item.position - 1
            events.append(event)
        return events, place

    async def _send(self, at: ServicePlace, body: bytes) -> bool:
        # A number would come again where a database is put back to what it was before; what it stands for does not.
        txn_id = f"{at.number}.{hashlib.sha256(body).hexdigest()[:8]}"
        try:
            await self._link.put_transaction(txn_id, body, TIMEOUT_S)
        except RemoteFailed as failed:
            self.results["failed"] += 1
            told = log.debug if self.failing else log.warning
            told("appservice.down", service=self._service.service_id, reason=failed.reason)
            self.failing = True
            return False
        self.results["sent"] += 1
        if self.failing:
            log.info("appservice.back", service=self._service.service_id)
        self.failing, self._retry_s = False, self._first_retry_s
        self._at = replace(at, body=None)
        # Not told again after a restart; where that cannot be written now, the service knows the id.
        await self._log.save(self._at)
        return True

    async def _pause(self) -> None:
        """Wait for the next try: longer every time, less where the service makes a request meanwhile."""
        self._heard.clear()
        wait_s = self._retry_s * (0.75 + self._chance() / 2)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._heard.wait()
                # What it asks first comes before it listens, as often as not.
                await asyncio.sleep(self._first_retry_s)
