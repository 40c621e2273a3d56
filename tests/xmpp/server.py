"""A whole server with the store in memory and a real XMPP socket, and clients that speak raw XML to it."""

import asyncio
import base64
import re
import ssl
import time
import xml.etree.ElementTree as ElementTree
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from tests.support.media import beside
from tripoint.config.options import Accounts, Config, Limits, Server
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey
from tripoint.net.http import Request, Response
from tripoint.net.http_front import HttpFront
from tripoint.net.listen import bind
from tripoint.net.tls import ClientTls
from tripoint.runtime.media import MediaParts
from tripoint.runtime.middle import Middle, build_middle, clock_ms
from tripoint.store.memory import MemoryStore
from tripoint.xmpp.components.service import Component
from tripoint.xmpp.frontend import XmppFrontEnd
from tripoint.xmpp.options import XmppOptions
from tripoint.xmpp.web import PATH, XmppWeb
from tripoint.xmpp.wire import Broken, Element, StreamClosed, StreamOpened, StreamParser, render

SERVER = "example.org"
# Nothing here is about limits unless a test says so.
NO_LIMITS = Limits(
    events_burst=1e6,
    events_per_s=0,
    state_burst=1e6,
    state_per_s=0,
    membership_burst=1e6,
    membership_per_s=0,
    registrations_burst=1e6,
    registrations_per_s=0,
)
CONFIG = Config(
    server=Server(name=SERVER),
    accounts=Accounts(registration="open", scram_iterations=10_000),
    limits=NO_LIMITS,
)
PUBLIC_URL = "https://chat.example.org/"
OPTIONS = XmppOptions(stanzas_per_s=0, connections_per_address=0)
PATIENCE_S = 20.0
HEADER = (
    f"<?xml version='1.0'?><stream:stream to='{SERVER}' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)


C = TypeVar("C", bound="Client")


class Client(asyncio.Protocol):
    """One connection: sends XML, waits for stanzas."""

    server = SERVER

    def __init__(self) -> None:
        self._parser = StreamParser()
        self._waiting: deque[Element] = deque()
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._pings = 0
        self.transport: asyncio.Transport | None = None
        self.header: StreamOpened | None = None
        self.broken: Broken | None = None
        self.ended = False
        self.jid = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for event in self._parser.receive(data):
            if isinstance(event, Element):
                self._waiting.append(event)
            elif isinstance(event, StreamOpened):
                self.header = event
            elif isinstance(event, StreamClosed):
                self.ended = True
            else:
                self.broken = event
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._news.set()
        self._gone.set()

    def send(self, xml: str) -> None:
        self.transport.write(xml.encode())

    def send_bytes(self, data: bytes) -> None:
        self.transport.write(data)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(self.transport, self, context)

    async def stanza(self) -> Element:
        """The next stanza; EOFError at the end of the stream."""
        while not self._waiting:
            assert self.broken is None, f"the server sent broken XML: {self.broken}"
            if self.ended:
                raise EOFError
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE_S)
        return self._waiting.popleft()

    async def lost(self) -> None:
        """The server has closed the connection."""
        await asyncio.wait_for(self._gone.wait(), PATIENCE_S)

    async def xml(self) -> str:
        """The next stanza as text."""
        return render(await self.stanza()).decode()

    async def expect(self, wanted: str) -> Element:
        """The next stanza is this one; `…` stands for anything."""
        try:
            got = await self.stanza()
        except (TimeoutError, EOFError) as error:
            raise AssertionError(f"nothing came where {wanted} was expected") from error
        text = render(got).decode()
        pattern = ".*".join(map(re.escape, wanted.split("…")))
        assert re.fullmatch(pattern, text, re.S), f"there came\n{text}\nwhere this was expected\n{wanted}"
        return got

    async def quiet(self) -> None:
        """Nothing has come: what a ping brings is its answer and nothing before it."""
        self._pings += 1
        self.send(f"<iq type='get' id='quiet{self._pings}' to='{self.server}'><ping xmlns='urn:xmpp:ping'/></iq>")
        await self.expect(f"<iq type='result' id='quiet{self._pings}'…/>")

    async def skip(self) -> list[str]:
        """Everything that has come so far."""
        self._pings += 1
        self.send(f"<iq type='get' id='skip{self._pings}' to='{self.server}'><ping xmlns='urn:xmpp:ping'/></iq>")
        got: list[str] = []
        while True:
            text = await self.xml()
            if f"id='skip{self._pings}'" in text:
                return got
            got.append(text)

    async def ask(self, xml: str) -> str:
        """Send an IQ and get its answer, whatever else comes before it."""
        wanted = re.search(r" id='([^']*)'", xml)
        assert wanted is not None
        self.send(xml)
        while True:
            got = await self.stanza()
            if got.name == "iq" and got.get("id") == wanted.group(1) and got.get("type") in ("result", "error"):
                return render(got).decode()

    async def open(self, header: str | None = None) -> Element:
        """Open or restart the stream; the features."""
        self._parser = StreamParser()
        self.send(HEADER if header is None else header)
        return await self.stanza()

    async def log_in(self, name: str, password: str, resource: str) -> None:
        await self.authenticate(name, password)
        await self.open()
        await self.bind(resource)

    async def authenticate(self, name: str, password: str) -> None:
        token = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>")
        answer = await self.xml()
        assert answer.startswith("<success "), answer

    async def bind(self, resource: str) -> None:
        answer = await self.ask(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            f"<resource>{resource}</resource></bind></iq>"
        )
        found = re.search(r"<jid>([^<]*)</jid>", answer)
        assert found is not None, answer
        self.jid = found.group(1)

    async def join(self, room: str, nick: str, inside: str = "") -> list[str]:
        """Enter a room; everything up to its subject."""
        self.send(f"<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>{inside}</x></presence>")
        got: list[str] = []
        while not got or "<subject" not in got[-1]:
            got.append(await self.xml())
            assert " type='error'" not in got[-1], got[-1]
        return got

    async def close(self) -> None:
        self.transport.close()
        await self.lost()


FRAMING = "xmlns='urn:ietf:params:xml:ns:xmpp-framing'"
OPEN = f"<open {FRAMING} to='{SERVER}' version='1.0'/>"
STREAM_NS = "http://etherx.jabber.org/streams"


class WebClient(Client):
    """The same over a WebSocket: what is sent is a message, what comes has to be a document of its own.

    spec: RFC7395 3.3.3
    """

    def __init__(self) -> None:
        super().__init__()
        self.websocket = ClientProtocol(parse_uri(f"ws://localhost{PATH}"), subprotocols=["xmpp"])
        self.upgraded = asyncio.Event()
        self.answer = b""  # of a server that does not upgrade
        self.closed: Close | None = None  # the server's close frame
        self.pongs: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.websocket.send_request(self.websocket.connect())
        self.flush()

    def flush(self) -> None:
        for data in self.websocket.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.websocket.receive_data(data)
        for event in self.websocket.events_received():
            if not isinstance(event, Frame):
                assert event.status_code == 101, event
                self.upgraded.set()
            elif event.opcode is Opcode.TEXT:
                self.message(bytes(event.data))
            elif event.opcode is Opcode.CLOSE:
                self.closed = Close.parse(event.data)
            elif event.opcode is Opcode.PONG:
                self.pongs.append(bytes(event.data))
            else:
                raise AssertionError(event)
        self.flush()
        self._news.set()

    def message(self, data: bytes) -> None:
        element = _element(ElementTree.fromstring(data.decode()))
        if element.namespace != FRAMING[7:-1]:
            self._waiting.append(element)
        elif element.name == "open":
            self.header = StreamOpened(None, element.get("from"), element.get("version"), element.get("xml:lang"), None)
        else:
            self.ended = True

    def send(self, xml: str) -> None:
        self.send_bytes(re.sub(r"^<(iq|message|presence)\b", r"<\1 xmlns='jabber:client'", xml).encode())

    def send_bytes(self, data: bytes) -> None:
        self.websocket.send_text(data)
        self.flush()

    async def open(self, header: str | None = None) -> Element:
        self.send(OPEN if header is None else header)
        return await self.stanza()


def _element(tree: ElementTree.Element) -> Element:
    """An element as the library reads it, as ours."""
    names = {"{http://www.w3.org/XML/1998/namespace}lang": "xml:lang"}
    namespace, _, name = tree.tag.rpartition("}")
    children: list[Element | str] = [tree.text] if tree.text else []
    for child in tree:
        children.append(_element(child))
        children += [child.tail] if child.tail else []
    return Element(name, namespace[1:], {names.get(key, key): value for key, value in tree.items()}, children)


class TestServer:
    """The middle, the XMPP front end and its ports."""

    __test__ = False

    def __init__(
        self,
        middle: Middle,
        front: XmppFrontEnd,
        port: int,
        tls_port: int,
        media: MediaParts,
        http_port: int,
        *,
        web: bool,
    ) -> None:
        self.http_port = http_port
        self.web = web  # clients connect by WebSocket
        self.middle = middle
        self.media = media
        self.front = front
        self.port = port
        self.tls_port = tls_port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        return await self.connect_web() if self.web else await self._connect(self.port, None)

    async def connect_web(self) -> WebClient:
        client = await self.connect_socket(WebClient)
        await asyncio.wait_for(client.upgraded.wait(), PATIENCE_S)
        return client

    async def connect_socket(self, kind: type[C]) -> C:
        """A client of any kind on the HTTP port."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(kind, "127.0.0.1", self.http_port)
        self._clients.append(client)
        return client

    async def connect_tls(self, context: ssl.SSLContext) -> Client:
        return await self._connect(self.tls_port, context)

    async def _connect(self, port: int, context: ssl.SSLContext | None) -> Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(Client, "127.0.0.1", port, ssl=context)
        self._clients.append(client)
        return client

    async def make_account(self, name: str, password: str = "correct horse") -> None:
        accounts = self.middle.accounts
        if await accounts.account(accounts.user_id(name)) is None:
            await accounts.register(name, password, address="test")

    async def bound(self, name: str, resource: str = "r") -> Client:
        """A client of an account, which is made if there is none; bound, without presence."""
        await self.make_account(name)
        client = await self.connect()
        await client.open()
        await client.log_in(name, "correct horse", resource)
        return client

    async def online(self, name: str, resource: str = "r") -> Client:
        """As bound(), with initial presence sent and everything that came of it read."""
        client = await self.bound(name, resource)
        client.send("<presence/>")
        await client.skip()
        return client

    async def fewer_than(self, count: int) -> None:
        """Until the server has noticed that a connection is gone."""
        deadline = time.monotonic() + PATIENCE_S
        for _ in iter(lambda: self.front.connections < count, True):
            assert time.monotonic() < deadline, "the server still has all connections"
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for client in self._clients:
            client.transport.close()


@asynccontextmanager
async def serve(
    config: Config = CONFIG,
    options: XmppOptions = OPTIONS,
    monotonic: Callable[[], float] = time.monotonic,
    tls: ClientTls | None = None,
    *,
    web: bool = False,
) -> AsyncIterator[TestServer]:
    """A running server; stopped at the end whatever happened. `web`: its clients connect by WebSocket."""
    middle = await build_middle(config, MemoryStore(), SigningKey("ed25519:t", bytes(32)), secret=bytes(32))
    stack = AsyncExitStack()
    media = await stack.enter_async_context(beside(config, middle, clock_ms))
    loop = asyncio.get_running_loop()
    components = [Component(one.name, one.secret, one.title) for one in config.xmpp.component]
    front = XmppFrontEnd(
        ServerName(config.server.name),
        middle.service,
        middle.reader,
        middle.accounts,
        middle.presence,
        middle.name_table,
        middle.hub,
        media.ports,
        middle.flusher,
        options,
        nodes=middle.nodes,
        secret=bytes(32),
        now_ms=clock_ms,
        monotonic=monotonic,
        tls=tls,
        components=components,
    )
    await front.start()
    listener = await loop.create_server(lambda: front.protocol(secure=False), "127.0.0.1", 0)
    over_tls = partial(front.protocol, secure=True)
    direct = await loop.create_server(
        lambda: over_tls() if tls is None else tls.layer(over_tls), "127.0.0.1", 0
    )
    ports = [s.sockets[0].getsockname()[1] for s in (listener, direct)]
    pages = XmppWeb(front, PUBLIC_URL)

    async def handle(request: Request) -> Response:
        return await pages.handle(request) or Response(404)

    def report(where: str, error: BaseException) -> None:
        raise AssertionError(where) from error

    http = HttpFront(
        handle,
        body_limit=1000,
        too_large=lambda _: Response(413),
        failed=lambda _: Response(500),
        report=report,
        proxies=("127.0.0.1",),
    )
    sock = bind("127.0.0.1", 0)
    await http.listen(sock)
    server = TestServer(middle, front, ports[0], ports[1], media, sock.getsockname()[1], web=web)
    try:
        yield server
    finally:
        await server.close()
        listener.close()
        direct.close()
        await http.close(0.1)
        await asyncio.wait_for(front.drain(), PATIENCE_S)
        await listener.wait_closed()
        await direct.wait_closed()
        await stack.aclose()
        await middle.close()


def with_limits(**limits: float) -> Config:
    """The test configuration with these limits."""
    return replace(CONFIG, limits=replace(NO_LIMITS, **limits))
