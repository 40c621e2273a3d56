"""Codes that are traded for tokens: those that browsers carry, and those that devices ask for again and again.

On disk, by their SHA-256: a restart between the click and the trade loses nothing, and a code that comes a second time
is known. spec: RFC6749 4.1.2, 4.1.3, 10.5; RFC8628 3.2, 3.5
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from tripoint.accounts.commit import commit
from tripoint.core.ids import UserId
from tripoint.core.oauth.requests import USER_CODE_LENGTH, USER_CODE_LETTERS
from tripoint.store.interface import AccountStore
from tripoint.store.oauth_writes import PutOAuthGrant
from tripoint.store.stream import Stream

# spec: RFC6749 4.1.2: ten minutes at most. A client trades its code at once, over a slow network within seconds.
CODE_MS: Final = 120_000
# A used code is known for as long as tokens of it could have been stolen unnoticed.
USED_MS: Final = 86_400_000
# spec: RFC8628 3.2: as long as it takes to find the other device and type.
DEVICE_MS: Final = 900_000


class CodeGrant(Struct, frozen=True, tag="code"):
    """What an authorisation code stands for. `used`: it was traded already."""

    client_id: str
    redirect_uri: str
    named_redirect: bool
    challenge: str
    scope: str
    device_id: str
    user_id: UserId
    openid: bool = False
    nonce: str | None = None
    used: bool = False


class DeviceGrant(Struct, frozen=True, tag="device"):
    """What a device code stands for. `user_id`: who has answered; `allowed`: how; None: nobody has."""

    client_id: str
    scope: str
    device_id: str
    user_code: str
    user_id: UserId | None = None
    allowed: bool | None = None


Grant = CodeGrant | DeviceGrant


class Codes:
    """Codes of both kinds."""

    def __init__(self, store: AccountStore, stream: Stream, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms

    async def put_code(self, grant: CodeGrant) -> str:
        """A new authorisation code."""
        code = secrets.token_urlsafe(32)
        await self._put(_hash(code), None, grant, self._clock_ms() + CODE_MS)
        return code

    async def put_device(self, client_id: str, scope: str, device_id: str) -> tuple[str, str]:
        """A new device code and its user code."""
        device_code = secrets.token_urlsafe(32)
        while True:
            user_code = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))
            if await self._store.load_oauth_grant_of(user_code) is None:
                break
        grant = DeviceGrant(client_id, scope, device_id, user_code)
        await self._put(_hash(device_code), user_code, grant, self._clock_ms() + DEVICE_MS)
        return device_code, user_code

    async def find(self, code: str) -> tuple[Grant, bool] | None:
        """What a code stands for, and whether it has expired."""
        row = await self._store.load_oauth_grant(_hash(code))
        if row is None or row.content is None:
            return None
        return msgspec.msgpack.decode(row.content, type=Grant), row.expires_ts_ms <= self._clock_ms()

    async def find_device(self, user_code: str) -> DeviceGrant | None:
        """What waits for an answer under a user code."""
        row = await self._store.load_oauth_grant_of(user_code)
        if row is None or row.content is None or row.expires_ts_ms <= self._clock_ms():
            return None
        grant = msgspec.msgpack.decode(row.content, type=Grant)
        return grant if isinstance(grant, DeviceGrant) and grant.allowed is None else None

    async def answer_device(self, user_code: str, grant: DeviceGrant) -> None:
        """Somebody has answered."""
        row = await self._store.load_oauth_grant_of(user_code)
        if row is not None:
            await self._put(row.code_hash, user_code, grant, row.expires_ts_ms)

    async def use(self, code: str, grant: CodeGrant) -> None:
        """A code is traded; it is known as used from now on."""
        used = msgspec.structs.replace(grant, used=True)
        await self._put(_hash(code), None, used, self._clock_ms() + USED_MS)

    async def drop(self, code: str) -> None:
        """A device code is traded, or of no use any more."""
        await commit(self._stream, [PutOAuthGrant(_hash(code), None, None, 0)])

    async def _put(self, code_hash: bytes, user_code: str | None, grant: Grant, expires_ts_ms: int) -> None:
        await commit(self._stream, [PutOAuthGrant(code_hash, user_code, msgspec.msgpack.encode(grant), expires_ts_ms)])


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
