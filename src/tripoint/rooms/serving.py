"""What other servers may be told of a room: events, states, auth chains, the past.

Only a server with a member in the room is answered. Of what none of its users may see (history visibility at the
event) it gets the redacted form: the graph stays whole and the words stay here.
spec: Matrix server-server-api "Retrieving events", "Backfilling and retrieving missing events", "Retrieving event
authorization information"; client-server module history_visibility
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from tripoint.core.event import Event, redact
from tripoint.core.graph import timeline_order
from tripoint.core.ids import EventId, RoomId, ServerName, UserId, server_of
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, StateKey, member_of
from tripoint.rooms.states import StateKeys, States, parsed
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_OUTLIER, FLAG_REJECTED

MAX_EVENTS = 100


class Serving:
    """Answers other servers. Refused: NO_SUCH_ROOM, NOT_JOINED (no member of that server), SERVER_DENIED,
    NO_SUCH_EVENT."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore) -> None:
        self._rooms = rooms
        self._store = store
        self._states = States(store)

    async def event(self, server: ServerName, event_id: EventId) -> Event:
        """One event, of whatever room the two servers share."""
        stored = await self._store.load_event(event_id)
        row = None if stored is None else await self._store.load_room_by_key(stored.room_key)
        if stored is None or row is None or stored.flags & FLAG_REJECTED:
            raise Refused(Refusal.NO_SUCH_EVENT)
        room = await self._shared(server, row.room_id)
        return (await self._visible(room, server, [stored]))[0]

    async def state_before(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[Event], Sequence[Event]]:
        """(state before an event, auth chain of that state)."""
        room = await self._shared(server, room_id)
        if room.partial is not None:
            raise Refused(Refusal.NO_SUCH_EVENT, "This server does not have the whole state of that room yet")
        keys = await self._before(room, await self._judged(room, event_id))
        rows = await self._store.load_events(list(keys.values()))
        state = [parsed(row, room.version) for row in rows.values()]
        return state, await self.chain_of(room, state)

    async def auth_chain(self, server: ServerName, room_id: RoomId, event_id: EventId) -> Sequence[Event]:
        """The auth chain of one event."""
        room = await self._shared(server, room_id)
        stored = await self._judged(room, event_id)
        return await self.chain_of(room, [parsed(stored, room.version)])

    async def event_at(
        self, server: ServerName, room_id: RoomId, ts_ms: int, *, forward: bool
    ) -> tuple[EventId, int]:
        """(id, time) of the event nearest to a time that users of the server may see."""
        room = await self._shared(server, room_id)
        rows = await self._store.load_events_at(room.room_key, ts_ms, forward=forward, limit=MAX_EVENTS)
        for row in rows:
            (event,) = await self._visible(room, server, [row])
            if event.is_state or event.json == row.json:
                return row.event_id, row.ts_ms
        raise Refused(Refusal.NO_SUCH_EVENT, "There is no event that way")

    async def missing(
        self,
        server: ServerName,
        room_id: RoomId,
        earliest: Iterable[EventId],
        latest: Sequence[EventId],
        limit: int,
        min_depth: int,
    ) -> Sequence[Event]:
        """Events before `latest` that are neither `earliest` nor before them, breadth first, oldest first."""
        room = await self._shared(server, room_id)
        known = set(earliest) | set(latest)
        found: dict[EventId, StoredEvent] = {}
        starts = await self._rows(room, latest)
        waiting = deque(i for row in starts for i in parsed(row, room.version).prev_events)
        while waiting and len(found) < min(limit, MAX_EVENTS):
            event_id = waiting.popleft()
            if event_id in known:
                continue
            known.add(event_id)
            for row in await self._rows(room, [event_id]):
                event = parsed(row, room.version)
                if event.depth >= min_depth:
                    found[event_id] = row
                    waiting.extend(event.prev_events)
        return timeline_order(await self._visible(room, server, list(found.values())))

    async def backfill(
        self, server: ServerName, room_id: RoomId, starts: Sequence[EventId], limit: int
    ) -> Sequence[Event]:
        """These events and what came before them, newest first."""
        room = await self._shared(server, room_id)
        known: set[EventId] = set()
        found: list[StoredEvent] = []
        waiting = deque(starts)
        while waiting and len(found) < min(limit, MAX_EVENTS):
            event_id = waiting.popleft()
            if event_id in known:
                continue
            known.add(event_id)
            for row in await self._rows(room, [event_id]):
                found.append(row)
                waiting.extend(parsed(row, room.version).prev_events)
        return timeline_order(await self._visible(room, server, found))[::-1]

    # -- what may be told

    async def _shared(self, server: ServerName, room_id: RoomId) -> Room:
        """The room, if the server has somebody in it."""
        room = await self._rooms.get(room_id)
        if not room.allows_server(server):
            raise Refused(Refusal.SERVER_DENIED, "Your server is denied in this room")
        if server not in room.servers():
            raise Refused(Refusal.NOT_JOINED, "Your server is not in this room")
        return room

    async def _rows(self, room: Room, event_ids: Sequence[EventId]) -> list[StoredEvent]:
        """Those of the events that belong to the room's graph as this server has judged it."""
        rows = (await self._store.load_events_by_id(list(event_ids))).values()
        return [row for row in rows if row.room_key == room.room_key and _in_graph(row)]

    async def _judged(self, room: Room, event_id: EventId) -> StoredEvent:
        """An event around which the state is known."""
        for row in await self._rows(room, [event_id]):
            if not row.flags & FLAG_OUTLIER:
                return row
        raise Refused(Refusal.NO_SUCH_EVENT)

    async def _visible(self, room: Room, server: ServerName, rows: Sequence[StoredEvent]) -> list[Event]:
        """The events, redacted where none of the server's users may see them."""
        shown = []
        states: dict[int, StateKeys] = {}
        for row in rows:
            event = parsed(row, room.version)
            group = row.state_group
            if row.flags & FLAG_OUTLIER:
                # The state around the fetched past is not known: what hid it from whoever came later hides it still.
                visible = event.is_state or room.history_visibility in ("shared", "world_readable")
            else:
                if group not in states:
                    states[group] = await self._states.of_group(group)
                visible = event.is_state or await self._may_see(room, server, states[group])
            shown.append(event if visible else redact(event))
        return shown

    async def _may_see(self, room: Room, server: ServerName, state: Mapping[StateKey, int]) -> bool:
        """Whether somebody of the server could see what was said in this state."""
        key = state.get(("m.room.history_visibility", ""))
        visibility: object = "shared"
        if key is not None:
            rows = await self._store.load_events([key])
            visibility = parsed(rows[key], room.version).content.get("history_visibility")
        if visibility not in ("invited", "joined"):
            return True
        members = [
            at
            for (type_, user_id), at in state.items()
            if type_ == "m.room.member" and user_id.endswith(f":{server}")
        ]
        there = {"join", "invite"} if visibility == "invited" else {"join"}
        rows = await self._store.load_events(members)
        return any(
            member_of(event).membership in there and server_of(UserId(event.state_key or "")) == server
            for event in (parsed(row, room.version) for row in rows.values())
        )

    async def _before(self, room: Room, stored: StoredEvent) -> StateKeys:
        event = parsed(stored, room.version)
        if event.state_key is None:
            return await self._states.of_group(stored.state_group)
        prev = await self._rows(room, event.prev_events)
        groups = sorted({row.state_group for row in prev if not row.flags & FLAG_OUTLIER})
        if not groups:
            # Its past is not here: it came with joining. The state after it without it is what is known.
            after = await self._states.of_group(stored.state_group)
            return {key: at for key, at in after.items() if at != stored.event_key}
        states = [await self._states.of_group(group) for group in groups]
        return await self._states.resolve(room.version, states, {})

    async def chain_of(self, room: Room, events: Sequence[Event]) -> list[Event]:
        """The auth chain of these events, oldest first."""
        found: dict[EventId, Event] = {}
        wanted = {i for event in events for i in event.auth_events}
        while wanted:
            rows = await self._store.load_events_by_id(list(wanted))
            fresh = {i: parsed(row, room.version) for i, row in rows.items()}
            found.update(fresh)
            wanted = {i for event in fresh.values() for i in event.auth_events} - found.keys()
        return timeline_order(found.values())


def _in_graph(row: StoredEvent) -> bool:
    """Whether an event stands in a room's graph as this server has it, the fetched past (backfill.py) included."""
    if row.flags & FLAG_OUTLIER:
        return row.position is not None and row.position < 0 and not row.flags & FLAG_REJECTED
    return not row.flags & FLAG_REJECTED
