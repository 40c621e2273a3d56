"""Sticky events between servers: who was away and who comes late gets them, and who may stay is agreed on in the end.

spec: MSC4354 "Proposal", "Federation behaviour"
"""

import asyncio
from collections.abc import Sequence

from tests.federation.fleet import Sea, Ship, launch
from tests.federation.islands import Island, bring_in, islands
from tests.federation.quarrels import trio
from tests.federation.test_transactions import sailing, shared
from tests.support.middle import run
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.core.sticky import MAX_STICKY_MS
from tripoint.rooms.accept import Verdict
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import Ban, Join, Kick, SendEvent, SetRanks, Unban


async def stick(at: Ship | Island, user_id: UserId, room_id: RoomId, ms: int = MAX_STICKY_MS) -> EventId:
    content = {"msc4354_sticky_key": "phone"}
    command = SendEvent(actor=user_id, room_id=room_id, type="m.rtc.member", content=content, sticky_ms=ms)
    done = await at.party.do(command)
    assert done.event_id is not None
    return done.event_id


def sticky(at: Ship | Island, room_id: RoomId) -> list[EventId]:
    return [one.event_id for one in at.party.middle.reader.sticky_in(room_id, -1, 2**62)]


def test_who_was_away_gets_what_is_sticky_however_much_was_said_since() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        sent = [await stick(ships[0], users[0], room_id) for _ in range(60)]
        for number in range(120):
            await ships[0].party.say(users[0], room_id, str(number))
        await asyncio.sleep(60)
        assert sticky(ships[1], room_id) == []
        sea.heal()
        await asyncio.sleep(400)
        assert set(sticky(ships[1], room_id)) == set(sent)
        assert not ships[0].traffic.sender._lanes

    sailing("a.org", "b.org")(test)


def test_a_server_that_comes_gets_what_others_have_sticky_there() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        first, second, late = ships
        room_id, users = await shared(ships[:2])
        await launch(ships)
        sent = {await stick(first, users[0], room_id), await stick(second, users[1], room_id)}
        await stick(first, users[0], room_id, 1000)
        await asyncio.sleep(5)
        for number in range(30):
            await first.party.say(users[0], room_id, str(number))
        await asyncio.sleep(5)
        carol = UserId(f"@carol:{late.name}")
        join = await bring_in(first.island, late.island, carol, room_id)
        await second.island.deliver(join)
        await asyncio.sleep(30)
        assert set(sticky(late, room_id)) == sent
        # One who comes from where somebody is already is no reason to say it again.
        sea.requests.clear()
        await late.party.do(Join(actor=UserId(f"@dan:{late.name}"), room_id=room_id))
        await asyncio.sleep(30)
        assert not [path for a, b, _, path in sea.requests if (a, b) == ("a.org", "c.org") and "/send/" in path]

    sailing("a.org", "b.org", "c.org")(test)


async def kicked_or_not(servers: Sequence[Island]) -> tuple[RoomId, list[UserId], Event, Event]:
    """Bob bans Carol, while Alice bans Bob; Carol's server has seen neither, and she says something sticky."""
    one, two, three = servers
    room_id, people = await trio(list(servers), "12")
    alice, bob, carol = (of[0] for of in people)
    await one.party.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),)))
    for other in (two, three):
        await other.deliver(one.outgoing[-1])
    for island in servers:
        island.outgoing.clear()
    await two.party.do(Ban(actor=bob, room_id=room_id, target=carol))
    await one.party.do(Ban(actor=alice, room_id=room_id, target=bob))
    await stick(three, carol, room_id)
    return room_id, [alice, bob, carol], two.outgoing[0], one.outgoing[0]


def test_what_soft_failed_is_shown_when_its_sender_is_back() -> None:
    """spec: MSC4354, the note on soft failure: "If they saw "Bob kicks Charlie" then E would be rejected, and would
    need to be rolled back when they see "Alice kicks Bob"." """

    async def work() -> None:
        async with islands("a.org", "b.org", "c.org") as servers:
            room_id, _, bobs_ban, alices_ban = await kicked_or_not(servers)
            _, two, three = servers
            (event,) = three.outgoing
            assert await two.deliver(event) is Verdict.SOFT_FAILED
            assert sticky(two, room_id) == []
            assert await two.deliver(alices_ban) is Verdict.ACCEPTED
            room = await two.party.middle.loaded.get(room_id)
            assert room.membership(event.sender) == "join"
            await _settled(two)
            assert sticky(two, room_id) == [event.event_id]
            told = [c for c in two.party.room_changes if isinstance(c, EventCommitted)]
            assert told[-1].event.event_id == event.event_id
            assert event.event_id not in room.head.extremities
            assert await two.deliver(event) is Verdict.KNOWN
            assert bobs_ban.event_id != alices_ban.event_id

    run(work)


def test_who_stays_out_is_not_heard() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            alice, bob = people[0][0], people[1][0]
            await stick(two, bob, room_id, 60_000)
            await one.party.do(Kick(actor=alice, room_id=room_id, target=bob))
            (late,) = two.outgoing
            assert await one.deliver(late) is Verdict.SOFT_FAILED
            await one.party.do(Ban(actor=alice, room_id=room_id, target=bob))
            await one.party.do(Unban(actor=alice, room_id=room_id, target=bob))
            await _settled(one)
            assert sticky(one, room_id) == []
            # What is over is not looked at any more.
            one.party.clock.now += 61
            await one.party.do(Ban(actor=alice, room_id=room_id, target=bob))
            await _settled(one)
            assert sticky(one, room_id) == [] and not one.party.middle.unfailing._failed

    run(work)


def test_a_time_in_the_future_or_the_past() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            bob = people[1][0]
            clock = one.party.clock
            clock.now += 3600
            ahead = await stick(two, bob, room_id, 60_000)
            clock.now -= 3600
            behind = await stick(two, bob, room_id, 60_000)
            over = await stick(two, bob, room_id, 20_000)
            clock.now += 30
            for event in two.outgoing:
                assert await one.deliver(event) is Verdict.ACCEPTED
            left = one.party.middle.reader.sticky_left_ms
            assert (left(ahead), left(behind), left(over)) == (60_000, 30_000, None)

    run(work)


async def _settled(at: Island) -> None:
    """What was begun in the background is done."""
    task = at.party.middle.unfailing._task
    if task is not None:
        await task

