"""E-mail addresses of accounts: asking for a letter, adding what it confirmed, taking it away. Phone numbers: none.

This server is its own judge of who has an address. Identity servers that the operator trusts publish one where a client
wants it, and forget it (accounts/bindings.py).
spec: Matrix client-server "Adding Account Administrative Contact Information"; POST /register/email/requestToken,
POST /account/password/email/requestToken
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.contacts import ThreePid
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.languages import read_accept_language
from tripoint.core.third_party import parse_third_party_id
from tripoint.matrix.body import needed_text
from tripoint.matrix.client.login import LogInEndpoints
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.refusals import identity_errors
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.refusals import Refusal

# spec: identity-service-api request_email_validation
_SECRET: Final = re.compile(r"[0-9a-zA-Z.=_-]{1,255}\Z")
MAX_LINK: Final = 2048
_NO_PHONES: Final = "This server knows no phone numbers"


class ContactEndpoints:
    def __init__(self, accounts: AccountService, log_in: LogInEndpoints) -> None:
        self._accounts = accounts
        self._contacts = accounts.contacts
        self._log_in = log_in

    # -- an account's addresses

    @endpoint("GET", "/_matrix/client/v3/account/3pid", "/_matrix/client/r0/account/3pid")
    async def listed(self, call: Call) -> Response:
        return json_response({"threepids": shown_contacts(await self._contacts.of(call.user_id))})

    @endpoint("POST", "/_matrix/client/v3/account/3pid/add")
    async def add(self, call: Call) -> Response:
        """What a letter confirmed becomes the caller's, who gives the password for it."""
        body = call.json()
        sid, secret = _sid(body), _secret(body)
        await self._log_in.check_password_stage(call, body.get("auth"), "threepid")
        await self._contacts.add(call.user_id, await self._contacts.check_shown(Purpose.ADD, sid, secret))
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/account/3pid")
    async def add_of_old(self, call: Call) -> Response:
        """Deprecated: it takes the word of an identity server, of which none is trusted here, without a password."""
        raise MatrixError(403, "M_THREEPID_AUTH_FAILED", "Addresses are added by /account/3pid/add")

    @endpoint("POST", "/_matrix/client/v3/account/3pid/bind")
    async def bind(self, call: Call) -> Response:
        """spec: "Common error codes": an identity server "that this server does not trust"."""
        body = call.json()
        sid, secret = _sid(body), _secret(body)
        server, token = needed_text(body, "id_server"), needed_text(body, "id_access_token")
        if not self._accounts.bindings.trusts(server):
            raise MatrixError(403, "M_SERVER_NOT_TRUSTED", Refusal.IDENTITY_SERVER_DENIED.value)
        with identity_errors():
            await self._accounts.bindings.bind(call.user_id, server, token, sid, secret)
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/account/3pid/unbind")
    async def unbind(self, call: Call) -> Response:
        return json_response(await self._unbind(call, call.json()))

    @endpoint("POST", "/_matrix/client/v3/account/3pid/delete")
    async def delete(self, call: Call) -> Response:
        """What no identity server can take back now is no address of the account any more all the same."""
        body = call.json()
        medium, address = _third_party_id(body)
        await self._contacts.remove(call.user_id, medium, address)
        return json_response(await self._unbind(call, body))

    async def _unbind(self, call: Call, body: JsonObject) -> JsonObject:
        """spec: "If not provided, the homeserver MUST use the id_server the identifier was added through" """
        medium, address = _third_party_id(body)
        server = body.get("id_server")
        try:
            of = parse_third_party_id(medium, address)
        except PeerError as error:
            raise invalid(str(error)) from error
        with identity_errors():
            done = await self._accounts.bindings.unbind(call.user_id, of, server if isinstance(server, str) else None)
        # "an indicator as to whether or not the homeserver was able to unbind the 3PID from the identity server"
        return {"id_server_unbind_result": "success" if done else "no-support"}

    # -- letters

    @endpoint("POST", "/_matrix/client/v3/account/3pid/email/requestToken", auth=Auth.NONE)
    async def ask_to_add(self, call: Call) -> Response:
        if not self._contacts.is_on:
            text = "This server sends no mail, so nobody can show an address"
            raise MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", text)
        return await self._ask(call, Purpose.ADD)

    @endpoint("POST", "/_matrix/client/v3/register/email/requestToken", auth=Auth.NONE)
    async def ask_to_register(self, call: Call) -> Response:
        if await self._accounts.registration_state() == "closed":
            raise AccountRefused(AccountRefusal.REGISTRATION_CLOSED)
        return await self._ask(call, Purpose.REGISTER)

    @endpoint("POST", "/_matrix/client/v3/account/password/email/requestToken", auth=Auth.NONE)
    async def ask_to_reset(self, call: Call) -> Response:
        return await self._ask(call, Purpose.RESET)

    @endpoint("POST", "/_matrix/client/v3/account/3pid/msisdn/requestToken", auth=Auth.NONE)
    async def ask_phone(self, call: Call) -> Response:
        raise MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", _NO_PHONES)

    @endpoint(
        "POST",
        "/_matrix/client/v3/register/msisdn/requestToken",
        "/_matrix/client/v3/account/password/msisdn/requestToken",
        auth=Auth.NONE,
    )
    async def ask_by_phone(self, call: Call) -> Response:
        raise MatrixError(403, "M_THREEPID_DENIED", _NO_PHONES)

    async def _ask(self, call: Call, purpose: Purpose) -> Response:
        """`id_server` is ignored: "when the homeserver handles 3PID verification"."""
        body = call.json()
        secret, email, attempt = _secret(body), needed_text(body, "email"), body.get("send_attempt")
        if attempt is None:
            raise missing("send_attempt")
        if not isinstance(attempt, int) or isinstance(attempt, bool):
            raise bad_json("send_attempt is a number")
        if not 0 <= attempt < 2**31:
            raise invalid("send_attempt is a small number")
        sid = await self._contacts.ask(
            purpose,
            email,
            secret,
            attempt,
            _next_link(body),
            address=call.request.address,
            languages=read_accept_language(call.request.header(b"accept-language")),
        )
        return json_response({"sid": sid})


def shown_contacts(found: Sequence[ThreePid]) -> list[Json]:
    """spec: GET /account/3pid"""
    return [
        {
            "medium": one.medium,
            "address": one.address,
            "validated_at": one.validated_ts_ms,
            "added_at": one.added_ts_ms,
        }
        for one in found
    ]


def _secret(body: JsonObject) -> str:
    secret = needed_text(body, "client_secret")
    if _SECRET.match(secret) is None:
        raise invalid("client_secret has 1 to 255 of 0-9, a-z, A-Z, '.', '=', '_' and '-'")
    return secret


def _sid(body: JsonObject) -> str:
    return needed_text(body, "sid")


def _third_party_id(body: JsonObject) -> tuple[str, str]:
    return needed_text(body, "medium"), needed_text(body, "address")


def _next_link(body: JsonObject) -> str | None:
    """Where a browser goes from the page: a web address, or nowhere."""
    link = body.get("next_link")
    if link is None:
        return None
    try:
        parts = urlsplit(link) if isinstance(link, str) else None
    except ValueError:
        parts = None
    usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if not usable or not isinstance(link, str) or len(link) > MAX_LINK or not link.isascii() or not link.isprintable():
        raise invalid("next_link is a web address")
    return link
