"""People of other XMPP servers are written to, and enter no rooms. docs/mapping.md 1.7, 15.8, 23.1"""

from types import SimpleNamespace
from typing import cast

import pytest

from tests.support.middle import party, run
from tripoint.core.event import Event
from tripoint.core.ids import InvalidId, RoomId
from tripoint.rooms.commands import CreateRoom, Invite, OpenDirect
from tripoint.rooms.refusals import Refusal, Refused

BOB = "bob@other.example"


def test_one_stands_for_each_and_talks_in_a_direct_room() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            accounts = p.middle.accounts
            bob = await accounts.stand_in(BOB)
            assert await accounts.stand_in(BOB) == bob
            assert await accounts.profile(bob.user_id) == {"displayname": BOB}
            room_id = (await p.middle.service.do(OpenDirect(actor=alice, target=bob.user_id))).room_id
            assert room_id is not None
            again = (await p.middle.service.do(OpenDirect(actor=bob.user_id, target=alice))).room_id
            assert again == room_id
            room = await p.middle.reader.room(room_id)
            assert set(room.joined()) == {alice, bob.user_id}
            assert room.create_event.content["m.federate"] is False
            with pytest.raises(InvalidId):
                await accounts.stand_in("b" * 250 + "@other.example")

    run(work)


def test_nobody_invites_them_into_a_room() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            bob = (await p.middle.accounts.stand_in(BOB)).user_id
            room_id = await p.room(alice)
            event = cast(Event, SimpleNamespace(room_id=RoomId("!there:far.example"), state_key=bob))
            for invitation in (
                p.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob)),
                p.middle.service.do(CreateRoom(actor=alice, invite=(bob,))),
                p.middle.invitations.receive(event, ()),
            ):
                with pytest.raises(Refused) as caught:
                    await invitation
                assert caught.value.refusal is Refusal.INVITES_BLOCKED

    run(work)
