"""Room names and the directory. spec: Matrix client-server "Room aliases", "Listing rooms"."""

import re
from typing import Any

from tripoint.core.ids import RoomAlias, RoomId, ServerName, parse_room_alias, server_of
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import DeleteAlias, Origin, SetAlias, SetListed
from tripoint.rooms.ports import PublicRoom, RoomReader, RoomService
from tripoint.rooms.refusals import Refusal, Refused

MAX_PAGE = 500
_PAGE = re.compile(r"[0-9]{1,9}\Z")


class DirectoryEndpoints:
    def __init__(self, rooms: RoomService, reader: RoomReader, server: ServerName) -> None:
        self._rooms = rooms
        self._reader = reader
        self._server = server

    @endpoint(
        "GET",
        "/_matrix/client/v3/directory/room/{roomAlias}",
        "/_matrix/client/r0/directory/room/{roomAlias}",
        auth=Auth.NONE,
    )
    async def resolve(self, call: Call) -> Response:
        alias = parse_room_alias(call.path["roomAlias"])
        room_id = await self._reader.resolve_alias(alias)
        if room_id is None:
            local = server_of(alias) == self._server
            text = f"There is no room {alias}" if local else "Rooms of other servers are not reachable yet"
            raise MatrixError(404, "M_NOT_FOUND", text)
        return json_response({"room_id": room_id, "servers": [self._server]})

    @endpoint("PUT", "/_matrix/client/v3/directory/room/{roomAlias}")
    async def set_alias(self, call: Call) -> Response:
        room_id = call.json().get("room_id")
        if not isinstance(room_id, str):
            raise missing("room_id")
        alias: RoomAlias = parse_room_alias(call.path["roomAlias"])
        try:
            await self._rooms.do(
                SetAlias(actor=call.user_id, origin=Origin(call.session), alias=alias, room_id=RoomId(room_id))
            )
        except Refused as refused:
            if refused.refusal is Refusal.ALIAS_TAKEN:
                # spec: PUT /directory/room: 409 here, where createRoom says M_ROOM_IN_USE.
                raise MatrixError(409, "M_UNKNOWN", refused.text) from refused
            raise
        return EMPTY

    @endpoint("DELETE", "/_matrix/client/v3/directory/room/{roomAlias}")
    async def delete_alias(self, call: Call) -> Response:
        alias = parse_room_alias(call.path["roomAlias"])
        await self._rooms.do(DeleteAlias(actor=call.user_id, origin=Origin(call.session), alias=alias))
        return EMPTY

    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/aliases")
    async def aliases(self, call: Call) -> Response:
        room = await self._reader.room(RoomId(call.path["roomId"]))
        if room.membership(call.user_id) != "join" and room.history_visibility != "world_readable":
            raise MatrixError(403, "M_FORBIDDEN", "You are not in this room")
        return json_response({"aliases": list(room.aliases)})

    @endpoint("GET", "/_matrix/client/v3/directory/list/room/{roomId}", auth=Auth.NONE)
    async def get_listed(self, call: Call) -> Response:
        room = await self._reader.room(RoomId(call.path["roomId"]))
        return json_response({"visibility": "public" if room.listed else "private"})

    @endpoint("PUT", "/_matrix/client/v3/directory/list/room/{roomId}")
    async def set_listed(self, call: Call) -> Response:
        visibility = call.json_or_empty().get("visibility", "public")
        if visibility not in ("public", "private"):
            raise invalid("visibility is public or private")
        room_id = RoomId(call.path["roomId"])
        await self._rooms.do(SetListed(actor=call.user_id, room_id=room_id, listed=visibility == "public"))
        return EMPTY

    @endpoint("GET", "/_matrix/client/v3/publicRooms", "/_matrix/client/r0/publicRooms", auth=Auth.NONE)
    async def list_rooms(self, call: Call) -> Response:
        return await self._list(call.query("server"), None, call.number("limit"), call.query("since"))

    @endpoint("POST", "/_matrix/client/v3/publicRooms", "/_matrix/client/r0/publicRooms")
    async def search_rooms(self, call: Call) -> Response:
        body = call.json_or_empty()
        criteria = body.get("filter", {})
        if not isinstance(criteria, dict):
            raise bad_json("filter must be an object")
        search, limit, since = criteria.get("generic_search_term"), body.get("limit"), body.get("since")
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            raise invalid("limit must be a number")
        types = criteria.get("room_types")
        return await self._list(
            call.query("server"),
            search if isinstance(search, str) else None,
            limit if isinstance(limit, int) else None,
            since if isinstance(since, str) else None,
            types if isinstance(types, list) else None,
        )

    async def _list(
        self,
        server: str | None,
        search: str | None,
        limit: int | None,
        since: str | None,
        types: list[Any] | None = None,
    ) -> Response:
        if server is not None and server != self._server:
            raise MatrixError(404, "M_NOT_FOUND", "The directories of other servers are not reachable yet")
        if since and _PAGE.match(since) is None:
            raise invalid("since is not a token of this server")
        offset = int(since) if since else 0
        count = MAX_PAGE if limit is None or limit == 0 else min(limit, MAX_PAGE)
        rows = await self._reader.public_rooms(search=search, limit=1_000_000, offset=0)
        if types is not None:
            rows = [row for row in rows if row.room_type in types]
        page = rows[offset : offset + count]
        body: dict[str, Any] = {
            "chunk": [_entry(row) for row in page],
            "total_room_count_estimate": len(rows),
        }
        if offset + count < len(rows):
            body["next_batch"] = str(offset + count)
        if offset:
            body["prev_batch"] = str(max(0, offset - count))
        return json_response(body)


def _entry(row: PublicRoom) -> dict[str, Any]:
    """spec: PublishedRoomsChunk."""
    entry: dict[str, Any] = {
        "room_id": row.room_id,
        "num_joined_members": row.joined,
        "world_readable": row.world_readable,
        "guest_can_join": row.guest_can_join,
        "join_rule": row.join_rule,
    }
    for key, value in (
        ("canonical_alias", row.alias),
        ("name", row.name),
        ("topic", row.topic),
        ("avatar_url", row.avatar_url),
        ("room_type", row.room_type),
    ):
        if value is not None:
            entry[key] = value
    return entry
