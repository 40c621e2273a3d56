"""Threads in which something is new, in sliding sync and page by page. spec: MSC4360"""

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.sliding import Sliding, one_list
from tests.matrix.test_relations import ask, edit, pair, reply
from tests.support.middle import run

THREADS = "io.element.msc4360.threads"
PAGES = "/_matrix/client/unstable/io.element.msc4360/thread_updates"


def asking(limit: int = 10, **config: Any) -> dict[str, Any]:
    return one_list(limit=limit, extensions={THREADS: {"enabled": True, **config}})


def told(answer: Any) -> Any:
    return answer["extensions"].get(THREADS)


def names(updates: Any) -> set[tuple[str, str]]:
    return {(room, root) for room, threads in updates.items() for root in threads}


async def pages(client: Client, **query: Any) -> list[Any]:
    """All pages of thread updates."""
    found = []
    while True:
        answer = await page(client, **query)
        found.append(answer["chunk"])
        if "next_batch" not in answer:
            return found
        query["from"] = answer["next_batch"]


async def page(client: Client, **query: Any) -> Any:

    response = await client.server.request("GET", PAGES, token=client.token, dir="b", **query)
    assert response.status == 200, response.body
    return orjson.loads(response.body)


def merged(chunks: Iterable[Any]) -> dict[tuple[str, str], Any]:
    """What all pages say, each thread once."""
    found: dict[tuple[str, str], Any] = {}
    for chunk in chunks:
        for name in names(chunk):
            assert name not in found
            found[name] = chunk[name[0]][name[1]]
    return found


async def missed(client: Client, room: str, root: str, token: str) -> list[str]:

    answer = await ask(client, f"/rooms/{q(room)}/relations/{q(root)}/m.thread", dir="b", **{"from": token})
    return [event["event_id"] for event in answer["chunk"]]


def test_what_the_timeline_shows_is_not_told_twice() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            phone = Sliding(bob, asking(limit=2))
            assert told(await phone.sync()) is None
            await reply(alice, room, root, "one")
            assert told(await phone.sync()) is None  # it is in the timeline
            one = await reply(alice, room, root, "two")
            await reply(alice, room, root, "three")
            await reply(alice, room, root, "four")
            update = told(await phone.sync())
            assert names(update["updates"]) == {(room, root)} and "prev_batch" not in update
            thread = update["updates"][room][root]
            assert thread.keys() == {"prev_batch"}
            assert one in await missed(bob, room, root, thread["prev_batch"])
            assert told(await phone.sync()) is None

    run(work)


def test_roots_come_with_what_is_bundled() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            one = await reply(alice, room, root, "one")
            phone = Sliding(bob, asking(include_roots=True))
            thread = told(await phone.sync())["updates"][room][root]
            assert thread["thread_root"]["event_id"] == root and "prev_batch" not in thread
            await edit(alice, room, root, "coffee?")
            two = await reply(alice, room, root, "two")
            await reply(bob, room, root, "three")
            thread = told(await phone.sync())["updates"][room][root]
            relations = thread["thread_root"]["unsigned"]["m.relations"]
            assert relations["m.thread"]["latest_event"]["content"]["body"] == "three"
            assert (relations["m.thread"]["count"], relations["m.thread"]["current_user_participated"]) == (3, True)
            assert relations["m.replace"]["content"]["m.new_content"]["body"] == "coffee?"
            assert (await missed(bob, room, root, thread["prev_batch"])) == [two, one]
            assert thread["thread_root"]["room_id"] == room

    run(work)


def test_rooms_outside_the_lists_count() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            other = await alice.create(preset="public_chat")
            await bob.join(other)
            phone = Sliding(bob, one_list(last=0, extensions={THREADS: {"enabled": True}}))
            await phone.sync()
            assert told(await phone.sync()) is None
            await alice.say(other, "up")
            await phone.sync()
            await reply(alice, room, root, "yes")
            await alice.say(other, "up again")
            assert told(await phone.sync())["updates"] == {room: {root: {}}}

    run(work)


def test_who_waits_is_woken() -> None:

    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            body = {"extensions": {THREADS: {"enabled": True}}}
            phone = Sliding(bob, body)
            await phone.sync()
            waiting = asyncio.create_task(phone.sync(timeout=60_000))
            await asyncio.sleep(0)
            await reply(alice, room, root, "yes")
            assert told(await waiting)["updates"] == {room: {root: {}}}

    run(work)


async def many(server: Server, count: int) -> tuple[Client, Client, list[tuple[str, str]]]:
    """Threads in two rooms, in the order of their newest events, the newest first."""
    alice, bob, room = await pair(server)
    other = await alice.create(preset="public_chat")
    await bob.join(other)
    found = []
    for number in range(count):
        where = (room, other)[number % 2]
        root = await alice.say(where, f"root {number}")
        await reply(alice, where, root, f"answer {number}")
        found.append((where, root))
    return alice, bob, found[::-1]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_have_every_thread_once(size: int) -> None:
    async def work() -> None:
        async with matrix() as server:
            _, bob, threads = await many(server, 7)
            phone = Sliding(bob, asking(limit=0))
            phone.body["extensions"][THREADS]["limit"] = size
            update = told(await phone.sync())
            first = names(update["updates"])
            assert first == set(threads[:size])
            assert ("prev_batch" in update) == (size < len(threads))
            if "prev_batch" not in update:
                return
            chunks = await pages(bob, limit=str(size), **{"from": update["prev_batch"]})
            assert set(merged([update["updates"], *chunks])) == set(threads)
            # Without a token from the newest on; each comes with its root.
            everything = merged(await pages(bob, limit=str(size)))
            assert set(everything) == set(threads)
            assert all(thread["thread_root"]["event_id"] == name[1] for name, thread in everything.items())

    run(work)


def test_what_is_written_between_pages_loses_nothing() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, threads = await many(server, 4)
            phone = Sliding(bob, asking())
            phone.body["extensions"][THREADS]["limit"] = 2
            phone.body["lists"] = {}
            await phone.sync()
            before = phone.pos
            assert before is not None
            for room, root in reversed(threads):
                await reply(alice, room, root, "more")
                await reply(alice, room, root, "and more")
            update = told(await phone.sync())
            assert names(update["updates"]) == set(threads[:2])
            room, root = threads[3]
            last = await reply(alice, room, root, "late")
            chunks = await pages(bob, to=before, limit="1", **{"from": update["prev_batch"]})
            later = merged(chunks)
            assert set(later) == set(threads[2:])
            assert last not in await missed(bob, room, root, later[room, root]["prev_batch"])
            assert names(told(await phone.sync())["updates"]) == {(room, root)}

    run(work)


def test_what_one_may_not_see_is_no_news() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await alice.say(room, "tea?")
            eve = await server.register("eve")
            await eve.join(room)
            await bob.call(
                "PUT",
                f"/user/{q(bob.user_id)}/account_data/m.ignored_user_list",
                {"ignored_users": {eve.user_id: {}}},
            )
            await reply(eve, room, root, "spam")
            hers = await eve.say(room, "my thread")
            await reply(alice, room, hers, "no")
            phone = Sliding(bob, asking(include_roots=True))
            update = told(await phone.sync())["updates"]
            assert names(update) == {(room, hers)}
            assert "body" not in update[room][hers]["thread_root"]["content"]
            # Who left hears of it no more, and who comes later sees none of what was closed to him.
            await alice.call(
                "PUT", f"/rooms/{q(room)}/state/m.room.history_visibility", {"history_visibility": "joined"}
            )
            carol = await server.register("carol")
            hidden = await alice.say(room, "before carol")
            await reply(alice, room, hidden, "hm")
            await carol.join(room)
            tablet = Sliding(carol, asking(include_roots=True))
            assert names(told(await tablet.sync())["updates"]).isdisjoint({(room, hidden)})
            await reply(alice, room, hidden, "for carol too")
            assert told(await tablet.sync())["updates"] == {room: {hidden: {}}}
            await carol.call("POST", f"/rooms/{q(room)}/leave", {})
            await reply(alice, room, hidden, "not for carol")
            assert told(await tablet.sync()) is None
            assert await pages(carol) == [{}]

    run(work)


@pytest.mark.parametrize(
    "query",
    [{}, {"dir": "f"}, {"dir": "b", "limit": "0"}, {"dir": "b", "from": "s1"}, {"dir": "b", "to": "t1.1"}],
)
def test_questions_that_make_no_sense(query: dict[str, str]) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            response = await server.request("GET", PAGES, token=alice.token, parameters=query)
            assert response.status == 400 and b"M_INVALID_PARAM" in response.body

    run(work)


@pytest.mark.parametrize("config", [{"limit": 0}, {"include_roots": "yes"}])
def test_a_config_of_the_wrong_shape(config: dict[str, Any]) -> None:
    async def work() -> None:
        async with matrix() as server:
            phone = Sliding(await server.register("alice"), asking())
            phone.body["extensions"][THREADS].update(config)
            assert await phone.refused() == (400, "M_BAD_JSON")

    run(work)
