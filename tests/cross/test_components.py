"""The people of a component, as all three protocols see them, and what is told while it is away.

spec: XEP-0114; docs/mapping.md 23.5
"""

# rows: 23.5

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import orjson

from tests.cross.test_foreign_people import MUC, ROOM, hears, on_irc, on_matrix, on_xmpp
from tests.cross.world import SERVER, World, XmppPerson, config
from tests.xmpp.components.program import Program, connect, has
from tripoint.config.options import Xmpp, XmppComponent
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir
from tripoint.store.memory import MemoryStore

BOT = f"bot.{SERVER}"
STAND_IN = f"@_xmpp_echo=40{BOT}:{SERVER}"


def run(folder: Path, work: Callable[[World, Callable[[], Awaitable[Program]]], Awaitable[None]]) -> None:
    """`work` with a server and how the component connects to it; the server has no links to other servers."""

    async def main() -> None:
        base = config(folder, listening=False)
        base = replace(
            base,
            listen=replace(base.listen, components=("127.0.0.1:0",)),
            xmpp=Xmpp(component=(XmppComponent(BOT, "secret-of-bot", "Echo"),)),
        )
        app = App(base, DataDir(folder), MemoryStore())
        await app.start()
        here = World(app, sockets=False)
        made: list[Program] = []

        async def component() -> Program:
            made.append(await connect(app.ports["components"][0]))
            await made[-1].prove(BOT, "secret-of-bot")
            return made[-1]

        try:
            await work(here, component)
        finally:
            for program in made:
                await program.close()
            await here.close()
            await app.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


async def makes_room(bob: XmppPerson) -> None:
    await bob.send(f'<presence to="{ROOM}/bob">{MUC}</presence>')
    await hears(bob, "<subject")
    form = '<x xmlns="jabber:x:data" type="submit"/>'
    await bob.send(
        f'<iq type="set" id="o" to="{ROOM}"><query xmlns="http://jabber.org/protocol/muc#owner">{form}</query></iq>'
    )
    await hears(bob, "type='result' id='o'")


def test_its_people_are_of_another_xmpp_server_to_all(tmp_path: Path) -> None:
    async def work(here: World, component: Callable[[], Awaitable[Program]]) -> None:
        bot = await component()
        bob = await on_xmpp(here, "bob")
        await makes_room(bob)
        alice, carol = await on_irc(here, "alice"), await on_matrix(here, "carol")
        await alice.send("JOIN #tea")
        await hears(alice, " 366 ")
        await carol.send("POST /join/<#tea:example.org> {}")
        await hears(alice, ":carol!")
        await carol.pending()

        # 1.7: the nick on IRC, a user of this server that says whose it is on Matrix, the address on XMPP.
        bot.send(f"<presence from='echo@{BOT}/1' to='{ROOM}/Echo'>{MUC}</presence>")
        assert f":echo|{BOT}!" in await hears(alice, " JOIN ")
        member = orjson.loads(await hears(carol, STAND_IN))
        assert member["content"]["membership"] == "join" and member["content"]["displayname"] == "Echo"
        assert f"jid='echo@{BOT}/1'" in await hears(bob, f"from='{ROOM}/Echo'")
        while "<subject" not in await bot.xml():
            pass

        # What it says and what is said to it, once on each.
        bot.send(f"<message from='echo@{BOT}/1' to='{ROOM}' type='groupchat'><body>who is there?</body></message>")
        assert f":echo|{BOT}!" in await hears(alice, "PRIVMSG #tea :who is there")
        assert STAND_IN in await hears(carol, "who is there")
        assert f"from='{ROOM}/Echo'" in await hears(bob, "who is there")
        await has(bot, "who is there", f"from='{ROOM}/Echo'")
        await alice.send(f"PRIVMSG #tea :echo|{BOT}: it is me")
        await has(bot, "<body>Echo: it is me</body>", f"from='{ROOM}/alice'")
        await carol.send("say #tea:example.org and me")
        await has(bot, "<body>and me</body>", f"from='{ROOM}/carol'")
        # 15.8: one to one from each.
        await alice.send(f"PRIVMSG echo|{BOT} :just you")
        await has(bot, "<body>just you</body>", f"from='alice@{SERVER}", f"to='echo@{BOT}'")
        bot.send(f"<message from='echo@{BOT}/1' to='alice@{SERVER}' type='chat' id='d'><body>just me</body></message>")
        assert f":echo|{BOT}!" in await hears(alice, "PRIVMSG alice :just me")
        for person in (alice, bob, carol):
            assert not [text for text in await person.pending() if "who is there" in text]

    run(tmp_path, work)


def test_while_it_is_away_nothing_waits(tmp_path: Path) -> None:
    async def work(here: World, component: Callable[[], Awaitable[Program]]) -> None:
        bot = await component()
        alice, bob = await on_irc(here, "alice"), await on_xmpp(here, "bob")
        await makes_room(bob)
        bot.send(f"<presence from='echo@{BOT}/1' to='{ROOM}/Echo'>{MUC}</presence>")
        await hears(bob, f"from='{ROOM}/Echo'")
        await bot.close()
        gone = await hears(bob, f"from='{ROOM}/Echo' type='unavailable'")
        assert "<status code='333'/>" in gone
        await bob.send(f"<message to='echo@{BOT}' type='chat' id='m1'><body>Hello?</body></message>")
        told = await hears(bob, "id='m1'")
        assert "type='error'" in told and "<remote-server-timeout " in told
        await alice.send(f"PRIVMSG echo|{BOT} :Hello?")
        told = await hears(alice, " NOTICE alice ")
        assert told.endswith(f" :Not delivered to echo@{BOT}: {BOT} is not connected now")
        # It is back, and what was said meanwhile does not come.
        bot = await component()
        bot.send(f"<message from='echo@{BOT}/1' to='bob@{SERVER}' type='chat' id='b'><body>I am back</body></message>")
        await hears(bob, "I am back")
        await bob.send(f"<message to='echo@{BOT}' type='chat' id='m2'><body>Good</body></message>")
        await has(bot, "<body>Good</body>")

    run(tmp_path, work)
