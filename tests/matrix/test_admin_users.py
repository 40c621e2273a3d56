"""The administrators' API of accounts. docs/operate/administration.md"""

import hashlib
import hmac

import orjson
import pytest

from tests.matrix.admin import admin_of, as_admin
from tests.matrix.client import PASSWORD, Client, matrix, q
from tests.support.middle import Clock, make_config, run
from tripoint.core.ids import UserId
from tripoint.matrix.frontend import ENDPOINT_CLASSES
from tripoint.matrix.registry import Auth, declared_endpoints


def _without_servers(paths: tuple[str, ...]) -> list[str]:
    """What is there without other servers, too (the rest: tests/federation/test_admin.py)."""
    return [path for path in paths if path.startswith("/_synapse/") and "/federation/" not in path]


def test_everything_is_for_administrators_alone() -> None:
    """All that is declared below /_synapse/admin, but for what is proven by a shared secret."""

    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            seen = 0
            for cls in ENDPOINT_CLASSES:
                for _, declared in declared_endpoints(cls):
                    for one in declared:
                        for path in _without_servers(one.paths):
                            if one.auth is Auth.NONE:
                                assert path.endswith("/register")
                                continue
                            seen += 1
                            response = await server.request(one.method, path, {}, token=bob.token)
                            assert (response.status, orjson.loads(response.body)["errcode"]) == (403, "M_FORBIDDEN")
                            assert (await server.request(one.method, path, {})).status == 401
            assert seen > 20
            assert await ada.no("GET", "/v1/no_such_thing") == (404, "M_UNRECOGNIZED")
            assert await ada.no("PATCH", "/v2/users") == (405, "M_UNRECOGNIZED")

    run(work)


def test_listing_accounts() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada = await admin_of(server)
            bob, _ = await server.register("bob"), await server.register("eve")
            await bob.call("PUT", f"/profile/{bob.user_id}/displayname", {"displayname": "Robert"})
            found = await ada.done("GET", "/v2/users")
            assert [user["name"] for user in found["users"]] == ["@ada:example.org", bob.user_id, "@eve:example.org"]
            assert found["total"] == 3 and "next_token" not in found
            assert found["users"][1] == {
                "name": bob.user_id,
                "user_type": None,
                "is_guest": False,
                "admin": False,
                "deactivated": False,
                "erased": False,
                "locked": False,
                "suspended": False,
                "shadow_banned": False,
                "displayname": "Robert",
                "avatar_url": None,
                "creation_ts": server.party.clock.ms(),
                "last_seen_ts": server.party.clock.ms(),
            }
            page = await ada.done("GET", "/v2/users", limit="2")
            assert len(page["users"]) == 2 and page["next_token"] == "2"
            page = await ada.done("GET", "/v3/users", limit="2", **{"from": page["next_token"]})
            assert [user["name"] for user in page["users"]] == ["@eve:example.org"] and "next_token" not in page
            for query, names in (
                ({"name": "ROB"}, ["bob"]),
                ({"user_id": "eve"}, ["eve"]),
                ({"admins": "true"}, ["ada"]),
                ({"order_by": "displayname", "dir": "b"}, ["bob", "eve", "ada"]),
            ):
                found = await ada.done("GET", "/v2/users", **query)
                assert [user["name"][1:4] for user in found["users"]] == names
            await ada.done("POST", "/v1/deactivate/@eve:example.org", {})
            assert (await ada.done("GET", "/v2/users"))["total"] == 2
            assert (await ada.done("GET", "/v2/users", deactivated="true"))["total"] == 3
            assert (await ada.done("GET", "/v3/users", deactivated="true"))["total"] == 1
            await ada.done("PUT", f"/v2/users/{bob.user_id}", {"locked": True})
            assert (await ada.done("GET", "/v3/users", deactivated="false"))["total"] == 1
            assert (await ada.done("GET", "/v3/users", deactivated="false", locked="true"))["total"] == 2
            for query in ({"order_by": "height"}, {"dir": "up"}, {"limit": "-1"}, {"guests": "maybe"}):
                assert await ada.no("GET", "/v2/users", **query) == (400, "M_INVALID_PARAM")

    run(work)


def test_making_and_changing_an_account() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada = await admin_of(server)
            bob = "/v2/users/@bob:example.org"
            assert await ada.no("GET", bob) == (404, "M_NOT_FOUND")
            status, made = await ada.ask("PUT", bob, {"password": "first one", "displayname": "Bob B.", "admin": True})
            assert (status, made["name"], made["displayname"], made["admin"]) == (
                201, "@bob:example.org", "Bob B.", True,
            )  # fmt: skip
            assert made["threepids"] == [] and made["external_ids"] == [] and not made["deactivated"]
            log_in = {"type": "m.login.password", "user": "bob", "password": "first one"}
            response = await server.request("POST", "/_matrix/client/v3/login", log_in)
            session = Client(server, orjson.loads(response.body))
            changed = await ada.done("PUT", bob, {"displayname": "Bobby", "password": "second one", "admin": False})
            assert (changed["displayname"], changed["admin"]) == ("Bobby", False)
            assert await session.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            log_in["password"] = "second one"
            session = Client(
                server, orjson.loads((await server.request("POST", "/_matrix/client/v3/login", log_in)).body)
            )
            await ada.done("PUT", bob, {"password": "third one", "logout_devices": False})
            await session.call("GET", "/account/whoami")
            assert (await ada.done("PUT", bob, {"locked": True, "suspended": True}))["locked"]
            assert (await ada.done("PUT", bob, {"locked": False}))["suspended"]
            assert (await ada.done("PUT", bob, {"deactivated": True}))["deactivated"]
            assert (await server.request("POST", "/_matrix/client/v3/login", log_in)).status == 403
            again = await ada.done("PUT", bob, {"deactivated": False, "password": "fourth one"})
            assert (again["deactivated"], again["suspended"], again["displayname"]) == (False, False, "bob")
            log_in["password"] = "fourth one"
            assert (await server.request("POST", "/_matrix/client/v3/login", log_in)).status == 200
            assert await ada.done("GET", "/v1/users/@bob:example.org/admin") == {"admin": False}
            await ada.done("PUT", "/v1/users/@bob:example.org/admin", {"admin": True})
            assert await ada.done("GET", "/v1/users/@bob:example.org/admin") == {"admin": True}
            assert await ada.no("GET", "/v1/username_available", username="bob") == (400, "M_USER_IN_USE")
            assert await ada.no("GET", "/v1/username_available", username="9bob") == (400, "M_INVALID_USERNAME")
            assert await ada.done("GET", "/v1/username_available", username="robert") == {"available": True}

    run(work)


def test_the_addresses_of_an_account() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            path = f"/v2/users/{bob.user_id}"
            two = [{"medium": "email", "address": address} for address in ("B@x.example", "a@x.example")]
            shown = (await ada.done("PUT", path, {"threepids": two}))["threepids"]
            assert [one["address"] for one in shown] == ["a@x.example", "b@x.example"]
            assert (await ada.done("GET", path))["threepids"] == shown
            assert await bob.call("GET", "/account/3pid") == {"threepids": shown}
            assert await ada.done("GET", "/v1/threepid/email/users/b%40X.example") == {"user_id": bob.user_id}
            assert await ada.no("GET", "/v1/threepid/email/users/c@x.example") == (404, "M_NOT_FOUND")
            # What a tool was shown it can send back; what is not there any more is taken away.
            await ada.done("PUT", path, {"threepids": shown, "displayname": "Bobby"})
            await ada.done("PUT", path, {"threepids": shown[:1]})
            assert await bob.call("GET", "/account/3pid") == {"threepids": shown[:1]}
            mine = {"threepids": [{"medium": "email", "address": "a@x.example"}]}
            assert await ada.no("PUT", "/v2/users/@ada:example.org", mine) == (400, "M_THREEPID_IN_USE")

    run(work)


def test_who_somebody_is_elsewhere_comes_back_as_it_was_shown() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada = await admin_of(server)
            bob = await server.register("bob")
            await server.party.middle.oauth.identities.link("prov", "subject 1", UserId(bob.user_id))
            path = f"/v2/users/{bob.user_id}"
            shown = await ada.done("GET", path)
            assert shown["external_ids"] == [{"auth_provider": "prov", "external_id": "subject 1"}]
            # What a tool has read it writes with one thing changed.
            changed = await ada.done("PUT", path, {**shown, "displayname": "Bobby"})
            assert changed["displayname"] == "Bobby" and changed["external_ids"] == shown["external_ids"]
            for other in (
                [],
                [{"auth_provider": "prov", "external_id": "subject 2"}],
                [*shown["external_ids"], {"auth_provider": "other", "external_id": "x"}],
            ):
                assert await ada.no("PUT", path, {"external_ids": other}) == (400, "M_UNRECOGNIZED")
            for wrong in ("prov", ["prov"], [{"auth_provider": 5, "external_id": "x"}]):
                assert await ada.no("PUT", path, {"external_ids": wrong}) == (400, "M_BAD_JSON")
            assert (await ada.done("GET", path))["external_ids"] == shown["external_ids"]

    run(work)


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("/v2/users/@bob:elsewhere.org", {}, "M_INVALID_PARAM"),
        ("/v2/users/@ada:example.org", {"threepids": [{"medium": "email", "address": "b@x"}]}, "M_INVALID_PARAM"),
        ("/v2/users/@bob:example.org", {"threepids": [{"medium": "msisdn", "address": "1"}]}, "M_UNRECOGNIZED"),
        ("/v2/users/@bob:example.org", {"threepids": ["b@x.example"]}, "M_BAD_JSON"),
        ("/v2/users/@bob:example.org", {"external_ids": [{}]}, "M_UNRECOGNIZED"),
        ("/v2/users/@bob:example.org", {"user_type": "bot"}, "M_UNRECOGNIZED"),
        ("/v2/users/@bob:example.org", {"admin": "yes"}, "M_BAD_JSON"),
        ("/v2/users/@bob:example.org", {"deactivated": True, "locked": True}, "M_BAD_JSON"),
        ("/v2/users/@bob:example.org", {"deactivated": True}, "M_INVALID_PARAM"),
        ("/v2/users/@9:example.org", {"password": "x"}, "M_INVALID_USERNAME"),
        ("/v2/users/@ada:example.org", {"admin": False}, "M_INVALID_PARAM"),
        ("/v2/users/@ada:example.org", {"locked": True}, "M_INVALID_PARAM"),
        ("/v1/users/@ada:example.org/admin", {"admin": False}, "M_INVALID_PARAM"),
        ("/v1/users/@bob:example.org/admin", {}, "M_MISSING_PARAM"),
    ],
)
def test_what_cannot_be_set(path: str, body: object, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            ada = await admin_of(server)
            assert await ada.no("PUT", path, body) == (400, errcode)
            assert (await ada.done("GET", "/v2/users"))["total"] == 1

    run(work)


def test_what_is_done_to_an_account() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            room = await bob.create(preset="public_chat")
            await bob.call("PUT", f"/user/{bob.user_id}/account_data/org.example.a", {"b": 1})
            assert await ada.done("GET", f"/v1/users/{bob.user_id}/joined_rooms") == {
                "joined_rooms": [room],
                "total": 1,
            }
            assert await ada.done("GET", "/v1/users/@far:away.org/joined_rooms") == {"joined_rooms": [], "total": 0}
            assert await ada.done("GET", f"/v1/users/{bob.user_id}/memberships") == {"memberships": {room: "join"}}
            assert await ada.done("GET", f"/v1/users/{bob.user_id}/pushers") == {"pushers": [], "total": 0}
            kept = (await ada.done("GET", f"/v1/users/{bob.user_id}/accountdata"))["account_data"]
            assert kept["global"]["org.example.a"] == {"b": 1} and kept["rooms"] == {}
            assert [*(await ada.done("GET", f"/v1/whois/{bob.user_id}"))["devices"]] == [bob.device_id]
            await ada.done("PUT", f"/v1/suspend/{bob.user_id}", {"suspend": True})
            assert await bob.refused("POST", "/createRoom", {}) == (403, "M_USER_SUSPENDED")
            answer = await ada.done("PUT", f"/v1/suspend/{bob.user_id}", {"suspend": False})
            assert answer == {f"user_{bob.user_id}_suspended": False}
            await ada.done(
                "POST", f"/v1/reset_password/{bob.user_id}", {"new_password": "other", "logout_devices": False}
            )
            await bob.call("GET", "/account/whoami")
            await ada.done("POST", f"/v1/reset_password/{bob.user_id}", {"new_password": "another"})
            assert await bob.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            for method, path in (
                ("POST", "/v1/deactivate/@no:example.org"),
                ("GET", "/v1/whois/@no:example.org"),
                ("POST", "/v1/users/@no:example.org/login"),
                ("POST", "/v1/users/@no:example.org/shadow_ban"),
                ("GET", "/v1/threepid/email/users/a@b.c"),
                ("GET", "/v1/auth_providers/x/users/y"),
                ("GET", "/v1/user/redact_status/none"),
            ):
                assert await ada.no(method, path, {}) == (404, "M_NOT_FOUND"), path
            validity = {"user_id": bob.user_id}
            assert await ada.no("POST", "/v1/account_validity/validity", validity) == (400, "M_UNRECOGNIZED")

    run(work)


def test_logging_in_as_somebody() -> None:
    """The session is among the user's own, and ends by itself."""

    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            until = server.party.clock.ms() + 60_000
            got = await ada.done("POST", f"/v1/users/{bob.user_id}/login", {"valid_until_ms": until})
            other = Client(server, {"user_id": bob.user_id, "device_id": "", **got})
            assert (await other.call("GET", "/account/whoami"))["user_id"] == bob.user_id
            devices = (await bob.call("GET", "/devices"))["devices"]
            assert "Administrator ada" in [device["display_name"] for device in devices]
            server.party.clock.now += 61
            assert await other.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            assert await ada.no("POST", f"/v1/users/{ada.user_id}/login", {}) == (400, "M_INVALID_PARAM")

    run(work)


def test_limits_of_ones_own() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            path, room = f"/v1/users/{bob.user_id}/override_ratelimit", await bob.create()
            assert await ada.done("GET", path) == {}
            given = {"messages_per_second": 1, "burst_count": 2}
            assert await ada.done("POST", path, given) == given == await ada.done("GET", path)
            await bob.say(room, "1")
            await bob.say(room, "2")
            sent = f"/rooms/{q(room)}/send/m.room.message/3"
            assert await bob.refused("PUT", sent, {"body": "3", "msgtype": "m.text"}) == (429, "M_LIMIT_EXCEEDED")
            assert await ada.done("POST", path, {}) == {"messages_per_second": 0, "burst_count": 0}
            await bob.say(room, "3")
            assert await ada.done("DELETE", path) == {} == await ada.done("GET", path)
            assert await ada.no("POST", path, {"burst_count": -1}) == (400, "M_INVALID_PARAM")

    run(work)


def test_taking_back_what_somebody_said() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            rooms = [await eve.create(preset="public_chat") for _ in range(2)]
            said = []
            for room in rooms:
                await bob.join(room)
                said += [await bob.say(room, f"{number} in {room}") for number in range(3)]
            other = await eve.say(rooms[0], "hello")
            asked = {"rooms": [rooms[0]], "reason": "spam", "limit": 2}
            begun = await ada.done("POST", f"/v1/user/{bob.user_id}/redact", asked)
            await server.party.middle.desk.jobs.settled()
            status = await ada.done("GET", f"/v1/user/redact_status/{begun['redact_id']}")
            assert status == {"status": "complete", "failed_redactions": {}, "total_redactions": 2}

            async def gone(room: str, event_id: str) -> bool:
                return not (await eve.call("GET", f"/rooms/{q(room)}/event/{event_id}"))["content"]

            assert [await gone(rooms[0], one) for one in said[:3]] == [False, True, True]
            await bob.call("POST", f"/rooms/{q(rooms[1])}/leave", {})
            begun = await ada.done("POST", f"/v1/user/{bob.user_id}/redact", {"rooms": rooms})
            await server.party.middle.desk.jobs.settled()
            assert all(
                [await gone(rooms[0], one) for one in said[:3]] + [await gone(rooms[1], one) for one in said[3:]]
            )
            assert not await gone(rooms[0], other)
            for body, errcode in (
                ({}, "M_MISSING_PARAM"),
                ({"rooms": "all"}, "M_BAD_JSON"),
                ({"rooms": ["tea"]}, "M_INVALID_PARAM"),
                ({"rooms": [], "limit": 0}, "M_INVALID_PARAM"),
            ):
                assert await ada.no("POST", f"/v1/user/{bob.user_id}/redact", body) == (400, errcode)

    run(work)


def test_what_is_not_done_is_done_after_a_restart() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            room = await bob.create(preset="public_chat")
            said = await bob.say(room, "spam")
            middle = server.party.middle
            asked = await ada.done("POST", f"/v1/user/{bob.user_id}/redact", {"rooms": []})
            await middle.desk.jobs.close()
            assert (await bob.call("GET", f"/rooms/{q(room)}/event/{said}"))["content"]
            await middle.desk.jobs.start()
            await middle.desk.jobs.settled()
            assert not (await bob.call("GET", f"/rooms/{q(room)}/event/{said}"))["content"]
            status = await ada.done("GET", f"/v1/user/redact_status/{asked['redact_id']}")
            assert status["status"] == "complete"
            server.party.clock.now += 8 * 86_400
            await middle.desk.jobs.start()
            assert await middle.store.load_names("job", "") == {}

    run(work)


def test_to_be_forgotten() -> None:
    """spec: POST /account/deactivate, `erase`; the administrator's way is the same."""

    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await eve.create(preset="public_chat")
            said = {}
            for client in (bob, ada):
                await client.join(room)
                said[client.user_id] = await client.say(room, "something of mine")
            await ada.done("POST", f"/v1/deactivate/{bob.user_id}", {"erase": True})
            assert (await ada.done("GET", f"/v2/users/{bob.user_id}"))["erased"]
            auth = {"type": "m.login.password", "user": "ada", "password": PASSWORD}
            await ada.call("POST", "/account/deactivate", {"erase": True, "auth": auth})
            for event_id in said.values():
                assert (await eve.call("GET", f"/rooms/{q(room)}/event/{event_id}"))["content"] == {}

    run(work)


def test_registration_by_a_shared_secret() -> None:
    path = "/_synapse/admin/v1/register"

    def mac(nonce: str, name: str, password: str, admin: str = "notadmin") -> str:
        return hmac.new(b"hush", "\0".join((nonce, name, password, admin)).encode(), hashlib.sha1).hexdigest()

    async def work() -> None:
        clock = Clock()
        async with matrix(make_config(registration="closed", registration_shared_secret="hush"), clock=clock) as server:

            async def nonce() -> str:
                answer = orjson.loads((await server.request("GET", path)).body)
                assert isinstance(answer["nonce"], str)
                return answer["nonce"]

            async def ask(**body: object) -> tuple[int, dict[str, str]]:
                response = await server.request("POST", path, body)
                return response.status, orjson.loads(response.body)

            one = await nonce()
            right = {"nonce": one, "username": "bob", "password": "pw", "admin": True, "displayname": "B"}
            status, body = await ask(**right, mac=mac(one, "bob", "pw", "admin"))
            assert status == 200 and body["user_id"] == "@bob:example.org" and body["access_token"]
            account = await server.party.middle.accounts.administration.account(body["user_id"])  # type: ignore[arg-type]
            assert account is not None and account.account.admin and account.displayname == "B"
            # A nonce is good once, whatever came of it.
            assert (await ask(**right, mac=mac(one, "bob", "pw", "admin")))[0] == 400
            two = await nonce()
            status, body = await ask(nonce=two, username="eve", password="pw", admin=True, mac=mac(two, "eve", "pw"))
            assert (status, body["errcode"]) == (403, "M_UNKNOWN")
            assert (await ask(nonce=two, username="eve", password="pw", mac=mac(two, "eve", "pw")))[0] == 400
            three = await nonce()
            assert (await ask(nonce=three, username="eve", password="pw", mac="é"))[0] == 403
            four = await nonce()
            assert (await ask(nonce=four, username="bob", password="pw", mac=mac(four, "bob", "pw")))[1]["errcode"] == (
                "M_USER_IN_USE"
            )
            assert (await ask(username="eve", password="pw", mac="x"))[1]["errcode"] == "M_MISSING_PARAM"
        async with matrix() as server:
            for method in ("GET", "POST"):
                response = await server.request(method, path, {})
                assert (response.status, orjson.loads(response.body)["errcode"]) == (400, "M_UNRECOGNIZED")

    run(work)


def test_registration_tokens() -> None:
    async def work() -> None:
        async with matrix(make_config(registration="token")) as server:
            ada = await admin_of(server)
            tokens = "/v1/registration_tokens"
            soon = server.party.clock.ms() + 60_000
            made = await ada.done("POST", f"{tokens}/new", {"token": "abc", "uses_allowed": 2, "expiry_time": soon})
            shown = {"token": "abc", "uses_allowed": 2, "pending": 0, "completed": 0, "expiry_time": soon}
            assert made == shown == await ada.done("GET", f"{tokens}/abc")
            assert len((await ada.done("POST", f"{tokens}/new", {"length": 20}))["token"]) == 20
            auth = {"type": "m.login.registration_token", "token": "abc"}
            begun = await server.request(
                "POST", "/_matrix/client/v3/register", {"username": "bob", "password": PASSWORD}
            )
            auth["session"] = orjson.loads(begun.body)["session"]
            body = {"username": "bob", "password": PASSWORD, "auth": auth}
            assert (await server.request("POST", "/_matrix/client/v3/register", body)).status == 200
            assert (await ada.done("GET", f"{tokens}/abc"))["completed"] == 1
            changed = await ada.done("PUT", f"{tokens}/abc", {"uses_allowed": 1})
            assert (changed["uses_allowed"], changed["expiry_time"]) == (1, soon)
            good = await ada.done("GET", tokens, valid="true")
            bad = await ada.done("GET", tokens, valid="false")
            assert len(good["registration_tokens"]) == 1 and [one["token"] for one in bad["registration_tokens"]] == [
                "abc"
            ]
            changed = await ada.done("PUT", f"{tokens}/abc", {"uses_allowed": None, "expiry_time": None})
            assert (changed["uses_allowed"], changed["expiry_time"]) == (None, None)
            assert len((await ada.done("GET", tokens))["registration_tokens"]) == 2
            assert await ada.done("DELETE", f"{tokens}/abc") == {}
            for method in ("GET", "PUT", "DELETE"):
                assert await ada.no(method, f"{tokens}/abc", {}) == (404, "M_NOT_FOUND")
            for wrong in (
                {"token": "a b"}, {"token": ""}, {"token": 5}, {"length": 0}, {"length": 65}, {"length": True},
                {"uses_allowed": -1}, {"uses_allowed": "2"}, {"expiry_time": 5}, {"token": "x" * 65},
            ):  # fmt: skip
                assert await ada.no("POST", f"{tokens}/new", wrong) == (400, "M_INVALID_PARAM"), wrong

    run(work)


def test_a_shadow_ban() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await eve.create(preset="public_chat")
            await bob.join(room)
            await bob.say(room, "before")
            await eve.sync()
            assert await as_admin(bob, "POST", f"/v1/users/{eve.user_id}/shadow_ban") == (403, "M_FORBIDDEN")
            await ada.done("POST", f"/v1/users/{bob.user_id}/shadow_ban")
            assert (await ada.done("GET", f"/v2/users/{bob.user_id}"))["shadow_banned"]
            event_id = await bob.say(room, "unheard")
            assert event_id.startswith("$") and await eve.timeline(room) == []
            await bob.call("PUT", f"/rooms/{q(room)}/typing/{bob.user_id}", {"typing": True, "timeout": 5000})
            await bob.call("POST", f"/rooms/{q(room)}/invite", {"user_id": ada.user_id})
            own = await bob.create(preset="private_chat", invite=[eve.user_id])
            assert own not in (await eve.sync()).get("rooms", {}).get("invite", {})
            assert (await ada.sync()).get("rooms", {}).get("invite", {}) == {}
            assert await bob.refused("PUT", f"/rooms/{q(room)}/state/m.room.topic", {"topic": "x"}) == (
                403,
                "M_FORBIDDEN",
            )
            await bob.call("PUT", f"/rooms/{q(own)}/state/m.room.topic", {"topic": "x"})
            assert await bob.refused("GET", f"/rooms/{q(own)}/state/m.room.topic") == (404, "M_NOT_FOUND")
            await bob.call("POST", f"/rooms/{q(own)}/upgrade", {"new_version": "11"}, status=429)
            await eve.call("POST", f"/rooms/{q(own)}/join", {}, status=403)
            await eve.call("PUT", f"/rooms/{q(room)}/state/m.room.power_levels", {"users": {bob.user_id: 90}})
            await eve.sync()
            await bob.call("POST", f"/rooms/{q(room)}/kick", {"user_id": eve.user_id})
            assert await eve.timeline(room) == []
            await ada.done("DELETE", f"/v1/users/{bob.user_id}/shadow_ban")
            await bob.say(room, "heard")
            assert [event["content"]["body"] for event in await eve.timeline(room)] == ["heard"]
            assert await ada.no("POST", f"/v1/users/{ada.user_id}/shadow_ban") == (400, "M_INVALID_PARAM")

    run(work)


def test_devices() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            log_in = {"type": "m.login.password", "user": "bob", "password": PASSWORD}
            others = []
            for name in ("one", "two", "three"):
                asked = {**log_in, "initial_device_display_name": name}
                response = await server.request("POST", "/_matrix/client/v3/login", asked)
                others.append(Client(server, orjson.loads(response.body)))
            path = f"/v2/users/{bob.user_id}/devices"
            found = await ada.done("GET", path)
            assert found["total"] == 4
            assert {device["device_id"] for device in found["devices"]} == {
                bob.device_id, *(other.device_id for other in others),
            }  # fmt: skip
            await ada.done("PUT", f"{path}/{others[0].device_id}", {"display_name": "renamed"})
            shown = await ada.done("GET", f"{path}/{others[0].device_id}")
            assert (shown["display_name"], shown["user_id"]) == ("renamed", bob.user_id)
            await ada.done("DELETE", f"{path}/{others[0].device_id}")
            assert await others[0].refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            gone = [other.device_id for other in others[1:]]
            await ada.done("POST", f"/v2/users/{bob.user_id}/delete_devices", {"devices": [*gone, "nothing"]})
            assert (await ada.done("GET", path))["total"] == 1
            await bob.call("GET", "/account/whoami")
            for method in ("GET", "PUT", "DELETE"):
                assert await ada.no(method, f"{path}/nothing", {}) == (404, "M_NOT_FOUND")
            assert await ada.no("GET", "/v2/users/@no:example.org/devices") == (404, "M_NOT_FOUND")
            assert await ada.no("POST", path, {"device_id": "NEW"}) == (400, "M_UNRECOGNIZED")
            several = f"/v2/users/{bob.user_id}/delete_devices"
            assert await ada.no("POST", several, {}) == (400, "M_MISSING_PARAM")
            assert await ada.no("POST", several, {"devices": [1]}) == (400, "M_BAD_JSON")
            assert (await ada.done("GET", "/v1/server_version"))["server_version"].startswith("tripoint ")

    run(work)
