"""Servers that know each other, for the tests of one module: a Synapse and a tripoint, or several tripoints."""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.matrix_person import Person
from tests.interop.neighbourhood import Neighbourhood, neighbourhood
from tests.interop.synapse_server import Synapse, running_synapse
from tests.interop.tripoint_server import Tripoint, running_tripoint

SYNAPSE, TRIPOINT = "synapse.example", "tripoint.example"
SIDES = ("synapse", "tripoint")


@dataclass
class World:
    """Servers by the first word of their names, and the loop on which people live."""

    town: Neighbourhood
    servers: Mapping[str, Synapse | Tripoint]
    runner: asyncio.Runner
    numbers: Iterator[int]

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        self.runner.run(story)

    @property
    def synapse(self) -> Synapse:
        found = self.servers["synapse"]
        assert isinstance(found, Synapse)
        return found

    @property
    def tripoint(self) -> Tripoint:
        found = self.servers["tripoint"]
        assert isinstance(found, Tripoint)
        return found

    async def person(self, side: str, name: str) -> Person:
        """A new account on one of the servers, its first sync done."""
        person = await Person(self.servers[side], f"{name}{next(self.numbers)}").register()
        await person.sync(0)
        return person

    async def pair(self, home: str) -> tuple[Person, Person]:
        """Somebody of this server, who has the room, and somebody of the other one of two."""
        (away,) = (side for side in self.servers if side != home)
        return await self.person(home, "host"), await self.person(away, "guest")

    def cut(self) -> None:
        """Nobody reaches anybody."""
        for name in self.town.links:
            self.town.cut(name)

    def restore(self) -> None:
        for name in self.town.links:
            self.town.restore(name)


@contextmanager
def two_servers(folder: Path) -> Iterator[World]:
    """A Synapse and a tripoint."""
    for name in ("town", "synapse"):
        (folder / name).mkdir()
    with (
        neighbourhood(folder / "town") as town,
        running_synapse(folder / "synapse", town, SYNAPSE) as synapse,
        running_tripoint(folder / "tripoint", town, TRIPOINT) as tripoint,
        asyncio.Runner() as runner,
    ):
        yield World(town, {"synapse": synapse, "tripoint": tripoint}, runner, itertools.count(1))


@contextmanager
def tripoints(folder: Path, *sides: str) -> Iterator[World]:
    """Several tripoints: side.example each."""
    (folder / "town").mkdir()
    with ExitStack() as stack:
        town = stack.enter_context(neighbourhood(folder / "town"))
        servers = {
            side: stack.enter_context(running_tripoint(folder / side, town, f"{side}.example")) for side in sides
        }
        yield World(town, servers, stack.enter_context(asyncio.Runner()), itertools.count(1))
