"""Token buckets: how often something may happen. Pure: the time is an argument.

Rooms, accounts and front ends turn a wait into their own refusal.
"""

from msgspec import Struct

# When this many buckets are remembered, those that are full again are forgotten.
_FORGET_AT = 10_000


class Rate(Struct, frozen=True):
    """`burst` at once, `per_s` a second after that. per_s 0: no limit."""

    burst: float
    per_s: float


class TokenBuckets:
    """Buckets of one kind of action, by key (an account, an address)."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: dict[str, tuple[float, float]] = {}  # key -> (tokens, at)

    def wait_s(self, key: str, now_s: float) -> float:
        """Seconds until one token is there; 0 if it is. Takes nothing."""
        rate = self.rate
        if rate.per_s <= 0:
            return 0.0
        tokens, at = self._buckets.get(key, (rate.burst, now_s))
        tokens = min(rate.burst, tokens + (now_s - at) * rate.per_s)
        return max(0.0, (1.0 - tokens) / rate.per_s)

    def take(self, key: str, now_s: float, cost: float = 1.0) -> float:
        """Take `cost` tokens and return 0, or take nothing and return the seconds until they are there.

        `now_s` is monotonic. A cost above the burst is let through when the bucket is full.
        """
        rate = self.rate
        if rate.per_s <= 0:
            return 0.0
        tokens, at = self._buckets.get(key, (rate.burst, now_s))
        tokens = min(rate.burst, tokens + (now_s - at) * rate.per_s)
        needed = min(cost, rate.burst)
        if tokens < needed:
            self._buckets[key] = (tokens, now_s)
            return (needed - tokens) / rate.per_s
        self._buckets[key] = (tokens - cost, now_s)
        if len(self._buckets) > _FORGET_AT:
            full_after = rate.burst / rate.per_s
            self._buckets = {k: bucket for k, bucket in self._buckets.items() if now_s - bucket[1] < full_after}
        return 0.0
