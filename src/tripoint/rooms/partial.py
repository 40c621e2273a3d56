"""Rooms that were entered without all of their members: usable at once, made whole in the background.

The answer to a join leaves out most member events where both servers can do without. Until they are here, a member
is known by the events that cite its membership (accept.py), and who is in the room by what the other server said.
When they are, they are put under every state that was stored meanwhile: a partial state lacks entries and has no
wrong ones. Then what was accepted meanwhile is judged again.
spec: Matrix server-server-api PUT /send_join omit_members, members_omitted; GET /state
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from tripoint.core.errors import RemoteFailed
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, ServerName
from tripoint.rooms.changes import StateReset
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.outliers import OutlierJudge, permits
from tripoint.rooms.refusals import Refused
from tripoint.rooms.remote import RemoteServers
from tripoint.rooms.remote_writer import RemoteWriter
from tripoint.rooms.room import Room, StateKey
from tripoint.rooms.states import States, parsed
from tripoint.rooms.turns import Turns
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_REJECTED, CompleteStates, PlaceEvent, PutPartialRoom, Write

log = structlog.get_logger()

# Between rounds of asking all servers of a room; the last one goes on for as long as it takes.
WAITS_S = (1.0, 5.0, 20.0, 60.0, 300.0)
# Servers that are asked in one round; states that are read in at a time (each may be tens of megabytes).
MAX_SERVERS = 5
AT_ONCE = 1
# Events that are judged again before others have their turn.
JUDGED_AT_ONCE = 50


class Completion:
    """Makes partial rooms whole. start() takes up what the last process left; close() leaves it for the next."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        writer: Writer,
        remote_writer: RemoteWriter,
        outliers: OutlierJudge,
        store: RoomStore,
        remote: RemoteServers,
        turns: Turns,
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._writer = writer
        self._remote_writer = remote_writer
        self._outliers = outliers
        self._store = store
        self._states = States(store)
        self._remote = remote
        self._turns = turns
        self._report = report
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[RoomId, asyncio.Task[None]] = {}

    async def start(self) -> None:
        for row in await self._store.load_partial_rooms():
            room = await self._store.load_room_by_key(row.room_key)
            if room is not None:
                self.begin(room.room_id)

    def begin(self, room_id: RoomId) -> None:
        """Complete a room, if that is not being done already."""
        if room_id in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._complete(room_id))
        self._tasks[room_id] = task
        task.add_done_callback(lambda done: self._ended(room_id, done))

    def _ended(self, room_id: RoomId, done: "asyncio.Task[None]") -> None:
        self._tasks.pop(room_id, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            self._report("rooms.partial", error)

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _complete(self, room_id: RoomId) -> None:
        """Ask until somebody gives the state before our join; ends when the room is whole, or gone."""
        tries = 0
        while True:
            room = await self._rooms.find(room_id)
            if room is None or room.partial is None:
                return
            for server in self._servers(room):
                try:
                    async with self._gate:
                        await self._take(room, server, room.partial.join)
                    log.info("room.completed", room_id=room_id, server=server, members=room.joined_count())
                    return
                except (RemoteFailed, Refused) as failed:
                    log.info("room.not_completed", room_id=room_id, server=server, reason=str(failed))
            await asyncio.sleep(WAITS_S[min(tries, len(WAITS_S) - 1)])
            tries += 1

    def _servers(self, room: Room) -> list[ServerName]:
        assert room.partial is not None
        known = sorted(room.servers(), key=lambda server: -room.servers()[server])
        everybody = dict.fromkeys((*known, *room.partial.servers))
        return [server for server in everybody if server != self._server][:MAX_SERVERS]

    async def _take(self, room: Room, server: ServerName, join: EventId | None) -> None:
        assert join is not None, "a room that is partial was entered"
        state, chain = await self._remote.state(server, room.room_id, join)
        if not any(event.type == "m.room.create" for event in state):
            raise RemoteFailed(server, "the state it gives has no create event")
        async with self._turns.of(room.room_id):
            judged = await self._outliers.judge(room.room_key, (*chain, *state))
            full: dict[StateKey, tuple[Event, int]] = {}
            for event in state:
                good = event.event_id in judged.keys and event.event_id not in judged.rejected
                if event.is_state and good and event.room_id == room.room_id:
                    full[event.key] = (event, judged.keys[event.event_id])
            await asyncio.shield(self._put(room, full, list(judged.writes)))
            await self._judge_again(room, join)

    def _put(
        self, room: Room, full: Mapping[StateKey, tuple[Event, int]], unit: list[Write]
    ) -> "asyncio.Future[None]":
        """Put the missing entries under the room's states, and tell them. Awaits nothing before that is queued."""
        there = room.head_keys()
        missing: dict[StateKey, tuple[Event, int] | None] = {
            key: entry for key, entry in full.items() if key not in there
        }
        position = self._writer.stream.next()
        unit.append(CompleteStates(room.room_key, tuple((*key, at) for key, (_, at) in full.items())))
        unit.append(PutPartialRoom(room.room_key, None, ()))
        unit += self._remote_writer.membership_writes(room, missing, position)

        def committed() -> None:
            self._remote_writer.take_missing(room, missing, position)
            room.partial = None
            room.completed_position = position
            pairs = tuple((None, entry[0]) for entry in missing.values() if entry is not None)
            self._writer.tell_reset(StateReset(position, room.room_id, pairs, completes=True))

        return self._writer.queue(room, unit, committed)

    async def _judge_again(self, room: Room, join: EventId) -> None:
        """What others sent meanwhile is held against the whole state: who was banned may have gone on talking.

        What fails is rejected: it is in no history any more. State that it had set is again what it was before.
        """
        first = await self._store.load_event(join)
        if first is None or first.position is None:
            return
        after = first.position
        while True:
            page = await self._store.load_timeline(
                room.room_key, after=after, upto=room.last_position, limit=JUDGED_AT_ONCE, backward=False
            )
            for row in page:
                after = row.place
                event = parsed(row, room.version)
                if event.sender.endswith(f":{self._server}") or event.event_id == join:
                    continue
                if not await self._still_allowed(room, event):
                    await self._reject(room, row, event)
            if len(page) < JUDGED_AT_ONCE:
                return
            await asyncio.sleep(0)

    async def _before(self, room: Room, event: Event) -> Mapping[StateKey, int]:
        rows = await self._store.load_events_by_id(event.prev_events)
        groups = sorted({row.state_group for row in rows.values()})
        states = [await self._states.of_group(group) for group in groups]
        return await self._states.resolve(room.version, states, {}) if states else {}

    async def _still_allowed(self, room: Room, event: Event) -> bool:
        before = await self._before(room, event)
        return permits(await self._states.auth_state(before, event), event)

    async def _reject(self, room: Room, row: StoredEvent, event: Event) -> None:
        log.warning("room.event_rejected_late", room_id=room.room_id, event_id=event.event_id, sender=event.sender)
        write = PlaceEvent(row.event_key, None, row.state_group, FLAG_REJECTED)
        room.forget_event(event.event_id)
        if event.state_key is None or room.head_event(*event.key) != event:
            await self._writer.write([write])
            return
        stood = (await self._before(room, event)).get(event.key)
        former = None
        if stood is not None:
            rows = await self._store.load_events([stood])
            former = (parsed(rows[stood], room.version), stood)
        await asyncio.shield(self._remote_writer.undo(room, event.key, former, [write]))
