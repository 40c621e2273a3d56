"""The devices of an account: of IRC and XMPP clients too, which have no keys. And which server this is.

docs/operate/administration.md
"""

from tripoint import __version__
from tripoint.accounts.ports import AccountService, Device
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import ServerName, UserId
from tripoint.matrix.admin.asking import V1, V2, not_found, not_here, user_of
from tripoint.matrix.body import text_in
from tripoint.matrix.errors import bad_json, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

_ONE = f"{V2}/users/{{user_id}}/devices/{{device_id}}"
REASON = "ended by an administrator"


class AdminDeviceEndpoints:
    def __init__(self, accounts: AccountService, server: ServerName) -> None:
        self._accounts = accounts
        self._server = server

    @endpoint("GET", f"{V1}/server_version", auth=Auth.ADMIN)
    async def version(self, call: Call) -> Response:
        return json_response({"server_version": f"tripoint {__version__}"})

    @endpoint("GET", f"{V2}/users/{{user_id}}/devices", auth=Auth.ADMIN)
    async def listed(self, call: Call) -> Response:
        devices = await self._accounts.devices(await self._known(call))
        shown: list[Json] = [_line(device) for device in devices]
        return json_response({"devices": shown, "total": len(shown)})

    @endpoint("POST", f"{V2}/users/{{user_id}}/devices", auth=Auth.ADMIN)
    async def make(self, call: Call) -> Response:
        raise not_here("A device is there when somebody logs in")

    @endpoint("GET", _ONE, auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        return json_response(_line(await self._device(call)))

    @endpoint("PUT", _ONE, auth=Auth.ADMIN)
    async def rename(self, call: Call) -> Response:
        device, name = await self._device(call), text_in(call.json_or_empty(), "display_name")
        if name is not None:
            await self._accounts.rename_device(device.user_id, device.device_id, name)
        return json_response({})

    @endpoint("DELETE", _ONE, auth=Auth.ADMIN)
    async def delete(self, call: Call) -> Response:
        """Its tokens end, and its connections."""
        device = await self._device(call)
        await self._accounts.log_out(device.user_id, [device.device_id], reason=REASON)
        return json_response({})

    @endpoint("POST", f"{V2}/users/{{user_id}}/delete_devices", auth=Auth.ADMIN)
    async def delete_several(self, call: Call) -> Response:
        user_id, names = await self._known(call), call.json().get("devices")
        if names is None:
            raise missing("devices")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise bad_json("devices is a list of their ids")
        await self._accounts.log_out(user_id, [str(name) for name in names], reason=REASON)
        return json_response({})

    async def _known(self, call: Call) -> UserId:
        user_id = user_of(call, self._server)
        if await self._accounts.account(user_id) is None:
            raise not_found("There is no such user")
        return user_id

    async def _device(self, call: Call) -> Device:
        for device in await self._accounts.devices(await self._known(call)):
            if device.device_id == call.path["device_id"]:
                return device
        raise not_found("There is no such device")


def _line(device: Device) -> JsonObject:
    """Addresses and the names of programs are not kept."""
    return {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ts": device.last_seen_ts_ms,
        "last_seen_ip": None,
        "last_seen_user_agent": None,
        "user_id": device.user_id,
        "dehydrated": False,
    }
