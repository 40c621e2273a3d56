"""Documents that whoever makes an account has to accept, on Matrix and on the pages; a page for every stage.

spec: Matrix client-server-api "Terms of service at registration", fallback
"""

import re
from typing import Any

import pytest
from tools.source import SRC

from tests.matrix.admin import admin_of
from tests.matrix.client import PASSWORD, Server, matrix, q
from tests.matrix.test_accounts import post
from tests.matrix.test_contacts import ADDRESS, confirm, mailing
from tests.oauth.browser import Browser, Form, Kettle
from tests.oauth.test_providers import START, come_back, there, with_provider
from tests.support.middle import make_config, run
from tests.support.terms import ACCEPTED, NEWER, TERMS
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.oauth.confirm import STAGES

STAGE = "m.login.terms"
BODY = {"username": "alice", "password": PASSWORD}


async def accepted(server: Server, user_id: str) -> dict[str, str]:
    found = await server.party.middle.accounts.administration.accepted(UserId(user_id))
    return {one.document: one.version for one in found}


def reload(server: Server, **accounts: Any) -> None:
    server.party.middle.reload(make_config(**accounts))


def fallback(stage: str, session: str) -> str:
    return f"/_matrix/client/v3/auth/{q(stage)}/fallback/web?session={session}"


def test_the_example_of_the_specification() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS)) as server:
            status, asked = await post(server, "/register", BODY)
            assert (status, asked["flows"]) == (401, [{"stages": [STAGE]}])
            policies = asked["params"][STAGE]["policies"]
            assert policies["terms_of_service"] == {
                "version": "1.2",
                "en": {
                    "name": "Terms of Service",
                    "url": "https://example.org/somewhere/terms-1.2-en.html",
                },
                "fr": {
                    "name": "Conditions d'utilisation",
                    "url": "https://example.org/somewhere/terms-1.2-fr.html",
                },
            }
            assert policies.keys() == {"terms_of_service", "privacy"}
            # "submits an auth dict with just the type and session"
            auth = {"type": STAGE, "session": asked["session"]}
            status, made = await post(server, "/register", {**BODY, "auth": auth})
            assert (status, made["user_id"]) == (200, "@alice:example.org")
            assert await accepted(server, made["user_id"]) == ACCEPTED

    run(work)


def test_the_operator_sees_what_was_accepted() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS)) as server:
            _, asked = await post(server, "/register", BODY)
            server.party.clock.now += 5
            await post(server, "/register", {**BODY, "auth": {"type": STAGE, "session": asked["session"]}})
            ada = await admin_of(server)
            shown = await ada.done("GET", f"/v2/users/{q('@alice:example.org')}")
            now = server.party.clock.ms()
            assert shown["accepted_terms"] == [
                {"id": "privacy", "version": "3", "accepted_ts": now},
                {"id": "terms_of_service", "version": "1.2", "accepted_ts": now},
            ]
            assert (shown["consent_version"], shown["consent_ts"]) == ("1.2", now)
            # An administrator's own way asks for nothing.
            shown = await ada.done("GET", f"/v2/users/{q(ada.user_id)}")
            assert shown["accepted_terms"] == [] and shown["consent_version"] is None

    run(work)


def test_nobody_accepts_what_was_not_presented() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS)) as server:
            status, answer = await post(server, "/register", {**BODY, "auth": {"type": STAGE}})
            assert status == 401 and STAGE in answer["params"] and answer["completed"] == []
            # What a client says of versions itself is not believed.
            auth = {"type": STAGE, "session": answer["session"], "policies": {"terms_of_service": {"version": "9"}}}
            status, made = await post(server, "/register", {**BODY, "auth": auth})
            assert status == 200 and await accepted(server, made["user_id"]) == ACCEPTED

    run(work)


def test_a_version_that_came_meanwhile_is_presented_first() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS)) as server:
            _, asked = await post(server, "/register", BODY)
            reload(server, terms=NEWER)
            auth = {"type": STAGE, "session": asked["session"]}
            status, answer = await post(server, "/register", {**BODY, "auth": auth})
            assert status == 401 and answer["session"] != asked["session"]
            assert answer["params"][STAGE]["policies"]["terms_of_service"]["version"] == "1.3"
            status, made = await post(
                server, "/register", {**BODY, "auth": {"type": STAGE, "session": answer["session"]}}
            )
            assert status == 200 and (await accepted(server, made["user_id"]))["terms_of_service"] == "1.3"

    run(work)


def test_terms_come_before_a_letter_and_a_token() -> None:
    async def work() -> None:
        config = make_config(terms=TERMS, registration="token", email_required=True)
        async with mailing(config) as (server, _):
            _, asked = await post(server, "/register", BODY)
            stages = [STAGE, "m.login.email.identity", "m.login.registration_token"]
            assert asked["flows"] == [{"stages": stages}]
            auth = {"type": STAGE, "session": asked["session"]}
            status, answer = await post(server, "/register", {**BODY, "auth": auth})
            assert (status, answer["completed"]) == (401, [STAGE]) and "errcode" not in answer
            # What the session was told is told on.
            assert answer["params"] == asked["params"]

    run(work)


def test_guests_accept_when_they_become_accounts() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS, matrix_guests=True)) as server:
            status, guest = await post(server, "/register", {}, kind="guest")
            assert status == 200
            name = guest["user_id"][1:].partition(":")[0]
            body = {"username": name, "password": PASSWORD, "guest_access_token": guest["access_token"]}
            _, asked = await post(server, "/register", body)
            auth = {"type": STAGE, "session": asked["session"]}
            status, made = await post(server, "/register", {**body, "auth": auth})
            assert status == 200 and await accepted(server, made["user_id"]) == ACCEPTED

    run(work)


def test_whatever_makes_accounts_asks() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS)) as server:
            accounts = server.party.middle.accounts
            for given in ({}, {"terms_of_service": "1.2"}, {**ACCEPTED, "terms_of_service": "1.1"}):
                with pytest.raises(AccountRefused) as refused:
                    await accounts.register("bob", PASSWORD, address="x", accepted=given)
                assert refused.value.refusal is AccountRefusal.TERMS_NEEDED
            assert "Terms of Service (https://example.org/somewhere/terms-1.2-en.html)" in refused.value.text
            assert "rivacy" not in refused.value.text
            bob = await accounts.register("bob", PASSWORD, address="x", accepted={**ACCEPTED, "other": "1"})
            assert await accepted(server, bob.user_id) == ACCEPTED
            # A closed account has still accepted them.
            await accounts.deactivate(bob.user_id)
            assert await accepted(server, bob.user_id) == ACCEPTED

    run(work)


def test_the_page_on_which_accounts_are_made() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS)) as server:
            kettle = await Kettle.registered(server)
            browser = Browser(server, "fr, en")
            await browser.open(kettle.address(prompt="create"))
            link = 'href="https://example.org/somewhere/terms-1.2-%s.html" target="_blank"'
            assert link % "en" in browser.page and "Privacy &lt;policy&gt;" in browser.page
            fields = {"name": "alice", "password": PASSWORD, "again": PASSWORD}
            await browser.send("make-account", **fields, **{"terms.privacy": ""})
            assert browser.status == 400 and "accept first: Privacy" in browser.page
            await browser.send("make-account", **fields)
            assert "allow" in Form(browser.page).forms
            assert await accepted(server, "@alice:example.org") == ACCEPTED

    run(work)


def test_the_page_for_who_has_shown_an_address() -> None:
    async def work() -> None:
        async with mailing(make_config(terms=TERMS, email_required=True)) as (server, box):
            browser = Browser(server)
            await browser.open("/account?prompt=create")
            await browser.send("make-by-mail", email=ADDRESS)
            await browser.open(box.link())
            fields = {"name": "alice", "password": PASSWORD, "again": PASSWORD}
            await browser.send("go-on", **fields, **{"terms.terms_of_service": "1.1"})
            assert browser.status == 400 and "accept first: Terms of Service" in browser.page
            await browser.send("go-on", **fields, **{"terms.terms_of_service": "1.2"})
            assert browser.status == 200, browser.page
            assert await accepted(server, "@alice:example.org") == ACCEPTED

    run(work)


def test_who_comes_by_a_provider_accepts_too() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            reload(server, terms=TERMS)
            browser = Browser(server)
            await come_back(browser, await there(browser, fake, START))
            await browser.send("choose-name", name="zoe", **{"terms.privacy": ""})
            assert browser.status == 400 and "accept first: Privacy" in browser.page
            await browser.send("choose-name", name="zoe", **{"terms.privacy": "3"})
            assert "@zoe:example.org" in browser.page
            assert await accepted(server, "@zoe:example.org") == ACCEPTED

    run(work)


# -- a page for every stage


def test_every_stage_of_a_registration_has_a_page() -> None:
    """spec: fallback: "This MUST return an HTML page which can perform this authentication stage" """

    async def work() -> None:
        config = make_config(terms=TERMS, registration="token", email_required=True)
        async with mailing(config) as (server, box):
            await server.party.middle.accounts.registration_tokens.add("come-in", 1, None)
            _, asked = await post(server, "/register", BODY)
            session, done = asked["session"], []
            (flow,) = asked["flows"]
            for stage in flow["stages"]:
                browser = Browser(server)
                await browser.open(fallback(stage, session))
                assert browser.title == "Confirm that it is you", stage
                # Nothing is passed by opening it.
                status, answer = await post(server, "/register", {**BODY, "auth": {"session": session}})
                assert (status, answer["completed"]) == (401, done)
                if stage == STAGE:
                    await browser.send("confirm", **{"terms.privacy": ""})
                    assert browser.status == 403
                    await browser.send("confirm", **{"terms.privacy": "3"})
                elif stage == "m.login.registration_token":
                    await browser.send("confirm", token="wrong")
                    assert browser.status == 403
                    await browser.send("confirm", token="come-in")
                else:
                    await browser.send("ask", email="no address")
                    assert browser.status == 403 and "no e-mail address" in browser.page
                    await browser.send("ask", email=ADDRESS)
                    await browser.send("confirm")
                    assert browser.status == 403 and "open the link in the letter" in browser.page
                    await confirm(server, box.link())
                    await browser.send("confirm")
                assert browser.title == "Thank you" and "onAuthDone" in browser.page, browser.page
                done.append(stage)
                status, answer = await post(server, "/register", {**BODY, "auth": {"session": session}})
                if len(done) < 3:
                    assert (status, answer["completed"]) == (401, done)
            assert (status, answer["user_id"]) == (200, "@alice:example.org")
            assert await accepted(server, "@alice:example.org") == ACCEPTED
            owner = await server.party.middle.accounts.contacts.owner("email", ADDRESS)
            assert owner == "@alice:example.org"

    run(work)


def test_no_stage_is_asked_for_that_has_no_page() -> None:
    """Every name of a stage in the Matrix front end is one of the page's."""
    code = "".join(path.read_text("utf-8") for path in (SRC / "tripoint" / "matrix").rglob("*.py"))
    named = set(re.findall(r'"(m\.login\.[a-z_.]+|m\.oauth|org\.matrix\.cross_signing_reset)"', code))
    # What POST /login alone knows is no stage.
    assert named - {"m.login.token", "m.login.application_service"} == set(STAGES)


def test_two_pages_are_seen_to_before_the_client_asks() -> None:
    async def work() -> None:
        async with matrix(make_config(terms=TERMS, registration="token")) as server:
            await server.party.middle.accounts.registration_tokens.add("come-in", 1, None)
            _, asked = await post(server, "/register", BODY)
            for stage, fields in ((STAGE, {}), ("m.login.registration_token", {"token": "come-in"})):
                browser = Browser(server)
                await browser.open(fallback(stage, asked["session"]))
                await browser.send("confirm", **fields)
                assert browser.title == "Thank you"
            auth = {"session": asked["session"]}
            statuses = [(await post(server, "/register", {**BODY, "auth": auth}))[0] for _ in range(2)]
            assert statuses == [401, 200]

    run(work)


def test_a_password_is_reset_by_the_page_alone() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            await server.party.middle.accounts.contacts.put_all(UserId(alice.user_id), [ADDRESS])
            _, asked = await post(server, "/account/password", {"new_password": "another one"})
            browser = Browser(server)
            await browser.open(fallback("m.login.email.identity", asked["session"]))
            await browser.send("ask", email=ADDRESS)
            assert box.letters[-1].subject.startswith("A new password")
            await confirm(server, box.link())
            await browser.send("confirm")
            assert browser.title == "Thank you"
            body = {"new_password": "another one", "auth": {"session": asked["session"]}}
            assert (await post(server, "/account/password", body))[0] == 200
            await server.party.middle.accounts.check_password("alice", "another one", address="x")

    run(work)


def test_new_keys_are_allowed_on_the_account_page() -> None:
    """spec: oauth-authentication: its page leads there, and on."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            oauth = server.party.middle.oauth
            session = oauth.confirmations.ask(
                f"device_signing {alice.user_id}", ("m.oauth",), "", UserId(alice.user_id)
            )
            browser = Browser(server)
            await browser.open(fallback("m.oauth", session))
            assert "action=org.matrix.cross_signing_reset" in browser.page and "onAuthDone" not in browser.page
            oauth.allow_reset(UserId(alice.user_id))
            await browser.open(fallback("m.oauth", session))
            assert browser.title == "Thank you" and "onAuthDone" in browser.page
            assert oauth.take_reset(UserId(alice.user_id))

    run(work)
