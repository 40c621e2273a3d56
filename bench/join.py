"""Joining a room of 10,000 members that lives on another tripoint: until it can be used, and until it is whole.

Two processes over TLS on loopback, SQLite behind both. Times on the clock, and CPU of both processes. The room's state
is as it comes about: created, named, and entered by one after the other, with words in between.
"""

import asyncio
import contextlib
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import structlog
from tests.federation.servers import Islands, server

from bench.measure import yardstick
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import CreateRoom, Join, SendEvent, Template
from tripoint.runtime.app import App

MEMBERS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 10_000
ONE, TWO = server("one.example"), server("two.example")


async def build(app: App) -> RoomId:
    account = await app.middle.accounts.register("alice", "correct horse", address="127.0.0.1")
    done = await app.middle.service.do(
        CreateRoom(actor=account.user_id, template=Template.PUBLIC_CHAT, name="Large", alias_localpart="large")
    )
    assert done.room_id is not None
    for number in range(MEMBERS - 1):
        user_id = UserId(f"@user{number}:{ONE}")
        await app.middle.service.do(Join(actor=user_id, room_id=done.room_id))
        if number % 10 == 0:
            content = {"msgtype": "m.text", "body": f"hello, I am number {number}"}
            await app.middle.service.do(
                SendEvent(actor=user_id, room_id=done.room_id, type="m.room.message", content=content)
            )
    return done.room_id


async def host(folder: Path) -> None:
    """The other process: builds the room, says where it is, and serves until its input ends."""
    made = Islands(folder, (ONE, TWO))
    app = await made.start(ONE)
    room_id = await build(app)
    print(room_id, made.table.ports[ONE], flush=True)
    loop = asyncio.get_running_loop()
    made.table.ports[TWO] = int(await loop.run_in_executor(None, sys.stdin.readline))
    spent = time.process_time()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time() - spent, flush=True)
    await made.stop(ONE)


@contextlib.contextmanager
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.join", str(MEMBERS), "--host", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline()


async def measure(folder: Path) -> None:
    made = Islands(folder, (ONE, TWO))
    made.make_certificates()
    with other(folder) as process:
        assert process.stdout is not None
        room_id, port = process.stdout.readline().split()
        made.table.ports[ONE] = int(port)
        app = await made.start(TWO)
        bob = (await app.middle.accounts.register("bob", "correct horse", address="127.0.0.1")).user_id
        assert process.stdin is not None
        process.stdin.write(f"{made.table.ports[TWO]}\n")
        process.stdin.flush()
        yardstick()
        start, cpu = time.monotonic(), time.process_time()
        slowest = 0.0

        async def heartbeat() -> None:
            nonlocal slowest
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.005)
                slowest = max(slowest, time.monotonic() - before)

        beating = asyncio.create_task(heartbeat())
        await app.middle.service.do(Join(actor=bob, room_id=RoomId(room_id), via=(ONE,)))
        room = await app.middle.loaded.get(RoomId(room_id))
        content = {"msgtype": "m.text", "body": "here I am"}
        await app.middle.service.do(
            SendEvent(actor=bob, room_id=room.room_id, type="m.room.message", content=content)
        )
        usable = time.monotonic() - start
        arrived = asyncio.Event()
        app.middle.hub.watch_all_rooms(lambda _: arrived.set())
        while room.partial is not None:
            await arrived.wait()
            arrived.clear()
        whole = time.monotonic() - start
        beating.cancel()
        theirs = float(await asyncio.to_thread(ask, process, ""))
        assert room.joined_count() == MEMBERS + 1, room.joined_count()
        print(f"{'members':48} {MEMBERS}")
        print(f"{'entered, and the first word sent':48} {usable:8.3f} s")
        print(f"{'whole':48} {whole:8.3f} s")
        print(f"{'CPU of the joining server':48} {time.process_time() - cpu:8.3f} s")
        print(f"{'CPU of the other':48} {theirs:8.3f} s")
        print(f"{'longest turn of the joining server':48} {slowest:8.3f} s")
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{'largest memory of the joining server':48} {largest:8} MiB")
        await made.stop(TWO)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if "--host" in sys.argv:
        asyncio.run(host(Path(sys.argv[-1])))
    else:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(measure(Path(name)))
