"""Who waits for news, and waking them: one future per waiting sync, of /v3/sync and of sliding sync alike."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import DeviceId, UserId
from tripoint.fanout.holding import Pace
from tripoint.rooms.changes import SessionsEnded

Future = asyncio.Future[None]


class Waiters:
    """Whoever is woken is woken once per turn of the loop, however much happened in it; many wait for more while the
    server is busy (fanout/holding.py)."""

    def __init__(self, pace: Pace) -> None:
        self._waiting: dict[UserId, dict[Future, DeviceId]] = {}
        self._to_wake: set[UserId] = set()
        self._schedule = pace.holding(lambda: len(self._to_wake), self._wake_all).schedule
        self.draining = False

    @property
    def users(self) -> Mapping[UserId, object]:
        """Those who wait."""
        return self._waiting

    @contextmanager
    def listening(self, user_id: UserId, device_id: DeviceId) -> Iterator[Future]:
        """A future that is done when something has happened for a user since; it fails when the device is logged
        out."""
        future: Future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, {})[future] = device_id
        try:
            yield future
        finally:
            futures = self._waiting[user_id]
            del futures[future]
            if not futures:
                del self._waiting[user_id]

    async def wait(self, future: Future, left_s: float) -> None:
        """Until it is done, or so long."""
        timer = asyncio.get_running_loop().call_later(left_s, _expire, future)
        try:
            await future
        finally:
            timer.cancel()

    def wake(self, user_id: UserId) -> None:
        if user_id not in self._waiting:
            return
        if not self._to_wake:
            self._schedule()
        self._to_wake.add(user_id)

    def _wake_all(self) -> None:
        users, self._to_wake = self._to_wake, set()
        for user_id in users:
            for future in self._waiting.get(user_id, ()):
                _expire(future)

    def wake_everybody(self) -> None:
        """The server stops: whoever waits is woken now, and none waits any more."""
        self.draining = True
        self._to_wake = set(self._waiting)
        self._wake_all()

    def end(self, change: SessionsEnded) -> None:
        """Devices were logged out: whoever holds their old token hears no more. Of a locked account he may again."""
        why = AccountRefusal.LOCKED if change.kept else AccountRefusal.UNKNOWN_TOKEN
        for future, device_id in self._waiting.get(change.user_id, {}).items():
            if not future.done() and (not change.device_ids or device_id in change.device_ids):
                future.set_exception(AccountRefused(why))


def _expire(future: Future) -> None:
    if not future.done():
        future.set_result(None)
