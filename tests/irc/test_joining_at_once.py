"""Many JOINs of a name that is free, at the same moment: one makes the channel. spec: docs/mapping.md 4.3"""

from __future__ import annotations

import asyncio

import pytest

from tests.irc.server import SERVER, Client, serve
from tests.support.middle import run
from tripoint.core.ids import UserId
from tripoint.rooms.commands import Command, CreateRoom, Done
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.service import Service

NAMES = [f"user{number}" for number in range(12)]


async def _joined(client: Client) -> list[str]:
    return await client.until(r"( 366 | NOTICE .* too fast)")


def test_one_of_them_makes_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[UserId] = []
    do = Service.do

    async def spy(self: Service, command: Command) -> Done:
        if isinstance(command, CreateRoom):
            asked.append(command.actor)
        return await do(self, command)

    monkeypatch.setattr(Service, "do", spy)

    async def scenario() -> None:
        async with serve() as server:
            clients = [await server.account(name) for name in NAMES]
            for client in clients:
                client.send("JOIN #tea")
            for client in clients:
                await _joined(client)
            assert len(asked) == 1
            (founder,) = asked
            names = await clients[0].answer("NAMES #tea")
            listed = {word.lstrip("~") for line in names if " 353 " in line for word in line.split(" :")[-1].split()}
            assert listed == set(NAMES)
            assert any(f"~{founder[1:].partition(':')[0]}" in line for line in names)

    run(scenario)


def test_where_the_first_may_not_the_next_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[UserId] = []
    do = Service.do

    async def spy(self: Service, command: Command) -> Done:
        if isinstance(command, CreateRoom) and len(refused) < 2:
            refused.append(command.actor)
            await asyncio.sleep(0)
            raise Refused(Refusal.RATE_LIMITED)
        return await do(self, command)

    monkeypatch.setattr(Service, "do", spy)

    async def scenario() -> None:
        async with serve() as server:
            clients = [await server.account(name) for name in NAMES]
            for client in clients:
                client.send("JOIN #tea")
            without = {f"@{client.nick}:{SERVER}" for client in clients if " 366 " not in (await _joined(client))[-1]}
            assert without == set(refused)
            assert len(without) == 2

    run(scenario)
