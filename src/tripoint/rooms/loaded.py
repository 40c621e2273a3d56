"""Rooms in memory: loaded when first asked for, kept while somebody watches, let go when memory is needed."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from tripoint.core.event import Event, load_event
from tripoint.core.ids import EventId, RoomId
from tripoint.core.room_version import RoomVersion, get_room_version
from tripoint.rooms.ends import Extremity, extremity_of
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Head, Room, StateKey
from tripoint.rooms.stripped import unpack_stripped
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import PutRoom

# Newest events that are read with a room, for the first page of history.
RECENT_LOADED = 30

# Rooms that are looked at for one that comes. More than one, or rooms that nobody watches would pile up behind those
# that somebody does: so there are about a third as many of them as of the others at most, or as many as `limit`.
LOOKED_AT = 4


class LoadedRooms:
    """The rooms of this process. `is_watched(room_id)` says which may not be let go; `limit` is how many
    rooms that nobody watches stay in memory."""

    def __init__(self, store: RoomStore, is_watched: Callable[[RoomId], bool], limit: int) -> None:
        self._store = store
        self._is_watched = is_watched
        self._limit = limit
        self._rooms: OrderedDict[RoomId, Room] = OrderedDict()
        # Every room that somebody still holds, let go or not: there must never be two of one room, since both
        # would build on its head.
        self._alive: WeakValueDictionary[RoomId, Room] = WeakValueDictionary()
        self._loading: dict[RoomId, asyncio.Future[Room | None]] = {}
        # Rooms whose first unit is on its way to the disk, which readers may find there before this loop hears of it.
        self._expected: dict[RoomId, Room] = {}
        # Rooms whose removal is on its way to the disk: loaded now, they would be written to after their end.
        self._leaving: set[RoomId] = set()

    def __len__(self) -> int:
        return len(self._rooms)

    def peek(self, room_id: RoomId) -> Room | None:
        return self._rooms.get(room_id) or self._alive.get(room_id)

    def in_memory(self) -> Iterable[Room]:
        """Every room that is in memory now."""
        return self._rooms.values()

    async def get(self, room_id: RoomId) -> Room:
        """The room; Refused(NO_SUCH_ROOM) if this server does not have it."""
        room = self._rooms.get(room_id)
        if room is not None:
            self._rooms.move_to_end(room_id)
            return room
        room = self._alive.get(room_id)
        if room is not None:
            self.add(room)
            return room
        if room_id in self._expected and (room := await self._born(room_id)) is not None:
            return room
        if room_id in self._leaving:
            raise Refused(Refusal.NO_SUCH_ROOM)
        loading = self._loading.get(room_id)
        if loading is None:
            loading = asyncio.ensure_future(self._load(room_id))
            self._loading[room_id] = loading
            loading.add_done_callback(lambda _: self._loading.pop(room_id, None))
        found = await asyncio.shield(loading)
        if found is None:
            raise Refused(Refusal.NO_SUCH_ROOM)
        return found

    async def find(self, room_id: RoomId) -> Room | None:
        """The room, or None."""
        try:
            return await self.get(room_id)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            return None

    @contextmanager
    def expecting(self, room: Room) -> Iterator[None]:
        """While a new room is written for the first time: whoever asks for it meanwhile waits until it is added.

        Its first unit is queued within, without an await before.
        """
        self._expected[room.room_id] = room
        try:
            yield
        finally:
            # Who stops waiting does not stop the commit.
            if room.last_unit is None or room.last_unit.done():
                self._no_more(room)

    def _no_more(self, room: Room) -> None:
        if self._expected.get(room.room_id) is room:
            del self._expected[room.room_id]

    async def _born(self, room_id: RoomId) -> Room | None:
        """The room that was expected, once it is there; None where there is none, or its unit has failed."""
        room = self._expected.get(room_id)
        if room is not None and room.last_unit is not None:
            await asyncio.wait([room.last_unit])
            self._no_more(room)  # if it has failed, its maker is told
        return self._alive.get(room_id)

    def add(self, room: Room) -> None:
        """A room that was just made, or read."""
        self._expected.pop(room.room_id, None)
        self._rooms[room.room_id] = room
        self._alive[room.room_id] = room
        self._let_go()

    def remove(self, room_id: RoomId) -> None:
        """The room is gone: who still holds it can write nothing more. Call removed() when the disk knows."""
        self._leaving.add(room_id)
        self._rooms.pop(room_id, None)
        room = self._alive.pop(room_id, None)
        if room is not None:
            room.gone = True

    def removed(self, room_id: RoomId) -> None:
        """The removal is on disk, or has failed and the room may be loaded again."""
        self._leaving.discard(room_id)

    async def _load(self, room_id: RoomId) -> Room | None:
        row = await self._store.load_room(room_id)
        if row is None:
            return None
        room = await load_room(self._store, row)
        made = await self._born(room_id)
        if made is not None:
            return made  # it was committed while it was read
        self.add(room)
        return room

    def _let_go(self) -> None:
        """Look at the few rooms that were asked for the longest ago: however many are watched, a room more costs the
        same. Those that must stay come again when all others have been looked at."""
        for _ in range(LOOKED_AT):
            if len(self._rooms) <= self._limit:
                return
            room_id, room = next(iter(self._rooms.items()))
            if room.pending_units or self._is_watched(room_id):
                self._rooms.move_to_end(room_id)
            else:
                del self._rooms[room_id]


async def load_room(store: RoomStore, row: PutRoom) -> Room:
    """Read a room: its state, its aliases and its newest events."""
    version = get_room_version(row.version)
    keys = await store.load_state(row.head_group)
    stored = await store.load_events(list(keys.values()))
    state: dict[StateKey, Event] = {}
    positions: dict[StateKey, int] = {}
    for key, event_key in keys.items():
        found = stored[event_key]
        state[key] = load_event(found.json, found.event_id, version)
        # State that came with joining a room elsewhere is in no timeline: it was there from the beginning.
        positions[key] = found.position or 0
    deltas, full = await store.load_state_chain(row.head_group)
    last_position = await store.load_last_position(row.room_key)
    room = Room(
        row,
        version,
        state,
        keys=keys,
        positions=positions,
        aliases=await store.load_aliases(row.room_key),
        last_position=last_position,
        head=Head(
            await _extremities(store, row, version),
            row.head_group,
            deltas,
            full,
        ),
    )
    if room.outside and (told := await store.load_stripped_state(row.room_key)) is not None:
        room.recognise(unpack_stripped(told, row.room_id, version))
    if room.oldest < 0:
        room.partial = await store.load_partial_room(row.room_key)
    newest = await store.load_timeline(
        row.room_key, after=0, upto=last_position, limit=RECENT_LOADED, backward=True
    )
    for found in reversed(newest):
        room.recent.append(await _recent_item(store, found, version))
    if newest:
        room.recent_from = newest[-1].place - 1 if len(newest) == RECENT_LOADED else 0
    return room


async def _extremities(store: RoomStore, row: PutRoom, version: RoomVersion) -> dict[EventId, Extremity]:
    stored = await store.load_events_by_id([event_id for event_id, _, _ in row.extremities])
    return {
        event_id: extremity_of(load_event(stored[event_id].json, event_id, version), group)
        for event_id, _, group in row.extremities
    }


async def _recent_item(store: RoomStore, stored: StoredEvent, version: RoomVersion) -> HistoryItem:
    """A stored event as it would stand in memory had it been committed just now."""
    event = load_event(stored.json, stored.event_id, version)
    before = because = None
    if event.state_key is not None:
        before = await store.load_state_before(stored.room_key, event.type, event.state_key, stored.place)
    if stored.redacted_by is not None:
        because = await store.load_event(stored.redacted_by)
    return HistoryItem(
        stored.place,
        event,
        plain_token(stored.token),
        None if before is None else load_event(before.json, before.event_id, version),
        None if because is None else load_event(because.json, because.event_id, version),
    )


def plain_token(token: str | None) -> str | None:
    """A stored token as history gives it back: those of Origin.once are not for readers."""
    return None if token is None or "\x1f" in token else token
