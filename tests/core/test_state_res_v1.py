"""State resolution of room version 1.  spec: Matrix rooms/v1 "State resolution" """

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from tests.core.graph_builder import ALICE, BOB, CAROL, DAVE, Fork, base, ids_of, merged
from tests.core.test_state_res import act, actions

from tripoint.core.auth_rules import NotAllowed
from tripoint.core.event import Event
from tripoint.core.graph import MissingEvents
from tripoint.core.ids import EventId
from tripoint.core.state_res import missing_events, resolve
from tripoint.core.state_res.v1 import separate

POWER = ("m.room.power_levels", "")
TOPIC = ("m.room.topic", "")


def sha1(event: Event) -> str:
    return hashlib.sha1(event.event_id.encode()).hexdigest()


def apart() -> tuple[Any, Fork, Fork]:
    room, trunk = base("1")
    return room, trunk.fork(), trunk.fork()


def test_a_key_that_one_side_lacks_is_in_no_conflict() -> None:
    room, one, other = apart()
    topic = one.add(ALICE, "m.room.topic", {"topic": "x"})
    joined = other.add(DAVE, "m.room.member", {"membership": "join"}, DAVE)
    result = merged(room, one.state, other.state)
    assert result[TOPIC] == topic and result["m.room.member", DAVE] == joined


def test_the_deepest_wins_then_the_lowest_hash() -> None:
    room, one, other = apart()
    shallow = one.add(ALICE, "m.room.topic", {"topic": "shallow"}, at_ms=10**9)
    other.add(ALICE, "m.room.message", {}, None)
    deep = other.add(BOB, "m.room.topic", {"topic": "deep"}, at_ms=1)
    assert deep.depth > shallow.depth
    assert merged(room, one.state, other.state)[TOPIC] == deep
    third = one.fork()
    again = third.room.make(
        ALICE, "m.room.topic", {"topic": "as deep"}, "", state=ids_of(other.state), parents=(deep,)
    )
    rival = third.room.make(BOB, "m.room.topic", {"topic": "rival"}, "", state=ids_of(other.state), parents=(deep,))
    winner = merged(room, {**one.state, TOPIC: again}, {**other.state, TOPIC: rival}, other.state)[TOPIC]
    assert winner == min((again, rival), key=sha1)


def test_what_the_resolved_state_does_not_allow_loses_though_deeper() -> None:
    room, one, other = apart()
    users = {ALICE: 100}
    lowered = one.add(ALICE, "m.room.power_levels", {"users": users})
    mine = one.add(ALICE, "m.room.topic", {"topic": "mine"})
    other.add(ALICE, "m.room.message", {}, None)
    other.add(ALICE, "m.room.message", {}, None)
    other.add(BOB, "m.room.topic", {"topic": "deeper, and no right after the demotion"})
    result = merged(room, one.state, other.state)
    # The power levels differ, so they are resolved first: the deeper one is allowed after the first.
    assert result[POWER] == lowered
    assert result[TOPIC] == mine


def test_power_levels_are_added_until_one_is_not_allowed() -> None:
    room, one, other = apart()
    first = one.add(ALICE, "m.room.power_levels", {"users": {ALICE: 100}})
    # Bob (50) may change something on his side; after Alice's he may not, and the chain ends there.
    before = other.state[POWER].content
    other.add(BOB, "m.room.message", {}, None)
    other.add(BOB, "m.room.power_levels", {**before, "invite": 10})
    third = Fork(room, one.state, one.last)
    third.add(BOB, "m.room.message", {}, None)
    third.add(BOB, "m.room.message", {}, None)
    later = third.add(ALICE, "m.room.power_levels", {"users": {ALICE: 100, CAROL: 1}})
    assert later.depth > other.last.depth
    assert merged(room, one.state, other.state, third.state)[POWER] == first


def test_where_the_rules_allow_none_the_first_in_order_counts() -> None:
    room, one, other = apart()
    shallow = one.add(BOB, "m.room.topic", {"topic": "one"})
    other.add(BOB, "m.room.message", {}, None)
    other.add(BOB, "m.room.topic", {"topic": "two"})
    gone = other.fork().add(BOB, "m.room.member", {"membership": "leave"}, BOB)
    states = [{**side.state, ("m.room.member", BOB): gone} for side in (one, other)]
    assert merged(room, *states)[TOPIC] == shallow


def test_missing_events_are_named() -> None:
    room, one, other = apart()
    one.add(ALICE, "m.room.topic", {"topic": "x"})
    other.add(BOB, "m.room.topic", {"topic": "y"})
    sets = [ids_of(one.state), ids_of(other.state)]
    loaded: dict[EventId, Event] = {}
    with pytest.raises(MissingEvents):
        resolve(room.version, sets, loaded)
    rounds = 0
    while missing := missing_events(room.version, sets, loaded):
        rounds += 1
        with pytest.raises(MissingEvents):
            resolve(room.version, sets, loaded)
        loaded.update((event_id, room.events[event_id]) for event_id in missing)
    assert rounds == 2
    assert resolve(room.version, sets, loaded) == resolve(room.version, sets, room.events)
    # No chain is read: neither join rules nor Carol are needed to choose a topic.
    assert len(loaded) < len(room.events)


@settings(max_examples=80, deadline=None)
@given(actions)
def test_properties(steps: Sequence[tuple[int, int, int, int, int]]) -> None:
    room, trunk = base("1")
    sides = [trunk.fork() for _ in range(3)]
    for side, who, what, whom, clock in steps:
        try:
            act(sides[side], who, what, whom, clock)
        except NotAllowed:
            continue
    sets = [ids_of(side.state) for side in sides]
    result = resolve(room.version, sets, room.events)
    # Neither the order of the forks matters, nor saying one twice.
    assert resolve(room.version, sets[::-1], room.events) == result
    assert resolve(room.version, [sets[1], sets[0], sets[2], sets[0]], dict(reversed(room.events.items()))) == result
    assert resolve(room.version, [result, result], room.events) == result
    # Unconflicted keys survive, none is lost, none comes from nowhere.
    unconflicted, conflicts = separate(sets)
    assert unconflicted.items() <= result.items()
    assert set(result) == {key for state in sets for key in state}
    assert all(result[key] in ids for key, ids in conflicts.items())
    loaded: dict[EventId, Event] = {}
    while missing := missing_events(room.version, sets, loaded):
        loaded.update((event_id, room.events[event_id]) for event_id in missing)
    assert resolve(room.version, sets, loaded) == result
