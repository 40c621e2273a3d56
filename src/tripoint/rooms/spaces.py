"""Spaces: rooms that hold rooms. What is in one, and which rooms give entry to another. Pure.

spec: Matrix client-server module spaces, "Ordering of children within a space"; m.room.join_rules; docs/mapping.md 22.1
"""

import re
from typing import Final

from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.json_view import list_at, text_at
from tripoint.rooms.ports import RoomView

SPACE: Final = "m.space"
CHILD: Final = "m.space.child"
_ORDER: Final = re.compile(r"[\x20-\x7e]{1,50}\Z")


def is_space(room: RoomView) -> bool:
    return room.state["m.room.create", ""].content.get("type") == SPACE


def allowed_rooms(room: RoomView) -> list[str]:
    """Rooms whose members may join. spec: m.room.join_rules `allow`"""
    event = room.state.get(("m.room.join_rules", ""))
    entries = [] if event is None else list_at(event.content, "allow")
    found = (
        text_at(entry, "room_id")
        for entry in entries
        if isinstance(entry, dict) and entry.get("type") == "m.room_membership"
    )
    return [room_id for room_id in found if room_id]


def children_of(room: RoomView, *, suggested_only: bool) -> list[Event]:
    """The m.space.child events of a space, in their order."""
    if not is_space(room):
        return []
    found = [
        event
        for (type_, state_key), event in room.state.items()
        if type_ == CHILD and state_key.startswith("!") and list_at(event.content, "via")
    ]
    if suggested_only:
        found = [event for event in found if event.content.get("suggested") is True]
    return sorted(found, key=_place)


def _place(event: Event) -> tuple[bool, str, int, str]:
    order = text_at(event.content, "order")
    valid = order is not None and _ORDER.match(order) is not None
    return not valid, order if valid and order is not None else "", event.origin_server_ts, event.state_key or ""


def may_look_from(space: RoomView, room: RoomView, user_id: UserId) -> bool:
    """Whether somebody who looks into a space sees this room in it.

    spec: client-server GET /hierarchy: what he may join, or is in or invited to, or what is world-readable.
    """
    if room.membership(user_id) in ("join", "invite") or room.history_visibility == "world_readable":
        return True
    if room.join_rule in ("public", "knock", "knock_restricted"):
        return True
    inside = space.membership(user_id) == "join"
    return room.join_rule == "restricted" and inside and space.room_id in allowed_rooms(room)
