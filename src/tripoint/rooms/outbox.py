"""What other servers are told: the log of this server's rooms, read by position.

There is no queue beside the log. An event goes out as it is committed; after a restart the log is read again from
the floor, the position up to which everything was acknowledged or is written down as missed; and a server that was
away gets, for each room of which it missed something, the room's newest events, from which it finds the rest itself.
Who sends, when and how often is the sender's (matrix/federation/sender.py). docs/decisions/sending.md
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.core.ids import EventId, RoomId, ServerName, UserId, server_of
from tripoint.rooms.audience import Audience, Servers
from tripoint.rooms.changes import EventCommitted, ReceiptMoved
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room, membership_of
from tripoint.rooms.states import parsed
from tripoint.rooms.sticky import Sticky, StickyBoard
from tripoint.store.interface import FederationStore, RoomStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutDestination, PutMeta, PutMissedRoom, PutReceipt, PutUnanswered, Write

FLOOR = "federation_floor"
# Events of the log that are read at a time.
PAGE = 500
# Forward extremities of one room that are sent to a server that missed something in it.
MAX_ENDS = 10
# Events that are sent to a server that is not in the room any more, up to the one that says so: it may not ask.
MAX_FAREWELL = 40
# Sticky events that are sent at a time to a server that lacks some.
MAX_STICKY = 25

DestinationRow = PutDestination
MissedRow = PutMissedRoom
UnansweredRow = PutUnanswered
OutboxRow = DestinationRow | MissedRow | UnansweredRow


class OutboxStore(RoomStore, FederationStore, Protocol):
    """The parts of the store that are read here."""


class Outgoing(Struct, frozen=True):
    """An event for other servers. `json` is the PDU; `servers` those that are told."""

    position: int
    room_key: int
    json: bytes
    servers: Servers


class OutgoingReceipt(Struct, frozen=True):
    """A public read marker of a local user for other servers."""

    position: int
    room_key: int
    room_id: RoomId
    user_id: UserId
    thread_id: str | None
    event_id: EventId
    ts_ms: int
    servers: Servers


class Saved(Struct, frozen=True):
    """What was written down of other servers. `floor`: see the module. `unanswered`: servers, and the ids of the
    transactions that they did not answer."""

    floor: int
    upto: int
    destinations: Sequence[DestinationRow]
    missed: Sequence[MissedRow]
    unanswered: Sequence[tuple[ServerName, str]]


class Newcomer(Struct, frozen=True):
    """A server that lacks something of a room since a position, from before it came."""

    server: ServerName
    room_key: int
    since: int


class Missed(Struct, frozen=True):
    """From what a server finds out what it missed in a room. `more`: from which position on there is more to send."""

    pdus: Sequence[bytes] = ()
    receipts: Sequence[OutgoingReceipt] = ()
    more: int | None = None


class Outbox:
    """Reads and writes what sending needs."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        store: OutboxStore,
        stream: Stream,
        audience: Audience,
        sticky: StickyBoard,
    ) -> None:
        self._sticky = sticky
        self._suffix = f":{server}"
        self._rooms = rooms
        self._store = store
        self._stream = stream
        self._audience = audience

    # -- now

    def committed(self, change: EventCommitted) -> Outgoing | None:
        """An event that was just committed, if other servers are to be told of it."""
        servers = self._audience.of(change)
        room = self._rooms.peek(change.room_id) if servers else None
        if room is None:
            return None
        return Outgoing(change.position, room.room_key, change.event.json, servers)

    def newcomer(self, change: EventCommitted) -> Newcomer | None:
        """The server that came into a room by an event, where events of this server are sticky there.

        spec: MSC4354 "When a new server joins the room, existing servers MUST attempt to push all of their own" """
        event = change.event
        if event.type != "m.room.member" or event.state_key is None or event.state_key.endswith(self._suffix):
            return None
        room = self._rooms.peek(change.room_id)
        own = self._own_sticky(change.room_id, 0) if membership_of(event) == "join" else ()
        if room is None or not own or membership_of(change.replaced) == "join":
            return None
        server = server_of(UserId(event.state_key))
        return Newcomer(server, room.room_key, own[0].position) if room.servers().get(server) == 1 else None

    def _own_sticky(self, room_id: RoomId, since: int) -> Sequence[Sticky]:
        found = self._sticky.of(room_id, since - 1, self._stream.committed)
        return [one for one in found if one.sender.endswith(self._suffix)]

    def moved(self, change: ReceiptMoved) -> OutgoingReceipt | None:
        """A receipt that just moved, if other servers are to be told of it."""
        room = self._rooms.peek(change.room_id)
        if room is None or not self._is_told(change.user_id, change.kind):
            return None
        servers = self._audience.of_room(room)
        if not servers:
            return None
        return OutgoingReceipt(
            change.position,
            room.room_key,
            room.room_id,
            change.user_id,
            change.thread_id,
            change.event_id,
            change.ts_ms,
            servers,
        )

    def servers(self, room_id: RoomId) -> Servers:
        """The other servers in a room, for what is told and not kept."""
        room = self._rooms.peek(room_id)
        return () if room is None else self._audience.of_room(room)

    def forget(self, room_id: RoomId) -> None:
        """State changed without an event of its own."""
        self._audience.forget(room_id)

    # -- the past

    async def load(self) -> Saved:
        """What was written down before this process began. A server that never sent begins with now."""
        upto = self._stream.committed
        floor = await self._store.load_meta(FLOOR)
        if floor is None:
            # Written down at once: what is committed from now on is found again.
            floor = str(upto)
            await self._stream.commit([PutMeta(FLOOR, floor)])
        destinations = await self._store.load_destinations()
        missed, unanswered = await self._store.load_missed_rooms(), await self._store.load_unanswered_ids()
        return Saved(int(floor), upto, destinations, missed, unanswered)

    async def unanswered(self, server: ServerName) -> bytes | None:
        """The body of the transaction that a server did not answer, as it was sent; None: there is none any more."""
        return await self._store.load_unanswered(server)

    async def events_after(self, floor: int, upto: int) -> AsyncIterator[Outgoing]:
        """The events of the log that other servers were to be told of."""
        while True:
            page = await self._store.load_log(floor, PAGE)
            for row in page:
                floor = row.logged
                if floor > upto:
                    return
                room = await self._room(row.room_key)
                if room is not None:
                    event, servers = await self._audience.of_stored(room, row)
                    if servers:
                        yield Outgoing(row.place, room.room_key, event.json, servers)
            if len(page) < PAGE:
                return

    async def receipts_after(self, floor: int) -> AsyncIterator[OutgoingReceipt]:
        """The public receipts of local users that moved after a position."""
        for row in await self._store.load_receipts_after(floor):
            if self._is_told(row.user_id, row.kind):
                room = await self._room(row.room_key)
                if room is not None:
                    yield self._receipt(row, room)

    async def missed(self, server: ServerName, room_key: int, since: int) -> Missed:
        """The PDUs and receipts from which a server finds out what it missed in a room since a position.

        The room's forward extremities and what of this server is sticky; where none of its users is there any more, the
        newest event that says so and what came before it.
        """
        room = await self._room(room_key)
        if room is None:
            return Missed()
        if server not in self._audience.of_room(room):
            return Missed(await self._farewell(room, server, since))
        own = self._own_sticky(room.room_id, since)
        rows = await self._store.load_events_by_id([one.event_id for one in own[:MAX_STICKY]])
        stuck = (parsed(rows[one.event_id], room.version) for one in own[:MAX_STICKY] if one.event_id in rows)
        pdus = [event.json for event in stuck if event.sticky_ms is not None]
        if room.last_position >= since:
            # Events of the head that are not on disk yet go out by themselves when they are.
            heads = (await self._store.load_events_by_id(list(room.head.extremities))).values()
            ends = sorted((parsed(row, room.version) for row in heads), key=lambda event: event.depth)
            pdus += [event.json for event in ends[-MAX_ENDS:] if event.json not in pdus]
        receipts = [
            self._receipt(row, room)
            for row in await self._store.load_receipts(room_key)
            if row.position >= since and self._is_told(row.user_id, row.kind)
        ]
        return Missed(pdus, receipts, own[MAX_STICKY].position if len(own) > MAX_STICKY else None)

    async def _farewell(self, room: Room, server: ServerName, since: int) -> Sequence[bytes]:
        if not room.allows_server(server):
            return ()
        suffix = f":{server}"
        gone = [
            (room.state_positions[key], event)
            for key, event in room.state.items()
            if key[0] == "m.room.member" and key[1].endswith(suffix) and server_of(UserId(key[1])) == server
        ]
        upto, _ = max(gone, key=lambda entry: entry[0], default=(0, None))
        if upto < since:
            return ()
        rows = await self._store.load_timeline(
            room.room_key, after=since - 1, upto=upto, limit=MAX_FAREWELL, backward=True
        )
        # What was said while it was out for a time in between is not for it.
        return [row.json for row in reversed(rows) if await self._audience.was_there(room, row, server)]

    async def save(self, rows: Sequence[OutboxRow], floor: int) -> bool:
        """Write down how far others are, in one unit. False where the store could not."""
        writes: list[Write] = [*rows, PutMeta(FLOOR, str(floor))]
        try:
            await self._stream.commit(writes)
        except StoreError:
            return False
        return True

    async def _room(self, room_key: int) -> Room | None:
        row = await self._store.load_room_by_key(room_key)
        if row is None:
            return None
        try:
            return await self._rooms.get(row.room_id)
        except Refused:
            return None

    def _is_told(self, user_id: UserId, kind: str) -> bool:
        return kind == "m.read" and user_id.endswith(self._suffix)

    def _receipt(self, row: PutReceipt, room: Room) -> OutgoingReceipt:
        return OutgoingReceipt(
            row.position,
            room.room_key,
            room.room_id,
            row.user_id,
            row.thread_id or None,
            row.event_id,
            row.ts_ms,
            self._audience.of_room(room),
        )
