"""Rooms over the client-server API: making, entering, speaking, reading, naming.

spec: Matrix client-server "Rooms", "Events", "Listing rooms", "Redactions"
"""

import asyncio

import pytest

from tests.matrix.client import matrix, q
from tests.support.middle import run


def test_a_room_is_made_named_found_and_entered() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(
                preset="public_chat", room_alias_name="Tea", name="Tea", topic="hot", visibility="public"
            )
            found = await bob.call("GET", f"/directory/room/{q('#TEA:example.org')}")
            assert found == {"room_id": room_id, "servers": ["example.org"]}
            listed = await bob.call("GET", "/publicRooms")
            assert listed["total_room_count_estimate"] == 1
            assert listed["chunk"][0]["canonical_alias"] == "#tea:example.org"
            assert (listed["chunk"][0]["name"], listed["chunk"][0]["num_joined_members"]) == ("Tea", 1)
            search = {"filter": {"generic_search_term": "HOT"}}
            assert len((await bob.call("POST", "/publicRooms", search))["chunk"]) == 1
            search = {"filter": {"generic_search_term": "coffee"}}
            assert (await bob.call("POST", "/publicRooms", search))["chunk"] == []
            await bob.join("#tea:example.org")
            assert (await bob.call("GET", "/joined_rooms"))["joined_rooms"] == [room_id]
            joined = await bob.call("GET", f"/rooms/{q(room_id)}/joined_members")
            assert joined["joined"] == {
                alice.user_id: {"display_name": "alice"},
                bob.user_id: {"display_name": "bob"},
            }
            assert (await alice.call("GET", f"/rooms/{q(room_id)}/aliases"))["aliases"] == ["#tea:example.org"]

    run(work)


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"room_alias_name": "tea"}, 400, "M_ROOM_IN_USE"),
        ({"room_version": "99"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"preset": "secret"}, 400, "M_INVALID_PARAM"),
        ({"visibility": "some"}, 400, "M_INVALID_PARAM"),
        ({"invite": "bob"}, 400, "M_BAD_JSON"),
        ({"invite": ["bob"]}, 400, "M_INVALID_PARAM"),
        ({"invite": ["@nobody:example.org"]}, 404, "M_NOT_FOUND"),
        ({"initial_state": [{"type": "m.room.topic"}]}, 400, "M_BAD_JSON"),
        ({"power_level_content_override": {"users": {"@alice:example.org": "much"}}}, 400, "M_INVALID_ROOM_STATE"),
    ],
)
def test_rooms_that_cannot_be_made(body: dict[str, object], status: int, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            await alice.create(room_alias_name="tea")
            assert await alice.refused("POST", "/createRoom", body) == (status, errcode)
            assert len((await alice.call("GET", "/joined_rooms"))["joined_rooms"]) == 1

    run(work)


def test_membership_over_http() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="private_chat")
            room = f"/rooms/{q(room_id)}"
            assert await bob.refused("POST", f"{room}/join", {}) == (403, "M_FORBIDDEN")
            assert await bob.refused("POST", f"{room}/invite", {"user_id": alice.user_id}) == (403, "M_FORBIDDEN")
            await alice.call("POST", f"{room}/invite", {"user_id": bob.user_id, "reason": "come"})
            answer = await bob.sync()
            state = answer["rooms"]["invite"][room_id]["invite_state"]["events"]
            mine = next(e for e in state if e["type"] == "m.room.member" and e["state_key"] == bob.user_id)
            assert mine["content"] == {"membership": "invite", "displayname": "bob", "reason": "come"}
            assert {"m.room.create", "m.room.join_rules"} <= {e["type"] for e in state}
            # spec: "Stripped state"
            assert all(e.keys() == {"type", "sender", "state_key", "content"} for e in state)
            await bob.call("POST", f"{room}/join", {})
            await alice.call("POST", f"{room}/kick", {"user_id": bob.user_id, "reason": "out"})
            answer = await bob.sync()
            last = answer["rooms"]["leave"][room_id]["timeline"]["events"][-1]
            assert (last["sender"], last["content"]["membership"]) == (alice.user_id, "leave")
            await alice.call("POST", f"{room}/ban", {"user_id": bob.user_id})
            assert await bob.refused("POST", f"/join/{q(room_id)}", {}) == (403, "M_FORBIDDEN")
            await alice.call("POST", f"{room}/unban", {"user_id": bob.user_id})
            await bob.call("POST", f"{room}/forget", {})
            assert await alice.refused("POST", f"{room}/forget", {}) == (400, "M_UNKNOWN")
            await alice.call("POST", f"{room}/leave", {})
            assert (await alice.call("GET", "/joined_rooms"))["joined_rooms"] == []

    run(work)


def test_a_repeated_send_is_the_same_event_also_at_the_same_moment() -> None:
    """spec: "Transaction identifiers"."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            ids = await asyncio.gather(*(alice.say(room_id, "once", "txn") for _ in range(5)))
            assert len(set(ids)) == 1
            assert await alice.say(room_id, "once", "txn") == ids[0]
            await alice.sync()
            chunk = (await alice.call("GET", f"/rooms/{q(room_id)}/messages", dir="b", limit="50"))["chunk"]
            assert [e["content"].get("body") for e in chunk].count("once") == 1
            assert chunk[0]["unsigned"]["transaction_id"] == "txn"

    run(work)


def test_state_is_written_and_read() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            sent = await alice.call("PUT", f"{room}/state/m.room.topic", {"topic": "Kettle on"})
            assert await alice.call("GET", f"{room}/state/m.room.topic/") == {"topic": "Kettle on"}
            event = await alice.call("GET", f"{room}/state/m.room.topic", format="event")
            assert (event["event_id"], event["room_id"], event["state_key"]) == (sent["event_id"], room_id, "")
            await alice.call("PUT", f"{room}/state/org.example.x/a%2Fb", {"n": 1})
            assert await alice.call("GET", f"{room}/state/org.example.x/a%2Fb") == {"n": 1}
            everything = await alice.call("GET", f"{room}/state")
            assert {(e["type"], e["state_key"]) for e in everything} >= {
                ("m.room.create", ""),
                ("m.room.topic", ""),
                ("org.example.x", "a/b"),
            }
            assert await bob.refused("GET", f"{room}/state") == (403, "M_FORBIDDEN")
            assert await alice.refused("GET", f"{room}/state/m.room.nothing") == (404, "M_NOT_FOUND")
            await bob.join(room_id)
            topic = {"topic": "Bob's"}
            assert await bob.refused("PUT", f"{room}/state/m.room.topic", topic) == (403, "M_FORBIDDEN")
            alias = {"alias": "#nowhere:example.org"}
            wrong = await alice.refused("PUT", f"{room}/state/m.room.canonical_alias", alias)
            assert wrong[0] in (400, 404)
            members = await alice.call("GET", f"{room}/members", membership="join")
            assert {e["state_key"] for e in members["chunk"]} == {alice.user_id, bob.user_id}
            members = await alice.call("GET", f"{room}/members", not_membership="join")
            assert members["chunk"] == []
            # As it was at a token.
            page = await alice.call("GET", f"{room}/messages", dir="b", limit="1")
            members = await alice.call("GET", f"{room}/members", at=page["end"])
            assert {e["state_key"] for e in members["chunk"]} == {alice.user_id}
            assert await alice.refused("GET", f"{room}/members", at="x") == (400, "M_INVALID_PARAM")

    run(work)


def test_messages_are_paged_both_ways() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            room = f"/rooms/{q(room_id)}"
            await alice.sync()
            said = [await alice.say(room_id, str(n)) for n in range(25)]
            answer = await alice.sync(filter='{"room":{"timeline":{"limit":5}}}')
            timeline = answer["rooms"]["join"][room_id]["timeline"]
            assert timeline["limited"] is True
            assert [e["event_id"] for e in timeline["events"]] == said[-5:]
            older, token = [], timeline["prev_batch"]
            while token:
                page = await alice.call("GET", f"{room}/messages", dir="b", limit="7", **{"from": token})
                older += [e["event_id"] for e in page["chunk"] if e["type"] == "m.room.message"]
                token = page.get("end")
            assert older == said[:-5][::-1]
            page = await alice.call("GET", f"{room}/messages", dir="f", limit="1000")
            assert [e["event_id"] for e in page["chunk"] if e["type"] == "m.room.message"] == said
            context = await alice.call("GET", f"{room}/context/{q(said[10])}", limit="4")
            assert [e["event_id"] for e in context["events_before"]] == [said[9], said[8]]
            assert [e["event_id"] for e in context["events_after"]] == [said[11], said[12]]
            page = await alice.call("GET", f"{room}/messages", dir="b", limit="2", **{"from": context["start"]})
            assert [e["event_id"] for e in page["chunk"]] == [said[7], said[6]]
            for query in ({"dir": "x"}, {"limit": "-1"}, {"from": "t1"}, {"from": "s1"}):
                assert await alice.refused("GET", f"{room}/messages", **query) == (400, "M_INVALID_PARAM")

    run(work)


def test_a_redacted_event_says_why() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            event_id = await alice.say(room_id, "oops")
            await alice.sync()
            path = f"/rooms/{q(room_id)}/redact/{q(event_id)}/r1"
            redaction = (await alice.call("PUT", path, {"reason": "typo"}))["event_id"]
            assert (await alice.call("PUT", path, {"reason": "typo"}))["event_id"] == redaction
            event = await alice.call("GET", f"/rooms/{q(room_id)}/event/{q(event_id)}")
            assert event["content"] == {}
            assert event["unsigned"]["redacted_because"]["event_id"] == redaction
            (told,) = await alice.timeline(room_id)
            assert (told["type"], told["redacts"], told["content"]["redacts"]) == (
                "m.room.redaction",
                event_id,
                event_id,
            )

    run(work)


def test_json_that_is_too_deep_is_refused() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            deep: object = {}
            for _ in range(120):
                deep = {"a": deep}
            path = f"/user/{q(alice.user_id)}/account_data/org.example.deep"
            assert await alice.refused("PUT", path, deep) == (400, "M_BAD_JSON")
            wide = {"a": [[] for _ in range(500)]}
            await alice.call("PUT", path, wide)

    run(work)


@pytest.mark.parametrize("version", ["1", "2"])
def test_rooms_of_the_first_versions(version: str) -> None:
    """Their events carry ids with a server name; for clients they are events like others."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(room_version=version, preset="public_chat", name="Old", topic="and dry")
            await bob.join(room_id)
            said = await bob.say(room_id, "hello")
            assert said.startswith("$") and said.endswith(":example.org")
            found = await alice.call("GET", f"/rooms/{q(room_id)}/event/{q(said)}")
            assert (found["content"], found["event_id"]) == ({"msgtype": "m.text", "body": "hello"}, said)
            create = await alice.call("GET", f"/rooms/{q(room_id)}/state/m.room.create")
            assert create == {"creator": alice.user_id, "room_version": version}
            # Everybody may redact what their own server's users said (rooms/v1 rule 11); here, their own.
            done = await bob.call("PUT", f"/rooms/{q(room_id)}/redact/{q(said)}/2", {"reason": "typo"})
            assert done["event_id"].endswith(":example.org")
            assert (await alice.call("GET", f"/rooms/{q(room_id)}/event/{q(said)}"))["content"] == {}
            page = await alice.call("GET", f"/rooms/{q(room_id)}/messages", dir="b", limit="50")
            assert [e["event_id"] for e in page["chunk"]][:2] == [done["event_id"], said]

    run(work)
