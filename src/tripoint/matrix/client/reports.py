"""Telling the administrators of messages, rooms and users.

spec: Matrix client-server, module report-content; docs/mapping.md 9.13
"""

from tripoint.core.ids import EventId, RoomId, parse_user_id
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import Report
from tripoint.rooms.ports import RoomService
from tripoint.rooms.refusals import Refusal, Refused


class ReportEndpoints:
    def __init__(self, rooms: RoomService) -> None:
        self._rooms = rooms

    @endpoint(
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/report/{eventId}",
        "/_matrix/client/r0/rooms/{roomId}/report/{eventId}",
    )
    async def event(self, call: Call) -> Response:
        room_id, event_id = RoomId(call.path["roomId"]), EventId(call.path["eventId"])
        try:
            await self._rooms.do(
                Report(actor=call.user_id, room_id=room_id, event_ids=(event_id,), reason=_reason(call))
            )
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_EVENT:
                raise
            text = "The event was not found, or you are not joined to the room"
            raise MatrixError(404, "M_NOT_FOUND", text) from refused
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/report")
    async def room(self, call: Call) -> Response:
        room_id = RoomId(call.path["roomId"])
        try:
            await self._rooms.do(Report(actor=call.user_id, room_id=room_id, reason=_reason(call)))
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            raise MatrixError(404, "M_NOT_FOUND", "The room was not found") from refused
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/users/{userId}/report")
    async def user(self, call: Call) -> Response:
        target = parse_user_id(call.path["userId"])
        await self._rooms.do(Report(actor=call.user_id, target=target, reason=_reason(call)))
        return EMPTY


def _reason(call: Call) -> str:
    """The reason may be left out: clients do, and a report without one is still a report."""
    reason = call.json_or_empty().get("reason", "")
    if not isinstance(reason, str):
        raise bad_json("reason is a string")
    return reason
