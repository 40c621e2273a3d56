"""Tags that users give rooms. spec: Matrix client-server module tags. Keeping them is accounts/tags.py's."""

import re

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import RoomId
from tripoint.matrix.errors import EMPTY, MatrixError, invalid, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

_TAGS = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags"
# spec: "The name of a tag MUST NOT exceed 255 bytes."
MAX_TAG_BYTES = 255
MAX_TAGS = 100
_ROOM_ID = re.compile(r"![^\0]{1,254}\Z")


class TagEndpoints:
    def __init__(self, accounts: AccountService) -> None:
        self._tags = accounts.tags

    @endpoint("GET", _TAGS)
    async def tags(self, call: Call) -> Response:
        return json_response({"tags": await self._tags.of(call.user_id, _room(call))})

    @endpoint("PUT", f"{_TAGS}/{{tag}}")
    async def put(self, call: Call) -> Response:
        room_id, tag, body = _room(call), call.path["tag"], call.json_or_empty()
        order = body.get("order")
        if len(tag.encode()) > MAX_TAG_BYTES or not tag:
            raise invalid(f"A tag has 1 to {MAX_TAG_BYTES} bytes")
        if "order" in body and (isinstance(order, bool) or not isinstance(order, int | float) or not 0 <= order <= 1):
            raise invalid("order is a number from 0 to 1")
        if not await self._tags.put(call.user_id, room_id, tag, body, limit=MAX_TAGS):
            raise invalid(f"A room has at most {MAX_TAGS} tags")
        return EMPTY

    @endpoint("DELETE", f"{_TAGS}/{{tag}}")
    async def delete(self, call: Call) -> Response:
        await self._tags.delete(call.user_id, _room(call), call.path["tag"])
        return EMPTY


def _room(call: Call) -> RoomId:
    if call.path["userId"] != call.user_id:
        raise MatrixError(403, "M_FORBIDDEN", "That belongs to somebody else")
    if _ROOM_ID.match(call.path["roomId"]) is None:
        raise invalid("That is no room id")
    return RoomId(call.path["roomId"])
