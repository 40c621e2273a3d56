"""Getting in and out: registration, log-in, refresh, log-out, passwords, the end of an account.

spec: Matrix client-server "Account registration and management", "Login", "User-Interactive Authentication"
"""

from collections.abc import Callable

from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import Account, AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import is_loopback
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import InvalidId, parse_user_id, split_user_id
from tripoint.core.oauth.metadata import ACCOUNT, CROSS_SIGNING
from tripoint.matrix.client.pages import sso_flow
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.uia import Asked, UserInteractive
from tripoint.net.http import Response

_BAD_TOKEN = (AccountRefusal.REGISTRATION_TOKEN_NEEDED, AccountRefusal.BAD_REGISTRATION_TOKEN)


class LogInEndpoints:
    """`random_name` makes a localpart for clients that register without one."""

    def __init__(
        self,
        accounts: AccountService,
        uia: UserInteractive,
        oauth: Authorization,
        random_name: Callable[[], str],
        *,
        plaintext_passwords: bool,
    ) -> None:
        self._plaintext_passwords = plaintext_passwords
        self._accounts = accounts
        self._uia = uia
        self._oauth = oauth
        self._random_name = random_name

    @endpoint("GET", "/_matrix/client/v3/login", "/_matrix/client/r0/login", auth=Auth.NONE)
    async def flows(self, call: Call) -> Response:
        sso = sso_flow(self._oauth)
        flows: list[Json] = [{"type": "m.login.password"}, {"type": "m.login.token", "get_login_token": True}]
        return json_response({"flows": flows if sso is None else [sso, *flows]})

    @endpoint("POST", "/_matrix/client/v3/login", "/_matrix/client/r0/login", auth=Auth.NONE)
    async def log_in(self, call: Call) -> Response:
        body = call.json()
        if body.get("type") == "m.login.token":
            return json_response(await self._open(await self._by_token(call, body), body))
        if body.get("type") != "m.login.password":
            raise MatrixError(400, "M_UNKNOWN", "This server knows log-in by m.login.password and m.login.token")
        password = body.get("password")
        if not isinstance(password, str):
            raise missing("password")
        name = self._localpart(_identifier(body))
        if name is None:
            raise MatrixError(403, "M_FORBIDDEN", "Wrong user name or password")
        self._check_secure(call)
        account = await self._accounts.check_password(name, password, address=call.request.address)
        return json_response(await self._open(account, body))

    async def _by_token(self, call: Call, body: JsonObject) -> Account:
        """spec: "Token-based": the token stands for the user, whatever else the request names."""
        token = body.get("token")
        if not isinstance(token, str):
            raise missing("token")
        self._check_secure(call)
        return await self._accounts.check_login_token(token, address=call.request.address)

    @endpoint("POST", "/_matrix/client/v1/login/get_token")
    async def login_token(self, call: Call) -> Response:
        """Always asks for the password: each further client is a decision of its own (spec)."""
        self._check_secure(call)
        await self._confirm(call, call.json_or_empty(), "login token")
        token, life_ms = await self._accounts.make_login_token(call.user_id)
        return json_response({"login_token": token, "expires_in_ms": life_ms})

    def _localpart(self, user: str) -> str | None:
        """The account meant by a localpart or a whole user id; None for another server's."""
        if not user.startswith("@"):
            return user.lower()
        try:
            localpart, server = split_user_id(parse_user_id(user))
        except InvalidId:
            return None
        # Names of this server have no capitals, whatever a person types.
        return localpart.lower() if server == self._accounts.server_name else None

    async def _open(self, account: Account, body: JsonObject) -> JsonObject:
        device_id, name = body.get("device_id"), body.get("initial_device_display_name")
        if device_id is not None and not isinstance(device_id, str):
            raise invalid("device_id must be a text")
        opened = await self._accounts.log_in(
            account,
            protocol="matrix",
            device_id=device_id or None,
            display_name=name if isinstance(name, str) else None,
            tokens=True,
            refreshable=body.get("refresh_token") is True,
        )
        return opened.body(self._accounts.server_name)

    @endpoint("POST", "/_matrix/client/v3/refresh", auth=Auth.NONE)
    async def refresh(self, call: Call) -> Response:
        token = call.json().get("refresh_token")
        if not isinstance(token, str):
            raise missing("refresh_token")
        opened = await self._accounts.refresh(token)
        return json_response(
            {
                "access_token": opened.access_token or "",
                "refresh_token": opened.refresh_token or "",
                "expires_in_ms": opened.expires_in_ms or 0,
            }
        )

    @endpoint("POST", "/_matrix/client/v3/logout", "/_matrix/client/r0/logout", auth=Auth.LOCKED_TOO, guests=True)
    async def log_out(self, call: Call) -> Response:
        await self._accounts.log_out(call.user_id, [call.device_id])
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/logout/all", auth=Auth.LOCKED_TOO, guests=True)
    async def log_out_all(self, call: Call) -> Response:
        await self._accounts.log_out_all(call.user_id)
        return EMPTY

    @endpoint("GET", "/_matrix/client/v3/account/whoami", "/_matrix/client/r0/account/whoami", guests=True)
    async def whoami(self, call: Call) -> Response:
        return json_response(
            {"user_id": call.user_id, "device_id": call.device_id, "is_guest": call.caller.account.guest}
        )

    @endpoint("GET", "/_matrix/client/v3/account/3pid", "/_matrix/client/r0/account/3pid")
    async def third_party_ids(self, call: Call) -> Response:
        """None: an account is known by its name alone, and m.3pid_changes says that this cannot be changed."""
        return json_response({"threepids": []})

    @endpoint("GET", "/_matrix/client/v3/register/available", auth=Auth.NONE)
    async def available(self, call: Call) -> Response:
        name = call.query("username")
        if name is None:
            raise missing("username")
        await self._accounts.check_name(name)
        return json_response({"available": True})

    @endpoint("GET", "/_matrix/client/v1/register/m.login.registration_token/validity", auth=Auth.NONE)
    async def token_validity(self, call: Call) -> Response:
        token = call.query("token")
        if token is None:
            raise missing("token")
        return json_response({"valid": await self._accounts.registration_tokens.is_valid(token)})

    @endpoint("POST", "/_matrix/client/v3/register", "/_matrix/client/r0/register", auth=Auth.NONE)
    async def register(self, call: Call) -> Response:
        kind = call.query("kind") or "user"
        if kind == "guest":
            return await self._register_guest(call)
        if kind != "user":
            raise invalid("kind is user or guest")
        body = call.json()
        guest = await self._guest_of(body)
        name = body.get("username") or self._random_name()
        if not isinstance(name, str):
            raise invalid("username must be a text")
        name = name.lower()
        if guest is None:
            await self._accounts.check_name(name)
        elif name != guest.name:
            # spec: guest-access: "required to specify the username parameter to the value of the local part"
            raise MatrixError(400, "M_INVALID_USERNAME", f"A guest keeps its name: {guest.name}")
        password, auth = body.get("password"), body.get("auth")
        mode = await self._accounts.registration_state()
        stage = "m.login.registration_token" if mode == "token" else "m.login.dummy"
        if isinstance(auth, dict) and not isinstance(password, str) and auth.get("type") == stage:
            raise missing("password")
        asked = Asked("register", (stage,))
        done = self._uia.check(auth, asked).auth
        registration_token = done.get("token") if mode == "token" else None
        if not isinstance(password, str):
            raise missing("password")
        try:
            self._check_secure(call)
            token = registration_token if isinstance(registration_token, str) else None
            address = call.request.address
            if guest is not None:
                account = await self._accounts.upgrade_guest(
                    guest.user_id, password, address=address, registration_token=token
                )
            else:
                account = await self._accounts.register(
                    name, password, address=address, registration_token=token
                )
        except AccountRefused as refused:
            if refused.refusal in _BAD_TOKEN:
                raise self._uia.failed(asked, "M_UNAUTHORIZED", refused.text) from refused
            raise
        if body.get("inhibit_login") is True:
            return json_response({"user_id": account.user_id, "home_server": self._accounts.server_name})
        return json_response(await self._open(account, body))

    async def _register_guest(self, call: Call) -> Response:
        """spec: POST /register: nothing of the body counts but initial_device_display_name"""
        name = call.json_or_empty().get("initial_device_display_name")
        account = await self._accounts.create_matrix_guest(address=call.request.address)
        body: JsonObject = {"initial_device_display_name": name} if isinstance(name, str) else {}
        return json_response(await self._open(account, body))

    async def _guest_of(self, body: JsonObject) -> Account | None:
        """The guest who wants to become an account. spec: guest-access "guest_access_token" """
        token = body.get("guest_access_token")
        if token is None:
            return None
        if not isinstance(token, str):
            raise invalid("guest_access_token must be a text")
        owner = await self._accounts.owner_of_token(token)
        if not owner.account.guest:
            raise MatrixError(403, "M_FORBIDDEN", "That is no guest's access token")
        return owner.account

    @endpoint("POST", "/_matrix/client/v3/account/password")
    async def change_password(self, call: Call) -> Response:
        body = call.json()
        password = body.get("new_password")
        if not isinstance(password, str):
            raise missing("new_password")
        await self._confirm(call, body, "password")
        await self._accounts.change_password(
            call.user_id,
            password,
            keep_device=call.device_id,
            logout_devices=body.get("logout_devices", True) is not False,
        )
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/account/deactivate")
    async def deactivate(self, call: Call) -> Response:
        await self._confirm(call, call.json_or_empty(), "deactivate")
        await self._accounts.deactivate(call.user_id, erase=call.json_or_empty().get("erase") is True)
        return json_response({"id_server_unbind_result": "no-support"})

    async def _confirm(self, call: Call, body: JsonObject, what: str) -> None:
        """The caller gives the password once more. spec: "Password-based" UIA stage."""
        await self.check_password_stage(call, body.get("auth"), what)

    def _check_secure(self, call: Call) -> None:
        """A password crosses no network in the clear: TLS, or this machine itself (see [listen])."""
        local = self._plaintext_passwords and is_loopback(call.request.address)
        if not (call.request.secure or local):
            raise AccountRefused(AccountRefusal.TLS_REQUIRED)

    async def check_password_stage(self, call: Call, given: object, what: str) -> None:
        """The stage m.login.password, which is all that `what` asks for."""
        if call.caller.client_id is not None:
            # spec: oauth-20-api: "The User-Interactive Authentication API is not compatible with the OAuth 2.0 API"
            where = self._oauth.base + ACCOUNT
            raise MatrixError(403, "M_FORBIDDEN", f"This client was let in by OAuth 2.0; that is done at {where}")
        # spec: sso-login: who has no password shows by a provider who they are.
        has_one = await self._accounts.has_password(call.user_id)
        stages = ("m.login.password",) if has_one or not self._oauth.providers else ("m.login.sso",)
        asked = Asked(f"{what} {call.user_id}", stages, what, call.user_id)
        shown = self._uia.check(given, asked)
        if shown.on_page:
            return
        if shown.auth.get("type") == "m.login.sso":
            raise self._uia.failed(asked, "M_FORBIDDEN", "That is shown on the page of this server")
        password = shown.auth.get("password")
        user = self._localpart(_identifier(shown.auth))
        if not isinstance(password, str) or user is None:
            raise bad_json("m.login.password needs an identifier and a password")
        if self._accounts.user_id(user) != call.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "That is not your account")
        try:
            self._check_secure(call)
            await self._accounts.check_password(user, password, address=call.request.address)
        except AccountRefused as refused:
            if refused.refusal is AccountRefusal.WRONG_CREDENTIALS:
                # spec: a failed stage is 401 with the flows again, not the 403 of /login.
                raise self._uia.failed(asked, "M_FORBIDDEN", refused.text) from refused
            raise

    def check_reset_stage(self, call: Call, given: object) -> None:
        """The stage m.oauth: somebody has agreed to new cross-signing keys on the account page.

        spec: oauth-authentication. COMPAT: under the name that it had before it was accepted, too (MSC4312).
        """
        url = f"{self._oauth.base}{ACCOUNT}?action={CROSS_SIGNING}"
        stages = ("m.oauth", "org.matrix.cross_signing_reset")
        asked = Asked(
            f"device_signing {call.user_id}", stages, "", call.user_id, {stage: {"url": url} for stage in stages}
        )
        session = self._uia.session_of(given, asked)
        if session is None:
            self._uia.check(None, asked)
        elif self._oauth.take_reset(call.user_id):
            self._oauth.confirmations.end(session)
        else:
            raise self._uia.again(asked, session)


def _identifier(body: JsonObject) -> str:
    """The user of a log-in: identifier, or the deprecated `user`."""
    identifier = body.get("identifier")
    if isinstance(identifier, dict):
        if identifier.get("type") != "m.id.user":
            raise MatrixError(400, "M_UNKNOWN", "This server knows identifiers of type m.id.user alone")
        user = identifier.get("user")
    else:
        user = body.get("user")
    if not isinstance(user, str):
        raise missing("identifier")
    return user
