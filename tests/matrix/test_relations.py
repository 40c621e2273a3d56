"""What is about other events: the relations of one, what goes with it, threads, and what is refused.

spec: Matrix client-server "Relationships between events", modules threading, event-replacements, event-annotations,
reference-relations
"""

from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, matrix, q
from tests.support.middle import run


async def ask(client: Client, path: str, *, status: int = 200, **query: str) -> Any:
    response = await client.server.request("GET", f"/_matrix/client/v1{path}", token=client.token, **query)
    assert response.status == status, (response.status, response.body)
    return orjson.loads(response.body)


async def send(client: Client, room: str, content: dict[str, Any], type_: str = "m.room.message") -> str:
    client._txn += 1
    path = f"/rooms/{q(room)}/send/{type_}/t{client._txn}"
    return str((await client.call("PUT", path, content))["event_id"])


def about(event_id: str, rel_type: str, **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id, **more}}


async def reply(client: Client, room: str, root: str, body: str) -> str:
    return await send(client, room, {"msgtype": "m.text", "body": body, **about(root, "m.thread")})


async def edit(client: Client, room: str, original: str, body: str) -> str:
    content = {
        "msgtype": "m.text",
        "body": f"* {body}",
        "m.new_content": {"msgtype": "m.text", "body": body},
        **about(original, "m.replace"),
    }
    return await send(client, room, content)


async def react(client: Client, room: str, event_id: str, key: str) -> str:
    return await send(client, room, about(event_id, "m.annotation", key=key), "m.reaction")


async def bundle(client: Client, room: str, event_id: str) -> Any:
    event = await client.call("GET", f"/rooms/{q(room)}/event/{q(event_id)}")
    return event.get("unsigned", {}).get("m.relations")


async def pair(server: Any) -> tuple[Client, Client, str]:
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create(preset="public_chat")
    await bob.join(room)
    return alice, bob, room


def test_relations_of_an_event() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            one = await reply(bob, room, root, "yes")
            heart = await react(bob, room, root, "heart")
            two = await reply(alice, room, root, "soon")
            path = f"/rooms/{q(room)}/relations/{q(root)}"
            assert [e["event_id"] for e in (await ask(alice, path))["chunk"]] == [two, heart, one]
            assert [e["event_id"] for e in (await ask(alice, path, dir="f"))["chunk"]] == [one, heart, two]
            assert [e["event_id"] for e in (await ask(alice, f"{path}/m.thread"))["chunk"]] == [two, one]
            found = await ask(alice, f"{path}/m.annotation/m.reaction")
            assert [e["event_id"] for e in found["chunk"]] == [heart] and "next_batch" not in found
            assert (await ask(alice, f"{path}/m.annotation/m.room.message"))["chunk"] == []
            # Page by page, both ways.
            for direction, wanted in (("b", [two, heart, one]), ("f", [one, heart, two])):
                got: list[str] = []
                token: str | None = None
                for _ in range(5):
                    more = {} if token is None else {"from": token}
                    page = await ask(alice, path, dir=direction, limit="1", **more)
                    got += [e["event_id"] for e in page["chunk"]]
                    token = page.get("next_batch")
                    if token is None:
                        break
                assert got == wanted
            # What is taken back is about nothing any more.
            await bob.call("PUT", f"/rooms/{q(room)}/redact/{q(heart)}/r1", {})
            assert [e["event_id"] for e in (await ask(alice, path))["chunk"]] == [two, one]
            for query in ({"dir": "x"}, {"from": "x"}, {"limit": "0"}, {"recurse": "yes"}):
                assert (await ask(alice, path, status=400, **query))["errcode"] == "M_INVALID_PARAM"
            unknown = await ask(alice, f"/rooms/{q(room)}/relations/{q('$nothing')}", status=404)
            assert unknown["errcode"] == "M_NOT_FOUND"
            carol = await server.register("carol")
            assert (await ask(carol, path, status=403))["errcode"] == "M_FORBIDDEN"

    run(work)


def test_relations_of_relations() -> None:
    """spec: recurse: what is about what is about the event too."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            one = await reply(bob, room, root, "yse")
            mended = await edit(bob, room, one, "yes")
            heart = await react(alice, room, one, "heart")
            path = f"/rooms/{q(room)}/relations/{q(root)}"
            assert [e["event_id"] for e in (await ask(alice, path))["chunk"]] == [one]
            found = await ask(alice, path, recurse="true")
            assert [e["event_id"] for e in found["chunk"]] == [heart, mended, one]
            assert found["recursion_depth"] >= 3
            found = await ask(alice, f"{path}/m.replace", recurse="true")
            assert [e["event_id"] for e in found["chunk"]] == [mended]

    run(work)


def test_what_goes_with_an_event() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tee?")
            assert await bundle(alice, room, root) is None
            await edit(alice, room, root, "teaa?")
            server.party.clock.now += 1
            last = await edit(alice, room, root, "tea?")
            await edit(bob, room, root, "beer?")  # nobody edits what others say
            await react(bob, room, root, "heart")  # not aggregated
            found = await bundle(bob, room, root)
            assert [*found] == ["m.replace"] and found["m.replace"]["event_id"] == last
            assert found["m.replace"]["content"]["m.new_content"]["body"] == "tea?"
            # The original stays as it was.
            event = await bob.call("GET", f"/rooms/{q(room)}/event/{q(root)}")
            assert event["content"]["body"] == "tee?"
            await reply(alice, room, root, "soon")
            newest = await reply(alice, room, root, "nwo")
            fixed = await edit(alice, room, newest, "now")
            thread = (await bundle(bob, room, root))["m.thread"]
            assert (thread["count"], thread["current_user_participated"]) == (2, False)
            assert thread["latest_event"]["event_id"] == newest
            assert thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == fixed
            assert (await bundle(alice, room, root))["m.thread"]["current_user_participated"] is True
            await reply(bob, room, root, "me too")
            assert (await bundle(bob, room, root))["m.thread"]["current_user_participated"] is True
            pointing = await send(bob, room, {"msgtype": "m.text", "body": "see", **about(root, "m.reference")})
            assert (await bundle(bob, room, root))["m.reference"] == {"chunk": [{"event_id": pointing}]}
            # Everywhere the same.
            messages = await bob.call("GET", f"/rooms/{q(room)}/messages", dir="b", limit="50")
            of_page = next(e for e in messages["chunk"] if e["event_id"] == root)["unsigned"]["m.relations"]
            context = await bob.call("GET", f"/rooms/{q(room)}/context/{q(root)}")
            assert of_page == context["event"]["unsigned"]["m.relations"] == await bundle(bob, room, root)
            term = {"search_categories": {"room_events": {"search_term": "tee"}}}
            result = (await bob.call("POST", "/search", term))["search_categories"]["room_events"]["results"][0]
            assert result["result"]["unsigned"]["m.relations"] == of_page
            # Taken back: an edit of it goes with it no more, a thread does.
            await alice.call("PUT", f"/rooms/{q(room)}/redact/{q(root)}/r1", {})
            assert {*(await bundle(bob, room, root))} == {"m.thread", "m.reference"}

    run(work)


def test_sync_has_them_where_it_leaves_out_earlier_events() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            await reply(alice, room, root, "soon")
            whole = {"room": {"timeline": {"limit": 100}}}
            short = {"room": {"timeline": {"limit": 2}}}
            body = await bob.call("GET", "/sync", filter=orjson.dumps(short).decode())
            timeline = body["rooms"]["join"][room]["timeline"]
            assert timeline["limited"] and timeline["events"][0]["event_id"] == root
            assert timeline["events"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 1
            body = await bob.call("GET", "/sync", filter=orjson.dumps(whole).decode())
            timeline = body["rooms"]["join"][room]["timeline"]
            assert not timeline["limited"]
            assert all("m.relations" not in event.get("unsigned", {}) for event in timeline["events"])

    run(work)


def test_threads_of_a_room() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            roots = [await alice.say(room, f"root {number}") for number in range(4)]
            for number in (0, 1, 2, 3, 0):
                await reply(bob if number == 2 else alice, room, roots[number], "x")
            path = f"/rooms/{q(room)}/threads"
            wanted = [roots[0], roots[3], roots[2], roots[1]]
            found = await ask(bob, path)
            assert [e["event_id"] for e in found["chunk"]] == wanted and "next_batch" not in found
            assert found["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 2
            assert [e["event_id"] for e in (await ask(bob, path, include="participated"))["chunk"]] == [roots[2]]
            assert [e["event_id"] for e in (await ask(alice, path, include="participated"))["chunk"]] == wanted
            got: list[str] = []
            token: str | None = None
            for _ in range(6):
                page = await ask(bob, path, limit="1", **({} if token is None else {"from": token}))
                got += [e["event_id"] for e in page["chunk"]]
                token = page.get("next_batch")
                if token is None:
                    break
            assert got == wanted
            assert (await ask(bob, path, status=400, include="some"))["errcode"] == "M_INVALID_PARAM"
            # Of whom one ignores nothing counts; the root of his thread is there, with nothing in it.
            await bob.call(
                "PUT", f"/user/{bob.user_id}/account_data/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}}
            )
            (only,) = (await ask(bob, path))["chunk"]
            assert only["event_id"] == roots[2] and only["content"] == {}

    run(work)


def test_only_what_may_be_seen_counts() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            bob = await server.register("bob")
            content = {"history_visibility": "joined"}
            visibility = {"type": "m.room.history_visibility", "state_key": "", "content": content}
            room = await alice.create(preset="public_chat", initial_state=[visibility])
            await bob.join(room)
            root = await alice.say(room, "tea?")
            seen = await reply(alice, room, root, "seen")
            await bob.call("POST", f"/rooms/{q(room)}/leave", {})
            await reply(alice, room, root, "not seen")
            for _ in range(2):
                thread = (await bundle(bob, room, root))["m.thread"]
                assert (thread["count"], thread["latest_event"]["event_id"]) == (1, seen)
                path = f"/rooms/{q(room)}/relations/{q(root)}"
                assert [e["event_id"] for e in (await ask(bob, path))["chunk"]] == [seen]
                await bob.join(room)  # who is back has not seen it either

    run(work)


@pytest.mark.parametrize("again", [False, True])
def test_what_is_refused(again: bool) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            one = await reply(bob, room, root, "yes")
            content = {"msgtype": "m.text", "body": "nested", **about(one, "m.thread")}
            path = f"/rooms/{q(room)}/send/m.room.message/n1"
            assert await alice.refused("PUT", path, content) == (400, "M_UNKNOWN")
            heart = await react(alice, room, root, "heart")
            await react(alice, room, root, "tea")  # another one
            await react(bob, room, root, "heart")  # another's
            path = f"/rooms/{q(room)}/send/m.reaction/n2"
            twice = await alice.refused("PUT", path, about(root, "m.annotation", key="heart"))
            assert twice == (400, "M_DUPLICATE_ANNOTATION")
            if again:
                await alice.call("PUT", f"/rooms/{q(room)}/redact/{q(heart)}/r1", {})
                await react(alice, room, root, "heart")

    run(work)
