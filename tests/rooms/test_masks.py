"""Lists of masks in the middle: what they write, what they refuse, whom they meet.  spec: docs/mapping.md 9.2-9.5"""

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.commands import Command, Invite, Join, MaskList, SendState, SetMask, SetRanks, Template
from tripoint.rooms.masks import MASKS, MAX_MASKS, ListedMask, listed_masks
from tripoint.rooms.refusals import Refusal, Refused


async def refused(p: Party, command: Command) -> Refused:
    with pytest.raises(Refused) as caught:
        await p.do(command)
    return caught.value


async def listed(p: Party, room_id: RoomId, which: MaskList = MaskList.BAN) -> list[str]:
    found: list[ListedMask] = list(listed_masks(await p.middle.reader.room(room_id), which))
    return sorted(one.mask for one in found)


def ban(actor: UserId, room_id: RoomId, mask: str, *, on: bool = True, which: MaskList = MaskList.BAN) -> SetMask:
    return SetMask(actor=actor, room_id=room_id, list=which, mask=mask, on=on)


def test_a_first_ban_of_a_server_lets_all_others_in() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice, template=Template.CHANNEL)
            first = await p.do(ban(alice, room_id, "*!*@bad.example"))
            again = await p.do(ban(alice, room_id, "*!*@BAD.example"))
            assert again.event_id is None
            assert first.event_id is not None
            room = await p.middle.reader.room(room_id)
            assert room.state["m.room.server_acl", ""].content == {"allow": ["*"], "deny": ["bad.example"]}
            assert await listed(p, room_id) == ["*!*@bad.example"]
            # What another client wrote into the list is kept, and taken off one by one.
            content = {"allow": ["*"], "deny": ["bad.example", "*.worse"], "allow_ip_literals": False, "x": 1}
            await p.do(SendState(actor=alice, room_id=room_id, type="m.room.server_acl", state_key="", content=content))
            await p.do(ban(alice, room_id, "*!*@bad.example", on=False))
            assert room.state["m.room.server_acl", ""].content == {**content, "deny": ["*.worse"]}
            assert (await refused(p, ban(alice, room_id, "*!*@bad.example", on=False))).refusal is Refusal.NO_SUCH_MASK
            assert (await refused(p, ban(alice, room_id, "*!*@example.*"))).refusal is Refusal.BAD_MASK

    run(work)


def test_who_may_not_write_the_list_of_servers_writes_a_rule() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, bob, carol, template=Template.CHANNEL)
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),)))
            await p.do(ban(bob, room_id, "*!*@bad.example"))
            room = await p.middle.reader.room(room_id)
            assert ("m.room.server_acl", "") not in room.state
            assert room.state["m.policy.rule.user", "rule:*!*@bad.example"].content["entity"] == "@*:bad.example"
            assert (await refused(p, ban(carol, room_id, "*spam*"))).refusal is Refusal.POWER_TOO_LOW

    run(work)


def test_rules_of_others_count_and_can_be_taken_back() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, eve = await p.accounts("alice", "bob", "eve")
            room_id = await p.room(alice, template=Template.CHANNEL)
            rule = {"entity": "@e?e:*", "recommendation": "m.ban", "reason": "noise"}
            kind = "m.policy.rule.user"
            await p.do(SendState(actor=alice, room_id=room_id, type=kind, state_key="x", content=rule))
            assert await listed(p, room_id) == ["*!e?e@*"]
            assert (await refused(p, Join(actor=eve, room_id=room_id))).refusal is Refusal.BANNED
            # Other recommendations, and what is no text, ban nobody.
            other = {"entity": "@bob:*", "recommendation": "org.example.frown"}
            await p.do(SendState(actor=alice, room_id=room_id, type=kind, state_key="y", content=other))
            await p.do(SendState(actor=alice, room_id=room_id, type=kind, state_key="z", content={"entity": 7}))
            await p.do(Join(actor=bob, room_id=room_id))
            # An invitation is the word of somebody who knows whom he lets in.
            await p.do(Invite(actor=alice, room_id=room_id, target=eve))
            assert (await p.do(Join(actor=eve, room_id=room_id))).created
            await p.do(ban(alice, room_id, "*!e?e@*", on=False))
            assert await listed(p, room_id) == []

    run(work)


def test_guests_are_met_by_nick_and_host() -> None:
    async def work() -> None:
        async with party() as p:
            alice, guest = await p.accounts("alice", "zoe")
            room_id = await p.room(alice, template=Template.CHANNEL)
            await p.do(ban(alice, room_id, "*!*@1a2b.guest.example.org"))
            assert ("m.room.server_acl", "") not in (await p.middle.reader.room(room_id)).state
            came = Join(actor=guest, room_id=room_id, guise="@nick:1a2b.guest.example.org")
            assert (await refused(p, came)).refusal is Refusal.BANNED
            await p.do(Join(actor=guest, room_id=room_id, guise="@nick:ffff.guest.example.org"))

    run(work)


def test_masks_that_are_no_masks_are_passed_over() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, template=Template.CHANNEL)
            await p.do(ban(alice, room_id, "*bob*"))
            content = {"e": ["*", 3, "10.0.0.1", "bob!*@*"], "I": "all"}
            await p.do(SendState(actor=alice, room_id=room_id, type=MASKS, state_key="", content=content))
            await p.do(Join(actor=bob, room_id=room_id))
            assert await listed(p, room_id, MaskList.INVITE) == []
            await p.do(ban(alice, room_id, "*", on=False, which=MaskList.EXEMPT))
            assert await listed(p, room_id, MaskList.EXEMPT) == ["10.0.0.1", "bob!*@*"]

    run(work)


def test_who_needs_no_invitation_does_as_long_as_the_setter_could_invite() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dora = await p.accounts("alice", "bob", "carol", "dora")
            room_id = await p.room(alice, bob, template=Template.CHANNEL)
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),)))
            rule = {"join_rule": "invite"}
            await p.do(SendState(actor=alice, room_id=room_id, type="m.room.join_rules", state_key="", content=rule))
            await p.do(ban(bob, room_id, "?ar*ol!*@*", which=MaskList.INVITE))
            await p.do(ban(bob, room_id, "do*ra!*@*", which=MaskList.INVITE))
            await p.do(Join(actor=carol, room_id=room_id))
            room = await p.middle.reader.room(room_id)
            invitation = [i.event for i in room.recent if i.event.content.get("membership") == "invite"]
            assert [(e.sender, e.state_key) for e in invitation] == [(bob, carol)]
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.PLAIN),)))
            assert (await refused(p, Join(actor=dora, room_id=room_id))).refusal is Refusal.NOT_INVITED

    run(work)


def test_a_list_ends_somewhere() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice, template=Template.CHANNEL)
            full = {"e": [f"nick{number}!*@*" for number in range(MAX_MASKS)]}
            await p.do(SendState(actor=alice, room_id=room_id, type=MASKS, state_key="", content=full))
            more = ban(alice, room_id, "another!*@*", which=MaskList.EXEMPT)
            assert (await refused(p, more)).refusal is Refusal.LIST_FULL

    run(work)
