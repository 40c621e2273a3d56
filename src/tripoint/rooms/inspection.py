"""What administrators see of rooms, whether they are inside or not: lists, what was said, where the graph ends.

What is seen here is never told to anybody as having been read. docs/operate/administration.md
"""

import asyncio
from collections.abc import Iterator, Sequence

from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import EventId, InvalidId, RoomId, ServerName, UserId, server_of
from tripoint.core.json_view import object_at
from tripoint.core.listings import RoomQuery
from tripoint.core.mxc import Mxc, parse_mxc
from tripoint.rooms.history import (
    BEGINNING,
    ByEvent,
    ByPosition,
    Direction,
    HistoryItem,
    HistoryPage,
    HistoryQuery,
    matches,
)
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.store.interface import Store, StoredEvent, StoreError

# Events that are looked at for one page, whatever the filter.
MAX_READ = 5000
# Events that are looked at in one go; others have their turn in between.
STEP = 200


class End(Struct, frozen=True):
    """A forward extremity of a room's graph."""

    event_id: EventId
    depth: int
    state_group: int
    received_ts_ms: int


class Inspection:
    """Refused(NO_SUCH_ROOM) for a room that is not known here."""

    def __init__(self, server: ServerName, rooms: LoadedRooms, store: Store, index: MembershipIndex) -> None:
        self._server = server
        self._rooms = rooms
        self._store = store
        self._index = index

    async def listed(self, query: RoomQuery) -> tuple[Sequence[RoomId], int]:
        """A page of rooms, and how many there are on all pages. Refused(SERVER_BUSY)."""
        try:
            return await self._store.list_rooms(query)
        except StoreError as error:
            raise Refused(Refusal.SERVER_BUSY) from error

    async def joined_rooms(self, user_id: UserId) -> Sequence[RoomId]:
        """The rooms that somebody is in, as far as this server knows: of other servers' users those that it is in."""
        if server_of(user_id) == self._server:
            return sorted(await self._index.joined_of(user_id))
        try:
            return await self._store.list_rooms_of(user_id)
        except StoreError as error:
            raise Refused(Refusal.SERVER_BUSY) from error

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """A page as rooms/reader.py has it, of all that is here, whoever may see it: `viewer` does not matter."""
        room = await self._rooms.get(query.room_id)
        backward = query.direction is Direction.BACKWARD
        anchor = query.anchor
        if isinstance(anchor, ByEvent):
            start = (await self.event(query.room_id, anchor.event_id)).position
        else:
            start = anchor.position if isinstance(anchor, ByPosition) else room.last_position if backward else BEGINNING
        items: list[HistoryItem] = []
        read, at, more = 0, start, True
        while more and read < MAX_READ and len(items) < query.limit:
            lower, upper = (room.oldest, at) if backward else (at, room.last_position)
            wanted = query.limit + 1
            page = await self._store.load_timeline(
                room.room_key, after=lower, upto=upper, limit=wanted, backward=backward
            )
            read += len(page)
            for stored in page:
                if len(items) == query.limit:
                    break
                at = stored.place - 1 if backward else stored.place
                event = parsed(stored, room.version)
                if matches(query, event):
                    items.append(HistoryItem(stored.place, event))
            else:
                more = len(page) == wanted
        return HistoryPage(tuple(items), start, at if more else None)

    async def files_of(self, room_id: RoomId) -> Sequence[Mxc]:
        """The files that events of a room name, each once; those of encrypted events are not to be seen."""
        room = await self._rooms.get(room_id)
        found: dict[Mxc, None] = {}
        upto, more = room.last_position, True
        while more:
            page = await self._store.load_timeline(
                room.room_key, after=room.oldest, upto=upto, limit=STEP, backward=True
            )
            for stored in page:
                found.update(dict.fromkeys(files_in(parsed(stored, room.version).content)))
            more = len(page) == STEP
            upto = page[-1].place - 1 if page else upto
            await asyncio.sleep(0)
        return list(found)

    async def servers(self) -> Sequence[ServerName]:
        """Servers of which somebody is or was in a room."""
        try:
            return await self._store.list_servers()
        except StoreError as error:
            raise Refused(Refusal.SERVER_BUSY) from error

    async def rooms_of_server(self, server: ServerName) -> Sequence[RoomId]:
        """The rooms that somebody of a server is in."""
        try:
            return await self._store.list_rooms_of_server(server)
        except StoreError as error:
            raise Refused(Refusal.SERVER_BUSY) from error

    async def event(self, room_id: RoomId, event_id: EventId) -> HistoryItem:
        """One event of a room. Refused(NO_SUCH_EVENT)."""
        room = await self._rooms.get(room_id)
        return _item(room, await self._store.load_event(event_id))

    async def find_event(self, event_id: EventId) -> HistoryItem:
        """One event of any room."""
        stored = await self._store.load_event(event_id)
        row = None if stored is None else await self._store.load_room_by_key(stored.room_key)
        if row is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        return _item(await self._rooms.get(row.room_id), stored)

    async def event_at(self, room_id: RoomId, ts_ms: int, *, forward: bool) -> HistoryItem:
        """The event nearest to a time on that side of it. Refused(NO_SUCH_EVENT)."""
        room = await self._rooms.get(room_id)
        rows = await self._store.load_events_at(room.room_key, ts_ms, forward=forward, limit=1)
        return _item(room, rows[0] if rows else None)

    async def ends(self, room_id: RoomId) -> Sequence[End]:
        """Where the room's graph ends: one event, unless servers spoke at the same time."""
        room = await self._rooms.get(room_id)
        found = []
        for event_id, at in room.head.extremities.items():
            stored = await self._store.load_event(event_id)
            found.append(End(event_id, at.depth, at.group, 0 if stored is None else stored.ts_ms))
        return found


def files_in(content: JsonObject) -> Iterator[Mxc]:
    """The files that an event names: itself, its thumbnail, encrypted or not, a picture of a room or a member."""
    info = object_at(content, "info")
    for part in (content, object_at(content, "file"), object_at(info, "thumbnail_file")):
        for field in ("url", "avatar_url"):
            yield from _mxc(part.get(field))
    yield from _mxc(info.get("thumbnail_url"))


def _mxc(value: Json) -> Iterator[Mxc]:
    if isinstance(value, str) and value.startswith("mxc://"):
        try:
            yield parse_mxc(value)
        except InvalidId:
            return  # somebody wrote what is none


def _item(room: Room, stored: StoredEvent | None) -> HistoryItem:
    if stored is None or stored.room_key != room.room_key:
        raise Refused(Refusal.NO_SUCH_EVENT)
    return HistoryItem(stored.position or 0, parsed(stored, room.version))
