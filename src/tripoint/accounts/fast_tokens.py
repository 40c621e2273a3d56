"""Tokens with which a client that has logged in once comes back without its password (XEP-0484), one or two for each.

No token is kept anywhere. One is made of the server's secret, of a salt that is stored, and of the stored form of the
account's password: who reads the database finds nothing to log in with, and another password ends all tokens of the
account by itself. A token goes with the device that it was given to, however that ends.
spec: XEP-0484 3.3-3.6, 4.2, 5.1. What is proven to the server, and what it proves, is sasl.py's.
"""

import base64
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.commit import commit
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.sasl import HashedToken, ScramVerifier
from tripoint.core.ids import DeviceId, UserId
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutFastToken

# spec: XEP-0484 4.2: "a reasonable lifetime, reflective of a deployment's policy on inactive devices".
LIFE_MS: Final = 21 * 86_400_000
# A token that is used after this gets its successor: a copy of one is worth little soon after it was made.
ROTATE_MS: Final = 86_400_000
# Clients of one account; who has more loses those that were not used for longest.
MAX_CLIENTS: Final = 50
_SALT_BYTES: Final = 16
# spec: XEP-0484 5.1
NEW: Final = "new"
CURRENT: Final = "current"


class Granted(Struct, frozen=True):
    """A new token, and when it ends."""

    token: str
    expires_ts_ms: int


class Recognized(Struct, frozen=True):
    """A token that a client has shown to know. `proof`: what shows that we know it too."""

    row: PutFastToken
    proof: bytes

    @property
    def device_id(self) -> DeviceId:
        return DeviceId(self.row.device_id)


class FastTokens:
    """`verifier` gives the stored form of an account's password; `secret` is the server's, the same at every start."""

    def __init__(
        self,
        store: AccountStore,
        stream: Stream,
        verifier: Callable[[UserId], Awaitable[ScramVerifier]],
        secret: bytes,
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._stream = stream
        self._verifier = verifier
        self._secret = hmac.digest(secret, b"fast tokens", "sha256")
        self._clock_ms = clock_ms
        self._turns = InTurn()

    async def recognize(self, user_id: UserId, client: str, shown: HashedToken, count: int | None) -> Recognized | None:
        """The token that a client of this id has shown; None where it has none that fits. EXPIRED_TOKEN.

        A token holds for its own mechanism alone, and a count only once. spec: XEP-0484 3.4, 5.1
        """
        for row in await self._rows_of(user_id, client):
            key = (await self._token(row)).encode()
            if not shown.is_of(key) or row.mechanism != shown.mechanism:
                continue
            if count is not None and count <= row.count:
                return None
            if row.expires_ts_ms <= self._clock_ms():
                raise AccountRefused(AccountRefusal.EXPIRED_TOKEN, "Your token has expired; log in with your password")
            devices = await self._store.load_devices(user_id)
            if all(device.device_id != row.device_id for device in devices):
                return None
            return Recognized(replace(row, count=row.count if count is None else count), shown.proof(key))
        return None

    async def used(self, known: Recognized, *, invalidate: bool) -> None:
        """A client has logged in with it: the tokens that it had before end, and this one too where it asks for that.
        SERVER_BUSY; UNKNOWN_TOKEN where the same one was used at the same time with this count.

        spec: XEP-0484 3.5, 3.6, 5.1
        """
        row = known.row
        async with self._turns(row.user_id):
            rows = await self._rows_of(row.user_id, row.client)
            there = next((one for one in rows if one.salt == row.salt), None)
            if there is None or (row.count and there.count > row.count):
                raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
            writes = [replace(one, salt=None) for one in rows if invalidate or one.slot == NEW == there.slot]
            if not invalidate and (there.slot == NEW or row.count != there.count):
                writes.append(replace(row, slot=CURRENT))
            await commit(self._stream, writes)

    def is_due(self, known: Recognized) -> bool:
        """Whether its successor is to be given. spec: XEP-0484 3.5"""
        return known.row.expires_ts_ms - LIFE_MS + ROTATE_MS <= self._clock_ms()

    async def grant(self, user_id: UserId, client: str, device_id: DeviceId, mechanism: str) -> Granted:
        """A new token for a client, which holds beside the one that it uses until it is used itself. SERVER_BUSY.

        spec: XEP-0484 3.3, 3.5, 5.1
        """
        expires_ts_ms = self._clock_ms() + LIFE_MS
        salt = secrets.token_bytes(_SALT_BYTES)
        row = PutFastToken(user_id, client, NEW, device_id, mechanism, salt, expires_ts_ms, 0)
        async with self._turns(user_id):
            rows = await self._store.load_fast_tokens(user_id)
            await commit(self._stream, [*(replace(one, salt=None) for one in self._in_excess(rows, client)), row])
        return Granted(await self._token(row), expires_ts_ms)

    def _in_excess(self, rows: Sequence[PutFastToken], client: str) -> list[PutFastToken]:
        """What has expired, and tokens of those clients for which there is no room beside this one."""
        now_ms = self._clock_ms()
        newest: dict[str, int] = {}
        for row in rows:
            if row.client != client:
                newest[row.client] = max(newest.get(row.client, 0), row.expires_ts_ms)
        kept = {client, *sorted(newest, key=newest.__getitem__, reverse=True)[: MAX_CLIENTS - 1]}
        return [row for row in rows if row.expires_ts_ms <= now_ms or row.client not in kept]

    async def _rows_of(self, user_id: UserId, client: str) -> list[PutFastToken]:
        """The new one first. spec: XEP-0484 5.1"""
        rows = [row for row in await self._store.load_fast_tokens(user_id) if row.client == client]
        return sorted(rows, key=lambda row: row.slot != NEW)

    async def _token(self, row: PutFastToken) -> str:
        verifier = await self._verifier(row.user_id)
        made_of = "\0".join((row.user_id, row.client, row.mechanism, verifier.stored_key.hex()))
        digest = hmac.digest(self._secret, made_of.encode() + b"\0" + (row.salt or b""), "sha256")
        return f"tpf_{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
