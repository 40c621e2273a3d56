"""Requests that are wrong in one thing: what is missing, what is of another type, what is no value of its kind.

spec: Matrix client-server "Common error codes", and the parameters of each endpoint
"""

from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, matrix, q
from tests.support.middle import run

USER = {"type": "m.id.user", "user": "alice"}
SAYS = {"msgtype": "org.example.kind", "body": ""}
NOBODY = {"type": "m.id.user"}


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("login", {}, "M_MISSING_PARAM"),
        ("login", {"type": 5}, "M_BAD_JSON"),
        ("login", {"type": "m.login.password", "identifier": USER}, "M_MISSING_PARAM"),
        ("login", {"type": "m.login.password", "identifier": USER, "password": 5}, "M_BAD_JSON"),
        ("login", {"type": "m.login.password", "identifier": "alice", "password": "x"}, "M_BAD_JSON"),
        ("login", {"type": "m.login.password", "identifier": NOBODY, "password": "x"}, "M_MISSING_PARAM"),
        ("login", {"type": "m.login.password", "password": "x"}, "M_MISSING_PARAM"),
        ("login", {"type": "m.login.token", "token": 1}, "M_BAD_JSON"),
        ("refresh", {}, "M_MISSING_PARAM"),
        ("refresh", {"refresh_token": 1}, "M_BAD_JSON"),
        ("register", {"username": "bob", "password": 5, "auth": {"type": "m.login.dummy"}}, "M_BAD_JSON"),
        ("register", {"username": "bob", "auth": {"type": "m.login.dummy"}}, "M_MISSING_PARAM"),
    ],
)
def test_of_somebody_who_is_not_logged_in(path: str, body: dict[str, Any], errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            answer = await server.request("POST", f"/_matrix/client/v3/{path}", body)
            assert (answer.status, orjson.loads(answer.body)["errcode"]) == (400, errcode)

    run(work)


def test_of_somebody_in_a_room() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            for what in ("invite", "kick", "ban", "unban"):
                assert await alice.refused("POST", f"{room}/{what}", {}) == (400, "M_MISSING_PARAM")
                assert await alice.refused("POST", f"{room}/{what}", {"user_id": 5}) == (400, "M_BAD_JSON")
            assert await alice.refused("POST", f"{room}/upgrade", {"new_version": 12}) == (400, "M_BAD_JSON")
            named = f"/directory/room/{q('#tea:example.org')}"
            assert await alice.refused("PUT", named, {"room_id": 5}) == (400, "M_BAD_JSON")
            said = await alice.say(room_id, "hello")
            redact = f"{room}/redact/{q(said)}/1"
            assert await alice.refused("PUT", redact, {"reason": 5}) == (400, "M_BAD_JSON")
            # spec: module instant-messaging: rejected with 400
            for wrong in ({}, {"body": "x"}, {"msgtype": "m.text"}, {"msgtype": 5, "body": "x"}, {**SAYS, "body": 5}):
                send = f"{room}/send/m.room.message/2"
                assert await alice.refused("PUT", send, wrong) == (400, "M_BAD_JSON")
            await alice.call("PUT", f"{room}/send/m.room.message/2", SAYS)
            # A room has one create event, and that is no message.
            made = await alice.refused("PUT", f"{room}/send/m.room.create/1", {"room_version": "12"})
            assert made == (403, "M_FORBIDDEN")
            status = f"/presence/{q(alice.user_id)}/status"
            assert await alice.refused("PUT", status, {"status_msg": "x"}) == (400, "M_MISSING_PARAM")
            assert await alice.refused("PUT", status, {"presence": "online", "status_msg": 5}) == (400, "M_BAD_JSON")
            assert await alice.refused("PUT", status, {"presence": "away"}) == (400, "M_INVALID_PARAM")
            delete = {"devices": "x", "auth": {"type": "m.login.password", "identifier": USER, "password": PASSWORD}}
            assert await alice.refused("POST", "/delete_devices", delete) == (400, "M_BAD_JSON")
            assert await alice.refused("POST", "/delete_devices", {}) == (400, "M_MISSING_PARAM")

    run(work)


@pytest.mark.parametrize(
    "part",
    [
        {"limit": "x"},
        {"limit": -1},
        {"limit": 1.5},
        {"types": "m.room.message"},
        {"not_types": [5]},
        {"senders": ["bob"]},
        {"not_senders": ["bob"]},
        {"senders": "@bob:example.org"},
    ],
)
def test_filters_of_each_part(part: dict[str, Any]) -> None:
    """spec: POST /user/filter; definitions/event_filter, room_event_filter"""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            path = f"/user/{q(alice.user_id)}/filter"
            for whole in (
                {"presence": part},
                {"account_data": part},
                *({"room": {name: part}} for name in ("timeline", "state", "ephemeral", "account_data")),
            ):
                assert await alice.refused("POST", path, whole) == (400, "M_BAD_JSON")
                text = orjson.dumps(whole).decode()
                assert await alice.refused("GET", "/sync", filter=text) == (400, "M_BAD_JSON")
            text = orjson.dumps(part).decode()
            messages = f"/rooms/{q(room_id)}/messages"
            assert await alice.refused("GET", messages, dir="b", filter=text) == (400, "M_BAD_JSON")

    run(work)


@pytest.mark.parametrize(
    "part",
    [
        {"rooms": ["tea"]},
        {"not_rooms": ["#tea:example.org"]},
        {"contains_url": "yes"},
        {"lazy_load_members": 1},
        {"include_redundant_members": "true"},
        {"unread_thread_notifications": "x"},
    ],
)
def test_filters_of_rooms(part: dict[str, Any]) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            path = f"/user/{q(alice.user_id)}/filter"
            for name in ("timeline", "state", "ephemeral", "account_data"):
                assert await alice.refused("POST", path, {"room": {name: part}}) == (400, "M_BAD_JSON")
            for rooms in ({"rooms": ["tea"]}, {"not_rooms": ["tea"]}):
                assert await alice.refused("POST", path, {"room": rooms}) == (400, "M_BAD_JSON")

    run(work)


def test_members_are_asked_for_by_either_of_two_wishes() -> None:
    """spec: GET /members: "the two parameters create an 'or' condition" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol, dan = [await server.register(name) for name in ("alice", "bob", "carol", "dan")]
            room_id = await alice.create(preset="public_chat", invite=[dan.user_id])
            for one in (bob, carol):
                await one.join(room_id)
            room = f"/rooms/{q(room_id)}"
            await bob.call("POST", f"{room}/leave", {})
            await alice.call("POST", f"{room}/ban", {"user_id": carol.user_id})

            async def those(**query: str) -> set[str]:
                answer = await alice.call("GET", f"{room}/members", **query)
                return {event["state_key"][1:].partition(":")[0] for event in answer["chunk"]}

            assert await those() == {"alice", "bob", "carol", "dan"}
            assert await those(membership="join") == {"alice"}
            assert await those(not_membership="join") == {"bob", "carol", "dan"}
            assert await those(membership="ban", not_membership="ban") == {"alice", "bob", "carol", "dan"}
            assert await those(membership="leave", not_membership="leave") == {"alice", "bob", "carol", "dan"}
            assert await those(membership="leave", not_membership="join") == {"bob", "carol", "dan"}
            for name in ("membership", "not_membership"):
                assert await alice.refused("GET", f"{room}/members", **{name: "away"}) == (400, "M_INVALID_PARAM")

    run(work)


def test_what_is_asked_of_directories_and_times() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create(preset="public_chat", creation_content={"type": "m.space"})
            for body in ({"filter": {"room_types": "x"}}, {"filter": {"room_types": [5]}}, {"since": 5}):
                assert await alice.refused("POST", "/publicRooms", body) == (400, "M_BAD_JSON")
            body = {"filter": {"generic_search_term": 5}}
            assert await alice.refused("POST", "/publicRooms", body) == (400, "M_BAD_JSON")
            await alice.call("POST", "/publicRooms", {"filter": {"room_types": [None, "m.space"]}, "since": None})
            one = f"/_matrix/client/v1/rooms/{q(room_id)}"

            async def asked(path: str, **query: str) -> tuple[int, str]:
                answer = await server.request("GET", f"{one}/{path}", token=alice.token, **query)
                return answer.status, orjson.loads(answer.body)["errcode"]

            assert await asked("hierarchy", limit="0") == (400, "M_INVALID_PARAM")
            assert await asked("hierarchy", suggested_only="yes") == (400, "M_INVALID_PARAM")
            assert await asked("timestamp_to_event", ts="5") == (400, "M_MISSING_PARAM")
            assert await asked("timestamp_to_event", dir="f") == (400, "M_MISSING_PARAM")

    run(work)


def test_a_page_has_no_more_than_its_filter_says() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            for number in range(5):
                await alice.say(room_id, str(number))
            messages = f"/rooms/{q(room_id)}/messages"
            for limit, filtered, count in (("4", 2, 2), ("2", 4, 2), ("3", 3, 3)):
                wanted = orjson.dumps({"limit": filtered}).decode()
                page = await alice.call("GET", messages, dir="b", limit=limit, filter=wanted)
                assert len(page["chunk"]) == count

    run(work)
