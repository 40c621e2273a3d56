"""How accounts come to be here: what the configuration says of it, and how often one address may.

spec: docs/mapping.md 1.9.  Read next: service.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import network_of
from tripoint.core.terms import Terms
from tripoint.core.token_bucket import Rate, TokenBuckets


@dataclass(frozen=True, slots=True)
class RegistrationPolicy:
    """`mode`: open | token | closed. `guests` are those of IRC; `guests_per_address` 0 means any number.

    `rate` is how often one address may make an account or come as a guest of Matrix, `guest_rate` how often as a guest
    at all, `guest_room_rate` how often its guests may make rooms. `email_required`: whoever makes an account shows an
    e-mail address. `terms`: and accepts these.
    """

    mode: str
    guests: bool
    matrix_guests: bool
    guests_per_address: int
    rate: Rate
    guest_rate: Rate
    guest_room_rate: Rate
    email_required: bool
    terms: tuple[Terms, ...] = ()


class Registration:
    """The policy, and who has used it how often. `clock_s` is monotonic."""

    def __init__(self, policy: RegistrationPolicy, clock_s: Callable[[], float]) -> None:
        self.policy = policy
        self._made = TokenBuckets(policy.rate)
        self._guests = TokenBuckets(policy.guest_rate)
        self._guest_rooms = TokenBuckets(policy.guest_room_rate)
        self._clock_s = clock_s

    def change(self, policy: RegistrationPolicy) -> None:
        """The configuration was changed."""
        self.policy = policy
        self._made.rate, self._guests.rate = policy.rate, policy.guest_rate
        self._guest_rooms.rate = policy.guest_room_rate

    def take(self, address: str) -> None:
        """One more from this address, or AccountRefused(RATE_LIMITED)."""
        _refuse_while(self._made.take(network_of(address), self._clock_s()))

    def take_guest(self, network: str) -> None:
        """One more guest from this network, or AccountRefused(RATE_LIMITED). docs/mapping.md 1.9"""
        _refuse_while(self._guests.take(network, self._clock_s()))

    def take_guest_room(self, network: str) -> float:
        """Seconds until guests from this network may make one more room; 0: it is counted. docs/mapping.md 1.9"""
        return self._guest_rooms.take(network, self._clock_s())


def _refuse_while(wait_s: float) -> None:
    if wait_s > 0:
        raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)
