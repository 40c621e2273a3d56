"""The authorisation code flow, from registration to revocation, as clients and browsers go through it.

spec: Matrix client-server-api oauth-20-api; RFC6749, RFC7009, RFC7636, RFC9207
"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, matrix
from tests.oauth.browser import CLIENT, Browser, Form, Kettle, answer_in, logged_in, post
from tests.support.middle import make_config, run
from tripoint.store.sqlite import SqliteStore

API = "urn:matrix:client:api:*"
V3 = "/_matrix/client/v3"


def test_the_metadata_says_where_everything_is() -> None:
    async def work() -> None:
        async with matrix() as server:
            response = await server.request("GET", "/_matrix/client/v1/auth_metadata")
            metadata = orjson.loads(response.body)
            assert metadata["issuer"] == "https://chat.example.org/"
            assert metadata["code_challenge_methods_supported"] == ["S256"]
            assert metadata["prompt_values_supported"] == ["create"]
            assert "org.matrix.cross_signing_reset" in metadata["account_management_actions_supported"]
            for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
                other = await server.request("GET", path)
                assert orjson.loads(other.body) == metadata
                assert dict(other.headers)[b"access-control-allow-origin"] == b"*"
            server.party.middle.oauth.base = ""
            for path in ("/_matrix/client/v1/auth_metadata", "/.well-known/openid-configuration", "/oauth2/authorize"):
                response = await server.request("GET", path)
                assert (response.status, orjson.loads(response.body)["errcode"]) == (404, "M_UNRECOGNIZED")

    run(work)


def test_from_registration_to_revocation() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            await browser.open(kettle.address())
            assert browser.title == "Log in to example.org"
            assert "To let Kettle in, log in first." in browser.page
            await browser.send("log-in", name="@Alice:example.org", password="correct horse")
            # Nothing of the request is lost by logging in.
            assert browser.title == "Let Kettle in?"
            for text in ("kettle.example", "@alice:example.org", "app.kettle.example", "KETTLE0001", "/terms"):
                assert text in browser.page
            location = await browser.send("allow")
            assert location.startswith("https://app.kettle.example/callback#")
            answer = answer_in(location)
            assert answer["state"] == "st&te" and answer["iss"] == "https://chat.example.org/"
            status, tokens = await kettle.trade(answer["code"])
            assert status == 200
            assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
            assert tokens["scope"] == f"{API} urn:matrix:client:device:KETTLE0001"
            me = {"user_id": "@alice:example.org", "device_id": "KETTLE0001"}
            alice = Client(server, {**me, **tokens})
            assert await alice.call("GET", "/account/whoami") == {**me, "is_guest": False}
            [device] = [
                one for one in (await alice.call("GET", "/devices"))["devices"] if one["device_id"] == "KETTLE0001"
            ]
            assert device["display_name"] == "Kettle"
            await alice.sync()
            status, fresh = await kettle.refresh(tokens["refresh_token"])
            assert status == 200 and "scope" not in fresh
            alice = Client(server, {**me, **fresh})
            await alice.sync()
            assert await post(server, "/oauth2/revoke", {"token": fresh["refresh_token"]}) == (200, {})
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            assert (await kettle.refresh(fresh["refresh_token"]))[1]["error"] == "invalid_grant"
            # spec: what is revoked already is no error.
            assert await post(server, "/oauth2/revoke", {"token": fresh["refresh_token"]}) == (200, {})

    run(work)


def test_an_expired_token_is_a_soft_logout() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            tokens = await kettle.log_in(await logged_in(server, "alice"))
            server.party.clock.now += 3601
            response = await server.request("GET", f"{V3}/account/whoami", token=tokens["access_token"])
            answer = orjson.loads(response.body)
            assert (response.status, answer["errcode"], answer["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
            status, fresh = await kettle.refresh(tokens["refresh_token"])
            assert status == 200
            response = await server.request("GET", f"{V3}/account/whoami", token=fresh["access_token"])
            assert response.status == 200

    run(work)


def test_a_lost_answer_to_a_refresh_is_asked_for_again_and_a_copy_is_noticed() -> None:
    """spec: refreshing-access-tokens, refresh-token-grant"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            first = await kettle.log_in(await logged_in(server, "alice"))

            async def works(tokens: dict[str, Any]) -> bool:
                response = await server.request("GET", f"{V3}/account/whoami", token=tokens["access_token"])
                return response.status == 200

            _, lost = await kettle.refresh(first["refresh_token"])
            assert await works(first), "the old access token holds until the new one is used"
            status, second = await kettle.refresh(first["refresh_token"])
            assert status == 200
            assert not await works(lost), "what was given before did not arrive"
            assert await works(second)
            assert not await works(first)
            _, third = await kettle.refresh(second["refresh_token"])
            # The refresh token of the pair counts as used too.
            _, fourth = await kettle.refresh(third["refresh_token"])
            assert await works(fourth)
            # Somebody comes with one that was replaced: nobody knows who has the right one.
            status, refused = await kettle.refresh(second["refresh_token"])
            assert (status, refused["error"]) == (400, "invalid_grant")
            assert not await works(fourth)
            assert (await kettle.refresh(fourth["refresh_token"]))[1]["error"] == "invalid_grant"

    run(work)


def test_tokens_of_the_two_apis_are_not_mixed() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            other = await Kettle.registered(server, client_name="Other")
            tokens = await kettle.log_in(await logged_in(server, "alice"))
            response = await server.request("POST", f"{V3}/refresh", {"refresh_token": tokens["refresh_token"]})
            assert orjson.loads(response.body)["errcode"] == "M_UNKNOWN_TOKEN"
            body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
            response = await server.request(
                "POST", f"{V3}/login", {**body, "password": "correct horse", "refresh_token": True}
            )
            legacy = orjson.loads(response.body)
            assert (await kettle.refresh(legacy["refresh_token"]))[1]["error"] == "invalid_grant"
            assert (await other.refresh(tokens["refresh_token"]))[1]["error"] == "invalid_grant"
            assert (await kettle.refresh(tokens["refresh_token"]))[0] == 200

    run(work)


def test_a_code_that_comes_again_ends_what_it_gave() -> None:
    """spec: RFC6749 4.1.2"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            code = await kettle.code(await logged_in(server, "alice"))
            status, tokens = await kettle.trade(code)
            assert status == 200
            status, refused = await kettle.trade(code)
            assert (status, refused["error"]) == (400, "invalid_grant")
            response = await server.request("GET", f"{V3}/account/whoami", token=tokens["access_token"])
            assert response.status == 401

    run(work)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": "nonsense"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"redirect_uri": "https://app.kettle.example/other"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"code_verifier": "w" * 50}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": "ü" * 50}, "invalid_grant"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x"}, "invalid_grant"),
    ],
)
def test_a_wrong_trade_gives_nothing_and_the_right_one_still_does(changes: dict[str, str], error: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            code = await kettle.code(await logged_in(server, "alice"))
            status, refused = await kettle.trade(code, **changes)
            assert (status, refused["error"]) == (401 if error == "invalid_client" else 400, error), refused
            assert refused["error_description"].isascii()
            assert (await kettle.trade(code))[0] == 200

    run(work)


def test_a_code_is_one_client_s_and_expires() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            browser = await logged_in(server, "alice")
            kettle = await Kettle.registered(server)
            thief = await Kettle.registered(server, client_name="Other")
            assert thief.client_id != kettle.client_id
            code = await kettle.code(browser)
            assert (await thief.trade(code))[1]["error"] == "invalid_grant"
            server.party.clock.now += 121
            assert (await kettle.trade(code))[1]["error"] == "invalid_grant"

    run(work)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": API}, "invalid_scope"),
        ({"scope": "urn:matrix:client:device:ABC"}, "invalid_scope"),
        ({"scope": f"{API} urn:matrix:client:device:A urn:matrix:client:device:B"}, "invalid_scope"),
        ({"scope": f"{API} urn:matrix:client:device:"}, "invalid_scope"),
        ({"scope": f"{API} urn:matrix:client:device:a/b"}, "invalid_scope"),
        ({"scope": f'{API} "'}, "invalid_scope"),
    ],
)
def test_what_the_client_did_wrong_is_told_to_the_client(changes: dict[str, str | None], error: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            location = await browser.open(kettle.address(**changes))  # type: ignore[arg-type]
            assert location.startswith("https://app.kettle.example/callback")
            answer = answer_in(location)
            assert (answer["error"], answer["state"]) == (error, "st&te")
            assert answer["iss"] == "https://chat.example.org/"

    run(work)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "https://app.kettle.example/callback/"},
        {"redirect_uri": "https://app.kettle.example/callback?x=1"},
        {"redirect_uri": "https://app.kettle.example.evil.example/callback"},
        {"redirect_uri": "https://app.kettle.example@evil.example/callback"},
        {"redirect_uri": "//app.kettle.example/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "https://app.kettle.example/callback#x"},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_the_client_s(changes: dict[str, str | None]) -> None:
    """spec: RFC6749 4.1.2.1"""

    async def work() -> None:
        async with matrix() as server:
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            page = await browser.open(kettle.address(**changes))  # type: ignore[arg-type]
            assert browser.status == 400 and "<h1>This does not work</h1>" in page
            twice = kettle.address() + "&redirect_uri=https%3A%2F%2Fevil.example%2F"
            assert "This does not work" in await browser.open(twice)

    run(work)


def test_somebody_says_no() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            await browser.open(kettle.address(response_mode="query", redirect_uri=None))
            location = await browser.send("deny")
            assert location.startswith("https://app.kettle.example/callback?")
            assert answer_in(location)["error"] == "access_denied"

    run(work)


def test_forms_of_other_sites_do_nothing() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            await server.register("mallory")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            await browser.open(kettle.address())
            action, fields = Form(browser.page).forms["allow"]
            mallory = await logged_in(server, "mallory")
            await mallory.open(kettle.address())
            foreign = Form(mallory.page).forms["allow"][1]["form"]
            for sent, origin in (
                ({**fields, "form": ""}, None),
                ({**fields, "form": foreign}, None),
                ({"do": "allow"}, f"http://{'chat.example.org'}"),
                (fields, "https://evil.example"),
                (fields, "null"),
            ):
                page = await browser.post(action, sent, origin=origin)
                assert browser.status == 403 and "came from elsewhere" in page
            # Nor does a form of the log-in page that another browser was given.
            visitor, other = Browser(server), Browser(server)
            await visitor.open("/account")
            await other.open("/account")
            token = Form(other.page).forms["log-in"][1]["form"]
            await visitor.send("log-in", form=token, name="mallory", password="correct horse")
            assert visitor.status == 403 and "tripoint" not in visitor.cookies

    run(work)


def test_pages_run_nothing_and_are_in_no_frame() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server, client_name="<script>alert(1)</script>")
            browser = await logged_in(server, "alice")
            page = await browser.open(kettle.address())
            headers = dict(browser.response.headers)
            policy = headers[b"content-security-policy"].decode()
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
            assert "form-action 'self' https://app.kettle.example;" in policy
            assert headers[b"x-frame-options"] == b"DENY" and headers[b"cache-control"] == b"no-store"
            assert "<script" not in page and "&lt;script&gt;alert(1)" in page
            assert b"access-control-allow-origin" not in headers

    run(work)


def test_pages_speak_the_person_s_language() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            browser.language = "fr, de-AT;q=0.8, en;q=0.5"
            page = await browser.open(kettle.address())
            assert browser.title == "Kessel Zugang geben?" and '<html lang="de">' in page
            await browser.open(kettle.address(ui_locales="en"))
            assert browser.title == "Let Kettle in?"

    run(work)


def test_an_account_is_made_on_the_way() -> None:
    """spec: user-registration: prompt=create"""

    async def work() -> None:
        async with matrix() as server:
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            await browser.open(kettle.address(prompt="create"))
            assert browser.title == "Make an account at example.org"
            await browser.send("make-account", name="Carol", password="one", again="two")
            assert browser.status == 400 and "not the same" in browser.page
            await browser.send("make-account", name="not a name", password="one", again="one")
            assert browser.status == 400 and "1 to 32" in browser.page
            await browser.send("make-account", name="Carol", password="a good one", again="a good one")
            assert browser.title == "Let Kettle in?" and "@carol:example.org" in browser.page
            assert (await kettle.trade(answer_in(await browser.send("allow"))["code"]))[0] == 200
            # Somebody who is logged in and wants another account is asked too.
            await browser.open(kettle.address(prompt="create"))
            assert browser.title == "Make an account at example.org"

    run(work)


def test_registration_as_the_server_has_it() -> None:
    async def work() -> None:
        async with matrix(make_config(registration="token")) as server:
            await server.party.middle.accounts.registration_tokens.add("come-in", 1, None)
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            await browser.open(kettle.address(prompt="create"))
            form = {"name": "carol", "password": "a good one", "again": "a good one"}
            await browser.send("make-account", **form)
            assert browser.status == 400
            await browser.send("make-account", **form, token="come-in")
            assert browser.title == "Let Kettle in?"
        async with matrix(make_config(registration="closed")) as server:
            response = await server.request("GET", "/_matrix/client/v1/auth_metadata")
            assert orjson.loads(response.body)["prompt_values_supported"] == []
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            await browser.open(kettle.address(prompt="create"))
            assert "does not take new accounts" in browser.page and "make-account" not in Form(browser.page).forms
            await browser.open(kettle.address())
            assert "prompt=create" not in browser.page

    run(work)


def test_another_account_and_out_again() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            await server.register("bob")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            await browser.open(kettle.address())
            await browser.send("log-out")
            assert browser.title == "Log in to example.org"
            await browser.send("log-in", name="bob@example.org", password="correct horse")
            assert "@bob:example.org" in browser.page

    run(work)


def test_a_session_that_takes_another_s_place_says_so() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            first = await kettle.log_in(browser)
            page = await browser.open(kettle.address())
            assert "It takes the place of your session “Kettle” (KETTLE0001)" in page
            await kettle.trade(answer_in(await browser.send("allow"))["code"])
            response = await server.request("GET", f"{V3}/account/whoami", token=first["access_token"])
            assert response.status == 401

    run(work)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(store=SqliteStore(tmp_path / "test.db")) as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            tokens = await kettle.log_in(browser)
            code = await kettle.code(browser, device_id="SECOND")
        async with matrix(store=SqliteStore(tmp_path / "test.db")) as server:
            again = Kettle(server, kettle.client_id)
            assert (await again.trade(code))[0] == 200
            assert (await again.refresh(tokens["refresh_token"]))[0] == 200
            browser.server = server
            await browser.open(again.address())
            assert browser.title == "Let Kettle in?"

    run(work)


def test_a_native_client_on_the_loopback_interface_has_any_port() -> None:
    """spec: redirect-uri-validation"""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            uris = ["http://127.0.0.1/cb", "example.kettle.app:/cb"]
            kettle = await Kettle.registered(server, application_type="native", redirect_uris=uris)
            browser = await logged_in(server, "alice")
            port = "http://127.0.0.1:1234"
            for uri, target in ((f"{port}/cb", port), (uris[1], "example.kettle.app:")):
                await browser.open(kettle.address(redirect_uri=uri))
                policy = dict(browser.response.headers)[b"content-security-policy"].decode()
                assert f"form-action 'self' {target};" in policy
                location = await browser.send("allow")
                assert location.startswith(f"{uri}#")
                assert (await kettle.trade(answer_in(location)["code"], redirect_uri=uri))[0] == 200

    run(work)


def test_registering_the_same_again_gives_the_same_id() -> None:
    async def work() -> None:
        async with matrix() as server:
            first, second = await Kettle.registered(server), await Kettle.registered(server)
            assert first.client_id == second.client_id
            response = await server.request("POST", "/oauth2/register", CLIENT)
            answer = orjson.loads(response.body)
            assert answer["client_name#de"] == "Kessel" and answer["token_endpoint_auth_method"] == "none"
            assert answer["client_id_issued_at"] == int(server.party.clock.now)

    run(work)


def test_unused_clients_go_and_those_in_use_stay() -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            browser = await logged_in(server, "alice")
            used = await Kettle.registered(server)
            await used.log_in(browser)
            idle = await Kettle.registered(server, client_name="Idle")
            server.party.clock.now += 2 * 86_400
            await Kettle.registered(server, client_name="New")
            assert await server.party.middle.oauth.clients.find(used.client_id) is not None
            assert await server.party.middle.oauth.clients.find(idle.client_id) is None

    run(work)


def test_one_address_registers_no_more_than_it_needs() -> None:
    async def work() -> None:
        async with matrix() as server:
            for number in range(30):
                await Kettle.registered(server, client_name=f"Client {number}")
            response = await server.request("POST", "/oauth2/register", CLIENT)
            assert response.status == 429 and int(dict(response.headers)[b"retry-after"]) > 0

    run(work)


def test_a_full_house_loses_whom_nobody_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tripoint.accounts.oauth.clients.MAX_CLIENTS", 3)

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            used = await Kettle.registered(server)
            await used.log_in(await logged_in(server, "alice"))
            for number in range(2):
                await Kettle.registered(server, client_name=f"Idle {number}")
            response = await server.request("POST", "/oauth2/register", {**CLIENT, "client_name": "Late"})
            assert response.status == 503
            # Those that are known are known still.
            await Kettle.registered(server)
            server.party.clock.now += 3601
            await Kettle.registered(server, client_name="Late")
            assert await server.party.middle.oauth.clients.find(used.client_id) is not None

    run(work)


def test_a_proxy_may_call_this_server_otherwise() -> None:
    """Host is what the proxy says, Origin what the browser does: forms of public_url are ours all the same."""

    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            browser = Browser(server)
            server.party.middle.oauth.base = "https://matrix.example.org"
            await browser.open("/account")
            await browser.send("log-in", name="alice", password="correct horse", origin="https://matrix.example.org")
            assert browser.title == "Your account"
            await browser.open("/account?action=org.matrix.profile")
            await browser.send("profile", displayname="x", origin="https://other.example.org")
            assert browser.status == 403

    run(work)
