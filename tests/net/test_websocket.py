"""WebSockets on the HTTP front: the handshake, messages in any frames, limits, and the end from both sides.

spec: RFC6455 4.2, 5, 7, 8.1
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from tripoint.net import websocket
from tripoint.net.http import Request, Response
from tripoint.net.http_front import HttpFront
from tripoint.net.listen import bind
from tripoint.net.websocket import WebSocket, accept

PATIENCE_S = 5.0
LIMIT = 1000
HANDSHAKE = {
    "host": "localhost",
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "chat, superchat",
}


class Party:
    """Says back what it hears."""

    def __init__(self) -> None:
        self.socket: WebSocket | None = None
        self.heard: list[tuple[bytes, bool]] = []
        self.gone = asyncio.Event()

    def connected(self, socket: WebSocket) -> None:
        self.socket = socket

    def received(self, message: bytes, is_text: bool) -> None:
        assert self.socket is not None
        self.heard.append((message, is_text))
        if message == b"close":
            self.socket.close(4000, "as you wish")
        frame = self.socket.frame_text if is_text else self.socket.frame_binary
        self.socket.write(frame(message))

    def lost(self) -> None:
        assert not self.gone.is_set()
        self.gone.set()


class Client(asyncio.Protocol):
    """The library's other side, and the bytes as they came."""

    def __init__(self) -> None:
        self.protocol = ClientProtocol(parse_uri("ws://localhost/chat"), subprotocols=["superchat"])
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.upgraded = asyncio.Event()
        self.gone = asyncio.Event()
        self.answers = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.protocol.send_request(self.protocol.connect())
        self.flush()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.transport.write(data)
            elif self.answers:
                self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self.frames.put_nowait(event)
            else:
                self.upgraded.set()
        if self.answers:
            self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()

    async def frame(self) -> Frame:
        return await asyncio.wait_for(self.frames.get(), PATIENCE_S)

    async def closed_with(self) -> int:
        """The code of the close frame, which comes next."""
        frame = await self.frame()
        assert frame.opcode is Opcode.CLOSE, frame
        return Close.parse(frame.data).code


class Site:
    def __init__(self) -> None:
        self.parties: list[Party] = []
        self.port = 0
        self.front = HttpFront(
            self.handle,
            body_limit=LIMIT,
            too_large=lambda _: Response(413),
            failed=lambda _: Response(500),
            report=lambda where, error: self.errors.append(error),
            max_connections=3,
        )
        self.errors: list[BaseException] = []

    async def handle(self, request: Request) -> Response:
        if request.path != "/chat":
            return Response(200, b"a page")
        party = Party()
        self.parties.append(party)
        return accept(request, party, subprotocols=("superchat",), limit_bytes=LIMIT, unsent_bytes=100_000)

    async def connect(self) -> Client:
        _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", self.port)
        await asyncio.wait_for(client.upgraded.wait(), PATIENCE_S)
        return client

    async def ask(self, head: str, after: bytes = b"") -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.encode() + b"\r\n\r\n" + after)
        try:
            return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        finally:
            writer.close()


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    sock = bind("127.0.0.1", 0)
    await made.front.listen(sock)
    made.port = sock.getsockname()[1]
    try:
        yield made
    finally:
        for party in made.parties:
            if party.socket is not None:
                party.socket.abort()
        await made.front.close(0.1)
    assert made.errors == []


Work = Callable[[Site], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Work], None]:
    def go(work: Work) -> None:
        async def with_site() -> None:
            async with site() as made:
                await work(made)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(with_site())

    return go


def head(method: str = "GET", version: str = "1.1", path: str = "/chat", **changed: str | None) -> str:
    headers = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines])


def test_the_handshake_of_the_specification(run: Callable[[Work], None]) -> None:
    """spec: RFC6455 1.3, 4.2.2 (5)"""

    async def work(s: Site) -> None:
        answer = await s.ask(head())
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
        assert b"\r\nsec-websocket-protocol: superchat\r\n" in answer
        assert answer.count(b"connection:") == 1 and b"content-length" not in answer
        await asyncio.wait_for(s.parties[0].gone.wait(), PATIENCE_S)
        assert s.front.switched == 0

    run(work)


@pytest.mark.parametrize(
    ("status", "request_head"),
    [
        (b"405", head(method="POST", content_length="0")),
        (b"505", head(version="1.0")),
        (b"426", head(upgrade=None, connection=None)),
        (b"426", head(upgrade="h2c")),
        (b"400", head(sec_websocket_key=None)),
        (b"400", head(sec_websocket_key="c2hvcnQ=")),
        (b"400", head(sec_websocket_key="not base64!")),
        (b"400", head(sec_websocket_version=None)),
        (b"400", head(sec_websocket_version="8")),
        (b"400", head(sec_websocket_protocol=None)),
        (b"400", head(sec_websocket_protocol="chat")),
        (b"400", head(sec_websocket_protocol="\"")),
    ],
)
def test_what_is_no_handshake_is_answered_as_http(
    status: bytes, request_head: str, run: Callable[[Work], None]
) -> None:
    """spec: RFC6455 4.2.1, 4.2.2"""

    async def work(s: Site) -> None:
        answer = await s.ask(request_head)
        assert answer.split()[1] == status, answer
        assert b"\r\nsec-websocket-version: 13\r\n" in answer
        assert s.front.switched == 0 and s.parties[0].socket is None

    run(work)


def test_another_protocol_is_not_switched_to(run: Callable[[Work], None]) -> None:
    """spec: RFC9110 7.8: the server goes on as if it had not been asked, and nothing behind the request is a request"""

    async def work(s: Site) -> None:
        answer = await s.ask(head(path="/page", upgrade="h2c"), b"GET /page HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close\r\n" in answer

    run(work)


def test_messages_come_whole_and_in_order(run: Callable[[Work], None]) -> None:
    """spec: RFC6455 5.4, 5.5.2, 5.6, 5.7"""

    async def work(s: Site) -> None:
        client = await s.connect()
        protocol = client.protocol
        protocol.send_text("grüße".encode())
        protocol.send_text(b"Hel", fin=False)
        protocol.send_continuation(b"", fin=False)
        protocol.send_ping(b"still there?")
        protocol.send_continuation(b"lo", fin=True)
        protocol.send_binary(b"\xff\x00", fin=False)
        protocol.send_continuation(b"\xfe", fin=True)
        protocol.send_text(b"")
        client.flush()
        got = [await client.frame() for _ in range(5)]
        # The pong may come before what is echoed in the same turn.
        pong = [frame for frame in got if frame.opcode is Opcode.PONG]
        assert [bytes(frame.data) for frame in pong] == [b"still there?"]
        echoed = [(frame.opcode, bytes(frame.data)) for frame in got if frame.opcode is not Opcode.PONG]
        wanted = [(Opcode.TEXT, "grüße".encode()), (Opcode.TEXT, b"Hello"), (Opcode.BINARY, b"\xff\x00\xfe")]
        assert echoed == [*wanted, (Opcode.TEXT, b"")]
        assert s.parties[0].heard == [(data, opcode is Opcode.TEXT) for opcode, data in echoed]
        assert s.front.switched == 1

    run(work)


def test_what_comes_with_the_handshake_is_not_lost(run: Callable[[Work], None]) -> None:
    async def work(s: Site) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.port)
        # spec: RFC6455 5.7: a single-frame masked text message, "Hello"
        writer.write(head().encode() + b"\r\n\r\n" + bytes.fromhex("818537fa213d7f9f4d5158"))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert await asyncio.wait_for(reader.readexactly(7), PATIENCE_S) == bytes.fromhex("810548656c6c6f")
        writer.close()

    run(work)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (1002, bytes.fromhex("810548656c6c6f")),  # not masked
        (1002, bytes.fromhex("838537fa213d7f9f4d5158")),  # no such opcode
        (1002, bytes.fromhex("c18537fa213d7f9f4d5158")),  # a reserved bit
        (1002, bytes.fromhex("808537fa213d7f9f4d5158")),  # a continuation of nothing
        (1002, bytes.fromhex("098537fa213d7f9f4d5158")),  # a ping in pieces
        (1002, bytes.fromhex("89fe007e00000000") + bytes(126)),  # a ping that is too long
        (1002, bytes.fromhex("888100000000") + b"\x03"),  # half of a close code
        (1002, bytes.fromhex("888200000000") + (1005).to_bytes(2, "big")),  # a code that is never sent
        (1007, bytes.fromhex("818200000000") + b"\xc3\x28"),  # not UTF-8
        (1009, bytes.fromhex("81fe03e900000000") + bytes(1001)),  # too long
        (1009, bytes.fromhex("81ff7fffffffffffffff00000000")),  # announced to be too long
        (1009, bytes.fromhex("01fe03e800000000") + bytes(1000) + bytes.fromhex("808100000000") + b"x"),  # in pieces
    ],
)
def test_what_breaks_the_rules_ends_the_connection(code: int, data: bytes, run: Callable[[Work], None]) -> None:
    """spec: RFC6455 5.1, 5.2, 5.4, 5.5, 7.4.1, 8.1"""

    async def work(s: Site) -> None:
        client = await s.connect()
        client.transport.write(data)
        assert await client.closed_with() == code
        await asyncio.wait_for(s.parties[0].gone.wait(), PATIENCE_S)
        assert s.parties[0].heard == []
        assert s.front.switched == 0

    run(work)


def test_either_side_closes(run: Callable[[Work], None]) -> None:
    """spec: RFC6455 7.1.1, 7.1.2, 5.5.1: after a close frame nothing is sent"""

    async def work(s: Site) -> None:
        theirs, ours = await s.connect(), await s.connect()
        theirs.protocol.send_close(1001, "gone")
        theirs.flush()
        assert await theirs.closed_with() == 1001
        ours.protocol.send_text(b"close")
        ours.flush()
        assert await ours.closed_with() == 4000
        for client, party in zip((theirs, ours), s.parties, strict=True):
            await asyncio.wait_for(client.gone.wait(), PATIENCE_S)
            await asyncio.wait_for(party.gone.wait(), PATIENCE_S)
            assert party.socket is not None and party.socket.is_closing()
            assert party.socket.frame_text(b"late") == party.socket.frame_binary(b"late") == b""
        assert ours.frames.empty()

    run(work)


def test_a_peer_that_does_not_close_is_not_waited_for(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_S", 0.05)

    async def work(s: Site) -> None:
        client = await s.connect()
        client.answers = False
        client.protocol.send_text(b"close")
        client.flush()
        await asyncio.wait_for(s.parties[0].gone.wait(), PATIENCE_S)

    run(work)


def test_pings_of_who_does_not_read_pile_up_to_a_limit(run: Callable[[Work], None]) -> None:
    async def work(s: Site) -> None:
        client = await s.connect()
        client.transport.pause_reading()
        for _ in range(400):
            for _ in range(1000):
                client.protocol.send_ping(bytes(125))
            client.flush()
            await asyncio.sleep(0)
            if s.parties[0].gone.is_set():
                return
        await asyncio.wait_for(s.parties[0].gone.wait(), PATIENCE_S)

    run(work)


def test_they_count_as_connections_of_the_front(run: Callable[[Work], None]) -> None:
    async def work(s: Site) -> None:
        for _ in range(3):
            await s.connect()
        assert (await s.ask(head(path="/page"))).startswith(b"HTTP/1.1 503 ")

    run(work)
