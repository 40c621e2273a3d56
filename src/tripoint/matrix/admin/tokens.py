"""Registration tokens: with one, somebody makes an account where registration asks for it.

They are kept by accounts/registration_tokens.py. Nobody holds one while he registers, so none is ever `pending`.
docs/operate/administration.md
"""

import secrets
from collections.abc import Callable

from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.matrix.admin.asking import V1, flag_of, not_found
from tripoint.matrix.body import number_in
from tripoint.matrix.errors import invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

MAX_LENGTH = 64
DEFAULT_LENGTH = 16
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-"


class TokenEndpoints:
    def __init__(self, accounts: AccountService, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._now_ms = now_ms

    @endpoint("GET", f"{V1}/registration_tokens", auth=Auth.ADMIN)
    async def listed(self, call: Call) -> Response:
        """`valid`: those that are good for something alone (true), or the others (false)."""
        wanted = flag_of(call, "valid")
        found = await self._accounts.registration_tokens.every()
        shown = [_shown(row.token, row.uses_left, row.completed, row.expires_ts_ms) for row, good in found
                 if wanted in (None, good)]  # fmt: skip
        return json_response({"registration_tokens": list(shown)})

    @endpoint("POST", f"{V1}/registration_tokens/new", auth=Auth.ADMIN)
    async def make(self, call: Call) -> Response:
        body = call.json()
        token, length = body.get("token"), body.get("length", DEFAULT_LENGTH)
        if token is None:
            if not isinstance(length, int) or isinstance(length, bool) or not 0 < length <= MAX_LENGTH:
                raise invalid(f"length is a whole number, 1 to {MAX_LENGTH}")
            token = "".join(secrets.choice(_LETTERS) for _ in range(length))
        if not isinstance(token, str):
            raise invalid("token is a text")
        uses, expires_ms = number_in(body, "uses_allowed"), self._expiry(body)
        try:
            await self._accounts.registration_tokens.put(token, uses, expires_ms)
        except AccountRefused as refused:
            if refused.refusal is AccountRefusal.BAD_REGISTRATION_TOKEN:
                raise invalid(refused.text) from refused
            raise
        return json_response(_shown(token, uses, 0, expires_ms))

    @endpoint("GET", f"{V1}/registration_tokens/{{token}}", auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        row = await self._accounts.registration_tokens.find(call.path["token"])
        if row is None:
            raise not_found("There is no such token")
        return json_response(_shown(row.token, row.uses_left, row.completed, row.expires_ts_ms))

    @endpoint("PUT", f"{V1}/registration_tokens/{{token}}", auth=Auth.ADMIN)
    async def change(self, call: Call) -> Response:
        """What is not named stays as it is."""
        body = call.json()
        row = await self._accounts.registration_tokens.find(call.path["token"])
        if row is None:
            raise not_found("There is no such token")
        left, expires_ms = row.uses_left, row.expires_ts_ms
        if "uses_allowed" in body:
            allowed = number_in(body, "uses_allowed")
            left = None if allowed is None else max(0, allowed - row.completed)
        if "expiry_time" in body:
            expires_ms = self._expiry(body)
        changed = await self._accounts.registration_tokens.change(
            row.token, uses_left=left, expires_ts_ms=expires_ms
        )
        if changed is None:
            raise not_found("There is no such token")
        return json_response(_shown(changed.token, changed.uses_left, changed.completed, changed.expires_ts_ms))

    @endpoint("DELETE", f"{V1}/registration_tokens/{{token}}", auth=Auth.ADMIN)
    async def delete(self, call: Call) -> Response:
        if not await self._accounts.registration_tokens.drop(call.path["token"]):
            raise not_found("There is no such token")
        return json_response({})

    def _expiry(self, body: JsonObject) -> int | None:
        expires_ms = number_in(body, "expiry_time")
        if expires_ms is not None and expires_ms < self._now_ms():
            raise invalid("expiry_time is not in the past")
        return expires_ms


def _shown(token: str, left: int | None, completed: int, expires_ms: int | None) -> JsonObject:
    return {
        "token": token,
        "uses_allowed": None if left is None else left + completed,
        "pending": 0,
        "completed": completed,
        "expiry_time": expires_ms,
    }
