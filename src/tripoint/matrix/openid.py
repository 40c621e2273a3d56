"""OpenID tokens: a user shows another service who they are, and the service asks here whether that is so.

A token needs no memory: it holds the user and the end of its life, under a code that only this server can make. It
opens nothing else. spec: Matrix client-server "OpenID"; server-server-api "OpenID"
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import ServerName, UserId
from tripoint.matrix.errors import MatrixError, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

LIFE_S = 3600


class OpenIdEndpoints:
    """`secret`: 32 bytes of this server's own."""

    def __init__(
        self, server: ServerName, accounts: AccountService, secret: bytes, now_ms: Callable[[], int]
    ) -> None:
        self._server = server
        self._accounts = accounts
        self._key = hmac.digest(secret, b"tripoint openid", "sha256")
        self._now_ms = now_ms

    @endpoint(
        "POST",
        "/_matrix/client/v3/user/{userId}/openid/request_token",
        "/_matrix/client/r0/user/{userId}/openid/request_token",
    )
    async def request_token(self, call: Call) -> Response:
        call.json_or_empty()
        if call.path["userId"] != call.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "You can show others who you are, and nobody else")
        return json_response(
            {
                "access_token": self._token(call.user_id, self._now_ms() + LIFE_S * 1000),
                "token_type": "Bearer",
                "matrix_server_name": self._server,
                "expires_in": LIFE_S,
            }
        )

    @endpoint("GET", "/_matrix/federation/v1/openid/userinfo", auth=Auth.NONE)
    async def userinfo(self, call: Call) -> Response:
        token = call.query("access_token")
        if not token:
            raise missing("access_token")
        user_id = self._owner(token)
        if user_id is None or not await self._accounts.is_local_user(user_id):
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "That token is not known, or has expired")
        return json_response({"sub": user_id})

    def _token(self, user_id: UserId, ends_ms: int) -> str:
        said = f"{ends_ms} {user_id}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, said, sha256) + said).decode().rstrip("=")

    def _owner(self, token: str) -> UserId | None:
        try:
            data = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError:
            return None
        code, said = data[:32], data[32:]
        if not hmac.compare_digest(code, hmac.digest(self._key, said, sha256)):
            return None
        ends_ms, _, user_id = said.decode().partition(" ")
        return UserId(user_id) if self._now_ms() < int(ends_ms) else None
