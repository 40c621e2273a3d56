"""Who is logged in on the pages: a cookie, kept by its SHA-256.

It lets somebody agree to clients and manage the account. It is no access token, and no protocol takes it.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from tripoint.accounts.commit import commit
from tripoint.accounts.ports import Account
from tripoint.core.ids import UserId
from tripoint.store.interface import AccountStore
from tripoint.store.oauth_writes import PutBrowserSession
from tripoint.store.stream import Stream

LIFE_MS: Final = 14 * 86_400_000


class Visit(Struct, frozen=True):
    """A browser in which somebody is logged in."""

    account: Account
    token_hash: bytes


class Browsers:
    """Sessions of browsers. `account` finds an account."""

    def __init__(
        self,
        store: AccountStore,
        stream: Stream,
        account: Callable[[UserId], Awaitable[Account | None]],
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._stream = stream
        self._account = account
        self._clock_ms = clock_ms

    async def open(self, account: Account) -> str:
        """Log somebody in; what the cookie says. SERVER_BUSY."""
        cookie = secrets.token_urlsafe(32)
        now_ms = self._clock_ms()
        await commit(self._stream, [PutBrowserSession(_hash(cookie), account.user_id, now_ms, now_ms + LIFE_MS)])
        return cookie

    async def find(self, cookie: str) -> Visit | None:
        """Who is logged in with this cookie; None too where the account is locked or closed."""
        row = await self._store.load_browser_session(_hash(cookie))
        if row is None or row.user_id is None or row.expires_ts_ms <= self._clock_ms():
            return None
        account = await self._account(row.user_id)
        if account is None or account.locked or account.deactivated:
            return None
        return Visit(account, row.token_hash)

    async def close(self, visit: Visit) -> None:
        """Log out."""
        await commit(self._stream, [PutBrowserSession(visit.token_hash, None, 0, 0)])


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
