"""GET /sync: initial, incremental, waiting; what each section holds.

spec: Matrix client-server "Syncing", "Filtering", "Lazy-loading room members"
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, matrix, q
from tests.support.middle import UNLIMITED, make_config, run
from tripoint.core.ids import RoomId
from tripoint.matrix.sync.server import SyncServer
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore
from tripoint.store.writes import PutRoom

LAZY = '{"room":{"state":{"lazy_load_members":true}}}'


def test_an_initial_sync_tells_everything_needed() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat", name="Tea")
            await bob.join(room_id)
            for n in range(15):
                await alice.say(room_id, str(n))
            await bob.call("PUT", f"/user/{q(bob.user_id)}/account_data/org.example.x", {"a": 1})
            answer = await bob.sync()
            room = answer["rooms"]["join"][room_id]
            assert [e["content"]["body"] for e in room["timeline"]["events"]] == [str(n) for n in range(5, 15)]
            assert room["timeline"]["limited"] is True
            state = {(e["type"], e["state_key"]) for e in room["state"]["events"]}
            assert {("m.room.name", ""), ("m.room.member", bob.user_id), ("m.room.create", "")} <= state
            assert all("room_id" not in e for e in room["timeline"]["events"])
            types = {e["type"] for e in answer["account_data"]["events"]}
            assert types == {"org.example.x", "m.push_rules"}
            assert room["summary"] == {"m.joined_member_count": 2, "m.invited_member_count": 0}

    run(work)


def test_state_and_timeline_never_tell_the_same_twice() -> None:
    """spec: GET /sync: `state` is the state at the start of the timeline."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create(name="one")
            room = f"/rooms/{q(room_id)}"
            for name in ("two", "three"):
                await alice.call("PUT", f"{room}/state/m.room.name", {"name": name})
            limit = '{"room":{"timeline":{"limit":1}}}'
            answer = await alice.sync(filter=limit)
            chunk = answer["rooms"]["join"][room_id]
            assert [e["content"] for e in chunk["timeline"]["events"]] == [{"name": "three"}]
            (before,) = [e for e in chunk["state"]["events"] if e["type"] == "m.room.name"]
            assert before["content"] == {"name": "two"}
            assert chunk["timeline"]["events"][0]["unsigned"]["prev_content"] == {"name": "two"}
            # A gap: the state that changed in between is told, and the newest change is in the timeline.
            for name in ("four", "five"):
                await alice.call("PUT", f"{room}/state/m.room.name", {"name": name})
            await alice.call("PUT", f"{room}/state/m.room.topic", {"topic": "t"})
            await alice.say(room_id, "last")
            chunk = (await alice.sync(filter=limit))["rooms"]["join"][room_id]
            assert [e["content"]["body"] for e in chunk["timeline"]["events"]] == ["last"]
            assert {e["type"]: e["content"] for e in chunk["state"]["events"]} == {
                "m.room.name": {"name": "five"},
                "m.room.topic": {"topic": "t"},
            }

    run(work)


def test_every_message_exactly_once_over_many_syncs() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await bob.sync()
            seen: list[str] = []

            async def read() -> None:
                while len(seen) < 60:
                    answer = await bob.sync(timeout=5000, filter='{"room":{"timeline":{"limit":100}}}')
                    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
                    seen.extend(e["event_id"] for e in room.get("timeline", {}).get("events", []))

            reading = asyncio.create_task(read())
            sent = [await alice.say(room_id, str(n)) for n in range(60)]
            await asyncio.wait_for(reading, 10)
            assert seen == sent

    run(work)


def test_a_sync_waits_until_something_happens() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await bob.sync()
            assert "rooms" not in await bob.sync(timeout=10)
            waiting = asyncio.create_task(bob.sync(timeout=30_000))
            await asyncio.sleep(0)
            event_id = await alice.say(room_id, "now")
            answer = await asyncio.wait_for(waiting, 5)
            (event,) = answer["rooms"]["join"][room_id]["timeline"]["events"]
            assert event["event_id"] == event_id
            assert "transaction_id" not in event.get("unsigned", {})
            # The sender's own device is told its transaction id, another device of the same user is not.
            (own,) = [e for e in await alice.timeline(room_id) if e["event_id"] == event_id]
            assert own["unsigned"]["transaction_id"] == "1"

    run(work)


def test_who_comes_back_before_anything_happened_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """He waits for the first thing after the answer that he was given, between two requests too."""
    looked = 0
    answer = SyncServer._answer

    async def spy(self: SyncServer, *args: Any) -> Any:
        nonlocal looked
        looked += 1
        return await answer(self, *args)

    monkeypatch.setattr(SyncServer, "_answer", spy)

    async def work() -> None:
        nonlocal looked
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await bob.sync()
            first = bob.since
            for word in ("one", "two"):
                looked = 0
                waiting = asyncio.create_task(bob.sync(timeout=30_000))
                for _ in range(20):
                    await asyncio.sleep(0)
                assert looked == 0
                await alice.say(room_id, word)
                assert bodies(await asyncio.wait_for(waiting, 5), room_id) == [word]
                assert looked == 1
            # What happens between two requests is told at once, whatever it is.
            await alice.say(room_id, "three")
            assert bodies(await asyncio.wait_for(bob.sync(timeout=30_000), 5), room_id) == ["three"]
            await alice.call("PUT", f"/presence/{q(alice.user_id)}/status", {"presence": "unavailable"})
            assert "presence" in await asyncio.wait_for(bob.sync(timeout=30_000), 5)
            await alice.call("PUT", f"/rooms/{q(room_id)}/typing/{q(alice.user_id)}", {"typing": True, "timeout": 9000})
            told = await asyncio.wait_for(bob.sync(timeout=30_000), 5)
            assert told["rooms"]["join"][room_id]["ephemeral"]["events"][0]["type"] == "m.typing"
            # An answer that was lost is given again; so is one with another filter; who does not wait is looked at.
            last, bob.since = bob.since, first
            assert bodies(await bob.sync(timeout=30_000), room_id) == ["one", "two", "three"]
            bob.since = last
            looked = 0
            assert "rooms" not in await bob.sync(timeout=0)
            assert looked == 1
            # Nothing for a while: looked at once, at its end.
            looked = 0
            assert "rooms" not in await bob.sync(timeout=20)
            assert looked == 1

    run(work)


def bodies(answer: dict[str, Any], room_id: str) -> list[str]:
    return [event["content"]["body"] for event in answer["rooms"]["join"][room_id]["timeline"]["events"]]


def test_old_tokens_still_work_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "t.db"
        async with matrix(store=SqliteStore(path)) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await bob.call("PUT", f"/rooms/{q(room_id)}/typing/{q(bob.user_id)}", {"typing": True, "timeout": 9})
            await bob.sync()
            missed = [await alice.say(room_id, str(n)) for n in range(3)]
        async with matrix(store=SqliteStore(path)) as server:
            again = Client(
                server, {"user_id": bob.user_id, "device_id": bob.device_id, "access_token": bob.token}
            )
            again.since = bob.since
            assert [e["event_id"] for e in await again.timeline(room_id)] == missed
            alice = Client(
                server, {"user_id": alice.user_id, "device_id": alice.device_id, "access_token": alice.token}
            )
            after = await alice.say(room_id, "after", "new")
            assert [e["event_id"] for e in await again.timeline(room_id)] == [after]

    run(work)


def test_joining_and_leaving_change_the_section() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat", name="Tea")
            await alice.say(room_id, "before")
            await bob.sync()
            await bob.join(room_id)
            chunk = (await bob.sync())["rooms"]["join"][room_id]
            assert {e["type"] for e in chunk["state"]["events"]} | {
                e["type"] for e in chunk["timeline"]["events"]
            } >= {"m.room.create", "m.room.name", "m.room.member", "m.room.power_levels"}
            assert "before" in [e["content"].get("body") for e in chunk["timeline"]["events"]]
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            await alice.say(room_id, "after")
            answer = await bob.sync()
            assert "join" not in answer["rooms"]
            events = answer["rooms"]["leave"][room_id]["timeline"]["events"]
            assert [e["content"].get("membership") for e in events] == ["leave"]
            assert "rooms" not in await bob.sync()
            bob.since = None
            assert "rooms" not in await bob.sync()
            bob.since = None
            answer = await bob.sync(filter='{"room":{"include_leave":true}}')
            assert room_id in answer["rooms"]["leave"]

    run(work)


def test_a_renamed_member_is_not_told_the_whole_state_again() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            await alice.sync()
            await alice.call("PUT", f"/profile/{q(alice.user_id)}/displayname", {"displayname": "A"})
            chunk = (await alice.sync())["rooms"]["join"][room_id]
            assert [e["type"] for e in chunk["timeline"]["events"]] == ["m.room.member"]
            assert chunk["state"]["events"] == []

    run(work)


def test_lazy_members_are_those_who_spoke_and_each_only_once() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            room_id = await alice.create(preset="public_chat", name="so that it has no heroes")
            await bob.join(room_id)
            await carol.join(room_id)
            for n in range(12):
                await bob.say(room_id, str(n))

            def members(answer: dict[str, object]) -> set[str]:
                rooms = answer["rooms"]
                assert isinstance(rooms, dict)
                events = rooms["join"][room_id]["state"]["events"]
                return {e["state_key"] for e in events if e["type"] == "m.room.member"}

            assert members(await carol.sync(filter=LAZY)) == {bob.user_id, carol.user_id}
            await alice.say(room_id, "hi")
            assert members(await carol.sync(filter=LAZY)) == {alice.user_id}
            await alice.say(room_id, "again")
            first = carol.since
            assert members(await carol.sync(filter=LAZY)) == set()
            # The answer got lost: the same token is asked again, and nothing is missing.
            carol.since = first
            assert members(await carol.sync(filter=LAZY)) <= {alice.user_id}
            whole = await carol.sync(filter=LAZY, full_state="true")
            assert carol.user_id in members(whole)

    run(work)


@pytest.mark.parametrize(
    ("definition", "bodies"),
    [
        ({"room": {"timeline": {"types": ["m.room.message"]}}}, ["hello", "bye"]),
        ({"room": {"timeline": {"not_types": ["m.room.*"]}}}, []),
        ({"room": {"timeline": {"senders": ["@bob:example.org"]}}}, ["bye"]),
        ({"room": {"timeline": {"not_senders": ["@bob:example.org"]}}}, ["hello", None]),
        ({"room": {"not_rooms": ["ROOM"]}}, []),
        ({"room": {"rooms": []}}, []),
    ],
)
def test_filters(definition: dict[str, object], bodies: list[str | None]) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await alice.sync()
            await alice.say(room_id, "hello")
            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.topic", {"topic": "t"})
            await bob.say(room_id, "bye")
            text = orjson.dumps(definition).decode().replace("ROOM", room_id)
            events = await alice.timeline(room_id, filter=text)
            assert [e["content"].get("body") for e in events] == bodies

    run(work)


def test_bad_sync_parameters() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            for query in (
                {"since": "x"},
                {"timeout": "soon"},
                {"filter": "{"},
                {"filter": "nothing"},
                {"set_presence": "asleep"},
            ):
                assert await alice.refused("GET", "/sync", **query) == (400, "M_INVALID_PARAM")

    run(work)


def test_typing_receipts_and_read_markers_arrive() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            await bob.join(room_id)
            event_id = await alice.say(room_id, "hello")
            await bob.sync()
            await alice.sync()
            waiting = asyncio.create_task(alice.sync(timeout=10_000))
            await asyncio.sleep(0)
            await bob.call("PUT", f"{room}/typing/{q(bob.user_id)}", {"typing": True, "timeout": 30000})
            chunk = (await waiting)["rooms"]["join"][room_id]
            assert chunk["ephemeral"]["events"] == [
                {"type": "m.typing", "content": {"user_ids": [bob.user_id]}}
            ]
            await bob.call("POST", f"{room}/receipt/m.read/{q(event_id)}", {})
            (receipt,) = (await alice.sync())["rooms"]["join"][room_id]["ephemeral"]["events"]
            assert receipt["content"][event_id]["m.read"][bob.user_id].keys() == {"ts"}
            await bob.sync()
            markers = {"m.fully_read": event_id, "m.read.private": event_id}
            await bob.call("POST", f"{room}/read_markers", markers)
            chunk = (await bob.sync())["rooms"]["join"][room_id]
            assert chunk["account_data"]["events"] == [
                {"type": "m.fully_read", "content": {"event_id": event_id}}
            ]
            assert "m.read.private" in chunk["ephemeral"]["events"][0]["content"][event_id]
            assert "rooms" not in await alice.sync()
            path = f"/user/{q(bob.user_id)}{room}/account_data/m.fully_read"
            assert await bob.call("GET", path) == {"event_id": event_id}
            assert await bob.refused("POST", f"{room}/receipt/m.seen/{q(event_id)}", {}) == (
                400,
                "M_INVALID_PARAM",
            )

    run(work)


def test_presence_of_people_in_the_same_room() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await alice.sync()
            await carol.sync()
            await bob.sync()
            path = f"/presence/{q(bob.user_id)}/status"
            await bob.call("PUT", path, {"presence": "unavailable", "status_msg": "tea"})
            (event,) = [
                e for e in (await alice.sync())["presence"]["events"] if e["sender"] == bob.user_id
            ]
            assert (event["content"]["presence"], event["content"]["status_msg"]) == ("unavailable", "tea")
            assert "presence" not in await carol.sync()
            assert (await alice.call("GET", path))["presence"] == "unavailable"
            assert await carol.refused("GET", path) == (403, "M_FORBIDDEN")
            server.party.clock.now += 120
            server.front.sweep()
            assert (await alice.call("GET", path))["presence"] == "offline"

    run(work)


def test_a_sync_reads_no_room_where_nothing_happened() -> None:
    """Rooms leave memory; a user who is in many of them must not bring them all back at every sync."""

    async def work() -> None:
        store = CountingStore()
        async with matrix(make_config(replace(UNLIMITED, rooms_in_memory=2)), store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            rooms = [await alice.create(preset="public_chat") for _ in range(6)]
            for room_id in rooms:
                await bob.join(room_id)
            await bob.sync()
            await alice.say(rooms[0], "one")
            store.loaded.clear()
            assert list((await bob.sync())["rooms"]["join"]) == [rooms[0]]
            assert "rooms" not in await bob.sync()
            assert set(store.loaded) <= {rooms[0]}

    run(work)


class CountingStore(MemoryStore):
    """Remembers which rooms were read."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[RoomId] = []

    async def load_room(self, room_id: RoomId) -> PutRoom | None:
        self.loaded.append(room_id)
        return await super().load_room(room_id)


def test_ignored_people_are_not_in_it() -> None:
    """spec: "Ignoring Users": no events that are not state, no invitations; the room's readers share nothing less."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
            room_id = await alice.create(preset="public_chat")
            for one in (bob, eve):
                await one.join(room_id)
            before = {one: (await one.sync())["next_batch"] for one in (alice, bob)}
            path = f"/user/{q(alice.user_id)}/account_data/m.ignored_user_list"
            await alice.call("PUT", path, {"ignored_users": {eve.user_id: {}}})
            said = await eve.say(room_id, "pest")
            room = f"/rooms/{q(room_id)}"
            await eve.call("PUT", f"{room}/typing/{q(eve.user_id)}", {"typing": True, "timeout": 10_000})
            await eve.call("POST", f"{room}/receipt/m.read/{q(said)}", {})
            await bob.say(room_id, "peace")
            den = await eve.create(invite=[alice.user_id, bob.user_id])
            hers = await alice.sync(since=before[alice])
            his = await bob.sync(since=before[bob])

            def bodies(answer: dict[str, object]) -> list[str]:
                events = answer["rooms"]["join"][room_id]["timeline"]["events"]  # type: ignore[index]
                return [e["content"]["body"] for e in events]

            assert (bodies(hers), bodies(his)) == (["peace"], ["pest", "peace"])
            assert den in his["rooms"]["invite"]
            assert den not in hers["rooms"].get("invite", {})
            told = orjson.dumps(hers["rooms"]["join"][room_id]["ephemeral"])
            assert eve.user_id.encode() not in told
            assert eve.user_id.encode() in orjson.dumps(his["rooms"]["join"][room_id]["ephemeral"])
            # From the beginning too, and her state is there.
            alice.since = None
            whole = (await alice.sync(filter='{"room":{"timeline":{"limit":50}}}'))["rooms"]["join"][room_id]
            assert "pest" not in str(whole)
            members = [e["state_key"] for e in whole["timeline"]["events"] if e["type"] == "m.room.member"]
            assert eve.user_id in members

    run(work)


def test_events_as_they_go_between_servers() -> None:
    """spec: Filter event_format: "federation will return the raw event as received over federation" """

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create(name="Tea")
            event_id = await alice.say(room_id, "hello", "txn")
            wanted = orjson.dumps({"event_format": "federation", "room": {"timeline": {"limit": 1}}}).decode()
            chunk = (await alice.sync(filter=wanted))["rooms"]["join"][room_id]
            (raw,) = chunk["timeline"]["events"]
            room = await server.party.middle.loaded.get(RoomId(room_id))
            item = room.recent[-1]
            unsigned = raw.pop("unsigned")
            assert unsigned["transaction_id"] == "txn" and raw.pop("event_id") == event_id
            assert raw == {key: value for key, value in item.event.pdu.items() if key != "unsigned"}
            assert raw["signatures"]["example.org"] and raw["prev_events"] and raw["hashes"]["sha256"]
            (name,) = [e for e in chunk["state"]["events"] if e["type"] == "m.room.name"]
            assert name["auth_events"] and name["depth"] and name["event_id"]
            # Whoever asks for nothing of that gets events as ever.
            alice.since = None
            plain = (await alice.sync())["rooms"]["join"][room_id]["timeline"]["events"][-1]
            assert "signatures" not in plain and plain["event_id"] == event_id

    run(work)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (["content.body"], {"content": {"body": "hello"}}),
        (["type", "content"], {"type": "org.example.note", "content": {"body": "hello", "m.x": {"a.b": 1, "c": 2}}}),
        (["content.m\\.x.a\\.b", "content.m\\.x"], {"content": {"m.x": {"a.b": 1, "c": 2}}}),
        (["content", "content.body"], {"content": {"body": "hello", "m.x": {"a.b": 1, "c": 2}}}),
        (["content.m.x", "content.body.length", "nothing"], {}),
        ([], {}),
    ],
)
def test_some_fields_of_events_alone(fields: list[str], told: dict[str, object]) -> None:
    """spec: Filter event_fields; appendices "Dot-separated property paths" """

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            content = {"body": "hello", "m.x": {"a.b": 1, "c": 2}}
            await alice.call("PUT", f"/rooms/{q(room_id)}/send/org.example.note/1", content)
            wanted = orjson.dumps({"event_fields": fields}).decode()
            chunk = (await alice.sync(filter=wanted))["rooms"]["join"][room_id]
            assert chunk["timeline"]["events"][-1] == told

    run(work)
