"""Counts of what is unread, and what somebody was notified of.

spec: Matrix client-server modules push, receipts, threading; GET /sync, GET /notifications
"""

from typing import Any

import pytest

from tests.matrix.client import Client, matrix, q
from tests.matrix.test_relations import edit, pair, react, reply, send
from tests.support.middle import run
from tripoint.rooms import unread as counting

THREADS = '{"room":{"timeline":{"unread_thread_notifications":true}}}'


def counts(answer: Any, room: str) -> tuple[int, int] | None:
    """(notifications, highlights) of a room in a sync; None where it says nothing of the room."""
    chunk = answer.get("rooms", {}).get("join", {}).get(room)
    if chunk is None:
        return None
    found = chunk["unread_notifications"]
    return found["notification_count"], found["highlight_count"]


def threads(answer: Any, room: str) -> dict[str, tuple[int, int]]:
    found = answer["rooms"]["join"][room]["unread_thread_notifications"]
    return {root: (one["notification_count"], one["highlight_count"]) for root, one in found.items()}


async def unread(client: Client, room: str) -> tuple[int, int] | None:
    """The counts of a room as a new device is told them."""
    return counts(await client.call("GET", "/sync"), room)


async def read(client: Client, room: str, event_id: str, kind: str = "m.read", **body: str) -> None:
    await client.call("POST", f"/rooms/{q(room)}/receipt/{kind}/{q(event_id)}", body)


async def mention(client: Client, room: str, *user_ids: str) -> str:
    content = {"msgtype": "m.text", "body": "hey", "m.mentions": {"user_ids": list(user_ids)}}
    return await send(client, room, content)


def test_messages_count_until_they_are_read() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            await bob.sync()
            first = await alice.say(room, "one")
            assert counts(await bob.sync(), room) == (1, 0)
            await mention(alice, room, bob.user_id)
            await mention(alice, room, alice.user_id)
            await send(alice, room, {"msgtype": "m.notice", "body": "x"})
            last = await alice.say(room, "two")
            assert counts(await bob.sync(), room) == await unread(bob, room) == (4, 1)
            assert counts(await bob.sync(), room) is None, "nothing new, nothing said"
            await read(bob, room, first)
            assert counts(await bob.sync(), room) == (3, 1)
            await read(bob, room, last, "m.read.private")
            assert counts(await bob.sync(), room) == (0, 0)
            # An older public receipt takes nothing back.
            await read(bob, room, first)
            assert await unread(bob, room) == (0, 0)
            assert await unread(alice, room) == (0, 0), "one's own messages"

    run(work)


def test_who_speaks_has_read_and_who_enters_has_missed_nothing() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            await alice.say(room, "one")
            await bob.say(room, "two")
            assert (await unread(alice, room), await unread(bob, room)) == ((1, 0), (0, 0))
            await bob.call("PUT", f"/profile/{q(bob.user_id)}/displayname", {"displayname": "Bobby"})
            await alice.call("PUT", f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Al"})
            assert await unread(alice, room) == (1, 0), "another name is nothing that one says"
            carol = await server.register("carol")
            await carol.join(room)
            assert await unread(carol, room) == (0, 0)
            await alice.say(room, "three")
            assert await unread(carol, room) == (1, 0)
            await carol.call("POST", f"/rooms/{q(room)}/leave", {})
            await alice.say(room, "four")
            await carol.join(room)
            assert await unread(carol, room) == (0, 0), "what one has missed outside"

    run(work)


def test_threads_apart() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            root = await bob.say(room, "tea?")
            in_thread = await reply(alice, room, root, "yes")
            main = await alice.say(room, "main")
            about = {"rel_type": "m.reference", "event_id": in_thread}
            hop = await send(alice, room, {"m.relates_to": about, "body": "x", "msgtype": "m.text"})
            await react(alice, room, in_thread, "x")
            await edit(alice, room, in_thread, "no")
            answer = await bob.sync(filter=THREADS)
            assert (counts(answer, room), threads(answer, room)) == ((1, 0), {root: (2, 0)})
            assert await unread(bob, room) == (3, 0), "who knows no threads is told of all together"
            await read(bob, room, in_thread, thread_id=root)
            answer = await bob.sync(filter=THREADS)
            assert (counts(answer, room), threads(answer, room)) == ((1, 0), {root: (1, 0)})
            await read(bob, room, main, thread_id="main")
            answer = await bob.sync(filter=THREADS)
            assert (counts(answer, room), threads(answer, room)) == ((0, 0), {root: (1, 0)})
            await read(bob, room, hop)
            answer = await bob.sync(filter=THREADS)
            assert (counts(answer, room), threads(answer, room)) == ((0, 0), {})
            # Who answers in a thread has read that thread alone.
            await reply(alice, room, root, "more")
            await alice.say(room, "main again")
            await reply(bob, room, root, "good")
            answer = await bob.sync(filter=THREADS)
            assert (counts(answer, room), threads(answer, room)) == ((1, 0), {})

    run(work)


def test_rules_redactions_and_blocked_people() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            await bob.sync()
            gone = await mention(alice, room, bob.user_id)
            await alice.say(room, "there is cake")
            assert await unread(bob, room) == (2, 1)
            loud = {"pattern": "cake", "actions": ["notify", {"set_tweak": "highlight"}]}
            await bob.call("PUT", "/pushrules/global/content/cake", loud)
            assert await unread(bob, room) == (2, 2), "rules hold for what is unread already"
            await alice.call("PUT", f"/rooms/{q(room)}/redact/{q(gone)}/r1", {})
            assert await unread(bob, room) == (1, 1)
            await send(alice, room, {"msgtype": "m.text", "body": "@room", "m.mentions": {"room": True}})
            assert await unread(bob, room) == (2, 2)
            condition = {"kind": "event_match", "key": "room_id", "pattern": room}
            await bob.call("PUT", "/pushrules/global/override/quiet", {"conditions": [condition], "actions": []})
            assert await unread(bob, room) == (0, 0), "a room that is muted"
            await bob.call("DELETE", "/pushrules/global/override/quiet")
            ignored: Any = {"ignored_users": {alice.user_id: {}}}
            await bob.call("PUT", f"/user/{q(bob.user_id)}/account_data/m.ignored_user_list", ignored)
            await alice.say(room, "hello?")
            assert await unread(bob, room) == (0, 0)

    run(work)


def test_counts_end_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MAX_COUNTED", 3)

    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            for number in range(5):
                await alice.say(room, str(number))
            assert await unread(bob, room) == (3, 0)
            await alice.say(room, "one more")
            assert await unread(bob, room) == (4, 0), "what comes goes on from there"

    run(work)


def test_notifications() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, room = await pair(server)
            other = await alice.create(preset="public_chat", name="other")
            await alice.say(other, "before bob")
            await bob.join(other)
            sent = []
            for number in range(6):
                place = room if number % 2 else other
                sent.append(await alice.say(place, str(number)))
            loud = await mention(alice, room, bob.user_id)
            await read(bob, room, sent[3])
            page = await bob.call("GET", "/notifications", limit="4")
            found = page["notifications"]
            assert [one["event"]["event_id"] for one in found] == [loud, sent[5], sent[4], sent[3]]
            assert [one["read"] for one in found] == [False, False, False, True]
            assert [one["room_id"] for one in found] == [room, room, other, room]
            assert found[0]["actions"][-1] == {"set_tweak": "highlight"} and "room_id" not in found[0]["event"]
            page = await bob.call("GET", "/notifications", **{"from": page["next_token"]})
            assert [one["event"]["event_id"] for one in page["notifications"]] == sent[2::-1]
            assert "next_token" not in page
            page = await bob.call("GET", "/notifications", only="highlight")
            assert [one["event"]["event_id"] for one in page["notifications"]] == [loud]
            assert (await alice.call("GET", "/notifications"))["notifications"] == []
            for bad in ({"from": "x"}, {"limit": "x"}, {"from": "s1~x"}):
                assert await bob.refused("GET", "/notifications", **bad) == (400, "M_INVALID_PARAM")

    run(work)
