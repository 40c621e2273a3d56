"""A fork of a room with 10,000 members and 1,000 events in conflict: what its resolution costs.

Half of the events in conflict are on either side: kicks and bans by moderators, changes of power, names of members,
and state of one's own. For algorithms 1, 2 and 2.1, in memory and with the store behind it.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.core.graph_builder import ALICE, Fork, RoomBuilder, ids_of

from bench.measure import cpu, yardstick
from tripoint.core.event import Event, StateKey
from tripoint.core.ids import EventId, UserId
from tripoint.core.state_res import missing_events, resolve
from tripoint.rooms.states import States
from tripoint.store.sqlite import SqliteStore
from tripoint.store.stream import Stream
from tripoint.store.writes import AddEvent, AddStateGroup, Write

MEMBERS = 10_000
MODERATORS = 50
CONFLICTED = 1_000


def build(version: str) -> tuple[RoomBuilder, Fork, Fork]:
    """The room, and its two sides."""
    room = RoomBuilder(version)
    members = [UserId(f"@user{n}:{n % 100}.example") for n in range(MEMBERS)]
    state: dict[StateKey, Event] = {room.create.key: room.create}
    trunk = Fork(room, state, room.create)
    trunk.add(ALICE, "m.room.member", {"membership": "join"}, ALICE)
    levels = dict.fromkeys(members[:MODERATORS], 50)
    if not room.version.privileged_creators:
        levels[ALICE] = 100
    trunk.add(ALICE, "m.room.power_levels", {"users": levels})
    trunk.add(ALICE, "m.room.join_rules", {"join_rule": "public"})
    for user in members:
        trunk.add(user, "m.room.member", {"membership": "join"}, user)
    one, other = trunk.fork(), trunk.fork()
    for number, side in enumerate((one, other)):
        for n in range(CONFLICTED // 2):
            moderator = members[n % MODERATORS]
            target = members[MODERATORS + n * 2 + number]
            if n % 50 == 0:
                content = side.state["m.room.power_levels", ""].content
                users = {**content["users"], target: 10}  # type: ignore[dict-item]
                side.add(ALICE, "m.room.power_levels", {**content, "users": users})
            elif n % 5 == 0:
                membership = "ban" if n % 10 else "leave"
                side.add(moderator, "m.room.member", {"membership": membership}, target)
            elif n % 5 == 1:
                side.add(moderator, "org.example.note", {"n": n, "side": number}, f"note{n}")
            else:
                side.add(target, "m.room.member", {"membership": "join", "displayname": str(n)}, target)
    return room, one, other


async def through_the_store(room: RoomBuilder, sets: list[dict[StateKey, EventId]]) -> None:
    """The same with the events in SQLite, as rooms/ does it."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "bench.db")
        stream = Stream(store, 0)
        keys: dict[EventId, int] = {}
        writes: list[Write] = []
        for key, event in enumerate(room.events.values(), 1):
            keys[event.event_id] = key
            writes.append(
                AddEvent(
                    key, key, 1, event.event_id, 1, event.origin_server_ts, 0,
                    event.type, event.state_key, None, event.json,
                )
            )  # fmt: skip
        for group, state in enumerate(sets, 1):
            entries = tuple((*key, keys[event_id]) for key, event_id in state.items())
            writes.append(AddStateGroup(group, 1, None, entries))
        await stream.commit(writes)
        states = States(store)
        with cpu("  with the store: states loaded and resolved"):
            loaded = [await states.of_group(group) for group in (1, 2)]
            result = await states.resolve(room.version, loaded, {})
        with cpu("  with the store, the second time"):
            loaded = [await states.of_group(group) for group in (1, 2)]
            again = await states.resolve(room.version, loaded, {})
        assert result == again
        expected = resolve(room.version, sets, room.events)
        assert result == {key: keys[event_id] for key, event_id in expected.items()}
        await store.close()


def main() -> None:
    yardstick()
    for version in [arg for arg in sys.argv[1:] if arg.isdecimal()] or ["1", "2", "11", "12"]:
        room, one, other = build(version)
        sets = [dict(ids_of(one.state)), dict(ids_of(other.state))]
        different = set(sets[0].values()) ^ set(sets[1].values())
        print(f"version {version}: {len(sets[0])} entries of state, {len(different)} events in conflict")
        with cpu("  resolved in memory"):
            resolve(room.version, sets, room.events)
        with cpu("  what has to be loaded, all being there"):
            missing_events(room.version, sets, room.events)
        asyncio.run(through_the_store(room, sets))
    yardstick()


if __name__ == "__main__":
    main()
