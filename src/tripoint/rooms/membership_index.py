"""Which rooms a local user is in: in memory for users who are online, on disk for the others."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.core.notices import writes_notices
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.interface import RoomStore


class MembershipIndex:
    """user -> room -> (membership, position). A user's rooms are loaded once and kept current by commits.

    `max_rooms`: how many rooms an account may be joined to.
    """

    def __init__(self, store: RoomStore, server: ServerName, max_rooms: int) -> None:
        self._store = store
        self._max_rooms = max_rooms
        self._suffix = f":{server}"
        self._users: dict[UserId, dict[RoomId, tuple[str, int]]] = {}
        self._joined: dict[UserId, set[RoomId]] = {}
        # user -> what was committed while the user's rows were being read
        self._arriving: dict[UserId, dict[RoomId, tuple[str, int]]] = {}

    async def load(self, user_id: UserId) -> Mapping[RoomId, tuple[str, int]]:
        """Every room of a user with what the user is there."""
        rooms = self._users.get(user_id)
        if rooms is not None:
            return rooms
        arrived = self._arriving.setdefault(user_id, {})
        try:
            rows = await self._store.load_memberships(user_id)
        finally:
            if self._arriving.get(user_id) is arrived:
                del self._arriving[user_id]
        rooms = self._users.get(user_id)  # somebody else may have loaded it, and commits since moved it on
        if rooms is None:
            rooms = {row.room_id: (row.membership, row.position) for row in rows} | arrived
            self._users[user_id] = rooms
            self._joined[user_id] = {room_id for room_id, (what, _) in rooms.items() if what == "join"}
        return rooms

    def joined(self, user_id: UserId) -> Sequence[RoomId]:
        """Joined rooms of a user that was loaded; empty for others."""
        return tuple(self._joined.get(user_id, ()))

    async def joined_of(self, user_id: UserId) -> AbstractSet[RoomId]:
        """The joined rooms of a local user, loaded or not; who was not loaded is not kept for it."""
        joined = self._joined.get(user_id)
        if joined is not None:
            return joined
        rows = await self._store.load_memberships(user_id)
        return self._joined.get(user_id) or {row.room_id for row in rows if row.membership == "join"}

    def check_one_more(self, user_id: UserId) -> None:
        """Refused(TOO_MANY_ROOMS) where a loaded user is in as many rooms as an account may be."""
        # The server has a room with everybody to whom it had something to say.
        if len(self._joined.get(user_id, ())) >= self._max_rooms and not writes_notices(user_id, self._suffix[1:]):
            raise Refused(Refusal.TOO_MANY_ROOMS, f"You are in {self._max_rooms} rooms; leave one first")

    def is_loaded(self, user_id: UserId) -> bool:
        return user_id in self._users

    def share_room(self, one: UserId, other: UserId) -> bool:
        """Whether two loaded users are joined to a room together."""
        return not self._joined.get(one, set()).isdisjoint(self._joined.get(other, set()))

    def set(self, user_id: UserId, room_id: RoomId, membership: str, position: int) -> None:
        """A member event was committed. Users that nobody loaded stay on disk."""
        rooms = self._users.get(user_id)
        if rooms is None:
            arriving = self._arriving.get(user_id)
            if arriving is not None:
                arriving[room_id] = (membership, position)
            return
        rooms[room_id] = (membership, position)
        if membership == "join":
            self._joined[user_id].add(room_id)
        else:
            self._joined[user_id].discard(room_id)

    def forget(self, user_id: UserId, room_id: RoomId) -> None:
        rooms = self._users.get(user_id)
        if rooms is not None:
            rooms.pop(room_id, None)
            self._joined[user_id].discard(room_id)

    def forget_room(self, room_id: RoomId) -> None:
        """A room was deleted."""
        for user_id, rooms in self._users.items():
            if rooms.pop(room_id, None) is not None:
                self._joined[user_id].discard(room_id)

    def unload(self, user_id: UserId) -> None:
        """The user's last session is gone."""
        self._users.pop(user_id, None)
        self._joined.pop(user_id, None)
