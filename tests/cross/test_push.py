"""One message, one engine, and a push in the words of each protocol to whoever is not there.

spec: docs/mapping.md 18.5; IRCv3 webpush, RFC8291; Matrix push-gateway-api; XEP-0357
# rows: 18.5
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cross.links import linked
from tests.cross.world import PATIENCE_S, IrcPerson, MatrixPerson, World, XmppPerson, config
from tests.federation.servers import ADDRESS, Table
from tests.net.https import make_certificate
from tripoint.config.options import Outbound, Tls
from tripoint.net.web_push import to_text
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir
from tripoint.store.memory import MemoryStore

AUTH = bytes(range(16))
GATEWAY = "/_matrix/push/v1/notify"


@dataclass
class Phone:
    """A client's keys, and what comes for it."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def keys(self) -> str:
        return f"p256dh={to_text(self.point)};auth={to_text(AUTH)}"

    def open(self, body: bytes) -> str:
        """What was sealed for it. spec: RFC8291 3.4, RFC8188 2"""
        salt, point, sealed = body[:16], body[21:86], body[86:]
        assert body[16:21] == (4096).to_bytes(4, "big") + bytes([65])
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        key = HKDF(hashes.SHA256(), 32, AUTH, b"WebPush: info\0" + self.point + point).derive(shared)
        content_key = HKDF(hashes.SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(key)
        nonce = HKDF(hashes.SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(key)
        text = AESGCM(content_key).decrypt(nonce, sealed, None)
        assert text.endswith(b"\x02")
        return text[:-1].decode()


@dataclass
class PushService:
    """An HTTPS server for both: (path, headers, body) of what came. `answers`: statuses by path, else what is usual."""

    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        path = first.split(" ")[1]
        self.came.append((path, headers, body))
        usual = b"200 OK" if path == GATEWAY else b"201 Created"
        answer = b'{"rejected":[]}' if path == GATEWAY else b""
        status = self.answers.get(path, usual)
        writer.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(answer)) + answer)
        await writer.drain()
        writer.close()

    def to(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for came, headers, body in self.came if came == path]


@asynccontextmanager
async def pushed(folder: Path) -> AsyncIterator[tuple[World, PushService, str]]:
    """A server and a push service that it trusts; the service's address."""
    certificate = make_certificate(folder, "push.example")
    service = PushService()
    listener = await asyncio.start_server(service.serve, ADDRESS, 0, ssl=certificate.context())
    made = config(folder / "data", listening=False)
    made = replace(
        made,
        tls=Tls(extra_authorities=(str(certificate.path),)),
        outbound=Outbound(allow_networks=("127.0.0.0/8",)),
    )
    app = App(made, DataDir(folder / "data"), MemoryStore(), names=Table())
    await app.start()
    at = World(app, sockets=False)
    try:
        yield at, service, f"https://push.example:{listener.sockets[0].getsockname()[1]}"
    finally:
        await at.close()
        await asyncio.wait_for(app.stop(), PATIENCE_S)
        listener.close()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # what is waited for comes over sockets
            await asyncio.sleep(0.01)


async def _irc(at: World, name: str) -> IrcPerson:
    person = await at.person(name, "irc", "account", ["message-tags", "server-time", "account-tag", "draft/webpush"])
    assert isinstance(person, IrcPerson)
    return person


def test_who_is_not_there_is_pushed_to(tmp_path: Path) -> None:
    async def work() -> None:
        async with pushed(tmp_path) as (at, service, url):
            phone, alice = Phone(), await _irc(at, "alice")
            await alice.send("JOIN #tea")
            await alice.pending()
            endpoint = f"{url}/p/alice-1"
            await alice.send(f"WEBPUSH REGISTER {endpoint} {phone.keys}")
            assert await alice.pending() == [f":example.org WEBPUSH REGISTER {endpoint}"]
            matrix = await at.person("alice", "matrix", "account", [])
            assert isinstance(matrix, MatrixPerson)
            pusher = {
                "kind": "http",
                "app_id": "org.example",
                "pushkey": "k",
                "app_display_name": "a",
                "device_display_name": "d",
                "lang": "en",
                "data": {"url": f"{url}{GATEWAY}"},
            }
            status, answer = await matrix.call("POST", "/pushers/set", pusher)
            assert status == 200, answer
            # Matrix clients see the pushers of Matrix.
            status, answer = await matrix.call("GET", "/pushers")
            assert [one["app_id"] for one in answer["pushers"]] == ["org.example"]
            await alice.send("QUIT")
            bob = await at.person("bob", "xmpp", "account", [])
            assert isinstance(bob, XmppPerson)
            muc = "<x xmlns='http://jabber.org/protocol/muc'/>"
            await bob.send(f"<presence to='tea@rooms.example.org/bob'>{muc}</presence>")
            while "<subject" not in await bob.next():
                pass
            room = "to='tea@rooms.example.org' type='groupchat'"
            await bob.send(f"<message {room} id='m'><body>alice: tea?</body></message>")
            told = await bob.next()
            event_id = re.search(r"<stanza-id [^>]*id='([^']*)'", told)
            assert event_id is not None
            await until(lambda: service.to("/p/alice-1") and service.to(GATEWAY))
            notification = orjson.loads(service.to(GATEWAY)[0][1])["notification"]
            assert notification["event_id"] == event_id[1]
            headers, body = service.to("/p/alice-1")[0]
            assert headers["content-encoding"] == "aes128gcm" and int(headers["ttl"]) > 0
            assert re.fullmatch(r"vapid t=[\w-]+\.[\w-]+\.[\w-]+, k=[\w-]{87}", headers["authorization"])
            line = phone.open(body)
            assert re.fullmatch(
                r"@time=\S+;msgid=\S+;account=bob\S* :bob!bob@example\.org PRIVMSG #tea :alice: tea\?", line
            ), line
            assert f"msgid={event_id[1]}" in line
            # Between two, and an invitation.
            await bob.send("<message to='alice@example.org' type='chat' id='d'><body>psst</body></message>")
            await until(lambda: len(service.to("/p/alice-1")) == 2)
            assert phone.open(service.to("/p/alice-1")[1][1]).endswith(" PRIVMSG alice :psst")
            carol = await at.person("carol", "matrix", "account", [])
            assert isinstance(carol, MatrixPerson)
            await carol.send('POST /createRoom {"room_alias_name": "milk", "invite": ["@alice:example.org"]}')
            await until(lambda: len(service.to("/p/alice-1")) == 3)
            assert phone.open(service.to("/p/alice-1")[2][1]).endswith(":carol!carol@example.org INVITE alice #milk")
            # Not what one says oneself; nor, on IRC, what is said in a channel without naming one.
            await matrix.send("say #tea:example.org coming")
            await bob.send(f"<message {room} id='n'><body>well, well</body></message>")
            await asyncio.sleep(0.1)
            assert len(service.to("/p/alice-1")) == 3

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_subscription_that_its_service_does_not_know_goes(tmp_path: Path) -> None:
    async def work() -> None:
        async with pushed(tmp_path) as (at, service, url):
            phone, alice = Phone(), await _irc(at, "alice")
            service.answers["/p/gone"] = b"410 Gone"
            for path in ("gone", "here"):
                await alice.send(f"WEBPUSH REGISTER {url}/p/{path} {phone.keys}")
            await alice.pending()
            bob = await _irc(at, "bob")
            await bob.send("PRIVMSG alice :one")
            await until(lambda: service.to("/p/gone") and service.to("/p/here"))
            await until(lambda: len(at.app.middle.accounts.pushers.of(alice_id)) == 1)
            await bob.send("PRIVMSG alice :two")
            await until(lambda: len(service.to("/p/here")) == 2)
            assert len(service.to("/p/gone")) == 1
            # Taken away: nothing more comes. A second time is no error.
            for _ in range(2):
                await alice.send(f"WEBPUSH UNREGISTER {url}/p/here")
                assert f":example.org WEBPUSH UNREGISTER {url}/p/here" in await alice.pending()
            assert at.app.middle.accounts.pushers.of(alice_id) == ()

    alice_id: Any = "@alice:example.org"
    asyncio.run(asyncio.wait_for(work(), 60))


async def _address(client: XmppPerson) -> str:
    """The full address of a client: what answers are sent to."""
    await client.send("<iq type='get' id='me'><query xmlns='jabber:iq:roster'/></iq>")
    while (answer := await client.stanza()).get("id") != "me":
        pass
    return answer.get("to") or ""


def test_xmpp_publishes_to_a_service_of_another_server(tmp_path: Path) -> None:
    """Over a real link: the service is a client of the other server, which answers. What notifies is what notifies the
    others: a message between two, from IRC; the count is that of all rooms. spec: XEP-0357 5, 7"""

    async def work() -> None:
        async with linked(tmp_path, "example.org", "push.example") as servers:
            at, there = servers["example.org"], servers["push.example"]
            service = await there.person("service", "xmpp", "account", [])
            alice = await at.person("alice", "xmpp", "account", [])
            assert isinstance(service, XmppPerson) and isinstance(alice, XmppPerson)
            await service.pending()
            # Requests reach a client that shows its presence to who asks (RFC 6121 8.5.3.1).
            await service.send("<presence to='example.org'/>")
            address = await _address(service)
            await alice.send(f"<iq type='set' id='p'><enable xmlns='urn:xmpp:push:0' jid='{address}' node='n'/></iq>")
            while "id='p'" not in (got := await alice.next()):
                pass
            assert "type='result'" in got
            await alice.send("<presence type='unavailable'/></stream:stream>")
            await until(lambda: at.app.xmpp.users.live(alice_id) is None)
            bob = await _irc(at, "bob")
            for number, text in enumerate(("one", "two"), 1):
                await bob.send(f"PRIVMSG alice :{text}")
                while "<publish node='n'>" not in (push := await service.next()):
                    pass
                its_id = re.search(r"<iq [^>]*id='([^']*)'", push)
                assert its_id is not None
                assert "from='example.org'" in push
                assert f"<field var='message-count'><value>{number}</value></field>" in push
                assert text not in push
                await service.send(f"<iq type='result' to='example.org' id='{its_id[1]}'/>")
            await until(lambda: at.app.pushing.results["sent"] == 2)
            # A service that does not know the node any more.
            await bob.send("PRIVMSG alice :three")
            while "<publish node='n'>" not in (push := await service.next()):
                pass
            its_id = re.search(r"<iq [^>]*id='([^']*)'", push)
            assert its_id is not None
            stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"
            error = f"<error type='cancel'><item-not-found xmlns='{stanzas}'/></error>"
            await service.send(f"<iq type='error' to='example.org' id='{its_id[1]}'>{error}</iq>")
            await until(lambda: at.app.middle.accounts.pushers.of(alice_id) == ())

    alice_id: Any = "@alice:example.org"
    asyncio.run(asyncio.wait_for(work(), 60))
