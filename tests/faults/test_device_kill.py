"""Messages to devices and one-time keys while the server is killed under load, again and again.

A sender repeats a transaction until it is acknowledged; a receiver keeps its token with what it was told. Then every
message was told once, in order, and no key was given to two. (DESIGN "Safe by default")
"""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_kill import PASSWORD, UNLIMITED, Http, http, log_in
from tests.support.server import Server, start_server

V3 = "/_matrix/client/v3"


class Sender:
    """Sends one message after the other, each with an id of its own, until it is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.token = ""

    async def work(self, server: Server) -> None:
        connection = await http(server)
        while True:
            body = {"messages": {"@bob:localhost": {"BOB": {"n": self.acknowledged}}}}
            path = f"{V3}/sendToDevice/m.test/{self.acknowledged}"
            status, answer = await connection.call("PUT", path, body, self.token)
            assert status == 200, answer
            self.acknowledged += 1


class Receiver:
    """Syncs; what was told and the token are kept together."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.since = ""
        self.token = ""

    async def work(self, server: Server) -> None:
        connection = await http(server)
        while True:
            await self.sync(connection, "timeout=1000")

    async def sync(self, connection: Http, query: str) -> int:
        since = f"&since={self.since}" if self.since else ""
        status, answer = await connection.call("GET", f"{V3}/sync?{query}{since}", None, self.token)
        assert status == 200, answer
        events = answer.get("to_device", {}).get("events", [])
        self.got += [event["content"]["n"] for event in events]
        self.since = answer["next_batch"]
        return len(events)


class Claimer:
    """Claims the keys of a device, which uploads more."""

    def __init__(self) -> None:
        self.claimed: list[str] = []
        self.uploaded = 0
        self.token = self.owner_token = ""

    async def work(self, server: Server) -> None:
        connection = await http(server)
        while True:
            names = [f"curve25519:K{self.uploaded + n:05}" for n in range(5)]
            # Repeated as it was until it is acknowledged.
            body: dict[str, Any] = {"one_time_keys": {name: f"key of {name}" for name in names}}
            status, answer = await connection.call("POST", f"{V3}/keys/upload", body, self.owner_token)
            assert status == 200, answer
            self.uploaded += 5
            for _ in range(4):
                wanted = {"one_time_keys": {"@bob:localhost": {"BOB": "curve25519"}}}
                status, answer = await connection.call("POST", f"{V3}/keys/claim", wanted, self.token)
                assert status == 200, answer
                self.claimed += answer["one_time_keys"].get("@bob:localhost", {}).get("BOB", {})


async def _kill_many_times(folder: Path, times: int, seed: int) -> None:
    dice = random.Random(seed)
    sender, receiver, claimer = Sender(), Receiver(), Claimer()
    server = start_server(folder, more=UNLIMITED)
    try:
        for name in ("alice", "bob"):
            server.register(name, PASSWORD)
        _, sender.token = await log_in(server, "alice")
        _, receiver.token = await log_in(server, "bob")
        claimer.token, claimer.owner_token = sender.token, receiver.token
        for _ in range(times):
            before = sender.acknowledged
            tasks = [asyncio.create_task(one.work(server)) for one in (sender, receiver, claimer)]
            while sender.acknowledged < before + 3 and not any(task.done() for task in tasks):  # noqa: ASYNC110  # bounded by the test's own time
                await asyncio.sleep(0.005)
            await asyncio.sleep(dice.uniform(0, 0.3))
            os.kill(server.process.pid, signal.SIGKILL)
            results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
            server.process.wait()
            for result in results:
                assert isinstance(result, OSError | EOFError), f"the load ended before the server did: {result!r}"
            server = start_server(folder, more=UNLIMITED)
        connection = await http(server)
        await receiver.sync(connection, "timeout=0")
        while await receiver.sync(connection, "timeout=0"):
            pass
        # What was stored and not acknowledged before the last kill may be there too.
        assert receiver.got == list(range(len(receiver.got)))
        assert sender.acknowledged <= len(receiver.got) <= sender.acknowledged + 1
        assert len(set(claimer.claimed)) == len(claimer.claimed) > 0
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.mark.timeout(300)
def test_killed_eight_times_under_load(tmp_path: Path) -> None:
    asyncio.run(_kill_many_times(tmp_path, 8, seed=1))


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_killed_five_hundred_times_under_load(tmp_path: Path) -> None:
    asyncio.run(_kill_many_times(tmp_path, 500, seed=2))
