"""What application services hear of rooms: the stream of events, read by position.

There is no queue beside the log: a service has a place in it, up to which everything was told or does not concern it,
and the one transaction that it has not acknowledged, which is written down before it is sent. Who sends, when and how
often is matrix/appservice/delivery.py's.
spec: Matrix application-service-api "Pushing events"
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from tripoint.core.app_services import AppService
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.interest import Interest
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.store.app_service_store import AppServiceStore, PutAppService
from tripoint.store.interface import RoomStore, StoredEvent, StoreError
from tripoint.store.stream import Stream

# Events of the log that are looked at together.
PAGE: Final = 100

ServicePlace = PutAppService


class ServiceStore(RoomStore, AppServiceStore, Protocol):
    """The parts of the store that are read here."""


class Told(Struct, frozen=True):
    """Events for a service. `place`: what stands up to it was looked at; `more`: there is more behind it."""

    items: Sequence[HistoryItem]
    place: int
    more: bool


class ServiceLog:
    """Reads the log and keeps the places. `whole_item` makes of a stored event what history says of it."""

    def __init__(
        self,
        rooms: LoadedRooms,
        store: ServiceStore,
        stream: Stream,
        interest: Interest,
        whole_item: Callable[[Room, StoredEvent], Awaitable[HistoryItem]],
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._stream = stream
        self._whole_item = whole_item
        self.interest = interest

    def concerns(self, service: AppService, room_id: RoomId, of: UserId) -> bool:
        """Whether a service hears of what somebody does now in a room, which is in no history."""
        room = self._rooms.peek(room_id)
        return room is not None and self.interest.in_room(service, room, of)

    def rooms_of(self, user_id: UserId) -> Iterable[RoomId]:
        """The rooms in memory that somebody is joined to, whichever server is his."""
        return [room.room_id for room in self._rooms.in_memory() if user_id in room.joined()]

    async def load(self, service: AppService) -> ServicePlace | None:
        """Where a service is; one that is new here begins with now. None where the store could not write that."""
        found = await self._store.load_app_service(service.service_id)
        if found is not None:
            return found
        # Written down at once: what is committed from now on is found again.
        begun = ServicePlace(service.service_id, self._stream.committed, 0, None)
        return begun if await self.save(begun) else None

    async def save(self, place: ServicePlace) -> bool:
        """Write down where a service is, and its transaction. False where the store could not."""
        try:
            await self._stream.commit([place])
        except StoreError:
            return False
        return True

    async def after(self, service: AppService, place: int) -> Told:
        """The next events that concern a service: of one page of the log, so perhaps none though there is more."""
        # Of what is committed further on, rooms may not know yet.
        upto = self._stream.committed
        rows = [row for row in await self._store.load_placed_after(place, PAGE) if row.place <= upto]
        items = []
        for row in rows:
            room = await self._room(row.room_key)
            if room is not None and await self.interest.in_event(service, room, row, parsed(row, room.version)):
                items.append(await self._whole_item(room, row))
        await asyncio.sleep(0)
        more = len(rows) == PAGE
        return Told(items, rows[-1].place if more else max(upto, place), more)

    async def _room(self, room_key: int) -> Room | None:
        row = await self._store.load_room_by_key(room_key)
        if row is None:
            return None
        try:
            return await self._rooms.get(row.room_id)
        except Refused:
            return None
