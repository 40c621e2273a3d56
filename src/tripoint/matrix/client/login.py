"""Getting in and out: log-in, refresh, log-out, passwords, the end of an account. New accounts: registration.py.

spec: Matrix client-server "Account registration and management", "Login", "User-Interactive Authentication"
"""

import hashlib

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.contacts import Contacts, Validation
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import Account, AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import is_loopback
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import InvalidId, parse_user_id, split_user_id
from tripoint.core.oauth.metadata import ACCOUNT, CROSS_SIGNING
from tripoint.matrix.appservice.identity import service_of
from tripoint.matrix.body import needed_text, text_in
from tripoint.matrix.client.pages import sso_flow
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.uia import Asked, UserInteractive
from tripoint.net.http import Response

EMAIL = "m.login.email.identity"
APP_SERVICE = "m.login.application_service"


class LogInEndpoints:
    def __init__(
        self,
        accounts: AccountService,
        uia: UserInteractive,
        oauth: Authorization,
        *,
        plaintext_passwords: bool,
    ) -> None:
        self._plaintext_passwords = plaintext_passwords
        self._accounts = accounts
        self._uia = uia
        self._oauth = oauth

    @endpoint("GET", "/_matrix/client/v3/login", "/_matrix/client/r0/login", auth=Auth.NONE)
    async def flows(self, call: Call) -> Response:
        sso = sso_flow(self._oauth)
        flows: list[Json] = [{"type": "m.login.password"}, {"type": "m.login.token", "get_login_token": True}]
        if self._accounts.app_services.all:
            flows.append({"type": APP_SERVICE})
        return json_response({"flows": flows if sso is None else [sso, *flows]})

    @endpoint("POST", "/_matrix/client/v3/login", "/_matrix/client/r0/login", auth=Auth.NONE)
    async def log_in(self, call: Call) -> Response:
        body = call.json()
        if body.get("type") == "m.login.token":
            return json_response(await self.open(await self._by_token(call, body), body))
        if body.get("type") == APP_SERVICE:
            return json_response(await self.open(await self._by_service(call, body), body))
        if needed_text(body, "type") != "m.login.password":
            raise MatrixError(400, "M_UNKNOWN", "This server knows log-in by m.login.password and m.login.token")
        password = needed_text(body, "password")
        name = await self._name_in(body)
        if name is None:
            raise MatrixError(403, "M_FORBIDDEN", "Wrong user name or password")
        self.check_secure(call)
        account = await self._accounts.check_password(name, password, address=call.request.address)
        return json_response(await self.open(account, body))

    async def _by_service(self, call: Call, body: JsonObject) -> Account:
        """spec: application-service-api "Server admin style permissions" """
        service = service_of(self._accounts, call)
        localpart = self._localpart(_identifier(body))
        user_id = None if localpart is None else self._accounts.user_id(localpart)
        if user_id is None or not self._accounts.app_services.may_speak_as(service, user_id):
            raise MatrixError(400, "M_EXCLUSIVE", "That user is in no namespace of this service")
        account = await self._accounts.account(user_id)
        if account is None or account.guest:
            raise MatrixError(403, "M_FORBIDDEN", "There is no such user; register it first")
        return account

    async def _by_token(self, call: Call, body: JsonObject) -> Account:
        """spec: "Token-based": the token stands for the user, whatever else the request names."""
        token = needed_text(body, "token")
        self.check_secure(call)
        return await self._accounts.check_login_token(token, address=call.request.address)

    @endpoint("POST", "/_matrix/client/v1/login/get_token")
    async def login_token(self, call: Call) -> Response:
        """Always asks for the password: each further client is a decision of its own (spec)."""
        self.check_secure(call)
        if call.caller.service is not None:
            raise MatrixError(403, "M_FORBIDDEN", "An application service logs in by m.login.application_service")
        await self._confirm(call, call.json_or_empty(), "login token")
        token, life_ms = await self._accounts.make_login_token(call.user_id)
        return json_response({"login_token": token, "expires_in_ms": life_ms})

    async def _name_in(self, body: JsonObject) -> str | None:
        """The account that a log-in or a stage names; None for another server's."""
        identifier = body.get("identifier")
        if not isinstance(identifier, dict) or identifier.get("type") != "m.id.thirdparty":
            return self._localpart(_identifier(body))
        medium, address = needed_text(identifier, "medium"), needed_text(identifier, "address")
        owner = await self._accounts.contacts.owner(medium, address)
        # spec: "In the case that the homeserver does not know about the supplied 3PID": as a wrong password, after as
        # long; the name is one that nobody can have, and each unknown address has its own.
        return split_user_id(owner)[0] if owner is not None else hashlib.sha256(address.encode()).hexdigest()

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

    async def open(self, account: Account, body: JsonObject) -> JsonObject:
        """A device for an account, as the body of a log-in or a registration wishes it; the answer."""
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
        opened = await self._accounts.refresh(needed_text(call.json(), "refresh_token"))
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
            {
                "user_id": call.user_id,
                **({"device_id": call.caller.device_id} if call.caller.device_id is not None else {}),
                "is_guest": call.caller.account.guest,
            }
        )

    @endpoint("POST", "/_matrix/client/v3/account/password", auth=Auth.OPTIONAL)
    async def change_password(self, call: Call) -> Response:
        body = call.json()
        password = text_in(body, "new_password")
        if call.maybe_caller is None:
            return await self._reset_password(call, body, password)
        if call.caller.account.guest:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests have no password")
        if call.caller.service is not None:
            # spec: application-service-api "Identity assertion": "except for Account Management"
            raise MatrixError(403, "M_FORBIDDEN", "An application service sets no passwords")
        if password is None:
            raise missing("new_password")
        await self._confirm(call, body, "password")
        await self._accounts.change_password(
            call.user_id,
            password,
            keep_device=call.device_id,
            logout_devices=body.get("logout_devices", True) is not False,
        )
        return EMPTY

    async def _reset_password(self, call: Call, body: JsonObject, password: str | None) -> Response:
        """Without an access token: by an e-mail address of the account. spec: POST /account/password, "The homeserver
        may change the flows available depending on whether a valid access token is provided" """
        if not self._accounts.contacts.is_on:
            raise MatrixError(401, "M_MISSING_TOKEN", "This needs an access token")
        asked = Asked("password reset", (EMAIL,))

        async def check(stage: str, auth: JsonObject) -> None:
            await shown_email(self._accounts.contacts, Purpose.RESET, auth)

        auth = body.get("auth")
        if isinstance(auth, dict) and password is None:
            raise missing("new_password")
        done = await self._uia.collect(auth, asked, check)
        if password is None:
            raise missing("new_password")
        self.check_secure(call)
        shown = await shown_email(self._accounts.contacts, Purpose.RESET, done[EMAIL])
        await self._accounts.reset_password(
            shown,
            password,
            address=call.request.address,
            logout_devices=body.get("logout_devices", True) is not False,
        )
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/account/deactivate")
    async def deactivate(self, call: Call) -> Response:
        await self._confirm(call, call.json_or_empty(), "deactivate")
        server = call.json_or_empty().get("id_server")
        unbound = await self._accounts.bindings.unbind_all(call.user_id, server if isinstance(server, str) else None)
        await self._accounts.deactivate(call.user_id, erase=call.json_or_empty().get("erase") is True)
        return json_response({"id_server_unbind_result": "success" if unbound else "no-support"})

    async def _confirm(self, call: Call, body: JsonObject, what: str) -> None:
        """The caller gives the password once more. spec: "Password-based" UIA stage."""
        await self.check_password_stage(call, body.get("auth"), what)

    def check_secure(self, call: Call) -> None:
        """A password crosses no network in the clear: TLS, or this machine itself (see [listen])."""
        local = self._plaintext_passwords and is_loopback(call.request.address)
        if not (call.request.secure or local):
            raise AccountRefused(AccountRefusal.TLS_REQUIRED)

    async def check_password_stage(self, call: Call, given: object, what: str) -> None:
        """The stage m.login.password, which is all that `what` asks for; nothing of an application service."""
        if call.caller.service is not None:
            # spec: application-service-api "Device management", "Cross-signing": "MUST NOT require"
            return
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
            raise self._uia.failed(asked, "M_FORBIDDEN", "That is shown on the page of this server", shown.session)
        password = shown.auth.get("password")
        user = await self._name_in(shown.auth)
        if not isinstance(password, str) or user is None:
            raise bad_json("m.login.password needs an identifier and a password")
        if self._accounts.user_id(user) != call.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "That is not your account")
        try:
            self.check_secure(call)
            await self._accounts.check_password(user, password, address=call.request.address)
        except AccountRefused as refused:
            if refused.refusal is AccountRefusal.WRONG_CREDENTIALS:
                # spec: a failed stage is 401 with the flows again, not the 403 of /login.
                raise self._uia.failed(asked, "M_FORBIDDEN", refused.text, shown.session) from refused
            raise
        self._uia.passed(shown)

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
            raise MatrixError(400, "M_UNKNOWN", "This server knows identifiers of type m.id.user and m.id.thirdparty")
        return needed_text(identifier, "user")
    if identifier is not None:
        raise bad_json("identifier is an object")
    user = text_in(body, "user")
    if user is None:
        raise missing("identifier")
    return user


async def shown_email(contacts: Contacts, purpose: Purpose, auth: JsonObject) -> Validation:
    """What the stage m.login.email.identity shows. NOT_CONFIRMED."""
    creds = auth.get("threepid_creds")
    # COMPAT: clients from before it was specified wrote it so.
    creds = creds if isinstance(creds, dict) else auth.get("threepidCreds")
    if not isinstance(creds, dict):
        raise missing("threepid_creds")
    sid, secret = needed_text(creds, "sid"), needed_text(creds, "client_secret")
    return await contacts.check_shown(purpose, sid, secret)
