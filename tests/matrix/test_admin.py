"""What administrators ask and do about accounts.

spec: Matrix client-server, module admin; "Account locking"; "Account suspension"
"""

import asyncio
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, Server, matrix
from tests.support.middle import run

V1 = "/_matrix/client/v1/admin"


async def admin_of(server: Server) -> Client:
    """An administrator, logged in."""
    await server.party.middle.accounts.add_account("ada", PASSWORD, admin=True)
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "ada"}, "password": PASSWORD}
    response = await server.request("POST", "/_matrix/client/v3/login", body)
    return Client(server, orjson.loads(response.body))


async def ask(client: Client, method: str, what: str, user_id: str, body: Any = None) -> tuple[int, Any]:
    response = await client.server.request(method, f"{V1}/{what}/{user_id}", body, token=client.token)
    return response.status, orjson.loads(response.body)


@pytest.mark.parametrize(("what", "flag"), [("lock", "locked"), ("suspend", "suspended")])
def test_who_may_and_what_is_refused(what: str, flag: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            assert await ask(ada, "GET", what, bob.user_id) == (200, {flag: False})
            assert await ask(ada, "PUT", what, bob.user_id, {flag: True}) == (200, {flag: True})
            assert await ask(ada, "GET", what, bob.user_id) == (200, {flag: True})
            assert await ask(ada, "PUT", what, bob.user_id, {flag: False}) == (200, {flag: False})
            for client, user_id, body, status, errcode in (
                (bob, "@nobody:example.org", {flag: True}, 403, "M_FORBIDDEN"),  # before there is a look-up
                (ada, ada.user_id, {flag: True}, 403, "M_FORBIDDEN"),
                (ada, "@nobody:example.org", {flag: True}, 404, "M_NOT_FOUND"),
                (ada, "@bob:elsewhere.org", {flag: True}, 400, "M_INVALID_PARAM"),
                (ada, "bob", {flag: True}, 400, "M_INVALID_PARAM"),
                (ada, bob.user_id, {}, 400, "M_MISSING_PARAM"),
                (ada, bob.user_id, {flag: "yes"}, 400, "M_BAD_JSON"),
            ):
                found = await ask(client, "PUT", what, user_id, body)
                assert (found[0], found[1]["errcode"]) == (status, errcode), (user_id, body)
            await server.party.middle.accounts.deactivate(bob.user_id)  # type: ignore[arg-type]  # JSON is text
            assert (await ask(ada, "GET", what, bob.user_id))[0] == 404

    run(work)


def test_a_locked_account_waits_for_better_times() -> None:
    """spec: 401 M_USER_LOCKED with soft_logout on all but logout; tokens stay."""

    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            await bob.sync()
            waiting = asyncio.create_task(bob.refused("GET", "/sync", timeout="30000", since=bob.since or ""))
            while not server.front.waiters.users:  # noqa: ASYNC110 (the request is on its way)
                await asyncio.sleep(0)
            await ask(ada, "PUT", "lock", bob.user_id, {"locked": True})
            assert await waiting == (401, "M_USER_LOCKED")
            body = await bob.call("GET", "/account/whoami", status=401)
            assert (body["errcode"], body["soft_logout"]) == ("M_USER_LOCKED", True)
            log_in = {"type": "m.login.password", "user": "bob", "password": PASSWORD}
            response = await server.request("POST", "/_matrix/client/v3/login", log_in)
            assert response.status == 401 and orjson.loads(response.body)["errcode"] == "M_USER_LOCKED"
            await ask(ada, "PUT", "lock", bob.user_id, {"locked": False})
            await bob.call("GET", "/account/whoami")
            await ask(ada, "PUT", "lock", bob.user_id, {"locked": True})
            await bob.call("POST", "/logout/all", {})
            assert await bob.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")

    run(work)


def test_whois_and_capabilities() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            own = await bob.call("GET", f"/admin/whois/{bob.user_id}")
            assert own["user_id"] == bob.user_id and [*own["devices"]] == [bob.device_id]
            assert await ada.call("GET", f"/admin/whois/{bob.user_id}") == own
            assert await bob.refused("GET", f"/admin/whois/{ada.user_id}") == (403, "M_FORBIDDEN")
            moderation = {"suspend": True, "lock": True}
            assert (await ada.call("GET", "/capabilities"))["capabilities"]["m.account_moderation"] == moderation
            assert "m.account_moderation" not in (await bob.call("GET", "/capabilities"))["capabilities"]

    run(work)
