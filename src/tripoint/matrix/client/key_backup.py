"""Key backups. spec: Matrix client-server-api server-side-key-backups, room_keys endpoints"""

import orjson

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.key_backups import Backup, Updated
from tripoint.core.canonical_json import JsonObject
from tripoint.core.key_backup import BadBackup, read_backed_up_key
from tripoint.matrix.errors import EMPTY, bad_json, bytes_response, invalid, json_response, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

_VERSION = "/_matrix/client/v3/room_keys/version"
_KEYS = "/_matrix/client/v3/room_keys/keys"
# The name of an algorithm, of a session: those in use have 40 to 60 characters.
MAX_NAME = 255


class KeyBackupEndpoints:
    def __init__(self, encryption: Encryption) -> None:
        self._backups = encryption.backups

    # -- versions

    @endpoint("POST", _VERSION)
    async def create(self, call: Call) -> Response:
        algorithm, auth_data = _described(call.json())
        return json_response({"version": await self._backups.create(call.user_id, algorithm, auth_data)})

    @endpoint("GET", _VERSION)
    async def current(self, call: Call) -> Response:
        return _backup(await self._backups.get(call.user_id))

    @endpoint("GET", _VERSION + "/{version}")
    async def version(self, call: Call) -> Response:
        return _backup(await self._backups.get(call.user_id, call.path["version"]))

    @endpoint("PUT", _VERSION + "/{version}")
    async def change(self, call: Call) -> Response:
        body, version = call.json(), call.path["version"]
        algorithm, auth_data = _described(body)
        # spec: "If present, must be the same as the version in the path parameter"
        if body.get("version", version) != version:
            raise invalid("version is not that of the path")
        await self._backups.change(call.user_id, version, algorithm, auth_data)
        return EMPTY

    @endpoint("DELETE", _VERSION + "/{version}")
    async def delete(self, call: Call) -> Response:
        await self._backups.delete(call.user_id, call.path["version"])
        return EMPTY

    # -- keys

    @endpoint("PUT", _KEYS)
    async def put_all(self, call: Call) -> Response:
        rooms = _map(call.json(), "rooms")
        keys = {}
        for room_id, room in rooms.items():
            if not isinstance(room, dict):
                raise bad_json("A room of a backup must be an object")
            keys[room_id] = _sessions(room)
        return await self._put(call, keys)

    @endpoint("PUT", _KEYS + "/{roomId}")
    async def put_room(self, call: Call) -> Response:
        return await self._put(call, {call.path["roomId"]: _sessions(call.json())})

    @endpoint("PUT", _KEYS + "/{roomId}/{sessionId}")
    async def put_one(self, call: Call) -> Response:
        return await self._put(call, {call.path["roomId"]: {call.path["sessionId"]: _key(call.json())}})

    async def _put(self, call: Call, keys: dict[str, dict[str, JsonObject]]) -> Response:
        if any(len(name) > MAX_NAME for room_id, room in keys.items() for name in (room_id, *room)):
            raise invalid(f"The ids of rooms and sessions have at most {MAX_NAME} characters")
        return _updated(await self._backups.put(call.user_id, _version(call), keys))

    @endpoint("GET", _KEYS)
    async def get_all(self, call: Call) -> Response:
        found = await self._backups.find(call.user_id, _version(call))
        rooms = [orjson.dumps(room_id) + b":" + _room(keys) for room_id, keys in found.items()]
        return bytes_response(b'{"rooms":{' + b",".join(rooms) + b"}}")

    @endpoint("GET", _KEYS + "/{roomId}")
    async def get_room(self, call: Call) -> Response:
        room_id = call.path["roomId"]
        found = await self._backups.find(call.user_id, _version(call), room_id)
        return bytes_response(_room(found.get(room_id, [])))

    @endpoint("GET", _KEYS + "/{roomId}/{sessionId}")
    async def get_one(self, call: Call) -> Response:
        room_id, session_id = call.path["roomId"], call.path["sessionId"]
        return bytes_response(await self._backups.get_key(call.user_id, _version(call), room_id, session_id))

    @endpoint("DELETE", _KEYS)
    async def delete_all(self, call: Call) -> Response:
        return _updated(await self._backups.remove(call.user_id, _version(call)))

    @endpoint("DELETE", _KEYS + "/{roomId}")
    async def delete_room(self, call: Call) -> Response:
        return _updated(await self._backups.remove(call.user_id, _version(call), call.path["roomId"]))

    @endpoint("DELETE", _KEYS + "/{roomId}/{sessionId}")
    async def delete_one(self, call: Call) -> Response:
        return _updated(
            await self._backups.remove(call.user_id, _version(call), call.path["roomId"], call.path["sessionId"])
        )


def _room(keys: list[bytes]) -> bytes:
    return b'{"sessions":{' + b",".join(keys) + b"}}"


def _version(call: Call) -> str:
    version = call.query("version")
    if version is None:
        raise missing("version")
    return version


def _described(body: JsonObject) -> tuple[str, JsonObject]:
    for name in ("algorithm", "auth_data"):
        if name not in body:
            raise missing(name)
    algorithm, auth_data = body["algorithm"], body["auth_data"]
    if not isinstance(algorithm, str) or not 0 < len(algorithm) <= MAX_NAME:
        raise bad_json("algorithm must be a text")
    if not isinstance(auth_data, dict):
        raise bad_json("auth_data must be an object")
    return algorithm, auth_data


def _map(body: JsonObject, name: str) -> JsonObject:
    if name not in body:
        raise missing(name)
    value = body[name]
    if not isinstance(value, dict):
        raise bad_json(f"{name} must be an object")
    return value


def _sessions(room: JsonObject) -> dict[str, JsonObject]:
    return {session_id: _key(key) for session_id, key in _map(room, "sessions").items()}


def _key(value: object) -> JsonObject:
    try:
        return read_backed_up_key(value)
    except BadBackup as error:
        raise bad_json(str(error)) from error


def _backup(backup: Backup) -> Response:
    return json_response(
        {
            "algorithm": backup.algorithm,
            "auth_data": backup.auth_data,
            "count": backup.count,
            "etag": backup.etag,
            "version": backup.version,
        }
    )


def _updated(updated: Updated) -> Response:
    return json_response({"count": updated.count, "etag": updated.etag})
