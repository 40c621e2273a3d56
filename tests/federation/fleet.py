"""Whole servers on a network in memory: their real federation code, on a network that loses, delays, repeats and
parts, in time that is the test's.

A ship is a middle with keys, gate, endpoints, sender and staging; what it asks of others are signed requests that
the network carries to the other ship's listener. `kill` ends a ship as a power cut does, `launch` starts it again on
the same store.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from tests.federation.islands import Island
from tests.federation.virtual import VirtualLoop
from tests.support.middle import Clock, Party, make_config
from tripoint.config.options import Config, Federation, Server
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey
from tripoint.matrix.federation.asking_keys import KeyQuestions
from tripoint.matrix.federation.devices import DeviceListEndpoints
from tripoint.matrix.federation.reading import ReadingEndpoints
from tripoint.matrix.federation.trust import Trust
from tripoint.matrix.keys.own import KeyEndpoints, OwnKeys
from tripoint.matrix.listener import MatrixListener
from tripoint.matrix.registry import Router
from tripoint.net.http import Request
from tripoint.net.outbound import Answer
from tripoint.rooms.transaction import Signer
from tripoint.runtime.federation import StoredKeys
from tripoint.runtime.middle import build_middle
from tripoint.runtime.traffic import Traffic, build_traffic
from tripoint.store.interface import Done, Store
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore
from tripoint.store.writes import Write


class LoopClock(Clock):
    """Wall clock and monotonic clock of a virtual loop."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._start = self.now

    def ms(self) -> int:
        return int(self.s() * 1000)

    def s(self) -> float:
        return self._start + self._loop.time()


class DiskStore(SqliteStore):
    """SQLite, for whose thread a virtual loop waits. A cut store tells nothing more and stores nothing more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._loop = cast(VirtualLoop, asyncio.get_running_loop())
        self.is_cut = False

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        if self.is_cut:
            return
        self._loop.owed += 1

        def answered(error: Any) -> None:
            self._loop.owed -= 1
            if not self.is_cut:
                done(error)

        super().submit(writes, answered)

    async def cut(self) -> None:
        """What was not on its way to the disk is lost."""
        self.is_cut = True
        commits = self._commits
        with commits._lock:
            lost = len(commits._waiting)
            commits._waiting.clear()
        self._loop.owed -= lost
        await self.close()

    async def close(self) -> None:
        self._loop.owed += 1
        try:
            await super().close()
        finally:
            self._loop.owed -= 1


@dataclass
class Weather:
    """What the network does to a request: chances from 0 to 1, delays in seconds."""

    loss: float = 0.0
    twice: float = 0.0
    delay_s: float = 0.0
    answer_loss: float = 0.0


@dataclass
class Sea:
    """The network. `parted` holds pairs that do not reach each other; `sent` counts requests by (from, to)."""

    rng: random.Random
    weather: Weather = field(default_factory=Weather)
    ships: dict[str, "Ship"] = field(default_factory=dict)
    parted: set[frozenset[str]] = field(default_factory=set)
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    tasks: dict[str, set["asyncio.Task[Any]"]] = field(default_factory=dict)

    def part(self, one: str, other: str) -> None:
        self.parted.add(frozenset((one, other)))

    def heal(self) -> None:
        self.parted.clear()
        self.weather = Weather()

    async def carry(
        self, source: str, target_ship: str, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        self.requests.append((source, target_ship, method, target))
        weather = self.weather
        if weather.delay_s:
            await asyncio.sleep(self.rng.random() * weather.delay_s)
        if self._is_lost(source, target_ship, weather.loss):
            raise RemoteFailed(target_ship, "the request was lost")
        if self.rng.random() < weather.twice:
            # The copy arrives later than the first, or before it.
            self._handle(target_ship, method, target, headers, body, self.rng.random() * 5)
        answer = await self._handle(target_ship, method, target, headers, body, 0.0)
        if answer is None or self._is_lost(source, target_ship, weather.answer_loss):
            raise RemoteFailed(target_ship, "the answer was lost")
        return answer

    def _is_lost(self, source: str, target: str, chance: float) -> bool:
        ship = self.ships.get(target)
        if ship is None or not ship.is_up or frozenset((source, target)) in self.parted:
            return True
        return self.rng.random() < chance

    def _handle(
        self, name: str, method: str, target: str, headers: Mapping[str, str], body: bytes, after_s: float
    ) -> "asyncio.Task[Answer | None]":
        task = asyncio.get_running_loop().create_task(self._answer(name, method, target, headers, body, after_s))
        mine = self.tasks.setdefault(name, set())
        mine.add(task)
        task.add_done_callback(mine.discard)
        return task

    async def _answer(
        self, name: str, method: str, target: str, headers: Mapping[str, str], body: bytes, after_s: float
    ) -> Answer | None:
        await asyncio.sleep(after_s)
        ship = self.ships[name]
        if not ship.is_up:
            return None
        path, _, query = target.partition("?")
        sent = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
        request = Request(method, path, query.encode(), sent, body, "192.0.2.1", True)
        try:
            response = await ship.listener.handle(request)
        except asyncio.CancelledError:
            if ship.is_up:
                raise
            return None
        return Answer(response.status, response.body) if ship.is_up else None


class _Line:
    """net.outbound.Outbound as far as the federation client uses it."""

    def __init__(self, sea: Sea, name: str) -> None:
        self._sea = sea
        self._name = name

    async def request(
        self, server: str, route: object, method: str, target: str, *, headers: Mapping[str, str], body: bytes,
        limit_bytes: int, timeout_s: float,
    ) -> Answer:  # fmt: skip
        answer = await self._sea.carry(self._name, server, method, target, headers, body)
        if len(answer.body) > limit_bytes:
            raise RemoteFailed(server, "too large")
        return answer


class Ship:
    """One server. `island` is its party for tests that carry events by hand."""

    def __init__(self, sea: Sea, name: str, number: int, path: Path | None, config: Config) -> None:
        self.sea = sea
        self.name = ServerName(name)
        self.key = SigningKey(f"ed25519:{number}", bytes([number + 1]) * 32)
        self.is_up = False
        self.bugs: list[BaseException] = []
        self.starts = 0
        self.floor = 0
        self._path = path
        self._config = replace(config, server=Server(name=name))
        self._store: Store | None = None
        sea.ships[name] = self

    island: Island
    listener: MatrixListener
    traffic: Traffic
    trust: Trust
    questions: KeyQuestions

    @property
    def party(self) -> Party:
        return self.island.party

    def _open(self) -> Store:
        if self._path is not None:
            return DiskStore(self._path)
        if self._store is None:
            self._store = MemoryStore()
        # It outlives its server, as a disk does.
        cast(MemoryStore, self._store)._closed = False
        return self._store

    async def build(self) -> None:
        """The server, before it speaks to anybody."""
        clock = LoopClock()
        self.starts += 1
        store = self._open()
        middle = await build_middle(
            self._config, store, self.key, secret=bytes(32), clock=clock.ms, monotonic=clock.s
        )
        # Ids of rooms take part in the order of events: they come from the seed too.
        middle.creation._mint = lambda: f"{self.sea.rng.getrandbits(64):016x}"
        own = OwnKeys(self.name, self.key, [], clock.ms)
        line = cast(Any, _Line(self.sea, self.name))
        keys = StoredKeys(store, middle.stream)
        self.trust = Trust(own, keys, line, cast(Any, _route), [], clock.ms)
        self.traffic = build_traffic(self._config, middle, self.trust, clock.ms, self._bug)
        self._watch_the_floor()
        rng = self.sea.rng
        self.traffic.sender._chance = rng.random
        self.traffic.sender._prefix = f"{self.name}-{self.starts}"
        router = Router()
        self.questions = KeyQuestions(self.name, middle.encryption, middle.reader, self.trust.client)
        middle.encryption.signing.foreign = self.questions.master_key
        devices = DeviceListEndpoints(middle.accounts, middle.encryption, self.questions, self.name)
        for module in (KeyEndpoints(own), ReadingEndpoints(middle.serving, self.name, clock.ms), devices):
            router.add(module)
        router.add(self.traffic.transactions)
        self.listener = MatrixListener(router, middle.accounts, None, self.trust.gate)
        self.island = Island(self.name, Party(middle, clock), Signer(self.name, self.key, clock.ms))

    def _watch_the_floor(self) -> None:
        """It never goes back: what is below it is done."""
        outbox = self.traffic.sender._outbox
        save = outbox.save

        async def watched(rows: Any, floor: int) -> bool:
            if floor < self.floor:
                self.bugs.append(AssertionError(f"the floor went back from {self.floor} to {floor}"))
            saved = await save(rows, floor)
            if saved:
                self.floor = floor
            return saved

        outbox.save = watched  # type: ignore[method-assign]

    def _bug(self, where: str, error: BaseException) -> None:
        self.bugs.append(error)

    async def launch(self) -> None:
        """From now on it sends and answers."""
        self.is_up = True
        await self.traffic.start()

    async def stop(self) -> None:
        """As `tripoint run` does on SIGTERM."""
        self.is_up = False
        await self.questions.close()
        await self.traffic.stop()
        await self.trust.close()
        await self.party.middle.close()

    async def kill(self) -> None:
        """As kill -9 does: nothing is written down, nobody is told."""
        self.is_up = False
        store = self.party.middle.store
        if isinstance(store, DiskStore):
            cutting = store.cut()
        traffic = self.traffic
        traffic.sender._open, traffic.staging._closing = False, True
        tasks: list[asyncio.Future[Any]] = [
            *traffic._tasks,
            *traffic.sender._tasks,
            *traffic.sender._devices._tasks,
            *traffic.staging._tasks.values(),
            *traffic.transactions._running.values(),
            *self.questions._fetching.values(),
            *self.sea.tasks.get(self.name, ()),
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.trust.close()
        if isinstance(store, DiskStore):
            await cutting
        self.party.middle.passwords.close()


async def _route(server: ServerName) -> object:
    return None


@asynccontextmanager
async def fleet(
    *names: str,
    seed: int = 0,
    folder: Path | None = None,
    config: Callable[[Config], Config] = lambda config: config,
) -> AsyncIterator[tuple[Sea, list[Ship]]]:
    """Servers of these names, built and not launched; on disk where there is a folder."""
    sea = Sea(random.Random(seed))
    ships = [
        Ship(sea, name, number, None if folder is None else folder / f"{number}.db", config(make_config()))
        for number, name in enumerate(names)
    ]
    try:
        for ship in ships:
            await ship.build()
        yield sea, ships
    finally:
        for ship in ships:
            await ship.stop()


async def launch(ships: Sequence[Ship]) -> None:
    """All of them, none before the others can be reached."""
    for ship in ships:
        ship.is_up = True
    # As servers do that have been in a room together for a while, they know each other's keys.
    for ship in ships:
        for other in ships:
            await ship.trust.ring.request_keys(other.name, [other.key.key_id])
    for ship in ships:
        await ship.launch()
    # What making the rooms said is out of the way.
    await asyncio.sleep(5)
    ships[0].sea.requests.clear()


def with_presence(config: Config) -> Config:
    return replace(config, federation=Federation(presence=True))
