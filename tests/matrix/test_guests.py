"""Guests on Matrix: what they may, where they get in, how they end. spec: Matrix client-server-api guest-access"""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, Server, matrix, q
from tests.support.middle import make_config, run
from tripoint.matrix.frontend import ENDPOINT_CLASSES
from tripoint.matrix.registry import Auth, declared_endpoints

CONFIG = make_config(matrix_guests=True)
OPEN = {
    "preset": "public_chat",
    "initial_state": [{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}],
}


async def guest(server: Server, **body: Any) -> Client:
    response = await server.request("POST", "/_matrix/client/v3/register", body, kind="guest")
    assert response.status == 200, response.body
    return Client(server, orjson.loads(response.body))


def test_a_guest_comes_in_reads_and_speaks() -> None:
    async def work() -> None:
        async with matrix(CONFIG) as server:
            alice = await server.register("alice")
            room = await alice.create(**OPEN)
            await alice.say(room, "welcome")
            # spec: POST /register: everything but initial_device_display_name is ignored
            ignored = {"username": "alice", "password": "x", "device_id": "X"}
            visitor = await guest(server, **ignored, initial_device_display_name="Web")
            assert visitor.user_id.startswith("@guest-") and visitor.device_id != "X"
            me = await visitor.call("GET", "/account/whoami")
            assert me["is_guest"] is True
            [device] = (await visitor.call("GET", "/devices"))["devices"]
            assert device["display_name"] == "Web"
            await visitor.call("PUT", f"/profile/{q(visitor.user_id)}/displayname", {"displayname": "Gus"})
            await visitor.call("POST", f"/rooms/{q(room)}/join", {})
            await visitor.say(room, "thank you")
            assert "thank you" in str(await alice.timeline(room))
            assert "welcome" in str(await visitor.call("GET", f"/rooms/{q(room)}/messages", dir="b"))
            await visitor.sync()
            await visitor.call("POST", f"/rooms/{q(room)}/leave", {})

    run(work)


def test_rooms_that_let_no_guests_in_and_those_that_stop_to() -> None:
    async def work() -> None:
        async with matrix(CONFIG) as server:
            alice = await server.register("alice")
            closed = await alice.create(
                preset="public_chat",
                initial_state=[{"type": "m.room.guest_access", "content": {"guest_access": "forbidden"}}],
            )
            room = await alice.create(**OPEN)
            visitor = await guest(server)
            refused = await visitor.refused("POST", f"/rooms/{q(closed)}/join", {})
            assert refused == (403, "M_GUEST_ACCESS_FORBIDDEN")
            await visitor.join(room)
            path = f"/rooms/{q(room)}/state/m.room.guest_access"
            await alice.call("PUT", path, {"guest_access": "forbidden"})
            member = f"/rooms/{q(room)}/state/m.room.member/{q(visitor.user_id)}"
            for _ in range(100):
                if (await alice.call("GET", member))["membership"] == "leave":
                    break
                await alice.sync()
                await asyncio.sleep(0)  # what shows guests out has its turn
            assert (await alice.call("GET", member))["membership"] == "leave"
            assert (await alice.call("GET", f"/rooms/{q(room)}/state/m.room.member/{q(alice.user_id)}"))[
                "membership"
            ] == "join"

    run(work)


# spec: guest-access "Client behaviour"; joining by an alias too, which is what matrix-js-sdk does, and logging out.
MAY = {
    *("GET /rooms/{}/state", "GET /rooms/{}/context/{}", "GET /rooms/{}/event/{}", "GET /rooms/{}/state/{}"),
    *("GET /rooms/{}/state/{}/{}", "GET /rooms/{}/messages", "GET /rooms/{}/members", "GET /sync"),
    *("GET /media/download/{}/{}", "GET /media/download/{}/{}/{}", "GET /media/thumbnail/{}/{}"),
    *("POST /rooms/{}/join", "POST /rooms/{}/leave", "PUT /rooms/{}/send/{}/{}", "PUT /rooms/{}/state/{}"),
    *("PUT /rooms/{}/state/{}/{}", "PUT /sendToDevice/{}/{}", "PUT /profile/{}/{}", "DELETE /profile/{}/{}"),
    *("GET /devices", "GET /devices/{}", "PUT /devices/{}", "GET /account/whoami"),
    *("POST /keys/upload", "POST /keys/query", "POST /keys/claim"),
    *("POST /join/{}", "POST /logout", "POST /logout/all"),
}


def test_guests_may_what_the_specification_lists() -> None:
    import re

    found = set()
    for cls in ENDPOINT_CLASSES:
        for _, declared in declared_endpoints(cls):
            for one in declared:
                for path in one.paths if one.guests else ():
                    short = re.sub(r"^/_matrix/client/(v3|v1|r0)", "", path)
                    found.add(f"{one.method} {re.sub(r'{[^}]*}', '{}', short)}")
                    assert one.auth in (Auth.TOKEN, Auth.LOCKED_TOO)
    assert found == MAY


def test_everything_else_is_forbidden() -> None:
    async def work() -> None:
        async with matrix(CONFIG) as server:
            visitor = await guest(server)
            for method, path, body in (
                ("POST", "/createRoom", {}),
                ("POST", "/user_directory/search", {"search_term": "a"}),
                ("POST", "/account/password", {"new_password": "x"}),
                ("PUT", f"/user/{q(visitor.user_id)}/account_data/m.x", {}),
                ("GET", "/capabilities", None),
                ("PUT", f"/profile/{q(visitor.user_id)}/avatar_url", {"avatar_url": "mxc://a/b"}),
            ):
                assert await visitor.refused(method, path, body) == (403, "M_GUEST_ACCESS_FORBIDDEN"), path
            response = await server.request("GET", "/_matrix/client/v3/publicRooms", token=visitor.token)
            assert response.status == 200

    run(work)


def test_a_guest_ends_when_it_logs_out_or_is_not_heard_of() -> None:
    async def work() -> None:
        async with matrix(CONFIG) as server:
            alice = await server.register("alice")
            room = await alice.create(**OPEN)
            accounts = server.party.middle.accounts
            first, second, third = [await guest(server) for _ in range(3)]
            for visitor in (first, second, third):
                await visitor.join(room)
            await first.call("POST", "/logout", {})
            server.party.clock.now += 5 * 3600
            await second.call("GET", "/account/whoami")
            server.party.clock.now += 2 * 3600
            await accounts.guests.end_idle()
            for visitor in (first, third):
                assert await visitor.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            await second.call("GET", "/account/whoami")
            joined = await alice.call("GET", f"/rooms/{q(room)}/joined_members")
            assert set(joined["joined"]) == {alice.user_id, second.user_id}

    run(work)


def test_a_guest_becomes_an_account_and_keeps_its_name() -> None:
    async def work() -> None:
        async with matrix(CONFIG) as server:
            alice = await server.register("alice")
            room = await alice.create(**OPEN)
            visitor = await guest(server)
            await visitor.join(room)
            name = visitor.user_id[1:].partition(":")[0]
            path = "/_matrix/client/v3/register"
            body = {"password": PASSWORD, "auth": {"type": "m.login.dummy"}, "guest_access_token": visitor.token}
            response = await server.request("POST", path, {**body, "username": "other"})
            assert orjson.loads(response.body)["errcode"] == "M_INVALID_USERNAME"
            wrong = {**body, "username": name, "guest_access_token": alice.token}
            assert (await server.request("POST", path, wrong)).status == 403
            wrong["guest_access_token"] = "made-up"
            assert (await server.request("POST", path, wrong)).status == 401
            response = await server.request("POST", path, {**body, "username": name})
            assert response.status == 200, response.body
            member = Client(server, orjson.loads(response.body))
            assert member.user_id == visitor.user_id
            assert (await member.call("GET", "/account/whoami"))["is_guest"] is False
            await member.say(room, "I stay")
            await member.create()
            server.party.clock.now += 24 * 3600
            await server.party.middle.accounts.guests.end_idle()
            await member.call("GET", "/account/whoami")

    run(work)


@pytest.mark.parametrize("options", [{}, {"matrix_guests": True}])
def test_guests_where_there_are_none_or_enough(options: dict[str, Any]) -> None:
    async def work() -> None:
        async with matrix(make_config(**options)) as server:
            if options:
                # On a server for this machine alone there is no limit.
                registration = server.party.middle.registration
                registration.change(replace(registration.policy, guests_per_address=2))
                await guest(server)
                await guest(server)
            response = await server.request("POST", "/_matrix/client/v3/register", {}, kind="guest")
            errcode = "M_FORBIDDEN" if options else "M_GUEST_ACCESS_FORBIDDEN"
            assert (response.status, orjson.loads(response.body)["errcode"]) == (403, errcode)

    run(work)
