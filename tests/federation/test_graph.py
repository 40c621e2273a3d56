"""One room on several servers: what one says all get, whatever the order, and the state ends equal.

spec: Matrix server-server-api "Checks performed on receipt of a PDU", "Rejection", "Soft failure"; rooms/v2, v12
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.federation.islands import Island, islands
from tests.federation.quarrels import carry, share_power, something, trio
from tests.support.middle import run
from tests.support.slow_store import SlowStore
from tripoint.core.event import EventDraft, build_event, parse_event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.accept import Lacking, Verdict
from tripoint.rooms.changes import EventCommitted, MembershipChanged, RoomChange, StateReset
from tripoint.rooms.commands import Ban, Join, Leave, SendState, SetRanks, SetTopic
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore
from tripoint.store.writes import FLAG_OUTLIER, FLAG_REJECTED

VERSIONS = ("1", "2", "3", "6", "8", "10", "11", "12")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_one_says_the_others_get_in_order(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org", "c.org") as servers:
            room_id, people = await trio(servers, version)
            states = [await island.state(room_id) for island in servers]
            assert states[0] == states[1] == states[2]
            for turn in range(9):
                speaker = servers[turn % 3]
                await speaker.party.say(people[turn % 3][0], room_id, str(turn))
                (event,) = speaker.outgoing
                speaker.outgoing.clear()
                for other in servers:
                    if other is not speaker:
                        assert await other.deliver(event) is Verdict.ACCEPTED
                        assert await other.deliver(event) is Verdict.KNOWN
            for number, island in enumerate(servers):
                page = await island.party.middle.reader.history(
                    HistoryQuery(
                        room_id=room_id,
                        viewer=people[number][0],
                        direction=Direction.FORWARD,
                        types=("m.room.message",),
                        limit=50,
                    )
                )
                assert [item.event.content["body"] for item in page.items] == [str(n) for n in range(9)]
                room = await island.party.middle.loaded.get(room_id)
                assert len(room.head.extremities) == 1

    run(work)


def test_events_of_one_room_are_judged_one_at_a_time() -> None:
    """However many wait in line, and whoever comes when one is done: an event that comes often is taken once."""

    async def work() -> None:
        store = SlowStore()
        async with islands("a.org", "b.org", stores=[MemoryStore(), store]) as (one, two):
            room_id, people = await trio([one, two], "12")
            accept = two.party.middle.accept
            running = most = 0
            receive = accept._receive

            async def counted(*given: object) -> Verdict | Lacking:
                nonlocal running, most
                running += 1
                most = max(most, running)
                try:
                    return await receive(*given)  # type: ignore[arg-type]
                finally:
                    running -= 1

            accept._receive = counted  # type: ignore[method-assign]
            await one.party.say(people[0][0], room_id, "hello")
            waiting = [asyncio.ensure_future(two.deliver(one.outgoing[-1])) for _ in range(3)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            waiting += [asyncio.ensure_future(two.deliver(one.outgoing[-1])) for _ in range(3)]
            verdicts = await asyncio.gather(*waiting)
            assert most == 1
            assert sorted(v.value for v in verdicts if isinstance(v, Verdict)) == ["accepted", *["known"] * 5]
            assert not accept._turns._locks

    run(work)


def test_a_fork_is_resolved_and_joined_again() -> None:
    """Two servers that were apart set the topic; afterwards all agree on one, and who lost sees it undone."""

    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            alice, bob = people[0][0], people[1][0]
            await one.party.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),)))
            await two.deliver(one.outgoing.pop())
            one.party.clock.now += 1
            await one.party.do(SetTopic(actor=alice, room_id=room_id, topic="one"))
            await two.party.do(SetTopic(actor=bob, room_id=room_id, topic="two"))
            (first,), (second,) = one.outgoing, two.outgoing
            assert await one.deliver(second) is Verdict.ACCEPTED
            assert await two.deliver(first) is Verdict.ACCEPTED
            rooms = [await island.party.middle.loaded.get(room_id) for island in (one, two)]
            assert rooms[0].topic == rooms[1].topic
            assert [set(room.head.extremities) for room in rooms] == [{first.event_id, second.event_id}] * 2
            loser = one if rooms[0].topic == "two" else two
            told = [c for c in loser.party.room_changes if isinstance(c, EventCommitted | StateReset)]
            winner_event = second if rooms[0].topic == "two" else first
            assert isinstance(told[-1], EventCommitted) and told[-1].event.event_id == winner_event.event_id
            other = two if loser is one else one
            last = other.party.room_changes[-1]
            # The other side was told of the event that lost, and at once that it is undone.
            assert isinstance(last, StateReset)
            ((before, after),) = last.changed
            assert before is not None and after is not None
            assert after.event_id == winner_event.event_id
            # The next event joins the branches.
            await one.party.say(alice, room_id, "together")
            assert set(one.outgoing[-1].prev_events) == {first.event_id, second.event_id}
            assert await two.deliver(one.outgoing[-1]) is Verdict.ACCEPTED
            assert len(rooms[1].head.extremities) == 1

    run(work)


def test_who_is_out_by_a_resolution_hears_of_it_and_so_does_the_index() -> None:
    """A join that was told loses against a change of the join rules: its user is told like one who left."""

    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            alice, (bob, beth) = people[0][0], people[1]
            # Somebody of bob's server stays inside, so that bob may come back without asking the other one.
            await two.party.do(Join(actor=beth, room_id=room_id))
            await two.party.do(Leave(actor=bob, room_id=room_id))
            for event in two.outgoing:
                await one.deliver(event)
            two.outgoing.clear()
            one.party.clock.now += 1
            rule = {"join_rule": "invite"}
            await one.party.do(
                SendState(actor=alice, room_id=room_id, type="m.room.join_rules", state_key="", content=rule)
            )
            await two.party.do(Join(actor=bob, room_id=room_id))
            two.party.user_changes.clear()
            assert await two.deliver(one.outgoing.pop()) is Verdict.ACCEPTED
            moves = [c for c in two.party.user_changes if isinstance(c, MembershipChanged)]
            assert [(c.user_id, c.before, c.membership) for c in moves] == [(bob, "join", "leave")]
            assert moves[0].change is two.party.room_changes[-1]
            assert isinstance(moves[0].change, StateReset)
            assert (await two.party.middle.reader.memberships(bob))[room_id] == "leave"

    run(work)


def test_what_is_told_is_what_the_room_shows_at_that_moment() -> None:
    """The event that lost stands in the room while it is told, and is gone when its undoing is."""

    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            alice, bob = people[0][0], people[1][0]
            await one.party.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.OP),)))
            await two.deliver(one.outgoing.pop())
            one.party.clock.now += 1
            await one.party.do(SetTopic(actor=alice, room_id=room_id, topic="one"))
            await two.party.do(SetTopic(actor=bob, room_id=room_id, topic="two"))
            seen: list[tuple[Island, type[RoomChange], str | None]] = []

            def watch(island: Island) -> Callable[[RoomChange], None]:
                def heard(change: RoomChange) -> None:
                    room = island.party.middle.loaded.peek(room_id)
                    assert room is not None
                    seen.append((island, type(change), room.topic))

                return heard

            for island, event in ((one, two.outgoing[0]), (two, one.outgoing[0])):
                island.party.middle.hub.watch_room(room_id, watch(island))
                assert await island.deliver(event) is Verdict.ACCEPTED
            wins = seen[-1][2]
            assert wins in ("one", "two")
            loses = "two" if wins == "one" else "one"
            # The winner's server was told of the loser and its undoing; the other one of the winner alone.
            at = one if wins == "one" else two
            assert [entry for entry in seen if entry[0] is at] == [
                (at, EventCommitted, loses),
                (at, StateReset, wins),
            ]
            assert [entry[1:] for entry in seen if entry[0] is not at] == [(EventCommitted, wins)]

    run(work)


def test_what_the_rules_do_not_allow_is_rejected_and_takes_no_part() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            bob, stranger = people[1][0], people[1][1]
            room = await two.party.middle.loaded.get(room_id)
            before = await one.state(room_id)

            def forged(sender: UserId, type_: str, content: dict[str, object], **more: str) -> object:
                auth = [room.state["m.room.power_levels", ""].event_id]
                member = room.state.get(("m.room.member", sender))
                if member is not None:
                    auth.append(member.event_id)
                return build_event(
                    EventDraft(type_, sender, content, **more),  # type: ignore[arg-type]
                    room.version,
                    room_id=room_id,
                    prev_events=list(room.head.extremities),
                    auth_events=auth,
                    depth=50,
                    origin_server_ts=1,
                    server=two.name,
                    key=two.signer.key,
                )

            for event in (
                forged(stranger, "m.room.message", {"body": "from outside"}),
                forged(bob, "m.room.topic", {"topic": "no right"}, state_key=""),
                forged(bob, "m.room.power_levels", {"users": {bob: 100}}, state_key=""),
            ):
                assert await one.deliver(event) is Verdict.REJECTED  # type: ignore[arg-type]
                assert await one.deliver(event) is Verdict.KNOWN  # type: ignore[arg-type]
            assert await one.state(room_id) == before
            shown = [c.event.content for c in one.party.room_changes if isinstance(c, EventCommitted)]
            assert {"body": "from outside"} not in shown
            # What names a rejected event as its parent is judged all the same.
            await two.party.say(bob, room_id, "honest")
            assert await one.deliver(two.outgoing[-1]) is Verdict.ACCEPTED

    run(work)


def test_who_was_banned_meanwhile_is_heard_no_more() -> None:
    """Soft failure: allowed where it was said, not allowed now."""

    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            alice, bob = people[0][0], people[1][0]
            await two.party.say(bob, room_id, "late words")
            await one.party.do(Ban(actor=alice, room_id=room_id, target=bob))
            (late,), (ban,) = two.outgoing, one.outgoing
            head = (await one.party.middle.loaded.get(room_id)).head.rows()
            assert await one.deliver(late) is Verdict.SOFT_FAILED
            assert (await one.party.middle.loaded.get(room_id)).head.rows() == head
            assert "late words" not in [
                c.event.content.get("body") for c in one.party.room_changes if isinstance(c, EventCommitted)
            ]
            # The other server hears of the ban, and both agree.
            assert await two.deliver(ban) is Verdict.ACCEPTED
            assert (await two.party.middle.loaded.get(room_id)).membership(bob) == "ban"
            assert (await two.party.middle.reader.memberships(bob))[room_id] == "ban"

    run(work)


def test_what_lacks_its_past_is_said() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            room_id, people = await trio([one, two], "12")
            for number in range(3):
                await one.party.say(people[0][0], room_id, str(number))
            first, second, third = one.outgoing
            lacking = await two.deliver(third)
            assert lacking == Lacking(frozenset({second.event_id}), frozenset())
            assert isinstance(await two.deliver(second), Lacking)
            assert await two.deliver(first) is Verdict.ACCEPTED
            assert two.waiting == []
            said = [c.event.event_id for c in two.party.room_changes if isinstance(c, EventCommitted)]
            assert said[-3:] == [first.event_id, second.event_id, third.event_id]

    run(work)


def test_local_commands_go_on_while_events_are_taken_in(tmp_path: Path) -> None:
    async def work() -> None:
        import asyncio

        stores = [SqliteStore(tmp_path / f"{n}.db") for n in range(2)]
        async with islands("a.org", "b.org", stores=stores) as (one, two):
            room_id, people = await trio([one, two], "12")
            alice, bob = people[0][0], people[1][0]
            for number in range(30):
                await two.party.say(bob, room_id, f"b{number}")
            incoming = list(two.outgoing)

            async def take() -> None:
                for event in incoming:
                    assert await one.deliver(event) is Verdict.ACCEPTED

            await asyncio.gather(take(), *(one.party.say(alice, room_id, f"a{n}") for n in range(30)))
            told = [c for c in one.party.room_changes if isinstance(c, EventCommitted)]
            positions = [c.position for c in told]
            assert positions == sorted(set(positions))
            assert len([c for c in told if c.event.type == "m.room.message"]) == 60
            state = await one.state(room_id)
        again = [SqliteStore(tmp_path / f"{n}.db") for n in range(2)]
        async with islands("a.org", "b.org", stores=again) as (one, two):
            assert await one.state(room_id) == state

    run(work)


@pytest.mark.parametrize("version", ["1", "12"])
def test_events_that_come_together_are_judged_one_by_one(version: str, tmp_path: Path) -> None:
    """What follows the ends is committed together; what does not waits for it and finds it in the store."""

    async def work() -> None:
        stores = [SqliteStore(tmp_path / f"{n}.db") for n in range(2)]
        async with islands("a.org", "b.org", stores=stores) as (one, two):
            room_id, people = await trio([one, two], version)
            alice, bob = people[0][0], people[1][0]
            for number in range(5):
                await two.party.say(bob, room_id, str(number))
            first = [parse_event(e.json, e.version) for e in two.outgoing]
            unknown = [first[3]]
            assert await one.party.middle.accept.receive_all(unknown) == [
                Lacking(frozenset({first[2].event_id}), frozenset())
            ]
            # A fork in the middle: Alice speaks before the first has come.
            await one.party.say(alice, room_id, "meanwhile")
            batch = [first[0], first[1], first[1], first[0], *first[2:], first[4]]
            accepted, known = Verdict.ACCEPTED, Verdict.KNOWN
            assert await one.party.middle.accept.receive_all(batch) == [
                accepted, accepted, known, known, accepted, accepted, accepted, known,
            ]  # fmt: skip
            await two.deliver(one.outgoing[-1])
            two.outgoing.clear()
            for number in range(3):
                await two.party.say(bob, room_id, f"later {number}")
            later = [parse_event(e.json, e.version) for e in two.outgoing]
            batch = [*later, *later]
            assert await one.party.middle.accept.receive_all(batch) == [accepted] * 3 + [known] * 3
            rooms = [await island.party.middle.loaded.get(room_id) for island in (one, two)]
            assert set(rooms[0].head.extremities) == set(rooms[1].head.extremities) == {later[-1].event_id}
            told = [c.event.event_id for c in one.party.room_changes if isinstance(c, EventCommitted)]
            assert [i for i in told if i in {e.event_id for e in (*first, *later)}] == [
                event.event_id for event in (*first, *later)
            ]

    run(work)


async def _walk(version: str, seed: int) -> None:
    dice = random.Random(seed)
    async with islands("a.org", "b.org", "c.org") as servers:
        room_id, people = await trio(servers, version)
        await share_power(servers, people, room_id)
        undelivered: list[list[int]] = [[0] * 3 for _ in range(3)]
        for _ in range(90):
            number = dice.randrange(3)
            await something(dice, servers[number], people, number, room_id)
            if dice.random() < 0.25:
                await carry(dice, servers, undelivered, everything=False)
        # The net heals: all events go everywhere, then each says something, so that branches are joined.
        await carry(dice, servers, undelivered, everything=True)
        for _ in range(2):
            for number, island in enumerate(servers):
                for speaker in people[number]:
                    try:
                        await island.party.say(speaker, room_id, "healed")
                        break
                    except Refused:
                        continue
                await carry(dice, servers, undelivered, everything=True)
        assert all(not island.waiting for island in servers)
        judged = [await _judgements(island) for island in servers]
        for one, other in itertools.combinations(range(3), 2):
            # Whatever both have judged, they judge alike, and see the same state at it.
            common = judged[one].keys() & judged[other].keys()
            assert len(common) > 5
            for event_id in common:
                assert judged[one][event_id] == judged[other][event_id], event_id
            # The room is the same where its ends are. They may differ for a while: a server does not take up
            # a branch whose every end it has soft-failed (spec: "Soft failure").
            rooms = [await _room(servers[number], room_id) for number in (one, other)]
            if set(rooms[0].head.extremities) == set(rooms[1].head.extremities):
                assert await servers[one].state(room_id) == await servers[other].state(room_id)
                met["same ends"] += 1
            else:
                met["other ends"] += 1


# How walks ended, over all of them: see the test below.
met: Counter[str] = Counter()


async def _judgements(island: Island) -> dict[EventId, tuple[bool, frozenset[tuple[object, ...]]]]:
    """Of each event that a server has judged: whether it was rejected, and the state after it."""
    store = island.party.middle.store
    assert isinstance(store, MemoryStore)
    states: dict[int, frozenset[tuple[object, ...]]] = {}
    found = {}
    for stored in list(store.events.values()):
        if stored.flags & FLAG_OUTLIER:
            continue
        if stored.state_group not in states:
            keys = await store.load_state(stored.state_group)
            states[stored.state_group] = frozenset((*key, store.events[at].event_id) for key, at in keys.items())
        found[stored.event_id] = (bool(stored.flags & FLAG_REJECTED), states[stored.state_group])
    return found


async def _room(island: Island, room_id: RoomId) -> Room:
    return await island.party.middle.loaded.get(room_id)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(4))
def test_states_end_equal_whatever_the_order(version: str, seed: int) -> None:
    run(lambda: _walk(version, seed))


def test_many_walks_end_together() -> None:
    """The walks above would say nothing if their servers never met again.

    About half do: where somebody was banned while talking, what was said last stays an end on that server alone.
    Ids are random, so the share differs from run to run.
    """
    assert 4 * met["same ends"] > met["other ends"]


@pytest.mark.soak
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(100, 400))
def test_states_end_equal_for_long(version: str, seed: int) -> None:
    run(lambda: _walk(version, seed))
