"""Tokens with which somebody who is logged in lets another client of theirs in: once, within two minutes.

In memory alone: they end before anybody could miss them, and what is not there after a restart lets nobody in.
spec: Matrix client-server POST /login/get_token, "Token-based" login
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.core.token_bucket import Rate, TokenBuckets

# spec: get_token: two minutes are recommended.
LIFE_MS = 120_000
# spec: sso-login: "SHOULD be limited to around five seconds". Twice that, for telephones that wake up the client first.
SSO_LIFE_MS = 10_000
MAX_TOKENS = 10_000
# spec: get_token: stricter than usual. A few at once, for somebody who mistyped; then one a minute.
RATE = Rate(3, 1 / 60)


class LoginTokens:
    """Tokens are kept as their hashes."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._tokens: OrderedDict[bytes, tuple[UserId, int]] = OrderedDict()
        self._pace = TokenBuckets(RATE)

    def make(self, user_id: UserId) -> str:
        """A new token. RATE_LIMITED."""
        wait_s = self._pace.take(user_id, self._clock_ms() / 1000)
        if wait_s > 0:
            raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)
        return self._make(user_id, LIFE_MS)

    def make_for_sso(self, user_id: UserId) -> str:
        """A token that a browser takes to a client, to which its user has just agreed."""
        return self._make(user_id, SSO_LIFE_MS)

    def _make(self, user_id: UserId, life_ms: int) -> str:
        token = secrets.token_urlsafe(32)
        self._tokens[_hash(token)] = (user_id, self._clock_ms() + life_ms)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return token

    def take(self, token: str) -> UserId | None:
        """Whose token it is; it is used up by this. None: no such token, or it came too late."""
        found = self._tokens.pop(_hash(token), None)
        return found[0] if found is not None and self._clock_ms() < found[1] else None

    def forget(self, user_id: UserId) -> None:
        """Nobody comes in with a token of this user any more."""
        for key in [key for key, (user, _) in self._tokens.items() if user == user_id]:
            del self._tokens[key]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
