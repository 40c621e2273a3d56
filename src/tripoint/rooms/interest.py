"""Whom of the application services an event concerns, and a room.

An event concerns a service that has the room or one of its names in a namespace, whose user sent it or is its target,
or one of whose users was joined to the room when it was sent. Who was there is read from the room as it is now where
that is certain, else from the state that was after the event.
spec: Matrix application-service-api "Registration", definitions/registration.yaml
"""

from weakref import WeakKeyDictionary

import orjson

from tripoint.core.app_services import AppService
from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.changes import EventCommitted, RoomChange, StateReset
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.room import Room
from tripoint.store.interface import RoomStore, StoredEvent


class Interest:
    """`room_changed` hears of all rooms."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore, blocks: Blocks) -> None:
        self._rooms = rooms
        self._store = store
        self._blocks = blocks
        # The users of each service that have or had to do with a room.
        self._known: WeakKeyDictionary[Room, dict[str, tuple[AppService, set[UserId]]]] = WeakKeyDictionary()
        # Neighbours in the log share states.
        self._then: tuple[str, int, frozenset[UserId]] = ("", -1, frozenset())

    def room_changed(self, change: RoomChange) -> None:
        if isinstance(change, StateReset):
            room = self._rooms.peek(change.room_id)
            if room is not None:
                self._known.pop(room, None)
        elif isinstance(change, EventCommitted) and change.event.type == "m.room.member":
            room = self._rooms.peek(change.room_id)
            for service, users in () if room is None else self._known.get(room, {}).values():
                user_id = UserId(change.event.state_key or "")
                if service.covers_user(user_id):
                    users.add(user_id)

    def in_room(self, service: AppService, room: Room, of: UserId | None = None) -> bool:
        """Whether what happens in a room now concerns a service; `of`: by whom it does not, where its users have
        blocked that one."""
        if self._by_name(service, room):
            return True
        there = (user for user in self._users(service, room) if room.membership(user) == "join")
        return any(of is None or not self._blocks.blocks(user, of) for user in there)

    async def in_event(self, service: AppService, room: Room, row: StoredEvent, event: Event) -> bool:
        """Whether an event of a room's timeline concerns a service."""
        if self._by_name(service, room) or service.covers_user(event.sender):
            return True
        if event.type == "m.room.member" and service.covers_user(UserId(event.state_key or "")):
            return True
        doubtful = room.reset_position >= row.place
        for user_id in self._users(service, room):
            since = room.state_positions.get(("m.room.member", user_id), 0)
            if since > row.place:
                doubtful = True  # what he is now he was not yet
            elif room.membership(user_id) == "join" and self._hears(user_id, event):
                return True
        if not doubtful:
            return False
        there = await self._there_at(service, row)
        return any(self._hears(user_id, event) for user_id in there)

    def _hears(self, user_id: UserId, event: Event) -> bool:
        """docs/mapping.md 16: what somebody says is not for who has blocked him."""
        return event.state_key is not None or not self._blocks.blocks(user_id, event.sender)

    def _by_name(self, service: AppService, room: Room) -> bool:
        if service.rooms and service.covers_room(room.room_id):
            return True
        return bool(service.aliases) and any(service.covers_alias(alias) for alias in room.aliases)

    def _users(self, service: AppService, room: Room) -> set[UserId]:
        known = self._known.get(room)
        if known is None:
            known = self._known[room] = {}
        found = known.get(service.service_id)
        if found is None:
            found = service, {user_id for user_id in room.members() if service.covers_user(user_id)}
            known[service.service_id] = found
        return found[1]

    async def _there_at(self, service: AppService, row: StoredEvent) -> frozenset[UserId]:
        """The service's users who were joined in the state after an event."""
        service_id, group, users = self._then
        if (service_id, group) != (service.service_id, row.state_group):
            state = await self._store.load_state(row.state_group)
            keys = {key: UserId(who) for (type_, who), key in state.items() if type_ == "m.room.member"}
            wanted = {key: user_id for key, user_id in keys.items() if service.covers_user(user_id)}
            rows = await self._store.load_events(list(wanted))
            users = frozenset(wanted[key] for key, found in rows.items() if _joins(found.json))
            self._then = service.service_id, row.state_group, users
        return users


def _joins(json: bytes) -> bool:
    return bool(orjson.loads(json)["content"].get("membership") == "join")
