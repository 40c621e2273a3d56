"""There is one Room of a room, also while it is made: both of two would build on its head."""

import asyncio

import pytest

from tests.support.middle import party, run
from tripoint.core.ids import RoomId
from tripoint.rooms.loaded import LOOKED_AT, LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _refused(asked: "asyncio.Task[Room]") -> Refusal:
    with pytest.raises(Refused) as refused:
        await asked
    return refused.value.refusal


def test_who_asks_while_a_room_is_written_gets_the_one_that_is_made() -> None:
    """The disk has it before this loop has heard so."""

    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            room_id = await p.room(alice)
            made = await p.middle.loaded.get(room_id)
            rooms = LoadedRooms(p.middle.store, lambda _: False, 10)
            made.last_unit = asyncio.get_running_loop().create_future()
            with rooms.expecting(made):
                asked = asyncio.ensure_future(rooms.get(room_id))
                await _turns()
                assert not asked.done()
                rooms.add(made)
                made.last_unit.set_result(None)
            assert await asked is made
            assert await rooms.get(room_id) is made

    run(work)


def test_who_reads_a_room_that_is_made_meanwhile_gets_that_one() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            room_id = await p.room(alice)
            made = await p.middle.loaded.get(room_id)
            rooms = LoadedRooms(p.middle.store, lambda _: False, 10)
            asked = asyncio.ensure_future(rooms.get(room_id))
            made.last_unit = asyncio.get_running_loop().create_future()
            with rooms.expecting(made):
                await _turns()
                rooms.add(made)
                made.last_unit.set_result(None)
            assert await asked is made

    run(work)


def test_a_room_that_was_not_made_is_not_waited_for() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            made = await p.middle.loaded.get(await p.room(alice))
            other = RoomId("!nobody:example.org")
            made.room_id = other
            rooms = LoadedRooms(p.middle.store, lambda _: False, 10)
            made.last_unit = asyncio.get_running_loop().create_future()
            with rooms.expecting(made):
                asked = asyncio.ensure_future(rooms.get(other))
                await _turns()
                made.last_unit.set_exception(Refused(Refusal.SERVER_BUSY))
            assert await _refused(asked) is Refusal.NO_SUCH_ROOM
            assert await _refused(asyncio.ensure_future(rooms.get(other))) is Refusal.NO_SUCH_ROOM

    run(work)


def test_rooms_that_must_stay_are_not_looked_at_each_time() -> None:
    """Many watched rooms beyond the limit: what nobody watches is let go, and a room more asks about few of them."""

    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            made = [await p.middle.loaded.get(await p.room(alice)) for _ in range(40)]
            watched = {room.room_id for room in made[:20]}
            asked: list[RoomId] = []

            def is_watched(room_id: RoomId) -> bool:
                asked.append(room_id)
                return room_id in watched

            rooms = LoadedRooms(p.middle.store, is_watched, 5)
            for room in made[:20]:
                rooms.add(room)
            for room in made[20:]:
                asked.clear()
                rooms.add(room)
                assert len(asked) <= LOOKED_AT
            here = {room.room_id for room in rooms.in_memory()}
            assert watched <= here
            assert len(here - watched) <= 10
            assert made[-1].room_id in here

    run(work)
