"""Transactions between whole servers: what one says the others have, at once or later, and nobody else.

spec: Matrix server-server-api "Transactions", "PDUs", "Server Access Control Lists (ACLs)"
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.federation.fleet import Sea, Ship, fleet, launch
from tests.federation.islands import bring_in, make_room
from tests.federation.virtual import run_virtually
from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.rooms.commands import Ban, Kick, Leave, SendState, SetTopic


async def shared(ships: Sequence[Ship], version: str = "12") -> tuple[RoomId, list[UserId]]:
    """A room of the first server with one user of each in it."""
    users = [UserId(f"@u{number}:{ship.name}") for number, ship in enumerate(ships)]
    room_id = await make_room(ships[0].island, users[0], version)
    for number, ship in enumerate(ships[1:], 1):
        join = await bring_in(ships[0].island, ship.island, users[number], room_id)
        for other in ships[1:number]:
            await other.island.deliver(join)
    return room_id, users


async def bodies(ship: Ship, room_id: RoomId) -> list[str]:
    """What was said in a room, as the server has it."""
    room = await ship.party.middle.loaded.get(room_id)
    rows = await ship.party.middle.store.load_timeline(
        room.room_key, after=0, upto=10**9, limit=10_000, backward=False
    )
    events = [await ship.party.middle.store.load_event(row.event_id) for row in rows]
    return [text for row in events if row is not None for text in [said(row.json)] if text is not None]


def said(json: bytes) -> str | None:
    import orjson

    body = orjson.loads(json)["content"].get("body")
    return body if isinstance(body, str) else None


def sends(sea: Sea, source: str, target: str) -> int:
    return sum(1 for a, b, _, path in sea.requests if (a, b) == (source, target) and "/send/" in path)


def sailing(
    *names: str, seed: int = 0, **how: Any
) -> Callable[[Callable[[Sea, list[Ship]], Awaitable[None]]], None]:
    """Run a test on a fleet whose servers are all launched after they share a room (see shared())."""

    def runner(test: Callable[[Sea, list[Ship]], Awaitable[None]]) -> None:
        async def work() -> None:
            async with fleet(*names, seed=seed, **how) as (sea, ships):
                await test(sea, ships)
                for ship in ships:
                    assert ship.bugs == []

        run_virtually(work())

    return runner


@pytest.mark.parametrize("version", ["3", "6", "10", "12"])
def test_what_one_says_the_others_have_at_once(version: str) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships, version)
        await launch(ships)
        for number in range(9):
            speaker = number % 3
            await ships[speaker].party.say(users[speaker], room_id, str(number))
            await asyncio.sleep(0.01)
        for ship in ships:
            assert await bodies(ship, room_id) == [str(number) for number in range(9)]
        # One transaction each, and no second time.
        assert sends(sea, "a.org", "b.org") == sends(sea, "c.org", "b.org") == 3
        await asyncio.sleep(10)
        assert sum("/send/" in path for *_, path in sea.requests) == 18
        # Nothing is remembered of servers that have everything.
        store = ships[0].party.middle.store
        assert await store.load_destinations() == [] and await store.load_missed_rooms() == []
        assert not ships[0].traffic.sender._lanes

    sailing("a.org", "b.org", "c.org")(test)


def test_what_comes_quickly_shares_transactions() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.weather.delay_s = 0.5
        for number in range(120):
            await ships[0].party.say(users[0], room_id, str(number))
        await asyncio.sleep(10)
        assert await bodies(ships[1], room_id) == [str(number) for number in range(120)]
        assert sends(sea, "a.org", "b.org") <= 5

    sailing("a.org", "b.org")(test)


def test_a_server_that_was_away_gets_what_it_missed_without_everything_being_sent() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        for number in range(60):
            await ships[0].party.say(users[0], room_id, str(number))
            await asyncio.sleep(10)
        sender = ships[0].traffic.sender
        lane = sender._lanes[ServerName("b.org")]
        assert not lane.pending and len(lane.missed) == 1
        assert sender.counts()["down"] == 1
        # Ten minutes, a dozen tries: minutes apart in the end.
        assert 5 <= sends(sea, "a.org", "b.org") <= 12
        assert await bodies(ships[1], room_id) == []
        assert await bodies(ships[2], room_id) == [str(number) for number in range(60)]
        sea.heal()
        before = sends(sea, "a.org", "b.org")
        await asyncio.sleep(400)
        assert await bodies(ships[1], room_id) == [str(number) for number in range(60)]
        assert sends(sea, "a.org", "b.org") == before + 1
        assert sender.counts()["down"] == 0

    sailing("a.org", "b.org", "c.org")(test)


def test_a_request_of_a_server_shows_that_it_is_back() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        await ships[0].party.say(users[0], room_id, "missed")
        await asyncio.sleep(3600)
        sea.heal()
        await ships[1].party.say(users[1], room_id, "I am here")
        await asyncio.sleep(3)
        assert sorted(await bodies(ships[1], room_id)) == ["I am here", "missed"]
        assert sorted(await bodies(ships[0], room_id)) == ["I am here", "missed"]

    sailing("a.org", "b.org")(test)


def test_who_hears() -> None:
    """A kicked server hears of the kick and of nothing behind it; a denied one of nothing."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one = ships[0].party
        await one.do(Kick(actor=users[0], room_id=room_id, target=users[1]))
        await one.say(users[0], room_id, "without b")
        acl = {"allow": ["*"], "deny": ["c.org"], "allow_ip_literals": False}
        await one.do(SendState(actor=users[0], room_id=room_id, type="m.room.server_acl", state_key="", content=acl))
        await one.say(users[0], room_id, "without c")
        await asyncio.sleep(5)
        assert sends(sea, "a.org", "b.org") == 1
        room = await ships[1].party.middle.loaded.get(room_id)
        assert room.membership(users[1]) == "leave"
        assert await bodies(ships[1], room_id) == []
        assert await bodies(ships[2], room_id) == ["without b"]

    sailing("a.org", "b.org", "c.org")(test)


def test_a_ban_and_a_leave_are_told_to_the_server_that_goes() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        await ships[2].party.do(Leave(actor=users[2], room_id=room_id))
        await asyncio.sleep(1)
        await ships[0].party.do(Ban(actor=users[0], room_id=room_id, target=users[1]))
        await asyncio.sleep(1)
        room = await ships[1].party.middle.loaded.get(room_id)
        assert room.membership(users[1]) == "ban" and room.membership(users[2]) == "leave"
        room = await ships[2].party.middle.loaded.get(room_id)
        assert room.membership(users[1]) == "join"

    sailing("a.org", "b.org", "c.org")(test)


def test_after_a_clean_restart_nothing_is_sent_twice_and_nothing_is_lost() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        await ships[0].party.say(users[0], room_id, "one")
        await asyncio.sleep(0.1)
        sea.part("a.org", "c.org")
        await ships[0].party.do(SetTopic(actor=users[0], room_id=room_id, topic="two"))
        await asyncio.sleep(5)
        before = len(sea.requests)
        await ships[0].stop()
        await ships[0].build()
        await ships[0].launch()
        await asyncio.sleep(1)
        assert not any("/send/" in path for *_, path in sea.requests[before:])
        sea.heal()
        await asyncio.sleep(60)
        room = await ships[2].party.middle.loaded.get(room_id)
        assert room.topic == "two"
        assert sends(sea, "a.org", "b.org") == 2

    # The store in memory outlives the server here.
    sailing("a.org", "b.org", "c.org")(test)
