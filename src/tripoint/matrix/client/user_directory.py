"""Finding people, and the rooms that one shares with them.

spec: Matrix client-server, modules "User directory" and "Mutual rooms"
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import InvalidId, UserId, parse_user_id
from tripoint.matrix.errors import bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.ports import FoundUser, RoomReader

DEFAULT_LIMIT = 10
MAX_LIMIT = 50
MAX_TERM = 255
# Mutual rooms in one answer.
PAGE = 100


class UserDirectoryEndpoints:
    def __init__(self, reader: RoomReader) -> None:
        self._reader = reader

    @endpoint(
        "POST", "/_matrix/client/v3/user_directory/search", "/_matrix/client/r0/user_directory/search"
    )
    async def search(self, call: Call) -> Response:
        body = call.json()
        term, limit = body.get("search_term"), body.get("limit", DEFAULT_LIMIT)
        if "search_term" not in body:
            raise missing("search_term")
        if not isinstance(term, str):
            raise bad_json("search_term is a string")
        if type(limit) is not int or limit < 0:
            raise invalid("limit is a number that is not negative")
        if len(term) > MAX_TERM:
            raise invalid(f"search_term has at most {MAX_TERM} characters")
        found = await self._reader.find_users(call.user_id, term, min(limit, MAX_LIMIT))
        return json_response({"results": [_user(one) for one in found.users], "limited": found.more})

    @endpoint("GET", "/_matrix/client/v1/mutual_rooms")
    async def mutual_rooms(self, call: Call) -> Response:
        """Rooms that both are joined to, in the order of their ids; `next_batch` is the last one told of."""
        text, after = call.query("user_id"), call.query("from") or ""
        if text is None:
            raise missing("user_id")
        try:
            other = parse_user_id(text)
        except InvalidId:
            raise invalid("user_id is not the id of a user") from None
        if other == call.user_id:
            raise invalid("You share every room of yours with yourself")
        if after and not after.startswith("!"):
            raise invalid("from is next_batch of an earlier answer")
        rooms = sorted(await self._shared(call.user_id, other))
        rest = [room_id for room_id in rooms if room_id > after]
        answer: JsonObject = {"joined": list(rest[:PAGE]), "count": len(rooms)}
        if len(rest) > PAGE:
            answer["next_batch"] = rest[PAGE - 1]
        return json_response(answer)

    async def _shared(self, one: UserId, other: UserId) -> list[str]:
        shared = []
        for room_id, membership in (await self._reader.memberships(one)).items():
            if membership == "join" and (await self._reader.room(room_id)).membership(other) == "join":
                shared.append(str(room_id))
        return shared


def _user(found: FoundUser) -> JsonObject:
    entry: JsonObject = {"user_id": found.user_id}
    if found.displayname is not None:
        entry["display_name"] = found.displayname
    if found.avatar_url is not None:
        entry["avatar_url"] = found.avatar_url
    return entry
