"""Rooms seen from outside: local users are invited to them or knock, and this server has nothing of their graph.

Such a room is a room like any other to every view, with what an invitation told of it as its state and the
membership events of local users as its timeline. When somebody enters, entering.py makes it whole.
spec: Matrix server-server-api "Inviting to a room", "Knocking upon a room"; docs/mapping.md 9.9, 9.11
"""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

from tripoint.core.canonical_json import Json
from tripoint.core.event import Event
from tripoint.core.ids import ServerName, UserId
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.room import Head, Room, direct_pair, member_of
from tripoint.rooms.stripped import pack_stripped, unpack_stripped
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import FLAG_OUTLIER, AddEvent, PlaceEvent, PutMembership, PutRoom, PutStrippedState, Write


class Outside:
    """Keeps what local users are to rooms that this server is not in. Called with the room's turn held."""

    def __init__(self, rooms: LoadedRooms, writer: Writer, index: MembershipIndex, store: RoomStore) -> None:
        self._rooms = rooms
        self._writer = writer
        self._index = index
        self._store = store

    async def take(self, event: Event, told: Sequence[Json] | None = None) -> None:
        """A local user's invitation, knock or leave of a room that this server is not in is committed and told.

        `told`: stripped state that came with it; None: what was known stays. Signatures were checked.
        """
        packed = None if told is None else pack_stripped(told, member=event.sender, server=self._server)
        room = await self._room(event, packed)
        stored = await self._store.load_event(event.event_id)
        if stored is not None and stored.position is not None:
            return  # it came before, and was told
        assert event.state_key is not None, "a member event"
        target, membership = UserId(event.state_key), member_of(event).membership
        unit: list[Write] = []
        position = self._writer.stream.next()
        event_key = position if stored is None else stored.event_key
        room.pending[event.key] = (event, event_key)
        group = self._writer.groups.after(room, *event.key, event_key)
        unit.append(group)
        if stored is None:
            row = (event.origin_server_ts, FLAG_OUTLIER, event.type, event.state_key, None, event.json)
            unit.append(AddEvent(event_key, position, room.room_key, event.event_id, group.group, *row))
        else:
            unit.append(PlaceEvent(event_key, position, group.group, FLAG_OUTLIER))
        unit.append(PutMembership(target, room.room_key, membership, position))
        if packed is not None and room.outside:
            unit.append(PutStrippedState(room.room_key, packed))
        head = room.head.copy()

        def committed() -> None:
            self._rooms.add(room)
            replaced = room.committed(HistoryItem(position, event, None), head)
            room.state_keys[event.key] = event_key
            self._index.set(target, room.room_id, membership, position)
            self._writer.tell([EventCommitted(position, room.room_id, event, replaced, outlier=True)])

        new = self._rooms.peek(room.room_id) is not room
        with self._rooms.expecting(room) if new else nullcontext():
            await asyncio.shield(self._writer.queue(room, unit, committed))

    @property
    def _server(self) -> ServerName:
        return self._writer.signer.server

    async def _room(self, event: Event, told: bytes | None) -> Room:
        room_id, version = event.room_id, event.version
        room = await self._rooms.find(room_id) or self._new(event)
        if told is not None and room.outside:
            room.recognise(unpack_stripped(told, room_id, version))
        return room

    def _new(self, event: Event) -> Room:
        # docs/mapping.md 15.1: whoever is written to directly finds the same room from the other side.
        target = UserId(event.state_key or "")
        direct = event.content.get("is_direct") is True and event.sender != target
        row = PutRoom(
            room_key=self._writer.mint_room_key(),
            room_id=event.room_id,
            version=event.version.id,
            head_group=0,
            extremities=(),
            created_ts_ms=self._writer.signer.clock_ms(),
            listed=False,
            temporary=False,
            locked_until_ms=None,
            unlock_join_rule=None,
            direct_pair=direct_pair(event.sender, target) if direct else None,
        )
        head = Head({}, 0, 0, 0)
        return Room(row, event.version, {}, keys={}, positions={}, aliases=(), last_position=0, head=head)
