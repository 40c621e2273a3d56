"""What is about an event, and the threads of a room.

spec: Matrix client-server "Relationships API", module threading "Querying threads in a room"
"""

from tripoint.core.ids import EventId, RoomId
from tripoint.matrix.errors import MatrixError, bytes_response, invalid
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import page_token, parse_token
from tripoint.net.http import Response
from tripoint.rooms.history import HistoryPage, RelationsQuery, ThreadsQuery
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.relating import DEPTH

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
_RELATIONS = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"


class RelationEndpoints:
    def __init__(self, reader: RoomReader, renderer: Renderer, sync: SyncServer) -> None:
        self._reader = reader
        self._renderer = renderer
        self._sync = sync

    @endpoint("GET", _RELATIONS, f"{_RELATIONS}/{{relType}}", f"{_RELATIONS}/{{relType}}/{{eventType}}")
    async def relations(self, call: Call) -> Response:
        room_id = await self._readable(call)
        direction = call.query("dir") or "b"
        if direction not in ("b", "f"):
            raise invalid("dir is b or f")
        recurse = call.query("recurse") or "false"
        if recurse not in ("true", "false"):
            raise invalid("recurse is true or false")
        query = RelationsQuery(
            room_id=room_id,
            event_id=EventId(call.path["eventId"]),
            viewer=call.user_id,
            rel_type=call.path.get("relType"),
            type=call.path.get("eventType"),
            backward=direction == "b",
            start=self._position(call, "from"),
            end=self._position(call, "to"),
            limit=_limit(call),
            recurse=recurse == "true",
        )
        page = await self._reader.relations(query)
        more = [b',"recursion_depth":%d' % DEPTH] if query.recurse else []
        if call.query("from") is not None:
            more.append(b',"prev_batch":"' + page_token(page.start).encode() + b'"')
        return await self._page(call, room_id, page, more)

    @endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/threads")
    async def threads(self, call: Call) -> Response:
        room_id = await self._readable(call)
        include = call.query("include") or "all"
        if include not in ("all", "participated"):
            raise invalid("include is all or participated")
        query = ThreadsQuery(
            room_id=room_id,
            viewer=call.user_id,
            participated=include == "participated",
            start=self._position(call, "from"),
            limit=_limit(call),
        )
        return await self._page(call, room_id, await self._reader.threads(query), [])

    async def _page(self, call: Call, room_id: RoomId, page: HistoryPage, more: list[bytes]) -> Response:
        bundles = await self._reader.bundles(room_id, call.user_id, page.items)
        events = [
            self._renderer.history(
                item, self._sync.heard.own(item.event, call.session), bundles.get(item.event.event_id)
            )
            for item in page.items
        ]
        if page.end is not None:
            more = [*more, b',"next_batch":"' + page_token(page.end).encode() + b'"']
        return bytes_response(b"".join([b'{"chunk":[', b",".join(events), b"]", *more, b"}"]))

    async def _readable(self, call: Call) -> RoomId:
        """A room that the caller may read in. One that is not here is answered as one that is closed."""
        room_id = RoomId(call.path["roomId"])
        outside = MatrixError(403, "M_FORBIDDEN", "You are not in this room")
        try:
            room = await self._reader.room(room_id)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            raise outside from refused
        known = await self._reader.membership_positions(call.user_id)
        if room_id not in known and room.history_visibility != "world_readable":
            raise outside
        return room_id

    def _position(self, call: Call, name: str) -> int | None:
        text = call.query(name)
        return None if text is None else parse_token(text, self._sync.start).position


def _limit(call: Call) -> int:
    limit = call.number("limit")
    if limit is not None and limit < 1:
        raise invalid("limit is above 0")
    return DEFAULT_LIMIT if limit is None else min(limit, MAX_LIMIT)
