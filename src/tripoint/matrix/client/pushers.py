"""A user's pushers: where clients are told of events while they are not connected, or people by e-mail.

spec: Matrix client-server module push, GET /pushers, POST /pushers/set. Telling them is matrix/push/.
"""

from collections.abc import Callable
from typing import Final

from tripoint.accounts.ports import AccountService
from tripoint.accounts.pushers import EMAIL, HTTP, Pusher
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.email_address import parse_email_address
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
# spec: "If the kind is "email", this is "m.email"."
EMAIL_APP: Final = "m.email"
_TEXTS: Final = ("app_display_name", "device_display_name", "lang")


class PusherEndpoints:
    def __init__(self, accounts: AccountService, reader: RoomReader, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._reader = reader
        self._now_ms = now_ms

    @endpoint("GET", "/_matrix/client/v3/pushers")
    async def pushers(self, call: Call) -> Response:
        pushers = self._accounts.pushers.of(call.user_id)
        return json_response({"pushers": [shown_pusher(pusher) for pusher in pushers if pusher.kind in (HTTP, EMAIL)]})

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
        if app_id == EMAIL_APP:
            pushkey = parse_email_address(pushkey)
        if body["kind"] is None:
            await self._accounts.pushers.delete((call.user_id, app_id, pushkey))
            return EMPTY
        kind = body["kind"]
        if kind not in (HTTP, EMAIL):
            raise invalid("This server has pushers of the kinds http and email")
        if kind == EMAIL or app_id == EMAIL_APP:
            await self._check_email(call, kind, app_id, pushkey)
        append = body.get("append", False)
        if not isinstance(append, bool):
            raise bad_json("append is true or false")
        settings: JsonObject = {name: _text(body, name, MAX_TEXT) for name in _TEXTS}
        if body.get("profile_tag") is not None:
            settings["profile_tag"] = _text(body, "profile_tag", MAX_TEXT)
        settings["data"] = _data(body, call, kind)
        if kind == EMAIL:
            settings["kind"] = EMAIL
        # What was said before it was there is not for it.
        position = self._reader.stream_position().of()
        # Letters are for people: they go on when the client that asked for them logs out.
        device_id = call.device_id if kind == HTTP else ""
        pusher = Pusher(call.user_id, app_id, pushkey, device_id, settings, self._now_ms(), position)
        await self._accounts.pushers.set(pusher, append=append)
        return EMPTY

    async def _check_email(self, call: Call, kind: Json, app_id: str, pushkey: str) -> None:
        if kind != EMAIL or app_id != EMAIL_APP:
            raise invalid(f"Pushers of kind email have the app_id {EMAIL_APP}, and no others")
        if not self._accounts.contacts.is_on:
            raise invalid("This server sends no mail")
        if not await self._accounts.contacts.has(call.user_id, pushkey):
            raise MatrixError(400, "M_THREEPID_NOT_FOUND", "That is no e-mail address of your account")


def _data(body: JsonObject, call: Call, kind: Json) -> JsonObject:
    if not isinstance(body["data"], dict):
        raise bad_json("data must be an object")
    if len(call.request.body) > MAX_DATA_BYTES:
        raise MatrixError(413, "M_TOO_LARGE", f"A pusher has at most {MAX_DATA_BYTES} bytes")
    data = object_at(body, "data")
    if kind == EMAIL:
        return data
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
