"""Two servers that speak to each other both as Matrix and as XMPP servers, and people on all three protocols."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.cross.world import World, config
from tests.federation.servers import ADDRESS, FREE, TARGET
from tripoint.config.options import Outbound, Tls
from tripoint.net.resolver import SrvRecord
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir
from tripoint.store.memory import MemoryStore


@dataclass
class Names:
    """net.discovery.Names: both SRV records of each server; its rooms are at the same port."""

    federation: dict[str, int] = field(default_factory=dict)
    s2s: dict[str, int] = field(default_factory=dict)

    async def addresses(self, name: str) -> Sequence[str]:
        return ["127.0.0.1"] if name == TARGET else [ADDRESS]

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        service, _, server = name.partition("._tcp.")
        ports = {"_matrix-fed": self.federation, "_xmpp-server": self.s2s}.get(service, {})
        port = ports.get(server.removeprefix("rooms."))
        return [] if port is None else [SrvRecord(0, 0, port, TARGET)]


@asynccontextmanager
async def linked(folder: Path, *names: str, trusted: bool = True) -> AsyncIterator[dict[str, World]]:
    """Running servers of these names. `trusted`: each verifies the certificates of the others."""
    table = Names()
    authorities = tuple(str(folder / name / "self-made.crt") for name in names) if trusted else ()
    made: dict[str, World] = {}
    configs = {}
    for name in names:
        one = config(folder / name, listening=False, name=name)
        one = replace(
            one,
            listen=replace(one.listen, federation=FREE, s2s=FREE),
            tls=Tls(extra_authorities=authorities),
            outbound=Outbound(allow_networks=("127.0.0.0/8",)),
        )
        configs[name] = one
        data = DataDir(folder / name)
        data.tls(replace(one, tls=Tls()))
        data.close()
    try:
        for name, one in configs.items():
            app = App(one, DataDir(folder / name), MemoryStore(), names=table)
            await app.start()
            table.federation[name] = app.ports["federation"][0]
            table.s2s[name] = app.ports["s2s"][0]
            made[name] = World(app, sockets=False)
        yield made
    finally:
        for at in made.values():
            await at.close()
        for at in made.values():
            await at.app.stop()
