"""A loop whose time is its own: when nothing is ready it jumps to the next timer instead of waiting for it.

Threads (a store on disk) keep their real time: while the loop owes one of them a turn, it waits and does not jump.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector:
    """Any as selectors.BaseSelector has it: what is not here goes to the real one."""

    def __init__(self, loop: "VirtualLoop", real: selectors.BaseSelector) -> None:
        self._loop = loop
        self._real = real

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = self._real.select(0)
        if found or timeout == 0:
            return found
        if self._loop.owed or timeout is None:
            return self._real.select(1.0)
        self._loop.now += timeout
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` is the time in seconds; `owed` how many threads are to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.owed = 0
        self._selector: Any = _Selector(self, self._selector)

    def time(self) -> float:
        return self.now


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on a loop of this kind; 1700000000 s are its beginning for wall clocks."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
