"""Filling gaps: an event came whose past this server lacks.

First the events in between are asked for, however long it was (a night's talk is some thousand). Where the gap is
too long even for that, the newest of them are taken in after the state that was before them, and the timeline keeps
a hole. The work for one event is bounded: a hostile server can waste no more than that, and what could not be judged
is dropped, to come again or not.
spec: Matrix server-server-api "Checks performed on receipt of a PDU", "Retrieving event authorization
information", POST /get_missing_events, GET /state_ids
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

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

# What is asked for in one /get_missing_events: servers give 20 (Synapse) to 100 (this one).
MISSING_LIMIT = 100
# Events of one gap, and their JSON: they are held in memory until the far end is reached.
MAX_MISSED = 5_000
MAX_MISSED_BYTES = 8_000_000
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

    async def fill_absence(self, room: Room, join: Event, origin: ServerName) -> None:
        """Take in what was said while this server was out of a room into which `join` brings it back.

        Called with the room's turn held, between the answer of `origin` and the entrance. What was taken in before a
        failure stays. An absence that is too long leaves a hole. Raises RemoteFailed.
        """
        budget = _Budget(MAX_FETCHED)
        with suppress(_Exhausted):
            between = await self._walk_back(room, join, origin, budget)
            if not between.beyond:
                await self._take_in_order(room, between.events, origin, budget, held=True)

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
            between = await self._walk_back(room, event, origin, budget)
            is_long = bool(between.beyond)
            for event_id in sorted(between.beyond)[:MAX_ENDS]:
                await self._bridge(room, origin, event_id, budget)
            await self._take_in_order(room, between.events, origin, budget)
        outcome = await self._accept.receive(event)
        forks = isinstance(outcome, Lacking) and await self._forks_before_us(outcome)
        if isinstance(outcome, Lacking) and patient and not is_long and not forks:
            return None
        if isinstance(outcome, Lacking) and outcome.prev_events and not outcome.auth_events:
            for event_id in sorted(outcome.prev_events)[:MAX_ENDS]:
                await self._bridge(room, origin, event_id, budget)
            outcome = await self._accept.receive(event)
        return outcome if isinstance(outcome, Verdict) else None

    async def _walk_back(self, room: Room, event: Event, origin: ServerName, budget: "_Budget") -> "_Between":
        """Ask for the events between our ends and this one, newest first, until there are no more or too many."""
        found: dict[EventId, Event] = {}
        size = 0
        # Those whose parents are still wanted: the oldest that we have, and where a fork was not answered whole.
        waiting = [event]
        while True:
            earliest, latest = list(room.head.extremities), [e.event_id for e in waiting[-MISSING_LIMIT:]]
            got = await self._remote.missing_events(origin, room.room_id, earliest, latest, MISSING_LIMIT)
            fresh = {e.event_id: e for e in got if e.room_id == room.room_id and e.event_id not in found}
            budget.take(len(fresh))
            found.update(fresh)
            size += sum(len(e.json) for e in fresh.values())
            waiting += fresh.values()
            parents = await self._unknown({i for e in waiting for i in e.prev_events} - found.keys())
            waiting = [e for e in waiting if not parents.isdisjoint(e.prev_events)]
            if not fresh or not waiting:
                return _Between(list(found.values()), frozenset())
            if len(found) >= MAX_MISSED or size >= MAX_MISSED_BYTES:
                return _Between(list(found.values()), frozenset(parents))

    async def _take_in_order(
        self, room: Room, events: Iterable[Event], origin: ServerName, budget: "_Budget", *, held: bool = False
    ) -> None:
        ends = 0
        for one in timeline_order(events):
            outcome = await self._accept.receive(one, held=held)
            if isinstance(outcome, Lacking) and outcome.auth_events:
                await self._fetch_auth(room, origin, outcome.auth_events, budget)
                outcome = await self._accept.receive(one, held=held)
            if isinstance(outcome, Lacking) and not held and ends < MAX_ENDS and await self._forks_before_us(outcome):
                ends += 1
                await self._bridge(room, origin, one.event_id, budget)

    async def _forks_before_us(self, lacking: Lacking) -> bool:
        """Whether an event follows what was before this server came into the room, beside the join by which it came.

        Then nobody sends what it lacks, since that is here: as a part of the state that came with the join.
        """
        if lacking.auth_events or not lacking.prev_events:
            return False
        return not await self._unknown(lacking.prev_events)

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


@dataclass(frozen=True, slots=True)
class _Between:
    """The events of a gap, or the newest of them where it is too long: then `beyond` are those before them."""

    events: Sequence[Event]
    beyond: frozenset[EventId]


class _Exhausted(Exception):
    """One event has made us fetch as much as it may."""


class _Budget:
    def __init__(self, events: int) -> None:
        self._left = events

    def take(self, events: int) -> None:
        self._left -= events
        if self._left < 0:
            raise _Exhausted
