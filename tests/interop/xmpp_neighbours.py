"""This server and one of another make as neighbours, and what their people do: tests/interop/test_*_links.py."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.interop.neighbourhood import HOST, Authority, Neighbourhood, neighbourhood
from tests.interop.peer import PASSWORD
from tests.support.middle import UNLIMITED
from tests.xmpp.server import HEADER, SERVER, Client

from tripoint.config.options import Accounts, Config, Listen, Outbound, Server, Tls
from tripoint.net.resolver import SrvRecord
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

OURS = "tri.example"
ALICE = f"alice@{OURS}"
OUR_ROOM = f"tea@rooms.{OURS}"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"
FREE = ("127.0.0.1:0",)


class XmppServer(Protocol):
    """A server that nobody here wrote. Rooms are at muc.`name`; `c2s` and `s2s` are ports of loopback."""

    name: str
    c2s: int
    s2s: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str: ...

    def add(self, account: str) -> None:
        """Make an account with the tests' password."""


class Running(Protocol):
    """Starts one. `secure`: it speaks to servers with a valid certificate alone. `authority`: who signs its own; None:
    the one that everybody trusts."""

    def __call__(
        self, folder: Path, town: Neighbourhood, name: str, *, secure: bool, authority: Authority | None = None
    ) -> AbstractContextManager[XmppServer]: ...


@dataclass(frozen=True, slots=True)
class Town:
    """What a test works with: a client of each server, and the servers."""

    alice: Client
    bob: Client
    app: App
    server: XmppServer

    @property
    def bob_jid(self) -> str:
        return f"bob@{self.server.name}"

    async def alice_again(self) -> Client:
        """Another session of alice."""
        return await log_in("alice", OURS, self.app.ports["xmpp"][0])

    async def bob_again(self) -> Client:
        return await log_in("bob", self.server.name, self.server.c2s)


Work = Callable[[Town], Awaitable[None]]


@dataclass
class Names:
    """net.discovery.Names: the neighbour's SRV records."""

    server: XmppServer

    async def addresses(self, name: str) -> Sequence[str]:
        return ["127.0.0.1"] if name == HOST else []

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        theirs = self.server.name
        known = name in (f"_xmpp-server._tcp.{theirs}", f"_xmpp-server._tcp.muc.{theirs}")
        return [SrvRecord(0, 0, self.server.s2s, HOST)] if known else []


async def log_in(name: str, domain: str, port: int) -> Client:
    client = Client()
    client.server = domain
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    header = HEADER.replace(SERVER, domain)
    await client.open(header)
    await client.authenticate(name, PASSWORD)
    await client.open(header)
    await client.bind("r")
    client.send("<presence/>")
    await comes(client, "<presence", f"from='{name}@{domain}/r'")
    return client


async def comes(client: Client, *parts: str) -> str:
    """The next stanza that holds all of these; others are passed over."""
    while True:
        text = await client.xml()
        if all(part in text for part in parts):
            return text


def with_both(folder: Path, running: Running, theirs: str, work: Work, *, proof: str) -> None:
    """`proof`: "external": certificates that both trust; "dialback": of authorities of their own."""
    folder = folder / "town"
    folder.mkdir()
    with neighbourhood(folder) as town:
        (folder / "own").mkdir()
        (folder / "tri").mkdir()
        strange = proof == "dialback"
        authority = Authority(folder / "own") if strange else town.authority
        certificate, key = authority.issue(OURS, f"rooms.{OURS}")
        with running(
            folder / "their", town, theirs, secure=not strange, authority=authority if strange else None
        ) as server:
            server.add("bob")
            config = Config(
                server=Server(name=OURS, data_dir=str(folder / "tri")),
                listen=Listen(
                    http=(), irc=(), irc_tls=(), xmpp=FREE, xmpp_tls=(), federation=(), metrics=(), s2s=FREE
                ),
                tls=Tls(str(certificate), str(key), (str(town.authority.path),)),
                accounts=Accounts(scram_iterations=10_000),
                limits=UNLIMITED,
                outbound=Outbound(allow_networks=("127.0.0.0/8",)),
            )

            async def main() -> None:
                app = App(config, DataDir(folder / "tri"), names=Names(server))
                await app.start()
                try:
                    for domain in (OURS, f"rooms.{OURS}"):
                        town.services[f"_xmpp-server._tcp.{domain}"] = app.ports["s2s"][0]
                    await app.middle.accounts.add_account("alice", PASSWORD, admin=False)
                    alice = await log_in("alice", OURS, app.ports["xmpp"][0])
                    bob = await log_in("bob", theirs, server.c2s)
                    await work(Town(alice, bob, app, server))
                    assert app.xmpp.servers is not None
                    if server.process.poll() is None:
                        assert app.xmpp.servers.links.proofs()[theirs] == proof
                finally:
                    await app.stop()

            try:
                asyncio.run(asyncio.wait_for(main(), 90))
            except BaseException:
                print(server.log[-12000:])
                raise


async def people_talk_and_see_each_other(town: Town) -> None:
    """Messages, receipts, subscriptions both ways, presence, requests. spec: RFC6121 3, 4, 8"""
    alice, bob, bob_jid = town.alice, town.bob, town.bob_jid
    alice.send(f"<message to='{bob_jid}' type='chat' id='m1'><body>says-alice-1</body></message>")
    await comes(bob, "<body>says-alice-1</body>", f"from='{ALICE}/r'")
    bob.send(f"<message to='{ALICE}' type='chat' id='m2'><body>says-bob-1</body></message>")
    await comes(alice, "<body>says-bob-1</body>", f"from='{bob_jid}/r'")
    # A receipt is asked of the reader's own client.
    request = "<request xmlns='urn:xmpp:receipts'/>"
    alice.send(f"<message to='{bob_jid}' type='chat' id='m3'><body>says-alice-2</body>{request}</message>")
    await comes(bob, "<body>says-alice-2</body>", request)
    bob.send(f"<message to='{ALICE}/r' id='m4'><received xmlns='urn:xmpp:receipts' id='m3'/></message>")
    await comes(alice, "<received xmlns='urn:xmpp:receipts' id='m3'/>", f"from='{bob_jid}/r'")
    # Subscriptions both ways. spec: RFC6121 3.1
    bob.send(f"<presence to='{ALICE}' type='subscribe'/>")
    await comes(alice, "type='subscribe'", f"from='{bob_jid}'")
    alice.send(f"<presence to='{bob_jid}' type='subscribed'/>")
    await comes(bob, "<presence", f"from='{ALICE}/r'")
    alice.send(f"<presence to='{bob_jid}' type='subscribe'/>")
    await comes(bob, "type='subscribe'", f"from='{ALICE}'")
    bob.send(f"<presence to='{ALICE}' type='subscribed'/>")
    await comes(alice, "<presence", f"from='{bob_jid}/r'")
    bob.send("<presence><show>away</show></presence>")
    await comes(alice, "<show>away</show>", f"from='{bob_jid}/r'")
    alice.send("<presence><show>dnd</show></presence>")
    await comes(bob, "<show>dnd</show>", f"from='{ALICE}/r'")
    # Requests, between clients and to servers.
    alice.send(f"<iq type='get' id='i1' to='{bob_jid}/r'><query xmlns='jabber:iq:version'/></iq>")
    await comes(bob, "id='i1'", "jabber:iq:version")
    version = "<query xmlns='jabber:iq:version'><name>x</name></query>"
    bob.send(f"<iq type='result' id='i1' to='{ALICE}/r'>{version}</iq>")
    await comes(alice, "id='i1'", "<name>x</name>")
    info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
    assert "<feature" in await alice.ask(f"<iq type='get' id='i2' to='{town.server.name}'>{info}</iq>")
    assert "<feature" in await bob.ask(f"<iq type='get' id='i3' to='{OURS}'>{info}</iq>")
    assert "<vCard" in await bob.ask(f"<iq type='get' id='i4' to='{ALICE}'><vCard xmlns='vcard-temp'/></iq>")
    await bob.close()
    await comes(alice, "type='unavailable'", f"from='{bob_jid}/r'")


async def a_room_of_theirs(town: Town) -> None:
    """It is plain stanzas there and back; nobody of theirs makes a room of ours. docs/mapping.md 3, 23.1"""
    alice, bob, app = town.alice, town.bob, town.app
    room = f"tea@muc.{town.server.name}"
    bob.send(f"<presence to='{room}/bob'>{MUC}</presence>")
    await comes(bob, "<subject")
    alice.send(f"<presence to='{room}/alice'>{MUC}</presence>")
    await comes(alice, f"from='{room}/bob'")
    await comes(alice, "code='110'")
    await comes(alice, "<subject")
    alice.send(f"<message to='{room}' type='groupchat' id='g1'><body>says-alice-1</body></message>")
    await comes(bob, f"from='{room}/alice'", "<body>says-alice-1</body>")
    await comes(alice, f"from='{room}/alice'", "<body>says-alice-1</body>")
    bob.send(f"<message to='{room}' type='groupchat' id='g2'><body>says-bob-1</body></message>")
    await comes(alice, f"from='{room}/bob'", "<body>says-bob-1</body>")
    alice.send(f"<message to='{room}/bob' type='chat' id='p1'><body>says-alice-2</body></message>")
    await comes(bob, f"from='{room}/alice'", "<body>says-alice-2</body>")
    bob.send(f"<message to='{room}/alice' type='chat' id='p2'><body>says-bob-2</body></message>")
    await comes(alice, f"from='{room}/bob'", "<body>says-bob-2</body>")
    assert await app.middle.accounts.account(f"@_xmpp_tea=40muc.{town.server.name}:{OURS}") is None
    await alice.close()
    await comes(bob, f"from='{room}/alice'", "type='unavailable'")
    bob.send(f"<presence to='{OUR_ROOM}/bob'>{MUC}</presence>")
    await comes(bob, "<not-allowed", f"from='{OUR_ROOM}/bob'")
    # It is this link that the test looks at.
    alice = await town.alice_again()
    alice.send(f"<message to='{town.bob_jid}' type='chat' id='m1'><body>says-alice-3</body></message>")
    await comes(bob, "<body>says-alice-3</body>")


async def somebody_of_theirs_in_a_room_of_ours(town: Town) -> None:
    """docs/mapping.md 1.7, 23.1; XEP-0045 7, 8, 11.1"""
    alice, bob, app, room = town.alice, town.bob, town.app, OUR_ROOM
    owner = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
    await alice.join(room, "alice")
    assert "type='result'" in await alice.ask(f"<iq type='set' id='o' to='{room}'>{owner}</iq>")
    bob.send(f"<presence to='{room}/bobby'>{MUC}</presence>")
    await comes(bob, f"from='{room}/alice'", f"jid='{ALICE}/r'")
    await comes(bob, f"from='{room}/bobby'", "code='110'")
    await comes(bob, "<subject")
    await comes(alice, f"from='{room}/bobby'", f"jid='{town.bob_jid}/r'")
    bob.send(f"<message to='{room}' type='groupchat' id='g1'><body>says-bob-1</body></message>")
    await comes(alice, f"from='{room}/bobby'", "<body>says-bob-1</body>", "id='g1'")
    await comes(bob, f"from='{room}/bobby'", "<body>says-bob-1</body>", "id='g1'")
    alice.send(f"<message to='{room}' type='groupchat' id='g2'><body>says-alice-1</body></message>")
    await comes(bob, f"from='{room}/alice'", "<body>says-alice-1</body>")
    alice.send(f"<message to='{room}/bobby' type='chat' id='p1'><body>says-alice-2</body></message>")
    await comes(bob, f"from='{room}/alice'", "<body>says-alice-2</body>")
    bob.send(f"<message to='{room}/alice' type='chat' id='p2'><body>says-bob-2</body></message>")
    await comes(alice, f"from='{room}/bobby'", "<body>says-bob-2</body>")
    bob.send(f"<presence to='{room}/robert'/>")
    await comes(alice, "<status code='303'/>", "nick='robert'")
    await comes(bob, f"from='{room}/robert'", "code='110'")
    ping = f"<iq type='get' id='s' to='{room}/robert'><ping xmlns='urn:xmpp:ping'/></iq>"
    assert "type='result'" in await bob.ask(ping)
    kick = "<item nick='robert' role='none'/>"
    query = f"<query xmlns='http://jabber.org/protocol/muc#admin'>{kick}</query>"
    await alice.ask(f"<iq type='set' id='k' to='{room}'>{query}</iq>")
    await comes(bob, "<status code='307'/>")
    # He comes again, and his client is cut off: his server says that he is gone.
    bob.send(f"<presence to='{room}/robert'>{MUC}</presence>")
    await comes(bob, "<subject")
    await comes(alice, f"from='{room}/robert'", f"jid='{town.bob_jid}/r'")
    await bob.close()
    await comes(alice, f"from='{room}/robert'", "type='unavailable'")
    assert len(app.xmpp.foreigners) == 0
    # Into a room of members, invited by either side's client; a bounce says that nobody is there.
    bob = await town.bob_again()
    invite = f"<x xmlns='http://jabber.org/protocol/muc#user'><invite to='{town.bob_jid}'/></x>"
    alice.send(f"<message to='{room}'>{invite}</message>")
    await comes(bob, "<message", f"<invite from='{ALICE}'", f"from='{room}'")
    bob.send(f"<presence to='{room}/robert'>{MUC}</presence>")
    await comes(bob, "<subject")
    town.server.process.kill()
    town.server.process.wait(10)
    alice.send(f"<message to='{room}' type='groupchat' id='g3'><body>says-alice-3</body></message>")
    await comes(alice, f"from='{room}/robert'", "type='unavailable'", "<status code='333'/>")
