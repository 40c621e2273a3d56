"""ID tokens of OpenID Connect, for clients that cannot do without one.

COMPAT: matrix-js-sdk asks for the scope `openid` and refuses an answer without an ID token; the Matrix specification
needs neither. To be taken out when no such client is left. Nothing here believes these tokens.
spec: RFC7519, RFC7517; OpenID Connect Core 2, 3.1.3.6
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutMeta

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

_META: Final = "id_token_key"
# spec: OpenID Connect Core 15.1: RS256 is what every client can verify.
ALGORITHM: Final = "RS256"
LIFE_S: Final = 3600


class IdTokens:
    """Signs with a key that is made when it is first needed, and kept with the database."""

    def __init__(self, store: AccountStore, stream: Stream, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._key: RSAKey | None = None
        self._making = asyncio.Lock()

    async def keys(self) -> JsonObject:
        """The public half, as jwks_uri gives it out. spec: RFC7517 5"""
        key = await self._load()
        public: dict[str, Any] = dict(key.as_dict(private=False))
        return {"keys": [{**public, "kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}]}

    async def make(
        self, issuer: str, client_id: str, user_id: UserId, nonce: str | None, access_token: str
    ) -> str:
        """An ID token for a client that was just given an access token."""
        # Few servers are ever asked for one: what makes them is loaded then.
        from joserfc import jwt

        key = await self._load()
        now_s = self._clock_ms() // 1000
        half = hashlib.sha256(access_token.encode("ascii")).digest()[:16]
        claims: dict[str, Any] = {
            "iss": issuer,
            "sub": user_id,
            "aud": client_id,
            "iat": now_s,
            "exp": now_s + LIFE_S,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        return jwt.encode({"alg": ALGORITHM, "kid": key.thumbprint()}, claims, key)

    async def _load(self) -> "RSAKey":
        from joserfc.jwk import RSAKey

        async with self._making:
            if self._key is None:
                pem = await self._store.load_meta(_META)
                if pem is not None:
                    self._key = RSAKey.import_key(pem)
                else:
                    # Some tenths of a second of a core, once in a server's life.
                    key = await asyncio.to_thread(RSAKey.generate_key, 2048)
                    try:
                        await self._stream.commit([PutMeta(_META, key.as_pem(private=True).decode())])
                    except StoreError as error:
                        raise AccountRefused(AccountRefusal.SERVER_BUSY) from error
                    self._key = key
            return self._key
