"""New accounts: which names are free, registration, guests and what becomes of them.

spec: Matrix client-server "Account registration and management", "Token-authenticated registration",
"Terms of service at registration"; guest-access
"""

from collections.abc import Callable, Mapping
from typing import Final

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.ports import Account, AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.terms import all_of, read_policies, write_policies
from tripoint.matrix.appservice.identity import service_of
from tripoint.matrix.body import text_in
from tripoint.matrix.client.login import APP_SERVICE, EMAIL, LogInEndpoints, shown_email
from tripoint.matrix.errors import MatrixError, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.uia import Asked, UserInteractive
from tripoint.net.http import Response

TOKEN: Final = "m.login.registration_token"
DUMMY: Final = "m.login.dummy"
TERMS: Final = "m.login.terms"
_AGAIN = (
    AccountRefusal.REGISTRATION_TOKEN_NEEDED,
    AccountRefusal.BAD_REGISTRATION_TOKEN,
    AccountRefusal.TERMS_NEEDED,
)


class RegistrationEndpoints:
    """`random_name` makes a localpart for clients that register without one."""

    def __init__(
        self,
        accounts: AccountService,
        uia: UserInteractive,
        log_in: LogInEndpoints,
        random_name: Callable[[], str],
    ) -> None:
        self._accounts = accounts
        self._uia = uia
        self._log_in = log_in
        self._random_name = random_name

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
        if body.get("type") == APP_SERVICE:
            return await self._register_for_service(call, body)
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
        terms = self._accounts.terms
        asked = Asked(
            "register",
            (TOKEN, DUMMY, EMAIL, TERMS),
            params={TERMS: write_policies(terms)} if terms else {},
            flows=await self._ways(),
        )
        password, auth = text_in(body, "password"), body.get("auth")
        if isinstance(auth, dict) and password is None and auth.get("type") in asked.stages:
            raise missing("password")
        done = await self._uia.collect(auth, asked, self._check_stage)
        if password is None:
            raise missing("password")
        self._log_in.check_secure(call)
        account = await self._make(call, name, guest, password, asked, done)
        if body.get("inhibit_login") is True:
            return json_response({"user_id": account.user_id, "home_server": self._accounts.server_name})
        return json_response(await self._log_in.open(account, body))

    async def _register_for_service(self, call: Call, body: JsonObject) -> Response:
        """spec: application-service-api "Server admin style permissions": no stages, no password"""
        service = service_of(self._accounts, call)
        name = body.get("username")
        if not isinstance(name, str):
            raise missing("username") if name is None else invalid("username must be a text")
        account = await self._accounts.register_for(service, name)
        if body.get("inhibit_login") is True:
            return json_response({"user_id": account.user_id, "home_server": self._accounts.server_name})
        return json_response(await self._log_in.open(account, body))

    async def _ways(self) -> tuple[tuple[str, ...], ...]:
        """What somebody shows who makes an account here. Where mail is sent, an address can be shown from the start;
        nobody is written to who has not accepted what there is to accept."""
        terms = (TERMS,) if self._accounts.terms else ()
        token = (TOKEN,) if await self._accounts.registration_state() == "token" else ()
        by_mail = (*terms, EMAIL, *token)
        if self._accounts.email_required:
            return (by_mail,)
        without = (*terms, *token) or (DUMMY,)
        return (without, by_mail) if self._accounts.contacts.is_on else (without,)

    async def _check_stage(self, stage: str, auth: JsonObject) -> None:
        if stage == EMAIL:
            await shown_email(self._accounts.contacts, Purpose.REGISTER, auth)
        elif stage == TOKEN:
            token = auth.get("token")
            if not isinstance(token, str):
                raise AccountRefused(AccountRefusal.REGISTRATION_TOKEN_NEEDED)
            if not await self._accounts.registration_tokens.is_valid(token):
                raise AccountRefused(AccountRefusal.BAD_REGISTRATION_TOKEN)

    async def _make(
        self,
        call: Call,
        name: str,
        guest: Account | None,
        password: str,
        asked: Asked,
        done: Mapping[str, JsonObject],
    ) -> Account:
        """The account, once everything was shown."""
        token = done.get(TOKEN, {}).get("token")
        token = token if isinstance(token, str) else None
        shown = None
        if EMAIL in done:
            shown = await shown_email(self._accounts.contacts, Purpose.REGISTER, done[EMAIL])
        address = call.request.address
        # spec: "expected to track which document versions it presented to the user"
        accepted = all_of(read_policies(done.get(TERMS, {})))
        try:
            if guest is not None:
                return await self._accounts.upgrade_guest(
                    guest.user_id, password, address=address, registration_token=token, shown=shown, accepted=accepted
                )
            return await self._accounts.register(
                name, password, address=address, registration_token=token, shown=shown, accepted=accepted
            )
        except AccountRefused as refused:
            # It was used up by somebody else meanwhile, or there is a newer version.
            if refused.refusal in _AGAIN:
                raise self._uia.failed(asked, "M_UNAUTHORIZED", refused.text) from refused
            raise

    async def _register_guest(self, call: Call) -> Response:
        """spec: POST /register: nothing of the body counts but initial_device_display_name"""
        name = call.json_or_empty().get("initial_device_display_name")
        account = await self._accounts.create_matrix_guest(address=call.request.address)
        body: JsonObject = {"initial_device_display_name": name} if isinstance(name, str) else {}
        return json_response(await self._log_in.open(account, body))

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
