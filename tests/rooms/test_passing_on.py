"""What is shown to those who are in a room and not kept.  spec: docs/mapping.md 10.0"""

import pytest

from tests.support.middle import party, run
from tripoint.core.power import Rank
from tripoint.rooms.changes import PassedOn
from tripoint.rooms.codec import decode_change, decode_command, encode_change, encode_command
from tripoint.rooms.commands import PassOn, SetRanks
from tripoint.rooms.refusals import Refusal, Refused

PAYLOAD = "<thing xmlns='urn:x'/>"


def test_it_is_told_and_leaves_nothing_behind() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            before = (await p.middle.reader.room(room_id)).last_position
            command = PassOn(actor=bob, room_id=room_id, payload=PAYLOAD, token="t1")
            assert decode_command(encode_command(command)) == command
            await p.do(command)
            told = [change for change in p.room_changes if isinstance(change, PassedOn)]
            assert told == [PassedOn(room_id, bob, PAYLOAD, "t1")]
            assert decode_change(encode_change(told[0])) == told[0]
            assert (await p.middle.reader.room(room_id)).last_position == before

    run(work)


def test_it_takes_the_rights_of_a_message() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, bob)
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.MUTED),)))
            for who, refusal in ((bob, Refusal.CANNOT_SPEAK), (carol, Refusal.NOT_JOINED)):
                with pytest.raises(Refused) as caught:
                    await p.do(PassOn(actor=who, room_id=room_id, payload=PAYLOAD))
                assert caught.value.refusal is refusal
            await p.middle.accounts.set_suspended(alice, True)
            with pytest.raises(Refused) as caught:
                await p.do(PassOn(actor=alice, room_id=room_id, payload=PAYLOAD))
            assert caught.value.refusal is Refusal.ACCOUNT_SUSPENDED
            assert not [change for change in p.room_changes if isinstance(change, PassedOn)]

    run(work)
