"""Closing rooms, and keeping those that were to end.  spec: docs/mapping.md 4.8, 4.9"""

import asyncio

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import RoomId
from tripoint.core.power import Rank
from tripoint.rooms.changes import EventCommitted, RoomClosed
from tripoint.rooms.closing import AT_ONCE
from tripoint.rooms.commands import (
    CloseRoom,
    Command,
    CreateRoom,
    Invite,
    Join,
    KeepRoom,
    Knock,
    Leave,
    SendState,
    SetRanks,
    Template,
)
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.memory import MemoryStore


async def refused(p: Party, command: Command) -> Refusal:
    with pytest.raises(Refused) as caught:
        await p.do(command)
    return caught.value.refusal


def test_nothing_is_said_while_everybody_is_put_out() -> None:
    """Whatever turn of the loop it comes in: what is committed is told before the room is closed."""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            for turns in range(8):
                room_id = await p.room(alice, bob)
                p.room_changes.clear()
                closing = asyncio.ensure_future(p.do(CloseRoom(actor=alice, room_id=room_id)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                said = None
                try:
                    said = await p.say(bob, room_id, "wait")
                except Refused as refused_:
                    assert refused_.refusal in (Refusal.NO_SUCH_ROOM, Refusal.NOT_JOINED)
                await closing
                told = [
                    change.event.event_id if isinstance(change, EventCommitted) else "closed"
                    for change in p.room_changes
                    if isinstance(change, RoomClosed)
                    or (isinstance(change, EventCommitted) and change.event.type == "m.room.message")
                ]
                assert told == (["closed"] if said is None else [said, "closed"])

    run(work)


def test_everybody_goes_whoever_he_is_and_nobody_comes_back() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as p:
            alice, bob, carol, dora = await p.accounts("alice", "bob", "carol", "dora")
            done = await p.do(
                CreateRoom(
                    actor=alice, template=Template.CHANNEL, alias_localpart="tea", listed=True, room_version="11"
                )
            )
            room_id = done.room_id
            assert room_id is not None
            for one in (bob, carol):
                await p.do(Join(actor=one, room_id=room_id))
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OWNER),)))
            await p.do(Invite(actor=alice, room_id=room_id, target=dora))
            assert await refused(p, CloseRoom(actor=carol, room_id=room_id)) is Refusal.POWER_TOO_LOW
            await p.do(CloseRoom(actor=bob, room_id=room_id, reason="cold"))
            room = await p.middle.reader.room(room_id)
            assert not room.joined()
            assert (room.join_rule, room.listed, list(room.aliases)) == ("invite", False, [])
            # Alice, an equal, could not be kicked: she left.
            senders = {user: room.state["m.room.member", user].sender for user in (alice, bob, carol, dora)}
            assert senders == {alice: alice, bob: bob, carol: bob, dora: bob}
            told = [c for c in p.room_changes if isinstance(c, RoomClosed)]
            assert told == [RoomClosed(room_id, "cold", None)]
            for command in (
                Join(actor=alice, room_id=room_id),
                Knock(actor=carol, room_id=room_id),
                Invite(actor=bob, room_id=room_id, target=carol),
            ):
                assert await refused(p, command) is Refusal.NO_SUCH_ROOM
            # The name is free.
            again = await p.do(CreateRoom(actor=carol, template=Template.CHANNEL, alias_localpart="tea"))
            assert again.room_id != room_id
        async with party(store=store) as p:
            assert await refused(p, Join(actor=alice, room_id=room_id)) is Refusal.NO_SUCH_ROOM

    run(work)


def test_a_large_room_is_closed_in_parts_and_a_tombstone_names_the_next() -> None:
    async def work() -> None:
        async with party() as p:
            alice, *others = await p.accounts("alice", *(f"user{number}" for number in range(AT_ONCE + 5)))
            new = await p.room(alice)
            old = await p.room(alice, *others)
            await p.do(CloseRoom(actor=alice, room_id=old, replacement=new))
            room = await p.middle.reader.room(old)
            assert not room.joined()
            assert room.state["m.room.tombstone", ""].content["replacement_room"] == new
            last = [c.event for c in p.room_changes if isinstance(c, EventCommitted)][-1]
            assert (last.sender, last.state_key) == (alice, alice)

    run(work)


async def temporary(p: Party) -> RoomId:
    guest = await p.middle.accounts.create_guest("zoe", address="127.0.0.1")
    done = await p.do(CreateRoom(actor=guest.user_id, template=Template.TEMPORARY, alias_localpart="temp"))
    assert done.room_id is not None
    return done.room_id


def test_a_temporary_channel_is_kept_by_an_operator_with_an_account() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await temporary(p)
            room = await p.middle.reader.room(room_id)
            guest = room.state["m.room.create", ""].sender
            assert await refused(p, KeepRoom(actor=guest, room_id=room_id)) is Refusal.POWER_TOO_LOW
            assert await refused(p, KeepRoom(actor=alice, room_id=room_id)) is Refusal.NOT_JOINED
            await p.do(Join(actor=alice, room_id=room_id))
            assert await refused(p, KeepRoom(actor=alice, room_id=room_id)) is Refusal.POWER_TOO_LOW
            await p.do(SetRanks(actor=guest, room_id=room_id, ranks=((alice, Rank.OP),)))
            await p.do(KeepRoom(actor=alice, room_id=room_id))
            assert room.rank(alice) is Rank.OWNER
            for one in (guest, alice):
                await p.do(Leave(actor=one, room_id=room_id))
            assert (await p.do(Join(actor=alice, room_id=room_id))).created
            await p.do(
                SendState(actor=alice, room_id=room_id, type="m.room.name", state_key="", content={"name": "Mine"})
            )
            assert await refused(p, KeepRoom(actor=alice, room_id=room_id)) is Refusal.NOT_SUPPORTED

    run(work)


def test_a_channel_whose_maker_has_left_is_nobodys_to_keep() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await temporary(p)
            guest = (await p.middle.reader.room(room_id)).state["m.room.create", ""].sender
            await p.do(Join(actor=alice, room_id=room_id))
            await p.do(SetRanks(actor=guest, room_id=room_id, ranks=((alice, Rank.OP),)))
            await p.do(Leave(actor=guest, room_id=room_id))
            assert await refused(p, KeepRoom(actor=alice, room_id=room_id)) is Refusal.NOT_SUPPORTED

    run(work)


def test_who_was_made_an_owner_keeps_a_channel_whose_maker_has_left() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await temporary(p)
            room = await p.middle.reader.room(room_id)
            guest = room.state["m.room.create", ""].sender
            await p.do(Join(actor=alice, room_id=room_id))
            await p.do(SetRanks(actor=guest, room_id=room_id, ranks=((alice, Rank.OWNER),)))
            await p.do(Leave(actor=guest, room_id=room_id))
            await p.do(KeepRoom(actor=alice, room_id=room_id))
            await p.do(Leave(actor=alice, room_id=room_id))
            assert (await p.do(Join(actor=alice, room_id=room_id))).created
            assert room.rank(alice) is Rank.OWNER

    run(work)
