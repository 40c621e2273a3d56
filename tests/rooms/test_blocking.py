"""Blocked people: one list per account, what it keeps away, what it leaves.  spec: docs/mapping.md 16"""

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.rooms.blocking import IGNORED, MASKS, MAX_ADDRESSES, MAX_MASKS, BlockList
from tripoint.rooms.commands import BlockUsers, Command, OpenDirect
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.memory import MemoryStore


async def refused(p: Party, command: Command) -> Refusal:
    with pytest.raises(Refused) as caught:
        await p.do(command)
    return caught.value.refusal


async def data(p: Party, user_id: UserId, kind: str) -> JsonObject | None:
    return await p.middle.accounts.account_data(user_id, None, kind)


def test_the_list_is_edited_and_what_others_wrote_in_it_stays() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as p:
            alice, bob, eve = await p.accounts("alice", "bob", "eve")
            content: JsonObject = {"ignored_users": {bob: {"why": 1}}, "other": 2}
            await p.middle.accounts.set_account_data(alice, None, IGNORED, content)
            await p.do(BlockUsers(actor=alice, users=(eve,), masks=("*!*@Spam.org", "*bot*")))
            assert await data(p, alice, IGNORED) == {"ignored_users": {bob: {"why": 1}, eve: {}}, "other": 2}
            assert await data(p, alice, MASKS) == {"masks": ["*!*@spam.org", "*bot*!*@*"]}
            reader = p.middle.reader
            assert reader.block_list(alice) == BlockList((bob, eve), ("*!*@spam.org", "*bot*!*@*"))
            for blocked in (bob, eve, "@x:spam.org", "@robots:far.org"):
                assert reader.blocks(alice, UserId(blocked))
            assert not reader.blocks(alice, alice)
            assert not reader.blocks(bob, alice)
            assert (reader.blockers(eve), reader.blockers(alice)) == ({alice}, frozenset())
        store._closed = False  # what a process left for the next one
        async with party(store=store) as p:
            # Known again after a start, without anybody asking for it.
            assert p.middle.reader.blocks(alice, eve)
            await p.do(BlockUsers(actor=alice, users=(bob, eve), masks=("*bot*",), on=False))
            assert p.middle.reader.block_list(alice) == BlockList((), ("*!*@spam.org",))
            await p.do(BlockUsers(actor=alice, masks=("*!*@spam.org",), on=False))
            assert p.middle.reader.block_list(alice) == BlockList()

    run(work)


def test_what_cannot_be_blocked() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            assert await refused(p, BlockUsers(actor=alice, users=(alice,))) is Refusal.BAD_MASK
            for mask in ("*", "*!*@10.0.0.1", "*!*@example.org", "a*ice*"):
                assert await refused(p, BlockUsers(actor=alice, masks=(mask,))) is Refusal.BAD_MASK
            many = tuple(f"nick{number}!*@*" for number in range(MAX_MASKS + 1))
            assert await refused(p, BlockUsers(actor=alice, masks=many)) is Refusal.LIST_FULL
            # What is no list blocks nobody.
            for content in ({"ignored_users": []}, {"ignored_users": {"": {}}}, {}):
                await p.middle.accounts.set_account_data(alice, None, IGNORED, dict(content))
            await p.middle.accounts.set_account_data(alice, None, MASKS, {"masks": ["*", 3, "10.0.0.1"]})
            assert not p.middle.reader.blocks(alice, UserId("@x:example.org"))

    run(work)


def test_history_is_without_them_and_state_is_whole() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, eve = await p.accounts("alice", "bob", "eve")
            room_id = await p.room(alice, bob, eve)
            for who in (bob, eve, bob, eve):
                await p.say(who, room_id, who)
            await p.do(BlockUsers(actor=alice, users=(eve,)))

            async def seen(viewer: UserId) -> list[UserId]:
                query = HistoryQuery(
                    room_id=room_id, viewer=viewer, direction=Direction.FORWARD, types=("m.room.message",), limit=50
                )
                return [item.event.sender for item in (await p.middle.reader.history(query)).items]

            assert await seen(alice) == [bob, bob]
            assert await seen(bob) == [bob, eve, bob, eve]
            query = HistoryQuery(
                room_id=room_id, viewer=alice, direction=Direction.FORWARD, types=("m.room.member",), limit=50
            )
            members = [item.event.state_key for item in (await p.middle.reader.history(query)).items]
            assert members == [alice, bob, eve]
            assert await refused(p, OpenDirect(actor=alice, target=eve)) is Refusal.BLOCKED
            direct = (await p.do(OpenDirect(actor=eve, target=alice))).room_id
            assert direct is not None
            await p.say(eve, direct, "hello")
            with pytest.raises(Refused) as caught:
                await p.say(alice, direct, "go")
            assert caught.value.refusal is Refusal.BLOCKED

    run(work)


def test_people_of_other_xmpp_servers_go_by_their_own_names() -> None:
    """docs/mapping.md 16.1, 16.2, 1.6: masks meet their addresses; where two names are proven one, both are blocked"""

    async def work() -> None:
        async with party() as p:
            alice, dora = await p.accounts("alice", "dora")
            stand_in = UserId("@_xmpp_bob=40far.example:example.org")
            other, same = UserId("@_xmpp_eve=40near.example:example.org"), UserId("@bob:far.example")
            blocks = p.middle.reader.blocks
            await p.do(BlockUsers(actor=alice, masks=("*!*@far.example",)))
            assert blocks(alice, stand_in) and blocks(alice, same) and not blocks(alice, other)
            for listed, twin in ((stand_in, same), (same, stand_in)):
                await p.do(BlockUsers(actor=dora, users=(listed,)))
                assert blocks(dora, listed) and not blocks(dora, twin)
                p.middle.blocks.same = {"far.example"}
                assert blocks(dora, twin) and dora in p.middle.reader.blockers(twin)
                assert not blocks(dora, other) and not blocks(dora, UserId("@bob:near.example"))
                assert not blocks(dora, UserId("@" + "b" * 230 + ":far.example"))
                p.middle.blocks.same = frozenset()
                await p.do(BlockUsers(actor=dora, users=(listed,), on=False))

    run(work)


def test_addresses_stand_beside_the_masks_and_are_found_by_who_sends() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as p:
            alice, bob = await p.accounts("alice", "bob")
            phone, room = "eve@example.org/phone", "tea@rooms.example.org"
            await p.do(BlockUsers(actor=alice, masks=("*!*@spam.org",), addresses=(phone, room)))
            await p.do(BlockUsers(actor=bob, addresses=(phone,)))
            assert await data(p, alice, MASKS) == {"masks": ["*!*@spam.org"], "addresses": [phone, room]}
            reader = p.middle.reader
            assert reader.address_blockers((phone, "eve@example.org")) == {alice, bob}
            assert reader.address_blockers((f"{room}/eve", room)) == {alice}
            assert reader.address_blockers(("eve@example.org",)) == frozenset()
        store._closed = False
        async with party(store=store) as p:
            reader = p.middle.reader
            assert reader.block_list(alice) == BlockList((), ("*!*@spam.org",), (phone, room))
            await p.do(BlockUsers(actor=alice, addresses=(phone,), on=False))
            assert reader.address_blockers((phone,)) == {bob}
            await p.do(BlockUsers(actor=bob, addresses=(phone,), on=False))
            assert reader.address_blockers((phone,)) == frozenset()
            many = tuple(f"a@b.org/{number}" for number in range(MAX_ADDRESSES))
            assert await refused(p, BlockUsers(actor=alice, addresses=many)) is Refusal.LIST_FULL

    run(work)
