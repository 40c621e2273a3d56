"""Rooms that take the place of others: which room follows which, as both of them say.

A tombstone is what anybody may write who has the level for it, and a predecessor is what anybody may claim who makes a
room. So a room follows another one only where both name each other. From such links chains are made; a chain that
is longer than MAX_CHAIN, or leads back into itself, ends where that shows.
spec: Matrix client-server-api "Room Upgrades", m.room.tombstone, m.room.create predecessor; docs/mapping.md 21.4. Pure.
Who goes where because of it is following.py; how a room is replaced is upgrading.py.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tripoint.core.event import Event
from tripoint.core.ids import InvalidId, RoomId, parse_room_id
from tripoint.core.json_view import object_at, text_at
from tripoint.rooms.ports import RoomView

TOMBSTONE: Final = ("m.room.tombstone", "")
UPGRADED: Final = "This room was upgraded"
# Rooms of one chain that are looked at. A community that upgrades once a year is there in a generation.
MAX_CHAIN: Final = 30

View = TypeVar("View", bound=RoomView)


def replacement_in(tombstone: Event | None, room_id: RoomId) -> RoomId | None:
    """The room that a tombstone of `room_id` leads to; None where it leads nowhere."""
    named = None if tombstone is None else text_at(tombstone.content, "replacement_room")
    return _other(named, room_id)


def replacement_of(room: RoomView) -> RoomId | None:
    """The room that a room says has taken its place."""
    return replacement_in(room.state.get(TOMBSTONE), room.room_id)


def predecessor_of(room: RoomView) -> RoomId | None:
    """The room whose place a room says it has taken."""
    create = room.state.get(("m.room.create", ""))
    named = None if create is None else text_at(object_at(create.content, "predecessor"), "room_id")
    return _other(named, room.room_id)


def _other(named: str | None, room_id: RoomId) -> RoomId | None:
    if named is None or named == room_id:
        return None
    try:
        return parse_room_id(named)
    except InvalidId:
        return None


def succeeds(new: RoomView, old: RoomView) -> bool:
    """Whether `new` has taken the place of `old`: each names the other."""
    return replacement_of(old) == new.room_id and predecessor_of(new) == old.room_id


async def newest(room: View, find: Callable[[RoomId], Awaitable[View | None]]) -> View:
    """The last room of the chain that a room is in, as far as `find` knows them.

    A room of a chain that leads back into itself, or on and on, has no successor: it is itself.
    """
    seen, current = {room.room_id}, room
    for _ in range(MAX_CHAIN):
        named = replacement_of(current)
        after = None if named is None else await find(named)
        if after is None or not succeeds(after, current):
            return current
        if after.room_id in seen:
            return room
        seen.add(after.room_id)
        current = after
    return room


async def lineage(room: View, find: Callable[[RoomId], Awaitable[View | None]]) -> list[View]:
    """A room and those whose place it has taken, as far as `find` knows them, the newest first."""
    found, seen = [room], {room.room_id}
    while len(found) < MAX_CHAIN:
        named = predecessor_of(found[-1])
        before = None if named is None or named in seen else await find(named)
        if before is None or not succeeds(found[-1], before):
            break
        found.append(before)
        seen.add(before.room_id)
    return found
