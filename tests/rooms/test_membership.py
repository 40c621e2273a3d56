"""Joining, leaving, inviting, kicking, banning, knocking: what is allowed, and how it is refused.

spec: docs/mapping.md 4, 9, 25; Matrix client-server "Room membership"
"""

import asyncio

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.changes import EventCommitted, MembershipChanged
from tripoint.rooms.commands import (
    Ban,
    Command,
    CreateRoom,
    Forget,
    Invite,
    Join,
    Kick,
    Knock,
    Leave,
    SendState,
    SetRoomNick,
    Template,
    Unban,
)
from tripoint.rooms.refusals import Refusal, Refused


async def refused(p: Party, command: Command) -> Refusal:
    """The refusal of a command; nothing may have been told."""
    before = len(p.room_changes), len(p.user_changes)
    with pytest.raises(Refused) as caught:
        await p.do(command)
    assert (len(p.room_changes), len(p.user_changes)) == before
    return caught.value.refusal


def test_a_public_room_is_entered_and_left() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice)
            done = await p.do(Join(actor=bob, room_id=room_id))
            assert done.created
            again = await p.do(Join(actor=bob, room_id=room_id))
            assert (again.event_id, again.created) == (done.event_id, False)
            room = await p.middle.reader.room(room_id)
            assert set(room.joined()) == {alice, bob}
            await p.do(Leave(actor=bob, room_id=room_id, reason="tea is cold"))
            assert set(room.joined()) == {alice}
            change = p.room_changes[-1]
            assert isinstance(change, EventCommitted)
            assert change.event.content == {"membership": "leave", "reason": "tea is cold"}
            moves = [(c.before, c.membership) for c in p.user_changes if isinstance(c, MembershipChanged)]
            assert moves[-2:] == [("leave", "join"), ("join", "leave")]
            assert await refused(p, Leave(actor=bob, room_id=room_id)) is Refusal.NOT_JOINED

    run(work)


def test_a_private_room_asks_for_an_invitation() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, template=Template.PRIVATE_CHAT)
            assert await refused(p, Join(actor=bob, room_id=room_id)) is Refusal.NOT_INVITED
            assert await refused(p, Invite(actor=bob, room_id=room_id, target=carol)) is Refusal.NOT_JOINED
            await p.do(Invite(actor=alice, room_id=room_id, target=bob))
            assert await refused(p, Invite(actor=bob, room_id=room_id, target=carol)) is Refusal.NOT_JOINED
            await p.do(Join(actor=bob, room_id=room_id))
            assert await refused(p, Invite(actor=alice, room_id=room_id, target=bob)) is Refusal.ALREADY_JOINED
            ghost = UserId("@ghost:example.org")
            assert await refused(p, Invite(actor=alice, room_id=room_id, target=ghost)) is Refusal.NO_SUCH_USER
            await p.do(Leave(actor=bob, room_id=room_id))
            assert await refused(p, Join(actor=bob, room_id=room_id)) is Refusal.NOT_INVITED

    run(work)


def test_kick_and_ban_need_more_power_than_the_target_has() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, bob, carol)
            assert await refused(p, Kick(actor=bob, room_id=room_id, target=carol)) is Refusal.POWER_TOO_LOW
            levels = dict((await p.middle.reader.room(room_id)).power.content)
            levels["users"] = {bob: 60, carol: 60}
            await p.do(
                SendState(actor=alice, room_id=room_id, type="m.room.power_levels", state_key="", content=levels)
            )
            assert await refused(p, Kick(actor=bob, room_id=room_id, target=carol)) is Refusal.SAME_POWER
            assert await refused(p, Ban(actor=bob, room_id=room_id, target=alice)) is Refusal.SAME_POWER
            await p.do(Ban(actor=alice, room_id=room_id, target=bob, reason="noise"))
            room = await p.middle.reader.room(room_id)
            assert room.membership(bob) == "ban"
            assert await refused(p, Join(actor=bob, room_id=room_id)) is Refusal.BANNED
            assert await refused(p, Unban(actor=carol, room_id=room_id, target=alice)) is Refusal.TARGET_NOT_JOINED
            await p.do(Unban(actor=alice, room_id=room_id, target=bob))
            await p.do(Join(actor=bob, room_id=room_id))
            await p.do(Kick(actor=alice, room_id=room_id, target=bob))
            assert room.membership(bob) == "leave"
            assert await refused(p, Kick(actor=alice, room_id=room_id, target=bob)) is Refusal.TARGET_NOT_JOINED

    run(work)


def test_knocking_is_for_rooms_that_take_knocks() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice)
            assert await refused(p, Knock(actor=bob, room_id=room_id)) is Refusal.NOT_INVITED
            rules = {"join_rule": "knock"}
            await p.do(SendState(actor=alice, room_id=room_id, type="m.room.join_rules", state_key="", content=rules))
            await p.do(Knock(actor=bob, room_id=room_id, reason="may I?"))
            room = await p.middle.reader.room(room_id)
            assert room.membership(bob) == "knock"
            assert await refused(p, Join(actor=bob, room_id=room_id)) is Refusal.NOT_INVITED
            await p.do(Invite(actor=alice, room_id=room_id, target=bob))
            await p.do(Join(actor=bob, room_id=room_id))
            assert room.membership(bob) == "join"

    run(work)


def test_a_restricted_room_lets_members_of_another_room_in() -> None:
    """spec: client-server "Restricted rooms": the event names a local user who could have invited."""

    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            club = await p.room(alice, bob)
            room_id = await p.room(alice)
            allow = [{"type": "m.room_membership", "room_id": club}]
            rules = {"join_rule": "restricted", "allow": allow}
            await p.do(SendState(actor=alice, room_id=room_id, type="m.room.join_rules", state_key="", content=rules))
            assert await refused(p, Join(actor=carol, room_id=room_id)) is Refusal.NOT_INVITED
            await p.do(Join(actor=bob, room_id=room_id))
            change = p.room_changes[-1]
            assert isinstance(change, EventCommitted)
            assert change.event.content["join_authorised_via_users_server"] == alice

    run(work)


def test_a_forgotten_room_is_no_longer_listed() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            assert await refused(p, Forget(actor=bob, room_id=room_id)) is Refusal.ALREADY_JOINED
            await p.do(Leave(actor=bob, room_id=room_id))
            assert dict(await p.middle.reader.memberships(bob)) == {room_id: "leave"}
            await p.do(Forget(actor=bob, room_id=room_id))
            assert dict(await p.middle.reader.memberships(bob)) == {}

    run(work)


def test_a_room_nick_is_the_members_own_and_goes_back_to_the_profile() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice)
            room = await p.middle.reader.room(room_id)
            await p.do(SetRoomNick(actor=alice, room_id=room_id, nick="Kettle"))
            assert room.joined()[alice].displayname == "Kettle"
            await p.do(SetRoomNick(actor=alice, room_id=room_id, nick=None))
            assert room.joined()[alice].displayname == "alice"

    run(work)


def test_nobody_joins_for_somebody_else() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice)
            wish = SendState(
                actor=alice,
                room_id=room_id,
                type="m.room.member",
                state_key=bob,
                content={"membership": "join"},
            )
            assert await refused(p, wish) is Refusal.POWER_TOO_LOW
            strange = SendState(
                actor=alice,
                room_id=room_id,
                type="m.room.member",
                state_key=bob,
                content={"membership": "asleep"},
            )
            assert await refused(p, strange) is Refusal.BAD_CONTENT

    run(work)


def test_a_room_that_is_not_there() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            nowhere = RoomId("!nowhere:example.org")
            for command in (
                Join(actor=alice, room_id=nowhere),
                Leave(actor=alice, room_id=nowhere),
                Kick(actor=alice, room_id=nowhere, target=alice),
            ):
                assert await refused(p, command) is Refusal.NO_SUCH_ROOM

    run(work)


def test_too_many_rooms() -> None:
    async def work() -> None:
        from dataclasses import replace

        from tests.support.middle import UNLIMITED, make_config

        async with party(make_config(replace(UNLIMITED, rooms_per_account=2))) as p:
            alice, bob = await p.accounts("alice", "bob")
            rooms = [await p.room(alice), await p.room(alice)]
            third = await p.room(bob)
            assert await refused(p, Join(actor=alice, room_id=third)) is Refusal.TOO_MANY_ROOMS
            assert await refused(p, CreateRoom(actor=alice)) is Refusal.TOO_MANY_ROOMS
            await p.do(Leave(actor=alice, room_id=rooms[0]))
            await p.do(Join(actor=alice, room_id=third))

    run(work)


def test_who_joins_from_two_places_at_once_is_inside_for_both() -> None:
    """The second is told so when the first one's join is on disk, not before."""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice)
            room = await p.middle.reader.room(room_id)

            async def come() -> str:
                await p.do(Join(actor=bob, room_id=room_id))
                return room.membership(bob)

            assert await asyncio.gather(come(), come(), come()) == ["join"] * 3

    run(work)
