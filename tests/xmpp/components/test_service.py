"""Components and people of this server: stanzas there and back, rooms, who is away, who connects twice.

spec: XEP-0114; docs/mapping.md 1.7, 23.5
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.xmpp.components.program import HEADER, Program, connect, has
from tests.xmpp.server import CONFIG, SERVER, Client, TestServer, serve
from tripoint.config.options import Xmpp, XmppComponent
from tripoint.xmpp.components.service import HANDSHAKE_S, SILENT_S

BOT, GATE = f"bot.{SERVER}", "gate.example.net"
COMPONENTS = (XmppComponent(BOT, "secret-of-bot", "A bot & more"), XmppComponent(GATE, "secret-of-gate", "Gate"))
ALICE = f"alice@{SERVER}"
ROOM = f"tea@rooms.{SERVER}"
PING = "<ping xmlns='urn:xmpp:ping'/>"
PRIVATE = "<x xmlns='http://jabber.org/protocol/muc#user'/>"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


class World:
    """A server, and how components connect to it."""

    def __init__(self, server: TestServer, port: int) -> None:
        self.server = server
        self.port = port
        self.made: list[Program] = []

    async def connect(self) -> Program:
        self.made.append(await connect(self.port))
        return self.made[-1]

    async def component(self, name: str) -> Program:
        """One that is connected."""
        program = await self.connect()
        await program.prove(name, next(one.secret for one in COMPONENTS if one.name == name))
        return program

    async def client(self, name: str) -> Client:
        client = await self.server.bound(name)
        client.send("<presence/>")
        await client.skip()
        return client


@asynccontextmanager
async def world(monotonic: Callable[[], float] | None = None) -> AsyncIterator[World]:
    config = replace(CONFIG, xmpp=Xmpp(component=COMPONENTS))
    how = {} if monotonic is None else {"monotonic": monotonic}
    async with serve(config, **how) as server:  # type: ignore[arg-type]
        components = server.front.components
        assert components is not None
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: components.protocol(secure=False), "127.0.0.1", 0)
        made = World(server, listener.sockets[0].getsockname()[1])
        try:
            yield made
        finally:
            listener.close()
            for client in made.made:
                if client.transport is not None:
                    client.transport.close()


def play(work: Callable[[World], Awaitable[None]], monotonic: Callable[[], float] | None = None) -> None:
    async def main() -> None:
        async with world(monotonic) as made:
            await work(made)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_messages_presence_and_requests() -> None:
    async def work(world: World) -> None:
        alice, bot = await world.client("alice"), await world.component(BOT)
        alice.send(f"<message to='echo@{BOT}' type='chat' id='m1'><body>Hello</body></message>")
        await has(bot, "<message", f"from='{ALICE}/r'", "<body", ">Hello</body>")
        bot.send(f"<message from='echo@{BOT}/x' to='{ALICE}' type='chat' id='m2'><body>Hello yourself</body></message>")
        await has(alice, f"<message from='echo@{BOT}/x'", "<body>Hello yourself</body>")
        # Both are kept, as what people of other servers write is: docs/mapping.md 15.8
        alice.send("<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2'/></iq>")
        kept = ""
        while "<fin " not in kept:
            kept += await alice.xml()
        assert re.findall("<body>([^<]*)</body>", kept) == ["Hello", "Hello yourself"]
        bot.send(f"<presence from='echo@{BOT}' to='{ALICE}' type='subscribe'/>")
        await alice.expect(f"<presence from='echo@{BOT}' type='subscribe' to='{ALICE}'/>")
        alice.send(f"<presence to='echo@{BOT}' type='subscribed'/>")
        await alice.skip()
        await has(bot, "<presence", "type='subscribed'")
        await has(bot, "<presence", f"from='{ALICE}/r'")
        info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        alice.send(f"<iq type='get' id='i1' to='{BOT}'>{info}</iq>")
        await has(bot, "<iq", "id='i1'")
        bot.send(f"<iq type='result' id='i1' from='{BOT}' to='{ALICE}/r'>{info}</iq>")
        await has(alice, "<iq", "id='i1'", f"from='{BOT}'")
        assert "<feature " in await bot.ask(f"<iq type='get' id='i2' from='{BOT}' to='{SERVER}'>{info}</iq>")
        card = "<vCard xmlns='vcard-temp'/>"
        assert "<vCard" in await bot.ask(f"<iq type='get' id='i3' from='{BOT}' to='{ALICE}'>{card}</iq>")

    play(work)


def test_addresses_that_are_not_valid() -> None:
    """spec: RFC6120 8.3.3.8. Nobody else pays for them."""

    async def work(world: World) -> None:
        alice, bot = await world.client("alice"), await world.component(BOT)
        bot.send(f"<message from='\u2603@{BOT}' to='{ALICE}' id='m1'><body>From nobody</body></message>")
        bot.send(f"<message from='echo@{BOT}' to='\u2603@{SERVER}' type='error' id='m2'/>")
        bot.send(f"<message from='echo@{BOT}' to='\u2603@rooms.{SERVER}/x' id='m3'><body>To nobody</body></message>")
        told = await has(bot, "<message", " type='error'", " id='m3'", f" from='rooms.{SERVER}'", "<jid-malformed")
        assert f" to='echo@{BOT}'" in told
        bot.send(f"<message from='echo@{BOT}/\U0001fae8\ufe0f' to='{ALICE}' type='chat'><body>Hello</body></message>")
        await has(alice, f"from='echo@{BOT}/\U0001fae8'", "<body>Hello</body>")

    play(work)


def test_a_stanza_that_is_too_much() -> None:
    """Its sender is told, and nobody else hears of it."""

    async def work(world: World) -> None:
        alice, bot = await world.client("alice"), await world.component(BOT)
        deep = "<b>" * 60 + "</b>" * 60
        for kind in ("error", "chat"):
            bot.send(f"<message from='echo@{BOT}' to='{ALICE}' type='{kind}' id='{kind}'>{deep}</message>")
        await has(bot, "<message", " type='error'", " id='chat'", f" from='{ALICE}'", "<policy-violation", "too deeply")
        bot.send(f"<message from='echo@{BOT}' to='{ALICE}' type='chat'><body>Hello</body></message>")
        await has(alice, "<body>Hello</body>")

    play(work)


def test_an_invitation_of_a_room_elsewhere_waits_for_who_is_away() -> None:
    """spec: XEP-0045 7.8.2, XEP-0160 3"""

    async def work(world: World) -> None:
        await world.server.make_account("alice")
        gate = await world.component(GATE)
        invite = f"<invite from='bob@{GATE}'><reason>Come</reason></invite>"
        inside = f"<body>Bob invites you</body><x xmlns='http://jabber.org/protocol/muc#user'>{invite}</x>"
        for its_id in ("m1", "m2"):
            gate.send(f"<message from='tea@{GATE}' to='{ALICE}' id='{its_id}'>{inside}</message>")
        whisper = f"<body>A whisper</body>{PRIVATE}"
        gate.send(f"<message from='tea@{GATE}/bob' to='{ALICE}' type='chat' id='m3'>{whisper}</message>")
        # What is handled after them has been.
        assert " type='result'" in await gate.ask(f"<iq type='get' id='i' from='{GATE}' to='{SERVER}'>{PING}</iq>")
        alice = await world.server.bound("alice")
        alice.send("<presence/>")
        (got,) = [text for text in await alice.skip() if text.startswith("<message")]
        assert got.startswith(f"<message from='tea@{GATE}' id='m2' to='{ALICE}'>{inside}<delay ")

    play(work)


def test_what_the_server_says_of_them() -> None:
    """spec: XEP-0030 4.1"""

    async def work(world: World) -> None:
        alice = await world.client("alice")
        items = await alice.ask(
            f"<iq type='get' id='i' to='{SERVER}'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>"
        )
        assert f"<item jid='{BOT}' name='A bot &amp; more'/><item jid='{GATE}' name='Gate'/>" in items
        assert world.server.front.link_counts()["components"] == 0
        await world.component(BOT)
        assert world.server.front.link_counts()["components"] == 1

    play(work)


def test_in_a_room() -> None:
    """Where people of other servers are let in. docs/mapping.md 23.1"""

    async def work(world: World) -> None:
        alice, bot = await world.client("alice"), await world.component(BOT)
        await alice.join(ROOM, "alice")
        bot.send(f"<presence from='echo@{BOT}/x' to='{ROOM}/echo'>{MUC}</presence>")
        await has(bot, "<presence", "type='error'")
        query = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        assert "type='result'" in await alice.ask(f"<iq type='set' id='o' to='{ROOM}'>{query}</iq>")
        await alice.skip()
        bot.send(f"<presence from='echo@{BOT}/x' to='{ROOM}/echo'>{MUC}</presence>")
        await has(bot, "<presence", f"from='{ROOM}/alice'")
        await has(bot, "<presence", f"from='{ROOM}/echo'", "code='110'")
        await has(bot, "<message", f"from='{ROOM}'", "<subject")
        await has(alice, f"<presence from='{ROOM}/echo'")
        bot.send(f"<message from='echo@{BOT}/x' to='{ROOM}' type='groupchat' id='g'><body>Tick</body></message>")
        await has(alice, f"<message from='{ROOM}/echo'", "<body>Tick</body>")
        await has(bot, "<message", f"from='{ROOM}/echo'", "<body", ">Tick</body>")
        # It goes, and its people with it.
        await bot.close()
        await has(alice, f"<presence from='{ROOM}/echo'", "type='unavailable'", "<status code='333'/>")

    play(work)


def test_while_it_is_away() -> None:
    """spec: RFC6120 8.3.3.16; nothing waits for it"""

    async def work(world: World) -> None:
        alice = await world.client("alice")
        for stanza in (
            f"<message to='echo@{BOT}' type='chat' id='e'><body>Hello</body></message>",
            f"<iq type='get' id='e' to='{BOT}'><ping xmlns='urn:xmpp:ping'/></iq>",
            f"<presence to='echo@{BOT}' type='subscribe' id='e'/>",
            f"<presence to='room@{BOT}/alice' id='e'>{MUC}</presence>",
        ):
            alice.send(stanza)
            got = await alice.xml()
            while "type='error'" not in got:
                got = await alice.xml()
            assert "<remote-server-timeout " in got and f"{BOT} is not connected now" in got, got
        bot = await world.component(BOT)
        alice.send(f"<iq type='get' id='p' to='{BOT}'><ping xmlns='urn:xmpp:ping'/></iq>")
        await has(bot, "<iq", "id='p'")

    play(work)


def test_other_servers_are_not_spoken_to() -> None:
    """Where that is off, components change nothing of it; a component is told as a client is."""

    async def work(world: World) -> None:
        alice, bot = await world.client("alice"), await world.component(BOT)
        alice.send("<message to='x@far.example' type='chat' id='e'><body>Hello</body></message>")
        await has(alice, "<message", "type='error'", "<remote-server-not-found")
        bot.send(f"<message from='echo@{BOT}' to='x@far.example' type='chat' id='e'><body>Hello</body></message>")
        await has(bot, "<message", "type='error'", "<remote-server-not-found")
        bot.send(f"<message from='echo@{BOT}' to='x@far.example' type='error' id='e'/>")
        bot.send(f"<message from='echo@{BOT}' to='nobody@{SERVER}' type='chat' id='f'><body>Hello</body></message>")
        await has(bot, "<message", "id='f'", "type='error'", "<service-unavailable")

    play(work)


def test_components_among_themselves() -> None:
    async def work(world: World) -> None:
        bot = await world.component(BOT)
        stanza = f"<message from='echo@{BOT}' to='x@{GATE}' type='chat' id='m'><body>Hello</body></message>"
        bot.send(stanza)
        await has(bot, "<message", f"from='x@{GATE}'", "type='error'", "<remote-server-timeout")
        gate = await world.component(GATE)
        bot.send(stanza)
        await has(gate, "<message", f"from='echo@{BOT}'", f"to='x@{GATE}'")

    play(work)


def test_who_connects_again_takes_over() -> None:
    """spec: RFC6120 4.9.3.3; who does not know the secret takes nothing"""

    async def work(world: World) -> None:
        alice, former = await world.client("alice"), await world.component(BOT)
        stranger = await world.connect()
        stranger.send(HEADER.format(BOT) + "<handshake>0</handshake>")
        assert "<not-authorized " in await stranger.xml()
        alice.send(f"<iq type='get' id='a' to='{BOT}'><ping xmlns='urn:xmpp:ping'/></iq>")
        await has(former, "<iq", "id='a'")
        present = await world.component(BOT)
        assert "<conflict " in await former.xml()
        await former.lost()
        alice.send(f"<iq type='get' id='b' to='{BOT}'><ping xmlns='urn:xmpp:ping'/></iq>")
        await has(present, "<iq", "id='b'")
        assert world.server.front.link_counts()["components"] == 1

    play(work)


def test_a_stream_that_breaks_its_rules() -> None:
    """spec: XEP-0114 3: it speaks for its own domain alone"""

    async def work(world: World) -> None:
        alice, bot = await world.client("alice"), await world.component(BOT)
        bot.send(f"<message from='bob@{SERVER}' to='{ALICE}' type='chat'><body>Hello</body></message>")
        assert "<invalid-from " in await bot.xml()
        await bot.lost()
        await alice.quiet()

    play(work)


def test_silence() -> None:
    """spec: RFC6120 4.6.1"""
    now = [1000.0]

    async def work(world: World) -> None:
        bot, nobody = await world.component(BOT), await world.connect()
        await nobody.header_of(GATE)
        now[0] += max(HANDSHAKE_S, SILENT_S) + 1
        world.server.front.sweep()
        assert "<connection-timeout " in await nobody.xml()
        components = world.server.front.components
        assert components is not None
        (link,) = components.connections.all()
        assert link.sent_at == now[0]
        bot.send(f"<iq type='get' id='p' from='{BOT}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
        await has(bot, "<iq", "id='p'", "type='result'")

    play(work, lambda: now[0])


def test_the_end_of_the_server() -> None:
    async def work(world: World) -> None:
        bot = await world.component(BOT)
        components = world.server.front.components
        assert components is not None
        await components.close()
        assert "<system-shutdown " in await bot.xml()
        await bot.lost()

    play(work)


def test_who_is_blocked_of_a_domain() -> None:
    """spec: XEP-0191 6: the narrowest address first; of a domain itself, everybody who is there."""
    senders = (f"echo@{BOT}/x", f"echo@{BOT}/y", f"other@{BOT}/x", f"{BOT}/x", f"{BOT}/y", BOT, f"echo@{GATE}/x")
    cases = {
        f"echo@{BOT}/x": senders[:1],
        f"echo@{BOT}": senders[:2],
        f"{BOT}/x": senders[3:4],
        BOT: senders[:6],
    }

    async def work(world: World) -> None:
        alice = await world.client("alice")
        programs = {BOT: await world.component(BOT), GATE: await world.component(GATE)}
        for item, blocked in cases.items():
            block = f"<block xmlns='urn:xmpp:blocking'><item jid='{item}'/></block>"
            assert "type='result'" in await alice.ask(f"<iq type='set' id='b'>{block}</iq>")
            for sender in senders:
                program = programs[sender.partition("/")[0].rpartition("@")[2]]
                program.send(f"<message from='{sender}' to='{ALICE}' type='headline' id='h'><body>Hi</body></message>")
                program.send(f"<presence from='{sender}' to='{ALICE}/r'/>")
                program.send(f"<iq type='get' from='{sender}' to='{ALICE}' id='i'><vCard xmlns='vcard-temp'/></iq>")
                if sender in blocked:
                    await has(program, "<message", "type='error'", "<service-unavailable", f"to='{sender}'")
                    await has(program, "<iq", "type='error'", "<service-unavailable", f"to='{sender}'")
                else:
                    await has(program, "<iq", "type='result'", f"to='{sender}'")
                    came = await alice.skip()
                    assert any(one.startswith(f"<presence from='{sender}'") for one in came), (item, sender, came)
                assert await alice.skip() == []
                alice.send(f"<message to='{sender}' type='headline' id='m'><body>Hi</body></message>")
                if sender in blocked:
                    await has(alice, "type='error'", f"from='{sender}'", "<blocked xmlns='urn:xmpp:blocking:errors'/>")
                else:
                    await has(program, "<message", f"to='{sender}'")
            await alice.ask("<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>")

    play(work)
