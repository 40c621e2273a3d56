"""Graphs that no honest server makes: each is contained, and the room goes on.

spec: Matrix server-server-api "Checks performed on receipt of a PDU"; rooms/v1 "Event IDs"
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from tests.core.graph_builder import RoomBuilder
from tests.federation.islands import Island, bring_in, islands, make_room
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, EventDraft, build_event, load_event, parse_event, redact, reference_text
from tripoint.core.event_format import MAX_PREV_EVENTS, essential
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.room_version import get_room_version
from tripoint.rooms.accept import Lacking, Verdict
from tripoint.rooms.ends import Extremity, ends_with, extremity_of
from tripoint.rooms.room import Room
from tripoint.store.interface import StoredEvent
from tripoint.store.memory import MemoryStore

GIVEN_IDS = ("1", "2")


async def pair(servers: Sequence[Island], version: str) -> tuple[RoomId, UserId, UserId]:
    """A room of Alice (first server) that Bob (second) is in; Bob's server is the hostile one."""
    one, two = servers
    alice, bob = await one.party.account("alice"), await two.party.account("bob")
    room_id = await make_room(one, alice, version)
    await bring_in(one, two, bob, room_id)
    one.outgoing.clear()
    return room_id, alice, bob


async def room_of(island: Island, room_id: RoomId) -> Room:
    return await island.party.middle.loaded.get(room_id)


async def forge(
    hostile: Island,
    room_id: RoomId,
    sender: UserId,
    type_: str = "m.room.message",
    content: JsonObject | None = None,
    *,
    state_key: str | None = None,
    prev: Sequence[Event] | None = None,
    auth: Sequence[EventId] | None = None,
    depth: int = 50,
    at_ms: int = 1_700_000_000_000,
) -> Event:
    """A signed event of the hostile server wherever it likes; what is not said is as an honest server has it."""
    room = await room_of(hostile, room_id)
    keys = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", sender)]
    if room.version.room_id_is_create_hash:
        del keys[0]
    if state_key is not None and type_ == "m.room.member":
        keys.append(("m.room.join_rules", ""))
    cited = [room.state[key] for key in keys if key in room.state]
    ends = list(room.head.extremities) if prev is None else [event.event_id for event in prev]
    hashes = {event.event_id: reference_text(event) for event in (*cited, *(prev or ()), *room.state.values())}
    hashes |= {event_id: end.reference for event_id, end in room.head.extremities.items()}
    return build_event(
        EventDraft(type_, sender, content or {"body": "forged"}, state_key),
        room.version,
        room_id=room_id,
        prev_events=ends,
        auth_events=[event.event_id for event in cited] if auth is None else auth,
        depth=depth,
        origin_server_ts=at_ms,
        server=hostile.name,
        key=hostile.signer.key,
        hashes=hashes,
    )


def resigned(event: Event, island: Island, **changes: object) -> Event:
    """The event with other keys, signed anew: what a server may do with its own events."""
    pdu = {**json.loads(event.json), **changes}
    pdu["signatures"] = {island.name: {island.signer.key.key_id: island.signer.key.sign(essential(pdu, event.version))}}
    return parse_event(pdu, event.version)


@pytest.mark.parametrize("version", GIVEN_IDS)
def test_the_first_event_with_an_id_keeps_it(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, _, bob = await pair(servers, version)
            one, two = servers
            first = await forge(two, room_id, bob, content={"body": "first"})
            second = resigned(first, two, content={"body": "second"}, hashes={"sha256": "x"})
            other_time = resigned(first, two, origin_server_ts=5)
            assert first.event_id == second.event_id == other_time.event_id
            assert await one.deliver(first) is Verdict.ACCEPTED
            assert await one.deliver(second) is Verdict.CLASHES
            assert await one.deliver(other_time) is Verdict.CLASHES
            # The same event is the same event, redacted too.
            assert await one.deliver(redact(first)) is Verdict.KNOWN
            stored = await one.party.middle.store.load_event(first.event_id)
            assert stored is not None and load_event(stored.json, stored.event_id, first.version) == first
            # What builds on the second stands on the first here: one id is one event.
            later = await forge(two, room_id, bob, prev=[second], depth=51)
            assert await one.deliver(later) is Verdict.ACCEPTED
            assert list((await room_of(one, room_id)).head.extremities) == [later.event_id]

    run(work)


@pytest.mark.parametrize("version", GIVEN_IDS)
def test_an_id_is_taken_before_it_is_on_disk(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, bob = await pair(servers, version)
            one, two = servers
            elsewhere = await make_room(one, alice, version)
            join = await bring_in(one, two, bob, elsewhere)
            one.outgoing.clear()
            first = await forge(two, room_id, bob)
            second = await forge(two, room_id, bob, prev=[first], depth=51)
            again = resigned(second, two, event_id=first.event_id, prev_events=[[second.event_id, {}]])
            there = resigned(first, two, room_id=elsewhere, prev_events=[[join.event_id, {}]])
            accept = one.party.middle.accept
            batch = [first, second, again, there]
            outcomes = await accept.receive_all([parse_event(event.json, event.version) for event in batch])
            assert outcomes == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.CLASHES, Verdict.CLASHES]

    run(work)


@pytest.mark.parametrize("version", GIVEN_IDS)
def test_an_id_is_taken_in_every_room(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, bob = await pair(servers, version)
            one, two = servers
            await one.party.say(alice, room_id, "ours")
            (ours,) = one.outgoing
            elsewhere = await make_room(one, alice, version)
            before = await one.state(elsewhere)
            theirs = resigned(ours, two, room_id=elsewhere, sender=bob)
            assert await one.deliver(theirs) is Verdict.CLASHES
            # As auth event or outlier neither.
            room = await room_of(one, elsewhere)
            await one.party.middle.outliers.add(room.room_key, [theirs])
            stored = await one.party.middle.store.load_event(ours.event_id)
            assert stored is not None and stored.room_key == (await room_of(one, room_id)).room_key
            assert await one.state(elsewhere) == before

    run(work)


@pytest.mark.parametrize("version", GIVEN_IDS)
def test_circles_of_given_ids(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, bob = await pair(servers, version)
            one, two = servers
            room = await room_of(one, room_id)
            plain = await forge(two, room_id, bob)
            member = await forge(two, room_id, bob, "m.room.member", {"membership": "join"}, state_key=bob)
            a, b = EventId("$a:b.org"), EventId("$b:b.org")
            pairs = {i: [i, {"sha256": "x"}] for i in (a, b)}
            # Each comes after the other, and after itself.
            one_way = resigned(plain, two, event_id=a, prev_events=[pairs[b]])
            other_way = resigned(plain, two, event_id=b, prev_events=[pairs[a]])
            itself = resigned(plain, two, event_id=a, prev_events=[pairs[a]])
            for event in (one_way, other_way, itself):
                assert isinstance(await one.deliver(event), Lacking)
            # With a state given for the hole, the circle closes, and shows nothing that was not allowed.
            state_ids = [event.event_id for event in room.state.values()]
            accept = one.party.middle.accept
            assert await accept.receive_after(one_way, state_ids) is Verdict.ACCEPTED
            one.waiting.clear()
            assert await one.deliver(other_way) is Verdict.ACCEPTED
            # Each permits the other: not even kept.
            auth = json.loads(member.json)["auth_events"]
            c, d = EventId("$c:b.org"), EventId("$d:b.org")
            ring = [
                resigned(member, two, event_id=mine, auth_events=[*auth, [its, {"sha256": "x"}]])
                for mine, its in ((c, d), (d, c))
            ]
            await one.party.middle.outliers.add(room.room_key, ring)
            assert not await one.party.middle.store.load_events_by_id([c, d])
            for event in ring:
                assert isinstance(await one.deliver(event), Lacking)
            one.waiting.clear()
            # The room goes on, for both.
            await one.party.say(alice, room_id, "still here")
            assert len(room.head.extremities) == 1
            serving = one.party.middle.serving
            page = await serving.backfill(two.name, room_id, [one.outgoing[-1].event_id], 100)
            assert len({event.event_id for event in page}) == len(page)

    run(work)


def test_what_has_another_rooms_past_is_rejected() -> None:
    """Otherwise the state of a room of the sender's own making would be resolved into this one."""

    async def work() -> None:
        for version in ("2", "6", "12"):
            async with islands("a.org", "b.org") as servers:
                room_id, alice, bob = await pair(servers, version)
                one, two = servers
                elsewhere = await make_room(one, alice, version)
                before = await one.state(room_id)
                foreign = list((await room_of(one, elsewhere)).state.values())
                event = await forge(two, room_id, bob, prev=[foreign[-1]])
                assert await one.deliver(event) is Verdict.REJECTED
                mixed = [*(await room_of(one, room_id)).state.values()][-1:] + foreign[-1:]
                assert await one.deliver(await forge(two, room_id, bob, prev=mixed)) is Verdict.REJECTED
                room = await room_of(two, room_id)
                auth = [room.state["m.room.member", bob].event_id, foreign[1].event_id]
                if version == "2":
                    continue
                assert await one.deliver(await forge(two, room_id, bob, auth=auth)) is Verdict.REJECTED
                assert await one.state(room_id) == before

    run(work)


@pytest.mark.parametrize("version", ["1", "3", "12"])
def test_what_has_no_past_is_rejected(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, _, bob = await pair(servers, version)
            one, two = servers
            assert await one.deliver(await forge(two, room_id, bob, prev=[], depth=1)) is Verdict.REJECTED

    run(work)


@pytest.mark.parametrize("version", ["1", "3", "12"])
def test_auth_events_named_twice_are_rejected(version: str) -> None:
    # rooms/v12 authorisation rule 3.1
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, _, bob = await pair(servers, version)
            one, two = servers
            honest = await forge(two, room_id, bob)
            twice = [*honest.auth_events, honest.auth_events[-1]]
            assert await one.deliver(await forge(two, room_id, bob, auth=twice)) is Verdict.REJECTED
            assert await one.deliver(honest) is Verdict.ACCEPTED

    run(work)


@pytest.mark.parametrize("version", ["1", "3", "5", "6", "12"])
def test_lies_about_depth_and_time_stop_nobody(version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, bob = await pair(servers, version)
            one, two = servers
            greatest = get_room_version(version).max_depth
            times = (-(2**53) + 1, 0, 2**53 - 1)
            for depth, at_ms in zip((0, greatest, greatest), times, strict=True):
                event = await forge(two, room_id, bob, depth=min(depth, 2**53 - 1), at_ms=at_ms)
                if depth > 2**53 - 1:
                    event = resigned(event, two, depth=depth)
                assert await one.deliver(event) is Verdict.ACCEPTED
                # We say something after it, at the greatest depth there is, and others can read that.
                await one.party.say(alice, room_id, "after it")
                ours = parse_event(one.outgoing[-1].json, event.version)
                assert ours.depth == min(max(event.depth, ours.depth - 1) + 1, greatest)
                assert event.event_id in ours.prev_events

    run(work)


class CountingStore(MemoryStore):
    """Counts the rows that are read."""

    read = 0

    async def load_state(self, group: int) -> Mapping[tuple[str, str], int]:
        state = await super().load_state(group)
        self.read += len(state)
        return state

    async def load_events(self, event_keys: Sequence[int]) -> Mapping[int, StoredEvent]:
        self.read += len(event_keys)
        return await super().load_events(event_keys)

    async def load_events_by_id(self, event_ids: Sequence[EventId]) -> Mapping[EventId, StoredEvent]:
        self.read += len(event_ids)
        return await super().load_events_by_id(event_ids)


@pytest.mark.parametrize("version", ["1", "2", "12"])
def test_thousands_of_forks_cost_no_more_than_twenty(version: str) -> None:
    """One sender, one parent, 2,000 events: equivocation, and as many forward extremities as it likes."""

    async def work() -> None:
        store = CountingStore()
        async with islands("a.org", "b.org", stores=[store, MemoryStore()]) as servers:
            room_id, alice, bob = await pair(servers, version)
            one, two = servers
            await one.party.say(alice, room_id, "the honest end")
            honest = one.outgoing[-1]
            forks = [
                await forge(two, room_id, bob, "m.room.member", {"membership": "join", "n": n}, state_key=bob, at_ms=n)
                if n % 2
                else await forge(two, room_id, bob, content={"n": n}, at_ms=n)
                for n in range(2_000)
            ]
            store.read = 0
            outcomes = await one.party.middle.accept.receive_all(forks)
            assert set(outcomes) == {Verdict.ACCEPTED}
            # Twenty ends with a state of their own, and what these lead to; nothing grows with the number of forks.
            assert store.read / len(forks) < 100
            room = await room_of(one, room_id)
            assert len(room.head.extremities) == MAX_PREV_EVENTS
            # The flood has pushed out its own.
            assert honest.event_id in room.head.extremities
            assert forks[-1].event_id in room.head.extremities
            # What we say joins them all, and stands where others find it as well.
            one.outgoing.clear()
            await one.party.say(alice, room_id, "together again")
            ours = one.outgoing[-1]
            assert set(ours.prev_events) >= {honest.event_id, forks[-1].event_id}
            assert len(room.head.extremities) == 1
            for event in (honest, *forks[-200:], ours):
                assert await two.deliver(event) is not Verdict.REJECTED
            assert await one.state(room_id) == await two.state(room_id)

    run(work, timeout_s=100)


def test_a_server_that_floods_pushes_out_its_own_ends() -> None:
    room = RoomBuilder("12")
    made = [room.make(f"@u{n}:s{n % 3}.example", "x", {"n": n}) for n in range(18)]
    ends: dict[EventId, Extremity] = {event.event_id: extremity_of(event, 1) for event in made}
    flood = [room.make("@h:hostile.example", "x", {"n": n}) for n in range(50)]
    for event in flood:
        ends = {**ends_with(ends, event), event.event_id: extremity_of(event, 1)}
        assert len(ends) <= MAX_PREV_EVENTS
    # The others lose only what makes them the largest.
    counts = Counter(end.server for end in ends.values())
    assert counts == {"s0.example": 5, "s1.example": 5, "s2.example": 5, "hostile.example": 5}
    assert [i for i, end in ends.items() if end.server == "hostile.example"] == [e.event_id for e in flood[-5:]]
    # Parents go first, whoever made them.
    child = room.make("@u0:s0.example", "x", {}, parents=[room.events[i] for i in list(ends)[:15]])
    assert len(ends_with(ends, child)) == 5
