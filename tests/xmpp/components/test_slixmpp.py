"""A component that nobody here wrote: slixmpp's ComponentXMPP, with an echo, disco and subscriptions."""

import asyncio
from contextlib import suppress

import pytest

from tests.xmpp.components.test_service import ALICE, BOT, World, play
from tests.xmpp.server import SERVER

slixmpp = pytest.importorskip("slixmpp")
pytestmark = [
    pytest.mark.interop,
    # slixmpp asks for the loop where none runs, and keeps coroutines of a connection that is gone.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
PATIENCE_S = 10


class Echo(slixmpp.ComponentXMPP):
    """Says back what it hears, and lets everybody see it."""

    def __init__(self, port: int, secret: str) -> None:
        super().__init__(BOT, secret, "127.0.0.1", port)
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        self["xep_0030"].add_identity(category="client", itype="bot", name="Echo")
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("disconnected", lambda _: self.ended.set())
        self.add_event_handler("message", self._said)
        self.add_event_handler("presence_subscribe", self._asked)

    def _said(self, message: slixmpp.Message) -> None:
        if message["type"] == "chat" and message["body"]:
            message.reply(f"You said {message['body']}").send()

    def _asked(self, presence: slixmpp.Presence) -> None:
        self.send_presence_subscription(pto=presence["from"], pfrom=presence["to"], ptype="subscribed")


async def connected(world: World) -> Echo:
    echo = Echo(world.port, "secret-of-bot")
    echo.connect()
    await asyncio.wait_for(echo.started.wait(), PATIENCE_S)
    return echo


async def end(echo: Echo) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(echo.disconnect(wait=1), PATIENCE_S)
    echo.abort()


def test_an_echo() -> None:
    async def work(world: World) -> None:
        alice, echo = await world.client("alice"), await connected(world)
        alice.send(f"<message to='echo@{BOT}' type='chat' id='m1'><body>Hello</body></message>")
        await alice.expect(f"<message from='echo@{BOT}'…<body>You said Hello</body>…")
        answer = await alice.ask(
            f"<iq type='get' id='i' to='{BOT}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        assert "type='bot'" in answer and "name='Echo'" in answer
        assert await echo["xep_0199"].ping(SERVER, ifrom=BOT, timeout=PATIENCE_S) >= 0
        found = await echo["xep_0030"].get_info(jid=SERVER, ifrom=BOT, timeout=PATIENCE_S)
        assert "http://jabber.org/protocol/disco#info" in found["disco_info"]["features"]
        alice.send(f"<presence to='echo@{BOT}' type='subscribe'/>")
        while "type='subscribed'" not in await alice.xml():
            pass
        await end(echo)

    play(work)


def test_it_comes_again_and_is_replaced() -> None:
    """spec: RFC6120 4.9.3.3"""

    async def work(world: World) -> None:
        alice, former = await world.client("alice"), await connected(world)
        present = await connected(world)
        await asyncio.wait_for(former.ended.wait(), PATIENCE_S)
        alice.send(f"<message to='echo@{BOT}' type='chat' id='m1'><body>Hello</body></message>")
        await alice.expect(f"<message from='echo@{BOT}'…<body>You said Hello</body>…")
        await alice.quiet()
        for echo in (former, present):
            await end(echo)

    play(work)


def test_a_wrong_secret() -> None:
    async def work(world: World) -> None:
        echo = Echo(world.port, "another")
        echo.connect()
        await asyncio.wait_for(echo.ended.wait(), PATIENCE_S)
        assert not echo.started.is_set()
        assert world.server.front.link_counts()["components"] == 0
        await end(echo)

    play(work)


def test_it_writes_first() -> None:
    async def work(world: World) -> None:
        alice, echo = await world.client("alice"), await connected(world)
        echo.send_message(mto=ALICE, mfrom=f"news@{BOT}", mbody="Extra", mtype="headline")
        await alice.expect(f"<message…from='news@{BOT}'…<body>Extra</body>…")
        await end(echo)

    play(work)
