"""One token bucket per account over all protocols (docs/mapping.md 24)."""

from collections.abc import Callable

from msgspec import Struct

from tripoint.core.ids import UserId
from tripoint.rooms.refusals import Refusal, Refused

# A bucket that was not touched for this many is full again and need not be remembered.
_FORGET_AT = 10_000


class Rate(Struct, frozen=True):
    """`burst` at once, `per_s` a second after that. per_s 0: no limit."""

    burst: float
    per_s: float


class TokenBuckets:
    """Token buckets of one kind of action. `clock_s` is monotonic."""

    def __init__(self, rate: Rate, clock_s: Callable[[], float]) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._buckets: dict[str, tuple[float, float]] = {}  # user -> (tokens, at)

    def take(self, key: UserId | str, cost: float = 1.0) -> None:
        """Take `cost` tokens, or raise Refused(RATE_LIMITED) with the time to wait. Takes all or nothing."""
        rate = self._rate
        if rate.per_s <= 0:
            return
        now = self._clock_s()
        tokens, at = self._buckets.get(key, (rate.burst, now))
        tokens = min(rate.burst, tokens + (now - at) * rate.per_s)
        if tokens < cost:
            self._buckets[key] = (tokens, now)
            wait_ms = int((cost - tokens) / rate.per_s * 1000) + 1
            raise Refused(Refusal.RATE_LIMITED, retry_after_ms=wait_ms)
        self._buckets[key] = (tokens - cost, now)
        if len(self._buckets) > _FORGET_AT:
            self._forget(now)

    def _forget(self, now: float) -> None:
        full_after = self._rate.burst / self._rate.per_s
        self._buckets = {key: value for key, value in self._buckets.items() if now - value[1] < full_after}
