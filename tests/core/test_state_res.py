"""State resolution and the graph.  spec: Matrix rooms/v2, rooms/v12 "State resolution"; MSC4297 for problems A and B"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.graph_builder import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    Fork,
    RoomBuilder,
    base,
    ids_of,
    join,
    merged,
    powers,
    rule,
)

from tripoint.core.auth_rules import NotAllowed
from tripoint.core.event import Event
from tripoint.core.graph import (
    MissingEvents,
    auth_chain,
    auth_difference,
    conflicted_subgraph,
    forward_extremities,
    lexicographic_order,
    next_depth,
    timeline_order,
)
from tripoint.core.ids import EventId
from tripoint.core.room_version import SUPPORTED
from tripoint.core.state_res import missing_events, resolve
from tripoint.core.state_res.v2 import is_power_event, separate

POWER = ("m.room.power_levels", "")
RULES = ("m.room.join_rules", "")
TOPIC = ("m.room.topic", "")


EVERY = [number for number in SUPPORTED if number in ("2", "3", "6", "9", "11", "12")]


@pytest.mark.parametrize("number", EVERY)
def test_nothing_to_resolve(number: str) -> None:
    room, trunk = base(number)
    assert merged(room, trunk.state) == trunk.state
    assert merged(room, trunk.state, trunk.state, trunk.state) == trunk.state
    assert resolve(room.version, [], {}) == {}
    # "Resolving a state with itself" needs no events at all.
    assert resolve(room.version, [ids_of(trunk.state)] * 2, {}) == ids_of(trunk.state)


@pytest.mark.parametrize("number", EVERY)
def test_a_ban_beats_what_the_banned_did_meanwhile(number: str) -> None:
    room, trunk = base(number)
    one, other = trunk.fork(), trunk.fork()
    topic = other.add(BOB, "m.room.topic", {"topic": "mine"})
    ban = one.add(ALICE, "m.room.member", {"membership": "ban"}, BOB)
    result = merged(room, one.state, other.state)
    assert result["m.room.member", BOB] == ban
    assert TOPIC not in result
    assert topic.event_id in room.events


@pytest.mark.parametrize("number", EVERY)
def test_a_demotion_comes_before_the_use_of_power(number: str) -> None:
    # "Alice's demotion may be applied first so Bob cannot change the room name."
    room, trunk = base(number)
    one, other = trunk.fork(), trunk.fork()
    other.add(BOB, "m.room.topic", {"topic": "mine"}, at_ms=2_000)
    users = {} if number == "12" else {ALICE: 100}
    lowered = one.add(ALICE, "m.room.power_levels", {"users": users}, at_ms=9_000)
    result = merged(room, one.state, other.state)
    assert result[POWER] == lowered
    assert TOPIC not in result


@pytest.mark.parametrize("number", EVERY)
def test_later_time_wins_between_equals(number: str) -> None:
    # Both topics are based on the same power levels: mainline position equal, then time, then id.
    room, trunk = base(number)
    one, other = trunk.fork(), trunk.fork()
    early = one.add(ALICE, "m.room.topic", {"topic": "early"}, at_ms=50_000)
    late = other.add(BOB, "m.room.topic", {"topic": "late"}, at_ms=60_000)
    assert merged(room, one.state, other.state)[TOPIC] == late
    same = trunk.fork().add(ALICE, "m.room.topic", {"topic": "same time"}, at_ms=60_000)
    third = {**trunk.state, TOPIC: same}
    winner = merged(room, one.state, other.state, third)[TOPIC]
    assert winner == max((late, same), key=lambda event: event.event_id) != early


@pytest.mark.parametrize("number", EVERY)
def test_mainline_comes_before_time(number: str) -> None:
    # An event based on newer power levels wins over one on older ones, however its clock goes.
    room, trunk = base(number)
    old, new = trunk.fork(), trunk.fork()
    backdated = new.add(ALICE, "m.room.power_levels", {**trunk.state[POWER].content, "invite": 1})
    wins = new.add(ALICE, "m.room.topic", {"topic": "on new levels"}, at_ms=1)
    old.add(BOB, "m.room.topic", {"topic": "clock ahead"}, at_ms=10**9)
    result = merged(room, old.state, new.state)
    assert (result[TOPIC], result[POWER]) == (wins, backdated)


@pytest.mark.parametrize("number", EVERY)
def test_a_key_that_one_side_lacks(number: str) -> None:
    room, trunk = base(number)
    one, other = trunk.fork(), trunk.fork()
    topic = one.add(ALICE, "m.room.topic", {"topic": "x"})
    joined = other.add(DAVE, "m.room.member", {"membership": "join"}, DAVE)
    result = merged(room, one.state, other.state)
    assert result == {**trunk.state, TOPIC: topic, ("m.room.member", DAVE): joined}


@pytest.mark.parametrize("number", EVERY)
def test_two_admins_demote_each_other(number: str) -> None:
    users = {BOB: 100, CAROL: 90} if number == "12" else {ALICE: 100, BOB: 100, CAROL: 90}
    room, trunk = base(number, users=users, events={"m.room.power_levels": 90})
    one, other = trunk.fork(), trunk.fork()
    by_bob = one.add(BOB, "m.room.power_levels", {**trunk.state[POWER].content, "users": {**users, CAROL: 0}})
    other.add(CAROL, "m.room.power_levels", {**trunk.state[POWER].content, "users": {**users, DAVE: 90}}, at_ms=1)
    # Bob has the greater level: his event is first, and Carol's, though older by its clock, is not allowed after.
    assert merged(room, one.state, other.state)[POWER] == by_bob


def test_problem_a_of_msc4297() -> None:
    # Both sides agree that Alice has left and, by their auth chains, on the latest join rules; one side's state
    # was got with outdated join rules. Version 2 loses the join rules altogether; 2.1 keeps one.
    for number, kept in (("11", False), ("12", True)):
        room, trunk = base(number)
        users = {BOB: 100} if number == "12" else {ALICE: 100, BOB: 100}
        trunk.add(ALICE, "m.room.power_levels", {"users": users})
        outdated = trunk.state[RULES]
        trunk.add(ALICE, "m.room.join_rules", {"join_rule": "invite"})
        latest = trunk.add(ALICE, "m.room.join_rules", {"join_rule": "public", "again": True})
        trunk.add(ALICE, "m.room.member", {"membership": "leave"}, ALICE)
        one, other = trunk.fork(), trunk.fork()
        one.add(CAROL, "m.room.member", {"membership": "join", "displayname": "C"}, CAROL)
        other.add(BOB, "m.room.member", {"membership": "join", "displayname": "B"}, BOB)
        wrong = {**other.state, RULES: outdated}
        result = merged(room, one.state, wrong)
        assert (result.get(RULES) == latest) is kept
        assert (RULES in result) is kept


def test_problem_b_of_msc4297() -> None:
    # Alice promotes Bob, Bob promotes Carol; one side's state holds the power levels from before both. The event
    # in between is in both auth chains, so version 2 does not replay it and Carol's promotion falls with it.
    for number, kept in (("11", False), ("12", True)):
        room = RoomBuilder(number)
        users: dict[str, Any] = {} if number == "12" else {ALICE: 100}
        state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL), powers(ALICE, users=users))
        trunk = Fork(room, state, state[POWER])
        before = trunk.state[POWER]
        trunk.add(ALICE, "m.room.power_levels", {"users": {**users, BOB: 100}})
        promoted = trunk.add(BOB, "m.room.power_levels", {"users": {**users, BOB: 100, CAROL: 50}})
        one, other = trunk.fork(), trunk.fork()
        one.add(CAROL, "m.room.member", {"membership": "join", "displayname": "C"}, CAROL)
        other.add(BOB, "m.room.member", {"membership": "join", "displayname": "B"}, BOB)
        wrong = {**other.state, POWER: before}
        result = merged(room, one.state, wrong)
        assert (result[POWER] == promoted) is kept
        if not kept:
            assert result[POWER] == before


def test_rejected_events_permit_nothing() -> None:
    room, trunk = base("12")
    before = trunk.state[POWER]
    lifted = trunk.add(ALICE, "m.room.power_levels", {"users": {BOB: 50, CAROL: 50}})
    one, other = trunk.fork(), trunk.fork()
    topic = one.add(CAROL, "m.room.topic", {"topic": "x"})
    other.add(BOB, "m.room.member", {"membership": "join", "displayname": "B"}, BOB)
    # The levels that permit Carol's topic are cited on both sides, and in neither state: they are not replayed.
    states = [ids_of({**one.state, POWER: before}), ids_of({**other.state, POWER: before})]
    free = resolve(room.version, states, room.events)
    assert free[TOPIC] == topic.event_id
    bound = resolve(room.version, states, room.events, rejected={lifted.event_id})
    assert TOPIC not in bound


def test_missing_events_are_named() -> None:
    room, trunk = base("12")
    one, other = trunk.fork(), trunk.fork()
    one.add(ALICE, "m.room.topic", {"topic": "x"})
    other.add(BOB, "m.room.topic", {"topic": "y"})
    sets = [ids_of(one.state), ids_of(other.state)]
    loaded: dict[EventId, Event] = {}
    with pytest.raises(MissingEvents) as raised:
        resolve(room.version, sets, loaded)
    assert raised.value.event_ids <= set(room.events)
    rounds = 0
    while missing := missing_events(room.version, sets, loaded):
        rounds += 1
        loaded.update((event_id, room.events[event_id]) for event_id in missing)
    assert 1 <= rounds <= 10
    assert resolve(room.version, sets, loaded) == resolve(room.version, sets, room.events)
    assert missing_events(room.version, [sets[0]] * 2, {}) == frozenset()
    # Where the state lacks its create event the room id still names it.
    headless = [{k: v for k, v in state.items() if k != room.create.key} for state in sets]
    part = {i: e for i, e in loaded.items() if e != room.create}
    assert missing_events(room.version, headless, part) == {room.create.event_id}


def test_a_known_auth_difference_needs_fewer_events() -> None:
    room, trunk = base("11")
    one, other = trunk.fork(), trunk.fork()
    one.add(ALICE, "m.room.topic", {"topic": "x"})
    other.add(BOB, "m.room.topic", {"topic": "y"})
    sets = [ids_of(one.state), ids_of(other.state)]
    difference = auth_difference(sets, room.events)
    needed = {event_id for state in sets for event_id in state.values()}
    few = {i: e for i, e in room.events.items() if i in needed}
    assert resolve(room.version, sets, few, auth_difference=difference) == resolve(room.version, sets, room.events)


def test_power_events() -> None:
    room = RoomBuilder("12")
    yes = [
        room.make(ALICE, "m.room.power_levels", {}, ""), room.make(ALICE, "m.room.join_rules", {}, ""),
        room.make(ALICE, "m.room.member", {"membership": "ban"}, BOB),
        room.make(ALICE, "m.room.member", {"membership": "leave"}, BOB), room.create,
    ]  # fmt: skip
    no = [
        room.make(ALICE, "m.room.member", {"membership": "leave"}, ALICE),
        room.make(ALICE, "m.room.member", {"membership": "invite"}, BOB),
        room.make(ALICE, "m.room.topic", {}, ""), room.make(ALICE, "m.room.power_levels", {}),
        room.make(ALICE, "m.room.power_levels", {}, "x"), room.make(ALICE, "m.room.join_rules", {}, "x"),
    ]  # fmt: skip
    assert all(map(is_power_event, yes)) and not any(map(is_power_event, no))


# -- The graph


def test_chains() -> None:
    room, trunk = base("11")
    topic = trunk.add(BOB, "m.room.topic", {"topic": "x"})
    chain = auth_chain([topic.event_id], room.events)
    assert topic.event_id not in chain
    assert {room.create.event_id, trunk.state[POWER].event_id, trunk.state["m.room.member", BOB].event_id} <= chain
    assert all(set(room.events[event_id].auth_events) <= chain for event_id in chain)
    with pytest.raises(MissingEvents) as raised:
        auth_chain([topic.event_id, EventId("$gone")], {topic.event_id: topic})
    assert raised.value.event_ids == {"$gone", *topic.auth_events}
    assert auth_difference([], {}) == set()


def test_subgraph_of_a_chain() -> None:
    room = RoomBuilder("12")
    links = [room.make(ALICE, "m.room.power_levels", {"n": 0}, "", auth=())]
    for number in range(1, 6):
        links.append(room.make(ALICE, "m.room.power_levels", {"n": number}, "", auth=[links[-1].event_id]))
    beside = room.make(ALICE, "x", {}, "", auth=[links[2].event_id])
    ends = {links[1].event_id, links[4].event_id}
    assert conflicted_subgraph(ends, room.events) == {link.event_id for link in links[1:5]}
    assert conflicted_subgraph({links[5].event_id, beside.event_id}, room.events) == {
        links[5].event_id, beside.event_id,
    }  # fmt: skip


def test_a_long_chain_is_walked_without_recursion() -> None:
    room = RoomBuilder("12")
    links = [room.make(ALICE, "m.room.power_levels", {"n": 0}, "", auth=())]
    for number in range(1, 3000):
        links.append(room.make(ALICE, "m.room.power_levels", {"n": number}, "", auth=[links[-1].event_id]))
    assert len(auth_chain([links[-1].event_id], room.events)) == 2999
    ends = {links[0].event_id, links[-1].event_id}
    assert len(conflicted_subgraph(ends, room.events)) == 3000


@pytest.mark.parametrize("number", ["2", "12"])
def test_a_long_history_of_power_is_walked_once(number: str) -> None:
    # 2,000 events in conflict, each based on its own power levels in a chain of as many that lost.
    room, trunk = base(number)
    won, lost = trunk.fork(), trunk.fork()
    users = {} if number == "12" else {ALICE: 100}
    for step in range(2_000):
        lost.add(ALICE, "m.room.power_levels", {"users": users, "n": step})
        lost.add(ALICE, "org.example", {}, f"key{step}")
    won.add(ALICE, "m.room.power_levels", {"users": users, "invite": 1}, at_ms=10**12)
    started = time.process_time()
    result = merged(room, won.state, lost.state)
    assert time.process_time() - started < 5
    assert len([key for key in result if key[0] == "org.example"]) == 2_000


def test_orders_and_ends() -> None:
    room, trunk = base("12")
    one, other = trunk.fork(), trunk.fork()
    a, b = one.add(ALICE, "m.room.message", {"n": 1}, None), other.add(BOB, "m.room.message", {"n": 2}, None)
    both = room.make(ALICE, "m.room.message", {"n": 3}, parents=(a, b))
    assert timeline_order([both, b, a])[-1] == both and timeline_order([both]) == [both]
    ends = forward_extremities(forward_extremities({trunk.last.event_id}, a), b)
    assert ends == {a.event_id, b.event_id}
    assert forward_extremities(ends, both) == {both.event_id}
    # spec: soft-failed and rejected events are not referenced by new ones
    assert forward_extremities(ends, both, hidden=True) == ends
    assert next_depth([a, both], 100) == both.depth + 1
    assert next_depth([both], both.depth) == both.depth and next_depth([], 5) == 1


def test_a_forged_cycle_ends() -> None:
    room = RoomBuilder("12")
    a = room.make(ALICE, "x", {"n": 1}, "")
    b = room.make(ALICE, "x", {"n": 2}, "")
    a.auth_events, b.auth_events = (b.event_id,), (a.event_id,)
    assert auth_chain([a.event_id], room.events) == {a.event_id, b.event_id}
    both = [a.event_id, b.event_id]
    assert lexicographic_order(both, room.events, lambda e: e.auth_events, lambda e: (e.depth,)) == []
    with pytest.raises(MissingEvents):
        lexicographic_order([EventId("$gone")], {}, lambda e: e.auth_events, lambda e: (e.depth,))


# -- Properties: rooms with forks at random

actions = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 7), st.integers(0, 3), st.integers(0, 3)),
    min_size=1, max_size=14,
)  # fmt: skip
USERS = [ALICE, BOB, CAROL, DAVE]


def act(side: Fork, who: int, what: int, whom: int, clock: int) -> None:
    """One thing somebody tries; what the rules forbid does not happen."""
    sender, target = USERS[who], USERS[whom]
    at_ms = side.room.now + 1_000 if clock == 0 else clock * 5_000
    content = side.state[POWER].content
    try:
        if what == 0:
            side.add(sender, "m.room.topic", {"topic": str(at_ms)}, at_ms=at_ms)
        elif what in (1, 2):
            membership = "ban" if what == 1 else "leave"
            side.add(sender, "m.room.member", {"membership": membership}, target, at_ms=at_ms)
        elif what == 3:
            side.add(sender, "m.room.member", {"membership": "join", "n": at_ms}, sender, at_ms=at_ms)
        elif what == 4:
            join_rule = "public" if clock % 2 else "invite"
            side.add(sender, "m.room.join_rules", {"join_rule": join_rule}, at_ms=at_ms)
        else:
            level = (0, 50, 100)[what - 5]
            users: dict[str, Any] = {**content.get("users", {}), target: level}  # type: ignore[dict-item]
            side.add(sender, "m.room.power_levels", {**content, "users": users}, at_ms=at_ms)
    except NotAllowed:
        pass


@pytest.mark.parametrize("number", ["11", "12"])
@settings(max_examples=60, deadline=None)
@given(actions, st.randoms(use_true_random=False))
def test_properties_of_resolution(number: str, steps: Sequence[tuple[int, int, int, int, int]], random: Any) -> None:
    room, trunk = base(number)
    sides = [trunk.fork() for _ in range(3)]
    for side, who, what, whom, clock in steps:
        act(sides[side], who, what, whom, clock)
    sets = [ids_of(side.state) for side in sides]
    result = resolve(room.version, sets, room.events)
    # Neither the order of the forks nor the order in which events came matters, nor does saying it twice.
    shuffled = list(room.events.items())
    random.shuffle(shuffled)
    random.shuffle(sets)
    assert resolve(room.version, sets, dict(shuffled)) == result
    assert resolve(room.version, [*sets, sets[0]], dict(shuffled)) == result
    # Resolving with itself changes nothing.
    assert resolve(room.version, [result, result], room.events) == result
    # Unconflicted keys survive; nothing comes from nowhere.
    unconflicted, _ = separate(sets)
    assert unconflicted.items() <= result.items()
    assert set(result.values()) <= set(room.events)
    assert all(room.events[event_id].key == key for key, event_id in result.items())
    # Only what missing_events names is looked at.
    loaded: dict[EventId, Event] = {}
    while missing := missing_events(room.version, sets, loaded):
        loaded.update((event_id, room.events[event_id]) for event_id in missing)
    assert resolve(room.version, sets, loaded) == result
