"""Endpoints by which other servers ask for the devices of users, and for keys to encrypt for them.

A list holds devices with keys; those of IRC and XMPP have none and are in no list. What signatures others may see is
core/device_keys.py. spec: Matrix server-server-api "Device Management", "End-to-End Encryption"
"""

import asyncio

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.device_keys import MASTER, SELF_SIGNING
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, UserId, parse_user_id, server_of
from tripoint.core.json_view import object_at, text_at
from tripoint.matrix.errors import MatrixError, bad_json, invalid, json_response
from tripoint.matrix.federation.asking_keys import USERS_PER_TURN, KeyQuestions
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response


class DeviceListEndpoints:
    """`server` is this server's name."""

    def __init__(
        self, accounts: AccountService, encryption: Encryption, questions: KeyQuestions, server: ServerName
    ) -> None:
        self._accounts = accounts
        self._keys = encryption.keys
        self._signing = encryption.signing
        self._changes = encryption.changes
        self._questions = questions
        self._server = server

    @endpoint("GET", "/_matrix/federation/v1/user/devices/{userId}", auth=Auth.SERVER)
    async def devices(self, call: Call) -> Response:
        """spec: getUserDevices"""
        user_id = self._ours(call.path["userId"])
        if not await self._accounts.is_local_user(user_id):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such user here")
        # Before the list: an update that comes in between is behind this version, and is applied to it once more.
        last = await self._changes.load_last_device_change(user_id)
        devices: list[Json] = []
        for device_id, json in (await self._keys.query(user_id, None)).items():
            keys = {name: value for name, value in json.items() if name != "unsigned"}
            entry: JsonObject = {"device_id": device_id, "keys": keys}
            name = text_at(object_at(json, "unsigned"), "device_display_name")
            if name is not None:
                entry["device_display_name"] = name
            devices.append(entry)
        answer: JsonObject = {
            "user_id": user_id,
            "stream_id": 0 if last is None else last.position,
            "devices": devices,
        }
        for usage, key in (await self._signing.shown(user_id, None)).items():
            answer[f"{usage}_key"] = key
        return json_response(answer)

    @endpoint("POST", "/_matrix/federation/v1/user/keys/query", auth=Auth.SERVER)
    async def query(self, call: Call) -> Response:
        """spec: queryUserEncryptionKeys"""
        found: JsonObject = {}
        masters: JsonObject = {}
        self_signing: JsonObject = {}
        for number, (user_id, wanted) in enumerate(self._wanted(call, "device_keys", list).items(), 1):
            assert isinstance(wanted, list), "checked"
            if number % USERS_PER_TURN == 0:
                await asyncio.sleep(0)
            known = await self._keys.query(user_id, None)
            found[user_id] = {name: json for name, json in known.items() if not wanted or name in wanted}
            keys = await self._signing.shown(user_id, None)
            if MASTER in keys:
                masters[user_id] = keys[MASTER]
            if SELF_SIGNING in keys:
                self_signing[user_id] = keys[SELF_SIGNING]
        return json_response({"device_keys": found, "master_keys": masters, "self_signing_keys": self_signing})

    @endpoint("POST", "/_matrix/federation/v1/user/keys/claim", auth=Auth.SERVER)
    async def claim(self, call: Call) -> Response:
        """spec: claimUserEncryptionKeys"""
        found: JsonObject = {}
        for user_id, wanted in self._wanted(call, "one_time_keys", dict).items():
            assert isinstance(wanted, dict), "checked"
            names = {device_id: name for device_id, name in wanted.items() if isinstance(name, str)}
            if len(names) != len(wanted):
                raise bad_json("An algorithm is a text")
            claimed = await self._questions.claim_local(user_id, names)
            if claimed:
                found[user_id] = claimed
        return json_response({"one_time_keys": found})

    def _wanted(self, call: Call, name: str, kind: type) -> dict[UserId, Json]:
        wanted = call.json().get(name)
        if not isinstance(wanted, dict) or not all(isinstance(entry, kind) for entry in wanted.values()):
            raise bad_json(f"{name} must be an object with a {'list' if kind is list else 'map'} for each user")
        return {self._ours(user_id): entry for user_id, entry in wanted.items()}

    def _ours(self, text: str) -> UserId:
        try:
            user_id = parse_user_id(text)
        except PeerError as error:
            raise invalid(str(error)) from error
        if server_of(user_id) != self._server:
            raise invalid(f"{user_id} is not a user of this server")
        return user_id
