"""Making accounts with a secret of the configuration, for scripts that have no administrator's token.

Off unless accounts.registration_shared_secret is set. The request is proven by an HMAC-SHA1 over a nonce, which is good
once and for a minute, and what is asked for; so the secret itself never travels. docs/operate/administration.md
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import ServerName
from tripoint.matrix.admin.asking import V1, not_here
from tripoint.matrix.body import bool_in, needed_text, text_in
from tripoint.matrix.errors import MatrixError, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import SetProfile
from tripoint.rooms.ports import RoomService

LIFE_S: Final = 60.0
# More than anybody needs within a minute; the oldest go first.
MAX_NONCES: Final = 1000


class SharedSecretEndpoints:
    """`clock_s` is monotonic. An empty `secret`: it is off."""

    def __init__(
        self,
        accounts: AccountService,
        rooms: RoomService,
        server: ServerName,
        secret: str,
        clock_s: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._rooms = rooms
        self._server = server
        self._secret = secret.encode()
        self._clock_s = clock_s
        self._nonces: dict[str, float] = {}

    @endpoint("GET", f"{V1}/register", auth=Auth.NONE)
    async def nonce(self, call: Call) -> Response:
        self._check_on()
        nonce = secrets.token_hex(32)
        while len(self._nonces) >= MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[nonce] = self._clock_s()
        return json_response({"nonce": nonce})

    @endpoint("POST", f"{V1}/register", auth=Auth.NONE)
    async def register(self, call: Call) -> Response:
        self._check_on()
        body = call.json()
        made = self._nonces.pop(needed_text(body, "nonce"), None)
        if made is None or made + LIFE_S < self._clock_s():
            raise MatrixError(400, "M_UNKNOWN", "That nonce was used, has expired, or is none of this server's")
        name, password = needed_text(body, "username"), needed_text(body, "password")
        admin, given = bool_in(body, "admin") is True, needed_text(body, "mac")
        if body.get("user_type"):
            raise not_here("This server has no types of users")
        parts = (str(body["nonce"]), name, password, "admin" if admin else "notadmin")
        right = hmac.new(self._secret, "\0".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha1).hexdigest()
        if not hmac.compare_digest(right.encode(), given.encode("utf-8", "surrogatepass")):
            raise MatrixError(403, "M_UNKNOWN", "HMAC incorrect")
        account = await self._accounts.add_account(name.lower(), password, admin=admin)
        shown = text_in(body, "displayname")
        if shown:
            await self._rooms.do(SetProfile(actor=account.user_id, field="displayname", value=shown))
        if bool_in(body, "inhibit_login"):
            return json_response({"user_id": account.user_id, "home_server": self._server})
        made_in = await self._accounts.log_in(
            account, protocol="matrix", tokens=True, refreshable=bool_in(body, "refresh_token") is True
        )
        return json_response(made_in.body(self._server))

    def _check_on(self) -> None:
        if not self._secret:
            raise not_here("Registration by a shared secret is not enabled")
