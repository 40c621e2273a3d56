"""The account page. spec: Matrix client-server-api oauth-20-account-management, oauth-authentication"""

from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, matrix
from tests.matrix.crypto import Tree
from tests.oauth.browser import Browser, Form, Kettle, logged_in
from tests.support.middle import run
from tripoint.accounts.refusals import AccountRefused

ACTION = "/account?action=org.matrix."


def test_the_name_that_others_see() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            browser = await logged_in(server, "alice")
            await browser.open(ACTION + "profile")
            await browser.send("profile", displayname="Alice <b>")
            assert "Saved." in browser.page and "Alice &lt;b&gt;" in browser.page
            assert (await alice.call("GET", "/profile/@alice:example.org"))["displayname"] == "Alice <b>"

    run(work)


def test_sessions_of_all_protocols_are_listed_renamed_and_logged_out() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice", device_id="PHONE", initial_device_display_name="Phone")
            accounts = server.party.middle.accounts
            account = await accounts.account(alice.user_id)  # type: ignore[arg-type]
            assert account is not None
            await accounts.log_in(account, protocol="irc", display_name="weechat")
            browser = await logged_in(server, "alice")
            await browser.open(ACTION + "devices_list")
            assert "Phone" in browser.page and "weechat" in browser.page and "IRC" in browser.page
            await browser.open(ACTION + "device_view&device_id=PHONE")
            await browser.send("rename", session_name="Telephone")
            assert browser.title == "Telephone"
            await browser.send("end")
            assert "The session is logged out." in browser.page and "Telephone" not in browser.page
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            await browser.open(ACTION + "device_delete&device_id=PHONE")
            assert "There is no such session" in browser.page

    run(work)


def test_one_s_sessions_are_nobody_else_s() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice", device_id="PHONE")
            await server.register("bob")
            browser = await logged_in(server, "bob")
            await browser.open(ACTION + "device_delete&device_id=PHONE")
            assert "There is no such session" in browser.page

    run(work)


def test_the_password_is_changed_with_the_one_of_before() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            browser, elsewhere = await logged_in(server, "alice"), await logged_in(server, "alice")
            await browser.open("/account?action=password")
            form = {"password": "another one", "again": "another one"}
            await browser.send("password", **form, current="wrong")
            assert browser.status == 400 and "Wrong user name or password" in browser.page
            await browser.send("password", **form, current=PASSWORD)
            assert "The password is changed" in browser.page
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            await browser.open("/account")
            assert browser.title == "Your account"
            await elsewhere.open("/account")
            assert elsewhere.title == "Log in to example.org"

    run(work)


def test_the_account_is_closed() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            browser = await logged_in(server, "alice")
            await browser.open(ACTION + "account_deactivate")
            await browser.send("deactivate", name="alic", current=PASSWORD)
            assert browser.status == 400
            await browser.send("deactivate", name="alice", current="wrong")
            assert browser.status == 400
            await browser.send("deactivate", name="alice", current=PASSWORD)
            assert browser.title == "The account is closed" and "tripoint" not in browser.cookies
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")

    run(work)


def test_a_locked_account_is_not_logged_in_on_the_pages() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            browser = await logged_in(server, "alice")
            await server.party.middle.accounts.set_locked(alice.user_id, True)  # type: ignore[arg-type]
            await browser.open("/account")
            assert browser.title == "Log in to example.org"
            await browser.send("log-in", name="alice", password=PASSWORD)
            assert browser.status == 403 and "locked" in browser.page

    run(work)


def test_guesses_of_passwords_are_counted_and_passwords_cross_no_network_in_the_clear() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            browser = Browser(server, address="192.0.2.1")
            await browser.open("/account")
            await browser.send("log-in", name="alice", password=PASSWORD)
            assert browser.status == 403 and "over HTTPS alone" in browser.page
            server.secure = True
            browser = Browser(server, address="192.0.2.1")
            await browser.open("/account")
            assert list(browser.cookies) == ["__Host-tripoint-browser"]
            await browser.send("log-in", name="alice", password=PASSWORD, origin="https://chat.example.org")
            assert browser.title == "Your account"

    run(work)


def test_cross_signing_keys_are_replaced_once_somebody_has_agreed() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            tokens = await kettle.log_in(browser)
            alice = Client(server, {"user_id": "@alice:example.org", "device_id": "KETTLE0001", **tokens})
            path = "/keys/device_signing/upload"
            await alice.call("POST", path, Tree("@alice:example.org").body())
            new = Tree("@alice:example.org", "new").body()
            asked = await alice.call("POST", path, new, status=401)
            assert asked["flows"] == [{"stages": ["m.oauth"]}, {"stages": ["org.matrix.cross_signing_reset"]}]
            url = asked["params"]["m.oauth"]["url"]
            assert url == "https://chat.example.org/account?action=org.matrix.cross_signing_reset"
            auth = {"auth": {"session": asked["session"]}}
            again = await alice.call("POST", path, {**new, **auth}, status=401)
            assert again["session"] == asked["session"]
            # The password is of no use here.
            identifier = {"type": "m.id.user", "user": "alice"}
            by_password = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            await alice.call("POST", path, {**new, "auth": by_password}, status=401)
            await browser.open(url.removeprefix("https://chat.example.org"))
            await browser.send("reset")
            assert "Go back to your client" in browser.page
            await alice.call("POST", path, {**new, **auth})
            third = Tree("@alice:example.org", "third").body()
            await alice.call("POST", path, third, status=401)
            await browser.open(url.removeprefix("https://chat.example.org"))
            await browser.send("reset")
            server.party.clock.now += 601
            asked = await alice.call("POST", path, third, status=401)
            auth = {"auth": {"session": asked["session"]}}
            await alice.call("POST", path, {**third, **auth}, status=401)

    run(work)


def test_what_asks_for_the_password_is_not_for_clients_that_came_by_oauth() -> None:
    """spec: oauth-20-api"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            tokens = await kettle.log_in(await logged_in(server, "alice"))
            alice = Client(server, {"user_id": "@alice:example.org", "device_id": "KETTLE0001", **tokens})
            identifier = {"type": "m.id.user", "user": "alice"}
            auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            for method, path, body in (
                ("POST", "/account/password", {"new_password": "x"}),
                ("POST", "/account/deactivate", {}),
                ("DELETE", "/devices/KETTLE0001", {}),
            ):
                assert await alice.refused(method, path, {**body, "auth": auth}) == (403, "M_FORBIDDEN")
            capabilities = (await alice.call("GET", "/capabilities"))["capabilities"]
            assert capabilities["m.change_password"] == capabilities["m.get_login_token"] == {"enabled": False}
            await alice.call("GET", "/account/whoami")

    run(work)


def test_a_client_that_cannot_ask_leaves_it_to_the_page() -> None:
    """spec: fallback: then it sends its session alone."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            body = {"new_password": "another one"}
            asked = await alice.call("POST", "/account/password", body, status=401)
            auth = {"auth": {"session": asked["session"]}}
            await alice.call("POST", "/account/password", {**body, **auth}, status=401)
            fallback = f"/_matrix/client/v3/auth/m.login.password/fallback/web?session={asked['session']}"
            browser = Browser(server)
            await browser.open(fallback)
            assert browser.title == "Confirm that it is you"
            await browser.send("confirm", password="wrong")
            assert browser.status == 403
            await alice.call("POST", "/account/password", {**body, **auth}, status=401)
            page = await browser.send("confirm", password=PASSWORD)
            assert 'window.opener.postMessage("authDone","*")' in page
            policy = dict(browser.response.headers)[b"content-security-policy"]
            assert b"script-src 'sha256-" in policy
            await alice.call("POST", "/account/password", {**body, **auth})
            # It was used.
            assert await alice.refused("POST", "/account/password", {**body, **auth}) == (400, "M_UNKNOWN")
            await browser.open(fallback)
            assert browser.status == 404

    run(work)


def test_an_account_is_made_with_the_page_s_help() -> None:
    async def work() -> None:
        async with matrix() as server:
            body: dict[str, Any] = {"username": "carol", "password": PASSWORD}
            path = "/_matrix/client/v3/register"
            asked = orjson.loads((await server.request("POST", path, body)).body)
            browser = Browser(server)
            await browser.open(f"/_matrix/client/v3/auth/m.login.dummy/fallback/web?session={asked['session']}")
            assert list(Form(browser.page).forms) == ["confirm"]
            await browser.send("confirm")
            response = await server.request("POST", path, {**body, "auth": {"session": asked["session"]}})
            assert response.status == 200, response.body

    run(work)


def test_sso_takes_a_token_back_to_the_client() -> None:
    """spec: sso-login"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            flows = orjson.loads((await server.request("GET", "/_matrix/client/v3/login")).body)["flows"]
            assert {"type": "m.login.sso", "oauth_aware_preferred": True} in flows
            browser = Browser(server)
            start = "/_matrix/client/v3/login/sso/redirect?redirectUrl="
            await browser.open(f"{start}https%3A%2F%2Fold.example%2F%3Fx%3D1%26loginToken%3Dthem%23part")
            await browser.send("log-in", name="alice", password=PASSWORD)
            assert browser.title == "Continue to old.example?"
            location = await browser.send("go-on")
            assert location.startswith("https://old.example/?x=1&loginToken=") and location.endswith("#part")
            token = location.partition("loginToken=")[2].removesuffix("#part")
            body = {"type": "m.login.token", "token": token}
            response = await server.request("POST", "/_matrix/client/v3/login", body)
            assert orjson.loads(response.body)["user_id"] == "@alice:example.org"
            bad = ("javascript:alert(1)", "data:text/html,x", "/account", "https:///x", "https://a@b.example/", "")
            for url in bad:
                response = await server.request("GET", "/sso", redirectUrl=url)
                assert response.status == 400, url
            await browser.open(f"{start}https%3A%2F%2Fold.example%2F&action=register")
            assert browser.title == "Make an account at example.org"
            response = await server.request(
                "GET", "/_matrix/client/v3/login/sso/redirect/nobody", redirectUrl="https://old.example/"
            )
            assert response.status == 404

    run(work)


def test_a_client_without_a_way_of_its_own_is_told_by_the_page() -> None:
    """spec: "Login Fallback" """

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            browser = Browser(server)
            name = "%3C/script%3E"
            where = f"/_matrix/static/client/login/?device_id=GHTYAJCE&initial_device_display_name={name}"
            await browser.open(where)
            await browser.send("log-in", name="alice", password=PASSWORD)
            assert browser.title == "Log in to your client"
            page = await browser.send("go-on")
            assert page.count("</script>") == 1
            told = page.partition("window.matrixLogin.onLogin(")[2].partition(")}</script>")[0]
            alice = Client(server, orjson.loads(told))
            assert alice.device_id == "GHTYAJCE"
            await alice.call("GET", "/account/whoami")
            # Another site cannot make the page do so.
            await browser.post("/oauth2/fallback", {"do": "go-on"}, origin="https://evil.example")
            assert browser.status == 403

    run(work)


def test_a_password_for_one_client() -> None:
    """docs/mapping.md 18.2"""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            accounts = server.party.middle.accounts
            browser = await logged_in(server, "alice")
            await browser.open("/account?action=apps")
            await browser.send("make_app_password", app="my <phone>", current="wrong")
            assert browser.status == 400 and "Wrong user name or password" in browser.page
            assert await accounts.app_passwords.of(alice.user_id) == []  # type: ignore[arg-type]
            await browser.send("make_app_password", app="my <phone>", current=PASSWORD)
            assert "password for my &lt;phone&gt;" in browser.page
            secret = browser.page.partition("<code>")[2].partition("</code>")[0]
            let_in = await accounts.check_login("alice", secret, address="127.0.0.1")
            await browser.open("/account?action=apps")
            assert secret not in browser.page and "my &lt;phone&gt;" in browser.page
            await browser.open(ACTION + f"device_view&device_id={let_in.device_id}")
            assert browser.title == "my &lt;phone&gt;" and "IRC, XMPP" in browser.page
            await browser.send("end")
            with pytest.raises(AccountRefused):
                await accounts.check_login("alice", secret, address="127.0.0.1")

    run(work)
