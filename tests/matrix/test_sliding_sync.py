"""Sliding sync as clients see it. spec: MSC4186, and as deployed (the earlier text); MSC3885, 3884, 3959, 3960, 3961"""

import asyncio
from pathlib import Path
from typing import Any

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.crypto import Device
from tests.matrix.sliding import EVERYTHING, Sliding, bodies, one_list
from tests.support.middle import run
from tripoint.store.sqlite import SqliteStore

TOPIC = ["m.room.topic", ""]


async def two(server: Server) -> tuple[Client, Client, str]:
    """Alice, Bob, and a public room with both."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create(preset="public_chat", name="Kitchen")
    await bob.join(room_id)
    return alice, bob, room_id


def test_a_room_is_told_in_full_and_then_what_is_new() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            await alice.say(room_id, "one")
            await alice.say(room_id, "two")
            phone = Sliding(bob, one_list(state=[TOPIC], limit=1))
            answer = await phone.sync()
            assert answer["lists"] == {"all": {"count": 1}}
            room = answer["rooms"][room_id]
            assert room["initial"] is True
            assert (room["name"], room["joined_count"], room["invited_count"]) == ("Kitchen", 2, 0)
            assert (bodies(room), room["limited"], room["num_live"]) == (["two"], True, 0)
            assert "heroes" not in room and "is_dm" not in room and "required_state" not in room
            page = await bob.call("GET", f"/rooms/{q(room_id)}/messages", dir="b", **{"from": room["prev_batch"]})
            assert page["chunk"][0]["content"]["body"] == "one"

            assert (await phone.sync())["rooms"] == {}

            await alice.say(room_id, "three")
            room = (await phone.sync())["rooms"][room_id]
            assert "initial" not in room and "name" not in room and "joined_count" not in room
            assert (bodies(room), room["limited"], room["num_live"]) == (["three"], False, 1)

            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.topic", {"topic": "tea"})
            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.name", {"name": "Parlour"})
            room = (await phone.sync())["rooms"][room_id]
            assert room["name"] == "Parlour"
            assert [event["content"] for event in room["required_state"]] == [{"topic": "tea"}]
            assert (room["limited"], room["num_live"]) == (True, 1)

            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.name", {"name": ""})
            room = (await phone.sync())["rooms"][room_id]
            assert room["name"] is None
            assert room["heroes"] == [{"user_id": alice.user_id, "displayname": "alice"}]

    run(work)


def test_rooms_come_by_their_activity_and_a_window_shows_some_of_them() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            rooms = [await alice.create(name=str(number)) for number in range(4)]
            await alice.say(rooms[0], "first again")
            phone = Sliding(alice, one_list(last=1))
            answer = await phone.sync()
            assert answer["lists"] == {"all": {"count": 4}}
            assert set(answer["rooms"]) == {rooms[0], rooms[3]}
            # Outside of the window nothing is told, until the room comes into it.
            await alice.call("PUT", f"/rooms/{q(rooms[1])}/state/m.room.topic", {"topic": "here"})
            room = (await phone.sync())["rooms"]
            assert set(room) == {rooms[1]}
            assert (room[rooms[1]]["initial"], room[rooms[1]]["num_live"]) == (True, 1)
            phone.body = one_list(last=99)
            assert set((await phone.sync())["rooms"]) == {rooms[2]}

    run(work)


def test_bump_stamps_move_with_what_is_said_and_not_with_what_is_done() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            other = await alice.create()
            await alice.say(room_id, "hello")
            phone = Sliding(alice, one_list())
            rooms = (await phone.sync())["rooms"]
            assert rooms[room_id]["bump_stamp"] > rooms[other]["bump_stamp"]
            await bob.call("PUT", f"/profile/{q(bob.user_id)}/displayname", {"displayname": "Bob"})
            assert (await phone.sync())["rooms"][room_id]["bump_stamp"] == rooms[room_id]["bump_stamp"]
            await bob.say(room_id, "yes")
            assert (await phone.sync())["rooms"][room_id]["bump_stamp"] > rooms[room_id]["bump_stamp"]

    run(work)


def test_more_history_is_told_when_it_is_wanted() -> None:
    """spec: "Changes to `timeline_limit`": the example with A, B, C and D"""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            for text in "AB":
                await alice.say(room_id, text)
            phone = Sliding(alice, one_list(limit=1))
            assert bodies((await phone.sync())["rooms"][room_id]) == ["B"]
            for text in "CD":
                await alice.say(room_id, text)
                assert bodies((await phone.sync())["rooms"][room_id]) == [text]
            phone.body = one_list(limit=3)
            assert (await phone.sync())["rooms"] == {}
            phone.body = one_list(limit=4)
            room = (await phone.sync())["rooms"][room_id]
            assert room["unstable_expanded_timeline"] is True
            assert (bodies(room), room["num_live"], room["limited"]) == (["A", "B", "C", "D"], 0, True)
            assert "initial" not in room and "name" not in room
            # The server remembers that it has told them.
            phone.body = one_list(limit=1)
            assert (await phone.sync())["rooms"] == {}
            phone.body = one_list(limit=4)
            assert (await phone.sync())["rooms"] == {}

    run(work)


def test_more_state_is_told_at_once_when_it_is_wanted() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create(topic="tea")
            phone = Sliding(alice, one_list(state=[["m.room.create", ""]], limit=1))
            await phone.sync()
            phone.body = one_list(state=[["m.room.create", ""], TOPIC], limit=1)
            room = (await phone.sync())["rooms"][room_id]
            assert [event["type"] for event in room["required_state"]] == ["m.room.topic"]
            assert "initial" not in room and "timeline" not in room
            assert (await phone.sync())["rooms"] == {}

    run(work)


def test_a_subscription_is_combined_with_the_lists() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            others = [await bob.create() for _ in range(2)]
            secret = await alice.create()
            for text in "ab":
                await bob.say(room_id, text)
            await bob.say(others[0], "new")
            subscription = {"timeline_limit": 2, "required_state": [["m.room.name", ""]]}
            wanted = {room_id: subscription, secret: subscription, "!no:where": subscription, "nonsense": subscription}
            phone = Sliding(bob, one_list(limit=1, last=0, room_subscriptions=wanted))
            rooms = (await phone.sync())["rooms"]
            assert set(rooms) == {room_id, others[0]}
            assert bodies(rooms[room_id]) == ["a", "b"]
            assert [event["type"] for event in rooms[room_id]["required_state"]] == ["m.room.name"]

    run(work)


def test_members_are_told_when_they_are_needed() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            carol = await server.register("carol")
            await carol.join(room_id)
            await alice.say(room_id, "hello")
            phone = Sliding(bob, one_list(state=[*EVERYTHING, ["m.room.member", "$LAZY"]], limit=1))
            room = (await phone.sync())["rooms"][room_id]
            assert _members(room) == {alice.user_id}
            assert any(event["type"] == "m.room.create" for event in room["required_state"])
            await alice.say(room_id, "again")
            assert "required_state" not in (await phone.sync())["rooms"][room_id]
            await carol.say(room_id, "me too")
            assert _members((await phone.sync())["rooms"][room_id]) == {carol.user_id}
            # Whoever's membership changes is told without being needed.
            await carol.call("POST", f"/rooms/{q(room_id)}/leave", {})
            assert _members((await phone.sync())["rooms"][room_id]) == {carol.user_id}

    run(work)


def _members(room: dict[str, Any]) -> set[str]:
    return {event["state_key"] for event in room["required_state"] if event["type"] == "m.room.member"}


def test_invitations_knocks_and_departures() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(name="Kitchen", topic="tea")
            phone = Sliding(bob, one_list(state=EVERYTHING))
            new = Sliding(
                bob,
                {"conn_id": "new", "lists": {"l": {"timeline_limit": 9, "required_state": {"include": [{}]}}}},
                stable=True,
            )
            assert (await phone.sync())["rooms"] == (await new.sync())["rooms"] == {}
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", {"user_id": bob.user_id})
            room = (await phone.sync())["rooms"][room_id]
            assert set(room) == {"initial", "bump_stamp", "invite_state"}
            assert {"m.room.name", "m.room.member"} <= {event["type"] for event in room["invite_state"]}
            invited = (await new.sync())["rooms"][room_id]
            assert invited["stripped_state"] == room["invite_state"]
            assert (invited["membership"], invited["lists"]) == ("invite", ["l"])

            await bob.join(room_id)
            await alice.say(room_id, "welcome")
            room = (await phone.sync())["rooms"][room_id]
            assert (room["initial"], bodies(room), room["name"]) == (True, ["welcome"], "Kitchen")
            assert (await new.sync())["rooms"][room_id]["membership"] == "join"

            await alice.call("POST", f"/rooms/{q(room_id)}/kick", {"user_id": bob.user_id, "reason": "out"})
            await alice.say(room_id, "he is gone")
            room = (await phone.sync())["rooms"][room_id]
            assert "initial" not in room and not bodies(room)
            assert room["timeline"][-1]["content"] == {"membership": "leave", "reason": "out"}
            assert [event["content"]["membership"] for event in room["required_state"]] == ["leave"]
            room = (await new.sync())["rooms"][room_id]
            assert (room["membership"], room["timeline"][-1]["content"]["membership"]) == ("leave", "leave")
            assert (await phone.sync())["rooms"] == (await new.sync())["rooms"] == {}
            # One who is put out hears of it on a new connection; one who left himself does not.
            assert room_id in (await Sliding(bob, one_list()).sync())["rooms"]
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", {"user_id": bob.user_id})
            await bob.join(room_id)
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            fresh = await Sliding(bob, one_list()).sync()
            assert (fresh["rooms"], fresh["lists"]) == ({}, {"all": {"count": 0}})
            # But he may ask for it by name.
            asked = {"room_subscriptions": {room_id: {"timeline_limit": 3, "required_state": [TOPIC]}}}
            room = (await Sliding(bob, asked).sync())["rooms"][room_id]
            assert room["timeline"][-1]["content"] == {"membership": "leave"}
            assert [event["content"]["topic"] for event in room["required_state"]] == ["tea"]

    run(work)


def test_somebody_who_was_never_inside_sees_nothing_of_a_room() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(name="Kitchen", topic="secret")
            phone = Sliding(bob, one_list(state=EVERYTHING))
            await phone.sync()
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", {"user_id": bob.user_id})
            assert set((await phone.sync())["rooms"]) == {room_id}
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            room = (await phone.sync())["rooms"][room_id]
            assert set(room) == {"initial", "bump_stamp", "required_state"}
            assert [event["state_key"] for event in room["required_state"]] == [bob.user_id]
            await alice.call("POST", f"/rooms/{q(room_id)}/ban", {"user_id": bob.user_id})
            assert (await Sliding(bob, one_list()).sync())["rooms"] == {}
            asked = {"room_subscriptions": {room_id: {"timeline_limit": 3, "required_state": EVERYTHING}}}
            assert (await Sliding(bob, asked).sync())["rooms"] == {}

    run(work)


def test_who_comes_back_is_told_the_room_anew() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            phone = Sliding(bob, one_list(state=[TOPIC]))
            await phone.sync()
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.topic", {"topic": "meanwhile"})
            await bob.join(room_id)
            room = (await phone.sync())["rooms"][room_id]
            assert room["initial"] is True
            assert [event["content"] for event in room["required_state"]] == [{"topic": "meanwhile"}]

    run(work)


def test_a_room_that_ended_is_told_of() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            phone = Sliding(alice, one_list())
            await phone.sync()
            await alice.call("POST", f"/rooms/{q(room_id)}/leave", {})
            await alice.call("POST", f"/rooms/{q(room_id)}/forget", {})
            answer = await phone.sync()
            assert answer["rooms"][room_id]["required_state"][0]["content"] == {"membership": "leave"}
            assert answer["lists"]["all"]["count"] == 0
            assert (await phone.sync())["rooms"] == {}

    run(work)


def test_lists_are_filtered() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            plain = await alice.create(name="Plain")
            direct = await alice.create()
            encrypted = await alice.create(
                initial_state=[
                    {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
                ]
            )
            space = await alice.create(creation_content={"type": "m.space"})
            me = q(alice.user_id)
            await alice.call("PUT", f"/user/{me}/account_data/m.direct", {"@bob:x": [direct]})
            await alice.call("PUT", f"/user/{me}/rooms/{q(plain)}/account_data/m.tag", {"tags": {"u.a": {}}})
            await alice.call("PUT", f"/rooms/{q(space)}/state/m.space.child/{q(encrypted)}", {"via": ["x"]})
            for filters, rooms in (
                ({"is_dm": True}, {direct}),
                ({"is_encrypted": True}, {encrypted}),
                ({"room_types": ["m.space"]}, {space}),
                ({"not_room_types": ["m.space"], "is_dm": False}, {plain, encrypted}),
                ({"spaces": [space, "!other:x"]}, {encrypted}),
                ({"room_name_like": "LAI"}, {plain}),
                ({"tags": ["u.a"]}, {plain}),
                ({"not_tags": ["u.a"]}, {direct, encrypted, space}),
                ({"is_invite": True}, set()),
            ):
                answer = await Sliding(alice, one_list(filters=filters)).sync()
                assert set(answer["rooms"]) == rooms, filters
                assert answer["lists"]["all"]["count"] == len(rooms)
            # What makes a room pass may change.
            phone = Sliding(alice, one_list(filters={"is_dm": True}))
            assert (await phone.sync())["rooms"][direct]["is_dm"] is True
            await alice.call("PUT", f"/user/{me}/account_data/m.direct", {"@bob:x": [plain]})
            assert set((await phone.sync())["rooms"]) == {plain}
            phone.body = one_list()
            assert (await phone.sync())["rooms"][direct]["is_dm"] is False

    run(work)


def test_an_answer_that_was_lost_is_made_again() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, _, room_id = await two(server)
            phone = Sliding(alice, one_list(limit=3))
            await phone.sync()
            await alice.say(room_id, "one")
            _, lost = await phone.ask(phone.pos)
            assert bodies(lost["rooms"][room_id]) == ["one"]
            await alice.say(room_id, "two")
            before = phone.pos
            assert bodies((await phone.sync())["rooms"][room_id]) == ["one", "two"]
            assert await phone.refused(lost["pos"]) == (400, "M_UNKNOWN_POS")
            assert (await phone.sync())["rooms"] == {}
            assert await phone.refused(before) == (400, "M_UNKNOWN_POS")

    run(work)


def test_a_pos_is_of_no_use_to_others() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, _ = await two(server)
            phone, thief = Sliding(alice, one_list()), Sliding(bob, one_list())
            await phone.sync()
            await thief.sync()
            assert await thief.refused(phone.pos) == (400, "M_UNKNOWN_POS")
            assert await phone.refused("garbage") == (400, "M_UNKNOWN_POS")
            other = Sliding(alice, one_list(conn_id="other"))
            assert await other.refused(phone.pos) == (400, "M_UNKNOWN_POS")
            # A connection that begins anew takes the place of the one with its name.
            await Sliding(alice, one_list()).sync()
            assert await phone.refused() == (400, "M_UNKNOWN_POS")

    run(work)


def test_after_a_restart_a_client_begins_anew(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
            alice, _, room_id = await two(server)
            phone, other = Sliding(alice, one_list()), Sliding(alice, one_list(conn_id="other"))
            await phone.sync()
            await other.sync()
        async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
            alice.server = server
            fresh = Sliding(alice, one_list())
            assert set((await fresh.sync())["rooms"]) == {room_id}
            assert await phone.refused() == await other.refused() == (400, "M_UNKNOWN_POS")
            assert (await fresh.sync())["rooms"] == {}

    run(work)


def test_it_waits_for_news_of_the_rooms_that_are_wanted() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            phone = Sliding(bob, one_list())
            await phone.sync(timeout=60_000)  # the first never waits
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not waiting.done()
            await alice.say(room_id, "news")
            assert bodies((await waiting)["rooms"][room_id]) == ["news"]
            # Nothing happens: it answers when the time is over, and has a new pos.
            before = phone.pos
            answer = await phone.sync(timeout=20)
            assert answer["rooms"] == {} and answer["pos"] != before
            # News that concern nobody here do not end the wait.
            phone.body = one_list(filters={"is_invite": True})
            await phone.sync()
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            await alice.say(room_id, "not wanted")
            for _ in range(20):
                await asyncio.sleep(0)
            assert not waiting.done()
            server.front.drain()
            assert (await waiting)["rooms"] == {}

    run(work)


def test_a_device_that_is_logged_out_hears_no_more() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, _, _ = await two(server)
            phone = Sliding(alice, one_list())
            await phone.sync()
            waiting = asyncio.create_task(phone.ask(phone.pos, timeout=60_000))
            for _ in range(20):
                await asyncio.sleep(0)
            await alice.call("POST", "/logout", {})
            status, answer = await waiting
            assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")

    run(work)


def test_what_a_client_asks_for_has_to_make_sense() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            for body, errcode in (
                ({"lists": {"l": {}}}, "M_BAD_JSON"),
                (one_list(state=[["*", "*"], ["a", "*"]]), "M_INVALID_PARAM"),
                ({"extensions": {"to_device": {"enabled": True, "since": "s1"}}}, "M_INVALID_PARAM"),
                ({"lists": {"l": {"ranges": [[0, 1]] * 101, **_LIST}}}, "M_INVALID_PARAM"),
            ):
                assert await Sliding(alice, body).refused("") == (400, errcode)
            assert (await Sliding(alice, {}).sync())["lists"] == {}

    run(work)


_LIST: dict[str, Any] = {"timeline_limit": 1, "required_state": []}


# -- extensions


def test_account_data() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id, other = await alice.create(), await alice.create()
            me = q(alice.user_id)
            event_id = await alice.say(room_id, "hi")
            await alice.call("PUT", f"/user/{me}/account_data/org.example", {"n": 1})
            for room in (room_id, other):
                await alice.call("PUT", f"/user/{me}/rooms/{q(room)}/account_data/org.example", {"n": 2})
            phone = Sliding(alice, one_list(last=0, extensions={"account_data": {"enabled": True}}))
            data = (await phone.sync())["extensions"]["account_data"]
            assert {event["type"] for event in data["global"]} == {"org.example", "m.push_rules"}
            assert data["rooms"] == {room_id: [{"type": "org.example", "content": {"n": 2}}]}
            assert (await phone.sync())["extensions"] == {}
            await alice.call("PUT", f"/user/{me}/account_data/org.example", {"n": 3})
            await alice.call("POST", f"/rooms/{q(room_id)}/read_markers", {"m.fully_read": event_id})
            data = (await phone.sync())["extensions"]["account_data"]
            assert data["global"] == [{"type": "org.example", "content": {"n": 3}}]
            assert data["rooms"] == {room_id: [{"type": "m.fully_read", "content": {"event_id": event_id}}]}
            # Of a room that comes into the window all is told; of one that was out of it what came meanwhile.
            phone.body = one_list(filters={"is_dm": True}, extensions={"account_data": {"enabled": True}})
            await alice.call("PUT", f"/user/{me}/rooms/{q(room_id)}/account_data/org.example", {"n": 4})
            assert (await phone.sync())["extensions"] == {}
            phone.body = one_list(extensions={"account_data": {"enabled": True}})
            data = (await phone.sync())["extensions"]["account_data"]
            assert data["global"] == []
            assert {"type": "org.example", "content": {"n": 4}} in data["rooms"][room_id]
            assert data["rooms"][other] == [{"type": "org.example", "content": {"n": 2}}]

    run(work)


def test_typing_and_receipts() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            old = await alice.say(room_id, "old")
            new = await alice.say(room_id, "new")
            receipt = f"/rooms/{q(room_id)}/receipt"
            carol = await server.register("carol")
            await carol.join(room_id)
            await carol.call("POST", f"{receipt}/m.read/{q(old)}", {})
            await bob.call("POST", f"{receipt}/m.read.private/{q(old)}", {})
            newest = await alice.say(room_id, "newest")
            await carol.call("PUT", f"/rooms/{q(room_id)}/typing/{q(carol.user_id)}", {"typing": True})
            on = {"typing": {"enabled": True}, "receipts": {"enabled": True}}
            phone = Sliding(bob, one_list(limit=1, extensions=on))
            extensions = (await phone.sync())["extensions"]
            assert extensions["typing"]["rooms"][room_id] == {
                "type": "m.typing",
                "content": {"user_ids": [carol.user_id]},
            }
            # Of the others' only those for what is shown; his own in any case.
            shown = extensions["receipts"]["rooms"][room_id]
            assert shown["type"] == "m.receipt"
            assert {event_id: set(kinds) for event_id, kinds in shown["content"].items()} == {old: {"m.read.private"}}
            assert (await phone.sync())["extensions"] == {}
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            await alice.call("POST", f"{receipt}/m.read/{q(newest)}", {})
            content = (await waiting)["extensions"]["receipts"]["rooms"][room_id]["content"]
            assert set(content[newest]["m.read"]) == {alice.user_id}
            await carol.call("PUT", f"/rooms/{q(room_id)}/typing/{q(carol.user_id)}", {"typing": False})
            typing = (await phone.sync())["extensions"]["typing"]["rooms"]
            assert typing[room_id]["content"] == {"user_ids": []}
            # Private receipts are for nobody else.
            others = (await Sliding(alice, one_list(extensions=on)).sync())["extensions"]["receipts"]["rooms"]
            assert all("m.read.private" not in kinds for kinds in others[room_id]["content"].values())
            assert new != newest

    run(work)


def test_extensions_speak_of_the_rooms_in_their_scope() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            rooms = [await alice.create() for _ in range(3)]
            me = q(alice.user_id)
            for room_id in rooms:
                await alice.call("PUT", f"/rooms/{q(room_id)}/typing/{me}", {"typing": True})
            for scope, there in (
                ({}, {rooms[2], rooms[1], rooms[0]}),
                ({"lists": []}, {rooms[0]}),
                ({"rooms": []}, {rooms[2], rooms[1]}),
                ({"lists": ["two"], "rooms": []}, {rooms[1]}),
                ({"lists": ["no such list"], "rooms": [rooms[0], "!no:where"]}, {rooms[0]}),
                ({"lists": ["*"], "rooms": ["*"]}, {rooms[2], rooms[1], rooms[0]}),
            ):
                body = {
                    "lists": {"one": {**_LIST, "ranges": [[0, 0]]}, "two": {**_LIST, "ranges": [[1, 1]]}},
                    "room_subscriptions": {rooms[0]: _LIST},
                    "extensions": {"typing": {"enabled": True, **scope}},
                }
                extensions = (await Sliding(alice, body).sync())["extensions"]
                assert set(extensions["typing"]["rooms"]) == there, scope
            # What goes on in a room is not for those who are outside of it.
            bob = await server.register("bob")
            await alice.call("POST", f"/rooms/{q(rooms[0])}/invite", {"user_id": bob.user_id})
            answer = await Sliding(bob, one_list(extensions={"typing": {"enabled": True}})).sync()
            assert (set(answer["rooms"]), answer["extensions"]) == ({rooms[0]}, {})

    run(work)


def test_messages_to_a_device_have_a_token_of_their_own() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, _ = await two(server)

            async def send(number: int) -> None:
                messages = {bob.user_id: {bob.device_id: {"n": number}}}
                await alice.call("PUT", f"/sendToDevice/org.example/{number}", {"messages": messages})

            for number in range(3):
                await send(number)
            wanted: dict[str, Any] = {"enabled": True, "limit": 2}
            phone = Sliding(bob, {"extensions": {"to_device": wanted}})
            first = (await phone.sync())["extensions"]["to_device"]
            assert [event["content"]["n"] for event in first["events"]] == [0, 1]
            # Not acknowledged: the same again, on another connection too.
            again = (await phone.sync())["extensions"]["to_device"]
            assert again == first
            wanted["since"] = first["next_batch"]
            second = (await phone.sync())["extensions"]["to_device"]
            assert [event["content"]["n"] for event in second["events"]] == [2]
            # What was acknowledged is gone for good.
            wanted["since"] = "0"
            assert [e["content"]["n"] for e in (await phone.sync())["extensions"]["to_device"]["events"]] == [2]
            wanted["since"] = second["next_batch"]
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not waiting.done()
            await send(3)
            assert [e["content"]["n"] for e in (await waiting)["extensions"]["to_device"]["events"]] == [3]

    run(work)


def test_keys_are_told_in_full_and_then_what_changed() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, _ = await two(server)
            phone = Sliding(bob, {"extensions": {"e2ee": {"enabled": True}}})
            assert (await phone.sync())["extensions"]["e2ee"] == {
                "device_one_time_keys_count": {},
                "device_unused_fallback_key_types": [],
            }
            assert (await phone.sync())["extensions"] == {}
            await Device(alice).upload()
            said = (await phone.sync())["extensions"]["e2ee"]
            assert said == {"device_lists": {"changed": [alice.user_id], "left": []}}
            assert (await phone.sync())["extensions"] == {}
            await Device(bob).upload("A", "B", fallback="F")
            said = (await phone.sync())["extensions"]["e2ee"]
            assert said["device_one_time_keys_count"] == {"signed_curve25519": 2}
            assert said["device_unused_fallback_key_types"] == ["signed_curve25519"]
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            assert await Device(alice).claim(bob.user_id, bob.device_id) is not None
            said = (await waiting)["extensions"]["e2ee"]
            assert said == {"device_one_time_keys_count": {"signed_curve25519": 1}}

    run(work)


def test_unread_counts_move_with_messages_and_with_reading() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            phone, new = Sliding(bob, one_list(limit=1)), Sliding(bob, {"conn_id": "v4"}, stable=True)
            new.body["lists"] = {"l": {"timeline_limit": 1, "required_state": {}}}
            assert _counts((await phone.sync())["rooms"][room_id]) == (0, 0)
            await alice.say(room_id, "hello")
            event_id = await alice.call(
                "PUT",
                f"/rooms/{q(room_id)}/send/m.room.message/m1",
                {"msgtype": "m.text", "body": "you!", "m.mentions": {"user_ids": [bob.user_id]}},
            )
            assert _counts((await phone.sync())["rooms"][room_id]) == (2, 1)
            assert "notification_count" not in (await new.sync())["rooms"][room_id]
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            await bob.call("POST", f"/rooms/{q(room_id)}/receipt/m.read/{q(event_id['event_id'])}", {})
            assert (await waiting)["rooms"] == {room_id: {"notification_count": 0, "highlight_count": 0}}
            # What somebody else has read changes nothing here.
            await alice.call("POST", f"/rooms/{q(room_id)}/receipt/m.read/{q(event_id['event_id'])}", {})
            assert (await phone.sync())["rooms"] == (await new.sync())["rooms"] == {}

    run(work)


def _counts(room: dict[str, Any]) -> tuple[int, int]:
    return room["notification_count"], room["highlight_count"]


def test_a_client_sees_its_own_transaction_ids() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            phone, other = Sliding(alice, one_list(limit=1)), Sliding(bob, one_list(limit=1))
            await alice.say(room_id, "mine", "txn-7")
            event = (await phone.sync())["rooms"][room_id]["timeline"][0]
            assert event["unsigned"] == {"transaction_id": "txn-7", "membership": "join"}
            (event,) = (await other.sync())["rooms"][room_id]["timeline"]
            assert event["unsigned"] == {"membership": "join"}

    run(work)


def test_those_who_are_blocked_are_not_heard() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room_id = await two(server)
            phone = Sliding(alice, one_list(limit=20))
            await phone.sync()
            me = q(alice.user_id)
            ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
            await alice.call("PUT", f"/user/{me}/account_data/m.ignored_user_list", ignored)
            await bob.say(room_id, "psst")
            await alice.say(room_id, "quiet here")
            assert bodies((await phone.sync())["rooms"][room_id]) == ["quiet here"]

    run(work)
