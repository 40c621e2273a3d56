"""The bus of a single process: publication is a call."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LocalBus(Generic[T]):
    """bus.interface.Bus within one process. `report(error)` hears of a subscriber that raised."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._subscribers: list[Callable[[T], None]] = []
        self._report = report

    def subscribe(self, subscriber: Callable[[T], None]) -> None:
        self._subscribers.append(subscriber)

    def publish(self, value: T) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(value)
            except Exception as error:  # one reader's bug must not lose the change for the others
                self._report(error)
