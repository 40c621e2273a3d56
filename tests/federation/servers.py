"""Whole tripoint servers in one process that find each other over TLS on loopback, names from a table."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.middle import UNLIMITED
from tripoint.config.options import Accounts, Config, Listen, Outbound, Server, Tls
from tripoint.core.ids import ServerName
from tripoint.matrix.errors import json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.net.resolver import SrvRecord
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

# Loopback, and nothing listens on its port 443: .well-known fails at once.
ADDRESS = "127.0.0.7"
TARGET = "target.example"
FREE = ("127.0.0.1:0",)


@dataclass
class Table:
    """net.discovery.Names: each server is found by SRV at the port it got."""

    ports: dict[str, int] = field(default_factory=dict)

    async def addresses(self, name: str) -> Sequence[str]:
        return ["127.0.0.1"] if name == TARGET else [ADDRESS]

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        service, _, server = name.partition("._tcp.")
        port = self.ports.get(server)
        return [SrvRecord(0, 0, port, TARGET)] if port is not None and service == "_matrix-fed" else []


class EchoEndpoints:
    """An endpoint for servers, as tests need one."""

    @endpoint("PUT", "/_matrix/federation/v1/echo/{word}", auth=Auth.SERVER)
    async def echo(self, call: Call) -> Response:
        return json_response({"origin": call.origin, "word": call.path["word"], "content": call.json()})

    @endpoint("GET", "/_matrix/federation/v1/echo/{word}", auth=Auth.SERVER)
    async def echo_query(self, call: Call) -> Response:
        return json_response({"origin": call.origin, "word": call.path["word"], "query": call.query("q")})


@dataclass
class Islands:
    """Servers that trust each other's self-made certificates."""

    folder: Path
    names: tuple[str, ...]
    table: Table = field(default_factory=Table)
    apps: dict[str, App] = field(default_factory=dict)

    def config(self, name: str, **changes: object) -> Config:
        config = Config(
            server=Server(name=name, data_dir=str(self.folder / name)),
            listen=Listen(http=FREE, irc=(), irc_tls=(), xmpp=(), xmpp_tls=(), federation=FREE, metrics=()),
            tls=Tls(extra_authorities=tuple(str(self.folder / one / "self-made.crt") for one in self.names)),
            accounts=Accounts(scram_iterations=10_000),
            limits=UNLIMITED,
            outbound=Outbound(allow_networks=("127.0.0.0/8",)),
        )
        return replace(config, **changes)  # type: ignore[arg-type]

    def make_certificates(self) -> None:
        for name in self.names:
            folder = DataDir(self.folder / name)
            folder.tls(self.config(name))
            folder.close()

    async def start(self, name: str, **changes: object) -> App:
        app = App(self.config(name, **changes), DataDir(self.folder / name), names=self.table)
        await app.start()
        app.matrix.listener._router.add(EchoEndpoints())
        self.apps[name] = app
        self.table.ports[name] = app.ports["federation"][0]
        return app

    async def stop(self, name: str) -> None:
        """The port stays in the table: others are refused there."""
        await self.apps.pop(name).stop()


@asynccontextmanager
async def islands(
    folder: Path, *names: str, start: Mapping[str, dict[str, object]] | None = None
) -> AsyncIterator[Islands]:
    """Servers of these names, started with changes to their configuration, stopped afterwards."""
    made = Islands(folder, names)
    made.make_certificates()
    try:
        for name in names:
            await made.start(name, **(start or {}).get(name, {}))
        yield made
    finally:
        await asyncio.gather(*(made.stop(name) for name in list(made.apps)))


def server(name: str) -> ServerName:
    return ServerName(name)
