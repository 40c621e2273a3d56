"""What happens in the moment between the disk and the telling: no reader by position may miss it.

Each of these was a fault once. spec: Matrix client-server "Syncing", "Transaction identifiers", "Redactions"
"""

import asyncio

import orjson

from tests.matrix.client import PASSWORD, Client, matrix, q
from tests.support.middle import run
from tests.support.slow_store import SlowStore


def test_account_data_and_receipts_are_never_lost_between_commit_and_telling() -> None:
    async def work() -> None:
        async with matrix(store=SlowStore()) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            seen: list[int] = []
            read: list[str] = []
            done = asyncio.Event()

            async def follow() -> None:
                while True:
                    last = done.is_set()
                    answer = await bob.sync()
                    await asyncio.sleep(0)
                    for event in answer.get("account_data", {}).get("events", []):
                        if event["type"] == "org.example.n":
                            seen.append(event["content"]["n"])
                    chunk = answer.get("rooms", {}).get("join", {}).get(room_id, {})
                    for event in chunk.get("ephemeral", {}).get("events", []):
                        read.extend(event["content"] if event["type"] == "m.receipt" else ())
                    if last:
                        return

            following = asyncio.create_task(follow())
            for n in range(20):
                event_id = await alice.say(room_id, str(n))
                await asyncio.gather(
                    bob.call("PUT", f"/user/{q(bob.user_id)}/account_data/org.example.n", {"n": n}),
                    alice.call("POST", f"/rooms/{q(room_id)}/receipt/m.read/{q(event_id)}", {}),
                )
                for _ in range(n):
                    await asyncio.sleep(0)
            done.set()
            await following
            assert seen[-1] == 19
            assert read[-1] == event_id

    run(work)


def test_a_token_ends_with_its_device_whatever_comes_in_between() -> None:
    async def work() -> None:
        store = SlowStore()
        async with matrix(store=store) as server:
            alice = await server.register("alice")
            user = {"type": "m.id.user", "user": "alice"}
            auth = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
            answer = await server.request("POST", "/_matrix/client/v3/login", auth)
            other = Client(server, orjson.loads(answer.body))
            since = (await other.sync())["next_batch"]
            waiting = asyncio.create_task(other.refused("GET", "/sync", since=since, timeout="60000"))

            async def ask() -> None:
                for _ in range(30):
                    await server.request("GET", "/_matrix/client/v3/account/whoami", token=other.token)
                    await asyncio.sleep(0)

            delete = alice.call("DELETE", f"/devices/{q(other.device_id)}", {"auth": auth})
            await asyncio.gather(delete, ask(), ask())
            assert await other.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            # A sync that was waiting tells nothing more.
            assert await asyncio.wait_for(waiting, 5) == (401, "M_UNKNOWN_TOKEN")

    run(work)


def test_a_transaction_id_stands_for_one_path() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            room = f"/rooms/{q(room_id)}"
            first = await alice.say(room_id, "first", "one")
            reaction = await alice.call("PUT", f"{room}/send/m.reaction/one", {})
            redaction = await alice.call("PUT", f"{room}/redact/{q(first)}/one", {})
            assert len({first, reaction["event_id"], redaction["event_id"]}) == 3
            assert await alice.say(room_id, "first", "one") == first
            assert await alice.call("PUT", f"{room}/redact/{q(first)}/one", {}) == redaction
            assert (await alice.call("GET", f"{room}/event/{q(first)}"))["content"] == {}

    run(work)


def test_a_redacted_state_event_is_gone_from_what_replaced_it_too() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            room = f"/rooms/{q(room_id)}"
            bad = await alice.call("PUT", f"{room}/state/m.room.topic", {"topic": "bad"})
            await alice.sync()
            await alice.call("PUT", f"{room}/state/m.room.topic", {"topic": "good"})
            await alice.call("PUT", f"{room}/redact/{q(bad['event_id'])}/1", {})
            (topic, _) = await alice.timeline(room_id)
            assert topic["unsigned"] == {
                "membership": "join",
                "prev_content": {},
                "prev_sender": alice.user_id,
                "replaces_state": bad["event_id"],
            }

    run(work)


def test_who_was_away_is_not_told_what_was_said_meanwhile() -> None:
    """spec: module history_visibility: `joined`."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
            room_id = await alice.create(preset="public_chat", initial_state=[hidden])
            await bob.join(room_id)
            await bob.sync()
            await bob.call("PUT", f"/user/{q(bob.user_id)}/rooms/{q(room_id)}/account_data/m.tag", {"tags": {}})
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            await alice.say(room_id, "secret")
            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.topic", {"topic": "new"})
            await bob.join(room_id)
            after = await alice.say(room_id, "welcome back")
            chunk = (await bob.sync())["rooms"]["join"][room_id]
            told = [event["content"].get("membership") or event["event_id"] for event in chunk["timeline"]["events"]]
            assert told == ["leave", "join", after]
            assert {"topic": "new"}.items() <= {
                key: value
                for event in chunk["state"]["events"]
                if event["type"] == "m.room.topic"
                for key, value in event["content"].items()
            }.items()
            assert [event["type"] for event in chunk["account_data"]["events"]] == ["m.tag"]

    run(work)
