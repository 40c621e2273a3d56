"""People of other XMPP servers are written to, and enter rooms that let them in. docs/mapping.md 1.7, 15.8, 23.1"""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import Party, party, run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import InvalidId, RoomId, UserId
from tripoint.rooms.commands import (
    Command,
    CreateRoom,
    Invite,
    Join,
    Knock,
    Leave,
    MaskList,
    OpenDirect,
    SendState,
    SetMask,
    Template,
)
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import says_of_foreigners

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


FOREIGN = "dev.tripoint.room.foreign"


async def tea(p: Party, alice: UserId, template: Template = Template.MUC) -> RoomId:
    """A room with a local name."""
    done = await p.do(CreateRoom(actor=alice, template=template, alias_localpart="tea"))
    assert done.room_id is not None
    return done.room_id


async def says(p: Party, alice: UserId, room_id: RoomId, type_: str, content: JsonObject) -> None:
    await p.do(SendState(actor=alice, room_id=room_id, type=type_, state_key="", content=content))


async def refusal(p: Party, command: Command) -> Refusal:
    with pytest.raises(Refused) as caught:
        await p.do(command)
    return caught.value.refusal


def test_which_rooms_let_them_in() -> None:
    """docs/mapping.md 23.1: made from XMPP, or told to, or open to guests; with a name of this server"""

    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            bob = (await p.middle.accounts.stand_in(BOB)).user_id
            made = await tea(p, alice)
            assert (await p.do(Join(actor=bob, room_id=made))).created
            await p.do(Leave(actor=bob, room_id=made))
            contents: list[JsonObject] = [{"xmpp": False}, {}, {"xmpp": True}, {"xmpp": "1"}]
            for content in contents:
                lets = content.get("xmpp") is True
                await says(p, alice, made, FOREIGN, content)
                if lets:
                    assert (await p.do(Join(actor=bob, room_id=made))).created
                    await p.do(Leave(actor=bob, room_id=made))
                else:
                    assert await refusal(p, Join(actor=bob, room_id=made)) is Refusal.FOREIGNERS_FORBIDDEN
            await says(p, alice, made, "m.room.guest_access", {"guest_access": "can_join"})
            assert (await p.do(Join(actor=bob, room_id=made))).created
            # What the room says of them counts more than what it says of guests.
            await p.do(Leave(actor=bob, room_id=made))
            await says(p, alice, made, FOREIGN, {"xmpp": False})
            assert await refusal(p, Join(actor=bob, room_id=made)) is Refusal.FOREIGNERS_FORBIDDEN
            assert await refusal(p, Knock(actor=bob, room_id=made)) is Refusal.FOREIGNERS_FORBIDDEN
            # A room without a name, or with one of another server, is none for them.
            other = await p.room(alice)
            await says(p, alice, other, FOREIGN, {"xmpp": True})
            assert await refusal(p, Join(actor=bob, room_id=other)) is Refusal.FOREIGNERS_FORBIDDEN
            assert await refusal(p, CreateRoom(actor=bob)) is Refusal.FOREIGNERS_FORBIDDEN

    run(work)


def test_who_is_invited_where_none_are_let_in() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            bob = (await p.middle.accounts.stand_in(BOB)).user_id
            room_id = await p.room(alice)
            assert await refusal(p, Invite(actor=alice, room_id=room_id, target=bob)) is Refusal.FOREIGNERS_FORBIDDEN
            assert await refusal(p, CreateRoom(actor=alice, invite=(bob,))) is Refusal.FOREIGNERS_FORBIDDEN
            there = RoomId("!there:far.example")
            event = cast(Event, SimpleNamespace(sender="@far:far.example", room_id=there, state_key=bob))
            with pytest.raises(Refused) as caught:
                await p.middle.invitations.receive(event, ())
            assert caught.value.refusal is Refusal.FOREIGNERS_FORBIDDEN
            made = await tea(p, alice)
            assert (await p.do(Invite(actor=alice, room_id=made, target=bob))).created

    run(work)


def test_masks_and_bans_of_servers_meet_them() -> None:
    """docs/mapping.md 9.2, 9.3: by the domain of their address, not by the server that stands for them"""

    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            bob = (await p.middle.accounts.stand_in(BOB)).user_id
            carl = (await p.middle.accounts.stand_in("carl@fine.example")).user_id
            room_id = await tea(p, alice)
            for user_id in (bob, carl):
                await p.do(Join(actor=user_id, room_id=room_id))
            await p.do(SetMask(actor=alice, room_id=room_id, list=MaskList.BAN, mask="*!*@other.example", on=True))
            for _ in range(100):
                await asyncio.sleep(0)
            room = await p.middle.reader.room(room_id)
            assert set(room.joined()) == {alice, carl}
            assert await refusal(p, Join(actor=bob, room_id=room_id)) is Refusal.BANNED
            await p.do(SetMask(actor=alice, room_id=room_id, list=MaskList.BAN, mask="*!*@other.example", on=False))
            assert (await p.do(Join(actor=bob, room_id=room_id))).created
            await p.do(Leave(actor=bob, room_id=room_id))
            await p.do(SetMask(actor=alice, room_id=room_id, list=MaskList.BAN, mask="bob*!*@*.example", on=True))
            assert await refusal(p, Join(actor=bob, room_id=room_id)) is Refusal.BANNED

    run(work)


@given(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5)))
def test_what_a_room_says_of_them_is_read_strictly(content: JsonObject) -> None:
    event = cast(Event, SimpleNamespace(content=content))
    said = says_of_foreigners({(FOREIGN, ""): event})
    assert said is (content.get("xmpp") if isinstance(content.get("xmpp"), bool) else None)
