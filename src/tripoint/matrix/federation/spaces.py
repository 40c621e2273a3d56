"""The endpoint by which other servers look into spaces. spec: Matrix server-server-api getSpaceHierarchy"""

from typing import Any

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.matrix.errors import MatrixError, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.summary import child_states, open_to, summary_of
from tripoint.net.http import Response
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refused
from tripoint.rooms.spaces import allowed_rooms, children_of

# Children of one space that are looked at for one answer.
MAX_CHILDREN = 500


class SpaceEndpoints:
    """Says what a space holds, as far as the asking server may know."""

    def __init__(self, reader: RoomReader) -> None:
        self._reader = reader

    @endpoint("GET", "/_matrix/federation/v1/hierarchy/{roomId}", auth=Auth.SERVER)
    async def hierarchy(self, call: Call) -> Response:
        room = await self._known(RoomId(call.path["roomId"]))
        if room is None or not await self._may_see(call.origin, room):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such room that your server may look at")
        children = children_of(room, suggested_only=call.query("suggested_only") == "true")[:MAX_CHILDREN]
        seen: list[dict[str, Any]] = []
        hidden: list[str] = []
        for event in children:
            child = await self._known(RoomId(event.state_key or ""))
            if child is None:
                continue
            if await self._may_see(call.origin, child):
                seen.append(summary_of(child))
            else:
                hidden.append(child.room_id)
        body: dict[str, Any] = {
            "room": {**summary_of(room), "children_state": child_states(children)},
            "children": seen,
            "inaccessible_children": hidden,
        }
        return json_response(body)

    async def _known(self, room_id: RoomId) -> RoomView | None:
        """A room that this server is in."""
        try:
            room = await self._reader.room(room_id)
        except Refused:
            return None
        return room if await self._reader.is_here(room_id) else None

    async def _may_see(self, server: ServerName, room: RoomView) -> bool:
        """Whether users of a server could look at a room or come into it."""
        if not room.allows_server(server):
            return False
        if server in room.servers() or open_to(summary_of(room), ()):
            return True
        invited = (u for u, member in room.members().items() if member.membership == "invite")
        if any(server_of(UserId(user_id)) == server for user_id in invited):
            return True
        if room.join_rule == "restricted":
            for room_id in allowed_rooms(room):
                other = await self._known(RoomId(room_id))
                if other is not None and server in other.servers():
                    return True
        return False
