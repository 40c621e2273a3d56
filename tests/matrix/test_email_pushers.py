"""Letters about what is unread: who gets them, when, what they say, and how they end.

spec: Matrix client-server POST /pushers/set, kind email; RFC8058
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.test_contacts import ADDRESS, by_password, give_address, mailing
from tests.matrix.test_pushers import until
from tests.matrix.test_relations import pair
from tests.matrix.test_unread import read
from tests.net.https import make_certificate
from tests.oauth.browser import Browser, logged_in
from tests.support.letters import LetterBox
from tests.support.mail import PASSWORD, USER, mail_house
from tests.support.middle import Clock, run
from tripoint.accounts.pushers import EMAIL
from tripoint.core.digest import DELAY_MS, LONGEST_MS
from tripoint.core.ids import UserId
from tripoint.core.letter_words import LetterWords
from tripoint.fanout.digests import Digests
from tripoint.fanout.push import PushSender
from tripoint.matrix.push.mail import MailChannel
from tripoint.net.outbound import client_context
from tripoint.net.smtp import STARTTLS, MailServer, Postman
from tripoint.store.interface import Store
from tripoint.store.sqlite import SqliteStore

PUSHER: dict[str, Any] = {
    "kind": "email",
    "app_id": "m.email",
    "pushkey": ADDRESS,
    "app_display_name": "Email Notifications",
    "device_display_name": ADDRESS,
    "lang": "en",
    "data": {"brand": "Element"},
}
DELAY_S = DELAY_MS / 1000


class Letters:
    """The engine on a server. `tick(s)`: so much later, whatever is due is written."""

    def __init__(self, server: Server) -> None:
        self.server = server
        accounts = server.party.middle.accounts
        channel = MailChannel(accounts.server_name, accounts.contacts, accounts.leaving)
        now_ms = server.party.clock.ms
        self.digests = Digests(EMAIL, accounts.pushers, server.party.middle.pushing, channel, now_ms)
        self.bugs: list[BaseException] = []
        self.sender = PushSender(
            accounts.pushers,
            server.party.middle.pushing,
            {},
            now_ms,
            lambda where, error: self.bugs.append(error),
            digests=self.digests,
        )

    async def tick(self, later_s: float = 0) -> None:
        self.server.party.clock.now += later_s
        await self.digests.tick()


@asynccontextmanager
async def writing(server: Server) -> AsyncIterator[Letters]:
    letters = Letters(server)
    server.party.middle.hub.watch_all_rooms(letters.sender.room_changed)
    server.party.middle.hub.watch_users(letters.sender.user_changed)
    await letters.sender.start()
    try:
        yield letters
    finally:
        await letters.sender.close()
        assert letters.bugs == []


async def readers(server: Server, box: LetterBox) -> tuple[Client, Client, str]:
    """Alice, who talks; Bob, who is written to; and their room."""
    alice, bob, room = await pair(server)
    await give_address(server, box, bob)
    box.letters.clear()
    await bob.call("POST", "/pushers/set", PUSHER)
    return alice, bob, room


def test_what_is_unread_is_told_together_after_a_while() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            await alice.call("PUT", f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Alice <A>"})
            await alice.call("PUT", f"/rooms/{q(room)}/state/m.room.name", {"name": "Tea & cake"})
            (listed,) = (await bob.call("GET", "/pushers"))["pushers"]
            assert (listed["kind"], listed["pushkey"], listed["data"]) == ("email", ADDRESS, {"brand": "Element"})
            await alice.say(room, "the kettle <b>boils</b>")
            await letters.tick(DELAY_S - 60)
            await alice.say(room, "hurry")
            await bob.say(room, "what I said myself is nothing new")
            assert box.letters == []
            # Bob's own message means that he has read; Alice goes on.
            await alice.say(room, "and another")
            await letters.tick(60)
            assert box.letters == []
            await letters.tick(DELAY_S)
            (letter,) = box.letters
            assert (letter.to, letter.subject) == (ADDRESS, "A message from Alice <A> in Tea & cake (example.org)")
            assert "Alice <A>:\n> and another" in box.text and "hurry" not in box.text
            assert f"https://matrix.to/#/{room}" in box.text
            assert letter.leave_url is not None and letter.leave_url in box.text

    run(work)


def test_who_has_read_is_not_written_to() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            await alice.say(room, "one")
            last = await alice.say(room, "two")
            await letters.tick(DELAY_S - 1)
            await read(bob, room, last)
            gone = await alice.say(room, "not said")
            await alice.call("PUT", f"/rooms/{q(room)}/redact/{q(gone)}/1", {})
            await letters.tick(2 * DELAY_S)
            assert box.letters == []

    run(work)


def test_one_room_is_told_less_and_less_often_until_it_is_read() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            await alice.say(room, "one")
            await letters.tick(DELAY_S)
            assert len(box.letters) == 1
            await alice.say(room, "two")
            await letters.tick(DELAY_S)
            assert len(box.letters) == 2 and "> two" in box.text and "> one" not in box.text
            last = await alice.say(room, "three")
            await letters.tick(2 * DELAY_S)
            assert len(box.letters) == 2
            # An invitation is another room: it takes along what waits.
            other = await alice.create()
            await alice.call("POST", f"/rooms/{q(other)}/invite", {"user_id": bob.user_id})
            await letters.tick(DELAY_S)
            assert len(box.letters) == 3 and "> three" in box.text and "> invites you" in box.text
            last = await alice.say(room, "four")
            await letters.tick(LONGEST_MS / 1000 - 1)
            assert len(box.letters) == 3
            await read(bob, room, last)
            await alice.say(room, "five")
            await letters.tick(DELAY_S)
            assert len(box.letters) == 4 and "> five" in box.text and "four" not in box.text

    run(work)


GERMAN = {
    "unread_subject_message": "Eine Nachricht von {sender} in {room} ({server})",
    "unread_open": "Raum öffnen",
    "unread_leave": "Keine solchen Briefe mehr",
}


def test_a_letter_is_in_the_language_of_its_pusher() -> None:
    """spec: POST /pushers/set `lang`"""

    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            server.party.middle.accounts.contacts.words = LetterWords({"de": GERMAN})
            await alice.say(room, "one")
            await letters.tick(DELAY_S)
            assert box.letters[-1].subject.startswith("A message from") and "Open the room" in box.text
            await bob.call("POST", "/pushers/set", {**PUSHER, "lang": "de-AT"})
            await read(bob, room, await alice.say(room, "two"))
            await alice.say(room, "three")
            await letters.tick(DELAY_S)
            assert box.letters[-1].subject.startswith("Eine Nachricht von alice in ")
            assert "Raum öffnen" in box.text and "Keine solchen Briefe mehr" in box.text
            # What the language lacks is said in English.
            assert "You get letters like this because" in box.text

    run(work)


def test_a_letter_about_much_is_short() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            for number in range(8):
                await alice.say(room, f"message {number} " + "x" * 2000)
            rooms = []
            for number in range(11):
                rooms.append(await alice.create(name=f"Room {number}", invite=[bob.user_id]))
            await letters.tick(DELAY_S)
            (letter,) = box.letters
            assert "3 earlier messages not shown here." in box.text and "message 2 " not in box.text
            assert "message 3 " in box.text and "x" * 501 not in box.text
            assert "There is more in 2 other rooms." in box.text
            assert letter.subject.endswith("and 10 other rooms (example.org)")

    run(work)


def test_nothing_is_said_of_what_is_encrypted() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "c1phertext", "session_id": "s"}
            await alice.call("PUT", f"/rooms/{q(room)}/send/m.room.encrypted/e1", secret)
            file = {"msgtype": "m.image", "body": "cat.png", "url": "mxc://example.org/cat"}
            await alice.call("PUT", f"/rooms/{q(room)}/send/m.room.message/e2", file)
            reply = {
                "msgtype": "m.emote",
                "body": f"> <{bob.user_id}> hello\n\nwaves",
                "m.relates_to": {"m.in_reply_to": {"event_id": "$x"}},
            }
            await alice.call("PUT", f"/rooms/{q(room)}/send/m.room.message/e3", reply)
            await letters.tick(DELAY_S)
            assert "> (an encrypted message)" in box.text and "c1phertext" not in box.text
            assert "> (image) cat.png" in box.text and "> * waves" in box.text

    run(work)


def test_the_pusher_is_for_addresses_of_the_account_alone() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            alice, bob, _ = await readers(server, box)
            not_hers = (400, "M_THREEPID_NOT_FOUND")
            assert await alice.refused("POST", "/pushers/set", PUSHER) == not_hers
            assert await alice.refused("POST", "/pushers/set", {**PUSHER, "pushkey": "x@home.example"}) == not_hers
            for change in ({"pushkey": "no address"}, {"app_id": "m.mail"}, {"kind": "http"}, {"kind": "fax"}):
                got = await bob.refused("POST", "/pushers/set", {**PUSHER, **change})
                assert got == (400, "M_INVALID_PARAM"), change
            assert await bob.refused("POST", "/pushers/set", {**PUSHER, "data": 1}) == (400, "M_BAD_JSON")
            await bob.call("POST", "/pushers/set", {**PUSHER, "pushkey": "ALICE@home.example"})
            assert len((await bob.call("GET", "/pushers"))["pushers"]) == 1
            # Letters go on when the client that asked for them is gone, and end with the address.
            await bob.call("POST", "/logout", {})
            pushers = server.party.middle.accounts.pushers
            assert len(pushers.of(UserId(bob.user_id))) == 1
            await server.party.middle.accounts.contacts.remove(UserId(bob.user_id), "email", ADDRESS)
            assert pushers.of(UserId(bob.user_id)) == ()

    run(work)


def test_it_is_taken_away_as_it_was_set() -> None:
    async def work() -> None:
        async with mailing() as (server, box):
            _, bob, _ = await readers(server, box)
            gone = {"kind": None, "app_id": "m.email", "pushkey": "Alice@home.example"}
            await bob.call("POST", "/pushers/set", gone)
            assert (await bob.call("GET", "/pushers"))["pushers"] == []

    run(work)


def test_without_mail_there_are_no_such_pushers() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            assert await alice.refused("POST", "/pushers/set", PUSHER) == (400, "M_INVALID_PARAM")

    run(work)


def test_letters_end_by_the_link_in_them() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, bob, room = await readers(server, box)
            await alice.say(room, "one")
            await letters.tick(DELAY_S)
            link = box.link("/mail/leave")
            # Looking does nothing; nor does another link, nor another user's.
            browser = Browser(server)
            await browser.open(link)
            assert browser.title == "No more letters?" and ADDRESS in browser.page
            for wrong in (link[:-2], link.replace("bob", "alice"), "/mail/leave"):
                await Browser(server).post(wrong, {"List-Unsubscribe": "One-Click"})
            assert len((await bob.call("GET", "/pushers"))["pushers"]) == 1
            # spec: RFC8058 3.2: a program posts, without cookies and from nowhere.
            program = Browser(server)
            await program.post(link, {"List-Unsubscribe": "One-Click"}, origin=None)
            assert program.status == 200
            assert (await bob.call("GET", "/pushers"))["pushers"] == []
            await browser.open(link)
            assert "switched off already" in browser.page
            await alice.say(room, "two")
            await letters.tick(10 * DELAY_S)
            assert len(box.letters) == 1
            # A person does it by the button; switched on again, the link of old is good again.
            await bob.call("POST", "/pushers/set", PUSHER)
            await browser.open(link)
            await browser.send("go-on")
            assert browser.title == "No more letters" and ADDRESS in browser.page

    run(work)


def test_a_mail_server_that_is_away_is_asked_again_later_and_later() -> None:
    async def work() -> None:
        async with mailing() as (server, box), writing(server) as letters:
            alice, _, room = await readers(server, box)
            await alice.say(room, "one")
            box.failing = True
            await letters.tick(DELAY_S)
            for failed, wait_s in enumerate((30, 60, 120, 240, 480, 960, 1920, 3600, 3600), 1):
                await letters.tick(wait_s - 1)
                assert letters.digests.results["failed"] == failed
                await letters.tick(1)
                assert letters.digests.results["failed"] == failed + 1
            box.failing = False
            await letters.tick(3600)
            assert len(box.letters) == 1 and "> one" in box.text
            # A letter that is refused for good is not sent again.
            box.failing = box.for_good = True
            await alice.say(room, "two")
            await letters.tick(2 * DELAY_S)
            box.failing = False
            await letters.tick(2 * DELAY_S)
            assert len(box.letters) == 1

    run(work)


@asynccontextmanager
async def started(store: Store, clock: Clock, box: LetterBox) -> AsyncIterator[tuple[Server, Letters]]:
    async with mailing(store=store, clock=clock) as (server, _):
        server.party.middle.accounts.contacts.send = box.send
        async with writing(server) as letters:
            yield server, letters


def test_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        clock, path, box = Clock(), tmp_path / "test.db", LetterBox()
        async with started(SqliteStore(path), clock, box) as (server, letters):
            alice, bob, room = await readers(server, box)
            await alice.say(room, "one")
            await letters.tick(DELAY_S)
            assert len(box.letters) == 1
            await alice.say(room, "two")
            await letters.sender._save()
            token = alice.token
        async with started(SqliteStore(path), clock, box) as (server, letters):
            # What waited is there, with the time since when; so is how long the room is put off.
            alice.server, alice.token = server, token
            await letters.tick(DELAY_S)
            assert len(box.letters) == 2 and "> two" in box.text and "> one" not in box.text
            await alice.say(room, "three")
            await letters.tick(2 * DELAY_S)
            assert len(box.letters) == 2
            digest = letters.digests.waiting(server.party.middle.accounts.pushers.of(UserId(bob.user_id))[0])
            assert [pause.wait_ms for pause in digest.pauses.values()] == [LONGEST_MS]
        async with started(SqliteStore(path), clock, box) as (_, letters):
            await letters.tick(LONGEST_MS / 1000)
            assert len(box.letters) == 3 and "> three" in box.text

    run(work)


def test_what_was_said_as_the_server_fell_is_told_after(tmp_path: Path) -> None:
    """The log is the queue: what was not written down as waiting is found there again."""

    async def work() -> None:
        clock, path, box = Clock(), tmp_path / "test.db", LetterBox()
        async with mailing(store=SqliteStore(path), clock=clock) as (server, _):
            server.party.middle.accounts.contacts.send = box.send
            async with writing(server):
                alice, _, room = await readers(server, box)
            # Nobody looks at what is said now.
            await alice.say(room, "as it fell")
        async with started(SqliteStore(path), clock, box) as (_, letters):
            await until(lambda: letters.sender._scanned)  # the log is read in the background
            await letters.tick(DELAY_S)
            assert len(box.letters) == 1 and "> as it fell" in box.text

    run(work)


def test_over_a_real_mail_server(tmp_path: Path) -> None:
    async def work() -> None:
        certificate = make_certificate(tmp_path, "localhost")
        async with mail_house(certificate.context()) as house, matrix() as server, writing(server) as letters:
            context = client_context([str(certificate.path)])
            where = MailServer("localhost", house.port, STARTTLS, USER, PASSWORD, "chat@example.org", "Chat")
            server.party.middle.accounts.contacts.send = Postman(where, context, server.party.clock.s).send
            alice, bob, room = await pair(server)
            with structlog.testing.capture_logs() as logged:
                asked = await bob.call(
                    "POST",
                    "/account/3pid/email/requestToken",
                    {"client_secret": "s", "email": ADDRESS, "send_attempt": 1},
                )
                browser = await logged_in(server, "bob")
                await browser.open(house.link("/mail/confirm").removeprefix("https://chat.example.org"))
                await browser.send("go-on")
                body = {"sid": asked["sid"], "client_secret": "s", "auth": by_password("bob")}
                await bob.call("POST", "/account/3pid/add", body)
                await bob.call("POST", "/pushers/set", PUSHER)
                await alice.say(room, "a message with ümlauts and \u2615")
                await letters.tick(DELAY_S)
            letter = house.letters[-1]
            assert house.recipients == [[ADDRESS]] * 2 and house.encrypted == [True, True]
            assert letter["Auto-Submitted"] == "auto-generated" and letter["From"] == "Chat <chat@example.org>"
            assert "> a message with ümlauts and \u2615" in house.text()
            assert "a message with ümlauts and \u2615" in house.html()
            assert letter["List-Unsubscribe"] == f"<{house.link('/mail/leave')}>"
            assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert ADDRESS not in str(logged) and "ümlauts" not in str(logged)

    run(work)
