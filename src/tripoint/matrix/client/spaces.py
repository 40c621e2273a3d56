"""What lies below a space, and what a room is before one joins it.

Rooms that this server is in are described from here, others by servers that are in them (rooms/abroad.py).
spec: Matrix client-server GET /hierarchy, GET /room_summary
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import InvalidId, RoomId, ServerName, UserId, parse_room_alias, parse_room_id, parse_server_name
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.matrix.errors import MatrixError, invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.summary import child_states, open_to, summary_of
from tripoint.net.http import Response
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refused
from tripoint.rooms.spaces import children_of

DEFAULT_PAGE, MAX_PAGE = 50, 100
MAX_DEPTH = 10
# Rooms that one walk looks at, pages before it included: a page is found by walking there again.
MAX_ROOMS = 2000
MAX_VIA = 3
_TOKEN = re.compile(r"h(\d{1,6})\.(\d{1,3})\.([01])\Z")


class SpaceClientEndpoints:
    """Looks into spaces for users, and at single rooms."""

    def __init__(self, reader: RoomReader) -> None:
        self._reader = reader

    @endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/hierarchy")
    async def hierarchy(self, call: Call) -> Response:
        flag = call.query("suggested_only") or "false"
        if flag not in ("true", "false"):
            raise invalid("suggested_only is true or false")
        suggested = flag == "true"
        limit = call.number("limit")
        if limit == 0:
            raise invalid("limit is above 0")
        limit = min(limit or DEFAULT_PAGE, MAX_PAGE)
        depth = call.number("max_depth")
        depth = MAX_DEPTH if depth is None else min(depth, MAX_DEPTH)
        skip = _skipped(call.query("from"), depth, suggested)
        walk = _Walk(self._reader, call.user_id, suggested, depth)
        rooms = await walk.rooms(_room_id(call.path["roomId"]), skip + limit + 1)
        if not rooms:
            raise MatrixError(403, "M_FORBIDDEN", "You may not look at this room, or it does not exist")
        body: dict[str, Any] = {"rooms": rooms[skip : skip + limit]}
        if len(rooms) > skip + limit:
            body["next_batch"] = f"h{skip + limit}.{depth}.{int(suggested)}"
        return json_response(body)

    @endpoint("GET", "/_matrix/client/v1/room_summary/{roomIdOrAlias}", auth=Auth.OPTIONAL)
    async def summary(self, call: Call) -> Response:
        name = call.path["roomIdOrAlias"]
        caller = call.maybe_caller
        via = _servers(call.request.queries().get("via", ()))
        if name.startswith("#"):
            found = await self._reader.resolve_alias(parse_room_alias(name))
            room_id = found if found is not None else RoomId("")
            via = (*via, *(await self._reader.ways_to(room_id) if found is not None else ()))
        else:
            room_id = _room_id(name)
        user_id = None if caller is None else caller.account.user_id
        # Who has not said who they are has nothing asked of other servers for them.
        walk = _Walk(self._reader, user_id, False, 0, ask=user_id is not None)
        rooms = await walk.rooms(room_id, 1, via) if room_id else []
        if not rooms:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such room that you may look at")
        (summary,) = rooms
        summary.pop("children_state", None)
        if user_id is not None and (membership := walk.memberships.get(room_id)) is not None:
            summary["membership"] = membership
        return json_response(summary)


class _Walk:
    """One walk through a space, depth first. `user_id` None: somebody who has not logged in."""

    def __init__(
        self, reader: RoomReader, user_id: UserId | None, suggested_only: bool, max_depth: int, *, ask: bool = True
    ) -> None:
        self._reader = reader
        self._user_id = user_id
        self._suggested_only = suggested_only
        self._max_depth = max_depth
        self._ask = ask
        # What answers of other servers told of children, and which of them are not to be had.
        self._told: dict[str, JsonObject] = {}
        self._hidden: set[str] = set()
        self.memberships: dict[RoomId, str] = {}
        self._joined: Collection[str] = ()

    async def rooms(self, root: RoomId, limit: int, via: Sequence[ServerName] = ()) -> list[dict[str, Any]]:
        """Up to `limit` rooms from the root on; none if the root may not be looked at."""
        if self._user_id is not None:
            self.memberships = dict(await self._reader.memberships(self._user_id))
            self._joined = {room_id for room_id, what in self.memberships.items() if what == "join"}
        found: list[dict[str, Any]] = []
        waiting: list[tuple[RoomId, Sequence[ServerName], int]] = [(root, via, 0)]
        seen: set[RoomId] = set()
        while waiting and len(found) < limit and len(seen) < MAX_ROOMS:
            room_id, servers, depth = waiting.pop()
            if room_id in seen:
                continue
            seen.add(room_id)
            room = await self._room(room_id, servers, children=depth < self._max_depth or depth == 0)
            if room is None:
                continue
            found.append(room)
            if depth < self._max_depth:
                below = [child for state in room["children_state"] if (child := _child(state)) is not None]
                waiting += [(child, ways, depth + 1) for child, ways in reversed(below)]
        return found

    async def _room(
        self, room_id: RoomId, via: Sequence[ServerName], *, children: bool
    ) -> dict[str, Any] | None:
        """One room with its children, if the user may look at it."""
        if await self._reader.is_here(room_id):
            room = await self._reader.room(room_id)
            summary = summary_of(room)
            if not self._may_see(room_id, summary):
                return None
            return {**summary, "children_state": child_states(children_of(room, suggested_only=self._suggested_only))}
        told = self._told.get(room_id)
        if told is not None and (not children or told.get("room_type") != "m.space"):
            return {**told, "children_state": []} if self._may_see(room_id, told) else None
        if not self._ask or room_id in self._hidden:
            return None
        try:
            answer = await self._reader.remote_space(room_id, via[:MAX_VIA], suggested_only=self._suggested_only)
        except Refused:
            return None
        for child in list_at(answer, "children"):
            if isinstance(child, dict) and (child_id := text_at(child, "room_id")) is not None:
                self._told[child_id] = child
        self._hidden |= {one for one in list_at(answer, "inaccessible_children") if isinstance(one, str)}
        summary = object_at(answer, "room")
        if summary.get("room_id") != room_id or not self._may_see(room_id, summary):
            return None
        states = [state for state in list_at(summary, "children_state") if isinstance(state, dict)]
        if self._suggested_only:
            states = [state for state in states if object_at(state, "content").get("suggested") is True]
        return {**summary, "children_state": states}

    def _may_see(self, room_id: RoomId, summary: JsonObject) -> bool:
        """spec: GET /hierarchy: "The server should return any rooms where at least one ..."."""
        return self.memberships.get(room_id) in ("join", "invite") or (
            self.memberships.get(room_id) != "ban" and open_to(summary, self._joined)
        )


def _child(state: JsonObject) -> tuple[RoomId, Sequence[ServerName]] | None:
    try:
        room_id = parse_room_id(text_at(state, "state_key") or "")
    except InvalidId:
        return None
    via = [name for name in list_at(object_at(state, "content"), "via") if isinstance(name, str)]
    return (room_id, _servers(via)) if via else None


def _servers(names: Sequence[str]) -> tuple[ServerName, ...]:
    found = []
    for name in names[: 4 * MAX_VIA]:
        try:
            found.append(parse_server_name(name))
        except InvalidId:
            continue
    return tuple(found)


def _room_id(text: str) -> RoomId:
    try:
        return parse_room_id(text)
    except InvalidId as error:
        raise invalid(str(error)) from error


def _skipped(token: str | None, depth: int, suggested: bool) -> int:
    """How many rooms earlier pages had."""
    if token is None:
        return 0
    match = _TOKEN.match(token)
    if match is None:
        raise invalid("from is no token of this server")
    if (int(match[2]), match[3]) != (depth, str(int(suggested))):
        raise invalid("suggested_only and max_depth cannot change on paginated requests")
    return int(match[1])
