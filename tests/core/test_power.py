"""Power levels and standing.  spec: Matrix m.room.power_levels; docs/mapping.md 7"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.graph_builder import ALICE, BOB, CAROL, RoomBuilder, ids_of, join, powers, rule

from tripoint.core.auth_rules import check_event_auth
from tripoint.core.ids import UserId
from tripoint.core.levels import CREATOR_LEVEL, PowerLevels, read_level
from tripoint.core.power import (
    GrantRefused,
    Rank,
    change_levels,
    change_ranks,
    grant,
    moderated,
    op_is_owner,
    preset_power_levels,
    rank_of,
    revoke,
    room_template,
)
from tripoint.core.room_version import ROOM_VERSIONS

V11, V12 = ROOM_VERSIONS["11"], ROOM_VERSIONS["12"]
TEMPLATE = room_template(ALICE, V11)
EVERYBODY = ["owner", "admin", "op", "halfop", "voice", "plain", "muted"]


def levels(content: Any = TEMPLATE, version: Any = V11, **more: Any) -> PowerLevels:
    return PowerLevels({**content, **more}, version)


@pytest.mark.parametrize(
    ("value", "lenient", "strict"),
    [
        (5, 5, 5), (-7, -7, -7), ("100", 100, None), ("000100", 100, None), ("+100", 100, None), ("-100", -100, None),
        (" 00100 ", 100, None), (" +100 ", 100, None), (" -100 ", -100, None), (51146.98, 51146, None),
        (5.114698e4, 51146, None), (-0.5, 0, None), (float("inf"), None, None), (float("nan"), None, None),
        ("", None, None), ("1.5", None, None), ("1_0", None, None), ("٣", None, None), ("+-1", None, None),
        ("1 0", None, None), (True, None, None), (None, None, None), ([5], None, None), ("9" * 400, None, None),
        ("100\n", 100, None),
    ],
)  # fmt: skip
def test_values_of_levels(value: Any, lenient: int | None, strict: int | None) -> None:
    # spec: rooms/v3 "accept values as strings", "accept values as floats", with its examples
    assert read_level(value, True) == lenient
    assert read_level(value, False) == strict


def test_defaults() -> None:
    empty = PowerLevels({}, V11, creator=ALICE)
    assert (empty.ban, empty.kick, empty.redact, empty.invite, empty.users_default) == (50, 50, 50, 0, 0)
    assert (empty.event("x", True), empty.event("x", False), empty.notification("room")) == (50, 0, 50)
    # "If the room contains no m.room.power_levels event, the room's creator has a power level of 100"
    assert empty.user(ALICE) == 0
    none = PowerLevels(None, V11, creator=ALICE)
    assert (none.user(ALICE), none.user(BOB)) == (100, 0)
    assert not none.exists and none.may_send(ALICE, "x", True) and not none.may_send(BOB, "x", True)


def test_creators_of_a_state() -> None:
    room = RoomBuilder("12", additional_creators=[BOB, 5])
    state = room.line(join(ALICE))
    found = PowerLevels.from_state(state, room.version)
    assert found.user(ALICE) == found.user(BOB) == CREATOR_LEVEL > 2**53
    assert found.user(CAROL) == 0
    assert PowerLevels.from_state({}, room.version).user(ALICE) == 0
    old = RoomBuilder("10")
    assert PowerLevels.from_state(old.line(join(ALICE)), old.version).user(ALICE) == 100


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", ALICE]), inner),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(["users", "events", "ban", "kick", "invite", "users_default", "notifications"]), json_values
    ),
    st.sampled_from(["3", "9", "10", "12"]),
)
def test_any_content_gives_levels(content: Any, number: str) -> None:
    found = PowerLevels(content, ROOM_VERSIONS[number])
    for level in (found.ban, found.kick, found.invite, found.user(ALICE), found.event("x", False)):
        assert type(level) is int
    assert found.notification("room") is not None
    assert rank_of(found, ALICE, "join") in Rank


@pytest.mark.parametrize(
    ("level", "rank"),
    [
        (101, "owner"), (100, "owner"), (99, "admin"), (75, "admin"), (74, "op"), (50, "op"), (49, "halfop"),
        (37, "halfop"), (25, "halfop"), (24, "voice"), (1, "voice"), (0, "plain"), (-1, "muted"), (-100, "muted"),
    ],
)  # fmt: skip
def test_ranks_in_a_room_of_the_template(level: int, rank: str) -> None:
    room = levels(users={BOB: level})
    assert rank_of(room, BOB, "join") is Rank(rank)
    assert rank_of(room, BOB, "ban") is Rank.BANNED


def test_ranks_in_other_rooms() -> None:
    # Matrix preset: kick 50, so there are no half-operators.
    preset = levels(preset_power_levels(ALICE, V11), users={ALICE: 100, BOB: 49, CAROL: 50})
    assert rank_of(preset, BOB, "join") is Rank.VOICE
    assert rank_of(preset, CAROL, "join") is Rank.OP
    # Moderated: who has no voice is visible as such. 8.3
    quiet = levels(events_default=1, users={BOB: 1, CAROL: -1})
    assert moderated(quiet) and not moderated(levels())
    assert [rank_of(quiet, user, "join") for user in (ALICE, BOB, CAROL)] == [Rank.UNVOICED, Rank.VOICE, Rank.MUTED]
    # An announcement room: speaking needs 60.
    news = levels(events={"m.room.message": 60, "m.room.power_levels": 100}, users={BOB: 20, CAROL: 50})
    assert [rank_of(news, user, "join") for user in (ALICE, BOB, CAROL)] == [Rank.UNVOICED, Rank.UNVOICED, Rank.OP]
    # Creators of version 12 are owners whatever the numbers are.
    made = PowerLevels({"events": {"m.room.power_levels": 2**53 - 1}}, V12, creators=frozenset({ALICE}))
    assert rank_of(made, ALICE, "join") is Rank.OWNER


def test_the_ladder() -> None:
    ladder = list(Rank)
    assert [rank.value for rank in ladder] == [
        "owner", "admin", "op", "halfop", "voice", "plain", "unvoiced", "muted", "banned",
    ]  # fmt: skip
    assert all(upper.above(lower) for upper, lower in pairwise(ladder))
    assert not Rank.OP.above(Rank.OP)


GRANTED = [("owner", 100), ("admin", 75), ("op", 50), ("halfop", 25), ("plain", None), ("muted", -1)]


@pytest.mark.parametrize(("rank", "written"), GRANTED)
@pytest.mark.parametrize("before", [None, 60, 80, 24, -3])
def test_what_a_grant_writes(rank: str, written: int | None, before: int | None) -> None:
    users = {ALICE: 100} if before is None else {ALICE: 100, BOB: before}
    room = levels(users=users)
    content = grant(room, ALICE, BOB, Rank(rank))
    after = room.with_content(content)
    assert rank_of(after, BOB, "join") is Rank(rank)
    if rank_of(room, BOB, "join") is Rank(rank):
        # 7.7: exact numbers survive
        assert content == room.content
    else:
        assert after.user_entry(BOB) == written
    assert {k: v for k, v in content.items() if k != "users"} == {k: v for k, v in room.content.items() if k != "users"}


def test_voice() -> None:
    # Where everybody may speak it is the level above the others'.
    assert grant(levels(users={ALICE: 100}), ALICE, BOB, Rank.VOICE)["users"] == {ALICE: 100, BOB: 1}
    assert grant(levels(users={ALICE: 100}, users_default=5), ALICE, BOB, Rank.VOICE)["users"] == {ALICE: 100, BOB: 6}
    quiet = levels(events_default=1, users={ALICE: 100})
    assert grant(quiet, ALICE, BOB, Rank.VOICE)["users"] == {ALICE: 100, BOB: 1}
    # 7.0: where speaking needs 30, that level is a half-operator's.
    with pytest.raises(GrantRefused, match="no room for voice"):
        grant(levels(events_default=30, users={ALICE: 100}), ALICE, BOB, Rank.VOICE)


def test_muting_in_a_moderated_room() -> None:
    quiet = levels(events_default=1, users={ALICE: 100, BOB: 1})
    assert grant(quiet, ALICE, BOB, Rank.MUTED)["users"] == {ALICE: 100, BOB: -1}
    assert grant(quiet, ALICE, BOB, Rank.UNVOICED)["users"] == {ALICE: 100}
    assert grant(quiet, ALICE, CAROL, Rank.PLAIN) == quiet.content


def test_halfops_only_where_kicking_is_cheap() -> None:
    preset = levels(preset_power_levels(ALICE, V11))
    with pytest.raises(GrantRefused, match="no half-operators"):
        grant(preset, ALICE, BOB, Rank.HALFOP)


def test_rooms_without_ops_below_owner() -> None:
    # 7.10: own <= max(50, ban)
    flat = levels(events={}, users={ALICE: 100})
    assert op_is_owner(flat) and not op_is_owner(levels())
    content = grant(flat, ALICE, BOB, Rank.OP)
    assert content["users"] == {ALICE: 100, BOB: 50}
    shown = flat.with_content(content)
    assert rank_of(shown, BOB, "join") is Rank.OWNER
    assert grant(shown, ALICE, BOB, Rank.OP) == shown.content
    # Both letters of +qo can be taken.
    for letter in (Rank.OP, Rank.OWNER):
        assert revoke(shown, ALICE, BOB, letter)["users"] == {ALICE: 100}


def test_odd_rooms_refuse() -> None:
    # Banning needs 120: neither 75 nor 100 makes what it says.
    odd = levels(ban=120, users={ALICE: 200})
    for rank in (Rank.OWNER, Rank.ADMIN):
        with pytest.raises(GrantRefused, match="leave no room"):
            grant(odd, ALICE, BOB, rank)
    everybody_op = levels(users_default=50, users={ALICE: 100, BOB: 75})
    with pytest.raises(GrantRefused, match="by the room's default"):
        grant(everybody_op, ALICE, BOB, Rank.PLAIN)
    with pytest.raises(GrantRefused, match="comes from the room's default"):
        revoke(everybody_op, ALICE, CAROL, Rank.OP)


def test_who_may_grant() -> None:
    # 7.3: nobody grants above his own level, and nobody lowers an equal.
    room = levels(users={ALICE: 100, BOB: 100, CAROL: 50})
    with pytest.raises(GrantRefused, match=r"same power level \(100\) as you"):
        grant(room, ALICE, BOB, Rank.OP)
    with pytest.raises(GrantRefused, match="needs power level 100; you have 50"):
        grant(room, CAROL, UserId("@d:x"), Rank.HALFOP)
    low = levels(users={ALICE: 100, BOB: 60, CAROL: 60}, events={"m.room.power_levels": 55})
    with pytest.raises(GrantRefused, match=r"higher power level \(100\) than you \(60\)"):
        grant(low, BOB, ALICE, Rank.PLAIN)
    with pytest.raises(GrantRefused, match="You cannot give power level 100: you have 60"):
        grant(low, BOB, UserId("@d:x"), Rank.OWNER)
    # One's own rank can be given away.
    assert grant(room, ALICE, ALICE, Rank.OP)["users"] == {ALICE: 50, BOB: 100, CAROL: 50}


def test_creators_cannot_be_changed() -> None:
    room = PowerLevels(room_template(ALICE, V12), V12, creators=frozenset({ALICE, BOB}))
    for rank in (Rank.OP, Rank.PLAIN, Rank.MUTED):
        with pytest.raises(GrantRefused, match="They made this room"):
            grant(room, ALICE, BOB, rank)
    assert grant(room, ALICE, BOB, Rank.OWNER) == room.content
    with pytest.raises(GrantRefused, match="They made this room"):
        revoke(room, ALICE, BOB, Rank.OWNER)
    with pytest.raises(GrantRefused, match="They made this room"):
        change_levels(room, ALICE, {BOB: 5})
    assert grant(room, ALICE, CAROL, Rank.OWNER)["users"] == {CAROL: 100}


def test_taking_ranks() -> None:
    # 7.2: -x of the shown rank removes the entry; of another rank nothing happens.
    room = levels(users={ALICE: 100, BOB: 75})
    assert revoke(room, ALICE, BOB, Rank.ADMIN)["users"] == {ALICE: 100}
    for other in (Rank.OP, Rank.HALFOP, Rank.OWNER):
        assert revoke(room, ALICE, BOB, other) == room.content


def test_several_at_once() -> None:
    # 7.1: one event, all or nothing.
    room = levels(users={ALICE: 100, BOB: 100})
    content = change_ranks(room, ALICE, {CAROL: Rank.OP, ALICE: Rank.OP})
    assert content["users"] == {ALICE: 50, BOB: 100, CAROL: 50}
    with pytest.raises(GrantRefused):
        change_ranks(room, ALICE, {CAROL: Rank.OP, BOB: Rank.OP})
    with pytest.raises(ValueError, match="membership"):
        grant(room, ALICE, CAROL, Rank.BANNED)


def test_the_first_levels_keep_the_creator() -> None:
    # Until version 11 the creator's 100 is implied only while there is no event.
    none = PowerLevels(None, V11, creator=ALICE)
    assert grant(none, ALICE, BOB, Rank.OP)["users"] == {ALICE: 100, BOB: 50}
    made = PowerLevels(None, V12, creator=ALICE, creators=frozenset({ALICE}))
    assert grant(made, ALICE, BOB, Rank.OP)["users"] == {BOB: 50}


def test_exact_levels() -> None:
    room = levels(users={ALICE: 100, BOB: 37})
    assert change_levels(room, ALICE, {BOB: 60, CAROL: 7})["users"] == {ALICE: 100, BOB: 60, CAROL: 7}
    assert change_levels(room, ALICE, {BOB: None})["users"] == {ALICE: 100}
    assert change_levels(room, ALICE, {BOB: 37}) == room.content


@pytest.mark.parametrize("number", ["10", "11", "12"])
def test_templates(number: str) -> None:
    version = ROOM_VERSIONS[number]
    for content in (room_template(ALICE, version), preset_power_levels(ALICE, version, (BOB,))):
        room = RoomBuilder(number)
        state = room.line(join(ALICE), powers(ALICE, **content))
        found = PowerLevels.from_state(state, version)
        assert rank_of(found, ALICE, "join") is Rank.OWNER
        # spec: createRoom: "m.room.tombstone ... MUST explicitly be higher than state_default" in version 12
        assert found.event("m.room.tombstone", True) > found.event("x", True)
    assert (BOB in preset_power_levels(ALICE, version, (BOB,))["users"]) is (number != "12")  # type: ignore[operator]


user_ids = st.sampled_from([ALICE, BOB, CAROL])
numbers = st.one_of(st.sampled_from([-1, 0, 1, 24, 25, 50, 75, 99, 100, 101]), st.integers(-5, 130))


@given(
    st.dictionaries(st.sampled_from(["ban", "kick", "state_default", "events_default", "users_default"]), numbers),
    st.dictionaries(st.sampled_from(["m.room.power_levels", "m.room.message"]), numbers),
    st.dictionaries(st.sampled_from([BOB, CAROL]), numbers),
    user_ids, user_ids, st.sampled_from([rank for rank in Rank if rank is not Rank.BANNED]),
)  # fmt: skip
def test_a_grant_gives_that_rank_and_the_rules_allow_it(
    named: Any, events: Any, users: Any, actor: UserId, target: UserId, rank: Rank
) -> None:
    room = RoomBuilder("12")
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL), powers(ALICE, **named, events=events, users=users)
    )
    before = PowerLevels.from_state(state, room.version)
    try:
        content = grant(before, actor, target, rank)
    except GrantRefused as error:
        assert error.reason
        return
    after = rank_of(before.with_content(content), target, "join")
    nothing = {Rank.PLAIN, Rank.UNVOICED}
    op_shown_as_owner = rank is Rank.OP and after is Rank.OWNER and op_is_owner(before)
    assert after is rank or {after, rank} == nothing or op_shown_as_owner
    if content != before.content:
        event = room.make(actor, "m.room.power_levels", content, "", state=ids_of(state))
        check_event_auth(event, state)  # raises NotAllowed if a grant is not worth its word
