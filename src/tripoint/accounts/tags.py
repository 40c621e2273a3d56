"""Tags that users give rooms, kept as account data m.tag of the room. spec: Matrix client-server module tags"""

from tripoint.accounts.data import AccountData
from tripoint.accounts.in_turn import InTurn
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import object_at

TAG = "m.tag"
FAVOURITE = "m.favourite"


class AccountTags:
    """The tags of every local user. Reading, changing and writing those of one user is one step."""

    def __init__(self, data: AccountData) -> None:
        self._data = data
        self._in_turn = InTurn()

    async def of(self, user_id: UserId, room_id: RoomId) -> JsonObject:
        """The tags of a room by their names; a value may say their `order`."""
        return object_at(await self._data.get(user_id, room_id, TAG) or {}, "tags")

    async def put(self, user_id: UserId, room_id: RoomId, tag: str, value: JsonObject, *, limit: int) -> bool:
        """Tag a room; False where it has `limit` other tags already. SERVER_BUSY."""
        async with self._in_turn(user_id):
            tags = await self.of(user_id, room_id)
            if tag not in tags and len(tags) >= limit:
                return False
            await self._data.set(user_id, room_id, TAG, {"tags": {**tags, tag: value}})
            return True

    async def delete(self, user_id: UserId, room_id: RoomId, tag: str) -> None:
        """Take a tag away; nothing happens where there is none. SERVER_BUSY."""
        async with self._in_turn(user_id):
            tags = await self.of(user_id, room_id)
            if tag in tags:
                left = {name: value for name, value in tags.items() if name != tag}
                await self._data.set(user_id, room_id, TAG, {"tags": left})
