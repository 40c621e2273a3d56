"""Filling gaps: an event came whose past this server lacks.

First the events in between are asked for; where the gap is too long for that, the state before its far end,
and the timeline keeps a hole that back-pagination may fill. The work for one event is bounded: a hostile
server can waste no more than that, and what could not be judged is dropped, to come again or not.
spec: Matrix server-server-api "Checks performed on receipt of a PDU", "Retrieving event authorization
information", POST /get_missing_events, GET /state_ids
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from tripoint.core.errors import RemoteFailed
from tripoint.core.event import Event
from tripoint.core.graph import timeline_order
from tripoint.core.ids import EventId, RoomId, ServerName
from tripoint.rooms.accept import Accept, Lacking, Verdict
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.outliers import OutlierJudge
from tripoint.rooms.remote import RemoteServers
from tripoint.rooms.room import Room
from tripoint.store.interface import RoomStore

# What servers give at most in one answer of /get_missing_events; more rounds than this and the gap is long.
MISSING_LIMIT = 20
MISSING_ROUNDS = 5
# Events that one incoming event may make us fetch one by one: state and auth events of a large room.
MAX_FETCHED = 20_000
# Ends of one gap whose state is asked for.
MAX_ENDS = 10


class CatchUp:
    """Takes an event in, with whatever it lacks."""

    def __init__(
        self,
        rooms: LoadedRooms,
        accept: Accept,
        outliers: OutlierJudge,
        store: RoomStore,
        remote: RemoteServers,
    ) -> None:
        self._outliers = outliers
        self._rooms = rooms
        self._accept = accept
        self._store = store
        self._remote = remote

    async def take(self, event: Event, origin: ServerName, *, patient: bool = False) -> Verdict | None:
        """Judge an event that `origin` sent; None if what it lacks was not to be had, and it was dropped.

        `patient`: it may come again. Then a gap that is short and could not be filled (an answer that left
        something out, a key that was not to be had just now) makes no hole yet.
        Refused(NO_SUCH_ROOM) for a room this server is not in.
        """
        outcome = await self._accept.receive(event)
        if isinstance(outcome, Verdict):
            return outcome
        room = await self._rooms.get(event.room_id)
        budget = _Budget(MAX_FETCHED)
        try:
            return await self._fill(room, event, origin, outcome, budget, patient)
        except (RemoteFailed, _Exhausted):
            return None

    async def _fill(
        self,
        room: Room,
        event: Event,
        origin: ServerName,
        lacking: Lacking,
        budget: "_Budget",
        patient: bool,
    ) -> Verdict | None:
        is_long = False
        if lacking.auth_events:
            await self._fetch_auth(room, origin, lacking.auth_events, budget)
        if lacking.prev_events:
            is_long = await self._walk_back(room, event, origin, budget)
        outcome = await self._accept.receive(event)
        if isinstance(outcome, Lacking) and patient and not is_long:
            return None
        if isinstance(outcome, Lacking) and outcome.prev_events and not outcome.auth_events:
            for event_id in sorted(outcome.prev_events)[:MAX_ENDS]:
                await self._bridge(room, origin, event_id, budget)
            outcome = await self._accept.receive(event)
        return outcome if isinstance(outcome, Verdict) else None

    async def _walk_back(self, room: Room, event: Event, origin: ServerName, budget: "_Budget") -> bool:
        """Ask for the events between our ends and this one, and take them in order. Whether there are more of them
        than we ask for."""
        found: dict[EventId, Event] = {}
        latest: Sequence[EventId] = [event.event_id]
        is_long = True
        for _ in range(MISSING_ROUNDS):
            earliest = list(room.head.extremities)
            got = await self._remote.missing_events(origin, room.room_id, earliest, latest, MISSING_LIMIT)
            fresh = {e.event_id: e for e in got if e.room_id == room.room_id and e.event_id not in found}
            budget.take(len(fresh))
            found.update(fresh)
            wanted = await self._unknown(i for e in (event, *found.values()) for i in e.prev_events)
            ends = [i for i in wanted if i not in found]
            if not fresh or not ends:
                is_long = False
                break
            # Go on from the oldest that we got.
            latest = [e.event_id for e in fresh.values() if any(i in ends for i in e.prev_events)]
            if not latest:
                is_long = False
                break
        for one in timeline_order(found.values()):
            outcome = await self._accept.receive(one)
            if isinstance(outcome, Lacking) and outcome.auth_events:
                await self._fetch_auth(room, origin, outcome.auth_events, budget)
                await self._accept.receive(one)
        return is_long

    async def _bridge(self, room: Room, origin: ServerName, event_id: EventId, budget: "_Budget") -> None:
        """Take in an event before which there is a hole, with the state that `origin` says was before it."""
        found = await self._fetch(room.room_id, origin, [event_id], budget)
        if not found:
            return
        event = found[0]
        state_ids, chain_ids = await self._remote.state_ids(origin, room.room_id, event_id)
        unknown = await self._unknown((*state_ids, *chain_ids))
        fetched = await self._fetch(room.room_id, origin, sorted(unknown), budget)
        await self._outliers.add(room.room_key, [e for e in fetched if e.room_id == room.room_id])
        await self._accept.receive_after(event, state_ids)

    async def fetch_auth(self, room: Room, origin: ServerName, event_ids: Iterable[EventId], limit: int) -> None:
        """Have auth events and theirs as outliers, as far as `limit` fetched events go. Raises RemoteFailed."""
        with suppress(_Exhausted):
            await self._fetch_auth(room, origin, event_ids, _Budget(limit))

    async def _fetch_auth(
        self, room: Room, origin: ServerName, event_ids: Iterable[EventId], budget: "_Budget"
    ) -> None:
        """Auth events and theirs, down to what is known; stored as outliers."""
        fetched: dict[EventId, Event] = {}
        wanted = set(event_ids)
        while wanted:
            got = await self._fetch(room.room_id, origin, sorted(wanted), budget)
            fresh = {e.event_id: e for e in got if e.room_id == room.room_id and e.event_id not in fetched}
            if not fresh:
                break
            fetched.update(fresh)
            wanted = await self._unknown(i for e in fresh.values() for i in e.auth_events if i not in fetched)
        if fetched:
            await self._outliers.add(room.room_key, list(fetched.values()))

    async def _fetch(
        self, room_id: RoomId, origin: ServerName, event_ids: Sequence[EventId], budget: "_Budget"
    ) -> Sequence[Event]:
        budget.take(len(event_ids))
        wanted = set(event_ids)
        got = await self._remote.events(origin, room_id, event_ids)
        return [event for event in got if event.event_id in wanted]

    async def _unknown(self, event_ids: Iterable[EventId]) -> set[EventId]:
        wanted = set(event_ids)
        return wanted - (await self._store.load_events_by_id(list(wanted))).keys()


class _Exhausted(Exception):
    """One event has made us fetch as much as it may."""


class _Budget:
    def __init__(self, events: int) -> None:
        self._left = events

    def take(self, events: int) -> None:
        self._left -= events
        if self._left < 0:
            raise _Exhausted
