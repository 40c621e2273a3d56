"""Two whole servers over TLS on loopback, and people on IRC and XMPP of both in one room.

spec: docs/mapping.md 1.5, 3.2, 4.10, 9.9; Matrix server-server-api "Joining Rooms", "Inviting to a room", "PUT /send"
"""

import asyncio
import re
from pathlib import Path

from tests.cross.world import IrcPerson, XmppPerson
from tests.federation.servers import islands, server
from tests.federation.test_joining import account
from tests.federation.viewers import connect
from tests.support.middle import run
from tripoint.core.ids import UserId
from tripoint.runtime.app import App

ONE, TWO = server("one.example"), server("two.example")


async def on_irc(app: App, name: str, *caps: str) -> IrcPerson:
    person = IrcPerson(connect(app.irc))
    await person.log_in(name, list(caps))
    return person


async def on_xmpp(app: App, name: str) -> XmppPerson:
    person = XmppPerson(connect(app.xmpp), app.config.server.name)
    await person.log_in(name, [])
    return person


async def until(person: IrcPerson | XmppPerson, pattern: str) -> str:
    """The first thing that comes and holds this."""
    async with asyncio.timeout(10):
        while True:
            came = await person.next()
            if re.search(pattern, came):
                return came


def test_everybody_is_in_one_room(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            await account(one, "alice")
            await account(two, "bob")
            await account(two, "carol")
            alice = await on_irc(one, "alice")
            await alice.send("JOIN #tea\r\nTOPIC #tea :Kettle on")
            await until(alice, " TOPIC #tea ")

            bob = await on_irc(two, "bob", "message-tags")
            await bob.send("JOIN #tea:one.example")
            assert await until(bob, " JOIN ") == ":bob!bob@two.example JOIN #tea:one.example"
            assert (await until(bob, " 332 ")).endswith(" 332 bob #tea:one.example :Kettle on")
            assert await until(alice, " JOIN ") == ":bob:two.example!bob@two.example JOIN #tea"

            carol = await on_xmpp(two, "carol")
            await carol.send(
                "<presence to='tea%one.example@rooms.two.example/carol'>"
                "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )
            assert "<subject>Kettle on</subject>" in await until(carol, "<subject")
            assert await until(alice, " JOIN ") == ":carol:two.example!carol@two.example JOIN #tea"

            await alice.send("PRIVMSG #tea :hello \x02all\x02")
            assert (await until(bob, " PRIVMSG ")).endswith(
                " :alice:one.example!alice@one.example PRIVMSG #tea:one.example :hello \x02all\x0f"
            )
            said = await until(carol, "<body>")
            assert "from='tea%one.example@rooms.two.example/alice'" in said
            assert "<body>hello *all*</body>" in said
            await carol.send(
                "<message type='groupchat' id='c1' to='tea%one.example@rooms.two.example'><body>hi</body></message>"
            )
            assert (await until(alice, " PRIVMSG ")) == ":carol:two.example!carol@two.example PRIVMSG #tea :hi"

            await alice.send("KICK #tea bob:two.example :later")
            assert await until(bob, " KICK ") == (
                ":alice:one.example!alice@one.example KICK #tea:one.example bob :later"
            )
            assert "<status code='307'/>" in await until(carol, "type='unavailable'")

    run(work)


def test_an_invitation_from_another_server_is_shown_and_followed(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            await account(one, "alice")
            await account(two, "bob")
            alice, bob, jabber_bob = await on_irc(one, "alice"), await on_irc(two, "bob"), await on_xmpp(two, "bob")
            await alice.send("JOIN #tea\r\nMODE #tea +i\r\nINVITE bob:two.example #tea")
            await until(alice, " 341 ")
            assert await until(bob, " INVITE ") == ":alice:one.example!alice@one.example INVITE bob #tea:one.example"
            invitation = await until(jabber_bob, "<invite ")
            assert "from='alice%one.example@matrix.two.example'" in invitation
            assert "jid='tea%one.example@rooms.two.example'" in invitation
            await bob.send("JOIN #tea:one.example")
            assert await until(bob, " JOIN ") == ":bob!bob@two.example JOIN #tea:one.example"
            assert await until(alice, " JOIN ") == ":bob:two.example!bob@two.example JOIN #tea"

    run(work)


def test_people_of_two_servers_talk_directly(tmp_path: Path) -> None:
    """spec: docs/mapping.md 15.1, 15.2, 15.5"""

    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            await account(one, "alice")
            await account(two, "bob")
            # They know each other from a room: a nick is somebody who is seen.
            alice, bob = await on_irc(one, "alice"), await on_irc(two, "bob", "standard-replies")
            await alice.send("JOIN #tea")
            await until(alice, " 366 ")
            await bob.send("JOIN #tea:one.example")
            await until(alice, " JOIN ")
            await bob.send("PRIVMSG alice:one.example :psst")
            assert "NOTE PRIVMSG PENDING alice:one.example :" in await until(bob, " NOTE ")
            wish = await until(alice, " NOTICE ")
            assert wish.startswith(":one.example NOTICE alice :bob:two.example would like to talk to you.")
            await alice.send("PRIVMSG bob:two.example :yes?")
            assert await until(bob, " PRIVMSG ") == ":alice:one.example!alice@one.example PRIVMSG bob :yes?"
            await bob.send("PRIVMSG alice:one.example :hear this")
            assert await until(alice, "hear this") == ":bob:two.example!bob@two.example PRIVMSG alice :hear this"
            bobs, alices = (UserId("@bob:two.example"), UserId("@alice:one.example"))
            rooms = [await app.middle.reader.direct_room(alices, bobs) for app in (one, two)]
            assert rooms[0] is not None and rooms[0] == rooms[1]

    run(work)


def test_reactions_of_somebody_who_was_there_before_this_server_came(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            await account(one, "alice")
            await account(two, "bob")
            alice = await on_irc(one, "alice", "message-tags", "echo-message")
            await alice.send("JOIN #tea")
            bob = await on_xmpp(two, "bob")
            await bob.send(
                "<presence to='tea%one.example@rooms.two.example/bob'>"
                "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )
            await until(bob, "<subject")
            await alice.send("PRIVMSG #tea :tea?")
            msgid = re.search(r"msgid=(\$[^; ]+)", await until(alice, " PRIVMSG "))
            assert msgid is not None
            await until(bob, "<body>")
            for keys in (("👍",), ("👍", "🫖")):
                await alice.send(f"@+reply={msgid[1]};+draft/react={keys[-1]} TAGMSG #tea")
                shown = await until(bob, "<reactions ")
                assert re.findall("<reaction>([^<]*)</reaction>", shown) == list(keys)

    run(work)


def test_whoever_invites_to_a_slow_server_is_not_held_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            await account(one, "alice")
            await account(two, "bob")
            alice = await on_irc(one, "alice")
            await alice.send("JOIN #tea")
            await until(alice, " 366 ")
            rooms = one.middle.door.rooms
            ask, answers = rooms.invite, asyncio.Event()

            async def slow(*asked: object) -> object:
                await answers.wait()
                return await ask(*asked)  # type: ignore[arg-type]

            rooms.invite = slow  # type: ignore[method-assign, assignment]
            await alice.send("INVITE bob:two.example #tea\r\nPING on")
            await until(alice, " PONG ")
            answers.set()
            assert await until(alice, " 341 ") == ":one.example 341 alice bob:two.example :#tea"

    run(work)


def test_servers_that_do_not_answer_are_named(tmp_path: Path) -> None:
    """spec: docs/mapping.md 21.1"""

    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            await account(one, "alice")
            await account(two, "bob")
            alice, bob = await on_irc(one, "alice"), await on_irc(two, "bob")
            await alice.send("JOIN #tea")
            await until(alice, " 366 ")
            await bob.send("JOIN #tea:one.example")
            await until(alice, " JOIN ")
            await alice.send("CS INFO #tea")
            assert "does not answer" not in "".join([await until(alice, " NOTICE ") for _ in range(4)])
            await made.stop(TWO)
            await alice.send("PRIVMSG #tea :are you there?")
            while one.middle.reader.failing_since(TWO) is None:  # noqa: ASYNC110 (nothing on the wire says so)
                await asyncio.sleep(0.02)
            await alice.send("CS INFO #tea")
            assert re.search(
                r"NOTICE alice :two\.example does not answer since \d{4}-\S+Z: what is said here waits for it",
                await until(alice, "does not answer"),
            )

    run(work)
