"""Guests over XMPP: clients that log in as nobody in particular.

spec: XEP-0175, RFC4505; docs/mapping.md 1.9, 4.8, 4.11, 8.7
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.interop.peer import until
from tests.net.client_certificates import client_context
from tests.xmpp.server import CONFIG, NO_LIMITS, OPTIONS, SERVER, Client, TestServer, serve
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.config.options import Config, Listen
from tripoint.core.ids import RoomAlias, UserId
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed
from tripoint.rooms.commands import SendState
from tripoint.xmpp.wire import render

SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
SASL2 = "xmlns='urn:xmpp:sasl:2'"
SM = "xmlns='urn:xmpp:sm:3'"
AUTH = f"<auth {SASL} mechanism='ANONYMOUS'/>"
ROOM = f"tea@rooms.{SERVER}"
WITH_GUESTS = replace(OPTIONS, guests=True, resume_s=60)
# Not for this machine alone, so that addresses are counted.
PUBLIC = replace(CONFIG, listen=Listen(irc=("192.0.2.1:6667",)))
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


def play(work: Callable[[TestServer], Awaitable[None]], config: Config = CONFIG) -> None:
    async def main() -> None:
        async with serve(config, WITH_GUESTS) as server:
            await work(server)

    asyncio.run(asyncio.wait_for(main(), 30))


async def anonymous(server: TestServer) -> Client:
    """A client that has logged in as nobody, with its stream begun anew."""
    client = await server.connect()
    await client.open()
    client.send(AUTH)
    assert (await client.stanza()).name == "success"
    await client.open()
    return client


async def guest(server: TestServer) -> Client:
    """A guest with its resource, present."""
    client = await anonymous(server)
    await client.bind("wished")
    client.send("<presence/>")
    await client.skip()
    return client


async def open_room(server: TestServer, *, guests: bool = True) -> Client:
    """A room and its owner, alice."""
    alice = await server.bound("alice")
    alice.send("<presence/>")
    await alice.join(ROOM, "alice")
    form = "<x xmlns='jabber:x:data' type='submit'/>"
    query = f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>"
    assert "type='result'" in await alice.ask(f"<iq type='set' id='o' to='{ROOM}'>{query}</iq>")
    if guests:
        accounts = server.middle.accounts
        room_id = await server.middle.reader.resolve_alias(RoomAlias(f"#tea:{SERVER}"))
        assert room_id is not None
        await server.middle.service.do(
            SendState(
                actor=accounts.user_id("alice"),
                room_id=room_id,
                type="m.room.guest_access",
                state_key="",
                content={"guest_access": "can_join"},
            )
        )
    await alice.skip()
    return alice


def test_offered_where_the_operator_lets_guests_in() -> None:
    """spec: XEP-0175 3: not by default"""

    async def main() -> None:
        for options, offered in ((OPTIONS, False), (WITH_GUESTS, True)):
            async with serve(options=options) as server:
                client = await server.connect()
                features = render(await client.open()).decode()
                assert ("<mechanism>ANONYMOUS</mechanism>" in features) is offered
                client.send(AUTH)
                assert ((await client.stanza()).name == "success") is offered

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("", "success"),
        ("=", "success"),
        (base64.b64encode(b"trace").decode(), "success"),
        (base64.b64encode(b"x" * 255).decode(), "success"),
        (base64.b64encode(b"x" * 256).decode(), "malformed-request"),
        (base64.b64encode(b"\xff").decode(), "malformed-request"),
        ("!", "incorrect-encoding"),
    ],
)
def test_trace_information(said: str, answer: str) -> None:
    """spec: RFC4505 2; XEP-0175 3: it may be sent, and is used for nothing"""

    async def work(server: TestServer) -> None:
        client = await server.connect()
        await client.open()
        client.send(f"<auth {SASL} mechanism='ANONYMOUS'>{said}</auth>")
        assert f"<{answer}" in await client.xml()

    play(work)


def test_a_guest_comes_and_goes() -> None:
    """Its address is made for it, its resource too, and both go with it."""

    async def work(server: TestServer) -> None:
        alice = await open_room(server)
        client = await guest(server)
        assert re.fullmatch(rf"guest-1@{SERVER}/[\w-]{{20,}}", client.jid), client.jid
        await client.join(ROOM, "Visitor")
        await alice.expect(f"<presence from='{ROOM}/Visitor'…affiliation='none'…role='participant'…")
        client.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Hello</body></message>")
        await alice.expect(f"<message from='{ROOM}/Visitor'…<body>Hello</body>…")
        user_id = UserId(f"@guest-1:{SERVER}")
        accounts = server.middle.accounts
        assert (await accounts.profile(user_id))["displayname"] == "Visitor"
        client.send("</stream:stream>")
        await alice.expect(f"<presence from='{ROOM}/Visitor'…type='unavailable'…")
        await server.front.settled()
        assert await accounts.account(user_id) is None
        assert (await guest(server)).jid.startswith("guest-2@")

    play(work)


def test_rooms_without_guests() -> None:
    """docs/mapping.md 8.7"""

    async def work(server: TestServer) -> None:
        await open_room(server, guests=False)
        client = await guest(server)
        client.send(f"<presence to='{ROOM}/Visitor'>{MUC}</presence>")
        await client.expect("<presence…type='error'…<forbidden …")

    play(work)


def test_nicks_of_guests() -> None:
    """docs/mapping.md 1.9: nobody's name, and nothing that looks like it; one nick in all rooms"""

    async def work(server: TestServer) -> None:
        alice = await open_room(server)
        await server.make_account("carol")
        client = await guest(server)
        for nick, condition in (
            ("carol", "conflict"),
            ("Carol", "conflict"),
            ("car0l", "conflict"),
            ("alice", "conflict"),
            ("NickServ", "not-acceptable"),
            ("two words", "not-acceptable"),
            ("a:b", "not-acceptable"),
            ("a~b", "not-acceptable"),
            ("#a", "not-acceptable"),
        ):
            client.send(f"<presence to='{ROOM}/{nick}'>{MUC}</presence>")
            await client.expect(f"<presence…type='error'…<{condition} …")
        await client.join(ROOM, "Visitor")
        await alice.skip()
        client.send(f"<presence to='{ROOM}/Tourist'/>")
        await alice.expect(f"<presence from='{ROOM}/Visitor'…nick='Tourist'…<status code='303'/>…")
        client.send(f"<presence to='{ROOM}/carol'/>")
        while "<conflict " not in await client.xml():
            pass
        other = await guest(server)
        other.send(f"<presence to='other@rooms.{SERVER}/Tourist'>{MUC}</presence>")
        await other.expect("<presence…type='error'…<conflict …")

    play(work)


def test_what_a_guest_makes_is_gone_with_it() -> None:
    """docs/mapping.md 4.8: open at once, and temporary"""

    async def work(server: TestServer) -> None:
        client = await guest(server)
        entered = await client.join(ROOM, "Visitor")
        assert any("<status code='201'/>" in one and "affiliation='owner'" in one for one in entered)
        alice = await server.bound("alice")
        await alice.join(ROOM, "alice")
        info = f"<iq type='get' id='i' to='{ROOM}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        assert "type='result'" in await alice.ask(info)
        forget = f"<iq type='set' id='f' to='{ROOM}'><query xmlns='jabber:iq:register'><remove/></query></iq>"
        assert "type='result'" in await alice.ask(forget)
        await client.close()
        await until(lambda: not server.middle.accounts.is_guest(UserId(f"@guest-1:{SERVER}")), lambda: "it is there")
        await server.front.settled()
        assert "<item-not-found " in await alice.ask(info)

    play(work)


def test_what_is_not_for_guests() -> None:
    """spec: XEP-0175 3 (2) to (4): nothing is kept, nobody elsewhere is spoken to"""

    async def work(server: TestServer) -> None:
        alice = await server.bound("alice")
        alice.send("<presence/>")
        await alice.skip()
        client = await guest(server)
        account = client.jid.partition("/")[0]
        item = f"<item jid='alice@{SERVER}'/>"
        publish = "<publish node='urn:x'><item id='a'><x xmlns='urn:x'/></item></publish>"
        for to, payload in (
            ("", f"<query xmlns='jabber:iq:roster'>{item}</query>"),
            ("", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>"),
            ("", f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{publish}</pubsub>"),
            ("", "<vCard xmlns='vcard-temp'><FN>Me</FN></vCard>"),
            ("", "<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/>"),
            (f" to='{SERVER}'", "<query xmlns='jabber:iq:register'><password>x</password></query>"),
            (f" to='{SERVER}'", "<command xmlns='http://jabber.org/protocol/commands' node='x' action='execute'/>"),
        ):
            answer = await client.ask(f"<iq type='set' id='s'{to}>{payload}</iq>")
            assert "<not-allowed " in answer, (payload, answer)
        upload = "<request xmlns='urn:xmpp:http:upload:0' filename='a' size='1'/>"
        assert "type='error'" in await client.ask(f"<iq type='get' id='u' to='{SERVER}'>{upload}</iq>")
        services = "<services xmlns='urn:xmpp:extdisco:2'/>"
        assert "<not-allowed " in await client.ask(f"<iq type='get' id='e' to='{SERVER}'>{services}</iq>")
        for stanza in (
            "<message to='x@far.example' type='chat' id='f'><body>Hello</body></message>",
            f"<presence to='room@far.example/me' id='f'>{MUC}</presence>",
            "<iq to='far.example' type='get' id='f'><ping xmlns='urn:xmpp:ping'/></iq>",
            f"<presence to='alice@{SERVER}' type='subscribe' id='f'/>",
        ):
            client.send(stanza)
            await client.expect("<…type='error'…<not-allowed …")
        client.send(f"<message to='alice@{SERVER}' type='chat' id='d'><body>Hello</body></message>")
        await client.expect("<message…type='error'…<forbidden …")
        alice.send(f"<presence to='{account}' type='subscribe' id='g'/>")
        await alice.expect("<presence…type='error'…<not-allowed …")
        await client.quiet()

    play(work)


def test_who_shares_a_room_may_be_written_to() -> None:
    """docs/mapping.md 1.9; the conversation goes with the guest"""

    async def work(server: TestServer) -> None:
        alice = await open_room(server)
        client = await guest(server)
        await client.join(ROOM, "Visitor")
        await alice.skip()
        client.send(f"<message to='alice@{SERVER}' type='chat' id='d'><body>Hello</body></message>")
        await alice.expect(f"<message from='guest-1@{SERVER}/…<body>Hello</body>…")
        alice.send(f"<message to='guest-1@{SERVER}' type='chat' id='e'><body>Good evening</body></message>")
        await client.expect("<message…<body>Good evening</body>…")

    play(work)


async def managed(client: Client) -> str:
    """Stream management with resumption; the id."""
    client.send(f"<enable {SM} resume='true'/>")
    enabled = await client.stanza()
    assert enabled.name == "enabled"
    return enabled.get("id") or ""


def test_a_guest_resumes() -> None:
    """spec: XEP-0198 5, 10: the id is all that shows who it is; the guest stays the one that it was"""

    async def work(server: TestServer) -> None:
        alice = await open_room(server)
        client = await guest(server)
        previd = await managed(client)
        await client.join(ROOM, "Visitor")
        await alice.skip()
        await client.close()
        alice.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Still here?</body></message>")
        await alice.expect(f"<message from='{ROOM}/alice'…<body>Still here?</body>…")
        again = await anonymous(server)
        again.send(f"<resume {SM} previd='{previd}' h='0'/>")
        await again.expect(f"<resumed…previd='{previd}'…")
        while "Still here?" not in await again.xml():
            pass
        again.send(f"<message to='{ROOM}' type='groupchat' id='n'><body>Yes</body></message>")
        await alice.expect(f"<message from='{ROOM}/Visitor'…<body>Yes</body>…")
        # Nobody else was made for it.
        assert (await guest(server)).jid.startswith("guest-2@")
        again.send("</stream:stream>")
        await alice.expect(f"<presence from='{ROOM}/Visitor'…type='unavailable'…")

    play(work)


def test_what_a_guest_cannot_resume() -> None:
    """Sessions of accounts, and of guests that are gone; it gets a resource of its own then."""

    async def work(server: TestServer) -> None:
        alice = await server.bound("alice")
        of_alice = await managed(alice)
        gone = await guest(server)
        of_gone = await managed(gone)
        gone.send("</stream:stream>")
        await gone.lost()
        client = await anonymous(server)
        for previd in (of_alice, of_gone, "made-up"):
            client.send(f"<resume {SM} previd='{previd}' h='0'/>")
            await client.expect("<failed…<item-not-found …")
        await client.bind("r")
        assert client.jid.startswith("guest-2@")
        bob = await server.connect()
        await bob.open()
        await server.make_account("bob")
        await bob.authenticate("bob", "correct horse")
        await bob.open()
        of_guest = await managed(client)
        bob.send(f"<resume {SM} previd='{of_guest}' h='0'/>")
        await bob.expect("<failed…<item-not-found …")

    play(work)


def test_who_does_not_come_back_in_time() -> None:
    now = [1000.0]

    async def main() -> None:
        async with serve(CONFIG, WITH_GUESTS, lambda: now[0]) as server:
            client = await guest(server)
            await managed(client)
            await client.close()
            user_id = UserId(f"@guest-1:{SERVER}")
            await until(lambda: len(server.front.sessions.resumptions) == 1, lambda: "it does not wait")
            assert await server.middle.accounts.account(user_id) is not None
            now[0] += 61
            server.front.sweep()
            await server.front.settled()
            assert await server.middle.accounts.account(user_id) is None

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("bind", [True, False])
def test_the_extensible_profile(tmp_path: Path, bind: bool) -> None:
    """spec: XEP-0388 2.6.1: the success says who the client is, with its resource or without"""

    async def main() -> None:
        make_self_signed([SERVER], tmp_path / "cert.pem", tmp_path / "key.pem")
        tls = ClientTls(ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem"))
        async with serve(options=WITH_GUESTS, tls=tls) as server:
            client = await server.connect_tls(client_context())
            await client.open()
            wish = "<bind xmlns='urn:xmpp:bind:0'><tag>web</tag></bind>" if bind else ""
            client.send(f"<authenticate {SASL2} mechanism='ANONYMOUS'>{wish}</authenticate>")
            success = await client.xml()
            assert f"<authorization-identifier>guest-1@{SERVER}{'/' if bind else '<'}" in success, success
            await client.stanza()
            accounts = server.middle.accounts
            assert await accounts.account(UserId(f"@guest-1:{SERVER}")) is not None
            if not bind:
                await client.bind("r")
                assert client.jid.startswith("guest-1@")
            await client.close()
            await until(lambda: not accounts.is_guest(UserId(f"@guest-1:{SERVER}")), lambda: "the guest is there")

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_login_without_a_resource_leaves_nobody_behind() -> None:
    async def work(server: TestServer) -> None:
        client = await anonymous(server)
        await client.close()
        await server.front.settled()
        assert await server.middle.accounts.account(UserId(f"@guest-1:{SERVER}")) is None
        assert (await guest(server)).jid.startswith("guest-1@")

    play(work)


def test_so_many_at_a_time_and_so_many_an_hour() -> None:
    """docs/mapping.md 1.9"""
    config = replace(PUBLIC, accounts=replace(CONFIG.accounts, guests_per_address=3, guests_per_hour=4))

    async def work(server: TestServer) -> None:
        guests = [await guest(server) for _ in range(3)]
        fourth = await anonymous(server)
        fourth.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert "<resource-constraint " in await fourth.xml()
        for _ in range(2):
            leaving = guests.pop()
            leaving.send("</stream:stream>")
            await leaving.lost()
        await server.front.settled()
        await guest(server)
        fifth = await anonymous(server)
        fifth.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert "<resource-constraint " in await fifth.xml()

    play(work, config)


def test_guests_of_all_protocols_are_counted_together() -> None:
    """docs/mapping.md 1.9: /32 and /64"""
    config = replace(PUBLIC, accounts=replace(CONFIG.accounts, guests_per_hour=3, matrix_guests=True))

    async def work(server: TestServer) -> None:
        accounts = server.middle.accounts
        await accounts.create_guest("irc-nick", address="2001:db8::1")
        await accounts.create_matrix_guest(address="2001:db8::2")
        last = await accounts.create_numbered_guest(address="2001:db8::3")
        await accounts.end_guest(last.user_id)
        for make in (
            accounts.create_guest("another", address="2001:db8::4"),
            accounts.create_matrix_guest(address="2001:db8::5"),
            accounts.create_numbered_guest(address="2001:db8::6"),
        ):
            with pytest.raises(AccountRefused) as refused:
                await make
            assert refused.value.refusal is AccountRefusal.RATE_LIMITED
        await accounts.create_numbered_guest(address="2001:db8:0:1::1")

    play(work, config)


def test_so_many_rooms_an_hour() -> None:
    """docs/mapping.md 1.9: of all guests of an address, whatever they call the rooms"""
    config = replace(
        PUBLIC, limits=NO_LIMITS, accounts=replace(CONFIG.accounts, guests_per_address=0, guest_rooms_per_hour=3)
    )

    async def work(server: TestServer) -> None:
        client, other = await guest(server), await guest(server)
        for number in range(2):
            await client.join(f"r{number}@rooms.{SERVER}", "Visitor")
        await other.join(f"r2@rooms.{SERVER}", "Tourist")
        for one, nick in ((client, "Visitor"), (other, "Tourist")):
            await one.skip()
            one.send(f"<presence to='r3@rooms.{SERVER}/{nick}'>{MUC}</presence>")
            await one.expect("<presence…type='error'…<resource-constraint …")

    play(work, config)

