"""Which other servers hear of what happens in a room.

Those with a joined member in the room before the event; the server of somebody whose membership ends hears that
too. Never this server, never one that the room's access control list denies (but for the list itself: nobody else
tells them), nobody where the room does not federate (m.federate). Invitations go to their server by /invite and not
from here.
spec: Matrix server-server-api "Transactions", "Server Access Control Lists (ACLs)"; client-server m.room.create
"""

import orjson

from tripoint.core.event import Event
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.states import parsed
from tripoint.store.interface import RoomStore, StoredEvent
from tripoint.store.writes import FLAG_OUTLIER, FLAG_RELAYED

# In order, so that what happens does not depend on how a set happens to be laid out.
Servers = tuple[ServerName, ...]
NOBODY: Servers = ()

# Events after which the servers of a room are looked at again.
_MOVING = frozenset(("m.room.member", "m.room.server_acl"))
# Whose server hears that a membership has ended.
_ENDING = frozenset(("join", "invite", "knock"))


class Audience:
    """Answers for rooms in memory at once, for events of the past from the states around them."""

    def __init__(self, server: ServerName, rooms: LoadedRooms, store: RoomStore) -> None:
        self._server = server
        self._rooms = rooms
        self._store = store
        self._of_group: tuple[int, Servers] = (-1, NOBODY)

    def forget(self, room_id: RoomId) -> None:
        """The room's members or its list moved: what was worked out for it no longer holds."""
        room = self._rooms.peek(room_id)
        if room is not None:
            room.other_servers = None

    def of_room(self, room: Room) -> Servers:
        """The other servers in a room, as it is now."""
        servers = room.other_servers
        if servers is None:
            servers = NOBODY
            if _federates(room):
                there = {*room.servers(), *_told(room)}
                servers = tuple(sorted(one for one in there if self._may_hear(room, one)))
            room.other_servers = servers
        return servers

    def of(self, change: EventCommitted) -> Servers:
        """Who is to be told of an event that was just committed; nobody for events that others spread."""
        event = change.event
        if event.type in _MOVING:
            self.forget(change.room_id)
        if change.outlier or not self._is_ours(event, change.relayed):
            return NOBODY
        room = self._rooms.peek(change.room_id)
        if room is None:
            return NOBODY
        servers = self.of_room(room)
        if event.type == "m.room.server_acl" and _federates(room):
            servers = tuple(sorted({*room.servers(), *_told(room)} - {self._server}))
        if event.type == "m.room.member":
            before = "leave" if change.replaced is None else member_of(change.replaced).membership
            servers = self._with_target(room, event, before, servers)
        return _without(servers, server_of(event.sender)) if change.relayed else servers

    async def of_stored(self, room: Room, row: StoredEvent) -> tuple[Event, Servers]:
        """An event of the log, and who was to be told of it when it was committed."""
        event = parsed(row, room.version)
        relayed = bool(row.flags & FLAG_RELAYED)
        if row.flags & FLAG_OUTLIER or not self._is_ours(event, relayed) or not _federates(room):
            return event, NOBODY
        there = await self._after(row)
        everybody = tuple(dict.fromkeys((*there, *_told(room))))
        if event.type == "m.room.server_acl":
            servers = _without(everybody, self._server)
        else:
            servers = tuple(one for one in everybody if self._may_hear(room, one))
        if event.type == "m.room.member" and event.state_key is not None:
            stood = await self._store.load_state_before(row.room_key, event.type, event.state_key, row.place)
            before = "leave" if stood is None else member_of(parsed(stood, room.version)).membership
            servers = self._with_target(room, event, before, servers)
        return event, _without(servers, server_of(event.sender)) if relayed else servers

    async def was_there(self, room: Room, row: StoredEvent, server: ServerName) -> bool:
        """Whether a server had somebody in the room at an event, or the event says that it has not any more."""
        if server in await self._after(row):
            return True
        event = parsed(row, room.version)
        return event.type == "m.room.member" and server_of(UserId(event.state_key or "")) == server

    def _is_ours(self, event: Event, relayed: bool) -> bool:
        return relayed or server_of(event.sender) == self._server

    def _may_hear(self, room: Room, server: ServerName) -> bool:
        return server != self._server and room.allows_server(server)

    def _with_target(self, room: Room, event: Event, before: str, servers: Servers) -> Servers:
        """`servers`, and the server of somebody who was there, or asked, and is not any more."""
        if event.state_key is None or before not in _ENDING or member_of(event).membership in _ENDING:
            return servers
        target = server_of(UserId(event.state_key))
        if target in servers or not _federates(room) or not self._may_hear(room, target):
            return servers
        return (*servers, target)

    async def _after(self, row: StoredEvent) -> Servers:
        """The servers with joined members in the state after an event. Neighbours in the log share states."""
        group, servers = self._of_group
        if group != row.state_group:
            state = await self._store.load_state(row.state_group)
            members = {key: user for (type_, user), key in state.items() if type_ == "m.room.member"}
            rows = await self._store.load_events(list(members))
            joined = {server_of(UserId(members[key])) for key, found in rows.items() if _joins(found.json)}
            servers = tuple(sorted(joined))
            self._of_group = row.state_group, servers
        return servers


def _federates(room: Room) -> bool:
    return not room.outside and room.create_event.content.get("m.federate") is not False


def _told(room: Room) -> Servers:
    """Who is in a room, as other servers said, while its members are not all here."""
    return () if room.partial is None else room.partial.servers


def _without(servers: Servers, server: ServerName) -> Servers:
    return tuple(one for one in servers if one != server)


def _joins(json: bytes) -> bool:
    return bool(orjson.loads(json)["content"].get("membership") == "join")
