"""What a room is to somebody who looks from outside, and what lies below a space. Pure.

spec: Matrix client-server GET /hierarchy, GET /room_summary, "Ordering of children within a space"; server-server
GET /hierarchy
"""

from collections.abc import Collection, Sequence
from typing import Any

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.json_view import list_at, text_at
from tripoint.rooms.ports import RoomView
from tripoint.rooms.spaces import allowed_rooms

OPEN_RULES = ("public", "knock", "knock_restricted")


def summary_of(room: RoomView) -> dict[str, Any]:
    """spec: RoomSummary."""
    state = room.state
    summary: dict[str, Any] = {
        "room_id": room.room_id,
        "num_joined_members": room.joined_count(),
        "world_readable": room.history_visibility == "world_readable",
        "guest_can_join": room.guest_access == "can_join",
        "join_rule": room.join_rule,
        "room_version": room.version.id,
    }
    for key, type_, field in (
        ("name", "m.room.name", "name"),
        ("topic", "m.room.topic", "topic"),
        ("avatar_url", "m.room.avatar", "url"),
        ("canonical_alias", "m.room.canonical_alias", "alias"),
        ("room_type", "m.room.create", "type"),
        ("encryption", "m.room.encryption", "algorithm"),
    ):
        event = state.get((type_, ""))
        value = None if event is None else text_at(event.content, field)
        if value:
            summary[key] = value
    if room.join_rule in ("restricted", "knock_restricted"):
        summary["allowed_room_ids"] = allowed_rooms(room)
    return summary


def open_to(summary: JsonObject, member_of: Collection[str]) -> bool:
    """Whether somebody who is in these rooms may look at, join or knock at a room with this summary."""
    rule = summary.get("join_rule", "public")
    if summary.get("world_readable") is True or rule in OPEN_RULES:
        return True
    return rule == "restricted" and any(room_id in member_of for room_id in list_at(summary, "allowed_room_ids"))


def child_states(events: Sequence[Event]) -> list[dict[str, Any]]:
    """spec: StrippedChildStateEvent"""
    return [
        {
            "type": event.type,
            "state_key": event.state_key,
            "content": event.content,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
        }
        for event in events
    ]
