"""What an operator of the server does to rooms: by the power of its people, or not. spec: docs/mapping.md 18.4"""

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import Ban, Forced, Join, Kick, Leave, SendState, SetRanks, SetTopic
from tripoint.rooms.refusals import Refusal, Refused


async def _room(at: Party) -> tuple[UserId, UserId, UserId, RoomId]:
    op, alice, bob = await at.accounts("op", "alice", "bob")
    return op, alice, bob, await at.room(alice, bob)


def test_it_is_done_in_the_name_of_who_may() -> None:
    async def work() -> None:
        async with party() as at:
            op, alice, bob, room_id = await _room(at)
            await at.do(Forced(actor=op, wish=SetTopic(actor=op, room_id=room_id, topic="Kettle")))
            await at.do(Forced(actor=op, wish=SetRanks(actor=op, room_id=room_id, ranks=((bob, Rank.OP),))))
            told = [change.event for change in at.room_changes if isinstance(change, EventCommitted)][-2:]
            assert [event.sender for event in told] == [alice, alice]
            room = at.middle.loaded.peek(room_id)
            assert room is not None and room.rank(bob) is Rank.OP
            # Who is in the room and may do it does it himself.
            await at.do(Join(actor=op, room_id=room_id))
            await at.do(Forced(actor=op, wish=SetRanks(actor=op, room_id=room_id, ranks=((op, Rank.OP),))))
            await at.do(Forced(actor=op, wish=SetTopic(actor=op, room_id=room_id, topic="mine")))
            assert room.topic_event is not None and room.topic_event.sender == op

    run(work)


def test_nobody_who_may_nothing_done() -> None:
    async def work() -> None:
        async with party() as at:
            op, alice, bob, room_id = await _room(at)
            await at.do(Leave(actor=alice, room_id=room_id))
            for command in (
                SetTopic(actor=op, room_id=room_id, topic="mine"),
                SetRanks(actor=op, room_id=room_id, ranks=((bob, Rank.OP),)),
                Kick(actor=op, room_id=room_id, target=bob),
            ):
                with pytest.raises(Refused) as refused:
                    await at.do(Forced(actor=op, wish=command))
                assert refused.value.refusal is Refusal.NO_AUTHORITY

    run(work)


def test_who_is_made_to_join_is_invited_if_need_be() -> None:
    async def work() -> None:
        async with party() as at:
            op, alice, _, room_id = await _room(at)
            carol, dora = await at.accounts("carol", "dora")
            await at.do(Forced(actor=op, wish=Join(actor=carol, room_id=room_id)))
            rule = SendState(
                actor=alice, room_id=room_id, type="m.room.join_rules", state_key="", content={"join_rule": "invite"}
            )
            await at.do(rule)
            await at.do(Forced(actor=op, wish=Join(actor=dora, room_id=room_id)))
            room = at.middle.loaded.peek(room_id)
            assert room is not None
            assert {carol, dora} <= set(room.joined())
            # Who is banned is not: that would be another's word taken back.
            await at.do(Ban(actor=alice, room_id=room_id, target=dora))
            with pytest.raises(Refused) as refused:
                await at.do(Forced(actor=op, wish=Join(actor=dora, room_id=room_id)))
            assert refused.value.refusal is Refusal.BANNED
            with pytest.raises(Refused) as refused:
                await at.do(Forced(actor=op, wish=Join(actor=op, room_id=RoomId("!none:example.org"))))
            assert refused.value.refusal is Refusal.NO_SUCH_ROOM

    run(work)
