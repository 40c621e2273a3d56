"""E-mail addresses of accounts: asking for a letter, adding what it confirmed, taking it away. Phone numbers: none.

This server is its own judge of who has an address; identity servers are not spoken to, so nothing is published in any.
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
from tripoint.matrix.client.login import LogInEndpoints
from tripoint.matrix.errors import EMPTY, MatrixError, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

# spec: identity-service-api request_email_validation
_SECRET: Final = re.compile(r"[0-9a-zA-Z.=_-]{1,255}\Z")
MAX_LINK: Final = 2048
_NO_PHONES: Final = "This server knows no phone numbers"
# spec: "an indicator as to whether or not the homeserver was able to unbind the 3PID from the identity server"
_UNBOUND: Final[JsonObject] = {"id_server_unbind_result": "no-support"}


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
        raise MatrixError(403, "M_SERVER_NOT_TRUSTED", "This server publishes nothing in identity servers")

    @endpoint("POST", "/_matrix/client/v3/account/3pid/unbind")
    async def unbind(self, call: Call) -> Response:
        """Nothing was ever bound through this server, so it knows of no identity server that could unbind it."""
        _third_party_id(call.json())
        return json_response(_UNBOUND)

    @endpoint("POST", "/_matrix/client/v3/account/3pid/delete")
    async def delete(self, call: Call) -> Response:
        medium, address = _third_party_id(call.json())
        await self._contacts.remove(call.user_id, medium, address)
        return json_response(_UNBOUND)

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
        secret, email, attempt = _secret(body), body.get("email"), body.get("send_attempt")
        if not isinstance(email, str):
            raise missing("email")
        if not isinstance(attempt, int) or isinstance(attempt, bool):
            raise missing("send_attempt")
        if not 0 <= attempt < 2**31:
            raise invalid("send_attempt is a small number")
        sid = await self._contacts.ask(
            purpose, email, secret, attempt, _next_link(body), address=call.request.address
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
    secret = body.get("client_secret")
    if not isinstance(secret, str):
        raise missing("client_secret")
    if _SECRET.match(secret) is None:
        raise invalid("client_secret has 1 to 255 of 0-9, a-z, A-Z, '.', '=', '_' and '-'")
    return secret


def _sid(body: JsonObject) -> str:
    sid = body.get("sid")
    if not isinstance(sid, str):
        raise missing("sid")
    return sid


def _third_party_id(body: JsonObject) -> tuple[str, str]:
    medium, address = body.get("medium"), body.get("address")
    if not isinstance(medium, str):
        raise missing("medium")
    if not isinstance(address, str):
        raise missing("address")
    return medium, address


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
