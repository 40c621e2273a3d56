"""The connections of one listener family: who is there, how many from where, and the work done for them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Generic, Protocol, TypeVar

import structlog

from tripoint.core.addresses import network_of

log = structlog.get_logger()

P = TypeVar("P")


class Timer(Protocol):
    """Something that will be called, unless it is cancelled first."""

    def cancel(self) -> None: ...


# `call_later(seconds, function)`, as the loop's.
CallLater = Callable[[float, Callable[[], None]], Timer]


class Connections(Generic[P]):
    """Counts connections by address (docs/mapping.md 1.9: a /32 or /64 counts as one) and turns away."""

    def __init__(self) -> None:
        self.closing = False
        self._addresses: dict[P, str] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def all(self) -> list[P]:
        """Everybody who is connected, as a copy: closing one changes the set."""
        return list(self._addresses)

    def admit(self, connection: P, address: str, limit: int) -> str | None:
        """Count a new connection; the reason if it may not stay. `limit` 0: any number from one address."""
        where = self._addresses[connection] = network_of(address)
        self._counts[where] += 1
        if self.closing:
            return "The server is shutting down"
        if limit and self._counts[where] > limit:
            return "Too many connections from your address"
        return None

    def gone(self, connection: P) -> bool:
        """A connection is closed; False if it was not counted (any more)."""
        where = self._addresses.pop(connection, None)
        if where is None:
            return False
        self._counts[where] -= 1
        if not self._counts[where]:
            del self._counts[where]
        return True


class Background:
    """Work that outlives the call that began it. `name` says in the log whose it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work; it is owned here and awaited by finish()."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, timeout_s: float | None = None) -> None:
        """Wait for everything that was begun, and for what that begins. What is late is cancelled."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while self._tasks:
            left_s = None if deadline is None else max(0.0, deadline - loop.time())
            _, late = await asyncio.wait(self._tasks, timeout=left_s)
            if late:
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        """A bug in background work is reported and ends that work alone."""
        try:
            await work
        except Exception as error:
            log.error(f"{self._name}.background_work_failed", exc_info=error)
