"""What a user may do how often, over all protocols together (docs/mapping.md 24)."""

from collections.abc import Callable

from tripoint.core.ids import UserId
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.rooms.refusals import Refusal, Refused


class Limits:
    """The buckets that commands draw from: what is said, what changes a room, what fills rooms.

    `clock_s` is monotonic; `is_unlimited`: users for whom none of it holds (core/app_services.py).
    """

    def __init__(
        self,
        events: Rate,
        state: Rate,
        membership: Rate,
        clock_s: Callable[[], float],
        is_unlimited: Callable[[UserId], bool] = lambda user_id: False,
    ) -> None:
        self._is_unlimited = is_unlimited
        self.events = TokenBuckets(events)
        self.state = TokenBuckets(state)
        self.membership = TokenBuckets(membership)
        # Accounts that an administrator gave a rate of their own, for what they say.
        self.own: dict[UserId, TokenBuckets] = {}
        self._clock_s = clock_s

    def set_own(self, user_id: UserId, rate: Rate | None) -> None:
        """What somebody may say how often, whatever the configuration says; None: as the configuration says."""
        if rate is None:
            self.own.pop(user_id, None)
        else:
            self.own[user_id] = TokenBuckets(rate)

    def change(self, events: Rate, state: Rate, membership: Rate) -> None:
        """The configuration was changed."""
        self.events.rate, self.state.rate, self.membership.rate = events, state, membership

    def take(self, buckets: TokenBuckets, user_id: UserId) -> None:
        """Refused(RATE_LIMITED) with the time to wait, or one token less."""
        if self._is_unlimited(user_id):
            return
        if buckets is self.events:
            buckets = self.own.get(user_id, buckets)
        wait_s = buckets.take(user_id, self._clock_s())
        if wait_s > 0:
            raise Refused(Refusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)
