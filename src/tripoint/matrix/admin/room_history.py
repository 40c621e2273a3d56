"""What was said in rooms, for administrators who are not in them: pages, one event and what stands around it.

The filters are those of /messages. docs/operate/administration.md
"""

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.matrix.admin.asking import V1, room_of
from tripoint.matrix.errors import bytes_response, invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint, time_and_direction
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.filters import PASS_ALL, parse_filter_json, read_event_filter
from tripoint.matrix.sync.tokens import page_token, parse_token
from tripoint.net.http import Response
from tripoint.rooms.desk import Desk
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryPage, HistoryQuery
from tripoint.rooms.ports import RoomReader

MAX_PAGE = 1000


class AdminHistoryEndpoints:
    """`start_key`: what this process' sync tokens begin with (matrix/sync/tokens.py)."""

    def __init__(self, reader: RoomReader, renderer: Renderer, desk: Desk, start_key: str) -> None:
        self._reader = reader
        self._renderer = renderer
        self._inspection = desk.inspection
        self._start_key = start_key

    @endpoint("GET", f"{V1}/rooms/{{room_id}}/messages", auth=Auth.ADMIN)
    async def messages(self, call: Call) -> Response:
        direction = call.query("dir") or "f"
        if direction not in ("b", "f"):
            raise invalid("dir is b or f")
        token = call.query("from")
        start = None if token is None else parse_token(token, self._start_key).position
        wanted = Direction.BACKWARD if direction == "b" else Direction.FORWARD
        page = await self._page(call, room_of(call), wanted, start, _limit(call))
        chunk = b",".join(map(self._renderer.history, page.items))
        end = b"" if page.end is None else b',"end":"' + page_token(page.end).encode() + b'"'
        return bytes_response(
            b'{"chunk":[' + chunk + b'],"start":"' + page_token(page.start).encode() + b'"' + end + b"}"
        )

    @endpoint("GET", f"{V1}/rooms/{{room_id}}/context/{{event_id}}", auth=Auth.ADMIN)
    async def context(self, call: Call) -> Response:
        room_id, limit = room_of(call), _limit(call)
        target = await self._inspection.event(room_id, EventId(call.path["event_id"]))
        here = target.position
        before = await self._page(call, room_id, Direction.BACKWARD, here - 1, limit - limit // 2)
        after = await self._page(call, room_id, Direction.FORWARD, here, limit // 2)
        room = await self._reader.room(room_id)
        parts = (
            b'{"event":' + self._renderer.history(target),
            b'"events_before":[' + self._many(before.items) + b"]",
            b'"events_after":[' + self._many(after.items) + b"]",
            b'"state":[' + b",".join(map(self._renderer.event, room.state.values())) + b"]",
            b'"start":"' + page_token(before.start if before.end is None else before.end).encode() + b'"',
            b'"end":"' + page_token(after.start if after.end is None else after.end).encode() + b'"}',
        )
        return bytes_response(b",".join(parts))

    @endpoint("GET", f"{V1}/rooms/{{room_id}}/timestamp_to_event", auth=Auth.ADMIN)
    async def timestamp_to_event(self, call: Call) -> Response:
        ts_ms, forward = time_and_direction(call)
        item = await self._inspection.event_at(room_of(call), ts_ms, forward=forward)
        return json_response({"event_id": item.event.event_id, "origin_server_ts": item.event.origin_server_ts})

    @endpoint("GET", f"{V1}/fetch_event/{{event_id}}", auth=Auth.ADMIN)
    async def event(self, call: Call) -> Response:
        item = await self._inspection.find_event(EventId(call.path["event_id"]))
        return bytes_response(b'{"event":' + self._renderer.history(item) + b"}")

    def _many(self, items: tuple[HistoryItem, ...]) -> bytes:
        return b",".join(map(self._renderer.history, items))

    async def _page(
        self, call: Call, room_id: RoomId, direction: Direction, start: int | None, limit: int
    ) -> HistoryPage:
        text = call.query("filter")
        wanted = PASS_ALL if text is None else read_event_filter(parse_filter_json(text))
        wanted = wanted.in_room(room_id)
        return await self._inspection.history(
            HistoryQuery(
                room_id=room_id,
                viewer=call.user_id,
                direction=direction,
                anchor=None if start is None else ByPosition(start),
                limit=limit,
                types=wanted.types,
                not_types=wanted.not_types,
                senders=None if wanted.senders is None else tuple(map(UserId, wanted.senders)),
                not_senders=tuple(map(UserId, wanted.not_senders)),
                contains_url=wanted.contains_url,
            )
        )


def _limit(call: Call) -> int:
    wanted = call.number("limit")
    return min(10 if wanted is None else max(1, wanted), MAX_PAGE)
