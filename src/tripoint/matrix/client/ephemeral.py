"""Typing, read markers and presence. spec: Matrix client-server modules of these names."""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import EventId, RoomId, UserId, parse_user_id
from tripoint.matrix.body import needed_text, text_in
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response
from tripoint.matrix.presence import DevicePresence
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import SetReceipt, SetTyping
from tripoint.rooms.ports import RoomReader, RoomService
from tripoint.rooms.refusals import Refusal, Refused

# The body of /read_markers: key -> kind of receipt.
_MARKERS = ("m.fully_read", "m.read", "m.read.private")


class EphemeralEndpoints:
    def __init__(self, rooms: RoomService, reader: RoomReader, presence: DevicePresence) -> None:
        self._rooms = rooms
        self._reader = reader
        self._presence = presence

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/typing/{userId}",
        "/_matrix/client/r0/rooms/{roomId}/typing/{userId}",
    )
    async def typing(self, call: Call) -> Response:
        _check_own(call)
        body = call.json()
        typing, timeout = body.get("typing"), body.get("timeout", 30_000)
        if not isinstance(typing, bool) or not isinstance(timeout, int) or isinstance(timeout, bool):
            raise bad_json("typing is true or false, timeout a number of milliseconds")
        await self._rooms.do(
            SetTyping(
                actor=call.user_id,
                origin=call.by(),
                room_id=RoomId(call.path["roomId"]),
                typing=typing,
                timeout_ms=timeout,
            )
        )
        return EMPTY

    @endpoint(
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
        "/_matrix/client/r0/rooms/{roomId}/receipt/{receiptType}/{eventId}",
    )
    async def receipt(self, call: Call) -> Response:
        kind = call.path["receiptType"]
        if kind not in _MARKERS:
            raise invalid(f"{kind} is no kind of receipt")
        thread = call.json_or_empty().get("thread_id")
        if thread is not None and (not isinstance(thread, str) or not thread):
            raise invalid("thread_id must be main or an event id")
        if thread is not None and kind == "m.fully_read":
            raise invalid("m.fully_read is for the whole room, not for a thread")
        try:
            await self._set(call, kind, call.path["eventId"], thread if isinstance(thread, str) else None)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_THREAD_THERE:
                raise
            raise invalid(refused.text) from refused
        return EMPTY

    @endpoint(
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/read_markers",
        "/_matrix/client/r0/rooms/{roomId}/read_markers",
    )
    async def read_markers(self, call: Call) -> Response:
        body = call.json_or_empty()
        given = {kind: body[kind] for kind in _MARKERS if kind in body}
        for kind, event_id in given.items():
            if not isinstance(event_id, str):
                raise bad_json(f"{kind} must be an event id")
        for kind, event_id in given.items():
            await self._set(call, kind, str(event_id), None)
        return EMPTY

    async def _set(self, call: Call, kind: str, event_id: str, thread_id: str | None) -> None:
        await self._rooms.do(
            SetReceipt(
                actor=call.user_id,
                origin=call.by(),
                room_id=RoomId(call.path["roomId"]),
                event_id=EventId(event_id),
                kind=kind,
                thread_id=thread_id,
            )
        )

    @endpoint("PUT", "/_matrix/client/v3/presence/{userId}/status")
    async def set_presence(self, call: Call) -> Response:
        _check_own(call)
        body = call.json()
        presence, status = needed_text(body, "presence"), text_in(body, "status_msg")
        if presence not in ("online", "unavailable", "offline"):
            raise invalid("presence is online, unavailable or offline")
        self._presence.set(
            call.user_id,
            call.session,
            presence,
            status,
            lasts=call.caller.service is not None,
        )
        return EMPTY

    @endpoint("GET", "/_matrix/client/v3/presence/{userId}/status")
    async def get_presence(self, call: Call) -> Response:
        user_id: UserId = parse_user_id(call.path["userId"])
        if user_id != call.user_id and user_id not in await self._reader.sharing(call.user_id, {user_id}):
            raise MatrixError(403, "M_FORBIDDEN", "You share no room with them")
        presence = self._reader.presence(user_id)
        body: JsonObject = {"presence": presence.presence}
        if presence.last_active_ts_ms:
            body["last_active_ago"] = self._presence.ago_ms(presence.last_active_ts_ms)
            body["currently_active"] = presence.presence == "online"
        if presence.status_msg is not None:
            body["status_msg"] = presence.status_msg
        return json_response(body)


def _check_own(call: Call) -> None:
    if call.path["userId"] != call.user_id:
        raise MatrixError(403, "M_FORBIDDEN", "You may only do this for yourself")
