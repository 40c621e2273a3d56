"""Endpoints by which other servers ask for the devices of users, and for keys to encrypt for them.

No client of this server can upload keys yet, so no device has any: a list of devices holds those with keys, and every
list is empty. That is an answer to keep; without one servers ask again and again, and a message to an encrypted room
waits for it. spec: Matrix server-server-api "Device Management", "End-to-End Encryption"
"""

from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, UserId, parse_user_id, server_of
from tripoint.matrix.errors import MatrixError, bad_json, invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response


class DeviceListEndpoints:
    """`server` is this server's name."""

    def __init__(self, accounts: AccountService, server: ServerName) -> None:
        self._accounts = accounts
        self._server = server

    @endpoint("GET", "/_matrix/federation/v1/user/devices/{userId}", auth=Auth.SERVER)
    async def devices(self, call: Call) -> Response:
        """spec: getUserDevices"""
        user_id = self._ours(call.path["userId"])
        if not await self._accounts.is_local_user(user_id):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such user here")
        # The list has never changed, so this is its first version.
        return json_response({"user_id": user_id, "stream_id": 0, "devices": []})

    @endpoint("POST", "/_matrix/federation/v1/user/keys/query", auth=Auth.SERVER)
    async def query(self, call: Call) -> Response:
        """spec: queryUserEncryptionKeys"""
        return json_response({"device_keys": self._nothing_for(call, "device_keys", list)})

    @endpoint("POST", "/_matrix/federation/v1/user/keys/claim", auth=Auth.SERVER)
    async def claim(self, call: Call) -> Response:
        """spec: claimUserEncryptionKeys"""
        self._nothing_for(call, "one_time_keys", dict)
        return json_response({"one_time_keys": {}})

    def _nothing_for(self, call: Call, name: str, kind: type) -> JsonObject:
        wanted = call.json().get(name)
        if not isinstance(wanted, dict) or not all(isinstance(entry, kind) for entry in wanted.values()):
            raise bad_json(f"{name} must be an object with a {'list' if kind is list else 'map'} for each user")
        return {self._ours(user_id): {} for user_id in wanted}

    def _ours(self, text: str) -> UserId:
        try:
            user_id = parse_user_id(text)
        except PeerError as error:
            raise invalid(str(error)) from error
        if server_of(user_id) != self._server:
            raise invalid(f"{user_id} is not a user of this server")
        return user_id
