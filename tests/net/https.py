"""HTTPS servers for tests: each answers as its test says, well or badly, with a certificate made for the test."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tripoint.net.tls import make_self_signed

Speak = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Certificate:
    """A certificate for some names; `path` is what a client has to trust."""

    path: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def make_certificate(folder: Path, *names: str) -> Certificate:
    """A new self-signed certificate in `folder`."""
    base = folder / names[0].replace(":", "_")
    certificate = Certificate(base.with_suffix(".crt"), base.with_suffix(".key"))
    make_self_signed(list(names), certificate.path, certificate.key)
    return certificate


@dataclass
class HttpsServer:
    """A running server. `heads`: what came in, one head of a request each; `connections`: how many there were."""

    port: int
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def https_server(
    certificate: Certificate, speak: Speak, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[HttpsServer]:
    """A server on loopback that hands the head of each request to `speak`."""
    running = HttpsServer(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                running.heads.append(head)
                await speak(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=certificate.context())
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> Speak:
    """Always this answer."""

    async def speak(head: bytes, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{line}\r\n" for line in headers)
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body)
        await writer.drain()

    return speak
