"""One server and people on all three protocols, for scripts: in memory, or over real sockets on SQLite.

In memory the bytes go through pipes instead of sockets and requests straight into the listener; everything
between is the server as it runs. The same scripts pass on both.
"""

import asyncio
import base64
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from tests.federation.servers import FREE, Table
from tests.support.media import ORIGIN, body_of
from tests.support.middle import UNLIMITED
from tripoint.accounts.ports import Account
from tripoint.config.options import Accounts, Config, Irc, Limits, Listen, Media, Operator, Outbound, Server, Tls
from tripoint.net.http import Request, Response
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir
from tripoint.store.memory import MemoryStore
from tripoint.xmpp.wire import Broken, Element, StreamOpened, StreamParser, render

SERVER = "example.org"
ROOMS = f"rooms.{SERVER}"
PASSWORD = "correct horse"
PATIENCE_S = 20.0
LIMITS = replace(
    UNLIMITED, connections_per_address=0, irc_commands_per_s=0, xmpp_stanzas_per_s=0, rooms_per_account=500
)


def config(folder: Path, *, listening: bool, limits: Limits = LIMITS, name: str = SERVER) -> Config:
    """Everything on free ports of loopback; nothing listens in memory."""
    free = ("127.0.0.1:0",) if listening else ()
    return Config(
        server=Server(name=name, data_dir=str(folder)),
        accounts=Accounts(registration="open", scram_iterations=10_000, guests_per_address=100),
        limits=limits,
        irc=Irc(operator=(Operator("opal"),)),
        media=Media(public_url=ORIGIN, upload_bytes=5_000_000),
        listen=Listen(http=free, irc=free, irc_tls=free, xmpp=free, xmpp_tls=free, federation=(), metrics=()),
    )


class Pipe(asyncio.Transport):
    """One direction of a connection without a socket: what is written arrives on the other side next turn."""

    def __init__(self, receiver: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self.other: Pipe | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._loop.call_soon(self._receiver.data_received, bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        """A pipe is read as fast as it is written."""

    def resume_reading(self) -> None:
        """See pause_reading."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        raise AssertionError("no TLS in memory")

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._receiver.connection_lost, None)
            if self.other is not None and not self.other._closing:
                self.other._closing = True
                self._loop.call_soon(self.other._receiver.connection_lost, None)

    def abort(self) -> None:
        self.close()


class Wire(asyncio.Protocol):
    """The client's end of a connection: bytes in order of arrival."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.ended = False
        self.news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.news.set()

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    async def more(self) -> None:
        """Wait for more bytes; EOFError at the end."""
        if self.ended:
            raise EOFError
        self.news.clear()
        await asyncio.wait_for(self.news.wait(), PATIENCE_S)


class Person(Protocol):
    """What a script can do with one client."""

    async def send(self, text: str) -> None: ...
    async def next(self) -> str:
        """The next thing that came, as text."""

    async def pending(self) -> list[str]:
        """Everything that has come and was not looked at."""


class IrcPerson:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pings = 0

    async def send(self, text: str) -> None:
        self._wire.send(text.encode("utf-8", "surrogateescape") + b"\r\n")

    async def next(self) -> str:
        while b"\r\n" not in self._wire.buffer:
            await self._wire.more()
        line, _, self._wire.buffer = self._wire.buffer.partition(b"\r\n")
        return line.decode()

    async def pending(self) -> list[str]:
        self._pings += 1
        await self.send(f"PING :pending{self._pings}")
        lines = []
        while True:
            line = await self.next()
            if line.endswith(f"pending{self._pings}"):
                return lines
            lines.append(line)

    async def log_in(self, name: str, caps: list[str]) -> None:
        secret = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
        await self.send(f"CAP REQ :{' '.join(['sasl', *caps])}")
        await self.send(f"NICK {name}\r\nUSER {name} 0 * :{name}\r\nAUTHENTICATE PLAIN")
        await self.send(f"AUTHENTICATE {secret}\r\nCAP END")
        await self.welcome()

    async def come_as_guest(self, nick: str, caps: list[str]) -> None:
        if caps:
            await self.send(f"CAP REQ :{' '.join(caps)}")
        await self.send(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}" + ("\r\nCAP END" if caps else ""))
        await self.welcome()

    async def welcome(self) -> None:
        while " 376 " not in await self.next():
            pass


class XmppPerson:
    def __init__(self, wire: Wire, domain: str = SERVER) -> None:
        self._wire = wire
        self._domain = domain
        self._parser = StreamParser()
        self._waiting: deque[Element] = deque()
        self._ended = False
        self._pings = 0

    async def send(self, text: str) -> None:
        self._wire.send(text.encode())

    async def next(self) -> str:
        return render(await self.stanza()).decode()

    async def stanza(self) -> Element:
        while not self._waiting:
            if self._ended:
                raise EOFError
            if not self._wire.buffer:
                await self._wire.more()
            data, self._wire.buffer = self._wire.buffer, b""
            for event in self._parser.receive(data):
                assert not isinstance(event, Broken), event
                if isinstance(event, Element):
                    self._waiting.append(event)
                elif not isinstance(event, StreamOpened):
                    self._ended = True
        return self._waiting.popleft()

    async def pending(self) -> list[str]:
        self._pings += 1
        mark = f"pending{self._pings}"
        await self.send(f"<iq type='get' id='{mark}' to='{self._domain}'><ping xmlns='urn:xmpp:ping'/></iq>")
        found = []
        while True:
            stanza = await self.stanza()
            if stanza.get("id") == mark:
                return found
            found.append(render(stanza).decode())

    async def open(self) -> None:
        self._parser = StreamParser()
        await self.send(
            f"<?xml version='1.0'?><stream:stream to='{self._domain}' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        )
        await self.stanza()

    async def log_in(self, name: str, caps: list[str]) -> None:
        await self.open()
        secret = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
        await self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
        assert (await self.stanza()).name == "success"
        await self.open()
        await self.send(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            "<resource>desk</resource></bind></iq>"
        )
        assert (await self.stanza()).get("type") == "result"
        if "silent" not in caps:
            await self.send("<presence/>")
            await self.pending()


_ALIAS = re.compile(r"\{(#[^}]*)\}")


class MatrixPerson:
    """Sends `METHOD path[?query] [body]`, with `{#tea}` for the room of an alias in both. Hears timeline events."""

    def __init__(self, world: "World", token: str, user_id: str) -> None:
        self._world = world
        self._token = token
        self.user_id = user_id
        self._since = ""
        self._events: deque[str] = deque()
        self._txn = 0
        self.answer: Any = None
        self.asked = ""

    async def call(self, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
        return await self._world.http(method, path, body, self._token, query)

    async def send(self, text: str) -> None:
        """`say ALIAS text`, or `METHOD path [body]`; the answer stands in `answer` (status, body)."""
        self.asked = text
        if text.startswith("say "):
            _, alias, words = text.split(" ", 2)
            self._txn += 1
            body: Any = orjson.loads(words) if words.startswith("{") else {"msgtype": "m.text", "body": words}
            path = f"/rooms/{{{alias}}}/send/m.room.message/t{self._txn}"
            method = "PUT"
        else:
            method, path, *rest = text.split(" ", 2)
            written = rest[0] if rest else ""
            for alias in _ALIAS.findall(written):
                written = written.replace(f"{{{alias}}}", await self._room(alias))
            body = orjson.loads(written) if rest else None
        for alias in _ALIAS.findall(path):
            path = path.replace(f"{{{alias}}}", quote(await self._room(alias), safe=""))
        path = re.sub(r"<([^>]*)>", lambda match: quote(match[1], safe=""), path)
        path, _, query = path.partition("?")
        self.answer = await self.call(method, path, body, query)

    async def _room(self, alias: str) -> str:
        status, found = await self.call("GET", f"/directory/room/{quote(alias, safe='')}")
        assert status == 200, f"{alias}: {found}"
        return str(found["room_id"])

    async def start(self) -> None:
        """Forget what happened so far: later events are heard."""
        _, body = await self.call("GET", "/sync")
        self._since = body["next_batch"]

    async def next(self) -> str:
        while not self._events:
            before = self._since
            await self._sync(5000)
            if not self._events and before == self._since:
                raise TimeoutError
        return self._events.popleft()

    async def pending(self) -> list[str]:
        await self._sync(0)
        found = list(self._events)
        self._events.clear()
        return found

    async def _sync(self, timeout_ms: int) -> None:
        # All of what happened since: a burst of more than the default page would be `limited`, and cut.
        whole = quote('{"room":{"timeline":{"limit":1000}}}')
        query = f"since={self._since}&timeout={timeout_ms}&filter={whole}"
        status, body = await asyncio.wait_for(self.call("GET", "/sync", None, query), PATIENCE_S)
        assert status == 200, body
        self._since = body["next_batch"]
        rooms = body.get("rooms", {})
        for section in ("join", "leave"):
            for room in rooms.get(section, {}).values():
                # Rooms that are new to us bring their past along: only what happens from now on is heard.
                for event in room["timeline"]["events"]:
                    self._events.append(orjson.dumps(event).decode())
        for room_id, room in rooms.get("invite", {}).items():
            mine = [e for e in room["invite_state"]["events"] if e.get("state_key") == self.user_id]
            self._events.append(orjson.dumps({"invited_to": room_id, "sender": mine[0]["sender"]}).decode())


class WebPerson:
    """Sends `METHOD address [type filename text]`, with the account's password, or its token where Matrix is asked.

    Nothing comes by itself.
    """

    def __init__(self, world: "World", name: str, token: str) -> None:
        self._world = world
        self._basic = "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
        self._bearer = f"Bearer {token}"
        self.answer: tuple[int, str] = (0, "")

    async def send(self, text: str) -> None:
        method, url, *more = text.split(" ", 4)
        headers = {"authorization": self._bearer if url.startswith("/_matrix/") else self._basic}
        body = b""
        if more:
            kind, filename, words = more
            headers |= {"content-type": kind, "content-disposition": f'attachment; filename="{filename}"'}
            body = words.encode()
        if url.startswith(f"{ORIGIN}/m/"):
            del headers["authorization"]
        status, _, answer = await self._world.web(method, url, body, headers)
        self.answer = (status, answer.decode("utf-8", "replace").removesuffix("\n"))

    async def next(self) -> str:
        raise TimeoutError

    async def pending(self) -> list[str]:
        return []


class Link:
    """What is between the servers of a script: what one asks of another waits while it is cut."""

    def __init__(self) -> None:
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def between(self, app: App) -> None:
        """From now on this server answers others as the link lets it."""
        answer = app.matrix.listener.handle_federation

        async def later(request: Request) -> Response:
            await self._whole.wait()
            return await answer(request)

        app.matrix.listener.handle_federation = later  # type: ignore[method-assign]


class World:
    """A server; `sockets` says whether people come over real ones."""

    def __init__(self, app: App, *, sockets: bool) -> None:
        self.app = app
        self.name = app.config.server.name
        self._sockets = sockets
        self.link = Link()  # to the other servers, where there are some
        self._wires: list[Wire] = []
        self._made: set[str] = set()

    async def _account(self, name: str) -> None:
        accounts = self.app.middle.accounts
        if await accounts.account(accounts.user_id(name)) is None:
            await accounts.register(name, PASSWORD, address="127.0.0.1")

    async def _known(self, name: str) -> Account:
        accounts = self.app.middle.accounts
        account = await accounts.account(accounts.user_id(name))
        assert account is not None
        return account

    async def connect(self, protocol: str) -> Wire:
        """A new connection to the plain port of irc or xmpp."""
        wire = Wire()
        self._wires.append(wire)
        if self._sockets:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: wire, "127.0.0.1", self.app.ports[protocol][0])
            return wire
        front = self.app.irc if protocol == "irc" else self.app.xmpp
        served = front.protocol(secure=False)
        to_server, to_client = Pipe(served), Pipe(wire)
        to_server.other, to_client.other = to_client, to_server
        wire.connection_made(to_server)
        served.connection_made(to_client)
        return wire

    async def person(self, name: str, protocol: str, kind: str, caps: list[str]) -> Person:
        """`kind`: account (made if there is none), admin (made), guest, or stranger: connected and nobody yet."""
        if kind == "admin":
            await self.app.middle.accounts.add_account(name, PASSWORD, admin=True)
            kind = "account"
        if kind == "account":
            await self._account(name)
        if protocol == "matrix" and kind == "stranger":
            return MatrixPerson(self, "", "")
        if protocol == "matrix":
            body = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": name},
                "password": PASSWORD,
            }
            status, answer = await self.http("POST", "/login", body, None, "")
            assert status == 200, answer
            someone = MatrixPerson(self, answer["access_token"], answer["user_id"])
            await someone.start()
            return someone
        if protocol == "web":
            opened = await self.app.middle.accounts.log_in(
                await self._known(name), protocol="matrix", device_id="WEB", tokens=True
            )
            assert opened.access_token is not None
            return WebPerson(self, name, opened.access_token)
        wire = await self.connect(protocol)
        if protocol == "irc":
            chatter = IrcPerson(wire)
            if kind == "stranger":
                return chatter
            await (chatter.come_as_guest(name, caps) if kind == "guest" else chatter.log_in(name, caps))
            return chatter
        assert protocol == "xmpp", protocol
        jabberer = XmppPerson(wire, self.name)
        await (jabberer.open() if kind == "stranger" else jabberer.log_in(name, caps))
        return jabberer

    async def http(self, method: str, path: str, body: Any, token: str | None, query: str) -> tuple[int, Any]:
        """A Matrix request; (status, body)."""
        data = b"" if body is None else orjson.dumps(body)
        address = path if path.startswith("/_synapse/") else f"/_matrix/client/v3{path}"
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        if not self._sockets:
            request = Request(method, address, query.encode(), headers, data, "127.0.0.1")
            response = await self.app.matrix.listener.handle(request)
            return response.status, orjson.loads(response.body)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.app.ports["http"][0])
        target = f"{address}?{query}" if query else address
        head = f"{method} {target} HTTP/1.1\r\nhost: {SERVER}\r\nconnection: close\r\ncontent-length: {len(data)}\r\n"
        lines = "".join(f"{key.decode()}: {value.decode()}\r\n" for key, value in headers)
        writer.write(head.encode() + lines.encode() + b"\r\n" + data)
        answer = await reader.read()
        writer.close()
        top, _, rest = answer.partition(b"\r\n\r\n")
        return int(top.split(b" ", 2)[1]), orjson.loads(rest)

    async def web(
        self, method: str, url: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Any request: an address that was given out, or a path. (status, headers, body)"""
        target = url.removeprefix(ORIGIN)
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if not self._sockets:
            path, _, query = target.partition("?")
            request = Request(method, path, query.encode(), sent, data, "127.0.0.1")
            response = await self.app.matrix.listener.handle(request)
            found = {name.decode(): value.decode() for name, value in response.headers}
            return response.status, found, await body_of(response)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.app.ports["http"][0])
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in sent)
        head = f"{method} {target} HTTP/1.1\r\nhost: {SERVER}\r\nconnection: close\r\ncontent-length: {len(data)}\r\n"
        writer.write(head.encode() + lines + b"\r\n" + data)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        top, _, body = answer.partition(b"\r\n\r\n")
        first, *rest = top.decode().split("\r\n")
        return int(first.split(" ", 2)[1]), dict(line.split(": ", 1) for line in rest), body

    async def close(self) -> None:
        for wire in self._wires:
            if wire.transport is not None:
                wire.transport.close()


@asynccontextmanager
async def worlds(folder: Path, names: Sequence[str], *, sockets: bool) -> AsyncIterator[dict[str, World]]:
    """Running servers of these names that find each other, over TLS on loopback whatever their people come by."""
    table, link = Table(), Link()
    trusted = tuple(str(folder / name / "self-made.crt") for name in names)
    made: dict[str, World] = {}
    configs = {}
    for name in names:
        one = config(folder / name, listening=sockets, name=name)
        one = replace(
            one,
            listen=replace(one.listen, federation=FREE),
            tls=Tls(extra_authorities=trusted),
            outbound=Outbound(allow_networks=("127.0.0.0/8",)),
        )
        configs[name] = one
        data = DataDir(folder / name)
        data.tls(replace(one, tls=Tls()))
        data.close()
    try:
        for name, one in configs.items():
            app = App(one, DataDir(folder / name), None if sockets else MemoryStore(), names=table)
            await app.start()
            table.ports[name] = app.ports["federation"][0]
            made[name] = World(app, sockets=sockets)
            made[name].link = link
            link.between(app)
        yield made
    finally:
        link.mend()
        for at in made.values():
            await at.close()
        await asyncio.wait_for(asyncio.gather(*(at.app.stop() for at in made.values())), PATIENCE_S)


@asynccontextmanager
async def world(
    folder: Path,
    *,
    sockets: bool,
    limits: Limits = LIMITS,
    store: MemoryStore | None = None,
    change: Callable[[Config], Config] = lambda config: config,
) -> AsyncIterator[World]:
    """A running server, stopped at the end whatever happened. `store` stands in for the one in memory; `change` makes
    its configuration another one."""
    if not sockets and store is None:
        store = MemoryStore()
    made_so = change(config(folder, listening=sockets, limits=limits))
    app = App(made_so, DataDir(folder), store, names=Table())
    await app.start()
    made = World(app, sockets=sockets)
    try:
        yield made
    finally:
        await made.close()
        await asyncio.wait_for(app.stop(), PATIENCE_S)
