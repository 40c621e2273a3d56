"""What administrators ask and do about accounts.

spec: Matrix client-server, module admin; "Account locking", "Account suspension"; docs/mapping.md 18.3
"""

from collections.abc import Mapping
from typing import Any

from tripoint.accounts.ports import Account, AccountService
from tripoint.core.ids import ServerName, UserId, parse_user_id, server_of
from tripoint.matrix.errors import MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response


class AdminEndpoints:
    def __init__(self, accounts: AccountService, server: ServerName) -> None:
        self._accounts = accounts
        self._server = server

    @endpoint("GET", "/_matrix/client/v1/admin/lock/{userId}")
    async def is_locked(self, call: Call) -> Response:
        return json_response({"locked": (await self._target(call)).locked})

    @endpoint("PUT", "/_matrix/client/v1/admin/lock/{userId}")
    async def lock(self, call: Call) -> Response:
        account, locked = await self._target(call), _flag(call, "locked")
        await self._accounts.set_locked(account.user_id, locked)
        return json_response({"locked": locked})

    @endpoint("GET", "/_matrix/client/v1/admin/suspend/{userId}")
    async def is_suspended(self, call: Call) -> Response:
        return json_response({"suspended": (await self._target(call)).suspended})

    @endpoint("PUT", "/_matrix/client/v1/admin/suspend/{userId}")
    async def suspend(self, call: Call) -> Response:
        account, suspended = await self._target(call), _flag(call, "suspended")
        await self._accounts.set_suspended(account.user_id, suspended)
        return json_response({"suspended": suspended})

    @endpoint("GET", "/_matrix/client/v3/admin/whois/{userId}", "/_matrix/client/r0/admin/whois/{userId}")
    async def whois(self, call: Call) -> Response:
        """The sessions of all protocols. Where they come from is not kept."""
        user_id = UserId(call.path["userId"])
        if user_id != call.user_id:
            _check_admin(call)
            user_id = (await self._known(call)).user_id
        devices: Mapping[str, Any] = {
            device.device_id: {"sessions": [{"connections": [{"last_seen": device.last_seen_ts_ms}]}]}
            for device in await self._accounts.devices(user_id)
        }
        return json_response({"user_id": user_id, "devices": dict(devices)})

    async def _target(self, call: Call) -> Account:
        """The account that is asked about. The right to ask is checked before there is one to be found."""
        _check_admin(call)
        account = await self._known(call)
        if account.admin:
            raise MatrixError(403, "M_FORBIDDEN", "That user is an administrator too")
        return account

    async def _known(self, call: Call) -> Account:
        user_id = parse_user_id(call.path["userId"])
        if server_of(user_id) != self._server:
            raise invalid("That user does not belong to this server")
        account = await self._accounts.account(user_id)
        if account is None or account.deactivated:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such user")
        return account


def _check_admin(call: Call) -> None:
    if not call.caller.account.admin:
        raise MatrixError(403, "M_FORBIDDEN", "You are not an administrator of this server")


def _flag(call: Call, name: str) -> bool:
    value = call.json().get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, bool):
        raise bad_json(f"{name} is true or false")
    return value
