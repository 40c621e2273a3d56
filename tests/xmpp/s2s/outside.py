"""One server, and all others as a hand that writes their stanzas: what is sent to them is kept here.

Clocks are moved by the test.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.xmpp.s2s.islands import ONE, Pair
from tests.xmpp.server import Client
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir
from tripoint.xmpp.wire import Element, parse_fragment

MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


class Outside(Pair):
    """`sent`: (to whose domain, stanza), in order, since the last look."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sent: list[tuple[str, str]] = []
        self.passed_s = 0.0

    async def start_one(self, folder: Path | None = None) -> App:
        config = self.config(ONE, trusted=False, dialback=True, direct=False)
        if folder is not None:
            config = replace(config, server=replace(config.server, data_dir=str(folder)))
        directory = DataDir(Path(config.server.data_dir))
        directory.tls(config)
        app = App(config, directory, names=self.table)
        self.apps[ONE] = app
        await app.start()
        front = app.xmpp
        assert front.servers is not None
        front.servers.links.send = self._sent
        foreigners = front.foreigners
        doors = foreigners._doors
        timed = replace(
            doors,
            now_ms=lambda: doors.now_ms() + int(self.passed_s * 1000),
            monotonic=lambda: doors.monotonic() + self.passed_s,
        )
        foreigners._doors = foreigners._absences._doors = timed
        return app

    def _sent(self, ours: str, theirs: str, stanza: bytes, original: Element | None) -> None:
        self.sent.append((theirs, stanza.decode()))

    async def says(self, xml: str) -> str:
        """A stanza of another server, handled; what was sent abroad meanwhile."""
        servers = self.apps[ONE].xmpp.servers
        assert servers is not None and servers.deliver is not None
        (stanza,) = parse_fragment(xml)
        await servers.deliver(stanza)
        return self.heard()

    def heard(self) -> str:
        """What was sent abroad since the last look."""
        sent, self.sent = self.sent, []
        return "".join(stanza for _, stanza in sent)

    async def enter(self, who: str, room: str, nick: str) -> str:
        return await self.says(f"<presence from='{who}' to='{room}/{nick}'>{MUC}</presence>")

    async def pass_s(self, seconds: float, *alive: tuple[str, str]) -> None:
        """Time passes, and the sweep comes twice. `alive`: who asks a room meanwhile whether he is in it."""
        for _ in range(2):
            self.passed_s += seconds / 2
            for who, room in alive:
                await self.says(f"<iq from='{who}' to='{room}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
            self.apps[ONE].xmpp.sweep()
            await self.apps[ONE].xmpp.settled()

    def foreigners(self) -> list[str]:
        return sorted(self.apps[ONE].xmpp.foreigners._foreigners)


@asynccontextmanager
async def outside(folder: Path) -> AsyncIterator[Outside]:
    world = Outside(folder)
    await world.start_one()
    try:
        yield world
    finally:
        await world.stop()


def play(folder: Path, work: Callable[[Outside], Awaitable[None]]) -> None:
    """`work` with one server and no other, bounded."""

    async def main() -> None:
        async with outside(folder) as world:
            await work(world)

    asyncio.run(asyncio.wait_for(main(), 120))


async def owner_in(world: Outside, room: str, name: str = "alice") -> Client:
    """A local owner in an open room."""
    owner = await world.client(name, ONE)
    await owner.join(room, name)
    x = "<x xmlns='jabber:x:data' type='submit'/>"
    query = f"<query xmlns='http://jabber.org/protocol/muc#owner'>{x}</query>"
    assert "type='result'" in await owner.ask(f"<iq type='set' id='o' to='{room}'>{query}</iq>")
    await owner.skip()
    return owner
