"""A whole server with the store in memory and a real IRC socket, and clients that speak raw lines to it."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

from tests.support.media import beside
from tripoint.accounts.passwords import make_hash
from tripoint.config.options import Accounts, Config, Limits, Server
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey
from tripoint.irc.frontend import IrcFrontEnd
from tripoint.irc.operators import Operator, Privilege
from tripoint.irc.options import IrcOptions
from tripoint.net.tls import ClientTls
from tripoint.runtime.media import MediaParts
from tripoint.runtime.middle import Middle, build_middle, clock_ms
from tripoint.store.memory import MemoryStore

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
    accounts=Accounts(registration="open", guests_per_address=1000, scram_iterations=10_000),
    limits=NO_LIMITS,
)
# An operator who may only kill, and whose password is one of its own.
HAL = Operator("hal", frozenset({Privilege.KILL}), "helps here", make_hash("open sesame", 10_000))
OPTIONS = IrcOptions(
    motd="Hello.\nWorld.",
    commands_per_s=0,
    connections_per_address=0,
    admin=("A cellar", "The tea society", "admin@example.org"),
    operators=(HAL,),
)
PATIENCE_S = 5.0


class Client:
    """One connection: sends lines, waits for lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.nick = ""
        self.seen: list[str] = []

    def send(self, *lines: str) -> None:
        for line in lines:
            self._writer.write(line.encode() + b"\r\n")

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def line(self) -> str:
        """The next line; EOFError at the end of the connection."""
        raw = await asyncio.wait_for(self._reader.readline(), PATIENCE_S)
        if not raw:
            raise EOFError
        assert raw.endswith(b"\r\n"), raw
        line = raw[:-2].decode()
        assert len(raw.partition(b" ")[2] if raw[:1] == b"@" else raw) <= 512
        self.seen.append(line)
        return line

    async def until(self, pattern: str) -> list[str]:
        """Lines up to and with the first that matches; the match is by search."""
        got: list[str] = []
        try:
            while True:
                got.append(await self.line())
                if re.search(pattern, got[-1]):
                    return got
        except (TimeoutError, EOFError) as error:
            raise AssertionError(f"{pattern!r} did not come; got {got}") from error

    async def expect(self, *lines: str) -> None:
        """Exactly these lines come next. ``*`` in one stands for anything."""
        for wanted in lines:
            try:
                got = await self.line()
            except (TimeoutError, EOFError) as error:
                raise AssertionError(f"nothing came where {wanted!r} was expected") from error
            pattern = re.escape(wanted).replace(r"\*", ".*")
            assert re.fullmatch(pattern, got), f"{got!r} came where {wanted!r} was expected"

    async def quiet(self) -> None:
        """Nothing has come: what a PING brings is the PONG and nothing before it."""
        self.send("PING quiet")
        await self.expect(f":{SERVER} PONG {SERVER} quiet")

    async def answer(self, *lines: str) -> list[str]:
        """What comes between these lines and the PONG to a PING behind them."""
        self.send(*lines, "PING done")
        return (await self.until(r"PONG \S+ done$"))[:-1]

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class TestServer:
    """The middle, the IRC front end and its port."""

    __test__ = False

    def __init__(self, middle: Middle, front: IrcFrontEnd, port: int, media: MediaParts) -> None:
        self.middle = middle
        self.media = media
        self.front = front
        self.port = port
        self._clients: list[Client] = []

    async def connect(self, context: ssl.SSLContext | None = None, name: str | None = None) -> Client:
        """`name`: what a client over TLS wants to reach; without one it has an address alone."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)
        client = Client(reader, writer)
        self._clients.append(client)
        return client

    async def guest(self, nick: str, *caps: str) -> Client:
        """A connected guest that has read everything up to the end of the MOTD."""
        client = await self.connect()
        if caps:
            client.send(f"CAP REQ :{' '.join(caps)}")
        client.send(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        if caps:
            client.send("CAP END")
        await client.until(r" 376 ")
        client.nick = nick
        return client

    async def account(self, name: str, *caps: str, password: str = "correct horse", admin: bool = False) -> Client:
        """A connected client of an account, which is made if there is none; SASL PLAIN."""
        user_id = self.middle.accounts.user_id(name)
        if await self.middle.accounts.account(user_id) is None:
            await self.middle.accounts.add_account(name, password, admin=admin)
        client = await self.connect()
        client.send(f"CAP REQ :{' '.join(('sasl', *caps))}", f"NICK {name}", f"USER {name} 0 * :{name}")
        client.send("AUTHENTICATE PLAIN")
        secret = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        client.send(f"AUTHENTICATE {secret}")
        await client.until(r" 903 ")
        client.send("CAP END")
        await client.until(r" 376 ")
        client.nick = name
        return client

    async def admin(self, name: str, *caps: str) -> Client:
        """A connected client of an administrator, who is an operator of the server already."""
        client = await self.account(name, *caps, admin=True)
        client.send(f"OPER {name} :correct horse")
        await client.until(r" 008 ")
        return client

    async def close(self) -> None:
        for client in self._clients:
            client._writer.close()


@asynccontextmanager
async def serve(
    config: Config = CONFIG,
    options: IrcOptions = OPTIONS,
    monotonic: Callable[[], float] = time.monotonic,
    tls: ClientTls | None = None,
) -> AsyncIterator[TestServer]:
    """A running server; stopped at the end whatever happened. `tls`: its listener speaks that."""
    middle = await build_middle(config, MemoryStore(), SigningKey("ed25519:t", bytes(32)), secret=bytes(32))
    stack = AsyncExitStack()
    media = await stack.enter_async_context(beside(config, middle, clock_ms))
    loop = asyncio.get_running_loop()
    front = IrcFrontEnd(
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
        secret=bytes(32),
        now_ms=clock_ms,
        monotonic=monotonic,
        end_point=None if tls is None else lambda: tls.end_point,
    )
    await front.start()
    make = partial(front.protocol, secure=tls is not None)
    listener = await loop.create_server(lambda: make() if tls is None else tls.layer(make), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server = TestServer(middle, front, port, media)
    try:
        yield server
    finally:
        await server.close()
        listener.close()
        await asyncio.wait_for(front.drain(), PATIENCE_S)
        await listener.wait_closed()
        await stack.aclose()
        await middle.close()


def with_limits(**limits: float) -> Config:
    """The test configuration with these limits."""
    return replace(CONFIG, limits=replace(NO_LIMITS, **limits))
