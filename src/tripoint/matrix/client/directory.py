"""Room names and the directory. spec: Matrix client-server "Room aliases", "Listing rooms"."""

from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, ServerName, parse_room_alias, parse_server_name
from tripoint.matrix.appservice.identity import check_own_name, is_by_service
from tripoint.matrix.body import needed_text
from tripoint.matrix.errors import EMPTY, MatrixError, invalid, json_response
from tripoint.matrix.public_rooms import check_search, room_page
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import DeleteAlias, SetAlias, SetListed
from tripoint.rooms.ports import RoomReader, RoomService
from tripoint.rooms.refusals import Refusal, Refused


class DirectoryEndpoints:
    def __init__(
        self, rooms: RoomService, reader: RoomReader, accounts: AccountService, server: ServerName
    ) -> None:
        self._accounts = accounts
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
        room_id = await self._reader.resolve_alias(alias, ask=not is_by_service(self._accounts, call))
        if room_id is None:
            raise MatrixError(404, "M_NOT_FOUND", Refusal.NO_SUCH_ROOM.value)
        return json_response({"room_id": room_id, "servers": list(await self._reader.ways_to(room_id))})

    @endpoint("PUT", "/_matrix/client/v3/directory/room/{roomAlias}")
    async def set_alias(self, call: Call) -> Response:
        room_id = needed_text(call.json(), "room_id")
        alias: RoomAlias = parse_room_alias(call.path["roomAlias"])
        check_own_name(call, alias)
        try:
            await self._rooms.do(
                SetAlias(actor=call.user_id, origin=call.by(), alias=alias, room_id=RoomId(room_id))
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
        await self._rooms.do(DeleteAlias(actor=call.user_id, origin=call.by(), alias=alias))
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
        return await self._list(call, {"limit": call.number("limit"), "since": call.query("since")})

    @endpoint("POST", "/_matrix/client/v3/publicRooms", "/_matrix/client/r0/publicRooms")
    async def search_rooms(self, call: Call) -> Response:
        return await self._list(call, check_search(call.json_or_empty()))

    async def _list(self, call: Call, wanted: JsonObject) -> Response:
        """spec: `server`: "The server to fetch the published room directory from"."""
        name = call.query("server")
        if name is None or name == self._server:
            return json_response(await room_page(self._reader, wanted))
        asked = ("limit", "since", "filter", "include_all_networks", "third_party_instance_id")
        passed_on: JsonObject = {key: wanted[key] for key in asked if wanted.get(key) is not None}
        return json_response(await self._reader.remote_rooms(parse_server_name(name), passed_on))
