"""TLS for clients who may show a certificate: what it knows of them, and what bad TLS costs."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from OpenSSL import SSL

from tests.net.client_certificates import client_context, fingerprint, made_client, signed_clients
from tripoint.net import tls_transport
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed
from tripoint.net.tls_transport import EXPORTER, FINGERPRINT, TlsLayer

PATIENCE_S = 5.0
LOOPS = pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
LoopFactory = Callable[[], asyncio.AbstractEventLoop] | None


class Echo(asyncio.Protocol):
    """Sends back what comes, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.events: list[str] = []
        self.over = asyncio.Event()
        self.transport: TlsLayer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsLayer)
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.transport.write(data)

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.over.set()

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class Listening:
    """`made`: the protocols that got through the handshake; `layers`: all."""

    def __init__(self, port: int, tls: ClientTls) -> None:
        self.port = port
        self.tls = tls
        self.made: list[Echo] = []
        self.layers: list[TlsLayer] = []

    async def connect(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port, ssl=context), PATIENCE_S)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    folder = tmp_path_factory.mktemp("tls")
    make_self_signed(["example.org"], folder / "cert.pem", folder / "key.pem")
    return ServerTls(folder / "cert.pem", folder / "key.pem")


@asynccontextmanager
async def listening(
    own: ServerTls, deadline_s: float = PATIENCE_S, alpn: bytes | None = None
) -> AsyncIterator[Listening]:
    tls = ClientTls(own, alpn)
    here = Listening(0, tls)

    def make() -> asyncio.Protocol:
        here.made.append(Echo())
        return here.made[-1]

    def layer() -> TlsLayer:
        here.layers.append(tls.layer(make, deadline_s))
        return here.layers[-1]

    server = await asyncio.get_running_loop().create_server(layer, "127.0.0.1", 0)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        for one in here.layers:
            one.abort()
        for echo in here.made:
            await asyncio.wait_for(echo.over.wait(), PATIENCE_S)


def run(loop_factory: LoopFactory, scenario: Awaitable[None]) -> None:
    async def main() -> None:
        await scenario

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes = b"hello") -> None:
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), PATIENCE_S) == data


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes before the end of a connection."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionError:
        return b""


@LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_certificate_that_nobody_signed_is_known_by_its_fingerprint(
    own: ServerTls, tmp_path: Path, loop_factory: LoopFactory, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        context, shown = made_client(tmp_path, "alice")
        async with listening(own) as here:
            for client, expected in ((context, shown), (client_context(), None)):
                client.maximum_version = version
                reader, writer = await here.connect(client)
                await echoed(reader, writer)
                transport = here.made[-1].transport
                assert transport.get_extra_info(FINGERPRINT) == expected
                assert (transport.get_extra_info(EXPORTER) is not None) is (version is ssl.TLSVersion.TLSv1_3)
                peer, sent_by = transport.get_extra_info("peername"), writer.get_extra_info("sockname")
                assert peer == sent_by
                writer.close()
                await asyncio.wait_for(here.made[-1].over.wait(), PATIENCE_S)
                assert here.made[-1].events == ["made", "eof", "lost"]

    run(loop_factory, scenario())


def test_one_that_an_authority_signed_counts_no_more_and_no_less(own: ServerTls, tmp_path: Path) -> None:
    """With its chain, or without, or when it is over."""

    async def scenario() -> None:
        certificates = signed_clients(tmp_path)
        async with listening(own) as here:
            for path, key in certificates:
                reader, writer = await here.connect(client_context(path, key))
                await echoed(reader, writer)
                assert here.made[-1].transport.get_extra_info(FINGERPRINT) == fingerprint(path)
                writer.close()

    run(None, scenario())


def test_both_sides_export_the_same(own: ServerTls) -> None:
    """spec: RFC9266 2: the label, no context, 32 bytes"""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def exported(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
                sock.setblocking(True)
                client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), sock)
                client.set_connect_state()
                client.do_handshake()
                client.send(b"hi")
                assert client.recv(2) == b"hi"
                return client.export_keying_material(b"EXPORTER-Channel-Binding", 32, None)

        async with listening(own) as here:
            theirs = [await loop.run_in_executor(None, exported, here.port) for _ in range(2)]
            assert theirs[0] != theirs[1]
            # The server side answers after the end too: what was agreed on does not change.
            assert [echo.transport.get_extra_info(EXPORTER) for echo in here.made] == theirs

    run(None, scenario())


@LOOPS
def test_more_than_a_record_and_more_than_the_socket_takes(own: ServerTls, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        data = hashlib.shake_256(b"tea").digest(3_000_000)
        async with listening(own) as here:
            reader, writer = await here.connect(client_context())
            sent = asyncio.ensure_future(_send(writer, data))
            got = b""
            while len(got) < len(data):
                got += await asyncio.wait_for(reader.read(65536), PATIENCE_S)
            await sent
            assert got == data == here.made[0].heard
            # Whoever does not read is noticed.
            echo = here.made[0]
            while "pause" not in echo.events:
                echo.transport.write(data)
                await asyncio.sleep(0)
            assert echo.transport.get_write_buffer_size() > 0
            while "resume" not in echo.events:
                await asyncio.wait_for(reader.read(1 << 20), PATIENCE_S)

    run(loop_factory, scenario())


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


@LOOPS
def test_nothing_is_delivered_to_who_has_paused(own: ServerTls, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with listening(own) as here:
            reader, writer = await here.connect(client_context())
            await echoed(reader, writer)
            echo = here.made[0]
            assert echo.transport.is_reading()
            echo.transport.pause_reading()
            echo.transport.pause_reading()
            writer.write(b"later")
            answered = asyncio.ensure_future(reader.readexactly(5))
            done, _ = await asyncio.wait([answered], timeout=0.1)
            assert not done and echo.heard == b"hello" and not echo.transport.is_reading()
            echo.transport.resume_reading()
            assert await asyncio.wait_for(answered, PATIENCE_S) == b"later"
            # Closed while it is paused: the farewell of the other side is noticed all the same.
            echo.transport.pause_reading()
            echo.transport.close()
            assert await ended(reader) == b""
            writer.close()
            await asyncio.wait_for(echo.over.wait(), PATIENCE_S)

    run(loop_factory, scenario())


def test_a_pause_within_what_came_together(own: ServerTls) -> None:
    """Several records in one piece of the socket's: the rest waits in TLS, and comes in its order."""

    class Chary(Echo):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    async def scenario() -> None:
        data = hashlib.shake_256(b"tea").digest(200_000)
        async with listening(own) as here:
            reader, writer = await here.connect(client_context())
            await echoed(reader, writer)
            chary = Chary()
            chary.transport = here.made[0].transport
            here.made[0].transport.set_protocol(chary)
            assert here.made[0].transport.get_protocol() is chary
            here.made[0] = chary
            sent = asyncio.ensure_future(_send(writer, data))
            assert await asyncio.wait_for(reader.readexactly(len(data)), PATIENCE_S) == data
            await sent

    run(None, scenario())


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "irc": b"NICK alice\r\nUSER a 0 * :a\r\n",
    "zeros": bytes(5000),
    "a record that is too large": b"\x16\x03\x01\xff\xff" + b"x" * 65535,
    "a hello that is none": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
}


@LOOPS
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_ends_its_own_connection_alone(own: ServerTls, loop_factory: LoopFactory, data: bytes) -> None:
    async def scenario() -> None:
        async with listening(own) as here:
            good = await here.connect(client_context())
            await echoed(*good)
            reader, writer = await here.raw()
            writer.write(data)
            told = await ended(reader)
            # spec: RFC8446 6: an alert, and nothing else
            assert not told or told[0] == 21
            writer.close()
            assert len(here.made) == 1
            await echoed(*good)

    run(loop_factory, scenario())


@LOOPS
def test_garbage_after_the_handshake(own: ServerTls, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with listening(own) as here:
            ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_context().wrap_bio(theirs, ours)
            reader, writer = await here.raw()
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(ours.read())
                    theirs.write(await reader.read(65536))
            client.write(b"hello")
            writer.write(ours.read())
            # A record of the right form whose contents nobody has sealed.
            writer.write(b"\x17\x03\x03\x00\x40" + b"x" * 64)
            await ended(reader)
            writer.close()
            await asyncio.wait_for(here.made[0].over.wait(), PATIENCE_S)
            assert here.made[0].heard == b"hello"
            assert here.made[0].events == ["made", "lost"]

    run(loop_factory, scenario())


@LOOPS
def test_a_handshake_that_does_not_come_to_an_end(own: ServerTls, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with listening(own, deadline_s=0.1) as here:
            silent, slow = await here.raw(), await here.raw()
            slow[1].write(b"\x16\x03\x01")
            for reader, writer in (silent, slow):
                assert await ended(reader) == b""
                writer.close()
            assert not here.made
            # Who got through is not looked at any more.
            reader, writer = await here.connect(client_context())
            await asyncio.sleep(0.2)
            await echoed(reader, writer)

    run(loop_factory, scenario())


@LOOPS
def test_a_close_that_is_not_read(
    own: ServerTls, loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_transport, "CLOSE_S", 0.1)

    async def scenario() -> None:
        async with listening(own) as here:
            reader, writer = await here.connect(client_context())
            await echoed(reader, writer)
            writer.transport.pause_reading()
            transport = here.made[0].transport
            while not transport.get_write_buffer_size():
                transport.write(bytes(1_000_000))
                await asyncio.sleep(0)
            transport.close()
            await asyncio.wait_for(here.made[0].over.wait(), PATIENCE_S)
            writer.transport.abort()

    run(loop_factory, scenario())


def test_nothing_is_negotiated_anew(own: ServerTls) -> None:
    """Renegotiation of TLS 1.2 costs a server what a handshake does, as often as a client likes."""

    def ask(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
            sock.setblocking(True)
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            client = SSL.Connection(context, sock)
            client.set_connect_state()
            client.do_handshake()
            client.send(b"hi")
            assert client.recv(2) == b"hi"
            assert client.renegotiate()
            with pytest.raises(SSL.Error):
                client.do_handshake()

    async def scenario() -> None:
        async with listening(own) as here:
            await asyncio.get_running_loop().run_in_executor(None, ask, here.port)

    run(None, scenario())


@LOOPS
def test_an_end_without_farewell_is_an_end(own: ServerTls, loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with listening(own) as here:
            _, writer = await here.raw()
            writer.write(b"\x16\x03")
            writer.close()
            reader, writer = await here.connect(client_context())
            await echoed(reader, writer)
            writer.transport.abort()
            await asyncio.wait_for(here.made[0].over.wait(), PATIENCE_S)
            assert here.made[0].events[0] == "made" and here.made[0].events[-1] == "lost"
            # What is written to it now goes nowhere, and nothing is raised.
            transport = here.made[0].transport
            transport.write(b"too late")
            transport.close()
            assert transport.is_closing()

    run(loop_factory, scenario())


def test_sessions_are_resumed_with_the_certificate(own: ServerTls, tmp_path: Path) -> None:
    """A ticket stands for the handshake, and for what was shown in it. spec: RFC8446 2.2"""

    def twice(context: ssl.SSLContext, port: int) -> list[bool]:
        resumed, session = [], None
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock,
                context.wrap_socket(sock, session=session) as tls,
            ):
                tls.sendall(b"hello")
                assert tls.recv(5) == b"hello"
                session = tls.session
                resumed.append(bool(tls.session_reused))
        return resumed

    async def scenario() -> None:
        context, shown = made_client(tmp_path, "alice")
        async with listening(own) as here:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, twice, context, here.port) == [False, True]
            assert [echo.transport.get_extra_info(FINGERPRINT) for echo in here.made] == [shown, shown]

    run(None, scenario())


def test_the_protocol_that_is_agreed_on(own: ServerTls) -> None:
    """spec: XEP-0368 4; RFC7301 3.2"""

    async def scenario() -> None:
        async with listening(own, alpn=b"xmpp-client") as here:
            for offered, agreed in ((["h2", "xmpp-client"], "xmpp-client"), (["h2"], None), ([], None)):
                context = client_context()
                if offered:
                    context.set_alpn_protocols(offered)
                reader, writer = await here.connect(context)
                await echoed(reader, writer)
                assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
                writer.close()

    run(None, scenario())


def test_old_versions_are_refused(own: ServerTls) -> None:
    async def scenario() -> None:
        async with listening(own) as here:
            context = client_context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning):
                context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await here.connect(context)
            assert not here.made

    run(None, scenario())


def test_renewed_files_are_for_new_connections(tmp_path: Path) -> None:
    async def scenario() -> None:
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        make_self_signed(["one.example"], certificate, key)
        own = ServerTls(certificate, key)
        async with listening(own) as here:
            first = await here.connect(client_context())
            make_self_signed(["two.example"], certificate, key)
            own.reload()
            here.tls.reload()
            second = await here.connect(client_context())
            seen = [writer.get_extra_info("ssl_object").getpeercert(binary_form=True) for _, writer in (first, second)]
            assert seen[0] != seen[1]
            assert hashlib.sha256(seen[1]).digest() == here.tls.end_point
            await echoed(*first)
            # What cannot be read leaves what was.
            key.write_text("nothing")
            with pytest.raises(ValueError):
                here.tls.reload()
            await echoed(*await here.connect(client_context()))

    run(None, scenario())
