"""GET /notifications: what somebody was notified of.

spec: Matrix client-server module push, "Listing Notifications"
"""

from typing import Final

import orjson

from tripoint.core.stream_position import BadPosition, parse_stream_position
from tripoint.matrix.errors import bytes_response, invalid
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.tokens import page_token
from tripoint.net.http import Response
from tripoint.rooms.notified import MAX_PAGE, Notification
from tripoint.rooms.ports import RoomReader

DEFAULT_LIMIT: Final = 20


class NotificationEndpoints:
    def __init__(self, reader: RoomReader, renderer: Renderer) -> None:
        self._reader = reader
        self._renderer = renderer

    @endpoint("GET", "/_matrix/client/v3/notifications")
    async def notifications(self, call: Call) -> Response:
        limit, start = call.number("limit"), call.query("from")
        before = None
        if start:
            try:
                before = parse_stream_position(start.removeprefix("s")).of()
            except BadPosition as error:
                raise invalid(str(error)) from None
        page = await self._reader.notified(
            call.user_id,
            before=before,
            limit=max(1, min(DEFAULT_LIMIT if limit is None else limit, MAX_PAGE)),
            highlights_only=call.query("only") == "highlight",
        )
        parts = [b'{"notifications":[', b",".join(self._one(one) for one in page.notifications), b"]"]
        if page.end is not None:
            parts.append(b',"next_token":"' + page_token(page.end).encode() + b'"')
        return bytes_response(b"".join((*parts, b"}")))

    def _one(self, one: Notification) -> bytes:
        return orjson.dumps(
            {
                "actions": one.actions,
                "event": orjson.Fragment(self._renderer.timeline(one.item)),
                "read": one.read,
                "room_id": one.room_id,
                "ts": one.item.event.origin_server_ts,
            }
        )
