"""What a connection costs that is logged in and does nothing: memory of the server, per connection.

    python -m bench.idle_connections [irc|irc_tls|xmpp] [--count 2000] [--trace]

A server in a process of its own with SQLite and no limits; on IRC guests who have read their welcome, on XMPP bound
resources of accounts, twenty each, who have sent their presence. The resident set before and after; with --trace the
lines of the code that hold the memory (tracemalloc, which makes the rest look larger).
"""

import argparse
import asyncio
import base64
import gc
import multiprocessing
import resource
import ssl
import tempfile
import tracemalloc
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from tripoint.config.options import Accounts, Config, Limits, Listen, Server
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

NAME = "example.org"
PASSWORD = "correct horse"
RESOURCES = 20
WARM = 100
FREE = ("127.0.0.1:0",)
UNLIMITED = Limits(
    connections_per_address=0,
    connections_per_network=0,
    registrations_burst=1e9,
    registrations_per_s=1e9,
    login_failures_per_s=0,
)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _serve(folder: str, accounts: int, trace: bool, pipe: Connection) -> None:
    """Answers each question with the resident set; the second one also with what has come since the first."""

    async def main() -> None:
        config = Config(
            server=Server(name=NAME, data_dir=folder),
            listen=Listen(http=(), irc=FREE, irc_tls=FREE, xmpp=FREE, xmpp_tls=(), federation=(), metrics=()),
            accounts=Accounts(scram_iterations=10_000, guests_per_address=1_000_000),
            limits=UNLIMITED,
        )
        app = App(config, DataDir(Path(folder)))
        await app.start()
        for number in range(accounts):
            await app.middle.accounts.add_account(f"user{number}", PASSWORD, admin=False)
        pipe.send(app.ports)
        loop, before = asyncio.get_running_loop(), None
        if trace:
            tracemalloc.start(1)
        while await loop.run_in_executor(None, pipe.recv):
            gc.collect()
            top: list[tuple[str, int, int]] = []
            if trace:
                now = tracemalloc.take_snapshot()
                if before is not None:
                    differences = now.compare_to(before, "lineno")[:60]
                    top = [(str(line.traceback), line.size_diff, line.count_diff) for line in differences]
                before = now
            pipe.send((_resident_bytes(), top))
        await app.stop()

    uvloop.run(main())


async def _irc(port: int, number: int, context: ssl.SSLContext | None) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(f"NICK idle{number}\r\nUSER idle 0 * :somebody idle\r\n".encode())
    while b" 376 " not in (line := await reader.readline()) and b" 422 " not in line:
        assert line, "closed"
    return writer


async def _xmpp(port: int, number: int, context: ssl.SSLContext | None) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    header = f"<?xml version='1.0'?><stream:stream to='{NAME}' xmlns='jabber:client' version='1.0' "
    opening = f"{header}xmlns:stream='http://etherx.jabber.org/streams'>".encode()
    secret = base64.b64encode(f"\0user{number // RESOURCES}\0{PASSWORD}".encode()).decode()
    steps = (
        (opening, b"</stream:features>"),
        (f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>".encode(), b"<success"),
        (opening, b"</stream:features>"),
        (b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", b"</iq>"),
        (b"<presence/>", b"<presence"),
    )
    for sent, wanted in steps:
        writer.write(sent)
        await reader.readuntil(wanted)
    asyncio.get_running_loop().create_task(_drop_all(reader))
    return writer


async def _drop_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def _measure(kind: str, ports: dict[str, list[int]], pipe: Connection, count: int) -> None:
    context = None
    if kind == "irc_tls":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    connect = _xmpp if kind == "xmpp" else _irc
    loop = asyncio.get_running_loop()

    async def ask() -> tuple[int, list[tuple[str, int, int]]]:
        pipe.send(True)
        resident, top = await loop.run_in_executor(None, pipe.recv)
        return resident, top

    writers = [await connect(ports[kind][0], number, context) for number in range(WARM)]
    before, _ = await ask()
    for start in range(WARM, WARM + count, 50):
        numbers = range(start, min(start + 50, WARM + count))
        writers += await asyncio.gather(*(connect(ports[kind][0], number, context) for number in numbers))
    after, top = await ask()
    print(f"{kind}: {(after - before) / count / 1000:.2f} kB a connection ({count} of them)")
    for line, size, blocks in top:
        print(f"{size / count:8.1f} bytes {blocks / count:6.2f} blocks  {line.rpartition('/src/')[2]}")
    print(f"{sum(size for _, size, _ in top) / count:8.1f} bytes in these lines" if top else "")
    for writer in writers:
        writer.transport.abort()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=("irc", "irc_tls", "xmpp"), default="irc")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    accounts = (args.count + WARM) // RESOURCES + 1 if args.kind == "xmpp" else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(folder, accounts, args.trace, theirs)
        )
        process.start()
        uvloop.run(_measure(args.kind, ours.recv(), ours, args.count))
        ours.send(False)
        process.join(30)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    main()
