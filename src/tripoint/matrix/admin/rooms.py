"""Rooms as administrators see them: lists, one of them, who is in it, its state, where its graph ends, who may enter.

docs/operate/administration.md. What was said in them is room_history.py's, what is done to them room_actions.py's.
"""

from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import ServerName, server_of
from tripoint.core.listings import ROOM_ORDERS, RoomQuery
from tripoint.matrix.admin.asking import V1, backward_of, flag_of, next_page, order_of, page_of, room_named, room_of
from tripoint.matrix.body import bool_in
from tripoint.matrix.errors import bytes_response, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.render import Renderer
from tripoint.net.http import Response
from tripoint.rooms.desk import Desk
from tripoint.rooms.ports import RoomReader, RoomView


class AdminRoomEndpoints:
    def __init__(
        self, accounts: AccountService, reader: RoomReader, renderer: Renderer, desk: Desk, server: ServerName
    ) -> None:
        self._accounts = accounts
        self._reader = reader
        self._renderer = renderer
        self._desk = desk
        self._server = server

    @endpoint("GET", f"{V1}/rooms", auth=Auth.ADMIN)
    async def listed(self, call: Call) -> Response:
        """`search_term`: a part of a name or alias, or a whole room id."""
        page, text = page_of(call), call.query("search_term")
        if text == "":
            raise invalid("search_term is not empty")
        query = RoomQuery(
            page,
            text=text,
            public=flag_of(call, "public_rooms"),
            empty=flag_of(call, "empty_rooms"),
            order=order_of(call, ROOM_ORDERS, "name"),
            backward=backward_of(call),
        )
        found, total = await self._desk.inspection.listed(query)
        rooms: list[Json] = [self._line(await self._reader.room(room_id)) for room_id in found]
        body: dict[str, Json] = {"offset": page.start, "rooms": rooms, "total_rooms": total}
        more = next_page(page, len(found), total)
        if more is not None:
            body["next_batch"] = more
        if page.start > 0:
            body["prev_batch"] = max(0, page.start - page.limit)
        return json_response(body)

    @endpoint("GET", f"{V1}/rooms/{{room_id}}", auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        room = await self._reader.room(room_of(call))
        tombstone = room.state.get(("m.room.tombstone", ""))
        local = [user_id for user_id in room.joined() if server_of(user_id) == self._server]
        devices = [len(await self._accounts.devices(user_id)) for user_id in local]
        return json_response(
            {
                **self._line(room),
                "avatar": _said(room, "m.room.avatar", "url"),
                "topic": room.topic,
                "joined_local_devices": sum(devices),
                "forgotten": not local and self._desk.closing.is_closed(room.room_id),
                "tombstoned": tombstone is not None,
                "replacement_room": _said(room, "m.room.tombstone", "replacement_room"),
            }
        )

    @endpoint("GET", f"{V1}/rooms/{{room_id}}/members", auth=Auth.ADMIN)
    async def members(self, call: Call) -> Response:
        room = await self._reader.room(room_of(call))
        return json_response({"members": list(room.joined()), "total": room.joined_count()})

    @endpoint("GET", f"{V1}/rooms/{{room_id}}/state", auth=Auth.ADMIN)
    async def state(self, call: Call) -> Response:
        """`type`: events of one type alone."""
        room, wanted = await self._reader.room(room_of(call)), call.query("type")
        events = (event for (type_, _), event in room.state.items() if wanted in (None, type_))
        return bytes_response(b'{"state":[' + b",".join(map(self._renderer.event, events)) + b"]}")

    @endpoint("GET", f"{V1}/rooms/{{room}}/forward_extremities", auth=Auth.ADMIN)
    async def ends(self, call: Call) -> Response:
        """Read alone: the next event that is sent joins them."""
        ends = await self._desk.inspection.ends(await room_named(self._reader, call.path["room"]))
        results: list[Json] = [
            {
                "event_id": end.event_id,
                "state_group": end.state_group,
                "depth": end.depth,
                "received_ts": end.received_ts_ms,
            }
            for end in ends
        ]
        return json_response({"count": len(results), "results": results})

    @endpoint("GET", f"{V1}/rooms/{{room_id}}/block", auth=Auth.ADMIN)
    async def is_blocked(self, call: Call) -> Response:
        by = self._desk.closing.closed_by(room_of(call))
        if by is None:
            return json_response({"block": False})
        return json_response({"block": True, **({"user_id": by} if by else {})})

    @endpoint("PUT", f"{V1}/rooms/{{room_id}}/block", auth=Auth.ADMIN)
    async def block(self, call: Call) -> Response:
        """Nobody of this server gets in any more, or again; the room need not be known here."""
        room_id, wish = room_of(call), bool_in(call.json(), "block")
        if wish is None:
            raise missing("block")
        if wish:
            await self._desk.closing.block(room_id, call.user_id)
        else:
            await self._desk.closing.unblock(room_id)
        return json_response({"block": wish})

    def _line(self, room: RoomView) -> JsonObject:
        create = room.state.get(("m.room.create", ""))
        return {
            "room_id": room.room_id,
            "name": room.name,
            "canonical_alias": room.canonical_alias,
            "joined_members": room.joined_count(),
            "joined_local_members": room.servers().get(self._server, 0),
            "version": room.version.id,
            "creator": None if create is None else create.sender,
            "encryption": _said(room, "m.room.encryption", "algorithm"),
            "federatable": _said(room, "m.room.create", "m.federate") is not False,
            "public": room.listed,
            "join_rules": _said(room, "m.room.join_rules", "join_rule"),
            "guest_access": _said(room, "m.room.guest_access", "guest_access"),
            "history_visibility": _said(room, "m.room.history_visibility", "history_visibility"),
            "state_events": len(room.state),
            "room_type": _said(room, "m.room.create", "type"),
        }


def _said(room: RoomView, type_: str, field: str) -> Json:
    event = room.state.get((type_, ""))
    return None if event is None else event.content.get(field)
