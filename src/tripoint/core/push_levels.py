"""How loud one room is for a user: three levels, as push rules. Pure.

The rules are those that Matrix clients write for the same choice, so that each sees what the other has set: "mute" is
an override rule on the room's id, "mentions only" and "everything" are room rules. Whoever has written other rules
about a room has no level that we could name, and keeps them.
docs/mapping.md 22.3; spec: Matrix client-server module push; XEP-0492 2.1
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from tripoint.core.canonical_json import Json
from tripoint.core.push_changes import copy_room_rule, delete_rule, put_rule
from tripoint.core.push_rules import NOTIFY, PushRule, PushRules


class RoomLevel(Enum):
    """What of a room notifies. Without a level the user's general rules decide."""

    ALWAYS = "always"
    MENTIONS = "on-mention"
    NEVER = "never"


_SOUND: Final[Json] = {"set_tweak": "sound", "value": "default"}


def room_levels(rules: PushRules) -> Mapping[str, RoomLevel]:
    """The level of every room that has one, by its id."""
    levels: dict[str, RoomLevel] = {}
    for rule in rules.rules["room"]:
        if rule.enabled:
            levels[rule.rule_id] = RoomLevel.ALWAYS if NOTIFY in rule.actions else RoomLevel.MENTIONS
    for rule in rules.rules["override"]:
        if rule.enabled and not rule.default and _mutes(rule):
            levels[rule.rule_id] = RoomLevel.NEVER
    return levels


def set_room_level(rules: PushRules, room_id: str, level: RoomLevel | None) -> PushRules:
    """The rules where a room has this level; None: none. Raises what put_rule raises."""
    if room_levels(rules).get(room_id) is level:
        return rules
    for kind in ("override", "room"):
        rule = rules.find(kind, room_id)
        if rule is not None:
            rules = delete_rule(rules, kind, room_id)
    if level is RoomLevel.NEVER:
        return put_rule(
            rules, "override", room_id, {"conditions": [_condition(room_id)], "actions": []}, before=None, after=None
        )
    if level is None:
        return rules
    actions: list[Json] = [NOTIFY, _SOUND] if level is RoomLevel.ALWAYS else []
    return put_rule(rules, "room", room_id, {"actions": actions}, before=None, after=None)


def carry_room(rules: PushRules, old: str, new: str) -> PushRules:
    """A room was replaced: what is said of it alone is said of the new one too. What is said of that already stays.

    spec: "Room Upgrades"
    """
    levels = room_levels(rules)
    if levels.get(old) is RoomLevel.NEVER and new not in levels:
        return set_room_level(rules, new, RoomLevel.NEVER)
    return copy_room_rule(rules, old, new)


def _mutes(rule: PushRule) -> bool:
    return NOTIFY not in rule.actions and rule.conditions == (_condition(rule.rule_id),)


def _condition(room_id: str) -> Json:
    return {"kind": "event_match", "key": "room_id", "pattern": room_id}
