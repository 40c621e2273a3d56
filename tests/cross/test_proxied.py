"""A server behind a proxy that says who connects: addresses, and passwords where the proxy's own TLS carried them.

spec: the PROXY protocol 2 (haproxy.org); docs/mapping.md 9.4
"""

import asyncio
import base64
import contextlib
import socket
import ssl
from dataclasses import replace
from pathlib import Path

from tests.cross.world import PASSWORD, PATIENCE_S, SERVER, config
from tests.net.client_certificates import client_context, made_client
from tests.net.test_proxy_header import TLS_SAID, V4, v2
from tripoint.core.server_bans import BanKind, ServerBan
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

FROM_192_0_2_1 = b"PROXY TCP4 192.0.2.1 198.51.100.9 5000 6667\r\n"
_STREAM = (
    f"<?xml version='1.0'?><stream:stream to='{SERVER}' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
).encode()


async def _ask(app: App, protocol: str, data: bytes, until: bytes) -> bytes:
    """What is answered up to these bytes, or to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.ports[protocol][0])
    got = b""
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionResetError):  # what it had not read is thrown away with the connection
            async with asyncio.timeout(PATIENCE_S):
                while until not in got and (piece := await reader.read(4096)):
                    got += piece
    finally:
        writer.close()
    return got


def _offered_over_tls(port: int, context: ssl.SSLContext) -> bytes:
    """The mechanisms that a client is offered whose TLS a proxy passes on."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        sock.sendall(FROM_192_0_2_1)
        with context.wrap_socket(sock) as tls, tls.makefile("rwb") as lines:
            lines.write(b"CAP LS 302\r\n")
            lines.flush()
            return next(word for line in lines for word in line.split() if word.startswith(b"sasl="))


def test_a_certificate_that_a_proxy_passes_on(tmp_path: Path) -> None:
    """Where its TLS is passed through, a client is asked for a certificate as it is without a proxy."""

    async def run() -> None:
        made = config(tmp_path / "data", listening=True)
        made = replace(made, listen=replace(made.listen, irc_tls=("127.0.0.1:0",), proxy_protocol=("127.0.0.0/8",)))
        app = App(made, DataDir(tmp_path / "data"))
        await app.start()
        try:
            context, _ = made_client(tmp_path, "phone")
            loop, port = asyncio.get_running_loop(), app.ports["irc_tls"][0]
            offered = await loop.run_in_executor(None, _offered_over_tls, port, context)
            assert offered == b"sasl=EXTERNAL,SCRAM-SHA-256-PLUS,SCRAM-SHA-256,PLAIN,OAUTHBEARER"
            await app.reload(made)
            offered = await loop.run_in_executor(None, _offered_over_tls, port, client_context())
            assert offered.startswith(b"sasl=SCRAM-SHA-256-PLUS")
        finally:
            await asyncio.wait_for(app.stop(), PATIENCE_S)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_who_a_proxy_speaks_for(tmp_path: Path) -> None:
    async def run() -> None:
        made = config(tmp_path / "data", listening=True)
        made = replace(made, listen=replace(made.listen, proxy_protocol=("127.0.0.0/8",)))
        app = App(made, DataDir(tmp_path / "data"))
        await app.start()
        try:
            await app.middle.accounts.register("alice", PASSWORD, address="x")
            login = b"NICK gus\r\nUSER gus 0 * :gus\r\nWHOIS gus\r\nQUIT\r\n"
            told = await _ask(app, "irc", FROM_192_0_2_1 + login, b"ERROR")
            assert b" 338 gus gus 192.0.2.1 :is actually using host" in told
            assert await _ask(app, "irc", login, b"ERROR") == b""

            # Passwords are for TLS: the proxy's counts, where it says that it was.
            secret = base64.b64encode(f"\0alice\0{PASSWORD}".encode())
            sasl = b"CAP LS 302\r\nCAP REQ sasl\r\nAUTHENTICATE PLAIN\r\nAUTHENTICATE " + secret + b"\r\n"
            told = await _ask(app, "irc", FROM_192_0_2_1 + sasl, b" 904 ")
            assert b" 904 " in told and b"PLAIN" not in told
            told = await _ask(app, "irc", v2(V4 + TLS_SAID) + sasl, b" 903 ")
            assert b" 903 " in told
            # Channel binding would be to the proxy's certificate, which is not ours.
            assert b"SCRAM-SHA-256-PLUS" not in told
            features = await _ask(app, "xmpp", FROM_192_0_2_1 + _STREAM, b"</stream:features>")
            assert b"<required/>" in features and b"PLAIN" not in features
            features = await _ask(app, "xmpp", v2(V4 + TLS_SAID) + _STREAM, b"</stream:features>")
            assert b"<mechanism>PLAIN</mechanism>" in features and b"-PLUS" not in features

            await app.middle.accounts.bans.put(ServerBan(BanKind.DLINE, "192.0.2.0/24", "", "@op:example.org", 0))
            for header in (FROM_192_0_2_1, v2(V4)):
                told = await _ask(app, "irc", header + login, b"ERROR")
                assert told.startswith(b"ERROR :Closing link: You are banned from this server")
                assert b"<policy-violation" in await _ask(app, "xmpp", header + _STREAM, b"policy-violation")
        finally:
            await asyncio.wait_for(app.stop(), PATIENCE_S)

    asyncio.run(asyncio.wait_for(run(), 60))
