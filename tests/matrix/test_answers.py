"""The answers of single endpoints where the specification names a status, an errcode or a shape of its own."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, matrix, q
from tests.support.middle import run
from tripoint.core.ids import ServerName
from tripoint.matrix.openid import OpenIdEndpoints
from tripoint.rooms.commands import CreateRoom, Template
from tripoint.store.memory import MemoryStore


@pytest.mark.parametrize("number", ["²", "x", "-1", "9" * 5000, "1.5"])
def test_numbers_that_are_none(number: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            assert await alice.refused("GET", "/sync", timeout=number) == (400, "M_INVALID_PARAM")
            assert await alice.refused("GET", "/publicRooms", limit=number) == (400, "M_INVALID_PARAM")
            assert await alice.refused("GET", "/publicRooms", since=number) == (400, "M_INVALID_PARAM")
            messages = f"/rooms/{q(room_id)}/messages"
            assert await alice.refused("GET", messages, dir="b", limit=number) == (400, "M_INVALID_PARAM")

    run(work)


def test_head_is_get() -> None:
    """spec: RFC9110 9.3.2"""

    async def work() -> None:
        async with matrix() as server:
            answers = [await server.request(method, "/_matrix/client/versions") for method in ("GET", "HEAD")]
            assert [(a.status, a.headers) for a in answers] == [(200, answers[0].headers)] * 2

    run(work)


def test_names_of_rooms() -> None:
    """spec: PUT /directory/room: 409; PUT /state, m.room.canonical_alias: M_BAD_ALIAS, M_INVALID_PARAM."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            tea = await alice.create(room_alias_name="tea")
            other = await alice.create()
            taken = await alice.refused("PUT", f"/directory/room/{q('#tea:example.org')}", {"room_id": other})
            assert taken == (409, "M_UNKNOWN")
            path = f"/rooms/{q(other)}/state/m.room.canonical_alias"
            assert await alice.refused("PUT", path, {"alias": "#tea:example.org"}) == (400, "M_BAD_ALIAS")
            assert await alice.refused("PUT", path, {"alias": "tea"}) == (400, "M_INVALID_PARAM")
            # Nor can a room begin with the name of another one.
            stolen = [{"type": "m.room.canonical_alias", "content": {"alias": "#tea:example.org"}}]
            assert await alice.refused("POST", "/createRoom", {"initial_state": stolen}) == (400, "M_BAD_ALIAS")
            mine = [{"type": "m.room.canonical_alias", "content": {"alias": "#mine:example.org", "x": 1}}]
            await alice.create(room_alias_name="mine", initial_state=mine)
            assert (await alice.call("GET", f"/directory/room/{q('#tea:example.org')}"))["room_id"] == tea

    run(work)


def test_a_forgotten_room_is_closed_and_leaving_twice_is_no_mistake() -> None:
    """spec: POST /forget: "the user will no longer be able to retrieve history for this room"."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            await bob.join(room_id)
            event_id = await alice.say(room_id, "hello")
            assert await bob.refused("POST", f"{room}/forget", {}) == (400, "M_UNKNOWN")
            await bob.call("POST", f"{room}/leave", {})
            await bob.call("POST", f"{room}/leave", {})
            assert await eve.refused("POST", f"{room}/leave", {}) == (403, "M_FORBIDDEN")
            for path in (f"{room}/messages", f"{room}/state", f"{room}/members", f"{room}/context/{q(event_id)}"):
                await bob.call("GET", path, dir="b")
            await bob.call("POST", f"{room}/forget", {})
            nowhere = f"/rooms/{q('!nowhere:example.org')}"
            for path in ("/messages?dir=b", "/state", "/members", "/joined_members", f"/context/{q(event_id)}"):
                path, _, query = path.partition("?")
                more = {"dir": "b"} if query else {}
                assert await bob.refused("GET", f"{room}{path}", **more) == (403, "M_FORBIDDEN")
                assert await bob.refused("GET", f"{nowhere}{path}", **more) == (403, "M_FORBIDDEN")
            assert await bob.refused("GET", f"{room}/event/{q(event_id)}") == (404, "M_NOT_FOUND")
            # Back in the room, it is his history again.
            await bob.join(room_id)
            assert (await bob.call("GET", f"{room}/event/{q(event_id)}"))["content"]["body"] == "hello"

    run(work)


def test_what_is_around_an_event() -> None:
    """spec: GET /context: limits, filters, the state at the last event returned."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            await bob.join(room_id)
            ids = [await (alice, bob)[n % 2].say(room_id, str(n)) for n in range(10)]
            await alice.call("PUT", f"{room}/state/m.room.topic", {"topic": "later"})

            async def around(**query: str) -> tuple[list[str], list[str], dict[str, object]]:
                answer = await alice.call("GET", f"{room}/context/{q(ids[4])}", **query)
                assert answer["event"]["event_id"] == ids[4]
                sides = [[e["event_id"] for e in answer[side]] for side in ("events_before", "events_after")]
                return sides[0], sides[1], answer

            before, after, answer = await around(limit="5")
            assert (before, after) == ([ids[3], ids[2], ids[1]], ids[5:7])
            assert "m.room.topic" not in {e["type"] for e in answer["state"]}
            page = await alice.call("GET", f"{room}/messages", dir="b", limit="1", **{"from": answer["start"]})
            assert [e["event_id"] for e in page["chunk"]] == [ids[0]]
            page = await alice.call("GET", f"{room}/messages", dir="f", limit="2", **{"from": answer["end"]})
            assert [e["event_id"] for e in page["chunk"]] == ids[7:9]
            assert (await around(limit="0"))[:2] == ([], [])
            assert (await around(limit="1"))[:2] == ([ids[3]], [])
            bobs = '{"senders":["@bob:example.org"],"types":["m.room.message"]}'
            assert (await around(limit="4", filter=bobs))[:2] == ([ids[3], ids[1]], [ids[5], ids[7]])
            lazy = (await around(limit="0", filter='{"lazy_load_members":true}'))[2]
            assert {e["state_key"] for e in lazy["state"] if e["type"] == "m.room.member"} == {alice.user_id}

    run(work)


def test_a_failed_stage_may_be_tried_again() -> None:
    """spec: "User-Interactive Authentication API": 401 with the flows again."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            user = {"type": "m.id.user", "user": "alice"}
            body = {"auth": {"type": "m.login.password", "identifier": user, "password": "wrong"}}
            path = f"/_matrix/client/v3/devices/{q(alice.device_id)}"
            answer = await server.request("DELETE", path, body, token=alice.token)
            told = orjson.loads(answer.body)
            assert (answer.status, told["errcode"]) == (401, "M_FORBIDDEN")
            assert told["flows"] == [{"stages": ["m.login.password"]}]
            body["auth"] |= {"session": told["session"], "password": PASSWORD}
            assert (await server.request("DELETE", path, body, token=alice.token)).status == 200

    run(work)


def test_a_session_goes_on_until_its_stage_is_passed() -> None:
    """spec: "User-Interactive Authentication API": `session` is passed back "in subsequent attempts to authenticate in
    the same API call"; what was no attempt is no error."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            path = "/_matrix/client/v3/account/password"
            body: dict[str, Any] = {"new_password": "another horse", "logout_devices": False}

            async def ask() -> tuple[int, dict[str, Any]]:
                answer = await server.request("POST", path, body, token=alice.token)
                return answer.status, orjson.loads(answer.body)

            status, first = await ask()
            assert (status, "errcode" in first, "error" in first) == (401, False, False)
            user = {"type": "m.id.user", "user": "alice"}
            auth = {"type": "m.login.password", "identifier": user, "session": first["session"]}
            for wrong in ({**auth, "password": "wrong"}, {**auth, "type": "m.login.dummy"}):
                body["auth"] = wrong
                status, told = await ask()
                assert (status, told["errcode"], told["session"]) == (401, "M_FORBIDDEN", first["session"])
                assert told["flows"] == first["flows"]
            body["auth"] = {**auth, "password": PASSWORD}
            assert (await ask())[0] == 200
            # It is used.
            body["auth"] = {**auth, "password": "another horse"}
            assert (await ask())[0] == 400

    run(work)


def test_receipts_of_several_threads_on_one_event() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            await bob.join(room_id)
            event_id = await alice.say(room_id, "root")
            await alice.sync()
            path = f"{room}/receipt/m.read/{q(event_id)}"
            for body in ({}, {"thread_id": "main"}, {"thread_id": event_id}):
                await bob.call("POST", path, body)
            events = (await alice.sync())["rooms"]["join"][room_id]["ephemeral"]["events"]
            data = [event["content"][event_id]["m.read"][bob.user_id].get("thread_id") for event in events]
            assert data == [None, "main", event_id]
            read = f"{room}/receipt/m.fully_read/{q(event_id)}"
            assert await bob.refused("POST", read, {"thread_id": "main"}) == (400, "M_INVALID_PARAM")
            for thread in ("", 5):
                assert await bob.refused("POST", path, {"thread_id": thread}) == (400, "M_INVALID_PARAM")

    run(work)


def test_receipts_are_of_the_thread_that_their_event_is_in() -> None:
    """spec: POST /receipt: 400 where "The event_id is not related to the thread_id"; roots, and what is related to them
    otherwise, are in the main timeline"""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            await bob.join(room_id)

            async def said(txn: str, rel_type: str, event_id: str) -> str:
                about = {"rel_type": rel_type, "event_id": event_id}
                content = {"body": "x", "msgtype": "m.text", "m.relates_to": about}
                sent = await alice.call("PUT", f"{room}/send/m.room.message/{txn}", content)
                return str(sent["event_id"])

            root, other = await alice.say(room_id, "root"), await alice.say(room_id, "other")
            inside = await said("t", "m.thread", root)
            about_root, about_inside = await said("a", "m.reference", root), await said("b", "m.reference", inside)
            taken = {
                root: {"main", root},
                other: {"main", other},
                inside: {root, inside},
                about_root: {"main", root, about_root},
                about_inside: {root, inside, about_inside},
            }
            for event_id, threads in taken.items():
                path = f"{room}/receipt/m.read/{q(event_id)}"
                for thread in ("main", *taken, "$nothing"):
                    if thread in threads:
                        await bob.call("POST", path, {"thread_id": thread})
                    else:
                        assert await bob.refused("POST", path, {"thread_id": thread}) == (400, "M_INVALID_PARAM")
                await bob.call("POST", path, {})
            # What is redacted does not say any more where it was.
            await alice.call("PUT", f"{room}/redact/{q(inside)}/r", {})
            await bob.call("POST", f"{room}/receipt/m.read/{q(inside)}", {"thread_id": root})

    run(work)


def test_presence_of_who_was_not_there_since_the_start() -> None:
    """spec: GET /presence/{userId}/status: 403 is for those whose presence one may not see"""

    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            await bob.join(await alice.create(preset="public_chat"))
        async with matrix(store=store) as server:
            alice.server = server
            status = f"/presence/{q(bob.user_id)}/status"
            assert await alice.call("GET", status) == {"presence": "offline"}
            assert await alice.refused("GET", f"/presence/{q(carol.user_id)}/status") == (403, "M_FORBIDDEN")

    run(work)


def test_events_say_what_their_reader_was_in_the_room_then() -> None:
    """spec: UnsignedData membership: "including any changes caused by the event"; `leave` before there was any"""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            ids = [await alice.say(room_id, "before")]
            await alice.call("POST", f"{room}/invite", {"user_id": bob.user_id})
            ids.append(await alice.say(room_id, "invited"))
            await bob.join(room_id)
            ids.append(await alice.say(room_id, "there"))
            told = {event["event_id"]: event for event in await bob.timeline(room_id)}
            assert [told[one]["unsigned"]["membership"] for one in ids] == ["leave", "invite", "join"]
            own = [e["unsigned"]["membership"] for e in told.values() if e.get("state_key") == bob.user_id]
            assert own == ["invite", "join"]
            await bob.call("POST", f"{room}/leave", {})
            left = (await bob.sync())["rooms"]["leave"][room_id]["timeline"]["events"]
            assert [event["unsigned"]["membership"] for event in left] == ["leave"]
            ids.append(await alice.say(room_id, "gone"))
            await bob.join(room_id)
            await bob.call("PUT", f"/profile/{q(bob.user_id)}/displayname", {"displayname": "Bobby"})
            ids.append(await alice.say(room_id, "back"))
            then = dict(zip(ids, ("leave", "invite", "join", "leave", "join"), strict=True))
            page = await bob.call("GET", f"{room}/messages", dir="b", limit="50")
            found = {event["event_id"]: event["unsigned"]["membership"] for event in page["chunk"]}
            assert {one: found[one] for one in ids} == then
            for one in ids:
                event = await bob.call("GET", f"{room}/event/{q(one)}")
                around = await bob.call("GET", f"{room}/context/{q(one)}", limit="2")
                assert event["unsigned"]["membership"] == around["event"]["unsigned"]["membership"] == then[one]
            # What one hears at once is what one was there for.
            await bob.sync()
            await alice.say(room_id, "now")
            assert [event["unsigned"] for event in await bob.timeline(room_id)] == [{"membership": "join"}]

    run(work)


def test_calls_say_how_old_they_are() -> None:
    """spec: module voip-events: a client knows by `age` whether an invite is still valid"""

    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await carol.join(room_id)
            await bob.sync()
            await carol.sync()
            invite = {"call_id": "1", "version": "1", "lifetime": 60_000, "party_id": "p", "offer": {}}
            await alice.call("PUT", f"/rooms/{q(room_id)}/send/m.call.invite/1", invite)
            await alice.say(room_id, "hello?")
            server.party.clock.now += 5
            told = await bob.timeline(room_id)
            assert [event.get("unsigned", {}).get("age") for event in told] == [5000, None]
            # Who asks later, from the same token, hears another age.
            server.party.clock.now += 55
            told = await carol.timeline(room_id)
            assert [event.get("unsigned", {}).get("age") for event in told] == [60_000, None]
            page = await carol.call("GET", f"/rooms/{q(room_id)}/messages", dir="b", limit="2")
            assert page["chunk"][1]["unsigned"]["age"] == 60_000

    run(work)


def test_a_departure_tells_nothing_twice() -> None:
    """spec: GET /sync, Left room: `state`: "The state updates for the room up to the start of the timeline"."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            await bob.sync()
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            left = (await bob.sync())["rooms"]["leave"][room_id]
            assert left["state"]["events"] == []
            assert [event["content"]["membership"] for event in left["timeline"]["events"]] == ["leave"]

    run(work)


def test_filters_name_rooms_and_senders_in_each_part() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            one, two = [await alice.create(preset="public_chat") for _ in range(2)]
            for room_id in (one, two):
                await bob.join(room_id)
            await alice.sync()
            for room_id in (one, two):
                await bob.say(room_id, "hello")
                await bob.call("PUT", f"/rooms/{q(room_id)}/typing/{q(bob.user_id)}", {"typing": True, "timeout": 9000})
            wanted = {
                "room": {"timeline": {"not_rooms": [one]}, "ephemeral": {"rooms": [one]}},
                "presence": {"not_senders": [bob.user_id]},
            }
            await bob.sync()
            answer = await alice.sync(filter=orjson.dumps(wanted).decode())
            told = {
                room_id: (len(chunk["timeline"]["events"]), len(chunk["ephemeral"]["events"]))
                for room_id, chunk in answer["rooms"]["join"].items()
            }
            assert told == {one: (0, 1), two: (1, 0)}
            assert bob.user_id not in {e["sender"] for e in answer.get("presence", {}).get("events", [])}
            user = f"/user/{q(alice.user_id)}/filter"
            assert await alice.refused("POST", user, {"x": "y" * 20_000}) == (413, "M_TOO_LARGE")
            assert await alice.refused("POST", user, {"event_format": "matrix"}) == (400, "M_INVALID_PARAM")
            assert await alice.refused("POST", user, {"event_fields": ["a"] * 101}) == (400, "M_INVALID_PARAM")
            assert await alice.refused("POST", user, {"event_fields": "content"}) == (400, "M_BAD_JSON")

    run(work)


def test_left_rooms_have_the_state_that_the_departed_saw() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat", name="Tea")
            room = f"/rooms/{q(room_id)}"
            await bob.join(room_id)
            await bob.sync()
            await alice.call("PUT", f"{room}/state/m.room.topic", {"topic": "seen"})
            for n in range(12):
                await alice.say(room_id, str(n))
            await bob.call("POST", f"{room}/leave", {})
            await alice.call("PUT", f"{room}/state/m.room.name", {"name": "Coffee"})
            since = bob.since
            chunk = (await bob.sync())["rooms"]["leave"][room_id]
            assert chunk["timeline"]["limited"] and chunk["timeline"]["events"][-1]["sender"] == bob.user_id
            assert {e["type"]: e["content"]["topic"] for e in chunk["state"]["events"] if "topic" in e["content"]} == {
                "m.room.topic": "seen"
            }
            assert "m.room.name" not in {e["type"] for e in chunk["state"]["events"]}
            again = Client(server, {"user_id": bob.user_id, "device_id": bob.device_id, "access_token": bob.token})
            chunk = (await again.sync(filter='{"room":{"include_leave":true}}'))["rooms"]["leave"][room_id]
            names = [e["content"]["name"] for e in chunk["state"]["events"] if e["type"] == "m.room.name"]
            assert names == ["Tea"]
            again.since = since
            chunk = (await again.sync(use_state_after="true"))["rooms"]["leave"][room_id]
            changed = {(e["type"], e["state_key"]) for e in chunk["state_after"]["events"]}
            assert changed == {("m.room.topic", ""), ("m.room.member", bob.user_id)}
            # Banned later: that is told, and not the rest again.
            await alice.call("POST", f"{room}/ban", {"user_id": bob.user_id})
            chunk = (await bob.sync())["rooms"]["leave"][room_id]
            assert [e["content"]["membership"] for e in chunk["timeline"]["events"]] == ["ban"]
            assert chunk["state"]["events"] == []

    run(work)


def test_profiles_take_what_the_specification_lets_them_hold() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            profile = f"/profile/{q(alice.user_id)}"
            path = f"{profile}/avatar_url"
            for value, errcode in ((None, "M_BAD_JSON"), (5, "M_BAD_JSON"), ("http://x/y", "M_INVALID_PARAM")):
                assert await alice.refused("PUT", path, {"avatar_url": value}) == (400, errcode)
            await alice.call("PUT", path, {"avatar_url": "mxc://example.org/abc"})
            await alice.call("PUT", path, {"avatar_url": ""})
            assert await alice.call("GET", profile) == {"displayname": "alice"}
            await alice.call("PUT", f"{profile}/m.tz", {"m.tz": "Europe/Berlin"})
            pronouns = [{"language": "en", "summary": "they/them"}]
            await alice.call("PUT", f"{profile}/org.example.pronouns", {"org.example.pronouns": pronouns})
            whole = {"displayname": "alice", "m.tz": "Europe/Berlin", "org.example.pronouns": pronouns}
            assert await alice.call("GET", profile) == whole
            assert await alice.call("GET", f"{profile}/org.example.pronouns") == {"org.example.pronouns": pronouns}
            for key, value, error in (
                ("m.tz", 1, "M_BAD_JSON"),
                ("org.example.none", None, "M_BAD_JSON"),
                ("Org.Example", "x", "M_INVALID_PARAM"),
                ("a" * 256, "x", "M_KEY_TOO_LARGE"),
                ("org.example.long", "x" * 60_001, "M_PROFILE_TOO_LARGE"),
            ):
                assert await alice.refused("PUT", f"{profile}/{key}", {key: value}) == (400, error)
            await alice.call("PUT", f"{profile}/org.example.long", {"org.example.long": "x" * 59_000})
            more = {"org.example.more": "x" * 2000}
            assert await alice.refused("PUT", f"{profile}/org.example.more", more) == (400, "M_PROFILE_TOO_LARGE")
            for key in ("org.example.long", "org.example.pronouns", "m.tz", "org.example.never"):
                await alice.call("DELETE", f"{profile}/{key}")
            assert await alice.call("GET", profile) == {"displayname": "alice"}
            can = (await alice.call("GET", "/capabilities"))["capabilities"]["m.profile_fields"]
            assert can == {"enabled": True}
            data = f"/user/{q(alice.user_id)}/rooms/nowhere/account_data/x"
            assert await alice.refused("PUT", data, {}) == (400, "M_INVALID_PARAM")
            assert await alice.refused("GET", data) == (400, "M_INVALID_PARAM")

    run(work)


def test_a_room_that_ends_or_is_forgotten_is_told_as_left() -> None:
    """docs/mapping.md 4.8: a temporary room ends with its last member, whose other devices still show it."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            p = server.party
            guest = (await p.middle.accounts.create_guest("visitor", address="127.0.0.1")).user_id
            made = await p.do(CreateRoom(actor=guest, template=Template.TEMPORARY, alias_localpart="brief"))
            brief, kept = str(made.room_id), await alice.create()
            await alice.join(brief)
            await p.middle.accounts.end_guest(guest)
            await alice.sync()
            waiting = asyncio.create_task(alice.sync(timeout=10_000))
            await asyncio.sleep(0)
            await alice.call("POST", f"/rooms/{q(brief)}/leave", {})
            await alice.call("POST", f"/rooms/{q(kept)}/leave", {})
            await alice.call("POST", f"/rooms/{q(kept)}/forget", {})
            left = (await waiting)["rooms"]["leave"] | (await alice.sync()).get("rooms", {}).get("leave", {})
            assert set(left) == {brief, kept}
            assert left[brief]["timeline"]["events"][-1]["content"] == {"membership": "leave"}
            assert "rooms" not in await alice.sync()

    run(work)


def test_the_event_nearest_to_a_time() -> None:
    """spec: getEventByTimestamp"""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            said = []
            for _ in range(3):
                server.party.clock.now += 100
                said.append((await alice.say(room_id, "words"), server.party.clock.ms()))
            path = f"/_matrix/client/v1/rooms/{q(room_id)}/timestamp_to_event"

            async def near(who: Client, ts: int, way: str) -> tuple[int, str | None]:
                parameters = {"ts": str(ts), "dir": way}
                answer = await server.request("GET", path, token=who.token, parameters=parameters)
                return answer.status, orjson.loads(answer.body).get("event_id")

            middle = said[1][1]
            assert await near(alice, middle, "b") == await near(alice, middle, "f") == (200, said[1][0])
            assert await near(alice, middle - 1, "f") == (200, said[1][0])
            assert await near(alice, middle - 1, "b") == (200, said[0][0])
            assert await near(alice, said[2][1] + 1, "f") == (404, None)
            assert await near(alice, 0, "b") == (404, None)
            assert (await near(bob, middle, "b"))[0] == 404
            assert (await near(alice, 5, "x"))[0] == 400

    run(work)


def test_who_somebody_is_for_another_service() -> None:
    """spec: client-server and server-server "OpenID\""""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            path = f"/user/{q(alice.user_id)}/openid/request_token"
            token = await alice.call("POST", path, {})
            assert (token["matrix_server_name"], token["token_type"]) == ("example.org", "Bearer")
            other = f"/user/{q('@bob:example.org')}/openid/request_token"
            assert await alice.refused("POST", other, {}) == (403, "M_FORBIDDEN")
            # It opens nothing else.
            assert (await server.request("GET", "/_matrix/client/v3/sync", token=token["access_token"])).status == 401
            userinfo = "/_matrix/federation/v1/openid/userinfo"
            endpoints = OpenIdEndpoints(ServerName("example.org"), server.party.middle.accounts, bytes(32), lambda: 0)
            assert endpoints._owner(token["access_token"]) == alice.user_id
            flipped = ("A" if token["access_token"][0] != "A" else "B") + token["access_token"][1:]
            for given, status in ((token["access_token"], 200), (flipped, 401), ("ü", 401), ("A", 401), ("", 400)):
                assert (await server.request("GET", userinfo, parameters={"access_token": given})).status == status
            server.party.clock.now += token["expires_in"]
            late = await server.request("GET", userinfo, parameters={"access_token": token["access_token"]})
            assert late.status == 401

    run(work)
