"""Sockets: TLS in both ways on both loops, registration, limits, timeouts, the end of streams."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from dataclasses import replace

import pytest
import uvloop

from tests.xmpp.server import CONFIG, HEADER, OPTIONS, SERVER, Client, TestServer, serve
from tripoint.config.options import Accounts
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    make_self_signed([SERVER], folder / "cert.pem", folder / "key.pem")
    return ClientTls(ServerTls(folder / "cert.pem", folder / "key.pem"), b"xmpp-client")


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def both_loops(test):
    """Run a coroutine test on uvloop and on plain asyncio."""

    def run(loop_factory, tls):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(tls))

    run.__name__ = test.__name__
    return run


LOOPS = pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


async def scram(client: Client, name: str, password: str, binding: bytes | None) -> str:
    """SCRAM-SHA-256, with channel binding if `binding` is given; <success/> or <failure/>. RFC5802 3, 5"""
    gs2 = b"n,," if binding is None else b"p=tls-server-end-point,,"
    bare = f"n={name},r=clientnonce"
    mechanism = "SCRAM-SHA-256" + ("-PLUS" if binding is not None else "")
    first = base64.b64encode(gs2 + bare.encode()).decode()
    client.send(f"<auth {SASL} mechanism='{mechanism}'>{first}</auth>")
    challenge = await client.stanza()
    if challenge.name != "challenge":
        return challenge.name
    server_first = base64.b64decode(challenge.text).decode()
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = f"c={base64.b64encode(gs2 + (binding or b'')).decode()},r={fields['r']}"
    auth = f"{bare},{server_first},{without}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), auth, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    client.send(f"<response {SASL}>{base64.b64encode(f'{without},p={proof}'.encode()).decode()}</response>")
    answer = await client.stanza()
    if answer.name == "success":
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
        assert base64.b64decode(answer.text) == b"v=" + base64.b64encode(expected)
    return answer.name


async def upgrade(client: Client) -> None:
    client.send(STARTTLS)
    await client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    await client.start_tls(client_context())


@LOOPS
@both_loops
async def test_starttls_and_scram_plus(tls):
    async with serve(tls=tls, options=replace(OPTIONS, plaintext_passwords=False)) as server:
        await server.make_account("alice")
        client = await server.connect()
        features = await client.open()
        assert [child.name for child in features.elements()] == ["starttls"]
        await upgrade(client)
        features = await client.open()
        assert "starttls" not in [child.name for child in features.elements()]
        assert await scram(client, "alice", "correct horse", b"somebody else's certificate") == "failure"
        assert await scram(client, "alice", "wrong", tls.end_point) == "failure"
        assert await scram(client, "nobody", "correct horse", tls.end_point) == "failure"
        assert await scram(client, "alice", "correct horse", tls.end_point) == "success"
        await client.open()
        answer = await client.ask("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert f"<jid>alice@{SERVER}/" in answer
        # a stanza larger than one TLS record, both ways
        client.send(f"<iq type='get' id='{'x' * 60000}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
        assert len(await client.xml()) > 60000


@LOOPS
@both_loops
async def test_direct_tls(tls):
    async with serve(tls=tls) as server:
        await server.make_account("alice")
        client = await server.connect_tls(client_context())
        features = await client.open()
        assert "starttls" not in [child.name for child in features.elements()]
        assert await scram(client, "alice", "correct horse", None) == "success"


@LOOPS
@both_loops
async def test_plaintext_behind_starttls_is_not_read(tls):
    """spec: RFC6120 5.4.3.3"""
    async with serve(tls=tls) as server:
        await server.make_account("alice")
        client = await server.connect()
        await client.open()
        token = base64.b64encode(b"\0alice\0correct horse").decode()
        client.send(STARTTLS + f"<auth {SASL} mechanism='PLAIN'>{token}</auth>")
        await client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await client.start_tls(client_context())
        await client.open()
        assert await scram(client, "alice", "correct horse", None) == "success"


@LOOPS
@both_loops
async def test_a_failed_handshake_ends_the_connection(tls):
    async with serve(tls=tls) as server:
        client = await server.connect()
        await client.open()
        client.send(STARTTLS)
        await client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        client.send_bytes(b"this is not a ClientHello" * 10)
        await client.lost()


def run(test) -> None:
    async def main() -> None:
        async with serve() as server:
            await test(server)

    asyncio.run(main())


def test_register_then_log_in():
    """spec: XEP-0077 3.1; docs/mapping.md 1.2"""

    async def test(server: TestServer) -> None:
        client = await server.connect()
        features = await client.open()
        assert features.child("register", "http://jabber.org/features/iq-register") is not None
        form = await client.ask(f"<iq type='get' id='1' to='{SERVER}'><query xmlns='jabber:iq:register'/></iq>")
        assert "<username/><password/>" in form and " to=" not in form

        def ask(name: str, password: str, number: int) -> str:
            return (
                f"<iq type='set' id='{number}' to='{SERVER}'><query xmlns='jabber:iq:register'>"
                f"<username>{name}</username><password>{password}</password></query></iq>"
            )

        assert "type='result'" in await client.ask(ask("Carol", "a fine password", 2))
        assert "<conflict " in await client.ask(ask("carol", "a fine password", 3))
        assert "<not-acceptable " in await client.ask(ask("9carol", "a fine password", 4))
        assert "<not-acceptable " in await client.ask(ask("nickserv", "a fine password", 5))
        assert "<not-acceptable " in await client.ask(ask("dave", "", 6))
        await client.log_in("carol", "a fine password", "r")
        await client.quiet()
        # XEP-0077 3.3: another password; 3.2: the end
        changed = await client.ask(
            f"<iq type='set' id='7' to='{SERVER}'><query xmlns='jabber:iq:register'>"
            "<username>carol</username><password>another password</password></query></iq>"
        )
        assert "type='result'" in changed
        again = await server.connect()
        await again.open()
        await again.log_in("carol", "another password", "r2")
        # spec: XEP-0077 3.2: the result, then the end of the stream
        gone = await again.ask("<iq type='set' id='8'><query xmlns='jabber:iq:register'><remove/></query></iq>")
        assert "type='result'" in gone
        await again.expect("<stream:error><not-authorized …")

    run(test)


def test_registration_can_be_closed_or_ask_for_a_token():
    async def main(mode: str) -> str:
        config = replace(CONFIG, accounts=Accounts(registration=mode, scram_iterations=10_000))
        async with serve(config) as server:
            client = await server.connect()
            features = await client.open()
            offered = features.child("register", "http://jabber.org/features/iq-register") is not None
            assert offered is (mode != "closed")
            if not offered:
                return ""
            return await client.ask("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>")

    asyncio.run(main("closed"))
    assert "var='token'" in asyncio.run(main("token"))


def test_the_same_resource_again_takes_over():
    """spec: RFC6120 7.7.2.2 (3), 4.9.3.3"""

    async def test(server: TestServer) -> None:
        first = await server.online("alice", "balcony")
        second = await server.bound("alice", "balcony")
        assert second.jid == f"alice@{SERVER}/balcony"
        await first.expect("<stream:error><conflict …")
        with pytest.raises(EOFError):
            await first.stanza()
        await second.quiet()

    run(test)


def test_a_logged_out_device_is_disconnected():
    async def test(server: TestServer) -> None:
        client = await server.online("alice")
        accounts = server.middle.accounts
        await accounts.log_out_all(accounts.user_id("alice"))
        await client.expect("<stream:error><not-authorized …")

    run(test)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<message><body>&x;</body></message>", "restricted-xml"),
        (b"<!-- x -->", "restricted-xml"),
        (b"<message></presence>", "not-well-formed"),
        (b"\xff\xfe", "unsupported-encoding"),
        (b"<message><body>" + b"x" * 300_000 + b"</body></message>", "policy-violation"),
        (b"<message from='bob@example.org'/>", "invalid-from"),
        (b"<message>" + b"<a>" * 50, "policy-violation"),
    ],
)
def test_wrong_xml_ends_this_stream_alone(data, condition):
    async def test(server: TestServer) -> None:
        alice = await server.online("alice")
        bob = await server.online("bob")
        alice.send_bytes(data)
        await alice.expect(f"<stream:error><{condition} …")
        await bob.quiet()
        assert len(server.front.users) == 1

    run(test)


def test_a_stream_is_closed_in_peace():
    """spec: RFC6120 4.4"""

    async def test(server: TestServer) -> None:
        client = await server.online("alice")
        client.send("</stream:stream>")
        with pytest.raises(EOFError):
            await client.stanza()
        assert client.ended and len(server.front.users) == 0

    run(test)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_noticed():
    """spec: RFC6120 4.6.3, 4.9.3.4; XEP-0199 4.1"""

    async def main() -> None:
        clock = Clock()
        async with serve(monotonic=clock) as server:
            slow = await server.connect()
            await slow.open()
            alice = await server.online("alice")
            bob = await server.online("bob")
            clock.now = OPTIONS.login_timeout_s + 1
            server.front.sweep()
            await slow.expect("<stream:error><connection-timeout …")
            clock.now += OPTIONS.ping_interval_s
            server.front.sweep()
            await alice.expect("<iq type='get' id='ping' from='example.org' …<ping xmlns='urn:xmpp:ping'/></iq>")
            await bob.expect("<iq type='get' id='ping' …")
            alice.send(f"<iq type='result' id='ping' to='{SERVER}'/>")
            await alice.quiet()
            clock.now += OPTIONS.ping_timeout_s + 1
            server.front.sweep()
            await bob.expect("<stream:error><connection-timeout …")
            await alice.quiet()

    asyncio.run(main())


def test_connections_of_one_address_are_limited():
    async def main() -> None:
        async with serve(options=replace(OPTIONS, connections_per_address=2)) as server:
            first, second = await server.connect(), await server.connect()
            await first.open()
            await second.open()
            third = await server.connect()
            await third.expect("<stream:error><resource-constraint …")
            first.send("</stream:stream>")
            with pytest.raises(EOFError):
                await first.stanza()
            fourth = await server.connect()
            await fourth.open()

    asyncio.run(main())


def test_who_does_not_read_loses_only_his_connection():
    """docs/mapping.md 24: a send queue that is full ends that connection; membership and the others stay."""

    async def main() -> None:
        async with serve(options=replace(OPTIONS, sendq_bytes=200_000)) as server:
            alice, bob, stuck = [await server.online(name) for name in ("alice", "bob", "stuck")]
            room = f"tea@rooms.{SERVER}"
            await alice.join(room, "alice")
            await alice.ask(
                f"<iq type='set' id='c' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
            )
            await bob.join(room, "bob")
            await stuck.join(room, "stuck")
            stuck.transport.pause_reading()
            text = "x" * 50_000
            number = 0
            while len(server.front.users) == 3 and number < 500:
                number += 1
                alice.send(f"<message type='groupchat' id='m{number}' to='{room}'><body>{text}</body></message>")
                for client in (alice, bob):
                    while f"id='m{number}'" not in await client.xml():
                        pass
            assert len(server.front.users) == 2
            # what arrives after that is his change to "not there"
            await alice.skip()
            alice.send(f"<message type='groupchat' id='last' to='{room}'><body>x</body></message>")
            while "id='last'" not in await bob.xml():
                pass

    asyncio.run(main())


def test_shutdown_is_told_to_rooms_and_streams():
    """spec: XEP-0045 11.2 (332), RFC6120 4.9.3.20"""

    async def main() -> None:
        async with serve() as server:
            alice = await server.online("alice")
            await alice.join(f"tea@rooms.{SERVER}", "alice")
            await server.front.drain()
            # XEP-0045 11.2 example 207
            await alice.expect("<presence …type='unavailable'…<status code='110'/><status code='332'/>…")
            await alice.expect("<stream:error><system-shutdown …")
            late = await server.connect()
            await late.expect("<stream:error><resource-constraint …")

    asyncio.run(main())


def test_stanzas_are_handled_in_order_and_held_back_when_there_are_many():
    """spec: RFC6120 10.1"""

    async def main() -> None:
        async with serve() as server:
            client = await server.bound("alice")
            pings = [f"<iq type='get' id='{n}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>" for n in range(500)]
            client.send("".join(pings))
            for number in range(500):
                assert (await client.stanza()).get("id") == str(number)

    asyncio.run(main())


def test_too_many_stanzas_wait():
    """docs/mapping.md 24: beyond the burst stanzas take their time; nothing is lost."""

    async def main() -> None:
        async with serve(options=replace(OPTIONS, stanzas_burst=5, stanzas_per_s=200)) as server:
            client = await server.bound("alice")
            loop = asyncio.get_running_loop()
            begin = loop.time()
            for number in range(25):
                client.send(f"<iq type='get' id='{number}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
            for number in range(25):
                assert (await client.stanza()).get("id") == str(number)
            assert loop.time() - begin > 0.08

    asyncio.run(main())


def test_header_without_tls_where_tls_is_needed():
    async def main() -> None:
        async with serve(options=replace(OPTIONS, plaintext_passwords=False)) as server:
            client = await server.connect()
            client.send(HEADER)
            features = await client.stanza()
            # no certificate, no plaintext: STARTTLS is required, and cannot be had
            assert features.child("mechanisms", "urn:ietf:params:xml:ns:xmpp-sasl") is None

    asyncio.run(main())
