"""A component that speaks raw XML, for tests."""

import asyncio

from tests.xmpp.server import PATIENCE_S, Client
from tripoint.xmpp.components.stream import handshake
from tripoint.xmpp.s2s.actions import as_client
from tripoint.xmpp.tables import COMPONENT_NS
from tripoint.xmpp.wire import Element

HEADER = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{}'>"


class Program(Client):
    """A component, or who says to be one."""

    async def stanza(self) -> Element:
        return as_client(await super().stanza(), COMPONENT_NS)

    async def header_of(self, name: str) -> str:
        """Open the stream; its id."""
        self.send(HEADER.format(name))
        while self.header is None:
            await asyncio.wait_for(self._news.wait(), PATIENCE_S)
            self._news.clear()
        assert self.header.id is not None
        return self.header.id

    async def prove(self, name: str, secret: str) -> None:
        """Open the stream and make the handshake."""
        self.send(f"<handshake>{handshake(await self.header_of(name), secret)}</handshake>")
        assert (await self.stanza()).name == "handshake"


async def connect(port: int) -> Program:
    program = Program()
    await asyncio.get_running_loop().create_connection(lambda: program, "127.0.0.1", port)
    return program


async def has(client: Client, *parts: str) -> str:
    """The next stanza, which holds all of these."""
    text = await client.xml()
    assert all(part in text for part in parts), (text, parts)
    return text
