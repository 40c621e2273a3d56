"""What the others in a channel notice of one client that floods it and one that never reads.

    python -m bench.bad_neighbours [--people 40] [--seconds 20]

A server in a process of its own with SQLite and its usual rates. People say something every two seconds each; how long
it takes to every other one is measured first in peace, then while a client in the same channel writes lines as fast as
its socket takes them, another sends rubbish (half lines, 8 kB lines, NULs, a thousand CAP REQ), and a third is in the
channel and reads nothing. p50, p99 and the longest in ms, and the resident set of the server before and after.
"""

import argparse
import asyncio
import multiprocessing
import resource
import socket
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from tripoint.config.options import Accounts, Config, Limits, Listen, Server
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

NAME = "example.org"
PASSWORD = "correct horse"
FREE = ("127.0.0.1:0",)
EVERY_S = 2.0
BAD = ("flood", "rubbish", "deaf")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _serve(folder: str, names: list[str], pipe: Connection) -> None:
    """Answers each question with the resident set."""

    async def main() -> None:
        config = Config(
            server=Server(name=NAME, data_dir=folder),
            listen=Listen(http=(), irc=FREE, irc_tls=(), xmpp=(), xmpp_tls=(), federation=(), metrics=()),
            accounts=Accounts(scram_iterations=10_000),
            # The people come from one address here; everything else is limited as usual.
            limits=Limits(connections_per_address=0, connections_per_network=0, connections_burst=1000),
        )
        app = App(config, DataDir(Path(folder)))
        await app.start()
        for name in names:
            await app.middle.accounts.add_account(name, PASSWORD, admin=False)
        pipe.send(app.ports)
        while await asyncio.get_running_loop().run_in_executor(None, pipe.recv):
            pipe.send(_resident_bytes())
        await app.stop()

    uvloop.run(main())


def _enter(port: int, name: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"PASS :{name}:{PASSWORD}\r\nNICK {name}\r\nUSER {name} 0 * :x\r\nJOIN #tea\r\n".encode())
    connection.settimeout(10)
    seen = b""
    while b" 366 " not in seen:
        seen += connection.recv(65536)
    return connection


def _misbehave(kind: str, port: int, until: float) -> None:
    """One bad client, in a process of its own, until a time of the monotonic clock; it comes back when it is closed."""
    attempt = 0
    while time.monotonic() < until:
        attempt += 1
        try:
            connection = _enter(port, kind)
            if kind == "deaf":
                # It is in the channel and reads nothing: a process of its own, which nobody waits for.
                time.sleep(max(0.0, until - time.monotonic()))
                return
            rubbish = b"PRIVMSG #tea :\0\r\n" + b"x" * 8192 + b"\r\n" + b"CAP REQ :nothing\r\n" * 1000 + b"half a line"
            flood = b"PRIVMSG #tea :buy my tea\r\n" * 100
            connection.settimeout(0.5)
            while time.monotonic() < until:
                connection.send(flood if kind == "flood" else rubbish)
        except TimeoutError:
            connection.close()
        except OSError:
            time.sleep(0.2)  # it was closed: it comes back, but not as fast as it can


class Person:
    """Says the time, and notes how old what it hears is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ages_ms: list[float] = []
        self.flooded = 0  # lines of the flood that came through

    async def enter(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        words = (f"PASS :{self.name}:{PASSWORD}", f"NICK {self.name}", "USER x 0 * :x", "JOIN #tea", "")
        self.writer.write("\r\n".join(words).encode())
        last = b""
        while b" 366 " not in (line := await self.reader.readline()):
            assert line, f"{self.name} was closed: {last.decode()}"
            last = line

    async def hear(self) -> None:
        while line := await self.reader.readline():
            if line.startswith(b"PING"):
                self.writer.write(b"PONG" + line[4:])
            _, _, said = line.partition(b" PRIVMSG #tea :at ")
            if said:
                self.ages_ms.append((time.monotonic() - float(said)) * 1000)
            self.flooded += b" PRIVMSG #tea :buy my tea" in line

    async def talk(self, seconds: float, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.writer.write(f"PRIVMSG #tea :at {time.monotonic():.6f}\r\n".encode())
            await asyncio.sleep(EVERY_S)


async def _spell(people: list[Person], seconds: float, what: str) -> None:
    for one in people:
        one.ages_ms.clear()
    steps = EVERY_S / len(people)
    await asyncio.gather(*(one.talk(seconds, number * steps) for number, one in enumerate(people)))
    await asyncio.sleep(1)
    ages = sorted(age for one in people for age in one.ages_ms)
    said = len(people) * len(people) * seconds / EVERY_S
    p50, p99 = (ages[int(len(ages) * part)] for part in (0.5, 0.99))
    print(f"{what}: p50 {p50:.1f}, p99 {p99:.1f}, longest {ages[-1]:.1f} ms; {len(ages)} heard of about {said:.0f}")


async def _measure(port: int, pipe: Connection, count: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()

    async def resident_mb() -> float:
        pipe.send(True)
        return (await loop.run_in_executor(None, pipe.recv)) / 1e6

    people = [Person(f"person{number}") for number in range(count)]
    for one in people:
        await one.enter(port)
    hearing = [asyncio.ensure_future(one.hear()) for one in people]
    before = await resident_mb()
    await _spell(people, seconds, "in peace")
    context = multiprocessing.get_context("spawn")
    until = time.monotonic() + seconds + 6
    bad = [context.Process(target=_misbehave, args=(kind, port, until), daemon=True) for kind in BAD]
    for process in bad:
        process.start()
    await asyncio.sleep(2)
    await _spell(people, seconds, "with bad neighbours")
    print(f"server: {before:.0f} MB before, {await resident_mb():.0f} MB after")
    print(f"of the flood {people[0].flooded} lines came through")
    for process in bad:
        process.join(15)
    for task in hearing:
        task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    names = [*(f"person{number}" for number in range(args.people)), *BAD]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(folder, names, theirs), daemon=True
        )
        process.start()
        ports = ours.recv()
        uvloop.run(_measure(ports["irc"][0], ours, args.people, args.seconds))
        ours.send(False)
        process.join(20)


if __name__ == "__main__":
    main()
