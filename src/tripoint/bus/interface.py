"""The one door to the bus. What travels is decided by rooms and accounts; the bus only carries it.

Within one process delivery is a call in commit order. Between processes the database is the log and the bus
carries wake-ups that may be lost: readers read the gap by position.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Bus(Protocol[T]):
    """Carries values of one kind from the writer to all subscribers."""

    def publish(self, value: T) -> None:
        """Hand `value` to every subscriber, in the order of publication. Never awaits, never raises."""

    def subscribe(self, subscriber: Callable[[T], None]) -> None: ...
