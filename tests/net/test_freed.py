"""What ends is freed at once, and not once Python looks for garbage."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.irc.server import serve
from tests.net.test_http import exchange, site
from tests.support.middle import run
from tests.xmpp.server import serve as serve_xmpp
from tripoint.irc.listener import IrcProtocol
from tripoint.irc.session import IrcSession
from tripoint.net.http_connection import HttpConnection
from tripoint.xmpp.listener import XmppProtocol
from tripoint.xmpp.stream import ClientStream


@asynccontextmanager
async def freed(*kinds: type) -> AsyncIterator[None]:
    """Nothing of these kinds is left behind by what happens in here."""
    gc.collect()
    gc.disable()
    try:
        yield
        async with asyncio.timeout(10):
            while any(type(one) in kinds for one in gc.get_objects()):  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


def test_irc() -> None:
    async def work() -> None:
        async with serve() as server, freed(IrcProtocol, IrcSession):
            for number in range(3):
                gus = await server.guest(f"gus{number}")
                gus.send("JOIN #tea", "PRIVMSG #tea :hello")
                await gus.until(" 366 ")
                await gus.close()

    run(work)


def test_xmpp() -> None:
    async def work() -> None:
        async with serve_xmpp() as server, freed(XmppProtocol, ClientStream):
            for _ in range(3):
                alice = await server.online("alice")
                await alice.join("tea@rooms.example.org", "alice")
                await alice.close()
            server._clients.clear()

    run(work)


def test_http() -> None:
    async def work() -> None:
        async with site() as made, freed(HttpConnection):
            for _ in range(3):
                answer = await exchange(made, b"GET /abc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200")

    run(work)
