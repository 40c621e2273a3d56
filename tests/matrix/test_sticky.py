"""Sticky events: sending them, and that everybody gets them once. spec: MSC4354, MSC4480"""

import asyncio
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.sliding import Sliding, one_list
from tests.support.middle import Clock, reopened, run
from tripoint.store.memory import MemoryStore

SECTION = "msc4354_sticky"
TTL = "msc4354_sticky_duration_ttl_ms"
PARAMETER = "org.matrix.msc4354.sticky_duration_ms"
EXTENSION = "org.matrix.msc4354.sticky_events"
NO_TIMELINE = '{"room":{"timeline":{"not_types":["*"]}}}'
TEN_MINUTES = 600_000


async def stick(client: Client, room: str, name: str = "a", ms: int = TEN_MINUTES, **content: Any) -> str:
    client._txn += 1
    path = f"/rooms/{q(room)}/send/m.rtc.member/s{client._txn}"
    body = {"msc4354_sticky_key": name, **content}
    return str((await client.call("PUT", path, body, **{PARAMETER: str(ms)}))["event_id"])


def told(answer: Any, room: str) -> list[Any]:
    found = answer.get("rooms", {}).get("join", {}).get(room, {}).get(SECTION, {}).get("events", [])
    assert isinstance(found, list)
    return found


def ids(events: list[Any]) -> list[str]:
    return [event["event_id"] for event in events]


async def three(server: Server) -> tuple[Client, Client, str]:
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create(preset="public_chat")
    await bob.join(room)
    await bob.sync()
    return alice, bob, room


def test_what_the_timeline_leaves_out_is_told_beside_it() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            one = await stick(alice, room)
            answer = await bob.sync()
            (event,) = answer["rooms"]["join"][room]["timeline"]["events"]
            assert event["event_id"] == one and told(answer, room) == []
            assert event[SECTION] == {"duration_ms": TEN_MINUTES} and event["unsigned"][TTL] == TEN_MINUTES
            two = await stick(alice, room, "b")
            server.party.clock.now += 60
            for number in range(12):
                await alice.say(room, str(number))
            answer = await bob.sync()
            (event,) = told(answer, room)
            assert event["event_id"] == two and event["unsigned"][TTL] == TEN_MINUTES - 60_000
            assert "room_id" not in event and event["content"]["msc4354_sticky_key"] == "b"
            assert "rooms" not in await bob.sync()  # once

    run(work)


def test_a_filter_of_the_timeline_hides_nothing_sticky() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            one = await stick(alice, room)
            answer = await bob.sync(filter=NO_TIMELINE)
            assert ids(told(answer, room)) == [one]
            assert answer["rooms"]["join"][room]["timeline"]["events"] == []

    run(work)


def test_who_comes_gets_all_that_is_sticky_whatever_the_history_visibility() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            path = f"/rooms/{q(room)}/state/m.room.history_visibility"
            await alice.call("PUT", path, {"history_visibility": "joined"})
            short = await stick(alice, room, "short", 1000)
            one, two = await stick(alice, room, "a"), await stick(bob, room, "b")
            server.party.clock.now += 2
            carol = await server.register("carol")
            await carol.sync()
            await carol.join(room)
            answer = await carol.sync()
            assert ids(told(answer, room)) == [one, two] and short not in ids(told(answer, room))
            # And so does a device that begins anew.
            carol.since = None
            assert ids(told(await carol.sync(), room)) == [one, two]
            # Another name is no coming in.
            await carol.call("PUT", f"/profile/{q(carol.user_id)}/displayname", {"displayname": "Caro"})
            assert told(await carol.sync(), room) == []
            server.party.clock.now += 3600
            carol.since = None
            assert told(await carol.sync(), room) == []

    run(work)


def test_what_is_redacted_or_by_somebody_ignored_is_not_told() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            gone = await stick(alice, room)
            kept = await stick(alice, room, "b")
            await alice.call("PUT", f"/rooms/{q(room)}/redact/{q(gone)}/r", {})
            assert ids(told(await bob.sync(filter=NO_TIMELINE), room)) == [kept]
            event = await bob.call("GET", f"/rooms/{q(room)}/event/{q(gone)}")
            assert SECTION not in event
            path = f"/user/{q(bob.user_id)}/account_data/m.ignored_user_list"
            await bob.call("PUT", path, {"ignored_users": {alice.user_id: {}}})
            await stick(alice, room, "c")
            assert told(await bob.sync(filter=NO_TIMELINE), room) == []

    run(work)


def test_too_many_at_once_come_one_answer_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            other = await alice.create(preset="public_chat")
            await bob.join(other)
            await bob.sync()
            sent = [await stick(alice, (room, other)[number % 2], str(number)) for number in range(7)]
            got = []
            for _ in range(4):
                answer = await bob.sync(filter=NO_TIMELINE)
                got.append(sorted(ids(told(answer, room)) + ids(told(answer, other)), key=sent.index))
            assert got == [sent[:3], sent[3:6], sent[6:], []]

    monkeypatch.setattr("tripoint.matrix.sync.sticky.sticky_news.__defaults__", (3,))
    run(work)


@pytest.mark.parametrize("ms", ["3600001", "-1", "1.5", "long"])
def test_durations_that_are_none(ms: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, _, room = await three(server)
            path = f"/rooms/{q(room)}/send/m.rtc.member/t"
            assert await alice.refused("PUT", path, {}, **{PARAMETER: ms}) == (400, "M_INVALID_PARAM")

    run(work)


def test_state_may_be_sticky_and_a_membership_may_not() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            path = f"/rooms/{q(room)}/state/m.test/"
            for _ in range(2):  # the same again sticks anew
                await alice.call("PUT", path, {"tea": True}, **{PARAMETER: "1000"})
            assert len(told(await bob.sync(filter=NO_TIMELINE), room)) == 2
            path = f"/rooms/{q(room)}/state/m.room.member/{q(alice.user_id)}"
            refused = await alice.refused("PUT", path, {"membership": "join"}, **{PARAMETER: "1000"})
            assert refused[0] == 400

    run(work)


def test_an_event_that_is_sent_later_is_sticky_from_then_on() -> None:
    async def work() -> None:
        store = MemoryStore()
        clock = Clock()
        async with matrix(store=store, clock=clock) as server:
            alice, bob, room = await three(server)
            path = f"/rooms/{q(room)}/send/m.rtc.member/later"
            delay = {"org.matrix.msc4140.delay": "5000", PARAMETER: "60000"}
            await alice.call("PUT", path, {"msc4354_sticky_key": "a"}, **delay)
            clock.now += 6
            await server.party.middle.delayed.send_due()
            (event,) = told(await bob.sync(filter=NO_TIMELINE), room)
            assert event["unsigned"][TTL] == 60_000

    run(work)


def test_a_restart_forgets_none() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        async with matrix(store=store, clock=clock) as server:
            alice, bob, room = await three(server)
            one = await stick(alice, room)
            short = await stick(alice, room, "b", 1000)
            tokens = (bob.token, bob.since, bob.user_id, bob.device_id)
        clock.now += 2
        store = reopened(store)
        async with matrix(store=store, clock=clock) as server:
            bob = Client(server, {"user_id": tokens[2], "device_id": tokens[3], "access_token": tokens[0]})
            bob.since = tokens[1]
            found = ids(told(await bob.sync(filter=NO_TIMELINE), room))
            assert found == [one] and short not in found
            assert len(store.sticky) == 2
            await stick(bob, room, "c")
            assert len(store.sticky) == 2  # what is over goes with the next

    run(work)


def test_sliding_sync() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await three(server)
            other = await alice.create(preset="public_chat")
            await bob.join(other)
            one = await stick(alice, room)
            await alice.say(other, "up")
            config = {"enabled": True, "limit": 2}
            body = one_list(limit=1, last=0, extensions={EXTENSION: config})
            phone = Sliding(bob, body)

            async def sync(wait_ms: int = 0) -> Any:
                answer = await phone.sync(wait_ms)
                found = answer["extensions"].get(EXTENSION)
                if found is not None:
                    config["since"] = found["next_batch"]
                return found

            # The room is in the list, if not in its window.
            found = await sync()
            (event,) = found["rooms"][room]["events"]
            assert (event["event_id"], event["unsigned"][TTL]) == (one, TEN_MINUTES)
            assert await sync() is None
            waiting = asyncio.create_task(sync(60_000))
            await asyncio.sleep(0)
            two = await stick(alice, room, "b")
            found = await waiting
            # What a timeline shows is not told again, and not later either.
            shown = found["rooms"]
            assert shown == {} or ids(shown[room]["events"]) == [two]
            sent = [await stick(alice, room, str(number)) for number in range(4)]
            await alice.say(room, "last")
            assert ids((await sync())["rooms"][room]["events"]) == sent[:2]
            assert ids((await sync())["rooms"][room]["events"]) == sent[2:]
            assert await sync() is None
            # A room that no list wants is not told of.
            body["lists"]["all"]["filters"] = {"is_dm": True}
            await stick(alice, room, "z")
            assert await sync() is None
            config["since"] = "tea"
            assert await phone.refused() == (400, "M_INVALID_PARAM")

    run(work)


def test_it_is_advertised() -> None:
    async def work() -> None:
        async with matrix() as server:
            answer = orjson.loads((await server.request("GET", "/_matrix/client/versions")).body)
            assert answer["unstable_features"]["org.matrix.msc4354"] is True

    run(work)
