"""Pages about e-mail: a forgotten password, addresses on the account page, accounts that need one.

spec: Matrix client-server-api oauth-20-account-management; docs/decisions/mail.md
"""

import pytest

from tests.matrix.client import PASSWORD
from tests.matrix.test_contacts import ADDRESS, give_address, log_in_by_address, mailing
from tests.oauth.browser import Browser, Form, Kettle, answer_in, logged_in
from tests.support.middle import make_config, run
from tripoint.accounts.refusals import AccountRefusal, AccountRefused


def test_a_forgotten_password() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            await give_address(server, box, alice)
            browser = Browser(server)
            await browser.open("/account")
            assert "/mail/forgot" in browser.page
            await browser.open("/mail/forgot")
            await browser.send("go-on", email=ADDRESS)
            assert browser.title == "A letter is on its way"
            known = browser.page
            link = box.link()
            # Nobody learns by the page who has an account.
            await browser.open("/mail/forgot")
            await browser.send("go-on", email="nobody@home.example")
            assert browser.page == known.replace(ADDRESS, "nobody@home.example")
            assert box.letters[-1].subject == "No account at example.org has this address"
            await browser.open("/mail/forgot")
            await browser.send("go-on", email="no address")
            assert browser.status == 400 and "no e-mail address" in browser.page
            # In another browser, with a form that is not ours, with two passwords, and at last.
            phone = Browser(server, "de")
            await phone.open(link)
            assert phone.title == "Neues Passwort wählen" and alice.user_id in phone.page
            await phone.send("go-on", password="a", again="a", origin="https://evil.example")
            assert phone.status == 400
            await phone.send("go-on", password="another one", again="another two")
            assert "sind nicht gleich" in phone.page and phone.status == 400
            await phone.send("go-on", password="another one", again="another one")
            assert phone.title == "Das Passwort ist geändert"
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            assert (await log_in_by_address(server, ADDRESS, "another one"))[0] == 200
            await phone.open(link)
            assert phone.status == 404

    run(work)


def test_without_mail_there_is_nothing_to_be_forgotten() -> None:
    async def work() -> None:
        async with mailing() as (server, _):
            server.party.middle.accounts.contacts.send = None
            browser = Browser(server)
            await browser.open("/account")
            assert "/mail/forgot" not in browser.page
            await browser.open("/mail/forgot")
            assert browser.status == 404 and "sends no mail" in browser.page
            await server.register("alice")
            browser = await logged_in(server, "alice")
            assert "action=emails" not in browser.page

    run(work)


def test_addresses_on_the_account_page() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            browser = await logged_in(server, "alice")
            await browser.open("/account?action=emails")
            await browser.send("add-email", email="Alice@home.example")
            assert browser.title == "A letter is on its way"
            link = box.link()
            # Where the letter is read nobody has to be logged in, and sees whose the address will be.
            phone = Browser(server)
            await phone.open(link)
            assert "an address of the account @alice:example.org" in phone.page
            await phone.send("go-on")
            assert phone.title == "The address is yours"
            (listed,) = (await alice.call("GET", "/account/3pid"))["threepids"]
            assert listed["address"] == ADDRESS
            await phone.open(link)
            assert phone.status == 404
            await browser.open("/account?action=emails")
            assert ADDRESS in browser.page
            await browser.send("remove-email")
            assert "The address is taken away." in browser.page and ADDRESS not in browser.page
            assert await alice.call("GET", "/account/3pid") == {"threepids": []}

    run(work)


def test_a_locked_account_gets_no_address() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            browser = await logged_in(server, "alice")
            await browser.open("/account?action=emails")
            await browser.send("add-email", email=ADDRESS)
            await server.party.middle.accounts.set_locked(alice.user_id, True)  # type: ignore[arg-type]
            phone = Browser(server)
            await phone.open(box.link())
            await phone.send("go-on")
            assert phone.status == 400
            assert await server.party.middle.accounts.contacts.owner("email", ADDRESS) is None

    run(work)


def test_an_account_that_needs_an_address_is_made_by_browser() -> None:
    """From a client that has somebody make an account (prompt=create) to its tokens."""

    async def work() -> None:
        async with mailing(make_config(email_required=True)) as (server, box):
            kettle = await Kettle.registered(server)
            browser = Browser(server)
            await browser.open(kettle.address(prompt="create"))
            assert "make-account" not in Form(browser.page).forms
            await browser.send("make-by-mail", email=ADDRESS)
            assert browser.title == "A letter is on its way"
            await browser.open(box.link())
            assert browser.title == "Make an account at example.org"
            await browser.send("go-on", name="Has Space", password=PASSWORD, again=PASSWORD)
            assert browser.status == 400
            await browser.send("go-on", name="alice", password=PASSWORD, again=PASSWORD)
            # The page that the client wanted comes next, and somebody is logged in there.
            assert browser.status == 200 and "allow" in Form(browser.page).forms
            status, tokens = await kettle.trade(answer_in(await browser.send("allow"))["code"])
            assert status == 200 and tokens["access_token"]
            assert (await log_in_by_address(server, ADDRESS))[1]["user_id"] == "@alice:example.org"

    run(work)


def test_other_ways_make_no_account_where_an_address_is_needed() -> None:
    async def work() -> None:
        async with mailing(make_config(email_required=True)) as (server, _):
            accounts = server.party.middle.accounts
            assert (await accounts.registration_state(), await accounts.registration_in_band()) == ("open", "closed")
            with pytest.raises(AccountRefused) as refused:
                await accounts.register("alice", PASSWORD, address="127.0.0.1")
            assert refused.value.refusal is AccountRefusal.EMAIL_NEEDED
            # The administrator's own way.
            await accounts.add_account("alice", PASSWORD, admin=False)

    run(work)
