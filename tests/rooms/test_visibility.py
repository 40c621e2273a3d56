"""Who may read what: history visibility at each event, and the state of rooms one has left.

spec: Matrix client-server module history_visibility; docs/mapping.md 14.2
"""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import Party, party, run
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.rooms.commands import Invite, Join, Leave, SendState, SetTopic
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.visibility import Sight


async def set_visibility(p: Party, actor: UserId, room_id: RoomId, visibility: str) -> None:
    content = {"history_visibility": visibility}
    await p.do(
        SendState(actor=actor, room_id=room_id, type="m.room.history_visibility", state_key="", content=content)
    )


async def reads(p: Party, viewer: UserId, room_id: RoomId) -> list[str]:
    query = HistoryQuery(
        room_id=room_id, viewer=viewer, direction=Direction.FORWARD, limit=100, types=("m.room.message",)
    )
    page = await p.middle.reader.history(query)
    return [str(item.event.content["body"]) for item in page.items]


@pytest.mark.parametrize(
    ("visibility", "outsider", "invitee", "late", "former"),
    [
        # What each of them reads of: before (bob invited), invited (bob and dave not yet in), inside, after.
        ("world_readable", "1234", "1234", "1234", "1234"),
        ("shared", "", "", "1234", "123"),
        ("invited", "", "234", "34", "23"),
        ("joined", "", "", "34", "3"),
    ],
)
def test_visibility_of_each_message(
    visibility: str, outsider: str, invitee: str, late: str, former: str
) -> None:
    """1 is said before carol is invited; 2 when she is invited; 3 with dave and carol's friend inside; 4 after
    the friend has left."""

    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dave, erin = await p.accounts("alice", "bob", "carol", "dave", "erin")
            room_id = await p.room(alice)
            await set_visibility(p, alice, room_id, visibility)
            await p.say(alice, room_id, "1")
            await p.do(Invite(actor=alice, room_id=room_id, target=carol))
            await p.do(Invite(actor=alice, room_id=room_id, target=erin))
            await p.say(alice, room_id, "2")
            await p.do(Join(actor=dave, room_id=room_id))
            await p.do(Join(actor=erin, room_id=room_id))
            await p.say(alice, room_id, "3")
            await p.do(Leave(actor=erin, room_id=room_id))
            await p.say(alice, room_id, "4")
            assert "".join(await reads(p, bob, room_id)) == outsider
            assert "".join(await reads(p, carol, room_id)) == invitee
            assert "".join(await reads(p, dave, room_id)) == late
            assert "".join(await reads(p, erin, room_id)) == former
            assert "".join(await reads(p, alice, room_id)) == "1234"

    run(work)


def test_visibility_counts_as_it_was_when_something_was_said() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice)
            await set_visibility(p, alice, room_id, "joined")
            await p.say(alice, room_id, "secret")
            await set_visibility(p, alice, room_id, "shared")
            await p.say(alice, room_id, "open")
            await p.do(Join(actor=bob, room_id=room_id))
            assert await reads(p, bob, room_id) == ["open"]

    run(work)


def test_an_event_that_may_not_be_seen_is_as_if_it_were_not_there() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice)
            said = EventId(await p.say(alice, room_id, "inside"))
            with pytest.raises(Refused) as caught:
                await p.middle.reader.event(room_id, said, bob)
            assert caught.value.refusal is Refusal.NO_SUCH_EVENT
            other = await p.room(alice, bob)
            with pytest.raises(Refused) as caught:
                await p.middle.reader.event(other, said, bob)
            assert caught.value.refusal is Refusal.NO_SUCH_EVENT
            await p.do(Join(actor=bob, room_id=room_id))
            assert (await p.middle.reader.event(room_id, said, bob)).event.event_id == said

    run(work)


def test_state_is_for_members_and_for_former_members_as_it_was() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dave = await p.accounts("alice", "bob", "carol", "dave")
            room_id = await p.room(alice, bob)
            await p.do(SetTopic(actor=alice, room_id=room_id, topic="then"))
            await p.do(Leave(actor=bob, room_id=room_id))
            await p.do(SetTopic(actor=alice, room_id=room_id, topic="now"))
            await p.do(Invite(actor=alice, room_id=room_id, target=carol))
            await p.do(Leave(actor=carol, room_id=room_id))

            async def topic(viewer: UserId) -> object:
                state = await p.middle.reader.readable_state(room_id, viewer)
                return state["m.room.topic", ""].content["topic"]

            assert await topic(alice) == "now"
            assert await topic(bob) == "then"
            for outsider in (carol, dave):
                with pytest.raises(Refused) as caught:
                    await topic(outsider)
                assert caught.value.refusal is Refusal.NOT_JOINED
            await set_visibility(p, alice, room_id, "world_readable")
            assert await topic(dave) == "now"

    run(work)


VISIBILITIES = st.sampled_from(("world_readable", "shared", "invited", "joined"))
CHANGES = st.lists(st.sampled_from(("join", "leave", "invite", "ban")), max_size=8)


PLACES = st.lists(st.integers(1, 30), min_size=1, max_size=5)


@given(st.lists(VISIBILITIES, max_size=4), CHANGES, PLACES, st.randoms(use_true_random=False))
def test_who_is_inside_sees_the_same_with_what_a_page_needs_as_with_everything(
    visibilities: list[str], changes: list[str], places: list[int], dice: random.Random
) -> None:
    free = list(range(1, 31))
    dice.shuffle(free)
    past = list(zip(sorted(free[: len(changes) + 1]), [*changes, "join"], strict=True))
    history = list(zip(sorted(free[-len(visibilities) :] if visibilities else []), visibilities, strict=True))
    whole = Sight(history, past)

    async def load(low: int, upto: int) -> Sequence[tuple[int, str]]:
        return [change for change in past if change[0] <= low][-1:] + [c for c in past if low < c[0] <= upto]

    async def work() -> None:
        since = past[-1][0]
        some = Sight(history, [(since, "join")], low=since, load=load)
        for place in places:
            await some.reach(place)
            assert some.may_see(place) == whole.may_see(place)

    run(work)
