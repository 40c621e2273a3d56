"""A Synapse and a tripoint that know each other, for the tests of one module."""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.interop.matrix_person import Person
from tests.interop.neighbourhood import Neighbourhood, neighbourhood
from tests.interop.synapse_server import Synapse, running_synapse
from tests.interop.tripoint_server import Tripoint, running_tripoint

SYNAPSE, TRIPOINT = "synapse.example", "tripoint.example"
Side = Literal["synapse", "tripoint"]
SIDES: tuple[Side, Side] = ("synapse", "tripoint")


@dataclass
class World:
    """Both servers, and the loop on which people live."""

    town: Neighbourhood
    synapse: Synapse
    tripoint: Tripoint
    runner: asyncio.Runner
    numbers: Iterator[int]

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        self.runner.run(story)

    async def person(self, side: Side, name: str) -> Person:
        """A new account on one of the servers, its first sync done."""
        server = self.synapse if side == "synapse" else self.tripoint
        person = await Person(server, f"{name}{next(self.numbers)}").register()
        await person.sync(0)
        return person

    async def pair(self, home: Side) -> tuple[Person, Person]:
        """Somebody of this server, who has the room, and somebody of the other."""
        away = SIDES[1 - SIDES.index(home)]
        return await self.person(home, "host"), await self.person(away, "guest")


@contextmanager
def two_servers(folder: Path) -> Iterator[World]:
    for name in ("town", "synapse", "tripoint"):
        (folder / name).mkdir()
    with (
        neighbourhood(folder / "town") as town,
        running_synapse(folder / "synapse", town, SYNAPSE) as synapse,
        running_tripoint(folder / "tripoint", town, TRIPOINT) as tripoint,
        asyncio.Runner() as runner,
    ):
        yield World(town, synapse, tripoint, runner, itertools.count(1))
