"""Registered clients: kept while they are used, and as many as the disk is meant for.

spec: Matrix client-server-api dynamic-client-registration-flow; RFC7591 3
"""

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import network_of
from tripoint.core.canonical_json import JsonObject
from tripoint.core.oauth.clients import Client, read_client
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.oauth_writes import PutOAuthClient, TrimOAuth
from tripoint.store.stream import Stream

log = structlog.get_logger("tripoint")

# A client registers at the start of each login, so one address (a household, an office) does it some times a day.
RATE: Final = Rate(30, 1 / 20)
# Clients that nobody is logged in with go after a day; a flow takes minutes.
UNUSED_MS: Final = 86_400_000
UNUSED_WHEN_FULL_MS: Final = 3_600_000
TRIM_MS: Final = 600_000
# What is over is known for a while, so that whoever comes too late is told so.
KEPT_MS: Final = 3_600_000
# Identical ones share an id: there are some dozens in the world.
MAX_CLIENTS: Final = 20_000
# A client that comes again and again is not written again and again.
TOUCH_MS: Final = 3_600_000


class Clients:
    """Registered clients. `clock_ms` is the wall clock."""

    def __init__(self, store: AccountStore, stream: Stream, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._pace = TokenBuckets(RATE)
        self._trimmed_ms = 0

    async def register(self, body: JsonObject, *, address: str) -> Client:
        """A client for what it says of itself; the same for the same. OAuthError, AccountRefused(RATE_LIMITED,
        SERVER_BUSY)."""
        now_ms = self._clock_ms()
        wait_s = self._pace.take(network_of(address), now_ms / 1000)
        if wait_s > 0:
            raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)
        client = read_client(body)
        await self.trim()
        known = await self._store.load_oauth_client(client.client_id)
        if known is None and await self._is_full():
            log.warning("oauth.too_many_clients", limit=MAX_CLIENTS)
            raise AccountRefused(AccountRefusal.SERVER_BUSY, "Too many clients are registered; try again later")
        if known is None or now_ms - known.used_ts_ms > TOUCH_MS:
            await self._put(client)
        return client

    async def _is_full(self) -> bool:
        """Whether there is no room for one more, even without those that nobody has used for an hour."""
        if await self._store.count_oauth_clients() < MAX_CLIENTS:
            return False
        await self._trim(UNUSED_WHEN_FULL_MS)
        return await self._store.count_oauth_clients() >= MAX_CLIENTS

    async def find(self, client_id: str) -> Client | None:
        """A registered client."""
        row = await self._store.load_oauth_client(client_id)
        return None if row is None else msgspec.json.decode(row.metadata, type=Client)

    async def used(self, client: Client) -> None:
        """Somebody lets the client in."""
        await self._put(client)

    async def _put(self, client: Client) -> None:
        row = PutOAuthClient(client.client_id, msgspec.json.encode(client), self._clock_ms())
        try:
            await self._stream.commit([row])
        except StoreError as error:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from error

    async def trim(self) -> None:
        """Every few minutes: what is over goes. spec: "The server MUST NOT delete client registrations that have an
        active session"."""
        now_ms = self._clock_ms()
        if now_ms - self._trimmed_ms < TRIM_MS:
            return
        self._trimmed_ms = now_ms
        await self._trim(UNUSED_MS)

    async def _trim(self, unused_ms: int) -> None:
        now_ms = self._clock_ms()
        try:
            await self._stream.commit([TrimOAuth(now_ms - KEPT_MS, now_ms - unused_ms)])
        except StoreError as error:
            log.warning("oauth.not_trimmed", error=str(error))
