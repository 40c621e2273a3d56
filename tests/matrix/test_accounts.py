"""Registration, log-in, tokens, log-out, passwords, devices, profiles, account data.

spec: Matrix client-server "Account registration and management", "Login", "User-Interactive Authentication"
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, Server, matrix, q
from tests.support.middle import make_config, run
from tripoint.accounts.refusals import AccountRefused
from tripoint.store.interface import Done
from tripoint.store.memory import MemoryStore
from tripoint.store.writes import Write

V3 = "/_matrix/client/v3"


async def post(server: Server, path: str, body: Any, **query: str) -> tuple[int, Any]:
    response = await server.request("POST", f"{V3}{path}", body, **query)
    return response.status, orjson.loads(response.body)


def test_registration_asks_for_a_stage_and_takes_it() -> None:
    """spec: "User-Interactive Authentication API": 401 with flows and a session, then 200."""

    async def work() -> None:
        async with matrix() as server:
            status, asked = await post(server, "/register", {"username": "alice", "password": PASSWORD})
            assert status == 401
            assert asked["flows"] == [{"stages": ["m.login.dummy"]}]
            auth = {"type": "m.login.dummy", "session": asked["session"]}
            body = {"username": "alice", "password": PASSWORD, "auth": auth}
            status, made = await post(server, "/register", body)
            assert status == 200
            assert made["user_id"] == "@alice:example.org"
            me = await Client(server, made).call("GET", "/account/whoami")
            assert me == {"user_id": "@alice:example.org", "device_id": made["device_id"], "is_guest": False}
            # A session is good once.
            status, again = await post(server, "/register", {**body, "username": "bob"})
            assert (status, again["errcode"]) == (400, "M_UNKNOWN")

    run(work)


def test_what_registration_refuses() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            auth = {"type": "m.login.dummy"}
            for body, query, status, errcode in (
                ({"username": "alice", "password": PASSWORD, "auth": auth}, {}, 400, "M_USER_IN_USE"),
                ({"username": "has space", "password": PASSWORD, "auth": auth}, {}, 400, "M_INVALID_USERNAME"),
                ({"username": "bob", "password": "", "auth": auth}, {}, 400, "M_WEAK_PASSWORD"),
                ({"username": "bob", "auth": auth}, {}, 400, "M_MISSING_PARAM"),
                ({}, {"kind": "guest"}, 403, "M_GUEST_ACCESS_FORBIDDEN"),
                ({}, {"kind": "ghost"}, 400, "M_INVALID_PARAM"),
            ):
                got, answer = await post(server, "/register", body, **query)
                assert (got, answer["errcode"]) == (status, errcode), answer
            response = await server.request("GET", f"{V3}/register/available", username="alice")
            assert orjson.loads(response.body)["errcode"] == "M_USER_IN_USE"
            response = await server.request("GET", f"{V3}/register/available", username="bob")
            assert orjson.loads(response.body) == {"available": True}

    run(work)


def test_registration_by_token() -> None:
    """spec: "Token-authenticated registration"."""

    async def work() -> None:
        async with matrix(make_config(registration="token")) as server:
            await server.party.middle.accounts.registration_tokens.add("come-in", 1, None)
            body = {"username": "alice", "password": PASSWORD}
            status, asked = await post(server, "/register", body)
            assert (status, asked["flows"]) == (401, [{"stages": ["m.login.registration_token"]}])
            auth = {"type": "m.login.registration_token", "token": "wrong", "session": asked["session"]}
            status, answer = await post(server, "/register", {**body, "auth": auth})
            assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
            path = "/_matrix/client/v1/register/m.login.registration_token/validity"
            for token, valid in (("come-in", True), ("wrong", False)):
                response = await server.request("GET", f"{path}", parameters={"token": token})
                assert orjson.loads(response.body) == {"valid": valid}
            auth = {"type": "m.login.registration_token", "token": "come-in"}
            # It is for one use, also where two come at the same moment.
            others = [{**body, "username": name, "auth": auth} for name in ("alice", "bob", "carol")]
            answers = await asyncio.gather(*(post(server, "/register", other) for other in others))
            assert sorted(status for status, _ in answers) == [200, 401, 401]

    run(work)


def test_a_name_stays_taken_where_nobody_waited_for_the_answer() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with matrix(store=store) as server:
            accounts = server.party.middle.accounts
            submit, held, arrived = store.submit, list[tuple[Sequence[Write], Done]](), asyncio.Event()

            def hold(writes: Sequence[Write], done: Done) -> None:
                held.append((writes, done))
                arrived.set()

            store.submit = hold  # type: ignore[method-assign]
            task = asyncio.create_task(accounts.register("alice", PASSWORD, address="127.0.0.1"))
            await asyncio.wait_for(arrived.wait(), 10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            submit(*held[0])
            await asyncio.sleep(0)
            assert await accounts.is_local_user(accounts.user_id("alice"))
            with pytest.raises(AccountRefused):
                await accounts.check_name("alice")

    run(work)


@pytest.mark.parametrize("user", ["alice", "Alice", "@alice:example.org"])
def test_log_in_by_password(user: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            body = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user},
                "password": PASSWORD,
                "device_id": "PHONE",
                "initial_device_display_name": "Phone",
            }
            status, answer = await post(server, "/login", body)
            assert (status, answer["device_id"]) == (200, "PHONE")
            first = Client(server, answer)
            # Logging in again on the same device ends its earlier token.
            status, answer = await post(server, "/login", body)
            second = Client(server, answer)
            assert await first.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            devices = (await second.call("GET", "/devices"))["devices"]
            assert {d["device_id"]: d.get("display_name") for d in devices}["PHONE"] == "Phone"

    run(work)


def test_what_log_in_refuses() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            identifier = {"type": "m.id.user", "user": "alice"}
            for body, status, errcode in (
                ({"type": "m.login.password", "identifier": identifier, "password": "no"}, 403, "M_FORBIDDEN"),
                (
                    {
                        "type": "m.login.password",
                        "identifier": {"type": "m.id.user", "user": "@alice:other.org"},
                        "password": PASSWORD,
                    },
                    403,
                    "M_FORBIDDEN",
                ),
                ({"type": "m.login.sso"}, 400, "M_UNKNOWN"),
                ({"type": "m.login.password", "identifier": identifier}, 400, "M_MISSING_PARAM"),
            ):
                got, answer = await post(server, "/login", body)
                assert (got, answer["errcode"]) == (status, errcode), answer
            response = await server.request("POST", f"{V3}/login", raw=b"{not json")
            assert (response.status, orjson.loads(response.body)["errcode"]) == (400, "M_NOT_JSON")
            response = await server.request("POST", f"{V3}/login", raw=b"[]")
            assert (response.status, orjson.loads(response.body)["errcode"]) == (400, "M_BAD_JSON")

    run(work)


def test_refresh_log_out_and_log_out_everywhere() -> None:
    async def work() -> None:
        async with matrix() as server:
            made = await post(
                server,
                "/register",
                {
                    "username": "alice",
                    "password": PASSWORD,
                    "auth": {"type": "m.login.dummy"},
                    "refresh_token": True,
                },
            )
            refresh_token = made[1]["refresh_token"]
            assert made[1]["expires_in_ms"] == 3_600_000
            status, fresh = await post(server, "/refresh", {"refresh_token": refresh_token})
            assert status == 200 and fresh["access_token"] != made[1]["access_token"]
            client = Client(server, {**made[1], **fresh})
            other = await post(
                server,
                "/login",
                {
                    "type": "m.login.password",
                    "identifier": {"type": "m.id.user", "user": "alice"},
                    "password": PASSWORD,
                },
            )
            second = Client(server, other[1])
            await client.call("POST", "/logout", {})
            assert await client.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            await second.call("POST", "/logout/all", {})
            assert await second.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")

    run(work)


def test_a_password_is_changed_and_an_account_closed_with_the_password() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            asked = await alice.call("POST", "/account/password", {"new_password": "new secret"}, status=401)
            assert asked["flows"] == [{"stages": ["m.login.password"]}]
            auth = {
                "type": "m.login.password",
                "session": asked["session"],
                "identifier": {"type": "m.id.user", "user": "alice"},
                "password": PASSWORD,
            }
            await alice.call("POST", "/account/password", {"new_password": "new secret", "auth": auth})
            await alice.call("GET", "/account/whoami")
            auth = {**auth, "password": "new secret"}
            del auth["session"]
            await alice.call("POST", "/account/deactivate", {"auth": auth})
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            identifier = {"type": "m.id.user", "user": "alice"}
            body = {"type": "m.login.password", "identifier": identifier, "password": "new secret"}
            assert (await post(server, "/login", body))[1]["errcode"] == "M_USER_DEACTIVATED"

    run(work)


def test_devices_are_listed_named_and_deleted() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice", device_id="ONE")
            await alice.call("PUT", "/devices/ONE", {"display_name": "First"})
            assert (await alice.call("GET", "/devices/ONE"))["display_name"] == "First"
            assert await alice.refused("GET", "/devices/TWO") == (404, "M_NOT_FOUND")
            await alice.call("DELETE", "/devices/ONE", {}, status=401)
            auth = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "alice"},
                "password": PASSWORD,
            }
            await alice.call("DELETE", "/devices/ONE", {"auth": auth})
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")

    run(work)


def test_profiles_are_public_and_changed_by_their_owner() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            me = q(alice.user_id)
            await alice.call("PUT", f"/profile/{me}/displayname", {"displayname": "Alice"})
            await alice.call("PUT", f"/profile/{me}/avatar_url", {"avatar_url": "mxc://example.org/a"})
            assert await bob.call("GET", f"/profile/{me}") == {
                "displayname": "Alice",
                "avatar_url": "mxc://example.org/a",
            }
            assert await bob.call("GET", f"/profile/{me}/displayname") == {"displayname": "Alice"}
            await alice.call("DELETE", f"/profile/{me}/avatar_url")
            assert await bob.refused("GET", f"/profile/{me}/avatar_url") == (404, "M_NOT_FOUND")
            change = {"displayname": "Mallory"}
            assert await bob.refused("PUT", f"/profile/{me}/displayname", change) == (403, "M_FORBIDDEN")
            assert await bob.refused("GET", f"/profile/{q('@nobody:example.org')}") == (404, "M_NOT_FOUND")

    run(work)


def test_account_data_and_filters_are_private() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            me = q(alice.user_id)
            await alice.call("PUT", f"/user/{me}/account_data/org.example.x", {"a": 1})
            assert await alice.call("GET", f"/user/{me}/account_data/org.example.x") == {"a": 1}
            assert await alice.refused("GET", f"/user/{me}/account_data/org.example.y") == (404, "M_NOT_FOUND")
            assert await bob.refused("GET", f"/user/{me}/account_data/org.example.x") == (403, "M_FORBIDDEN")
            rules = await alice.refused("PUT", f"/user/{me}/account_data/m.push_rules", {})
            assert rules == (405, "M_BAD_JSON")
            definition = {"room": {"timeline": {"limit": 5}}}
            made = (await alice.call("POST", f"/user/{me}/filter", definition))["filter_id"]
            assert await alice.call("GET", f"/user/{me}/filter/{made}") == definition
            assert await bob.refused("GET", f"/user/{me}/filter/{made}") == (403, "M_FORBIDDEN")
            assert (await alice.refused("POST", f"/user/{me}/filter", {"room": 5}))[1] == "M_BAD_JSON"

    run(work)


def test_the_default_push_rules_are_those_of_the_specification() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            rules = (await alice.call("GET", "/pushrules/"))["global"]
            assert rules["override"][0]["rule_id"] == ".m.rule.master"
            mention = next(r for r in rules["override"] if r["rule_id"] == ".m.rule.is_user_mention")
            assert mention["conditions"][0]["value"] == alice.user_id
            one = await alice.call("GET", "/pushrules/global/underride/.m.rule.message")
            assert one["actions"] == ["notify"]

    run(work)


def test_unknown_addresses_methods_and_tokens() -> None:
    """spec: "Common error codes": M_UNRECOGNIZED with 404 or 405; "Using access tokens"."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            for method, path, status, errcode in (
                ("GET", f"{V3}/nothing/here", 404, "M_UNRECOGNIZED"),
                ("GET", "/_matrix/federation/v1/version", 404, "M_UNRECOGNIZED"),
                ("DELETE", f"{V3}/sync", 405, "M_UNRECOGNIZED"),
                ("GET", f"{V3}/sync", 401, "M_MISSING_TOKEN"),
            ):
                response = await server.request(method, path)
                answer = orjson.loads(response.body)
                assert (response.status, answer["errcode"]) == (status, errcode)
                assert dict(response.headers)[b"access-control-allow-origin"] == b"*"
            response = await server.request("GET", f"{V3}/sync", token="tp_made_up")
            answer = orjson.loads(response.body)
            assert (response.status, answer["errcode"], answer["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", False)
            response = await server.request("OPTIONS", f"{V3}/sync")
            assert response.status == 204
            assert b"Authorization" in dict(response.headers)[b"access-control-allow-headers"]
            response = await server.request("GET", f"{V3}/account/whoami", access_token=alice.token)
            assert response.status == 200

    run(work)


def test_what_the_server_says_of_itself() -> None:
    async def work() -> None:
        async with matrix() as server:
            response = await server.request("GET", "/_matrix/client/versions")
            assert orjson.loads(response.body)["versions"][-1] == "v1.19"
            unstable = dict.fromkeys(
                (
                    "org.matrix.simplified_msc3575",
                    "org.matrix.msc4140",
                    "org.matrix.msc4354",
                    "dev.tripoint.sync_socket",
                    "org.matrix.msc4108",
                ),
                True,
            )
            assert orjson.loads(response.body)["unstable_features"] == unstable
            response = await server.request("GET", "/.well-known/matrix/client")
            assert orjson.loads(response.body) == {"m.homeserver": {"base_url": "https://chat.example.org"}}
            alice = await server.register("alice")
            assert await alice.call("GET", "/account/3pid") == {"threepids": []}
            capabilities = (await alice.call("GET", "/capabilities"))["capabilities"]
            assert capabilities["m.room_versions"]["default"] == "12"
            assert {"1", "2", "3", "12"} <= capabilities["m.room_versions"]["available"].keys()

    run(work)


def test_a_password_crosses_no_network_in_the_clear() -> None:
    """DESIGN "Safe by default": TLS, or this machine itself."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            identifier = {"type": "m.id.user", "user": "alice"}
            log_in = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            server.address = "203.0.113.7"
            register = {"username": "bob", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
            for path, body in (("/login", log_in), ("/register", register)):
                status, answer = await post(server, path, body)
                assert (status, answer["errcode"], answer["error"]) == (
                    403,
                    "M_FORBIDDEN",
                    "A password may only be sent over TLS",
                )
            auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            change = {"new_password": "other words", "auth": auth}
            assert await alice.refused("POST", "/account/password", change) == (403, "M_FORBIDDEN")
            # A token is another matter: whoever has one got it over TLS.
            await alice.call("GET", "/account/whoami")
            server.secure = True
            assert (await post(server, "/login", log_in))[0] == 200
            assert (await post(server, "/register", register))[0] == 200

    run(work)


def test_a_login_token_lets_one_more_client_in_once() -> None:
    """spec: POST /login/get_token: always with the password, valid once, two minutes, paced; "Token-based" login."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            auth = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "alice"},
                "password": PASSWORD,
            }

            async def ask(body: Any) -> tuple[int, Any]:
                path = "/_matrix/client/v1/login/get_token"
                response = await server.request("POST", path, body, token=alice.token)
                return response.status, orjson.loads(response.body)

            async def come_in(token: Any) -> tuple[int, Any]:
                return await post(server, "/login", {"type": "m.login.token", "token": token})

            flows = orjson.loads((await server.request("GET", f"{V3}/login")).body)["flows"]
            assert {"type": "m.login.token", "get_login_token": True} in flows
            status, asked = await ask({})
            assert (status, asked["flows"]) == (401, [{"stages": ["m.login.password"]}])
            assert (await ask({"auth": {**auth, "password": "wrong"}}))[0] == 401
            status, made = await ask({"auth": {**auth, "session": asked["session"]}})
            assert (status, made["expires_in_ms"]) == (200, 120_000)
            status, inside = await come_in(made["login_token"])
            assert (status, inside["user_id"]) == (200, alice.user_id)
            assert (await Client(server, inside).call("GET", "/account/whoami"))["device_id"] == inside["device_id"]
            assert (await come_in(made["login_token"]))[1]["errcode"] == "M_FORBIDDEN"
            # too late
            late = (await ask({"auth": auth}))[1]["login_token"]
            server.party.clock.now += 120
            assert (await come_in(late))[0] == 403
            # a changed password makes it void, and so does the end of all sessions
            void = (await ask({"auth": auth}))[1]["login_token"]
            change = {"new_password": "other words", "auth": auth, "logout_devices": False}
            await alice.call("POST", "/account/password", change)
            assert (await come_in(void))[0] == 403
            auth["password"] = "other words"
            # one a minute
            answers = [await ask({"auth": auth}) for _ in range(4)]
            assert [status for status, _ in answers].count(429) >= 1
            assert answers[-1][1]["errcode"] == "M_LIMIT_EXCEEDED"
            for nonsense in (None, 3, "nonsense", ""):
                assert (await come_in(nonsense))[0] in (400, 403)

    run(work)
