"""What application services hear, against the truth: who was there when something was said, however late it is read.

spec: Matrix application-service-api "Registration"; rooms/interest.py, rooms/service_log.py
"""

import random
from pathlib import Path

import pytest

from tests.support.app_service import registered
from tests.support.middle import Party, party, reopened, run
from tripoint.core.app_services import AppService
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import Join, Leave
from tripoint.store.memory import MemoryStore

STEPS = 60


class Walk:
    """People and users of a service come, go and speak in two rooms, as chance has it; what was said with one of the
    service's users there is noted."""

    def __init__(self, p: Party, chance: random.Random) -> None:
        self.party = p
        self.chance = chance
        self.truth: list[str] = []
        self.inside: dict[tuple[UserId, RoomId], bool] = {}
        self._number = 0

    async def begin(self) -> None:
        self.service: AppService = self.party.middle.accounts.app_services.all[0]
        self.alice, self.bob = await self.party.accounts("alice", "bob")
        made = [await self.party.middle.accounts.register_for(self.service, f"_irc_{n}") for n in range(3)]
        self.ghosts = [account.user_id for account in made]
        self.rooms = [await self.party.room(self.alice, self.bob) for _ in range(2)]

    async def step(self) -> None:
        room = self.chance.choice(self.rooms)
        if self.chance.random() < 0.4:
            ghost = self.chance.choice(self.ghosts)
            there = self.inside.get((ghost, room), False)
            command = Leave(actor=ghost, room_id=room) if there else Join(actor=ghost, room_id=room)
            await self.party.do(command)
            self.inside[ghost, room] = not there
            return
        self._number += 1
        text = f"{self._number}"
        await self.party.say(self.chance.choice((self.alice, self.bob)), room, text)
        if any(self.inside.get((ghost, room)) for ghost in self.ghosts):
            self.truth.append(text)


async def _heard(p: Party, place: int) -> tuple[list[str], int]:
    """What the service is told from a place on, up to now, and where it is then."""
    service, found = p.middle.accounts.app_services.all[0], []
    while True:
        told = await p.middle.service_log.after(service, place)
        found += [item.event for item in told.items if item.event.type == "m.room.message"]
        place = told.place
        if not told.more:
            return [str(event.content["body"]) for event in found], place


@pytest.mark.parametrize("seed", range(12))
def test_a_service_hears_what_was_said_while_its_users_were_there(tmp_path: Path, seed: int) -> None:
    async def work() -> None:
        chance, store, heard = random.Random(seed), MemoryStore(), list[str]()
        config = registered(tmp_path, namespaces={"users": [{"regex": "@_irc_.*", "exclusive": True}]})
        async with party(config, store) as p:
            walk = Walk(p, chance)
            await walk.begin()
            place = p.middle.stream.committed
            for _ in range(STEPS):
                await walk.step()
                if chance.random() < 0.1:  # sometimes at once, sometimes much later
                    more, place = await _heard(p, place)
                    heard += more
            late = place
        # The rest after a restart: rooms are as they ended, and the past has to be looked up.
        async with party(config, reopened(store)) as p:
            more, _ = await _heard(p, late)
            assert heard + more == walk.truth

    run(work)


def test_a_service_that_was_away_all_the_time_hears_the_same(tmp_path: Path) -> None:
    async def work() -> None:
        config = registered(tmp_path, namespaces={"users": [{"regex": "@_irc_.*", "exclusive": True}]})
        async with party(config) as p:
            walk = Walk(p, random.Random(99))
            await walk.begin()
            place = p.middle.stream.committed
            for _ in range(4 * STEPS):
                await walk.step()
            heard, _ = await _heard(p, place)
            assert heard == walk.truth and len(walk.truth) > STEPS

    run(work)
