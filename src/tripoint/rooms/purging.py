"""Purging a room's history for the administrators: what was said before a point goes from this server's disk.

State stays, since the rules of the room are judged by it, and so do the ends of the graph. What people of this server
said goes only where that is asked for: of a federated room the rest can be had from other servers, that perhaps not.
docs/operate/administration.md. Read next: jobs.py, which does it in the background.
"""

import asyncio
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, ServerName, server_of
from tripoint.rooms.jobs import Progress
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import DropEvents

KIND: Final = "purge_history"
# Events that are looked at in one go; others have their turn in between.
STEP: Final = 200


class Purging:
    def __init__(self, server: ServerName, rooms: LoadedRooms, writer: Writer, store: RoomStore) -> None:
        self._server = server
        self._rooms = rooms
        self._writer = writer
        self._store = store

    async def work(self, asked: JsonObject, progress: Progress) -> JsonObject:
        """The job `purge_history`: see wish(). The result counts what went."""
        room = await self._rooms.get(RoomId(str(asked["room_id"])))
        upto, own = asked["upto"], asked.get("own") is True
        assert isinstance(upto, int)
        count, more = 0, True
        while more:
            page = await self._store.load_timeline(
                room.room_key, after=room.oldest, upto=upto, limit=STEP, backward=True
            )
            events = [(stored.event_key, parsed(stored, room.version)) for stored in page]
            gone = [(key, event) for key, event in events if self._goes(room, event, own=own)]
            if gone:
                await self._drop(room, gone)
            count += len(gone)
            more = len(page) == STEP
            upto = page[-1].place - 1 if page else upto
            await asyncio.sleep(0)
        return {"purged_events": count}

    def _goes(self, room: Room, event: Event, *, own: bool) -> bool:
        if event.is_state or event.event_id in room.head.extremities:
            return False
        return own or server_of(event.sender) != self._server

    async def _drop(self, room: Room, gone: list[tuple[int, Event]]) -> None:
        def dropped() -> None:
            for _, event in gone:
                room.forget_event(event.event_id)

        await self._writer.write([DropEvents(tuple(key for key, _ in gone))], dropped)

    async def position_of(self, room_id: RoomId, event_id: EventId) -> int:
        """Where an event stands. Refused(NO_SUCH_EVENT)."""
        room = await self._rooms.get(room_id)
        stored = await self._store.load_event(event_id)
        if stored is None or stored.room_key != room.room_key or stored.position is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        return stored.position

    async def position_at(self, room_id: RoomId, ts_ms: int) -> int:
        """The position of the last event before a time. Refused(NO_SUCH_EVENT) where there is none."""
        room = await self._rooms.get(room_id)
        position = await self._store.load_position_at(room.room_key, ts_ms)
        if not position:
            raise Refused(Refusal.NO_SUCH_EVENT, "Nothing was said there before that")
        return position


def wish(room_id: RoomId, upto: int, *, own: bool) -> JsonObject:
    """What is asked of the job: up to this position. `own`: what people of this server said, too."""
    return {"room_id": room_id, "upto": upto, "own": own}
