"""Finding people by a part of their name: those of this server and of others whom the searcher may know about.

spec: Matrix client-server, module "User directory": users that share a room with the searcher, and users joined to
rooms that are public or world-readable. Of other servers' users in such rooms those are found whose room is in memory,
and those of rooms in the directory: a search reads a few of these, and who is in them is remembered, so that the next
ones find the rest.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator

from tripoint.core.ids import RoomId, ServerName, UserId, server_of, split_user_id
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.ports import FoundUser, UsersFound
from tripoint.rooms.room import Room
from tripoint.store.interface import RoomStore

# Local accounts that a search looks at; whoever finds so many has to say more of the name.
MAX_LOCAL = 500
# Members of rooms that a search compares at most, and between two turns of the loop.
MAX_MEMBERS = 50_000
PER_TURN = 2_000
# Rooms of the directory that one search reads, and people of other servers that are remembered of such rooms.
READ_ROOMS = 10
MAX_KEPT = 50_000


class UserDirectory:
    """See rooms.ports.RoomReader.find_users."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore, index: MembershipIndex, server: ServerName) -> None:
        self._rooms = rooms
        self._store = store
        self._index = index
        self._server = server
        # Of rooms in the directory that are not in memory: those of other servers, as they were when it was read.
        self._kept: OrderedDict[RoomId, tuple[FoundUser, ...]] = OrderedDict()
        self._kept_people = 0

    async def find(self, searcher: UserId, term: str, limit: int) -> UsersFound:
        wanted = term.strip().casefold().removeprefix("@")
        if not wanted:
            return UsersFound((), False)
        mine = set(await self._index.joined_of(searcher))
        found, cut = await self._remote(searcher, wanted, mine)
        local = await self._store.load_users_like(wanted, MAX_LOCAL)
        candidates = sorted(
            [*(FoundUser(*row) for row in local if row[0] != searcher), *found], key=lambda user: _rank(user, wanted)
        )
        shown: list[FoundUser] = []
        for user in candidates:
            if server_of(user.user_id) != self._server or await self._may_know(user.user_id, mine):
                if len(shown) == limit:
                    return UsersFound(tuple(shown), True)
                shown.append(user)
        return UsersFound(tuple(shown), cut or len(local) == MAX_LOCAL)

    async def _may_know(self, user_id: UserId, mine: set[RoomId]) -> bool:
        """Whether somebody of this server shares a room with the searcher or is in an open one."""
        joined = await self._index.joined_of(user_id)
        if not mine.isdisjoint(joined):
            return True
        for number, room_id in enumerate(tuple(joined), 1):
            room = await self._rooms.find(room_id)
            if room is not None and _is_open(room):
                return True
            if number % 20 == 0:
                await asyncio.sleep(0)
        return False

    async def _remote(self, searcher: UserId, wanted: str, mine: set[RoomId]) -> tuple[list[FoundUser], bool]:
        """Those of other servers, the searcher's own rooms first; and whether not everybody was looked at."""
        found: dict[UserId, FoundUser] = {}
        compared = 0
        own = [await self._rooms.find(room_id) for room_id in tuple(mine)]
        rooms = [room for room in own if room is not None and room.membership(searcher) == "join"]
        rooms += [room for room in self._rooms.in_memory() if room.room_id not in mine and _is_open(room)]
        for room in rooms:
            if len(room.servers()) == 1:  # this one
                continue
            for user in self._members(room):
                if compared == MAX_MEMBERS:
                    return list(found.values()), True
                compared += 1
                if compared % PER_TURN == 0:
                    await asyncio.sleep(0)
                if user.user_id not in found and _contains(user, wanted):
                    found[user.user_id] = user
        whole = await self._read_listed()
        for people in tuple(self._kept.values()):
            for user in people:
                if compared == MAX_MEMBERS:
                    return list(found.values()), True
                compared += 1
                if compared % PER_TURN == 0:
                    await asyncio.sleep(0)
                if user.user_id not in found and _contains(user, wanted):
                    found[user.user_id] = user
        return list(found.values()), not whole

    async def _read_listed(self) -> bool:
        """Remember who is in some more rooms of the directory; False where there are others still."""
        listed = [row.room_id for row in await self._store.load_listed_rooms()]
        loaded = {room.room_id for room in self._rooms.in_memory()}
        known = set(listed)
        for room_id in [one for one in self._kept if one in loaded or one not in known]:
            self._forget(room_id)  # it was looked at above, or is for nobody to find any more
        wanted = [room_id for room_id in listed if room_id not in loaded and room_id not in self._kept]
        for room_id in wanted[:READ_ROOMS]:
            room = await self._rooms.find(room_id)
            people = tuple(self._members(room)) if room is not None and _is_open(room) else ()
            self._kept[room_id] = people
            self._kept_people += len(people)
            while self._kept_people > MAX_KEPT and len(self._kept) > 1:
                self._forget(next(iter(self._kept)))
        return len(wanted) <= READ_ROOMS

    def _forget(self, room_id: RoomId) -> None:
        self._kept_people -= len(self._kept.pop(room_id))

    def _members(self, room: Room) -> Iterator[FoundUser]:
        """Those of other servers; the list is that of this moment."""
        for member in tuple(room.joined().values()):
            if server_of(member.user_id) != self._server:
                yield FoundUser(member.user_id, member.displayname, member.avatar_url)


def _is_open(room: Room) -> bool:
    return room.join_rule == "public" or room.history_visibility == "world_readable"


def _contains(user: FoundUser, wanted: str) -> bool:
    if user.displayname is not None and wanted in user.displayname.casefold():
        return True
    return wanted in user.user_id[1:].casefold()


def _rank(user: FoundUser, wanted: str) -> tuple[int, bool, str]:
    """Whole names first, then beginnings, then beginnings of words; with a profile before without."""
    localpart = split_user_id(user.user_id)[0].casefold()
    name = (user.displayname or "").casefold()
    if wanted in (localpart, name, user.user_id[1:].casefold()):
        place = 0
    elif localpart.startswith(wanted) or name.startswith(wanted):
        place = 1
    else:
        place = 2 if any(word.startswith(wanted) for word in name.split()) else 3
    return place, user.displayname is None and user.avatar_url is None, user.user_id
