"""Group commit: whatever waits while the last transaction runs goes into the next one.

One thread owns the writing connection. Units are applied in the order of submission; after each transaction
the loop hears of all its units in one wake-up. An error fails the whole transaction and everything queued
behind it, because later units may build on earlier ones (an event names its parents).
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from tripoint.store.interface import Done, StoreError
from tripoint.store.writes import Write

log = structlog.get_logger()

# A transaction takes at most this many units: it bounds how long the first waits for the last.
MAX_UNITS = 512

Apply = Callable[[Sequence[Sequence[Write]]], None]


class GroupCommit:
    """The queue in front of one writing connection. Made and used on the loop's thread.

    `apply(units)` runs on the writing thread: it stores all units in one durable transaction, or raises and
    has stored none. `opened` and `closed` run there first and last (a connection belongs to its thread).
    """

    def __init__(self, apply: Apply, *, opened: Callable[[], None], closed: Callable[[], None]) -> None:
        self._apply = apply
        self._opened = opened
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Sequence[Write], Done]] = deque()
        self._wake = threading.Semaphore(0)
        self._idle = True  # the thread waits for a wake-up; touched under the lock alone
        self._lock = threading.Lock()
        self._failed = False  # an error is on its way to the loop: commit nothing until it arrived
        self._stopping = False
        self._finished = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        """See store.interface.Writer.submit."""
        if self._stopping:
            self._loop.call_soon(done, StoreError("the store is closed"))
            return
        with self._lock:
            self._waiting.append((writes, done))
            wake, self._idle = self._idle, False
        if wake:
            # At the end of this turn of the loop: what else is submitted in it shares the transaction.
            self._loop.call_soon(self._wake.release)

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        if not self._stopping:
            self._stopping = True
            with self._lock:
                wake, self._idle = self._idle, False
            if wake:
                self._wake.release()
        await self._finished

    # -- on the writing thread

    def _run(self) -> None:
        try:
            self._opened()
        except Exception as error:  # told to whoever waits for the first commit
            self._tell_failure(StoreError(str(error)))
        while True:
            with self._lock:
                if self._waiting and not self._failed:
                    count = min(len(self._waiting), MAX_UNITS)
                    units = [self._waiting.popleft() for _ in range(count)]
                elif self._stopping and not self._waiting:
                    break
                else:
                    self._idle = True
                    units = []
            if not units:
                self._wake.acquire()
                continue
            self._commit(units)
        self._closed()
        self._call_loop(self._finish)

    def _commit(self, units: list[tuple[Sequence[Write], Done]]) -> None:
        try:
            self._apply([writes for writes, _ in units])
        except Exception as error:  # every store failure reaches the waiting commands as StoreError
            with self._lock:
                self._waiting.extendleft(reversed(units))
            self._tell_failure(error if isinstance(error, StoreError) else StoreError(str(error)))
        else:
            self._call_loop(self._committed, units)

    def _tell_failure(self, error: StoreError) -> None:
        with self._lock:
            self._failed = True
        self._call_loop(self._fail_all, error)

    def _call_loop(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop was closed without closing the store (a test that was torn down): nobody is listening.
            self._stopping = True

    # -- on the loop's thread

    def _committed(self, units: list[tuple[Sequence[Write], Done]]) -> None:
        for _, done in units:
            done(None)

    def _fail_all(self, error: StoreError) -> None:
        with self._lock:
            units = list(self._waiting)
            self._waiting.clear()
        log.error("store.commit_failed", error=str(error), units=len(units))
        for _, done in units:
            done(error)
        with self._lock:
            self._failed = False
            wake, self._idle = self._idle, False
        if wake:
            self._wake.release()

    def _finish(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)
