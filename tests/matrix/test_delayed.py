"""Events that are sent later. spec: MSC4140, and its text of December 2025, which clients of today follow"""

import asyncio
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, Server, matrix, q
from tests.support.middle import Clock, reopened, run
from tripoint.rooms.delayed import KEPT, MAX_DELAY_MS, MAX_SCHEDULED
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore

PREFIX = "/_matrix/client/unstable/org.matrix.msc4140"
TEA: dict[str, Any] = {"msgtype": "m.text", "body": "The tea is ready"}


async def ask(client: Client, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    response = await client.server.request(method, PREFIX + path, body, token=client.token)
    assert response.status == status, (response.status, response.body)
    return orjson.loads(response.body)


async def schedule(client: Client, room: str, delay_ms: int, txn: str = "t", **body: Any) -> str:
    path = f"/rooms/{q(room)}/delayed_event/{body.pop('type', 'm.room.message')}/{txn}"
    answer = await ask(client, "PUT", path, {"delay_ms": delay_ms, "content": TEA, **body})
    assert list(answer) == ["delay_id"]
    return str(answer["delay_id"])


async def act(client: Client, delay_id: str, action: str, *, status: int = 200) -> Any:
    return await ask(client, "POST", f"/delayed_events/{delay_id}/{action}", {}, status=status)


async def bodies(client: Client, room: str) -> list[str]:
    page = await client.call("GET", f"/rooms/{q(room)}/messages", dir="b")
    return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]


async def passes(server: Server, seconds: float) -> int | None:
    server.party.clock.now += seconds
    return await server.party.middle.delayed.send_due()


def test_it_is_sent_when_it_is_due_and_not_before() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room = await alice.create(preset="public_chat")
            await bob.join(room)
            await bob.sync()
            delay_id = await schedule(alice, room, 60_000)
            assert await passes(server, 59) == 1000
            assert await bodies(alice, room) == []
            assert await passes(server, 1) is None
            assert await bodies(bob, room) == ["The tea is ready"]
            # spec: "delay_id in unsigned event data": for its sender alone
            (mine,) = (await alice.sync())["rooms"]["join"][room]["timeline"]["events"][-1:]
            assert mine["unsigned"]["org.matrix.msc4140.delay_id"] == delay_id
            (theirs,) = (await bob.sync())["rooms"]["join"][room]["timeline"]["events"]
            assert "unsigned" not in theirs or "org.matrix.msc4140.delay_id" not in theirs["unsigned"]
            told = await ask(alice, "GET", f"/delayed_events/{delay_id}")
            assert (told["event_id"], told["finalised_ts"]) == (mine["event_id"], server.party.clock.ms())
            assert await ask(alice, "GET", "/delayed_events") == {"delayed_events": []}

    run(work)


def test_as_clients_of_today_send_it() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            later = {"org.matrix.msc4140.delay": "5000"}
            response = await server.request(
                "PUT",
                f"/_matrix/client/v3/rooms/{q(room)}/send/m.room.message/t1",
                TEA,
                token=alice.token,
                parameters=later,
            )
            first = orjson.loads(response.body)["delay_id"]
            response = await server.request(
                "PUT",
                f"/_matrix/client/v3/rooms/{q(room)}/state/m.call.member/me",
                {},
                token=alice.token,
                parameters=later,
            )
            second = orjson.loads(response.body)["delay_id"]
            listed = (await ask(alice, "GET", "/delayed_events"))["delayed_events"]
            assert {one["delay_id"]: one.get("state_key") for one in listed} == {first: None, second: "me"}
            assert all(one["delay"] == one["delay_ms"] == 5000 for one in listed)
            await passes(server, 3)
            await ask(alice, "POST", f"/delayed_events/{second}", {"action": "restart"})
            await passes(server, 2)
            assert await bodies(alice, room) == ["The tea is ready"]
            await ask(alice, "POST", f"/delayed_events/{second}", {"action": "cancel"})
            await passes(server, 100)
            await alice.call("GET", f"/rooms/{q(room)}/state/m.call.member/me", status=404)
            for delay in ("0", "x", "-1"):
                response = await server.request(
                    "PUT",
                    f"/_matrix/client/v3/rooms/{q(room)}/send/m.room.message/t2",
                    TEA,
                    token=alice.token,
                    parameters={"org.matrix.msc4140.delay": delay},
                )
                assert response.status == 400, response.body

    run(work)


def test_state_is_sent_later_and_a_heartbeat_puts_it_off() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            delay_id = await schedule(alice, room, 10_000, type="m.room.topic", state_key="", content={"topic": "gone"})
            for _ in range(20):
                await act(alice, delay_id, "restart")
                assert await passes(server, 5) == 5000
            await alice.call("GET", f"/rooms/{q(room)}/state/m.room.topic", status=404)
            await passes(server, 5)
            assert (await alice.call("GET", f"/rooms/{q(room)}/state/m.room.topic"))["topic"] == "gone"

    run(work)


def test_actions_again_and_too_late() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            sent, cancelled = await schedule(alice, room, 9000, "1"), await schedule(alice, room, 9000, "2")
            await act(alice, sent, "send")
            await act(alice, sent, "send")
            await act(alice, cancelled, "cancel")
            await act(alice, cancelled, "cancel")
            for delay_id, action in ((sent, "cancel"), (sent, "restart"), (cancelled, "send"), (cancelled, "restart")):
                assert (await act(alice, delay_id, action, status=409))["errcode"] == "M_UNKNOWN"
            await passes(server, 100)
            assert await bodies(alice, room) == ["The tea is ready"]
            told = await ask(alice, "GET", f"/delayed_events/{cancelled}")
            assert "finalised_ts" in told and "event_id" not in told and "error" not in told
            assert (await act(alice, "nothing", "send", status=404))["errcode"] == "M_NOT_FOUND"
            assert (await act(alice, sent, "explode", status=400))["errcode"] == "M_INVALID_PARAM"
            missing = await ask(alice, "POST", f"/delayed_events/{sent}", {}, status=400)
            assert missing["errcode"] == "M_MISSING_PARAM"

    run(work)


def test_the_same_request_again_is_the_same_event() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            first = await schedule(alice, room, 5000, "1")
            assert await schedule(alice, room, 5000, "1") == first
            assert await schedule(alice, room, 5000, "2") != first
            await passes(server, 5)
            assert await schedule(alice, room, 5000, "1") == first
            await passes(server, 5)
            assert await bodies(alice, room) == ["The tea is ready"] * 2

    run(work)


def test_whose_it_is() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room = await alice.create(preset="public_chat")
            await bob.join(room)
            delay_id = await schedule(alice, room, 5000)
            await ask(bob, "GET", f"/delayed_events/{delay_id}", status=404)
            await act(bob, delay_id, "cancel", status=404)
            assert await ask(bob, "GET", "/delayed_events") == {"delayed_events": []}
            # Whoever was given the id, as the server of a call is, needs nothing else.
            response = await server.request("POST", f"{PREFIX}/delayed_events/{delay_id}/send", {})
            assert response.status == 200
            assert await bodies(bob, room) == ["The tea is ready"]

    run(work)


def test_rights_are_those_of_the_moment() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room = await alice.create(preset="public_chat")
            outside = {"delay_ms": 5, "content": TEA}
            await ask(bob, "PUT", f"/rooms/{q(room)}/delayed_event/m.room.message/1", outside, status=403)
            await bob.join(room)
            delay_id = await schedule(bob, room, 5000)
            await alice.call("POST", f"/rooms/{q(room)}/kick", {"user_id": bob.user_id})
            # By hand it stays scheduled: what stands in the way may be gone when it is due.
            assert (await act(bob, delay_id, "send", status=403))["errcode"] == "M_FORBIDDEN"
            await passes(server, 5)
            told = await ask(bob, "GET", f"/delayed_events/{delay_id}")
            assert told["error"] == {"errcode": "M_FORBIDDEN", "error": "You are not in this room"}
            await bob.join(room)
            await passes(server, 100)
            assert await bodies(alice, room) == []

    run(work)


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"content": TEA}, "M_MISSING_PARAM"),
        ({"delay_ms": 5}, "M_MISSING_PARAM"),
        ({"delay_ms": 0, "content": TEA}, "M_INVALID_PARAM"),
        ({"delay_ms": -5, "content": TEA}, "M_INVALID_PARAM"),
        ({"delay_ms": "5", "content": TEA}, "M_INVALID_PARAM"),
        ({"delay_ms": True, "content": TEA}, "M_INVALID_PARAM"),
        ({"delay_ms": 1.5, "content": TEA}, "M_INVALID_PARAM"),
        ({"delay_ms": 5, "content": "tea"}, "M_BAD_JSON"),
        ({"delay_ms": 5, "content": TEA, "state_key": 7}, "M_BAD_JSON"),
        ({"delay_ms": MAX_DELAY_MS + 1, "content": TEA}, "M_FORBIDDEN"),
    ],
)
def test_what_cannot_be_scheduled(body: Any, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            status = 403 if errcode == "M_FORBIDDEN" else 400
            answer = await ask(alice, "PUT", f"/rooms/{q(room)}/delayed_event/m.room.message/1", body, status=status)
            assert answer["errcode"] == errcode
            assert await ask(alice, "GET", "/delayed_events") == {"delayed_events": []}

    run(work)


def test_there_are_not_any_number_of_them() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            endpoints = server.front.later
            endpoints._pace.rate = type(endpoints._pace.rate)(1, 0)  # how many at all, and not how fast
            for number in range(MAX_SCHEDULED):
                await schedule(alice, room, 10_000 + number, str(number))
            body = {"delay_ms": 5, "content": TEA}
            answer = await ask(alice, "PUT", f"/rooms/{q(room)}/delayed_event/m.room.message/x", body, status=429)
            assert (answer["errcode"], answer["retry_after_ms"]) == ("M_LIMIT_EXCEEDED", 10_000)
            found = (await alice.call("GET", "/capabilities"))["capabilities"]["org.matrix.msc4140.delayed_events"]
            assert found == {"max_delay_ms": MAX_DELAY_MS, "max_scheduled": MAX_SCHEDULED}

    run(work)


def test_how_often_is_limited() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            delay_id = await schedule(alice, room, 10_000)
            for _ in range(29):
                await act(alice, delay_id, "restart")
            assert (await act(alice, delay_id, "restart", status=429))["errcode"] == "M_LIMIT_EXCEEDED"

    run(work)


def test_what_fell_due_while_the_server_was_stopped_comes_in_its_order() -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        async with matrix(store=store, clock=clock) as server:
            alice = await server.register("alice")
            room = await alice.create()
            for name, delay_ms in (("third", 30_000), ("first", 10_000), ("second", 20_000), ("fourth", 90_000)):
                await schedule(alice, room, delay_ms, name, content={"msgtype": "m.text", "body": name})
        clock.now += 60
        async with matrix(store=reopened(store), clock=clock) as server:
            alice.server = server
            assert await passes(server, 0) == 30_000
            assert await bodies(alice, room) == ["third", "second", "first"]
            assert len((await ask(alice, "GET", "/delayed_events"))["delayed_events"]) == 1

    run(work)


def test_one_that_was_sent_before_a_kill_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is on disk, that it was sent is not: the server ended between the two."""

    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        async with matrix(store=store, clock=clock) as server:
            alice = await server.register("alice")
            room = await alice.create()
            delay_id = await schedule(alice, room, 5000)

            async def killed(*_: object) -> None:
                raise StoreError("killed")

            with monkeypatch.context() as patch:
                patch.setattr(server.party.middle.delayed, "_finish", killed)
                await passes(server, 5)
        async with matrix(store=reopened(store), clock=clock) as server:
            alice.server = server
            await passes(server, 0)
            assert await bodies(alice, room) == ["The tea is ready"]
            assert "event_id" in await ask(alice, "GET", f"/delayed_events/{delay_id}")

    run(work)


def test_what_is_over_is_not_kept_for_ever() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            old = await schedule(alice, room, 1000, "old")
            await passes(server, 1)
            await passes(server, 7 * 24 * 3600 + 1)
            new = await schedule(alice, room, 1000, "new")
            await passes(server, 1)
            await ask(alice, "GET", f"/delayed_events/{old}", status=404)
            await ask(alice, "GET", f"/delayed_events/{new}")
            assert [row.delay_id for row in await server.party.middle.store.load_delayed()] == [new]
            assert KEPT == 1000

    run(work)


def test_the_task_sends_by_itself() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            delayed = server.party.middle.delayed
            running = asyncio.create_task(delayed.run())
            await asyncio.sleep(0)
            server.party.clock.now += 1
            await schedule(alice, room, 1)
            server.party.clock.now += 1
            await alice.sync()
            async with asyncio.timeout(5):
                while not await bodies(alice, room):
                    await alice.sync(timeout=1000)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(work)
