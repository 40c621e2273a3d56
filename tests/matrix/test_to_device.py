"""Messages to devices: each once, in order, until the device has them.

spec: Matrix client-server-api send-to-device-messaging, PUT /sendToDevice
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.crypto import second_device
from tests.support.middle import run
from tripoint.accounts import to_device
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore


async def tell(sender: Client, txn: str, *to: tuple[str, str], n: Any = None, type_: str = "m.test") -> None:
    messages: dict[str, dict[str, Any]] = {}
    for user_id, device_id in to:
        messages.setdefault(user_id, {})[device_id] = {"n": txn if n is None else n}
    await sender.call("PUT", f"/sendToDevice/{type_}/{txn}", {"messages": messages})


def told(answer: Any) -> list[Any]:
    return [event["content"]["n"] for event in answer.get("to_device", {}).get("events", [])]


def test_a_message_is_told_until_the_next_token_and_not_again() -> None:
    """spec: "When the client calls /sync again with the next_batch token from the first response, the server should
    infer that any send-to-device messages in that response have been delivered successfully, and delete them" """

    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            start = (await bob.sync())["next_batch"]
            await tell(alice, "1", (bob.user_id, bob.device_id))
            answer = await bob.sync()
            assert answer["to_device"]["events"] == [
                {"sender": alice.user_id, "type": "m.test", "content": {"n": "1"}}
            ]
            # The answer was lost: the client asks once more with the token it had.
            assert told(await bob.sync(since=start)) == ["1"]
            assert told(await bob.sync()) == []
            await asyncio.sleep(0)
            assert store.to_device == {}
            assert told(await bob.sync(since=start)) == []

    run(work)


def test_who_has_no_such_device_gets_nothing_and_everybody_is_a_star() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            other = await second_device(bob, "OTHER")
            await server.party.middle.accounts.log_in(
                (await server.party.middle.accounts.account(bob.user_id)), protocol="irc", display_name="x"  # type: ignore[arg-type]
            )
            body = {
                "messages": {
                    bob.user_id: {"*": {"n": "all"}, "OTHER": {"n": "own"}, "NONE": {"n": "lost"}},
                    "@nobody:example.org": {"*": {"n": "lost"}},
                }
            }
            await alice.call("PUT", "/sendToDevice/m.test/1", body)
            assert told(await bob.sync()) == ["all"]
            assert told(await other.sync()) == ["own"]
            # An IRC client is a device that nothing is kept for.
            assert {device for _, device, _ in store.to_device} == {bob.device_id, "OTHER"}

    run(work)


def test_a_transaction_counts_once_also_over_a_restart() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            twin = await second_device(alice)
            # Together, and again later.
            await asyncio.gather(*(tell(alice, "1", (bob.user_id, "*")) for _ in range(3)))
            await tell(alice, "1", (bob.user_id, "*"))
            # spec: "The scope of a transaction ID is for a single device", and for a path.
            await tell(twin, "1", (bob.user_id, "*"), n="twin")
            await tell(alice, "1", (bob.user_id, "*"), n="other", type_="m.other")
            body = {"user_id": alice.user_id, "device_id": alice.device_id, "access_token": alice.token}
        store._closed = False
        async with matrix(store=store) as server:
            await tell(Client(server, body), "1", (bob.user_id, "*"))
            bob = Client(server, {"user_id": bob.user_id, "device_id": bob.device_id, "access_token": bob.token})
            assert told(await bob.sync()) == ["1", "twin", "other"]

    run(work)


def test_a_long_queue_comes_in_pages_of_a_hundred() -> None:
    """spec: "100 messages is recommended as a reasonable limit" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            for n in range(230):
                await tell(alice, str(n), (bob.user_id, "*"))
            pages = [told(await bob.sync()) for _ in range(4)]
            assert [len(page) for page in pages] == [100, 100, 30, 0]
            assert [n for page in pages for n in page] == [str(n) for n in range(230)]

    run(work)


def test_a_waiting_sync_is_answered_at_once_and_alone() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            other = await second_device(bob)
            await bob.sync()
            await other.sync()
            waiting = asyncio.ensure_future(bob.sync(timeout=30_000))
            idle = asyncio.ensure_future(other.sync(timeout=30_000))
            await asyncio.sleep(0)
            await tell(alice, "1", (bob.user_id, bob.device_id))
            assert told(await asyncio.wait_for(waiting, 5)) == ["1"]
            await asyncio.sleep(0)
            assert not idle.done()
            idle.cancel()

    run(work)


def test_a_device_that_is_gone_leaves_nothing_behind() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            phone = await second_device(bob, "PHONE")
            await tell(alice, "1", (bob.user_id, "PHONE"))
            await phone.call("POST", "/logout", {})
            assert store.to_device == {}
            await tell(alice, "2", (bob.user_id, "PHONE"))
            again = await second_device(bob, "PHONE")
            assert told(await again.sync()) == []

    run(work)


def test_a_full_queue_loses_its_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(to_device, "MAX_WAITING", 20)
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            for n in range(30):
                await tell(alice, str(n), (bob.user_id, "*"))
            got = told(await bob.sync())
            assert got == [str(n) for n in range(30)][-len(got) :] and 18 <= len(got) <= 20

    run(work)


def test_what_could_not_be_stored_is_not_acknowledged() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            store.fail_next(StoreError("disk full"))
            body = {"messages": {bob.user_id: {"*": {"n": "1"}}}}
            assert await alice.refused("PUT", "/sendToDevice/m.test/1", body) == (503, "M_UNKNOWN")
            store.fail_next(None)
            assert told(await bob.sync()) == []
            await tell(alice, "1", (bob.user_id, "*"))
            assert told(await bob.sync()) == ["1"]

    run(work)


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_MISSING_PARAM"),
        ({"messages": 1}, 400, "M_BAD_JSON"),
        ({"messages": {"bob": {}}}, 400, "M_BAD_JSON"),
        ({"messages": {"@bob:example.org": []}}, 400, "M_BAD_JSON"),
        ({"messages": {"@bob:example.org": {"D": "text"}}}, 400, "M_BAD_JSON"),
        ({"messages": {"@bob:example.org": {"D": {"x": "y" * 66_000}}}}, 413, "M_TOO_LARGE"),
        ({"messages": {"@bob:example.org": {str(n): {} for n in range(5001)}}}, 400, "M_RESOURCE_LIMIT_EXCEEDED"),
    ],
)
def test_messages_that_make_no_sense(body: Any, status: int, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            assert await alice.refused("PUT", "/sendToDevice/m.test/1", body) == (status, errcode)
            assert await alice.refused("PUT", f"/sendToDevice/{'m' * 256}/1", {"messages": {}}) == (
                400,
                "M_INVALID_PARAM",
            )

    run(work)


STEPS = st.lists(st.sampled_from(["send", "send", "sync", "lose", "restart", "full"]), max_size=30)


async def walk(steps: list[str], opened: Callable[[], Any]) -> None:
    """A device whose answers are lost now and then gets every message once, in order."""
    sent: list[str] = []
    got: list[str] = []
    people: list[dict[str, str]] = []
    since: str | None = None
    pending = [*steps, "sync"]
    while pending:
        store = opened()
        async with matrix(store=store) as server:
            alice, bob = await _people(server, people)
            while pending:
                step = pending.pop(0)
                if step == "restart":
                    break
                if step in ("send", "full"):
                    for _ in range(1 if step == "send" else 120):
                        sent.append(str(len(sent)))
                        await tell(alice, sent[-1], (bob.user_id, "*"))
                else:
                    bob.since = since
                    answer = await bob.sync()
                    if step == "sync":
                        got += told(answer)
                        since = answer["next_batch"]
                    # Else it was lost: the client comes back with the token that it had.
            if not pending:
                bob.since = since
                while page := told(answer := await bob.sync()):
                    got += page
                    since = answer["next_batch"]
    assert got == sent


async def _people(server: Server, people: list[dict[str, str]]) -> list[Client]:
    if not people:
        for name in ("alice", "bob"):
            one = await server.register(name)
            people.append({"user_id": one.user_id, "device_id": one.device_id, "access_token": one.token})
    return [Client(server, one) for one in people]


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_each_message_reaches_a_device_once_in_order(steps: list[str]) -> None:
    async def work() -> None:
        store = MemoryStore()

        def opened() -> MemoryStore:
            store._closed = False
            return store

        await walk(steps, opened)

    run(work)


def test_the_same_on_disk(tmp_path: Path) -> None:
    steps = ["send", "sync", "restart", "send", "lose", "restart", "sync", "send", "full", "sync", "restart", "sync"]
    run(lambda: walk(steps, lambda: SqliteStore(tmp_path / "test.db")))


def test_positions_of_deleted_messages_are_not_used_again(tmp_path: Path) -> None:
    """A message behind a token that was given out would never be told."""

    async def work() -> None:
        people: list[dict[str, str]] = []
        since: str | None = None
        for n in range(3):
            async with matrix(store=SqliteStore(tmp_path / "test.db")) as server:
                alice, bob = await _people(server, people)
                bob.since = since
                await tell(alice, str(n), (bob.user_id, "*"))
                assert told(await bob.sync()) == [str(n)]
                assert told(await bob.sync()) == []
                since = bob.since

    run(work)


def test_the_type_and_the_id_are_of_the_path() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            body = {"messages": {bob.user_id: {"*": {}}}}
            await alice.call("PUT", f"/sendToDevice/{q('m/é type')}/{q('a b/c')}", body)
            (event,) = (await bob.sync())["to_device"]["events"]
            assert event["type"] == "m/é type"

    run(work)
