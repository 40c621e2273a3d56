"""The past of a room from before this server came into it, fetched page by page when somebody looks that far back.

Such events get positions below zero, the older the lower. The state around them is not known: each is judged by its
own auth events (it is an outlier in that respect), and what of it may be seen is decided by the server that gives it
and by the visibility that the room had (visibility.py).
spec: Matrix server-server-api "Backfilling and retrieving missing events", GET /backfill; docs/mapping.md 14.3
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from msgspec.structs import replace

from tripoint.core.auth_rules import state_of
from tripoint.core.errors import RemoteFailed
from tripoint.core.event import Event, redact
from tripoint.core.graph import timeline_order
from tripoint.core.ids import EventId, RoomId, ServerName, server_of
from tripoint.core.power import PowerLevels
from tripoint.rooms.catch_up import CatchUp
from tripoint.rooms.outliers import OutlierJudge
from tripoint.rooms.remote import RemoteServers
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.rooms.turns import Turns
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_REDACTED, PlaceEvent, PutMissingPast, ReplaceEventJson, Write

log = structlog.get_logger()

PAGE = 100
# Servers that are asked for one page, and auth events fetched one by one for it.
MAX_SERVERS = 3
MAX_AUTH = 200
# docs/mapping.md 14.3: the reader waits no longer than this, and then gets what there is.
WAIT_S = 10.0
# A room whose past nobody gave is not asked for again before this.
AGAIN_S = 120.0
REMEMBERED = 1000


class Backfill:
    """Fetches what lies before all that this server has. `server`: this one."""

    def __init__(
        self,
        server: ServerName,
        writer: Writer,
        outliers: OutlierJudge,
        store: RoomStore,
        remote: RemoteServers,
        catch_up: CatchUp,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._writer = writer
        self._outliers = outliers
        self._store = store
        self._remote = remote
        self._catch_up = catch_up
        self._monotonic = monotonic
        self._turns = Turns()
        self._in_vain: dict[RoomId, float] = {}

    async def page(self, room: Room) -> bool:
        """Have another page of a room's past. False: there is none, or it is not to be had now.

        Takes at most WAIT_S.
        """
        if not await self._store.load_missing_past(room.room_key):
            return False
        if self._in_vain.get(room.room_id, 0.0) > self._monotonic():
            return False
        try:
            async with asyncio.timeout(WAIT_S), self._turns.of(room.room_id):
                missing = await self._store.load_missing_past(room.room_key)
                got = bool(missing) and await self._fetch(room, missing)
        except TimeoutError:
            got = False
        if not got:
            if len(self._in_vain) >= REMEMBERED:
                self._in_vain.clear()
            self._in_vain[room.room_id] = self._monotonic() + AGAIN_S
        return got

    async def is_whole(self, room: Room) -> bool:
        """Whether this server has a room's history from its beginning."""
        return not await self._store.load_missing_past(room.room_key)

    async def _fetch(self, room: Room, missing: Sequence[EventId]) -> bool:
        servers = sorted((s for s in room.servers() if s != self._server), key=lambda s: -room.servers()[s])
        for server in servers[:MAX_SERVERS]:
            try:
                events = await self._remote.backfill(server, room.room_id, list(missing)[:20], PAGE)
                events = _connected(missing, events, room.room_id)
                if not events:
                    continue
                await self._fetch_auth(room, server, events)
                if await self._take(room, missing, events):
                    return True
            except RemoteFailed as failed:
                log.info("room.no_past_from", room_id=room.room_id, server=server, reason=failed.reason)
        return False

    async def _fetch_auth(self, room: Room, server: ServerName, events: Iterable[Event]) -> None:
        wanted = {i for event in events for i in event.auth_events} - {event.event_id for event in events}
        known = await self._store.load_events_by_id(list(wanted))
        if wanted - known.keys():
            await self._catch_up.fetch_auth(room, server, sorted(wanted - known.keys()), MAX_AUTH)

    async def _take(self, room: Room, missing: Sequence[EventId], events: Sequence[Event]) -> bool:
        """Store a page. True if any of it is new to the timeline."""
        known = await self._store.load_events_by_id([event.event_id for event in events])
        fresh = [e for e in events if (row := known.get(e.event_id)) is None or not row.position]
        gone = await self._redacted(room, fresh)
        first = min(await self._store.load_first_position(room.room_key), 0)
        judged = await self._outliers.judge(room.room_key, fresh)
        # No await from here on: the outliers' keys are fresh.
        rows = {write.event_id: write for write in judged.writes}
        writes: list[Write] = []
        position = first
        came = {event.event_id for event in events}
        for event in reversed(timeline_order(fresh)):
            event_id = event.event_id
            good = event_id in judged.keys and event_id not in judged.rejected
            if good:
                position -= 1
            at = position if good else None
            because = gone.get(event_id)
            if (new := rows.get(event_id)) is not None:
                if because is not None:
                    json = redact(event).json
                    new = replace(new, flags=new.flags | FLAG_REDACTED, json=json, redacted_by=because)
                writes.append(replace(new, position=at))
            elif good:
                key = judged.keys[event_id]
                flags = known[event_id].flags | (FLAG_REDACTED if because is not None else 0)
                writes.append(PlaceEvent(key, at, 0, flags))
                if because is not None:
                    writes.append(ReplaceEventJson(key, flags, redact(event).json, because))
        writes += [PutMissingPast(room.room_key, event_id, None) for event_id in missing if event_id in came]
        beyond = {i for event in events for i in event.prev_events} - came
        there = {i for i in beyond if (row := known.get(i)) is not None and row.position}
        writes += [PutMissingPast(room.room_key, event_id, position) for event_id in sorted(beyond - there)]
        await self._writer.write(writes)
        return position < first

    async def _redacted(self, room: Room, events: Sequence[Event]) -> Mapping[EventId, EventId]:
        """Which of these events were redacted by which: others of them, or redactions that came before."""
        by_id = {event.event_id: event for event in events}
        gone: dict[EventId, EventId] = {}
        for event in events:
            target = by_id.get(event.redacts) if event.redacts is not None else None
            if target is not None and await self._may(room, event, target):
                gone[target.event_id] = event.event_id
            for waiting in await self._store.load_waiting_redactions(event.event_id):
                row = await self._store.load_event(waiting)
                ours = row is not None and row.room_key == room.room_key
                if row is not None and ours and await self._may(room, parsed(row, room.version), event):
                    gone[event.event_id] = waiting
        return gone

    async def _may(self, room: Room, redaction: Event, target: Event) -> bool:
        """As redactions.py has it; the power is that of the redaction's own auth events."""
        if server_of(redaction.sender) == server_of(target.sender) or room.version.redaction_in_auth_rules:
            return True
        rows: Mapping[EventId, StoredEvent] = await self._store.load_events_by_id(redaction.auth_events)
        state = state_of(parsed(row, room.version) for row in rows.values())
        state.setdefault(("m.room.create", ""), room.create_event)
        power = PowerLevels.from_state(state, room.version)
        return power.user(redaction.sender) >= power.redact


def _connected(starts: Sequence[EventId], events: Sequence[Event], room_id: RoomId) -> list[Event]:
    """Those of the events that are reached from the starts by parents: others are nobody's past."""
    by_id = {event.event_id: event for event in events if event.room_id == room_id}
    found: dict[EventId, Event] = {}
    waiting = [event_id for event_id in starts if event_id in by_id]
    while waiting:
        event = by_id[waiting.pop()]
        if event.event_id in found:
            continue
        found[event.event_id] = event
        waiting += [i for i in event.prev_events if i in by_id and i not in found]
    return list(found.values())


