"""The door of a room: passwords, limits, pace, text without colours.

spec: docs/mapping.md 8.5, 8.6, 8.18, 8.19, 27.9
"""

import asyncio
from typing import Any

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import (
    Command,
    CreateRoom,
    Invite,
    Join,
    Leave,
    Secret,
    SendEvent,
    SendState,
    SetPassword,
    SetRanks,
    Template,
)
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import LIMITS, SLOW, TEXT_RULES, without_colours


async def refused(p: Party, command: Command) -> Refused:
    with pytest.raises(Refused) as caught:
        await p.do(command)
    return caught.value


def put(actor: UserId, room_id: RoomId, type_: str, content: dict[str, Any]) -> SendState:
    return SendState(actor=actor, room_id=room_id, type=type_, state_key="", content=content)


def word(actor: UserId, room_id: RoomId, text: str | None) -> SetPassword:
    return SetPassword(actor=actor, room_id=room_id, password=None if text is None else Secret(text))


def test_a_password_lets_in_and_is_nowhere_to_be_seen() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, template=Template.CHANNEL)
            await p.do(word(alice, room_id, "oolong-leaf"))
            assert (await refused(p, Join(actor=bob, room_id=room_id))).refusal is Refusal.WRONG_ROOM_PASSWORD
            for wrong in ("Oolong-leaf", "oolong-leaf ", "x" * 5000):
                no = await refused(p, Join(actor=bob, room_id=room_id, password=Secret(wrong)))
                assert no.refusal is Refusal.WRONG_ROOM_PASSWORD
            await p.do(Join(actor=bob, room_id=room_id, password=Secret("oolong-leaf")))
            await p.do(Invite(actor=alice, room_id=room_id, target=carol))
            await p.do(Join(actor=carol, room_id=room_id))
            room = await p.middle.reader.room(room_id)
            join = room.state["m.room.member", bob]
            assert join.content["join_authorised_via_users_server"] == alice
            events = [change.event.json for change in p.room_changes if isinstance(change, EventCommitted)]
            assert events
            assert not any(b"oolong" in json for json in events)
            stored = await p.middle.store.load_room_password(p.middle.loaded.peek(room_id).room_key)  # type: ignore[union-attr]
            assert stored is not None
            assert b"oolong" not in (stored.verifier or b"")
            assert "oolong" not in repr(Join(actor=bob, room_id=room_id, password=Secret("oolong-leaf")))

    run(work)


def test_another_password_is_the_only_one_then_and_without_one_the_old_rule_holds() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, template=Template.CHANNEL)
            room = await p.middle.reader.room(room_id)
            await p.do(put(alice, room_id, "m.room.join_rules", {"join_rule": "knock"}))
            await p.do(word(alice, room_id, "one"))
            assert room.state["m.room.join_rules", ""].content == {
                "join_rule": "knock_restricted",
                "allow": [{"type": "dev.tripoint.password"}],
            }
            before = len(p.room_changes)
            await p.do(word(alice, room_id, "two"))
            assert len(p.room_changes) == before
            no = await refused(p, Join(actor=bob, room_id=room_id, password=Secret("one")))
            assert no.refusal is Refusal.WRONG_ROOM_PASSWORD
            await p.do(Join(actor=bob, room_id=room_id, password=Secret("two")))
            await p.do(word(alice, room_id, None))
            assert room.state["m.room.join_rules", ""].content == {"join_rule": "knock"}
            await p.do(Leave(actor=bob, room_id=room_id))
            no = await refused(p, Join(actor=bob, room_id=room_id, password=Secret("two")))
            assert no.refusal is Refusal.NOT_INVITED
            assert (await p.do(word(alice, room_id, None))).event_id is None

    run(work)


def test_who_may_set_one_and_where() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob, template=Template.CHANNEL)
            assert (await refused(p, word(bob, room_id, "mine"))).refusal is Refusal.POWER_TOO_LOW
            for bad in ("", "two words", "a,b", ":colon", "x" * 129, "tab\t"):
                assert (await refused(p, word(alice, room_id, bad))).refusal is Refusal.BAD_CONTENT
            old = await p.do(CreateRoom(actor=alice, template=Template.CHANNEL, room_version="7"))
            assert old.room_id is not None
            assert (await refused(p, word(alice, old.room_id, "tea"))).refusal is Refusal.NOT_SUPPORTED

    run(work)


def test_nobody_is_let_in_by_password_when_nobody_could_let_him_in() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, bob, template=Template.CHANNEL)
            await p.do(word(alice, room_id, "tea"))
            await p.do(Leave(actor=alice, room_id=room_id))
            no = await refused(p, Join(actor=carol, room_id=room_id, password=Secret("tea")))
            assert no.refusal is Refusal.WRONG_ROOM_PASSWORD
            assert "ask for an invitation" in no.text

    run(work)


def test_a_limit_holds_for_those_who_come_at_once() -> None:
    async def work() -> None:
        async with party() as p:
            alice, *others = await p.accounts("alice", "bob", "carol", "dora", "erin")
            room_id = await p.room(alice, template=Template.CHANNEL)
            await p.do(put(alice, room_id, LIMITS, {"max_members": 3}))
            came = await asyncio.gather(
                *(p.do(Join(actor=one, room_id=room_id)) for one in others), return_exceptions=True
            )
            full = [one for one in came if isinstance(one, Refused)]
            assert [one.refusal for one in full] == [Refusal.ROOM_FULL] * 2
            room = await p.middle.reader.room(room_id)
            assert room.joined_count() == 3
            # Who is in stays in, and what is no number is no limit.
            await p.do(put(alice, room_id, LIMITS, {"max_members": 1}))
            await p.do(Join(actor=alice, room_id=room_id))
            for content in ({"max_members": "1"}, {"max_members": True}, {"max_members": -1}, {}):
                await p.do(put(alice, room_id, LIMITS, content))
            await p.do(Join(actor=next(one for one in others if one not in room.joined()), room_id=room_id))

    run(work)


def test_slow_mode_slows_what_is_said_and_nobody_who_may_ban() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob, template=Template.CHANNEL)
            await p.do(put(alice, room_id, SLOW, {"seconds": 30}))
            said = await p.say(bob, room_id, "one")
            second = SendEvent(
                actor=bob, room_id=room_id, type="m.room.message", content={"msgtype": "m.text", "body": "two"}
            )
            no = await refused(p, second)
            assert (no.refusal, no.retry_after_ms) == (Refusal.SLOW_MODE, 30_000)
            relation = {"rel_type": "m.annotation", "event_id": said, "key": "+"}
            await p.do(SendEvent(actor=bob, room_id=room_id, type="m.reaction", content={"m.relates_to": relation}))
            p.clock.now += 29.5
            assert (await refused(p, second)).retry_after_ms == 500
            p.clock.now += 0.5
            await p.do(second)
            await p.say(alice, room_id, "one")
            await p.say(alice, room_id, "two")
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),)))
            await p.do(second)

    run(work)


def test_colours_are_taken_out() -> None:
    html = "<span data-mx-color='#ff0000' data-mx-bg-color=\"#000\">a</span> color=red <font color=red>b</font>"
    new = {"formatted_body": html}
    content = {"msgtype": "m.text", "body": "a", "formatted_body": html, "m.new_content": new}
    plain = "<span>a</span> color=red <font>b</font>"
    edited = {"formatted_body": plain}
    assert without_colours(content) == {**content, "formatted_body": plain, "m.new_content": edited}

    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice, template=Template.CHANNEL)
            await p.do(put(alice, room_id, TEXT_RULES, {"no_colour": True}))
            await p.do(SendEvent(actor=alice, room_id=room_id, type="m.room.message", content=content))
            room = await p.middle.reader.room(room_id)
            assert room.recent[-1].event.content["formatted_body"] == plain

    run(work)


def test_who_may_ban_gets_into_a_full_room_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """spec: XEP-0045 7.2.9"""
    monkeypatch.setattr("tripoint.rooms.entry.PLACES_FOR_ADMINS", 1)

    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dora = await p.accounts("alice", "bob", "carol", "dora")
            room_id = await p.room(alice, template=Template.CHANNEL)
            await p.do(put(alice, room_id, LIMITS, {"max_members": 1}))
            ranks = ((carol, Rank.OP), (dora, Rank.OP))
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=ranks, absent=True))
            assert (await refused(p, Join(actor=bob, room_id=room_id))).refusal is Refusal.ROOM_FULL
            await p.do(Join(actor=carol, room_id=room_id))
            assert (await refused(p, Join(actor=dora, room_id=room_id))).refusal is Refusal.ROOM_FULL

    run(work)


def test_a_rank_waits_for_who_is_absent_where_that_is_asked_for() -> None:
    """spec: XEP-0045 10.3; docs/mapping.md 7.5"""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, template=Template.CHANNEL)
            wish = SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),))
            assert (await refused(p, wish)).refusal is Refusal.TARGET_NOT_JOINED
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),), absent=True))
            await p.do(Join(actor=bob, room_id=room_id))
            assert (await p.middle.reader.room(room_id)).rank(bob) is Rank.OP

    run(work)
