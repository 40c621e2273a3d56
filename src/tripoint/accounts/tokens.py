"""Access and refresh tokens: made, found, traded, spent.

Stored as SHA-256 and never written to a log; those in use are answered from memory.
spec: Matrix client-server-api refreshing-access-tokens, refresh-token-grant; RFC6749 6

A refresh token holds until what was given for it is used for the first time, so that a client whose answer was lost
asks again. After that it is spent: kept for a while, so that whoever comes with it is known to have a copy.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.commit import commit
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutToken

# 32 characters of 64: 192 bits.
_TOKEN_BYTES: Final = 24
_CACHED_TOKENS: Final = 100_000
# How long a spent refresh token is known again, and how many of a device: thefts are noticed within days, and a client
# that refreshes every minute must not fill the disk.
SPENT_MS: Final = 30 * 86_400_000
MAX_SPENT: Final = 50


def token_hash(token: str) -> bytes:
    """The form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


# Clients come with the same one many times a minute.
_hash_again = lru_cache(4096)(token_hash)


class LogInTokens(Struct, frozen=True):
    """New tokens of a device. Without a refresh token the access token does not expire."""

    device_id: str
    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None


class Reused(Exception):
    """A refresh token that was spent came again: somebody has a copy of it."""

    def __init__(self, row: PutToken) -> None:
        super().__init__()
        self.row = row


class Tokens:
    """Tokens of all accounts. `life_ms`: how long an access token with a refresh token lives."""

    def __init__(self, store: AccountStore, stream: Stream, clock_ms: Callable[[], int], life_ms: int) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._life_ms = life_ms
        self._cached: dict[bytes, PutToken] = {}
        self._turns = InTurn()

    def make(
        self,
        user_id: UserId,
        device_id: str,
        *,
        refreshable: bool,
        client_id: str | None,
        replaces: bytes | None = None,
        expires_ts_ms: int | None = None,
    ) -> tuple[LogInTokens, list[PutToken]]:
        """New tokens and their rows; keep() them when they are on disk. `expires_ts_ms`: of one without a refresh
        token, which lasts for ever otherwise."""
        access = f"tp_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        expires = self._clock_ms() + self._life_ms if refreshable else expires_ts_ms
        rows = [PutToken(token_hash(access), user_id, device_id, False, expires, client_id, replaces)]
        again = None
        if refreshable:
            again = f"tpr_{secrets.token_urlsafe(_TOKEN_BYTES)}"
            rows.append(PutToken(token_hash(again), user_id, device_id, True, None, client_id, replaces))
        return LogInTokens(device_id, access, again, self._life_ms if refreshable else None), rows

    def keep(self, rows: Sequence[PutToken]) -> None:
        """Answer for these from memory."""
        if len(self._cached) >= _CACHED_TOKENS:
            self._cached.clear()
        for row in rows:
            if not row.refresh:
                self._cached[row.token_hash] = row

    def known(self, access_token: str) -> PutToken | None:
        """The row of a valid access token where it is in memory and nothing else is to be done; find() knows more."""
        row = self._cached.get(_hash_again(access_token))
        if row is None or row.replaces is not None:
            return None
        return row if row.expires_ts_ms is None or row.expires_ts_ms > self._clock_ms() else None

    async def find(self, access_token: str) -> PutToken:
        """The row of a valid access token. UNKNOWN_TOKEN, EXPIRED_TOKEN."""
        digest = token_hash(access_token)
        row = self._cached.get(digest)
        if row is None:
            row = await self._store.load_token(digest)
            if row is None or row.refresh or row.device_id is None:
                raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
            self.keep([row])
        if row.expires_ts_ms is not None and row.expires_ts_ms <= self._clock_ms():
            raise AccountRefused(AccountRefusal.EXPIRED_TOKEN)
        if row.replaces is not None:
            async with self._turns(row.user_id):
                await self._used(digest)
        return row

    async def refresh(self, refresh_token: str, client_id: str | None) -> tuple[UserId, LogInTokens]:
        """Trade a refresh token of this client (None: of the legacy API) for new tokens. UNKNOWN_TOKEN; Reused."""
        digest = token_hash(refresh_token)
        row = await self._store.load_token(digest)
        if row is None or not row.refresh:
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
        async with self._turns(row.user_id):
            row = await self._store.load_token(digest)
            if row is None or row.device_id is None or row.client_id != client_id:
                raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
            if row.spent:
                raise Reused(row)
            await self._used(digest)
            # What was given for it before did not arrive, or was not used.
            unused = [one for one in await self._store.load_tokens(row.user_id) if one.replaces == digest]
            made, fresh = self.make(
                row.user_id, row.device_id, refreshable=True, client_id=client_id, replaces=digest
            )
            dropped = [replace(one, device_id=None) for one in unused]
            await commit(self._stream, [*dropped, *fresh])
            self.forget(dropped)
            self.keep(fresh)
            return row.user_id, made

    async def owner(self, token: str) -> PutToken | None:
        """The row of a token of either kind that still means something."""
        row = await self._store.load_token(token_hash(token))
        return None if row is None or row.spent else row

    async def _used(self, digest: bytes) -> None:
        """A token is used: those in whose place it came end now."""
        row = await self._store.load_token(digest)
        if row is None:
            return
        if row.replaces is None:
            self.keep([row])
            return
        now_ms = self._clock_ms()
        writes: list[PutToken] = []
        spent: list[PutToken] = []
        for one in await self._store.load_tokens(row.user_id):
            if one.device_id != row.device_id:
                continue
            if one.replaces == row.replaces:
                writes.append(replace(one, replaces=None))
            elif one.token_hash == row.replaces:
                spent.append(replace(one, spent=True, replaces=None, expires_ts_ms=now_ms + SPENT_MS))
                writes.append(spent[-1])
            elif one.spent:
                spent.append(one)
            else:
                writes.append(replace(one, device_id=None))
        spent.sort(key=lambda one: -(one.expires_ts_ms or 0))
        writes += [
            replace(one, device_id=None)
            for number, one in enumerate(spent)
            if number >= MAX_SPENT or (one.expires_ts_ms or 0) <= now_ms
        ]
        await commit(self._stream, writes)
        self.forget(writes)
        self.keep([one for one in writes if one.device_id is not None])

    async def dropping(self, user_id: UserId, device_ids: Sequence[str]) -> list[PutToken]:
        """Writes that end every token of these devices; forget() them when they are on disk."""
        rows = [row for row in await self._store.load_tokens(user_id) if row.device_id in device_ids]
        self.forget(rows)
        return [replace(row, device_id=None) for row in rows]

    def forget(self, rows: Sequence[PutToken]) -> None:
        """Once more, when the disk knows: a request that came in between read the old row and kept it."""
        for row in rows:
            self._cached.pop(row.token_hash, None)
