"""Transactions between whole servers: what one says the others have, at once or later, and nobody else.

spec: Matrix server-server-api "Transactions", "PDUs", "Server Access Control Lists (ACLs)"
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from tests.federation.fleet import Sea, Ship, fleet, launch
from tests.federation.islands import bring_in, make_room
from tests.federation.virtual import run_virtually
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.matrix.federation.client import RemoteRefused
from tripoint.rooms.commands import Ban, CreateRoom, Kick, Leave, SendState, SetTopic, SetTyping, Template
from tripoint.rooms.outbox import FLOOR
from tripoint.rooms.transaction import RoomTransaction
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.writes import DropRoom


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
        # The one that was not answered, and the end of the room.
        assert sends(sea, "a.org", "b.org") == before + 2
        assert sender.counts()["down"] == 0

    sailing("a.org", "b.org", "c.org")(test)


def test_what_was_not_answered_is_sent_again_under_its_own_id_before_anything_else() -> None:
    """spec: "The sending server must wait and retry for a 200 OK response before sending a transaction with a
    different txnId to the receiving server." """

    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        await ships[0].party.say(users[0], room_id, "one")
        await asyncio.sleep(60)
        await ships[0].party.say(users[0], room_id, "two")
        await asyncio.sleep(60)
        # Over a restart too.
        await ships[0].stop()
        await ships[0].build()
        await ships[0].launch()
        await asyncio.sleep(600)
        tried = {path for source, _, _, path in sea.requests if source == "a.org" and "/send/" in path}
        assert len(tried) == 1 and sends(sea, "a.org", "b.org") >= 4
        sea.heal()
        await asyncio.sleep(600)
        assert await bodies(ships[1], room_id) == ["one", "two"]
        after = [path for source, _, _, path in sea.requests if source == "a.org" and "/send/" in path]
        assert set(after[:-1]) == tried and after[-1] not in tried
        store = ships[0].party.middle.store
        assert await store.load_unanswered_ids() == [] and await store.load_missed_rooms() == []

    sailing("a.org", "b.org")(test)


@pytest.mark.parametrize("status", [400, 413])
def test_a_transaction_that_will_never_be_taken_is_given_up_and_its_rooms_told_anew(status: int) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sender = ships[0].traffic.sender
        send, tried = sender._send, list[str]()

        async def refused_once(server: ServerName, txn_id: str, body: bytes) -> None:
            tried.append(txn_id)
            if len(tried) == 1:
                raise RemoteRefused(server, status, "M_TOO_LARGE", "no")
            await send(server, txn_id, body)

        sender._send = refused_once
        await ships[0].party.say(users[0], room_id, "one")
        await asyncio.sleep(30)
        assert await bodies(ships[1], room_id) == ["one"] and len(set(tried)) == 2
        assert await ships[0].party.middle.store.load_unanswered_ids() == []

    sailing("a.org", "b.org")(test)


def test_what_was_on_its_way_at_the_end_of_the_process_keeps_its_id() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.weather.delay_s = 30
        await ships[0].party.say(users[0], room_id, "one")
        await asyncio.sleep(0.1)
        await ships[0].stop()
        sea.weather.delay_s = 0
        await ships[0].build()
        await ships[0].launch()
        await asyncio.sleep(60)
        paths = [path for source, _, _, path in sea.requests if source == "a.org" and "/send/" in path]
        assert len(paths) >= 2 and paths[0] == paths[1]
        assert await bodies(ships[1], room_id) == ["one"]

    sailing("a.org", "b.org")(test)


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


def test_a_server_that_is_heard_from_just_after_a_try_is_tried_soon() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        await ships[0].party.say(users[0], room_id, "missed")
        # Hours: the next try is most of an hour away.
        await asyncio.sleep(5 * 3600)
        before = sends(sea, "a.org", "b.org")
        while sends(sea, "a.org", "b.org") == before:  # noqa: ASYNC110 (virtual time)
            await asyncio.sleep(1)
        sea.heal()
        await asyncio.sleep(3)
        await ships[1].party.say(users[1], room_id, "I am here")
        await asyncio.sleep(15)
        assert sorted(await bodies(ships[1], room_id)) == ["I am here", "missed"]

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


def test_servers_that_are_gone_or_slow_hold_up_nobody() -> None:
    """Three servers that never answer, and one that takes a minute: the fourth hears at once, again and again."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        carry = sea.carry

        async def slow(source: str, target: str, *rest: Any) -> Any:
            if target in ("c.org", "d.org", "e.org"):
                await asyncio.sleep(60)
                raise RemoteFailed(target, "no whole answer within 60 s")
            return await carry(source, target, *rest)

        sea.carry = slow  # type: ignore[method-assign]
        tasks = len(asyncio.all_tasks())
        for number in range(100):
            await ships[0].party.say(users[0], room_id, str(number))
            await asyncio.sleep(30)
            assert (await bodies(ships[1], room_id))[-1] == str(number)
        sender = ships[0].traffic.sender
        assert sum(len(lane.pending) + len(lane.missed) for lane in sender._lanes.values()) <= 3
        assert len(asyncio.all_tasks()) <= tasks + 6
        assert sender._sending.running + sender._retrying.running <= 3

    sailing("a.org", "b.org", "c.org", "d.org", "e.org")(test)


def test_an_outage_is_logged_once_with_its_server_and_once_when_it_is_over() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        with capture_logs() as logs:
            sea.part("a.org", "b.org")
            for number in range(20):
                await ships[0].party.say(users[0], room_id, str(number))
                await asyncio.sleep(60)
            sea.heal()
            await asyncio.sleep(600)
        told = [entry for entry in logs if entry["log_level"] in ("info", "warning")]
        assert [entry["event"] for entry in told] == ["federation.server_is_down", "federation.server_is_back"]
        assert {entry["server"] for entry in told} == {"b.org"}
        assert not any("19" in str(value) for entry in logs for value in (entry.get("body"), entry.get("content")))

    sailing("a.org", "b.org")(test)


def test_retries_stay_apart_over_a_restart() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        await ships[0].party.say(users[0], room_id, "missed")
        await asyncio.sleep(2 * 3600)
        before = sends(sea, "a.org", "b.org")
        for _ in range(10):
            await ships[0].stop()
            await ships[0].build()
            ships[0].is_up = True
            await ships[0].launch()
            await asyncio.sleep(60)
        assert sends(sea, "a.org", "b.org") <= before + 1
        (row,) = await ships[0].party.middle.store.load_destinations()
        assert row.interval_ms > 5 * 60_000
        sea.heal()
        await asyncio.sleep(2 * 3600)
        assert await bodies(ships[1], room_id) == ["missed"]
        assert await ships[0].party.middle.store.load_destinations() == []

    sailing("a.org", "b.org")(test)


def test_a_kill_between_sending_and_writing_down_sends_again_and_doubles_nothing(tmp_path: Path) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        await ships[0].party.say(users[0], room_id, "one")
        await asyncio.sleep(0.1)
        assert sends(sea, "a.org", "b.org") == 1
        await ships[0].kill()
        await ships[0].build()
        ships[0].is_up = True
        await ships[0].launch()
        await asyncio.sleep(5)
        assert sends(sea, "a.org", "b.org") == 2
        assert len({path for *_, path in sea.requests if "/send/" in path}) == 2
        assert await bodies(ships[1], room_id) == ["one"]
        await asyncio.sleep(5)
        await ships[0].kill()
        await ships[0].build()
        ships[0].is_up = True
        await ships[0].launch()
        await asyncio.sleep(5)
        assert sends(sea, "a.org", "b.org") == 2

    sailing("a.org", "b.org", folder=tmp_path)(test)


def test_a_kick_is_told_with_what_came_before_it() -> None:
    """Who is put out may not ask any more: it gets what it missed up to there, and nothing behind it."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        for number in range(10):
            await ships[0].party.say(users[0], room_id, str(number))
        await ships[0].party.do(Kick(actor=users[0], room_id=room_id, target=users[1]))
        await ships[0].party.say(users[0], room_id, "secret")
        await asyncio.sleep(30)
        sea.heal()
        await asyncio.sleep(400)
        room = await ships[1].party.middle.loaded.get(room_id)
        assert room.membership(users[1]) == "leave"
        assert await bodies(ships[1], room_id) == [str(number) for number in range(10)]
        assert not ships[0].traffic.sender._lanes

    sailing("a.org", "b.org")(test)


def test_a_farewell_leaves_out_what_was_said_while_nobody_was_there() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, three = ships[0], ships[2]
        sea.part("a.org", "b.org")
        sea.part("b.org", "c.org")
        await one.party.say(users[0], room_id, "before")
        await one.party.do(Kick(actor=users[0], room_id=room_id, target=users[1]))
        await one.party.say(users[0], room_id, "secret")
        await asyncio.sleep(5)
        # It comes in again, as the others see it, and is put out again: by then it has heard of neither.
        room = await one.party.middle.loaded.get(room_id)
        join = RoomTransaction(ships[1].island.signer, room.version, room).append(
            users[1], "m.room.member", {"membership": "join"}, state_key=users[1]
        )
        for ship in (one, three):
            await ship.island.deliver(join)
        await one.party.say(users[0], room_id, "between")
        await one.party.do(Kick(actor=users[0], room_id=room_id, target=users[1]))
        await one.party.say(users[0], room_id, "secret too")
        room = await one.party.middle.loaded.get(room_id)
        missed = await one.traffic.sender._outbox.missed(ships[1].name, room.room_key, 1)
        assert missed.receipts == () and missed.more is None
        pdus = missed.pdus
        told = [text for pdu in pdus if (text := said(pdu)) is not None]
        assert told == ["before", "between"]
        assert sum(b'"m.room.member"' in pdu and users[1].encode() in pdu for pdu in pdus) == 4

    sailing("a.org", "b.org", "c.org")(test)


def test_a_room_that_does_not_federate_tells_nobody() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        await launch(ships)
        done = await ships[0].party.do(
            CreateRoom(actor=users[0], template=Template.CHANNEL, creation_content={"m.federate": False})
        )
        assert done.room_id is not None
        room = await ships[0].party.middle.loaded.get(done.room_id)
        audience = ships[0].traffic.sender._outbox._audience
        room._servers[ServerName("b.org")] = 1  # as a member would make it
        assert audience.of_room(room) == ()
        await ships[0].party.say(users[0], done.room_id, "among us")
        await asyncio.sleep(5)
        assert sends(sea, "a.org", "b.org") == 0

    sailing("a.org", "b.org")(test)


def test_a_store_that_is_full_holds_the_floor_back() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        store = ships[0].party.middle.store
        assert isinstance(store, MemoryStore)
        before = await store.load_meta(FLOOR)
        await ships[0].party.say(users[0], room_id, "one")
        store.fail_next(StoreError("full"))
        await asyncio.sleep(10)
        assert await store.load_meta(FLOOR) == before
        store.fail_next(None)
        await asyncio.sleep(10)
        assert int(await store.load_meta(FLOOR) or 0) > int(before or 0)
        assert await store.load_destinations() == [] and not ships[0].traffic.sender._lanes

    sailing("a.org", "b.org")(test)


def test_a_room_that_is_gone_is_no_longer_owed() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        await ships[0].party.say(users[0], room_id, "missed")
        await asyncio.sleep(5)
        store, loaded = ships[0].party.middle.store, ships[0].party.middle.loaded
        room = await loaded.get(room_id)
        assert await store.load_missed_rooms() != []
        loaded.remove(room_id)
        await ships[0].party.middle.stream.commit([DropRoom(room.room_key)])
        loaded.removed(room_id)
        assert await store.load_missed_rooms() == []
        sea.heal()
        await asyncio.sleep(600)
        assert not ships[0].traffic.sender._lanes
        assert await store.load_destinations() == [] and await store.load_missed_rooms() == []

    sailing("a.org", "b.org")(test)


def test_a_server_that_is_gone_for_good_and_owed_nothing_is_forgotten() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        await ships[0].party.do(SetTyping(actor=users[0], room_id=room_id, typing=True))
        await asyncio.sleep(60)
        store = ships[0].party.middle.store
        (row,) = await store.load_destinations()
        assert row.server == "b.org" and await store.load_missed_rooms() == []
        # It is asked nothing while there is nothing to say.
        assert sends(sea, "a.org", "b.org") == 1
        await asyncio.sleep(25 * 3600)
        assert sends(sea, "a.org", "b.org") == 1
        assert await store.load_destinations() == [] and not ships[0].traffic.sender._lanes

    sailing("a.org", "b.org")(test)


def test_a_server_that_is_heard_from_comes_before_those_of_which_nothing_is_known() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        carry = sea.carry

        async def silent(source: str, target: str, *rest: Any) -> Any:
            if source == "a.org" and target != "e.org":
                await asyncio.sleep(60)
                raise RemoteFailed(target, "no whole answer within 60 s")
            if source == "a.org" and frozenset((source, target)) in sea.parted:
                raise RemoteFailed(target, "gone")
            return await carry(source, target, *rest)

        sea.carry = silent  # type: ignore[method-assign]
        sea.part("a.org", "e.org")
        sender = ships[0].traffic.sender
        sender._retrying.limit = 1
        await ships[0].party.say(users[0], room_id, "to all of you")
        await asyncio.sleep(500)
        assert sender.counts()["down"] == 4
        sea.heal()
        # One of the others is being tried for a minute, two more are waiting for their turn.
        for lane in sender._down:
            if lane.server != "e.org":
                sender._enqueue(lane, sender._retrying)
        await ships[4].party.say(users[4], room_id, "I am here")
        await asyncio.sleep(70)
        assert "to all of you" in await bodies(ships[4], room_id)

    sailing("a.org", "b.org", "c.org", "d.org", "e.org")(test)
