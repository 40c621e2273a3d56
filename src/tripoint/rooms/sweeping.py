"""Kick or ban with `redact_events`: what somebody said in a room goes with him, without an event for each of it.

It is taken back since he came in the last time: each event is kept in its redacted form from then on, because of the
event that put him out. Sessions hear of it once (changes.Swept). What is begun is written down first, and goes on after
a restart.
spec: MSC4293; docs/mapping.md 9.8. Where the proposal says "the user's previous membership event", a change of one's
name would save everything before it: here it is the coming in.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, redact
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.in_words import is_spoken
from tripoint.core.power import PowerLevels
from tripoint.rooms.changes import EventCommitted, RoomChange, Swept
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.states import parsed
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_REDACTED, PutName, ReplaceEventJson, Write

log = structlog.get_logger()

FLAG = "redact_events"
UNSTABLE_FLAG = f"org.matrix.msc4293.{FLAG}"
# The kind of names under which it is written down what has begun: the event, and the room.
BEGUN = "sweep"
# Events that are looked at, and taken back, in one go.
STEP = 200
# Messages that are named to those who saw them: the newest.
MAX_TOLD = 200


def is_swept(content: JsonObject) -> bool:
    return content.get(FLAG) is True or content.get(UNSTABLE_FLAG) is True


class Sweeping:
    """Hears of all rooms (`room_changed`); one room after the other is swept, in the background."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        room_bus: Bus[RoomChange],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._room_bus = room_bus
        self._report = report
        self._todo: asyncio.Queue[tuple[RoomId, EventId]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on with what was begun."""
        for event_id, room_id in (await self._store.load_names(BEGUN, "")).items():
            self._add(RoomId(room_id), EventId(event_id))

    def room_changed(self, change: RoomChange) -> None:
        if not isinstance(change, EventCommitted) or change.event.type != "m.room.member":
            return
        event = change.event
        put_out = member_of(event).membership in ("leave", "ban") and event.sender != event.state_key
        if put_out and is_swept(event.content):
            self._add(change.room_id, event.event_id)

    async def close(self) -> None:
        """What is not done is done after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _add(self, room_id: RoomId, event_id: EventId) -> None:
        self._todo.put_nowait((room_id, event_id))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._todo.empty():
            room_id, event_id = self._todo.get_nowait()
            try:
                await self._sweep(room_id, event_id)
                await self._writer.write([PutName(BEGUN, "", event_id, None)])
            except Refused as refused:
                # A disk that is full: tried again after the next start.
                log.warning("sweep.not_done", room_id=room_id, refusal=refused.refusal.name)
            except Exception as error:  # the others go on; the bug is told
                self._report("sweep", error)

    async def _sweep(self, room_id: RoomId, event_id: EventId) -> None:
        room = await self._rooms.find(room_id)
        stored = await self._store.load_event(event_id)
        if room is None or stored is None or stored.position is None:
            return  # the room is gone, and everything in it
        because = parsed(stored, room.version)
        if not _may_sweep(room.power, because.sender):
            return  # spec: MSC4293: without the right to redact the flag is ignored.
        await self._writer.write([begun(room_id, event_id)])
        target = UserId(because.state_key or "")
        after = await self._came_in(room, target, stored.place)
        told: list[Event] = []
        count, upto, more = 0, stored.place - 1, after is not None
        while more and after is not None:
            page = await self._store.load_timeline(
                room.room_key, after=after, upto=upto, limit=STEP, backward=True
            )
            said = [event for event in await self._take_back(room, target, because, page) if is_spoken(event)]
            count += len(said)
            told += said[: MAX_TOLD - len(told)]
            more = len(page) == STEP
            upto = page[-1].place - 1 if more else upto
            await asyncio.sleep(0)  # a long stay: others have their turn
        self._room_bus.publish(Swept(room.room_id, because, tuple(reversed(told)), count))

    async def _came_in(self, room: Room, target: UserId, place: int) -> int | None:
        """The position before that of his last coming in before `place`; None: he was not inside."""
        came: int | None = None
        for stored in await self._store.load_state_history(room.room_key, "m.room.member", target):
            if stored.place >= place:
                break
            inside = member_of(parsed(stored, room.version)).membership == "join"
            if not inside:
                came = None
            elif came is None:
                came = stored.place - 1
        return came

    async def _take_back(
        self, room: Room, target: UserId, because: Event, page: Sequence[StoredEvent]
    ) -> list[Event]:
        """Of these events his own, as they were."""
        writes: list[Write] = []
        gone: list[tuple[Event, Event]] = []
        for stored in page:
            event = parsed(stored, room.version)
            if event.sender != target or stored.flags & FLAG_REDACTED or event.type == "m.room.create":
                continue
            bare = redact(event)
            flags = stored.flags | FLAG_REDACTED
            writes.append(ReplaceEventJson(stored.event_key, flags, bare.json, because.event_id))
            gone.append((event, bare))
        if not writes:
            return []

        def committed() -> None:
            for _, bare in gone:
                room.redacted(bare, because)

        await self._writer.write(writes, committed)
        return [event for event, _ in gone]


def _may_sweep(power: PowerLevels, user_id: UserId) -> bool:
    """spec: MSC4293: the level of `redact`, and of m.room.redaction where it has one."""
    own = power.user(user_id)
    return own >= power.redact and own >= power.event("m.room.redaction", is_state=False)


def begun(room_id: RoomId, event_id: EventId) -> Write:
    """What is written down with the event, so that it is not forgotten."""
    return PutName(BEGUN, "", event_id, room_id)
