"""Clients that log in by the extensible profile, with what comes with it. spec: XEP-0388, XEP-0386"""

import asyncio
import base64
from collections.abc import Awaitable, Callable

from tests.xmpp.server import Client, TestServer, serve
from tests.xmpp.test_listener import client_context
from tests.xmpp.test_management import SM
from tripoint.net.tls import ClientTls
from tripoint.xmpp.wire import Element

SASL2, BIND2 = "urn:xmpp:sasl:2", "urn:xmpp:bind:0"
PHONE, DESK = "d4565fa7-4d72-4749-b3d3-740edbf87770", "0f8fad5b-d9cb-469f-a165-70867728950e"


def on_server(tls: ClientTls, work: Callable[[TestServer], Awaitable[None]]) -> None:
    """`work` on a server with TLS, where alice and bob have accounts."""

    async def go() -> None:
        async with serve(tls=tls) as server:
            for name in ("alice", "bob"):
                await server.make_account(name)
            await work(server)

    asyncio.run(go())


async def log_in(server: TestServer, name: str, inside: str, agent: str = "") -> tuple[Client, Element]:
    """A client over TLS, and the <success/>; the features behind it are read where there are any."""
    client = await server.connect_tls(client_context())
    await client.open()
    first = base64.b64encode(f"\0{name}\0correct horse".encode()).decode()
    identified = f"<user-agent id='{agent}'><software>Awesome</software></user-agent>" if agent else ""
    client.send(
        f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>{first}</initial-response>"
        f"{identified}{inside}</authenticate>"
    )
    success = await client.stanza()
    assert success.name == "success", success
    client.jid = success.child_text("authorization-identifier", SASL2) or ""
    if success.child("resumed", SM[7:-1]) is None:
        assert (await client.stanza()).name == "features"
    return client, success


def bind(*inside: str, tag: str = "Awesome") -> str:
    return f"<bind xmlns='{BIND2}'><tag>{tag}</tag>{''.join(inside)}</bind>"
