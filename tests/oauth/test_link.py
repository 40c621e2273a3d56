"""Letting in a device that shows no page. spec: RFC8628; Matrix client-server-api device-authorisation-flow"""

from typing import Any

from tests.matrix.client import Server, matrix
from tests.oauth.browser import Browser, Form, Kettle, logged_in, post
from tests.support.middle import run

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "urn:matrix:client:api:* urn:matrix:client:device:TERMINAL01"


async def ask(server: Server, kettle: Kettle, **changes: str) -> tuple[int, dict[str, Any]]:
    form = {"client_id": kettle.client_id, "scope": SCOPE, **changes}
    return await post(server, "/oauth2/device_authorization", form)


async def poll(kettle: Kettle, codes: dict[str, Any], wait_s: float = 5) -> tuple[int, dict[str, Any]]:
    kettle.server.party.clock.now += wait_s
    return await kettle.token(grant_type=GRANT, device_code=codes["device_code"])


def test_somebody_types_the_code_and_the_device_gets_in() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            status, codes = await ask(server, kettle)
            assert (status, codes["interval"], codes["expires_in"]) == (200, 5, 900)
            assert codes["verification_uri"] == "https://chat.example.org/link"
            assert codes["verification_uri_complete"].endswith(codes["user_code"])
            assert (await poll(kettle, codes))[1]["error"] == "authorization_pending"
            browser = await logged_in(server, "alice")
            await browser.open("/link")
            # spec: RFC8628 6.1: whatever people type between the letters, in whatever case
            await browser.send("look", user_code=codes["user_code"].lower().replace("-", " "))
            assert browser.title == "Let Kettle in?"
            assert codes["user_code"] in browser.page and "TERMINAL01" in browser.page
            await browser.send("allow")
            assert browser.title == "The device is let in"
            status, tokens = await poll(kettle, codes)
            assert status == 200 and tokens["scope"] == SCOPE and tokens["refresh_token"]
            assert (await poll(kettle, codes))[1]["error"] == "invalid_grant"
            await browser.open("/account?action=org.matrix.devices_list")
            assert "TERMINAL01" in browser.page
            # The code is of no use any more.
            await browser.open(f"/link?user_code={codes['user_code']}")
            assert browser.status == 400 and "no device with this code" in browser.page

    run(work)


def test_the_address_with_the_code_in_it_still_asks() -> None:
    """spec: RFC8628 5.4: somebody may have been sent it"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            _, codes = await ask(server, kettle)
            browser = Browser(server)
            await browser.open(f"/link?user_code={codes['user_code']}")
            assert browser.title == "Log in to example.org"
            await browser.send("log-in", name="alice", password="correct horse")
            assert "Go on only if you have this device before you" in browser.page
            assert (await poll(kettle, codes))[1]["error"] == "authorization_pending"
            await browser.send("deny")
            assert (await poll(kettle, codes))[1]["error"] == "access_denied"

    run(work)


def test_a_device_that_asks_too_often_slows_down_and_one_that_waits_too_long_is_told() -> None:
    async def work() -> None:
        async with matrix() as server:
            kettle = await Kettle.registered(server)
            _, codes = await ask(server, kettle)
            assert (await poll(kettle, codes))[1]["error"] == "authorization_pending"
            assert (await poll(kettle, codes, 1))[1]["error"] == "slow_down"
            assert (await poll(kettle, codes, 6))[1]["error"] == "slow_down"
            assert (await poll(kettle, codes, 15))[1]["error"] == "authorization_pending"
            assert (await poll(kettle, codes, 900))[1]["error"] == "expired_token"

    run(work)


def test_what_a_device_cannot_ask_for() -> None:
    async def work() -> None:
        async with matrix() as server:
            kettle = await Kettle.registered(server)
            web = await Kettle.registered(server, grant_types=["authorization_code", "refresh_token"])
            assert (await ask(server, web))[1]["error"] == "unauthorized_client"
            assert (await ask(server, kettle, scope="openid"))[1]["error"] == "invalid_scope"
            assert (await ask(server, kettle, client_id="nobody"))[1]["error"] == "invalid_client"
            _, codes = await ask(server, kettle)
            assert (await poll(web, codes))[1]["error"] == "unauthorized_client"
            other = await Kettle.registered(server, client_name="Other")
            assert (await poll(other, codes))[1]["error"] == "invalid_grant"

    run(work)


def test_codes_are_not_guessed() -> None:
    """spec: RFC8628 5.1"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            _, codes = await ask(server, kettle)
            browser = await logged_in(server, "alice")
            for _ in range(10):
                await browser.open("/link?user_code=BBBB-BBBB")
                assert "no device with this code" in browser.page
            await browser.open(f"/link?user_code={codes['user_code']}")
            assert "Too many attempts" in browser.page and "allow" not in Form(browser.page).forms

    run(work)
