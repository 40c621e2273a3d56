"""How loud a room is, as push rules.  docs/mapping.md 22.3"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import UserId
from tripoint.core.push_changes import put_rule, set_enabled
from tripoint.core.push_levels import RoomLevel, carry_room, room_levels, set_room_level
from tripoint.core.push_rules import PushRules, read_rules

ME = UserId("@me:one.example")
ROOM = "!tea"


@pytest.mark.parametrize("level", [*RoomLevel, None])
@pytest.mark.parametrize("before", [*RoomLevel, None])
def test_a_level_is_read_as_it_was_set(before: RoomLevel | None, level: RoomLevel | None) -> None:
    rules = set_room_level(set_room_level(read_rules(ME, None), ROOM, before), ROOM, level)
    assert room_levels(rules).get(ROOM) is level
    assert len([rule for kind in rules.rules.values() for rule in kind if not rule.default]) == (level is not None)
    assert room_levels(read_rules(ME, rules.content())) == room_levels(rules)


def test_other_rules_about_a_room_are_no_level() -> None:
    rules: PushRules = read_rules(ME, None)
    conditions = [{"kind": "event_match", "key": "room_id", "pattern": ROOM}, {"kind": "room_member_count", "is": "2"}]
    rules = put_rule(rules, "override", ROOM, {"conditions": conditions, "actions": []}, before=None, after=None)
    assert room_levels(rules) == {}
    off = set_enabled(set_room_level(rules, "!other", RoomLevel.NEVER), "override", "!other", False)
    assert room_levels(off) == {}
    assert room_levels(set_room_level(off, "!other", RoomLevel.ALWAYS)) == {"!other": RoomLevel.ALWAYS}


@given(st.lists(st.tuples(st.sampled_from(["!a", "!b", "!c"]), st.sampled_from([*RoomLevel, None])), max_size=12))
def test_rooms_do_not_disturb_each_other(steps: list[tuple[str, RoomLevel | None]]) -> None:
    rules, wanted = read_rules(ME, None), dict[str, RoomLevel]()
    for room_id, level in steps:
        rules = set_room_level(rules, room_id, level)
        wanted.pop(room_id, None)
        if level is not None:
            wanted[room_id] = level
    assert room_levels(rules) == wanted


@pytest.mark.parametrize("level", [*RoomLevel, None])
def test_a_level_goes_along_with_the_room(level: RoomLevel | None) -> None:
    rules = set_room_level(read_rules(ME, None), ROOM, level)
    carried = carry_room(rules, ROOM, "!new")
    assert room_levels(carried).get("!new") is room_levels(carried).get(ROOM) is level
    loud = set_room_level(rules, "!new", RoomLevel.ALWAYS)
    assert carry_room(loud, ROOM, "!new") is loud
