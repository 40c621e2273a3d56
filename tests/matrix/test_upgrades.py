"""Room upgrades over the client-server API.  spec: Matrix client-server "Room Upgrades"; docs/mapping.md 21.4"""

import orjson
import pytest

from tests.matrix.client import matrix, q
from tests.support.middle import run


def test_a_client_upgrades_and_others_see_where_to_go() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            old = await alice.create(
                preset="public_chat",
                room_alias_name="tea",
                name="Tea",
                topic="hot",
                visibility="public",
                room_version="9",
            )
            await bob.join(old)
            before = await bob.call("GET", "/sync")
            done = await alice.call("POST", f"/rooms/{q(old)}/upgrade", {"new_version": "12"})
            new = done["replacement_room"]
            assert done == {"replacement_room": new}
            assert new != old
            # Who asks again, since the answer got lost, has the same room.
            assert await alice.call("POST", f"/rooms/{q(old)}/upgrade", {"new_version": "12"}) == done
            sync = await bob.call("GET", "/sync", since=before["next_batch"])
            assert list(sync["rooms"]["join"]) == [old]
            timeline = sync["rooms"]["join"][old]["timeline"]["events"]
            tombstone = next(event for event in timeline if event["type"] == "m.room.tombstone")
            assert (tombstone["state_key"], tombstone["sender"]) == ("", alice.user_id)
            assert tombstone["content"] == {"body": "This room was upgraded", "replacement_room": new}
            path, body = f"/rooms/{q(old)}/send/m.room.message/1", {"msgtype": "m.text", "body": "x"}
            assert await bob.refused("PUT", path, body) == (403, "M_FORBIDDEN")
            # The alias and the place in the directory lead there; so does what a client does with the tombstone.
            assert (await bob.call("GET", f"/directory/room/{q('#tea:example.org')}"))["room_id"] == new
            assert [one["room_id"] for one in (await bob.call("GET", "/publicRooms"))["chunk"]] == [new]
            await bob.join(new)
            create = await bob.call("GET", f"/rooms/{q(new)}/state/m.room.create/")
            assert create == {"room_version": "12", "predecessor": {"room_id": old}}
            assert (await bob.call("GET", f"/rooms/{q(new)}/state/m.room.topic/"))["topic"] == "hot"
            entered = (await bob.call("GET", "/sync", since=sync["next_batch"]))["rooms"]["join"][new]
            shown = [*entered["state"]["events"], *entered["timeline"]["events"]]
            assert {"m.room.create", "m.room.power_levels", "m.room.topic"} <= {event["type"] for event in shown}
            path = f"/_matrix/client/v1/rooms/{q(new)}/hierarchy"
            hierarchy = await server.request("GET", path, token=bob.token)
            assert [room["room_id"] for room in orjson.loads(hierarchy.body)["rooms"]] == [new]

    run(work)


def test_before_version_12_the_last_event_is_named() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            old = await alice.create(preset="public_chat")
            last = await alice.say(old, "good bye")
            body = {"new_version": "10", "additional_creators": [bob.user_id]}
            new = (await alice.call("POST", f"/rooms/{q(old)}/upgrade", body))["replacement_room"]
            create = await alice.call("GET", f"/rooms/{q(new)}/state/m.room.create/")
            assert create["predecessor"] == {"room_id": old, "event_id": last}
            # spec: "When upgrading to a room version which doesn't support additional creators, this field is ignored"
            assert "additional_creators" not in create

    run(work)


def test_additional_creators_are_those_that_the_request_names() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            old = await alice.create(preset="public_chat", creation_content={"additional_creators": [carol.user_id]})
            body = {"new_version": "12", "additional_creators": [bob.user_id, bob.user_id]}
            new = (await alice.call("POST", f"/rooms/{q(old)}/upgrade", body))["replacement_room"]
            create = await alice.call("GET", f"/rooms/{q(new)}/state/m.room.create/")
            assert create["additional_creators"] == [bob.user_id]

    run(work)


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"new_version": "99"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({}, 400, "M_MISSING_PARAM"),
        ({"new_version": 12}, 400, "M_BAD_JSON"),
        ({"new_version": "12", "additional_creators": "@bob:example.org"}, 400, "M_BAD_JSON"),
        ({"new_version": "12", "additional_creators": ["bob"]}, 400, "M_INVALID_PARAM"),
    ],
)
def test_requests_that_cannot_be_met(body: dict[str, object], status: int, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room = await alice.create(preset="public_chat")
            await bob.join(room)
            assert await alice.refused("POST", f"/rooms/{q(room)}/upgrade", body) == (status, errcode)
            right = {"new_version": "12"}
            assert await bob.refused("POST", f"/rooms/{q(room)}/upgrade", right) == (403, "M_FORBIDDEN")
            state = await alice.call("GET", f"/rooms/{q(room)}/state")
            assert "m.room.tombstone" not in {event["type"] for event in state}

    run(work)


def test_a_stranger_cannot_upgrade() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, mallory = await server.register("alice"), await server.register("mallory")
            room = await alice.create(preset="public_chat")
            for where in (room, "!nowhere:example.org"):
                status, errcode = await mallory.refused("POST", f"/rooms/{q(where)}/upgrade", {"new_version": "12"})
                assert (status, errcode) in ((403, "M_FORBIDDEN"), (404, "M_NOT_FOUND"))

    run(work)
