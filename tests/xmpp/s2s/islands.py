"""Two whole servers in one process that find each other by a table of the DNS, over TLS on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.middle import UNLIMITED
from tests.xmpp.server import HEADER, SERVER, Client
from tripoint.config.options import Accounts, Config, Listen, Outbound, Server, Tls, Xmpp, XmppComponent
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.net.resolver import SrvRecord
from tripoint.rooms.commands import SendState
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

FREE = ("127.0.0.1:0",)
ONE, TWO = "one.example", "two.example"


@dataclass
class Table:
    """net.discovery.Names: domains to the port of their server; `direct`: TLS from the first byte there."""

    ports: dict[str, int] = field(default_factory=dict)
    direct: dict[str, int] = field(default_factory=dict)

    async def addresses(self, name: str) -> Sequence[str]:
        return ["127.0.0.1"] if name == "target.example" else []

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        service, _, domain = name.partition("._tcp.")
        ports = {"_xmpp-server": self.ports, "_xmpps-server": self.direct}.get(service, {})
        port = next((ports[known] for known in ports if domain == known or domain.endswith(f".{known}")), None)
        return [] if port is None else [SrvRecord(0, 0, port, "target.example")]


@dataclass
class Pair:
    """Both servers, and their clients."""

    folder: Path
    table: Table = field(default_factory=Table)
    apps: dict[str, App] = field(default_factory=dict)
    components: dict[str, tuple[XmppComponent, ...]] = field(default_factory=dict)

    def config(self, name: str, *, trusted: bool, dialback: bool, direct: bool) -> Config:
        authorities = tuple(str(self.folder / one / "self-made.crt") for one in (ONE, TWO)) if trusted else ()
        return Config(
            server=Server(name=name, data_dir=str(self.folder / name)),
            listen=Listen(
                http=(),
                irc=FREE,
                irc_tls=(),
                xmpp=FREE,
                xmpp_tls=(),
                federation=(),
                metrics=(),
                components=FREE,
                s2s=() if direct else FREE,
                s2s_tls=FREE if direct else (),
            ),
            tls=Tls(extra_authorities=authorities),
            accounts=Accounts(registration="open", scram_iterations=10_000),
            limits=replace(UNLIMITED, xmpp_stanzas_per_s=0),
            outbound=Outbound(allow_networks=("127.0.0.0/8",)),
            xmpp=Xmpp(dialback=dialback, component=self.components.get(name, ())),
        )

    async def start(self, **how: bool) -> None:
        settings = {"trusted": True, "dialback": True, "direct": False, **how}
        for name in (ONE, TWO):
            made = DataDir(self.folder / name)
            made.tls(self.config(name, **settings))
            made.close()
        for name in (ONE, TWO):
            app = App(self.config(name, **settings), DataDir(self.folder / name), names=self.table)
            self.apps[name] = app
            await app.start()
            if settings["direct"]:
                self.table.direct[name] = app.ports["s2s_tls"][0]
            else:
                self.table.ports[name] = app.ports["s2s"][0]

    async def client(self, name: str, server: str, resource: str = "r") -> Client:
        """A client that is logged in and has sent its presence."""
        app = self.apps[server]
        await app.middle.accounts.add_account(name, "secret-password", admin=False)
        return await self.again(name, server, resource)

    async def again(self, name: str, server: str, resource: str = "r") -> Client:
        loop = asyncio.get_running_loop()
        client = Client()
        client.server = server
        await loop.create_connection(lambda: client, "127.0.0.1", self.apps[server].ports["xmpp"][0])
        header = HEADER.replace(SERVER, server)
        await client.open(header)
        await client.authenticate(name, "secret-password")
        await client.open(header)
        await client.bind(resource)
        client.send("<presence/>")
        await client.expect("<presence…/>")
        return client

    async def room_id(self, server: str, name: str) -> RoomId:
        """The room with this local alias."""
        found = await self.apps[server].middle.reader.resolve_alias(RoomAlias(f"#{name}:{server}"))
        assert found is not None
        return found

    async def state(self, server: str, name: str, room_id: RoomId, type_: str, content: JsonObject) -> None:
        """Set state as a user of that server does by Matrix."""
        command = SendState(
            actor=UserId(f"@{name}:{server}"), room_id=room_id, type=type_, state_key="", content=content
        )
        await self.apps[server].middle.service.do(command)

    async def stop(self) -> None:
        for app in self.apps.values():
            await app.stop()


@asynccontextmanager
async def two_servers(
    folder: Path, components: dict[str, tuple[XmppComponent, ...]] | None = None, **how: bool
) -> AsyncIterator[Pair]:
    pair = Pair(folder, components=components or {})
    try:
        await pair.start(**how)
        yield pair
    finally:
        await pair.stop()


def run(folder: Path, work: Callable[[Pair], Awaitable[None]], **how: bool) -> None:
    """`work` with two servers, bounded."""

    async def main() -> None:
        async with two_servers(folder, **how) as pair:
            await work(pair)

    asyncio.run(asyncio.wait_for(main(), 60))
