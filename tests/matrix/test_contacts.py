"""E-mail addresses of accounts: shown by a letter, added, used to come in, taken away.

spec: Matrix client-server "Adding Account Administrative Contact Information", POST /register/email/requestToken,
POST /account/password/email/requestToken, "Email-based (identity / homeserver)", "Third-party ID"
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog

from tests.matrix.client import PASSWORD, Client, Server, matrix
from tests.matrix.test_accounts import post
from tests.oauth.browser import Browser
from tests.support.letters import LetterBox
from tests.support.middle import Clock, make_config, reopened, run
from tripoint.config.options import Config
from tripoint.core.letter_words import LetterWords
from tripoint.core.letters import Text
from tripoint.store.interface import Store, StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore

EMAIL = "m.login.email.identity"
ADDRESS = "alice@home.example"


@asynccontextmanager
async def mailing(
    config: Config | None = None, store: Store | None = None, clock: Clock | None = None
) -> AsyncIterator[tuple[Server, LetterBox]]:
    """A server that sends mail."""
    async with matrix(config, store, clock) as server:
        box = LetterBox()
        server.party.middle.accounts.contacts.send = box.send
        yield server, box


async def ask(
    server: Server, what: str, email: str = ADDRESS, secret: str = "s3cret", attempt: int = 1, **more: Any
) -> tuple[int, Any]:
    """requestToken of `what`."""
    body = {"client_secret": secret, "email": email, "send_attempt": attempt, **more}
    return await post(server, f"/{what}/email/requestToken", body)


async def confirm(server: Server, link: str) -> Browser:
    """Open the link of a letter, and go on."""
    browser = Browser(server)
    await browser.open(link)
    assert browser.status == 200, browser.page
    await browser.send("go-on")
    return browser


def creds(sid: str, secret: str = "s3cret") -> dict[str, Any]:
    return {"type": EMAIL, "threepid_creds": {"sid": sid, "client_secret": secret}}


def by_password(name: str = "alice", password: str = PASSWORD) -> dict[str, Any]:
    return {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}


async def give_address(
    server: Server, box: LetterBox, client: Client, email: str = ADDRESS, secret: str = "own"
) -> None:
    """An account has an address, as its client does it."""
    status, asked = await ask(server, "account/3pid", email, secret)
    assert status == 200, asked
    await confirm(server, box.link())
    name = client.user_id[1:].partition(":")[0]
    body = {"sid": asked["sid"], "client_secret": secret, "auth": by_password(name)}
    await client.call("POST", "/account/3pid/add", body)


async def log_in_by_address(server: Server, email: str, password: str = PASSWORD) -> tuple[int, Any]:
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": email}
    return await post(server, "/login", {**by_password(password=password), "identifier": identifier})


def test_an_address_is_added_shown_used_and_taken_away() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            assert await alice.call("GET", "/account/3pid") == {"threepids": []}
            capabilities = (await alice.call("GET", "/capabilities"))["capabilities"]
            assert capabilities["m.3pid_changes"] == {"enabled": True}
            status, asked = await ask(server, "account/3pid", "Alice@Home.Example")
            assert status == 200 and asked.keys() == {"sid"}
            (letter,) = box.letters
            assert letter.to == ADDRESS and letter.subject == "Confirm your e-mail address at example.org"
            body = {"sid": asked["sid"], "client_secret": "s3cret"}
            # Before the link was opened nothing is added; a program that looks at the link opens nothing.
            browser = Browser(server)
            await browser.open(box.link())
            wanted = {**body, "auth": by_password()}
            assert await alice.refused("POST", "/account/3pid/add", wanted) == (400, "M_THREEPID_AUTH_FAILED")
            await browser.send("go-on")
            assert browser.title == "The address is confirmed"
            server.party.clock.now += 5
            # The password is asked for, by the address too once it is known.
            again = await alice.call("POST", "/account/3pid/add", body, status=401)
            assert again["flows"] == [{"stages": ["m.login.password"]}]
            await alice.call("POST", "/account/3pid/add", wanted)
            now = server.party.clock.ms()
            listed = {"medium": "email", "address": ADDRESS, "validated_at": now - 5000, "added_at": now}
            assert await alice.call("GET", "/account/3pid") == {"threepids": [listed]}
            # What was shown is good once.
            assert await alice.refused("POST", "/account/3pid/add", wanted) == (400, "M_THREEPID_AUTH_FAILED")
            # It stands for the user, however it is written.
            status, made = await log_in_by_address(server, "ALICE@home.example")
            assert (status, made["user_id"]) == (200, alice.user_id)
            identifier = {"type": "m.id.thirdparty", "medium": "email", "address": ADDRESS}
            auth = {**by_password(), "identifier": identifier}
            await alice.call("POST", "/account/password", {"new_password": "another one", "auth": auth})
            away = {"medium": "email", "address": "alice@HOME.example"}
            assert await alice.call("POST", "/account/3pid/delete", away) == {"id_server_unbind_result": "no-support"}
            assert await alice.call("GET", "/account/3pid") == {"threepids": []}
            assert (await log_in_by_address(server, ADDRESS, "another one"))[0] == 403

    run(work)


def test_whether_an_account_has_an_address_is_told_to_the_address_alone() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            await give_address(server, box, alice)
            box.letters.clear()
            for what in ("register", "account/password", "account/3pid"):
                known = await ask(server, what, secret=what.replace("/", "."))
                unknown = await ask(server, what, "nobody@home.example", secret=what.replace("/", "."))
                for status, answer in (known, unknown):
                    assert status == 200 and answer.keys() == {"sid"} and len(answer["sid"]) == 24
                server.party.clock.now += 3600
            told = [(letter.to, letter.subject, "/mail/confirm" in str(letter.lines)) for letter in box.letters]
            in_use = "You have an account at example.org already"
            assert told == [
                (ADDRESS, in_use, False),
                ("nobody@home.example", "Make your account at example.org", True),
                (ADDRESS, "A new password at example.org", True),
                ("nobody@home.example", "No account at example.org has this address", False),
                (ADDRESS, in_use, False),
                ("nobody@home.example", "Confirm your e-mail address at example.org", True),
            ]
            # Nor does logging in tell: a wrong password, and an address that nobody has.
            for email in (ADDRESS, "nobody@home.example", "no address"):
                status, answer = await log_in_by_address(server, email, "wrong")
                assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
                assert answer["error"] == "Wrong user name or password"

    run(work)


def test_a_letter_is_sent_once_for_each_attempt() -> None:
    """spec: "The server will only send an email if the send_attempt is a number greater than the most recent one"."""

    async def work() -> None:
        async with mailing() as (server, box):
            first = await ask(server, "register")
            assert await ask(server, "register") == first and len(box.letters) == 1
            old = box.link()
            assert await ask(server, "register", attempt=2) == first and len(box.letters) == 2
            # Another client, another purpose: something else.
            assert (await ask(server, "register", secret="other"))[1]["sid"] != first[1]["sid"]
            # The newest letter is the one that counts.
            browser = Browser(server)
            await browser.open(old)
            assert browser.status == 404 and "Ask for a new letter" in browser.page

    run(work)


def test_a_letter_that_was_not_sent_is_sent_when_it_is_asked_for_again() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            box.failing = True
            status, answer = await ask(server, "register")
            assert (status, answer["errcode"]) == (503, "M_UNKNOWN")
            assert answer["error"] == "The letter could not be sent; try again later"
            box.failing = False
            assert (await ask(server, "register"))[0] == 200 and len(box.letters) == 1

    run(work)


def test_a_password_is_reset_without_logging_in() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice, bob = await server.register("alice"), await server.register("bob")
            await give_address(server, box, alice)
            status, asked = await ask(server, "account/password")
            assert status == 200 and "@alice:example.org" in box.text and "good for an hour" in box.text
            sid = asked["sid"]
            status, wanted = await post(server, "/account/password", {"new_password": "another one"})
            assert (status, wanted["flows"]) == (401, [{"stages": [EMAIL]}])
            body = {"new_password": "another one", "auth": {**creds(sid), "session": wanted["session"]}}
            status, answer = await post(server, "/account/password", body)
            assert (status, answer["errcode"], answer["session"]) == (401, "M_UNAUTHORIZED", wanted["session"])
            await confirm(server, box.link())
            # What is shown for one thing is nothing for another, nor for who does not know the secret.
            add = {"sid": sid, "client_secret": "s3cret", "auth": by_password("bob")}
            assert await bob.refused("POST", "/account/3pid/add", add) == (400, "M_THREEPID_AUTH_FAILED")
            stolen = {**body, "auth": {**creds(sid, "guessed"), "session": wanted["session"]}}
            assert (await post(server, "/account/password", stolen))[0] == 401
            weak = {**body, "new_password": ""}
            assert (await post(server, "/account/password", weak))[1]["errcode"] == "M_WEAK_PASSWORD"
            body = {"new_password": "another one", "auth": creds(sid)}
            assert await post(server, "/account/password", body) == (200, {})
            assert await alice.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
            assert (await log_in_by_address(server, ADDRESS, "another one"))[0] == 200
            assert (await log_in_by_address(server, ADDRESS))[0] == 403
            assert (await bob.call("GET", "/account/whoami"))["user_id"] == bob.user_id
            # It was good once.
            assert (await post(server, "/account/password", {**body, "new_password": "a third"}))[0] == 401

    run(work)


def test_devices_stay_where_the_reset_says_so() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            await give_address(server, box, alice)
            sid = (await ask(server, "account/password"))[1]["sid"]
            await confirm(server, box.link())
            body = {"new_password": "another one", "logout_devices": False, "auth": creds(sid)}
            assert await post(server, "/account/password", body) == (200, {})
            await alice.call("GET", "/account/whoami")

    run(work)


async def sid_of(server: Server, box: LetterBox, email: str = ADDRESS, secret: str = "s3cret") -> str:
    """An address that was shown for a new account."""
    status, asked = await ask(server, "register", email, secret)
    assert status == 200, asked
    await confirm(server, box.link())
    sid = asked["sid"]
    assert isinstance(sid, str)
    return sid


def test_an_account_is_made_with_an_address_where_one_is_needed() -> None:
    async def work() -> None:
        async with mailing(make_config(email_required=True)) as (server, box):
            body = {"username": "alice", "password": PASSWORD}
            status, asked = await post(server, "/register", body)
            assert (status, asked["flows"]) == (401, [{"stages": [EMAIL]}])
            assert "errcode" not in asked and asked["completed"] == []
            dummy = {"type": "m.login.dummy", "session": asked["session"]}
            assert (await post(server, "/register", {**body, "auth": dummy}))[0] == 401
            sid = await sid_of(server, box)
            auth = {**creds(sid), "session": asked["session"]}
            status, made = await post(server, "/register", {**body, "auth": auth})
            assert status == 200, made
            alice = Client(server, made)
            (listed,) = (await alice.call("GET", "/account/3pid"))["threepids"]
            assert listed["address"] == ADDRESS
            status, answer = await post(server, "/register", {**body, "username": "bob", "auth": creds(sid)})
            assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")

    run(work)


def test_an_address_can_be_shown_where_none_is_needed() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            _, asked = await post(server, "/register", {"username": "alice", "password": PASSWORD})
            assert asked["flows"] == [{"stages": ["m.login.dummy"]}, {"stages": [EMAIL]}]
            bob = await server.register("bob")
            assert await bob.call("GET", "/account/3pid") == {"threepids": []}
            sid = await sid_of(server, box)
            body = {"username": "alice", "password": PASSWORD, "auth": creds(sid)}
            assert (await post(server, "/register", body))[0] == 200

    run(work)


def test_a_token_and_an_address_are_shown_one_after_the_other() -> None:
    async def work() -> None:
        async with mailing(make_config(registration="token", email_required=True)) as (server, box):
            await server.party.middle.accounts.registration_tokens.add("come-in", 1, None)
            body = {"username": "alice", "password": PASSWORD}
            status, asked = await post(server, "/register", body)
            session = asked["session"]
            assert asked["flows"] == [{"stages": [EMAIL, "m.login.registration_token"]}]
            token = {"type": "m.login.registration_token", "token": "wrong", "session": session}
            status, answer = await post(server, "/register", {**body, "auth": token})
            assert (status, answer["errcode"], answer["completed"]) == (401, "M_UNAUTHORIZED", [])
            token["token"] = "come-in"
            status, answer = await post(server, "/register", {**body, "auth": token})
            assert (status, answer["completed"]) == (401, ["m.login.registration_token"])
            assert "errcode" not in answer and answer["session"] == session
            email = {**creds(await sid_of(server, box)), "session": session}
            status, made = await post(server, "/register", {**body, "auth": email})
            assert (status, made["user_id"]) == (200, "@alice:example.org")

    run(work)


def test_an_address_goes_to_one_account() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            one, two = await sid_of(server, box, secret="one"), await sid_of(server, box, secret="two")
            bodies = (
                {"username": "alice", "password": PASSWORD, "auth": creds(one, "one")},
                {"username": "bob", "password": PASSWORD, "auth": creds(two, "two")},
            )
            answers = await asyncio.gather(*(post(server, "/register", body) for body in bodies))
            assert sorted(status for status, _ in answers) == [200, 400]
            (refused,) = [answer for status, answer in answers if status == 400]
            assert refused["errcode"] == "M_THREEPID_IN_USE"
            # Whoever was too late can have the name without it.
            name = next(body["username"] for body in bodies if body["username"] not in str(answers))
            await server.register(str(name))

    run(work)


def test_guests_become_accounts_with_an_address() -> None:
    async def work() -> None:
        async with mailing(make_config(email_required=True, matrix_guests=True)) as (server, box):
            status, made = await post(server, "/register", {}, kind="guest")
            assert status == 200
            guest = Client(server, made)
            status, answer = await post(server, "/account/password", {"new_password": "x"}, access_token=guest.token)
            assert (status, answer["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
            name = guest.user_id[1:].partition(":")[0]
            body = {"username": name, "password": PASSWORD, "guest_access_token": guest.token}
            sid = await sid_of(server, box)
            status, made = await post(server, "/register", {**body, "auth": creds(sid)})
            assert status == 200, made
            (listed,) = (await Client(server, made).call("GET", "/account/3pid"))["threepids"]
            assert listed["address"] == ADDRESS

    run(work)


def test_links_and_what_they_showed_expire() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            await give_address(server, box, alice)
            sid = (await ask(server, "account/password"))[1]["sid"]
            late = box.link()
            server.party.clock.now += 3600
            browser = Browser(server)
            await browser.open(late)
            assert browser.status == 404
            # A link that is opened in the last minute leaves time to go on.
            sid = (await ask(server, "account/password", secret="second"))[1]["sid"]
            server.party.clock.now += 3590
            await confirm(server, box.link())
            server.party.clock.now += 800
            body = {"new_password": "another one", "auth": creds(sid, "second")}
            assert await post(server, "/account/password", body) == (200, {})

    run(work)


def test_somebody_who_asks_too_often_waits() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            for number in range(3):
                assert (await ask(server, "register", secret=f"s{number}"))[0] == 200
            status, answer = await ask(server, "register", secret="s4")
            assert (status, answer["errcode"]) == (429, "M_LIMIT_EXCEEDED") and answer["retry_after_ms"] == 600_001
            # Nobody's address can be filled by others from many places; and nobody writes to many from one place.
            for number in range(6):
                assert (await ask(server, "register", f"a{number}@home.example"))[0] == 200
            status, answer = await ask(server, "register", "more@home.example")
            assert (status, answer["errcode"]) == (429, "M_LIMIT_EXCEEDED")
            server.address = "192.0.2.1"
            assert (await ask(server, "register", "more@home.example"))[0] == 200
            assert len(box.letters) == 10

    run(work)


def test_what_is_refused() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            good = {"client_secret": "s", "email": ADDRESS, "send_attempt": 1}
            for change, errcode in (
                ({"email": "no address"}, "M_INVALID_PARAM"),
                ({"email": None}, "M_MISSING_PARAM"),
                ({"email": 5}, "M_BAD_JSON"),
                ({"client_secret": "with space"}, "M_INVALID_PARAM"),
                ({"client_secret": ""}, "M_INVALID_PARAM"),
                ({"client_secret": "s" * 256}, "M_INVALID_PARAM"),
                ({"send_attempt": "1"}, "M_BAD_JSON"),
                ({"send_attempt": None}, "M_MISSING_PARAM"),
                ({"send_attempt": -1}, "M_INVALID_PARAM"),
                ({"next_link": "javascript:alert(1)"}, "M_INVALID_PARAM"),
                ({"next_link": "file:///etc/passwd"}, "M_INVALID_PARAM"),
                ({"next_link": "https://good.example@evil.example/"}, "M_INVALID_PARAM"),
                ({"next_link": "https://evil.example/\r\nSet-Cookie: a=b"}, "M_INVALID_PARAM"),
                ({"next_link": 5}, "M_INVALID_PARAM"),
            ):
                status, answer = await post(server, "/register/email/requestToken", {**good, **change})
                assert (status, answer["errcode"]) == (400, errcode), change
            assert box.letters == []
            alice = await server.register("alice")
            phone = {"client_secret": "s", "country": "GB", "phone_number": "1", "send_attempt": 1}
            for what, status, errcode in (
                ("account/3pid", 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
                ("account/password", 403, "M_THREEPID_DENIED"),
                ("register", 403, "M_THREEPID_DENIED"),
            ):
                got, answer = await post(server, f"/{what}/msisdn/requestToken", phone)
                assert (got, answer["errcode"]) == (status, errcode)
            server_creds = {"id_server": "id.example", "id_access_token": "t", "sid": "1", "client_secret": "s"}
            assert await alice.refused("POST", "/account/3pid/bind", server_creds) == (403, "M_SERVER_NOT_TRUSTED")
            old = {"three_pid_creds": server_creds}
            assert await alice.refused("POST", "/account/3pid", old) == (403, "M_THREEPID_AUTH_FAILED")
            away = {"medium": "email", "address": ADDRESS, "id_server": "id.example"}
            assert await alice.call("POST", "/account/3pid/unbind", away) == {"id_server_unbind_result": "no-support"}
            assert await alice.refused("POST", "/account/3pid/delete", {"medium": "email"}) == (400, "M_MISSING_PARAM")

    run(work)


def test_without_mail_nothing_can_be_shown() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            capabilities = (await alice.call("GET", "/capabilities"))["capabilities"]
            assert capabilities["m.3pid_changes"] == {"enabled": False}
            status, answer = await ask(server, "account/3pid")
            assert (status, answer["errcode"]) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
            for what in ("register", "account/password"):
                status, answer = await ask(server, what)
                assert (status, answer["errcode"]) == (403, "M_THREEPID_DENIED")
            status, answer = await post(server, "/account/password", {"new_password": "another one"})
            assert (status, answer["errcode"]) == (401, "M_MISSING_TOKEN")

    run(work)


def test_where_registration_is_closed_nobody_is_written_to() -> None:
    async def work() -> None:
        async with mailing(make_config(registration="closed")) as (server, box):
            status, answer = await ask(server, "register")
            assert (status, answer["errcode"], box.letters) == (403, "M_FORBIDDEN", [])

    run(work)


def test_the_page_goes_on_to_where_the_client_wants() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            await ask(server, "register", next_link="https://app.example/welcome?step=2")
            browser = Browser(server)
            await browser.open(box.link())
            assert "After that you go to app.example." in browser.page
            policy = dict(browser.response.headers)[b"content-security-policy"]
            assert b"form-action 'self' https://app.example;" in policy
            assert await browser.send("go-on", origin="https://evil.example") and browser.status == 400
            assert await browser.send("go-on") == "https://app.example/welcome?step=2"
            # Whoever opens the link again sees that it is done.
            await browser.open(box.link())
            assert browser.title == "The address is confirmed"

    run(work)


def test_a_closed_account_has_no_addresses() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            await give_address(server, box, alice)
            await alice.call("POST", "/account/deactivate", {"auth": by_password()})
            assert (await log_in_by_address(server, ADDRESS))[1]["errcode"] == "M_FORBIDDEN"
            bob = await server.register("bob")
            await give_address(server, box, bob, secret="bobs")

    run(work)


def test_an_account_has_so_many_addresses() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice = await server.register("alice")
            for number in range(10):
                server.party.clock.now += 60
                await give_address(server, box, alice, f"a{number}@home.example")
            sid = (await ask(server, "account/3pid", "more@home.example"))[1]["sid"]
            await confirm(server, box.link())
            body = {"sid": sid, "client_secret": "s3cret", "auth": by_password()}
            assert await alice.refused("POST", "/account/3pid/add", body) == (400, "M_RESOURCE_LIMIT_EXCEEDED")

    run(work)


def test_what_was_begun_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        clock, path = Clock(), tmp_path / "test.db"
        async with mailing(store=SqliteStore(path), clock=clock) as (server, box):
            await server.register("alice")
            sid = (await ask(server, "account/3pid"))[1]["sid"]
            link = box.link()
        assert b"s3cret" not in path.read_bytes() and link.partition("token=")[2].encode() not in path.read_bytes()
        async with mailing(store=SqliteStore(path), clock=clock) as (server, _):
            await confirm(server, link)
        async with mailing(store=SqliteStore(path), clock=clock) as (server, _):
            status, made = await post(server, "/login", by_password())
            assert status == 200
            body = {"sid": sid, "client_secret": "s3cret", "auth": by_password()}
            await Client(server, made).call("POST", "/account/3pid/add", body)
            assert (await log_in_by_address(server, ADDRESS))[0] == 200

    run(work)


def test_nothing_of_it_is_logged() -> None:
    async def work() -> None:
        with structlog.testing.capture_logs() as logged:
            async with mailing() as (server, box):
                alice = await server.register("alice")
                await give_address(server, box, alice)
                await ask(server, "account/password")
                await confirm(server, box.link())
        said = str(logged)
        assert ADDRESS not in said and "s3cret" not in said and box.link().partition("token=")[2] not in said

    run(work)


def test_a_store_that_is_full_changes_nothing() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with mailing(store=store) as (server, box):
            alice = await server.register("alice")
            sid = (await ask(server, "account/3pid"))[1]["sid"]
            await confirm(server, box.link())
            body = {"sid": sid, "client_secret": "s3cret", "auth": by_password()}
            store.fail_next(StoreError("the disk is full"))
            assert (await alice.refused("POST", "/account/3pid/add", body))[0] == 503
            assert await alice.call("GET", "/account/3pid") == {"threepids": []}
            kept = reopened(store)
        async with mailing(store=kept) as (server, _):
            status, made = await post(server, "/login", by_password())
            assert orjson.dumps(made) and status == 200
            await Client(server, made).call("POST", "/account/3pid/add", body)

    run(work)


def test_letters_are_in_the_language_of_who_asks() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            contacts = server.party.middle.accounts.contacts
            contacts.words = LetterWords({"de": {"register_subject": "Ihr Konto bei {server}"}})
            body = {"client_secret": "s3cret", "email": ADDRESS, "send_attempt": 1}
            response = await server.request(
                "POST",
                "/_matrix/client/v3/register/email/requestToken",
                body,
                headers=((b"accept-language", b"de-AT, en;q=0.5"),),
            )
            assert response.status == 200
            assert box.letters[-1].subject == "Ihr Konto bei example.org"
            # What the language lacks is in English.
            assert box.letters[-1].lines[0] == Text(
                "Somebody, hopefully you, wants to make an account at example.org with this address."
            )
            await ask(server, "register", "other@home.example")
            assert box.letters[-1].subject == "Make your account at example.org"

    run(work)
