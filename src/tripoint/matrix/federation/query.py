"""Endpoints by which other servers look things up: aliases, profiles, the directory.

spec: Matrix server-server-api queryRoomDirectory, queryProfile, getPublicRooms, queryPublicRooms
"""

from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, parse_room_alias, parse_user_id, server_of
from tripoint.matrix.errors import MatrixError, invalid, json_response, missing
from tripoint.matrix.public_rooms import check_search, room_page
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.ports import RoomReader


class QueryEndpoints:
    """`server` is this server's name."""

    def __init__(self, reader: RoomReader, accounts: AccountService, server: ServerName) -> None:
        self._reader = reader
        self._accounts = accounts
        self._server = server

    @endpoint("GET", "/_matrix/federation/v1/query/directory", auth=Auth.SERVER)
    async def directory(self, call: Call) -> Response:
        try:
            alias = parse_room_alias(_needed(call, "room_alias"))
        except PeerError as error:
            raise invalid(str(error)) from error
        room_id = await self._reader.resolve_alias(alias) if server_of(alias) == self._server else None
        if room_id is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such room alias here")
        room = await self._reader.room(room_id)
        servers = sorted(room.servers(), key=lambda server: (server != self._server, -room.servers()[server]))
        return json_response({"room_id": room_id, "servers": list(servers) or [self._server]})

    @endpoint("GET", "/_matrix/federation/v1/query/profile", auth=Auth.SERVER)
    async def profile(self, call: Call) -> Response:
        try:
            user_id = parse_user_id(_needed(call, "user_id"))
        except PeerError as error:
            raise invalid(str(error)) from error
        if server_of(user_id) != self._server or not await self._accounts.is_local_user(user_id):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such user here")
        profile = await self._reader.whole_profile(user_id)
        field = call.query("field")
        body: JsonObject = {key: value for key, value in profile.items() if field in (None, key)}
        return json_response(body)

    @endpoint("GET", "/_matrix/federation/v1/publicRooms", auth=Auth.SERVER)
    async def list_rooms(self, call: Call) -> Response:
        wanted: JsonObject = {
            "limit": call.number("limit"),
            "since": call.query("since"),
            "include_all_networks": call.query("include_all_networks") == "true",
            "third_party_instance_id": call.query("third_party_instance_id"),
        }
        return json_response(await room_page(self._reader, wanted))

    @endpoint("POST", "/_matrix/federation/v1/publicRooms", auth=Auth.SERVER)
    async def search_rooms(self, call: Call) -> Response:
        return json_response(await room_page(self._reader, check_search(call.json_or_empty())))


def _needed(call: Call, name: str) -> str:
    value = call.query(name)
    if not value:
        raise missing(name)
    return value
