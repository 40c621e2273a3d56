"""redact_events of kicks and bans.  spec: MSC4293; docs/mapping.md 9.8"""

import asyncio
from pathlib import Path

from tests.support.middle import Party, party, run
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.rooms.changes import Swept
from tripoint.rooms.commands import Ban, Join, Kick, Leave, SendState, SetRoomNick
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.sweeping import BEGUN, MAX_TOLD, begun
from tripoint.store.sqlite import SqliteStore


async def texts(at: Party, viewer: UserId, room_id: RoomId) -> list[object]:
    query = HistoryQuery(
        room_id=room_id, viewer=viewer, direction=Direction.BACKWARD, types=("m.room.message",), limit=1000
    )
    page = await at.middle.reader.history(query)
    return [item.event.content.get("body") for item in reversed(page.items)]


async def swept(at: Party) -> Swept:
    async with asyncio.timeout(10):
        while True:
            found = [change for change in at.room_changes if isinstance(change, Swept)]
            if found:
                at.room_changes.clear()
                return found[0]
            await asyncio.sleep(0.005)


async def nothing_begun(at: Party) -> None:
    async with asyncio.timeout(10):
        while True:
            if not await at.middle.store.load_names(BEGUN, ""):
                return
            await asyncio.sleep(0.005)


def test_since_he_came_in_over_a_change_of_his_name() -> None:
    async def work() -> None:
        async with party() as at:
            alice, bob = await at.accounts("alice", "bob")
            room_id = await at.room(alice, bob)
            await at.say(bob, room_id, "before")
            await at.do(Leave(actor=bob, room_id=room_id))
            await at.do(Join(actor=bob, room_id=room_id))
            await at.say(bob, room_id, "spam")
            await at.do(SetRoomNick(actor=bob, room_id=room_id, nick="Bobby"))
            await at.say(alice, room_id, "hey")
            await at.say(bob, room_id, "more")
            await at.do(Kick(actor=alice, room_id=room_id, target=bob, sweep=True))
            change = await swept(at)
            assert change.count == 2 and [event.content["body"] for event in change.gone] == ["spam", "more"]
            assert await texts(at, alice, room_id) == ["before", None, "hey", None]
            # What is gone from memory is gone from the store too, and nothing is left to do.
            assert await at.middle.store.load_names(BEGUN, "") == {}

    run(work)


def test_many_messages_are_all_taken_back_and_the_newest_told() -> None:
    async def work() -> None:
        async with party() as at:
            alice, bob = await at.accounts("alice", "bob")
            room_id = await at.room(alice, bob)
            for number in range(3 * MAX_TOLD + 5):
                await at.say(bob, room_id, f"spam {number}")
            await at.say(alice, room_id, "stop")
            await at.do(Ban(actor=alice, room_id=room_id, target=bob, sweep=True))
            change = await swept(at)
            assert change.count == 3 * MAX_TOLD + 5
            assert [event.content["body"] for event in change.gone] == [
                f"spam {number}" for number in range(2 * MAX_TOLD + 5, 3 * MAX_TOLD + 5)
            ]
            assert [body for body in await texts(at, alice, room_id) if body is not None] == ["stop"]

    run(work)


def test_without_the_right_to_redact_the_flag_is_ignored() -> None:
    async def work() -> None:
        async with party() as at:
            alice, bob, carol = await at.accounts("alice", "bob", "carol")
            room_id = await at.room(alice, bob, carol)
            levels = {**dict((await at.middle.reader.room(room_id)).power.content)}
            levels |= {"users": {bob: 60}, "redact": 80}
            await at.do(
                SendState(
                    actor=alice, room_id=room_id, type="m.room.power_levels", state_key="", content=levels
                )
            )
            await at.say(carol, room_id, "good")
            await at.do(Ban(actor=bob, room_id=room_id, target=carol, sweep=True))
            await nothing_begun(at)
            assert await texts(at, alice, room_id) == ["good"]
            # One's own leave takes nothing along either, whatever is written in it.
            content = {"membership": "leave", "redact_events": True}
            await at.say(alice, room_id, "mine")
            await at.do(
                SendState(actor=alice, room_id=room_id, type="m.room.member", state_key=alice, content=content)
            )
            assert not [change for change in at.room_changes if isinstance(change, Swept)]

    run(work)


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    """As after a kill between the ban and what follows it: both are in one transaction, so it is known."""

    async def work() -> None:
        path = tmp_path / "test.db"
        async with party(store=SqliteStore(path)) as at:
            alice, bob = await at.accounts("alice", "bob")
            room_id = await at.room(alice, bob)
            await at.say(bob, room_id, "spam")
            done = await at.do(Ban(actor=alice, room_id=room_id, target=bob))
            assert done.event_id is not None
            await at.middle.stream.commit([begun(room_id, done.event_id)])
            assert await texts(at, alice, room_id) == ["spam"]
        async with party(store=SqliteStore(path)) as at:
            await nothing_begun(at)
            assert await texts(at, alice, room_id) == [None]

    run(work)


def test_a_room_that_is_gone_has_nothing_left(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "test.db"
        async with party(store=SqliteStore(path)) as at:
            await at.middle.stream.commit([begun(RoomId("!gone:example.org"), EventId("$gone"))])
        async with party(store=SqliteStore(path)) as at:
            alice, bob = await at.accounts("alice", "bob")
            room_id = await at.room(alice, bob)
            await at.say(bob, room_id, "spam")
            await at.do(Ban(actor=alice, room_id=room_id, target=bob, sweep=True))
            assert (await swept(at)).count == 1
            await nothing_begun(at)

    run(work)
