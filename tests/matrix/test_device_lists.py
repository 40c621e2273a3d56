"""Whose devices changed: device_lists of /sync and GET /keys/changes, over everything that makes people share rooms.

spec: Matrix client-server-api e2e-extensions-to-sync, tracking-the-device-list-for-a-user, GET /keys/changes
"""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix.client import Client, matrix, q
from tests.matrix.crypto import Device, encrypted_room, second_device
from tests.support.middle import run
from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.sync import device_lists
from tripoint.matrix.sync.device_lists import DeviceLists
from tripoint.rooms.changes import StateReset
from tripoint.store.memory import MemoryStore

ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}


async def news(client: Client) -> tuple[list[str], list[str]]:
    lists = (await client.sync()).get("device_lists", {"changed": [], "left": []})
    return sorted(lists["changed"]), sorted(lists["left"])


def test_everybody_in_a_room_hears_of_devices_that_come_change_and_go() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            await encrypted_room(alice, bob)
            plain = await alice.create(preset="public_chat")
            await carol.join(plain)
            stranger = await server.register("stranger")
            people = (alice, bob, carol, stranger)
            for one in people:
                await one.sync()
            device = Device(alice)

            async def all_hear(changed: list[str]) -> None:
                for one in (alice, bob, carol):
                    assert await news(one) == (changed, [])
                assert await news(stranger) == ([], [])

            await device.upload("A")
            await all_hear([alice.user_id])
            # One-time keys concern nobody else; the same keys again are no change.
            await device.upload("B", fallback="F")
            await all_hear([])
            await alice.call("PUT", f"/devices/{alice.device_id}", {"display_name": "Phone"})
            await all_hear([alice.user_id])
            await alice.call("PUT", f"/devices/{alice.device_id}", {"display_name": "Phone"})
            await all_hear([])
            second = await second_device(alice, "SECOND")
            # A log-in without keys is nothing that anybody can encrypt for.
            await all_hear([])
            await Device(second).upload()
            await all_hear([alice.user_id])
            await second.call("POST", "/logout", {})
            await all_hear([alice.user_id])

    run(work)


def test_who_waits_is_answered() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            await encrypted_room(alice, bob)
            for one in (alice, bob, carol) * 2:
                await one.sync()  # the second time everybody is seen to be online
            waiting = [asyncio.ensure_future(one.sync(timeout=30_000)) for one in (alice, bob)]
            idle = asyncio.ensure_future(carol.sync(timeout=30_000))
            await asyncio.sleep(0)
            await Device(alice).upload()
            for answer in await asyncio.wait_for(asyncio.gather(*waiting), 5):
                assert answer["device_lists"] == {"changed": [alice.user_id], "left": []}
            assert not idle.done()
            idle.cancel()

    run(work)


def test_sharing_an_encrypted_room_begins_and_ends() -> None:
    """spec: `changed`: "or who now share an encrypted room with the client"; `left`: "with whom we do not share any
    encrypted rooms anymore" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            for one in (alice, bob, carol):
                await one.sync()
            room_id = await encrypted_room(alice)
            await alice.sync()
            await bob.join(room_id)
            assert await news(alice) == ([bob.user_id], [])
            assert await news(bob) == ([alice.user_id], [])
            second = await encrypted_room(alice, bob, carol)
            assert (await news(carol))[0] == sorted([alice.user_id, bob.user_id])
            await news(alice)
            await news(bob)
            # Another room is still shared: nobody is left.
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            assert await news(alice) == ([], [])
            assert await news(bob) == ([], [])
            await bob.call("POST", f"/rooms/{q(second)}/leave", {})
            assert await news(alice) == ([], [bob.user_id])
            assert await news(bob) == ([], sorted([alice.user_id, carol.user_id]))
            # Out of sight, out of mind; and heard of again when he is back.
            await Device(bob).upload()
            assert await news(alice) == ([], [])
            await bob.join(second)
            assert await news(alice) == ([bob.user_id], [])

    run(work)


def test_profiles_and_plain_rooms_are_no_news() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            plain = await alice.create(preset="public_chat")
            encrypted = await encrypted_room(alice, bob)
            for one in (alice, bob):
                await one.sync()
            await bob.join(plain)
            await bob.call("PUT", f"/profile/{q(bob.user_id)}/displayname", {"displayname": "Bobby"})
            await bob.say(plain, "hello")
            assert await news(alice) == ([], [])
            await bob.call("POST", f"/rooms/{q(plain)}/leave", {})
            assert await news(alice) == ([], [])
            await bob.call("POST", f"/rooms/{q(encrypted)}/leave", {})
            await bob.join(encrypted)
            # Gone and back between two syncs: looked at again, not left.
            assert await news(alice) == ([bob.user_id], [])

    run(work)


def test_a_room_that_becomes_encrypted() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            for one in (alice, bob):
                await one.sync()
            await alice.call("PUT", f"/rooms/{q(room_id)}/state/m.room.encryption", ENCRYPTION)
            assert await news(alice) == ([bob.user_id], [])
            assert await news(bob) == ([alice.user_id], [])

    run(work)


@pytest.mark.parametrize("restart", [False, True])
def test_keys_changes_answers_for_who_was_away(restart: bool) -> None:
    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            alice, bob, carol, dave = [await server.register(name) for name in ("alice", "bob", "carol", "dave")]
            room_id = await encrypted_room(alice, bob, carol)
            since = (await alice.sync())["next_batch"]
            await Device(bob).upload()
            await Device(dave).upload()
            await carol.call("POST", f"/rooms/{q(room_id)}/leave", {})
            to = (await alice.sync())["next_batch"]
            whole = await alice.call("GET", "/keys/changes", **{"from": since, "to": to})
            assert whole == {"changed": [bob.user_id], "left": [carol.user_id]}
            body = {"user_id": alice.user_id, "device_id": alice.device_id, "access_token": alice.token}
        if restart:
            store._closed = False
            async with matrix(store=store) as server:
                again = Client(server, body)
                assert await again.call("GET", "/keys/changes", **{"from": since, "to": to}) == whole
                answer = await again.call("GET", "/sync", since=since)
                assert answer["device_lists"] == whole

    run(work)


@pytest.mark.parametrize(
    ("query", "errcode"),
    [({}, "M_MISSING_PARAM"), ({"from": "TOKEN"}, "M_MISSING_PARAM"), ({"from": "no", "to": "no"}, "M_INVALID_PARAM")],
)
def test_keys_changes_without_tokens(query: dict[str, str], errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            if query.get("from") == "TOKEN":
                query["from"] = (await alice.sync())["next_batch"]
            assert await alice.refused("GET", "/keys/changes", **query) == (400, errcode)

    run(work)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "keys", "encrypt", "sync", "restart"]),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(MOVES, st.sampled_from([2, 1000]))
def test_a_client_that_follows_knows_every_device_it_shares_a_room_with(
    moves: list[tuple[str, int, int]], remembered: int
) -> None:
    """Somebody who asks for keys exactly when told to has never an old list of anybody in an encrypted room,
    however little the server keeps in memory."""

    async def work() -> None:
        store = MemoryStore()
        logins: list[dict[str, Any]] = []
        rooms: list[str] = []
        encrypted = [True, False, False]
        inside = [{n} for n in (0, 1, 2)]
        versions = [0, 0, 0, 0]
        known: dict[int, int] = {}
        since: str | None = None
        pending = [*moves, ("sync", 0, 0)]
        while pending:
            async with matrix(store=store) as server:
                if not logins:
                    for name in ("a", "b", "c", "d"):
                        one = await server.register(name)
                        logins.append({"user_id": one.user_id, "device_id": one.device_id, "access_token": one.token})
                people = [Client(server, login) for login in logins]
                if not rooms:
                    rooms = [await encrypted_room(people[0])]
                    rooms += [await people[n].create(preset="public_chat") for n in (1, 2)]
                    since = (await people[0].sync())["next_batch"]
                while pending:
                    what, who, where = pending.pop(0)
                    if what == "restart":
                        break
                    if what == "join" and who not in inside[where]:
                        await people[who].join(rooms[where])
                        inside[where].add(who)
                    elif what == "leave" and who in inside[where] and len(inside[where]) > 1:
                        await people[who].call("POST", f"/rooms/{q(rooms[where])}/leave", {})
                        inside[where].discard(who)
                    elif what == "keys":
                        versions[who] += 1
                        device = Device(people[who])
                        body = {"device_keys": device.keys(version=versions[who])}
                        await people[who].call("POST", "/keys/upload", body)
                    elif what == "encrypt" and not encrypted[where] and where in inside[where]:
                        path = f"/rooms/{q(rooms[where])}/state/m.room.encryption"
                        await people[where].call("PUT", path, ENCRYPTION)
                        encrypted[where] = True
                    elif what == "sync":
                        answer = await people[0].call("GET", "/sync", since=since or "")
                        since = answer["next_batch"]
                        lists = answer.get("device_lists", {"changed": [], "left": []})
                        names = [login["user_id"] for login in logins]
                        for user_id in lists["left"]:
                            known.pop(names.index(user_id), None)
                        for user_id in lists["changed"]:
                            known[names.index(user_id)] = versions[names.index(user_id)]
                        mine = [n for n in range(3) if encrypted[n] and 0 in inside[n]]
                        shared = {one for n in mine for one in inside[n]} - {0}
                        assert shared <= known.keys()
                        assert all(known[one] == versions[one] for one in shared)
            store._closed = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_lists, "MAX_CHANGED", remembered)
        patch.setattr(device_lists, "MAX_MOVES", remembered)
        patch.setattr(device_lists, "MAX_MARKED", remembered)
        run(work)



def test_what_a_resolution_changes_is_news_too() -> None:
    """A member that a resolution brings or takes away, and members that came late, have no event in the timeline."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            room_id = RoomId(await encrypted_room(alice, bob))
            for one in (alice, bob, carol) * 2:
                await one.sync()
            middle = server.party.middle
            room = await middle.loaded.get(room_id)
            here = room.state["m.room.member", bob.user_id]
            name = room.state["m.room.create", ""]

            async def told(*pairs: Any, completes: bool = False) -> bool:
                """Whether bob looks at his room's members after such a change."""
                lists = DeviceLists(server.party.middle.accounts.server_name, middle.reader, middle.encryption.changes)
                at = middle.stream.committed
                lists.room_changed(StateReset(at + 1, room_id, pairs, completes))
                assert not lists.may_have_moved(UserId(carol.user_id), at)
                return lists.may_have_moved(UserId(bob.user_id), at)

            assert await told((None, here)) and await told((here, None)) and await told(completes=True)
            assert not await told((here, here)) and not await told((name, name)) and not await told()

    run(work)


def test_who_waits_hears_of_somebody_who_has_not_synced_since_the_server_started() -> None:
    async def work() -> None:
        store = MemoryStore()
        logins = []
        async with matrix(store=store) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            await encrypted_room(alice, bob)
            for one in (alice, bob):
                logins.append({"user_id": one.user_id, "device_id": one.device_id, "access_token": one.token})
        store._closed = False
        async with matrix(store=store) as server:
            alice, bob = (Client(server, login) for login in logins)
            await bob.sync()
            await bob.sync()
            waiting = asyncio.ensure_future(bob.sync(timeout=30_000))
            await asyncio.sleep(0)
            await Device(alice).upload()
            answer = await asyncio.wait_for(waiting, 5)
            assert answer["device_lists"]["changed"] == [alice.user_id]

    run(work)
