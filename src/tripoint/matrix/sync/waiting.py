"""Who waits for news, and waking them: one future per waiting sync, of /v3/sync and of sliding sync alike."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import DeviceId, UserId
from tripoint.fanout.holding import Pace
from tripoint.rooms.changes import SessionsEnded

Future = asyncio.Future[None]

# Answering a sync takes some 0.2 ms: what is woken at once is how long all others wait for their turn.
AT_ONCE = 8
# Who waits so long shares a timer with those whose time is over with his, or up to so much earlier.
LONG_S, TOGETHER_S = 5.0, 0.25


class Waiters:
    """Whoever is woken is woken once, however much happened in a turn of the loop; many wait for more while the
    server is busy (fanout/holding.py)."""

    def __init__(self, pace: Pace) -> None:
        self._waiting: dict[UserId, dict[Future, DeviceId]] = {}
        self._to_wake: set[UserId] = set()
        self._loop = asyncio.get_running_loop()
        # What ends at a time, in TOGETHER_S.
        self._ending: dict[int, set[Future]] = {}
        self._schedule = pace.holding(lambda: len(self._to_wake), self._wake_some).schedule
        self.draining = False

    @property
    def users(self) -> Mapping[UserId, object]:
        """Those who wait."""
        return self._waiting

    def listen(self, user_id: UserId, device_id: DeviceId) -> Future:
        """A future that is done when something has happened for a user since; it fails when the device is logged
        out. Whoever does not want it any more says so by forget()."""
        future: Future = self._loop.create_future()
        self._waiting.setdefault(user_id, {})[future] = device_id
        return future

    def forget(self, user_id: UserId, future: Future) -> None:
        """Nobody waits for this future any more, if it was not woken before."""
        futures = self._waiting.get(user_id)
        if futures is not None and futures.pop(future, None) is not None and not futures:
            del self._waiting[user_id]

    @contextmanager
    def listening(self, user_id: UserId, device_id: DeviceId) -> Iterator[Future]:
        """listen() and forget()."""
        future = self.listen(user_id, device_id)
        try:
            yield future
        finally:
            self.forget(user_id, future)

    def now(self) -> float:
        """The loop's time, in seconds."""
        return self._loop.time()

    async def wait(self, future: Future, left_s: float) -> None:
        """Until it is done, or so long; where that is long, some TOGETHER_S longer."""
        if left_s < LONG_S:
            timer = self._loop.call_later(left_s, _expire, future)
            try:
                await future
            finally:
                timer.cancel()
            return
        at = int((self._loop.time() + left_s) / TOGETHER_S) + 1
        ending = self._ending.get(at)
        if ending is None:
            ending = self._ending[at] = set()
            self._loop.call_at(at * TOGETHER_S, self._end_of, at)
        ending.add(future)
        try:
            await future
        finally:
            ending.discard(future)

    def _end_of(self, at: int) -> None:
        for future in tuple(self._ending.pop(at)):
            _expire(future)

    def wake(self, user_id: UserId) -> None:
        if user_id not in self._waiting:
            return
        if not self._to_wake:
            self._schedule()
        self._to_wake.add(user_id)

    def _wake_some(self) -> None:
        """Wake a few in each turn: who wrote what they wait for, and everybody else, is answered in between."""
        to_wake = self._to_wake
        for _ in range(min(AT_ONCE, len(to_wake))):
            self._wake_user(to_wake.pop())
        if to_wake:
            self._loop.call_soon(self._wake_some)

    def _wake_user(self, user_id: UserId) -> None:
        for future in self._waiting.pop(user_id, ()):
            _expire(future)

    def wake_everybody(self) -> None:
        """The server stops: whoever waits is woken now, and none waits any more."""
        self.draining = True
        for user_id in list(self._waiting):
            self._wake_user(user_id)

    def end(self, change: SessionsEnded) -> None:
        """Devices were logged out: whoever holds their old token hears no more. Of a locked account he may again."""
        why = AccountRefusal.LOCKED if change.kept else AccountRefusal.UNKNOWN_TOKEN
        for future, device_id in list(self._waiting.get(change.user_id, {}).items()):
            if not future.done() and (not change.device_ids or device_id in change.device_ids):
                self.forget(change.user_id, future)
                future.set_exception(AccountRefused(why))
                future.exception()  # told to whoever asks with it the next time, if anybody does


def _expire(future: Future) -> None:
    if not future.done():
        future.set_result(None)
