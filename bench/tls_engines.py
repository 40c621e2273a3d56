"""What TLS costs with the standard library and with pyOpenSSL: CPU for each handshake and message, memory for each idle
connection.

    python -m bench.tls_engines [--connections 300] [--messages 20000]

Each engine serves lines in a process of its own, which echoes them; clients are the standard library's in this one.
The figures are the server's: CPU by getrusage, memory by the resident set.
"""

import argparse
import asyncio
import multiprocessing
import resource
import socket
import ssl
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

ENGINES = ("standard library", "pyOpenSSL")
LINE = b":alice!alice@example.org PRIVMSG #tea :" + b"x" * 90 + b"\r\n"


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]  # of a TCP connection, which can write


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _serve(engine: str, folder: str, pipe: Connection) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        own = ServerTls(Path(folder, "cert.pem"), Path(folder, "key.pem"))
        sock = socket.create_server(("127.0.0.1", 0))
        if engine == ENGINES[0]:
            server = await loop.create_server(Echo, sock=sock, ssl=own.context, backlog=1024)
        else:
            tls = ClientTls(own)
            server = await loop.create_server(lambda: tls.layer(Echo), sock=sock, backlog=1024)
        pipe.send(sock.getsockname()[1])
        while await loop.run_in_executor(None, pipe.recv):
            pipe.send((_cpu_s(), _resident_bytes()))
        server.close()

    uvloop.run(main())


async def _measure(port: int, pipe: Connection, connections: int, messages: int) -> tuple[float, float, float]:
    """µs for each handshake, µs for each message that comes and goes, bytes for each idle connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def ask() -> tuple[float, int]:
        pipe.send(True)
        cpu_s, resident = pipe.recv()
        return cpu_s, resident

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(LINE)
        await reader.readexactly(len(LINE))
        return reader, writer

    warm = [await connect() for _ in range(20)]
    before_s, before = ask()
    open_now = [await connect() for _ in range(connections)]
    after_s, after = ask()
    reader, writer = open_now[0]
    for _ in range(messages):
        writer.write(LINE)
        await reader.readexactly(len(LINE))
    done_s, _ = ask()
    for _, writer in warm + open_now:
        writer.close()
    return (
        (after_s - before_s) / connections * 1e6,
        (done_s - after_s) / messages * 1e6,
        (after - before) / connections,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=1, help="how often each is measured, in turns")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_self_signed(["localhost"], Path(folder, "cert.pem"), Path(folder, "key.pem"))
        for engine in ENGINES * args.times:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(target=_serve, args=(engine, folder, theirs))
            process.start()
            handshake, message, memory = uvloop.run(_measure(ours.recv(), ours, args.connections, args.messages))
            ours.send(False)
            process.join(10)
            print(f"{engine}: {handshake:.0f} µs a handshake, {message:.1f} µs a message, {memory / 1000:.1f} kB idle")


if __name__ == "__main__":
    main()
