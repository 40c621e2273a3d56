"""A user's pushers: where clients are told of events while they are not connected.

spec: Matrix client-server module push, GET /pushers, POST /pushers/set. Telling them is matrix/push/.
"""

from collections.abc import Callable
from typing import Final

from tripoint.accounts.ports import AccountService
from tripoint.accounts.pushers import HTTP, Pusher
from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response
from tripoint.matrix.push.gateway import ONLY_IDS, PATH, check_gateway
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.ports import RoomReader

# spec: POST /pushers/set
MAX_KEY_BYTES: Final = 512
MAX_APP_ID: Final = 64
MAX_TEXT: Final = 255
MAX_DATA_BYTES: Final = 4096
_TEXTS: Final = ("app_display_name", "device_display_name", "lang")


class PusherEndpoints:
    def __init__(self, accounts: AccountService, reader: RoomReader, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._reader = reader
        self._now_ms = now_ms

    @endpoint("GET", "/_matrix/client/v3/pushers")
    async def pushers(self, call: Call) -> Response:
        pushers = self._accounts.pushers.of(call.user_id)
        return json_response({"pushers": [shown_pusher(pusher) for pusher in pushers if pusher.kind == HTTP]})

    @endpoint("POST", "/_matrix/client/v3/pushers/set")
    async def set(self, call: Call) -> Response:
        body = call.json()
        missing = [name for name in ("kind", "app_id", "pushkey") if name not in body]
        if body.get("kind") is not None:
            missing += [name for name in (*_TEXTS, "data") if name not in body]
        if missing:
            raise MatrixError(400, "M_MISSING_PARAM", f"Missing parameters: {', '.join(missing)}")
        app_id = _text(body, "app_id", MAX_APP_ID)
        pushkey = _text(body, "pushkey", MAX_KEY_BYTES)
        if body["kind"] is None:
            await self._accounts.pushers.delete((call.user_id, app_id, pushkey))
            return EMPTY
        if body["kind"] != HTTP:
            raise invalid("This server has pushers of kind http alone")
        append = body.get("append", False)
        if not isinstance(append, bool):
            raise bad_json("append is true or false")
        settings: JsonObject = {name: _text(body, name, MAX_TEXT) for name in _TEXTS}
        if body.get("profile_tag") is not None:
            settings["profile_tag"] = _text(body, "profile_tag", MAX_TEXT)
        settings["data"] = _data(body, call)
        # What was said before it was there is not for it.
        position = self._reader.stream_position().of()
        pusher = Pusher(call.user_id, app_id, pushkey, call.device_id, settings, self._now_ms(), position)
        await self._accounts.pushers.set(pusher, append=append)
        return EMPTY


def _data(body: JsonObject, call: Call) -> JsonObject:
    if not isinstance(body["data"], dict):
        raise bad_json("data must be an object")
    if len(call.request.body) > MAX_DATA_BYTES:
        raise MatrixError(413, "M_TOO_LARGE", f"A pusher has at most {MAX_DATA_BYTES} bytes")
    data = object_at(body, "data")
    url = data.get("url")
    if not isinstance(url, str):
        raise MatrixError(400, "M_MISSING_PARAM", "Missing parameters: data.url")
    if not check_gateway(url):
        raise invalid(f"data.url must be an https address whose path is {PATH}")
    if data.get("format", ONLY_IDS) != ONLY_IDS:
        raise invalid(f"The format of a pusher is {ONLY_IDS}, or left out")
    return data


def _text(body: JsonObject, name: str, limit_bytes: int) -> str:
    value = body[name]
    if not isinstance(value, str):
        raise bad_json(f"{name} must be a text")
    if len(value.encode()) > limit_bytes:
        raise invalid(f"{name} has at most {limit_bytes} bytes")
    return value


def shown_pusher(pusher: Pusher) -> JsonObject:
    return {"pushkey": pusher.pushkey, "app_id": pusher.app_id, "kind": pusher.kind, **pusher.settings}
