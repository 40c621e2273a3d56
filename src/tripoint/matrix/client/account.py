"""What belongs to an account: profile, account data, filters, devices. Push rules are push_rules.py's.

spec: Matrix client-server "Profiles", "Client Config", "Filtering", "Device management"
"""

import re
from typing import Any

import orjson

from tripoint.accounts.ports import AccountService, Device
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import RoomId, ServerName, UserId, parse_user_id, server_of
from tripoint.core.profile import MAX_KEY_BYTES, SHOWN, TIME_ZONE, is_profile_key
from tripoint.core.push_rules import ACCOUNT_DATA as PUSH_RULES
from tripoint.core.vendor import V
from tripoint.matrix.appservice.identity import is_by_service
from tripoint.matrix.client.login import LogInEndpoints
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, bytes_response, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.sync.filters import read_filter
from tripoint.net.http import Response
from tripoint.rooms.commands import SetProfile
from tripoint.rooms.ports import RoomReader, RoomService
from tripoint.rooms.refusals import Refusal, Refused

# spec: "Client Config": these are the server's to write.
_SERVER_TYPES = frozenset({"m.fully_read", PUSH_RULES, f"{V}.roster"})
# spec: appendices "Room IDs", client-server "Matrix Content (MXC) URIs"
_ROOM_ID = re.compile(r"![^\0]{1,254}\Z")
_MXC = re.compile(r"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_-]{1,255}\Z")
# Kept for good and looked at for every event: the filters of today's clients have some hundred bytes.
MAX_FILTER_BYTES = 16_384


class ProfileEndpoints:
    def __init__(
        self, rooms: RoomService, reader: RoomReader, accounts: AccountService, server: ServerName
    ) -> None:
        self._rooms = rooms
        self._reader = reader
        self._accounts = accounts
        self._server = server

    @endpoint(
        "GET", "/_matrix/client/v3/profile/{userId}", "/_matrix/client/r0/profile/{userId}", auth=Auth.NONE
    )
    async def profile(self, call: Call) -> Response:
        return json_response(await self._profile(call))

    @endpoint(
        "GET",
        "/_matrix/client/v3/profile/{userId}/{keyName}",
        "/_matrix/client/r0/profile/{userId}/{keyName}",
        auth=Auth.NONE,
    )
    async def field(self, call: Call) -> Response:
        key = call.path["keyName"]
        profile = await self._profile(call)
        if key not in profile:
            raise MatrixError(404, "M_NOT_FOUND", f"They have no {key}")
        return json_response({key: profile[key]})

    async def _profile(self, call: Call) -> JsonObject:
        user_id = parse_user_id(call.path["userId"])
        if server_of(user_id) != self._server:
            return _checked(await self._reader.remote_profile(user_id))
        # A service that looks whether its user is here is not asked whether it has it.
        if is_by_service(self._accounts, call):
            account = await self._accounts.account(user_id)
            here = account is not None and not account.deactivated
        else:
            here = await self._accounts.is_local_user(user_id)
        if not here:
            raise MatrixError(404, "M_NOT_FOUND", Refusal.NO_SUCH_USER.value)
        return await self._reader.whole_profile(user_id)

    @endpoint(
        "PUT",
        "/_matrix/client/v3/profile/{userId}/{keyName}",
        "/_matrix/client/r0/profile/{userId}/{keyName}",
        guests=True,
    )
    async def set_field(self, call: Call) -> Response:
        key = self._own_field(call)
        body = call.json()
        if key not in body:
            raise missing(key)
        value = body[key]
        # spec: servers may reject null; who wants a field to be gone deletes it.
        if value is None or (key in (*SHOWN, TIME_ZONE) and not isinstance(value, str)):
            raise MatrixError(400, "M_BAD_JSON", f"{key} must be a text" if value is not None else "null is no value")
        if key == "avatar_url" and value and _MXC.match(str(value)) is None:
            raise invalid("avatar_url must be an mxc:// address")
        await self._set(call, key, value)
        return EMPTY

    @endpoint("DELETE", "/_matrix/client/v3/profile/{userId}/{keyName}", guests=True)
    async def delete_field(self, call: Call) -> Response:
        await self._set(call, self._own_field(call), None)
        return EMPTY

    async def _set(self, call: Call, key: str, value: Json | None) -> None:
        command = SetProfile(actor=call.user_id, origin=call.by(), field=key, value=value)
        try:
            await self._rooms.do(command)
        except Refused as refused:
            if refused.refusal is not Refusal.TOO_LARGE or key in SHOWN:
                raise
            raise MatrixError(400, "M_PROFILE_TOO_LARGE", refused.text) from refused

    def _own_field(self, call: Call) -> str:
        if call.path["userId"] != call.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "You may only change your own profile")
        key = call.path["keyName"]
        if call.caller.account.guest and key != "displayname":
            # spec: guest-access: "Guest users may only modify their display name"
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests change their display name alone")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise MatrixError(400, "M_KEY_TOO_LARGE", f"The name of a field has at most {MAX_KEY_BYTES} bytes")
        if not is_profile_key(key):
            raise invalid("That is no name for a field of a profile")
        return key


def _checked(profile: JsonObject) -> JsonObject:
    """A profile of another server, without what clients cannot take for one."""
    return {
        key: value
        for key, value in profile.items()
        if is_profile_key(key) and (key not in SHOWN or isinstance(value, str))
    }


class AccountDataEndpoints:
    def __init__(self, accounts: AccountService, reader: RoomReader) -> None:
        self._accounts = accounts
        self._reader = reader

    @endpoint(
        "GET",
        "/_matrix/client/v3/user/{userId}/account_data/{type}",
        "/_matrix/client/r0/user/{userId}/account_data/{type}",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        "/_matrix/client/r0/user/{userId}/rooms/{roomId}/account_data/{type}",
    )
    async def get(self, call: Call) -> Response:
        user_id, room_id, type_ = _whose(call)
        if type_ == PUSH_RULES and room_id is None:
            return json_response((await self._accounts.push_rules.of(user_id)).content())
        content = await self._accounts.account_data(user_id, room_id, type_)
        if content is None and type_ == "m.fully_read" and room_id is not None:
            content = await self._fully_read(user_id, room_id)
        if content is None:
            raise MatrixError(404, "M_NOT_FOUND", f"You have no account data of type {type_}")
        return bytes_response(orjson.dumps(content))

    async def _fully_read(self, user_id: UserId, room_id: RoomId) -> JsonObject | None:
        for receipt in await self._reader.receipts(room_id):
            if receipt.user_id == user_id and receipt.kind == "m.fully_read":
                return {"event_id": receipt.event_id}
        return None

    @endpoint(
        "PUT",
        "/_matrix/client/v3/user/{userId}/account_data/{type}",
        "/_matrix/client/r0/user/{userId}/account_data/{type}",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        "/_matrix/client/r0/user/{userId}/rooms/{roomId}/account_data/{type}",
    )
    async def put(self, call: Call) -> Response:
        user_id, room_id, type_ = _whose(call)
        if type_ in _SERVER_TYPES:
            raise MatrixError(405, "M_BAD_JSON", f"{type_} is written by the server")
        await self._accounts.set_account_data(user_id, room_id, type_, call.json())
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/user/{userId}/filter", "/_matrix/client/r0/user/{userId}/filter")
    async def add_filter(self, call: Call) -> Response:
        user_id = _own(call)
        definition = call.json()
        if len(call.request.body) > MAX_FILTER_BYTES:
            raise MatrixError(413, "M_TOO_LARGE", f"A filter has at most {MAX_FILTER_BYTES} bytes")
        read_filter(definition)
        return json_response({"filter_id": await self._accounts.add_filter(user_id, definition)})

    @endpoint(
        "GET",
        "/_matrix/client/v3/user/{userId}/filter/{filterId}",
        "/_matrix/client/r0/user/{userId}/filter/{filterId}",
    )
    async def get_filter(self, call: Call) -> Response:
        definition = await self._accounts.filter(_own(call), call.path["filterId"])
        if definition is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such filter")
        return bytes_response(orjson.dumps(definition))


class DeviceEndpoints:
    def __init__(self, accounts: AccountService, log_in: LogInEndpoints) -> None:
        self._accounts = accounts
        self._log_in = log_in

    @endpoint("GET", "/_matrix/client/v3/devices", "/_matrix/client/r0/devices", guests=True)
    async def devices(self, call: Call) -> Response:
        devices = await self._accounts.devices(call.user_id)
        return json_response({"devices": [_device(device) for device in devices]})

    @endpoint("GET", "/_matrix/client/v3/devices/{deviceId}", guests=True)
    async def device(self, call: Call) -> Response:
        for device in await self._accounts.devices(call.user_id):
            if device.device_id == call.path["deviceId"]:
                return json_response(_device(device))
        raise MatrixError(404, "M_NOT_FOUND", "There is no such device")

    @endpoint("PUT", "/_matrix/client/v3/devices/{deviceId}", guests=True)
    async def rename(self, call: Call) -> Response:
        name, device_id = call.json().get("display_name"), call.path["deviceId"]
        if call.caller.service is not None:
            return await self._put_for_service(call, name, device_id)
        if isinstance(name, str):
            await self._accounts.rename_device(call.user_id, device_id, name)
        elif name is not None:
            raise invalid("display_name must be a text")
        elif all(device.device_id != device_id for device in await self._accounts.devices(call.user_id)):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such device")
        return EMPTY

    async def _put_for_service(self, call: Call, name: object, device_id: str) -> Response:
        """spec: PUT /devices: an application service makes devices so: 201 for a new one"""
        if name is not None and not isinstance(name, str):
            raise invalid("display_name must be a text")
        if await self._accounts.has_device(call.user_id, device_id):
            if name is not None:
                await self._accounts.rename_device(call.user_id, device_id, name)
            return EMPTY
        account = call.caller.account
        await self._accounts.log_in(account, protocol="matrix", device_id=device_id, display_name=name)
        return json_response({}, status=201)

    @endpoint("DELETE", "/_matrix/client/v3/devices/{deviceId}")
    async def delete(self, call: Call) -> Response:
        await self._delete(call, [call.path["deviceId"]])
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/delete_devices")
    async def delete_many(self, call: Call) -> Response:
        wanted = call.json().get("devices")
        if wanted is None:
            raise missing("devices")
        if not isinstance(wanted, list) or not all(isinstance(device, str) for device in wanted):
            raise bad_json("devices is a list of device ids")
        await self._delete(call, [device for device in wanted if isinstance(device, str)])
        return EMPTY

    async def _delete(self, call: Call, device_ids: list[str]) -> None:
        auth = call.json_or_empty().get("auth")
        await self._log_in.check_password_stage(call, auth, "devices")
        await self._accounts.log_out(call.user_id, device_ids)


def _own(call: Call) -> UserId:
    if call.path["userId"] != call.user_id:
        raise MatrixError(403, "M_FORBIDDEN", "That belongs to somebody else")
    return call.user_id


def _whose(call: Call) -> tuple[UserId, RoomId | None, str]:
    room = call.path.get("roomId")
    if room is not None and _ROOM_ID.match(room) is None:
        raise invalid(f"{room[:100]} is no room id")
    return _own(call), None if room is None else RoomId(room), call.path["type"]


def _device(device: Device) -> dict[str, Any]:
    # COMPAT: matrix-nio refuses the list unless all four are there; unknown ones are null, as elsewhere. Addresses
    # are not kept.
    return {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": None,
        "last_seen_ts": device.last_seen_ts_ms,
    }
