"""States resolved with a store behind them: what is loaded is enough, and less than everything.

spec: Matrix rooms/v1, v2, v12 "State resolution"
"""

from collections.abc import Mapping, Sequence

import pytest

from tests.agreement.conflicts import VERSIONS, Case, make_case
from tests.core.graph_builder import ALICE, CAROL, Fork, base, ids_of
from tests.support.middle import run
from tripoint.core.event import Event
from tripoint.core.ids import EventId
from tripoint.core.state_res import resolve
from tripoint.rooms import states as module
from tripoint.rooms.states import States, keys_in_question
from tripoint.store.interface import StoredEvent
from tripoint.store.memory import MemoryStore
from tripoint.store.stream import Stream
from tripoint.store.writes import AddEvent, AddStateGroup, Write


class CountingStore(MemoryStore):
    """Counts the events that are read."""

    read = 0

    async def load_events(self, event_keys: Sequence[int]) -> Mapping[int, StoredEvent]:
        self.read += len(event_keys)
        return await super().load_events(event_keys)

    async def load_events_by_id(self, event_ids: Sequence[EventId]) -> Mapping[EventId, StoredEvent]:
        self.read += len(event_ids)
        return await super().load_events_by_id(event_ids)


async def stored(
    events: Sequence[Event], waiting: Sequence[Event] = ()
) -> tuple[CountingStore, dict[EventId, int]]:
    """A store with these events but for those `waiting`, and the keys of all."""
    store = CountingStore()
    keys = {event.event_id: number for number, event in enumerate(events, 1)}
    writes: list[Write] = [
        AddEvent(
            keys[event.event_id], None, 1, event.event_id, 1, event.origin_server_ts, 0,
            event.type, event.state_key, None, event.json,
        )
        for event in events
        if event not in waiting
    ]  # fmt: skip
    await Stream(store, 0).commit(writes)
    return store, keys


async def check(case: Case) -> None:
    room = case.room
    expected = resolve(room.version, case.sets, room.events)
    # All from the store; and with the newest event on its way there.
    events = list(room.events.values())
    for waiting in ([], events[-1:]):
        store, keys = await stored(events, waiting)
        own = {keys[event.event_id]: event for event in waiting}
        states = [{key: keys[event_id] for key, event_id in state.items()} for state in case.sets]
        result = await States(store).resolve(room.version, states, own)
        assert result == {key: keys[event_id] for key, event_id in expected.items()}, case.seed


@pytest.mark.parametrize("number", range(len(VERSIONS)))
def test_the_same_as_with_everything_at_hand(number: int) -> None:
    async def work() -> None:
        for seed in range(number, number + 40 * len(VERSIONS), len(VERSIONS)):
            await check(make_case(seed))

    run(work)


@pytest.mark.parametrize("version", ["1", "2", "12"])
def test_a_large_room_is_not_loaded_for_one_topic(version: str) -> None:
    async def work() -> None:
        room, trunk = base(version)
        for number in range(200):
            user = f"@u{number}:one.example"
            trunk.add(user, "m.room.member", {"membership": "join"}, user)
        one, other = trunk.fork(), trunk.fork()
        one.add(ALICE, "m.room.topic", {"topic": "one"})
        other.add(ALICE, "m.room.topic", {"topic": "other"})
        store, keys = await stored(list(room.events.values()))
        sides: list[Fork] = [one, other]
        states = [{key: keys[i] for key, i in ids_of(side.state).items()} for side in sides]
        await States(store).resolve(room.version, states, {})
        assert store.read < 20

    run(work)


@pytest.mark.parametrize("version", ["2", "12"])
def test_a_long_chain_is_read_once_for_many_forks(version: str) -> None:
    """Somebody changes their name a thousand times and then forks the room."""

    async def work() -> None:
        room, trunk = base(version)
        for number in range(1_000):
            trunk.add(CAROL, "m.room.member", {"membership": "join", "n": number}, CAROL)
        sides = [trunk.fork() for _ in range(10)]
        for number, side in enumerate(sides):
            side.add(CAROL, "m.room.member", {"membership": "join", "fork": number}, CAROL)
        store, keys = await stored(list(room.events.values()))
        found = [{key: keys[i] for key, i in ids_of(side.state).items()} for side in sides]
        states = States(store)
        for number in range(1, len(found)):
            sets = [ids_of(side.state) for side in sides[: number + 1]]
            result = await states.resolve(room.version, found[: number + 1], {})
            expected = resolve(room.version, sets, room.events)
            assert result == {key: keys[event_id] for key, event_id in expected.items()}
        assert store.read < 1_200

    run(work)


def test_keys_in_question() -> None:
    a, b, c = ("a", ""), ("b", ""), ("c", "")
    assert keys_in_question([{a: 1, b: 2}, {a: 1, b: 2}]) == set()
    assert keys_in_question([{a: 1, b: 2}, {a: 1, b: 3}]) == {b}
    assert keys_in_question([{a: 1, b: 2}, {a: 1}]) == {b}
    assert keys_in_question([{a: 1}, {a: 1, b: 2}]) == {b}
    assert keys_in_question([{a: 1, b: 2}, {a: 1, c: 2}]) == {b, c}
    assert keys_in_question([{a: 1, b: 2}, {a: 1, b: 2}, {a: 2, b: 2, c: 1}]) == {a, c}


def test_states_stay_in_memory_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(module, "CACHED_ENTRIES", 10)
        store = MemoryStore()
        groups = [AddStateGroup(n, 1, None, tuple(("x", str(i), i) for i in range(1, n + 1))) for n in range(1, 12)]
        await Stream(store, 0).commit(groups)
        states = States(store)
        for _ in range(2):
            for n in range(1, 12):
                assert len(await states.of_group(n)) == n
                assert sum(len(state) for state in states._cached.values()) == states._entries <= 10
        assert await states.of_group(3) is await states.of_group(3)

    run(work)
