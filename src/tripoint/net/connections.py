"""The connections of one listener family: who is there, how many from where, and the work done for them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Final, Generic, Protocol, TypeVar

import structlog

from tripoint.core.addresses import is_loopback, network_of, wide_network_of
from tripoint.core.token_bucket import Rate, TokenBuckets

log = structlog.get_logger()

P = TypeVar("P")


class Timer(Protocol):
    """Something that will be called, unless it is cancelled first."""

    def cancel(self) -> None: ...


# `call_later(seconds, function)`, as the loop's.
CallLater = Callable[[float, Callable[[], None]], Timer]


NO_RATE: Final = Rate(0.0, 0.0)


class Connections(Generic[P]):
    """Counts connections by address (docs/mapping.md 1.9: a /32 or /64 counts as one) and turns away."""

    def __init__(self, rate: Rate = NO_RATE, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.closing = False
        self._new = TokenBuckets(rate)
        self._clock_s = clock_s
        self._addresses: dict[P, str] = {}
        self._counts: Counter[str] = Counter()

    def change_rate(self, rate: Rate) -> None:
        """How often a connection may come from one address, from now on."""
        self._new.rate = rate

    def __len__(self) -> int:
        return len(self._addresses)

    def all(self) -> list[P]:
        """Everybody who is connected, as a copy: closing one changes the set."""
        return list(self._addresses)

    def admit(
        self, connection: P, address: str, limit: int, network_limit: int = 0, *, free: bool = False
    ) -> str | None:
        """Count a new connection; the reason if it may not stay.

        `limit`: how many from one address, `network_limit`: how many from the /24 or /48 around it; 0: any number.
        How often they come, and from which network, is not looked at where they come from this machine. `free`: nothing
        is, since many people come from there.
        """
        self._addresses[connection] = address
        where, around = _places(address)
        self._counts[where] += 1
        self._counts[around] += 1
        if self.closing:
            return "The server is shutting down"
        if free:
            return None
        if limit and self._counts[where] > limit:
            return "Too many connections from your address"
        if is_loopback(address):
            return None
        if network_limit and self._counts[around] > network_limit:
            return "Too many connections from your network"
        if self._new.take(where, self._clock_s()) > 0:
            return "You connect too often; wait a while"
        return None

    def gone(self, connection: P) -> bool:
        """A connection is closed; False if it was not counted (any more)."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return False
        for where in _places(address):
            self._counts[where] -= 1
            if not self._counts[where]:
                del self._counts[where]
        return True


def _places(address: str) -> tuple[str, str]:
    """What a connection counts for: its address, and the network around it."""
    return network_of(address), f"around {wide_network_of(address)}"


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
