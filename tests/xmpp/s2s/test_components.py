"""A component of one server, and people of another: its name is in the DNS, and leads to the server.

spec: XEP-0114 3; RFC6120 10.4
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.xmpp.components.program import Program, connect, has
from tests.xmpp.s2s.islands import ONE, TWO, Pair, two_servers
from tests.xmpp.server import Client
from tripoint.config.options import XmppComponent

BOT = f"bot.{ONE}"
BOB = f"bob@{TWO}"


def play(folder: Path, work: Callable[[Pair, Client, Program], Awaitable[None]], *, trusted: bool) -> None:
    async def main() -> None:
        components = {ONE: (XmppComponent(BOT, "secret-of-bot"),)}
        async with two_servers(folder, components, trusted=trusted) as pair:
            bot = await connect(pair.apps[ONE].ports["components"][0])
            await bot.prove(BOT, "secret-of-bot")
            await work(pair, await pair.client("bob", TWO), bot)
            await bot.close()

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("trusted", [True, False])
def test_there_and_back(tmp_path: Path, trusted: bool) -> None:
    """The server's certificate is not for the name of the component: dialback proves it."""

    async def work(pair: Pair, bob: Client, bot: Program) -> None:
        bob.send(f"<message to='echo@{BOT}' type='chat' id='m1'><body>Hello</body></message>")
        await has(bot, f"from='{BOB}/r'", "<body>Hello</body>")
        bot.send(f"<message from='echo@{BOT}' to='{BOB}/r' type='chat' id='m2'><body>Hello yourself</body></message>")
        await has(bob, f"from='echo@{BOT}'", "<body>Hello yourself</body>")
        info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        bob.send(f"<iq type='get' id='i' to='{BOT}'>{info}</iq>")
        await has(bot, "id='i'", f"from='{BOB}/r'")
        bot.send(f"<iq type='result' id='i' from='{BOT}' to='{BOB}/r'>{info}</iq>")
        await has(bob, "id='i'", f"from='{BOT}'")
        bot.send(f"<presence from='echo@{BOT}' to='{BOB}' type='subscribe'/>")
        await has(bob, "type='subscribe'", f"from='echo@{BOT}'")
        # Nothing of it is in the name of the server: that has no way there.
        assert set(pair.apps[ONE].xmpp.servers.links._destinations) == {(BOT, TWO)}

    play(tmp_path, work, trusted=trusted)


def test_what_does_not_arrive(tmp_path: Path) -> None:
    """Either side is told, and by whom it was not reached."""

    async def work(pair: Pair, bob: Client, bot: Program) -> None:
        bot.send(f"<message from='echo@{BOT}' to='x@nowhere.example' type='chat' id='m'><body>Hello</body></message>")
        await has(bot, "id='m'", "type='error'", "from='x@nowhere.example'", "<remote-server-not-found ")
        bot.send(f"<message from='echo@{BOT}' to='nobody@{TWO}' type='chat' id='n'><body>Hello</body></message>")
        await has(bot, "id='n'", "type='error'", f"from='nobody@{TWO}'", "<service-unavailable ")
        await bot.close()
        bob.send(f"<message to='echo@{BOT}' type='chat' id='o'><body>Hello</body></message>")
        await has(bob, "id='o'", "type='error'", f"from='echo@{BOT}'", "<remote-server-timeout ")
        # Who says to be the component on a stream between servers is not believed.
        assert BOT in pair.apps[ONE].xmpp.servers.listener.terms.domains

    play(tmp_path, work, trusted=True)
