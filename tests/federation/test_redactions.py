"""Redactions of other servers, before and after what they redact. spec: Matrix rooms/v3 "Handling redactions"."""

from collections.abc import Awaitable, Callable

import pytest

from tests.federation.islands import Island, bring_in, islands, make_room
from tests.support.middle import run
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.rooms.accept import Verdict
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import Redact, SendEvent, SendState
from tripoint.rooms.history import Direction, HistoryItem, HistoryQuery

Scene = Callable[[Island, Island, RoomId, UserId, UserId], Awaitable[None]]
VERSIONS = ["1", "3", "10", "11", "12"]


def scene(version: str, play: Scene) -> None:
    """Alice of one.example made the room, bob of two.example is in it."""

    async def work() -> None:
        async with islands("one.example", "two.example") as (one, two):
            alice, bob = await one.party.account("alice"), await two.party.account("bob")
            room_id = await make_room(one, alice, version)
            await bring_in(one, two, bob, room_id)
            one.outgoing.clear()
            await play(one, two, room_id, alice, bob)

    run(work)


async def say(at: Island, who: UserId, room_id: RoomId) -> Event:
    await at.party.say(who, room_id, "words")
    return at.outgoing.pop()


async def seen(at: Island, room_id: RoomId, event_id: EventId) -> HistoryItem | None:
    """The event as the store gives it, that is after a restart too."""
    room = await at.party.middle.loaded.get(room_id)
    room.recent.clear()
    room.recent_from = room.last_position
    viewer = next(user for user in room.joined() if user.endswith(at.name))
    page = await at.party.middle.reader.history(
        HistoryQuery(room_id=room_id, viewer=viewer, direction=Direction.BACKWARD, limit=50)
    )
    return next((item for item in page.items if item.event.event_id == event_id), None)


async def gone(at: Island, room_id: RoomId, event_id: EventId) -> bool:
    item = await seen(at, room_id, event_id)
    assert item is not None
    assert ("body" in item.event.content) == (item.redacted_because is None)
    return item.redacted_because is not None


async def redaction(at: Island, who: UserId, room_id: RoomId, event_id: EventId) -> Event:
    await at.party.do(Redact(actor=who, room_id=room_id, event_id=event_id))
    return at.outgoing.pop()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_redaction_by_the_writer_and_one_by_an_op(version: str) -> None:
    async def play(one: Island, two: Island, room_id: RoomId, alice: UserId, bob: UserId) -> None:
        for at, who in ((one, alice), (two, bob)):
            other = two if at is one else one
            said = await say(at, who, room_id)
            await other.deliver(said)
            assert not await gone(other, room_id, said.event_id)
            # Alice redacts her own words, then bob's.
            if at is two:
                await one.deliver(said)
            because = await redaction(one, alice, room_id, said.event_id)
            assert await two.deliver(because) is Verdict.ACCEPTED
            assert await gone(one, room_id, said.event_id) and await gone(two, room_id, said.event_id)
            assert await seen(two, room_id, because.event_id) is not None
            told = two.party.room_changes[-1]
            assert isinstance(told, EventCommitted) and told.event.event_id == because.event_id

    scene(version, play)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_redaction_that_comes_first_waits_for_what_it_redacts(version: str) -> None:
    async def play(one: Island, two: Island, room_id: RoomId, alice: UserId, bob: UserId) -> None:
        said = await say(one, alice, room_id)
        # A branch that does not lead over what was said: the redaction comes to two without its past.
        because = await redaction(one, alice, room_id, said.event_id)
        room = await two.party.middle.loaded.get(room_id)
        state_ids = [event.event_id for event in room.state.values()]
        before = len(two.party.room_changes)
        assert await two.party.middle.accept.receive_after(because, state_ids) is Verdict.ACCEPTED
        # Nobody is shown a redaction of nothing; the graph goes on from it all the same.
        assert await seen(two, room_id, because.event_id) is None
        assert not [c for c in two.party.room_changes[before:] if isinstance(c, EventCommitted)]
        assert because.event_id in room.head.extremities
        assert await two.deliver(said) is Verdict.ACCEPTED
        assert await gone(two, room_id, said.event_id)

    scene(version, play)


def test_who_may_not_redact_does_not() -> None:
    async def play(one: Island, two: Island, room_id: RoomId, alice: UserId, bob: UserId) -> None:
        said = await say(one, alice, room_id)
        await two.deliver(said)
        # Bob's server lets him, by a rule of its own.
        content = {"redacts": said.event_id}
        transaction = two.party.middle.creation._writer.begin(await two.party.middle.loaded.get(room_id))
        forged = transaction.append(bob, "m.room.redaction", content, redacts=said.event_id)
        assert await one.deliver(forged) is Verdict.ACCEPTED
        assert not await gone(one, room_id, said.event_id)
        assert await seen(one, room_id, forged.event_id) is None

    scene("12", play)


def test_a_state_event_that_is_redacted_is_so_in_the_state() -> None:
    async def play(one: Island, two: Island, room_id: RoomId, alice: UserId, bob: UserId) -> None:
        await one.party.do(
            SendState(actor=alice, room_id=room_id, type="m.room.topic", state_key="", content={"topic": "bad"})
        )
        topic = one.outgoing.pop()
        await two.deliver(topic)
        room = await two.party.middle.loaded.get(room_id)
        assert room.topic == "bad"
        await two.deliver(await redaction(one, alice, room_id, topic.event_id))
        assert room.topic is None and room.state["m.room.topic", ""].event_id == topic.event_id

    scene("11", play)


def test_a_redaction_of_what_is_never_said_costs_nobody_anything() -> None:
    async def play(one: Island, two: Island, room_id: RoomId, alice: UserId, bob: UserId) -> None:
        transaction = one.party.middle.creation._writer.begin(await one.party.middle.loaded.get(room_id))
        nothing = EventId("$" + "a" * 43)
        event = transaction.append(alice, "m.room.redaction", {"redacts": nothing}, redacts=nothing)
        assert await two.deliver(event) is Verdict.ACCEPTED
        await two.party.do(
            SendEvent(actor=bob, room_id=room_id, type="m.room.message", content={"msgtype": "m.text", "body": "on"})
        )

    scene("12", play)
