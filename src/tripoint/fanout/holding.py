"""When what many are to hear is said: at the end of the turn of the loop, or a few milliseconds later.

While more is being committed, what many are told waits for it: a busy server would tell everybody of one thing after
the other instead, and telling is most of its work. Nothing waits on a server that has nothing else to do.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

# What concerns more connections than these waits for what is being committed, at most so long.
FEW = 8
HOLD_S = 0.004


class Turns(Protocol):
    """The part of an event loop that is needed here."""

    def call_soon(self, callback: Callable[[], None], /) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle: ...


class Pace:
    """The pace of one server. `busy()`: something is being committed that may have to be told soon."""

    def __init__(self, loop: Turns, busy: Callable[[], bool]) -> None:
        self._loop = loop
        self._busy = busy
        self._holdings: list[Holding] = []

    def holding(self, count: Callable[[], int], tell: Callable[[], None]) -> "Holding":
        """For what is told to `count()` connections by `tell()`."""
        made = Holding(self._loop, self._busy, count, tell)
        self._holdings.append(made)
        return made

    def settled(self) -> None:
        """Nothing is being committed any more: what waited for it is told at the end of this turn."""
        for holding in self._holdings:
            holding.settled()


class Holding:
    """Calls `tell` once for all that was scheduled."""

    def __init__(
        self, loop: Turns, busy: Callable[[], bool], count: Callable[[], int], tell: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._busy = busy
        self._count = count
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """There is something to tell, and was nothing before."""
        self._loop.call_soon(self._turn_over)

    def _turn_over(self) -> None:
        if self._count() > FEW and self._busy():
            self._timer = self._loop.call_later(HOLD_S, self.release)
        else:
            self._tell()

    def settled(self) -> None:
        """See Pace.settled."""
        if self._timer is not None:
            self._loop.call_soon(self.release)

    def release(self) -> None:
        """Tell now what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._tell()
