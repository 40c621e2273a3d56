"""Login, resource and what belongs to it in one step, over TLS: what is bound, what is resumed, what is switched on.

spec: XEP-0388, XEP-0386, XEP-0198 9. Orders and errors of the elements are in transcripts/sasl2_*.txt.
"""

import asyncio
import re

import pytest

from tests.xmpp.in_one_step import BIND2, DESK, PHONE, bind, log_in, on_server
from tests.xmpp.server import SERVER, TestServer
from tests.xmpp.test_management import SM, bodies, drop, say
from tripoint.net.tls import ClientTls

CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"
MANAGED = f"<enable {SM} resume='true'/>"
INACTIVE = "<inactive xmlns='urn:xmpp:csi:0'/>"


def test_a_resource_comes_with_the_login(tls: ClientTls) -> None:
    """spec: XEP-0386 3.2, 3.2.1: named after the client, the same each time, and its id is nowhere in it"""

    async def work(server: TestServer) -> None:
        phone, success = await log_in(server, "alice", bind(), PHONE)
        assert re.fullmatch(rf"alice@{SERVER}/Awesome/[0-9a-f]{{20}}", phone.jid)
        assert PHONE[:8] not in phone.jid
        bound = success.child("bound", BIND2)
        assert bound is not None and [child.name for child in bound.elements()] == ["metadata"]
        await phone.quiet()
        desk, _ = await log_in(server, "alice", bind(), DESK)
        assert desk.jid != phone.jid
        nameless, _ = await log_in(server, "alice", f"<bind xmlns='{BIND2}'/>")
        other, _ = await log_in(server, "alice", f"<bind xmlns='{BIND2}'/>")
        assert nameless.jid != other.jid
        # Another tag, the same installation: the earlier session is over.
        again, _ = await log_in(server, "alice", bind(tag="Renamed"), PHONE)
        await phone.expect("<stream:error><conflict …")
        await again.quiet()
        assert len(server.front.users) == 4
        accounts = server.middle.accounts
        devices = await accounts.devices(accounts.user_id("alice"))
        assert "XMPP (Awesome)" in {device.display_name for device in devices}

    on_server(tls, work)


@pytest.mark.parametrize("tag", ["\u0000", "a" * 300, "\u200b", " "])
def test_a_strange_name_is_no_obstacle(tls: ClientTls, tag: str) -> None:
    async def work(server: TestServer) -> None:
        client, _ = await log_in(server, "alice", bind(tag=tag.replace("\0", "")), PHONE)
        assert client.jid.startswith(f"alice@{SERVER}/")
        await client.quiet()

    on_server(tls, work)


def test_features_are_on_from_the_start(tls: ClientTls) -> None:
    """spec: XEP-0386 3.2: carbons, stream management, client state"""

    async def work(server: TestServer) -> None:
        phone, success = await log_in(server, "alice", bind(CARBONS, MANAGED, INACTIVE), PHONE)
        bound = success.child("bound", BIND2)
        enabled = None if bound is None else bound.child("enabled", SM[7:-1])
        assert enabled is not None and enabled.get("resume") == "true" and enabled.get("id")
        session = server.front.users.session(phone.jid)
        assert session is not None and session.carbons and session.managed is not None
        phone.send(f"<r {SM}/>")
        await phone.expect(f"<a {SM} h='0'/>")
        phone.send("<presence/>")
        # Inactive: its own presence waits.
        phone.send(f"<r {SM}/>")
        await phone.expect(f"<a {SM} h='1'/>")
        phone.send("<active xmlns='urn:xmpp:csi:0'/>")
        await phone.expect(f"<presence from='{phone.jid}'…/>")

    on_server(tls, work)


def test_a_session_is_resumed_with_the_login(tls: ClientTls) -> None:
    """spec: XEP-0198 9.2: example 28; the request to bind is ignored, what was not had follows"""

    async def work(server: TestServer) -> None:
        bob, _ = await log_in(server, "bob", bind(), DESK)
        phone, success = await log_in(server, "alice", bind(MANAGED), PHONE)
        bound = success.child("bound", BIND2)
        enabled = None if bound is None else bound.child("enabled", SM[7:-1])
        assert enabled is not None
        phone.send("<presence/>")
        await phone.expect(f"<presence from='{phone.jid}'…/>")
        await drop(server, phone)
        bob.send(say(phone, 1))
        await bob.quiet()
        resume = f"<resume {SM} previd='{enabled.get('id')}' h='1'/>"
        back, success = await log_in(server, "alice", resume + bind(tag="other"), PHONE)
        resumed = success.child("resumed", SM[7:-1])
        assert resumed is not None and resumed.get("h") == "1"
        assert back.jid == phone.jid and success.child("bound", BIND2) is None
        assert bodies([await back.xml()]) == ["word 1"]
        # What nobody knows: a new session, and told why.
        last, success = await log_in(server, "alice", f"<resume {SM} previd='x' h='1'/>" + bind(MANAGED), DESK)
        assert success.child("failed", SM[7:-1]) is not None and success.child("bound", BIND2) is not None
        await last.quiet()

    on_server(tls, work)


def test_what_was_missed_is_in_the_archive_alone(tls: ClientTls) -> None:
    """spec: XEP-0386 3.2: offline messages are not sent; the newest of the archive is named"""

    async def work(server: TestServer) -> None:
        alice, _ = await log_in(server, "alice", bind(), PHONE)
        alice.send("<presence/>")
        await alice.skip()
        bob, _ = await log_in(server, "bob", bind(), DESK)
        bob.send(say(alice, 1))
        assert bodies([await alice.xml()]) == ["word 1"]
        await alice.close()
        bob.send(say(alice, 2))
        await bob.quiet()
        back, success = await log_in(server, "alice", bind(), PHONE)
        bound = success.child("bound", BIND2)
        metadata = None if bound is None else bound.child("metadata", "urn:xmpp:mam:2")
        assert metadata is not None
        start, end = metadata.elements()
        back.send("<presence/>")
        assert bodies(await back.skip()) == []
        found = await back.ask("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>")
        assert f"<start id='{start.get('id')}'" in found and f"<end id='{end.get('id')}'" in found
        assert start.get("id") != end.get("id")

    on_server(tls, work)


def test_what_comes_while_it_is_bound_is_not_before_it(tls: ClientTls) -> None:
    """Nothing is sent to a client that does not know its name yet, and nothing is lost."""

    async def work(server: TestServer) -> None:
        bob, _ = await log_in(server, "bob", bind(), DESK)
        phone, _ = await log_in(server, "alice", bind(MANAGED), PHONE)
        name = phone.jid
        await phone.close()
        for _ in range(30):
            asyncio.get_running_loop().call_soon(
                bob.send, f"<message to='{name}' type='headline' id='h'><body>news</body></message>" * 20
            )
            phone, _ = await log_in(server, "alice", bind(MANAGED), PHONE)
            assert phone.jid == name
            got = await phone.skip()
            assert all("<body>news</body>" in text or text.startswith("<r ") for text in got), got
            await phone.close()
            await bob.skip()

    on_server(tls, work)
