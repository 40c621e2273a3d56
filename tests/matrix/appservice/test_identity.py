"""Who an application service speaks as, and which names are its alone.

spec: Matrix application-service-api "Client-Server API Extensions"
"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Server, matrix, q
from tests.matrix.crypto import Tree
from tests.support.app_service import BOT, HS_TOKEN, TOKEN, registered
from tests.support.middle import UNLIMITED, make_config, run
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.config.options import Limits
from tripoint.core.ids import UserId

GHOST = "@_irc_bob:example.org"
V3 = "/_matrix/client/v3"


async def ask(
    server: Server, method: str, path: str, body: Any = None, *, status: int = 200, token: str = TOKEN, **query: str
) -> Any:
    """A request of the service that ends with `status`; the body of the answer."""
    response = await server.request(method, V3 + path, body, token=token, **query)
    assert response.status == status, (response.status, response.body)
    return orjson.loads(response.body)


async def ghost(server: Server, name: str = "_irc_bob") -> str:
    body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
    made = await ask(server, "POST", "/register", body)
    assert "access_token" not in made
    return str(made["user_id"])


def test_the_service_is_its_sender_and_speaks_for_its_users(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(registered(tmp_path)) as server:
            assert await ask(server, "GET", "/account/whoami") == {"user_id": BOT, "is_guest": False}
            # Nobody speaks for somebody who is not there.
            unknown = await ask(server, "GET", "/account/whoami", status=403, user_id=GHOST)
            assert unknown["errcode"] == "M_FORBIDDEN"
            assert await ghost(server) == GHOST
            assert (await ask(server, "GET", "/account/whoami", user_id=GHOST))["user_id"] == GHOST
            await server.register("alice")
            for other in ("@alice:example.org", "@_irc_bob:elsewhere.example"):
                refused = await ask(server, "GET", "/account/whoami", status=403, user_id=other)
                assert refused["errcode"] == "M_FORBIDDEN"
            bad = await ask(server, "GET", "/account/whoami", status=400, user_id="bob")
            assert bad["errcode"] == "M_INVALID_PARAM"
            # The token in the query, as older bridges send it.
            response = await server.request("GET", f"{V3}/account/whoami", access_token=TOKEN, user_id=GHOST)
            assert orjson.loads(response.body)["user_id"] == GHOST
            # What the server shows the service is no key to the server.
            refused = await ask(server, "GET", "/account/whoami", status=401, token=HS_TOKEN)
            assert refused["errcode"] == "M_UNKNOWN_TOKEN"

    run(work)


def test_registering_users(tmp_path: Path) -> None:
    async def work() -> None:
        # Whether people may register says nothing of services.
        config = registered(tmp_path, config=make_config(registration="closed"))
        async with matrix(config) as server:
            body = {"type": "m.login.application_service", "username": "_irc_bob"}
            made = await ask(server, "POST", "/register", body)
            assert made["user_id"] == GHOST and made["access_token"] and made["device_id"]
            taken = await ask(server, "POST", "/register", body, status=400)
            assert taken["errcode"] == "M_USER_IN_USE"
            for name, errcode in (
                ("alice", "M_EXCLUSIVE"),
                ("_irc_a:b", "M_INVALID_USERNAME"),
                ("_irc_" + "x" * 300, "M_INVALID_USERNAME"),
                ("_irc_spa ce", "M_INVALID_USERNAME"),
            ):
                refused = await ask(server, "POST", "/register", {**body, "username": name}, status=400)
                assert refused["errcode"] == errcode, name
            missing = await ask(server, "POST", "/register", {"type": body["type"]}, status=400)
            assert missing["errcode"] == "M_MISSING_PARAM"
            # Names that nobody else could register.
            assert await ghost(server, "_irc_a=5b~" + "x" * 60) == "@_irc_a=5b~" + "x" * 60 + ":example.org"
            # spec: "without a valid as_token": 401
            response = await server.request("POST", f"{V3}/register", body)
            assert (response.status, orjson.loads(response.body)["errcode"]) == (401, "M_MISSING_TOKEN")
            refused = await ask(server, "POST", "/register", body, status=401, token="nobody's")
            assert refused["errcode"] == "M_UNKNOWN_TOKEN"

    run(work)


def test_logging_in_as_a_user(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(registered(tmp_path)) as server:
            await ghost(server)
            flows = (await ask(server, "GET", "/login"))["flows"]
            assert {"type": "m.login.application_service"} in flows
            body = {
                "type": "m.login.application_service",
                "identifier": {"type": "m.id.user", "user": "_irc_bob"},
                "device_id": "BRIDGE",
            }
            opened = await ask(server, "POST", "/login", body)
            assert (opened["user_id"], opened["device_id"]) == (GHOST, "BRIDGE")
            # The token is an ordinary one.
            me = await ask(server, "GET", "/account/whoami", token=opened["access_token"])
            assert me == {"user_id": GHOST, "device_id": "BRIDGE", "is_guest": False}
            await server.register("alice")
            for user, status, errcode in (("alice", 400, "M_EXCLUSIVE"), ("_irc_nobody", 403, "M_FORBIDDEN")):
                wrong = {**body, "identifier": {"type": "m.id.user", "user": user}}
                assert (await ask(server, "POST", "/login", wrong, status=status))["errcode"] == errcode
            response = await server.request("POST", f"{V3}/login", body)
            assert (response.status, orjson.loads(response.body)["errcode"]) == (401, "M_MISSING_TOKEN")

    run(work)


def test_without_services_nobody_is_told_of_them() -> None:
    async def work() -> None:
        async with matrix() as server:
            response = await server.request("GET", f"{V3}/login")
            assert b"application_service" not in response.body

    run(work)


def test_devices_of_a_service(tmp_path: Path) -> None:
    """spec: "Device management", "Identity assertion": made and taken away without anybody's password."""

    async def work() -> None:
        async with matrix(registered(tmp_path)) as server:
            await ghost(server)
            await ask(server, "PUT", "/devices/ONE", {"display_name": "Bridge"}, status=201, user_id=GHOST)
            await ask(server, "PUT", "/devices/ONE", {"display_name": "The bridge"}, user_id=GHOST)
            (device,) = (await ask(server, "GET", "/devices", user_id=GHOST))["devices"]
            assert (device["device_id"], device["display_name"]) == ("ONE", "The bridge")
            me = await ask(server, "GET", "/account/whoami", user_id=GHOST, device_id="ONE")
            assert me["device_id"] == "ONE"
            # As bridges of before it was specified say it.
            older = {"org.matrix.msc3202.device_id": "ONE"}
            assert (await ask(server, "GET", "/account/whoami", user_id=GHOST, **older))["device_id"] == "ONE"
            wrong = await ask(server, "GET", "/account/whoami", status=400, user_id=GHOST, device_id="TWO")
            assert wrong["errcode"] == "M_UNKNOWN_DEVICE"
            # Without a device, what needs one says so; what does not goes on.
            refused = await ask(server, "POST", "/keys/upload", {}, status=400, user_id=GHOST)
            assert refused["errcode"] == "M_MISSING_PARAM" and "device_id" in refused["error"]
            counts = await ask(server, "POST", "/keys/upload", {}, user_id=GHOST, device_id="ONE")
            assert counts["one_time_key_counts"] == {}
            assert "next_batch" in await ask(server, "GET", "/sync", user_id=GHOST)
            await ask(server, "POST", "/delete_devices", {"devices": ["ONE"]}, user_id=GHOST)
            assert (await ask(server, "GET", "/devices", user_id=GHOST))["devices"] == []
            await ask(server, "PUT", "/devices/TWO", {}, status=201, user_id=GHOST)
            await ask(server, "DELETE", "/devices/TWO", user_id=GHOST)
            # Passwords are none of its business.
            refused = await ask(server, "POST", "/account/password", {"new_password": "x"}, status=403, user_id=GHOST)
            assert refused["errcode"] == "M_FORBIDDEN"

    run(work)


def test_names_of_a_service_are_nobody_elses(tmp_path: Path) -> None:
    async def work() -> None:
        users, aliases = ([{"regex": f"{sigil}irc_.*", "exclusive": True}] for sigil in "@#")
        spaces = {"users": users, "aliases": aliases}
        async with matrix(registered(tmp_path, namespaces=spaces)) as server:
            alice = await server.register("alice")
            body = {"username": "irc_bob", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
            for path, given in ((f"{V3}/register", body), (f"{V3}/register", {**body, "username": "ircbot"})):
                response = await server.request("POST", path, given)
                assert (response.status, orjson.loads(response.body)["errcode"]) == (400, "M_EXCLUSIVE")
            response = await server.request("GET", f"{V3}/register/available", username="irc_bob")
            assert orjson.loads(response.body)["errcode"] == "M_EXCLUSIVE"
            with pytest.raises(AccountRefused) as caught:
                await server.party.middle.accounts.create_guest("Irc_Bob", address="192.0.2.1")
            assert caught.value.refusal is AccountRefusal.NAME_EXCLUSIVE
            # Rooms: by name when they are made, and later.
            assert await alice.refused("POST", "/createRoom", {"room_alias_name": "irc_tea"}) == (400, "M_EXCLUSIVE")
            room_id = await alice.create(preset="public_chat")
            path = f"/directory/room/{q('#irc_tea:example.org')}"
            assert await alice.refused("PUT", path, {"room_id": room_id}) == (400, "M_EXCLUSIVE")
            await ask(server, "POST", f"/join/{q(room_id)}", {})
            await ask(server, "PUT", path, {"room_id": room_id})
            assert await alice.refused("DELETE", path) == (400, "M_EXCLUSIVE")
            # spec: "Application services which attempt to create ... aliases outside of their defined namespaces"
            outside = f"/directory/room/{q('#tea:example.org')}"
            refused = await ask(server, "PUT", outside, {"room_id": room_id}, status=400)
            assert refused["errcode"] == "M_EXCLUSIVE"
            refused = await ask(server, "POST", "/createRoom", {"room_alias_name": "tea"}, status=400)
            assert refused["errcode"] == "M_EXCLUSIVE"
            await ask(server, "DELETE", path)

    run(work)


def test_two_services_keep_out_of_each_others_names(tmp_path: Path) -> None:
    """And where a service's names are everybody's, they may not look like those of people."""

    async def work() -> None:
        other = {
            "id": "other",
            "as_token": "other-token",
            "sender_localpart": "otherbot",
            "namespaces": {"users": [{"regex": "@.*", "exclusive": False}]},
        }
        async with matrix(registered(tmp_path, other)) as server:
            await server.register("alice")
            body = {"type": "m.login.application_service", "inhibit_login": True}
            for name, errcode in (("_irc_x", "M_EXCLUSIVE"), ("ircbot", "M_EXCLUSIVE"), ("a1ice", "M_USER_IN_USE")):
                wanted = {**body, "username": name}
                refused = await ask(server, "POST", "/register", wanted, status=400, token="other-token")
                assert refused["errcode"] == errcode, name
            await ghost(server)
            whoami = "/account/whoami"
            refused = await ask(server, "GET", whoami, status=403, token="other-token", user_id=GHOST)
            assert refused["errcode"] == "M_FORBIDDEN"
            assert (await ask(server, "GET", whoami, token="other-token", user_id="@alice:example.org"))["user_id"]
            made = await ask(server, "POST", "/register", {**body, "username": "helper"}, token="other-token")
            assert made["user_id"] == "@helper:example.org"
            room_id = (await ask(server, "POST", "/createRoom", {}, token="other-token"))["room_id"]
            path = f"/directory/room/{q('#irc_tea:example.org')}"
            refused = await ask(server, "PUT", path, {"room_id": room_id}, status=400, token="other-token")
            assert refused["errcode"] == "M_EXCLUSIVE"

    run(work)


def test_times_of_events(tmp_path: Path) -> None:
    """spec: "Timestamp massaging": of services alone, and of these two endpoints."""

    async def work() -> None:
        async with matrix(registered(tmp_path)) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            room = f"/rooms/{q(room_id)}"
            joined = {"membership": "join"}
            await ask(server, "PUT", f"{room}/state/m.room.member/{q(GHOST)}", joined, user_id=GHOST, ts="1000")
            said = {"msgtype": "m.text", "body": "long ago"}
            sent = await ask(server, "PUT", f"{room}/send/m.room.message/1", said, user_id=GHOST, ts="1001")
            event = await alice.call("GET", f"{room}/event/{q(sent['event_id'])}")
            assert event["origin_server_ts"] == 1001
            member = await alice.call("GET", f"{room}/state/m.room.member/{q(GHOST)}", format="event")
            assert member["origin_server_ts"] == 1000
            # The same transaction of the same user is the same event; of another user it is another.
            again = await ask(server, "PUT", f"{room}/send/m.room.message/1", said, user_id=GHOST, ts="1001")
            assert again == sent
            await ask(server, "POST", f"/join/{q(room_id)}", {})
            own = await ask(server, "PUT", f"{room}/send/m.room.message/1", said)
            assert own != sent
            bad = await ask(server, "PUT", f"{room}/send/m.room.message/2", said, status=400, ts="yesterday")
            assert bad["errcode"] == "M_INVALID_PARAM"
            mine = await alice.call("PUT", f"{room}/send/m.room.message/1", said, ts="1001")
            event = await alice.call("GET", f"{room}/event/{q(mine['event_id'])}")
            assert event["origin_server_ts"] == server.party.clock.ms()

    run(work)


def test_limits_do_not_hold_where_the_registration_says_so(tmp_path: Path) -> None:
    async def work() -> None:
        config = registered(tmp_path, config=make_config(Limits(events_burst=2, events_per_s=0.1)))
        async with matrix(config) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            send = f"/rooms/{q(room_id)}/send/m.room.message"
            said = {"msgtype": "m.text", "body": "hi"}
            await ask(server, "POST", f"/join/{q(room_id)}", {}, user_id=GHOST)
            for number in range(20):
                await ask(server, "PUT", f"{send}/{number}", said, user_id=GHOST)
            assert [await alice.say(room_id, "hi") for _ in range(2)]
            assert await alice.refused("PUT", f"{send}/x", said) == (429, "M_LIMIT_EXCEEDED")

    run(work)


def test_people_whom_a_service_may_speak_for_have_their_limits(tmp_path: Path) -> None:
    """A namespace that is not exclusive: the service is free of them, the people are not."""

    async def work() -> None:
        spaces = {"users": [{"regex": "@.*", "exclusive": False}]}
        config = make_config(Limits(events_burst=2, events_per_s=0.1))
        async with matrix(registered(tmp_path, config=config, namespaces=spaces)) as server:
            alice = await server.register("alice")
            room_id = await alice.create(preset="public_chat")
            send = f"/rooms/{q(room_id)}/send/m.room.message"
            said = {"msgtype": "m.text", "body": "hi"}
            for number in range(10):
                sent = await ask(server, "PUT", f"{send}/{number}", said, user_id=alice.user_id)
            event = await alice.call("GET", f"/rooms/{q(room_id)}/event/{q(sent['event_id'])}")
            assert event["sender"] == alice.user_id
            assert [await alice.say(room_id, "hi") for _ in range(2)]
            assert await alice.refused("PUT", f"{send}/x", said) == (429, "M_LIMIT_EXCEEDED")

    run(work)


def test_a_locked_or_closed_user_stays_so(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(registered(tmp_path, config=make_config(UNLIMITED))) as server:
            await ghost(server)
            await server.party.middle.accounts.set_locked(UserId(GHOST), True)
            refused = await ask(server, "GET", "/account/whoami", status=401, user_id=GHOST)
            assert refused["errcode"] == "M_USER_LOCKED"
            await server.party.middle.accounts.set_locked(UserId(GHOST), False)
            await ask(server, "POST", "/account/deactivate", {}, user_id=GHOST)
            refused = await ask(server, "GET", "/account/whoami", status=403, user_id=GHOST)
            assert refused["errcode"] == "M_USER_DEACTIVATED"

    run(work)


def test_cross_signing_keys_are_replaced_without_a_password(tmp_path: Path) -> None:
    """spec: "Cross-signing": "even if cross-signing keys already exist" """

    async def work() -> None:
        async with matrix(registered(tmp_path)) as server:
            await ghost(server)
            for word in ("", "new"):
                body = Tree(GHOST, word).body()
                await ask(server, "POST", "/keys/device_signing/upload", body, user_id=GHOST)
                found = await ask(server, "POST", "/keys/query", {"device_keys": {GHOST: []}}, user_id=GHOST)
                assert found["master_keys"][GHOST]["keys"] == body["master_key"]["keys"]

    run(work)


def test_what_else_a_service_does_for_its_users(tmp_path: Path) -> None:
    """Files, profiles, and presence, which lasts: nobody syncs for them."""

    async def work() -> None:
        async with matrix(registered(tmp_path)) as server:
            await ghost(server)
            alice = await server.register("alice")
            room_id = await alice.create(preset="public_chat")
            await ask(server, "POST", f"/join/{q(room_id)}", {}, user_id=GHOST)
            name = {"displayname": "Bob (IRC)"}
            await ask(server, "PUT", f"/profile/{q(GHOST)}/displayname", name, user_id=GHOST)
            assert (await alice.call("GET", f"/profile/{q(GHOST)}"))["displayname"] == "Bob (IRC)"
            refused = await ask(server, "PUT", f"/profile/{q(BOT)}/displayname", name, status=403, user_id=GHOST)
            assert refused["errcode"] == "M_FORBIDDEN"
            path = f"/presence/{q(GHOST)}/status"
            await ask(server, "PUT", path, {"presence": "online"}, user_id=GHOST)
            server.party.clock.now += 3600
            server.front.sweep()
            assert (await alice.call("GET", path))["presence"] == "online"
            await ask(server, "PUT", path, {"presence": "offline"}, user_id=GHOST)
            assert (await alice.call("GET", path))["presence"] == "offline"
            # Administrators see whose it is.
            middle = server.party.middle
            await middle.accounts.administration.set_admin(UserId(alice.user_id), True)
            response = await server.request("GET", f"/_synapse/admin/v2/users/{q(GHOST)}", token=alice.token)
            assert orjson.loads(response.body)["appservice_id"] == "irc"
            media = "/_matrix/media/v3/upload"
            response = await server.request("POST", media, raw=b"a file", token=TOKEN, user_id=GHOST, filename="a.txt")
            assert response.status == 200 and orjson.loads(response.body)["content_uri"].startswith("mxc://")

    run(work)
