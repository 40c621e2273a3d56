"""What an event costs that goes to other servers: CPU for each, to none, one and twenty of them.

Run: .venv/bin/python -m bench.federation_send [EVENTS]. Everything is real but the network: the other servers are a
sink in this process that acknowledges. `one by one`: each event is sent before the next is said, so it has a
transaction of its own for each server. `quickly`: they share transactions. CPU of all threads, in microseconds; what
an event costs that goes to nobody is in the figure for 0 and is taken off in the last column.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import structlog
from tests.federation.islands import Island, bring_in, islands, make_room
from tests.support.middle import make_config

from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.matrix.federation.trust import Trust
from tripoint.matrix.keys.own import OwnKeys
from tripoint.net.outbound import Answer
from tripoint.runtime.federation import StoredKeys
from tripoint.runtime.traffic import Traffic, build_traffic
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore


class Sink:
    """net.outbound.Outbound: every transaction has arrived."""

    def __init__(self) -> None:
        self.transactions = 0
        self.bytes = 0

    async def request(
        self, server: str, route: object, method: str, target: str, *, headers: Mapping[str, str], body: bytes, **_: Any
    ) -> Answer:
        self.transactions += 1
        self.bytes += len(body)
        # One turn of the loop: what is said meanwhile waits.
        await asyncio.sleep(0)
        return Answer(200, b'{"pdus":{}}')


async def _route(server: ServerName) -> object:
    return None


async def start(island: Island, sink: Sink) -> Traffic:
    middle, clock = island.party.middle, island.party.clock
    own = OwnKeys(island.name, island.signer.key, [], clock.ms)
    keys = StoredKeys(middle.store, middle.stream)
    trust = Trust(own, keys, cast(Any, sink), cast(Any, _route), [], clock.ms)
    traffic = build_traffic(make_config(), middle, trust, clock.ms, lambda where, error: print(where, error))
    await traffic.start()
    return traffic


async def quiet(traffic: Traffic) -> None:
    while any(lane.has_work or lane.busy for lane in traffic.sender._lanes.values()):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def measure(servers: int, events: int, folder: Path) -> tuple[float, float, float, float]:
    """(CPU an event one by one, transactions an event, CPU an event quickly, transactions an event)"""
    names = [f"s{number}.example" for number in range(servers + 1)]
    stores = [SqliteStore(folder / f"{servers}.db"), *(MemoryStore() for _ in range(servers))]
    async with islands(*names, stores=stores) as made:
        here = made[0]
        alice = UserId(f"@alice:{here.name}")
        room_id: RoomId = await make_room(here, alice, "12")
        for other in made[1:]:
            await bring_in(here, other, UserId(f"@bob:{other.name}"), room_id)
        sink = Sink()
        traffic = await start(here, sink)
        await here.party.say(alice, room_id, "warm")
        await quiet(traffic)

        sink.transactions, before = 0, time.process_time()
        for number in range(events):
            await here.party.say(alice, room_id, f"message {number} of a usual length, as people write them")
            await quiet(traffic)
        slow, slow_sent = time.process_time() - before, sink.transactions

        sink.transactions, before = 0, time.process_time()
        for start_at in range(0, events, 100):
            await asyncio.gather(
                *(here.party.say(alice, room_id, f"message {start_at + i} of a usual length") for i in range(100))
            )
        await quiet(traffic)
        fast, fast_sent = time.process_time() - before, sink.transactions
        await traffic.stop()
    return slow / events * 1e6, slow_sent / events, fast / events * 1e6, fast_sent / events


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    each_title = "us/event  tx/event  us/event and server"
    print(f"servers  one by one: {each_title} | quickly: {each_title}")
    base: tuple[float, float] | None = None
    for servers in (0, 1, 20):
        with tempfile.TemporaryDirectory() as folder:
            slow, slow_sent, fast, fast_sent = asyncio.run(measure(servers, events, Path(folder)))
        base = base or (slow, fast)
        each = [(mine - none) / servers if servers else 0.0 for mine, none in zip((slow, fast), base, strict=True)]
        print(
            f"{servers:7d}  {slow:20.0f}  {slow_sent:8.2f}  {each[0]:19.0f} |"
            f" {fast:17.0f}  {fast_sent:8.3f}  {each[1]:19.1f}"
        )


if __name__ == "__main__":
    main()
