"""A room's past from before this server came into it, over TLS on loopback.

spec: Matrix server-server-api "Backfilling and retrieving missing events"; client-server history_visibility
"""

from pathlib import Path

import pytest

from tests.federation.servers import islands, server
from tests.federation.test_joining import ONE, TWO, account, last_text, make_room, room_of, same_state, text, until
from tests.support.middle import run
from tripoint.config.options import Outbound
from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.federation.client import make_target
from tripoint.matrix.federation.questions import V1
from tripoint.rooms.commands import Join, Leave, Redact, SendEvent, SetTopic, StateDraft
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryPage, HistoryQuery
from tripoint.runtime.app import App


async def say(app: App, who: UserId, room_id: RoomId, words: str) -> str:
    done = await app.middle.service.do(
        SendEvent(actor=who, room_id=room_id, type="m.room.message", content=text(words))
    )
    assert done.event_id is not None
    return done.event_id


async def page(app: App, who: UserId, room_id: RoomId, upto: int | None = None, limit: int = 30) -> HistoryPage:
    return await app.middle.reader.history(
        HistoryQuery(
            room_id=room_id,
            viewer=who,
            direction=Direction.BACKWARD,
            anchor=None if upto is None else ByPosition(upto),
            limit=limit,
        )
    )


async def everything(app: App, who: UserId, room_id: RoomId) -> list[HistoryItem]:
    """All pages, newest first."""
    items: list[HistoryItem] = []
    upto = None
    while True:
        found = await page(app, who, room_id, upto)
        items += found.items
        upto = found.end
        if upto is None:
            return items


def shared(visibility: str) -> tuple[StateDraft, ...]:
    return (StateDraft("m.room.history_visibility", "", {"history_visibility": visibility}),)


@pytest.mark.parametrize("version", ["1", "10", "12"])
def test_the_whole_past_is_read_in_pages_and_stays(tmp_path: Path, version: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, room_version=version, topic="first")
            said = [await say(one, alice, room_id, str(number)) for number in range(250)]
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            theirs, ours = await everything(one, alice, room_id), await everything(two, bob, room_id)
            assert [item.event.event_id for item in ours] == [item.event.event_id for item in theirs]
            assert [item.position for item in ours] == sorted((item.position for item in ours), reverse=True)
            assert ours[-1].event.type == "m.room.create"
            # It is kept: the other server is not asked again, and the state was not touched by what came late.
            await made.stop(ONE)
            await made.stop(TWO)
            two = await made.start(TWO)
            assert [i.event.event_id for i in await everything(two, bob, room_id)] == [
                item.event.event_id for item in theirs
            ]
            assert (await room_of(two, room_id)).topic == "first"
            first = await page(two, bob, room_id, limit=3)
            assert [item.event.event_id for item in first.items[1:]] == [said[-1], said[-2]]

    run(work)


@pytest.mark.parametrize("visibility", ["joined", "invited"])
def test_what_was_said_before_somebody_came_stays_hidden(tmp_path: Path, visibility: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, initial_state=shared(visibility))
            hidden = await say(one, alice, room_id, "secret")
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            items = await everything(two, bob, room_id)
            assert hidden not in [item.event.event_id for item in items]
            # The store has it without its words.
            stored = await two.middle.store.load_event(hidden)  # type: ignore[arg-type]
            assert stored is None or b"secret" not in stored.json

    run(work)


def test_what_was_redacted_comes_without_its_words(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            said = await say(one, alice, room_id, "oops")
            await one.middle.service.do(Redact(actor=alice, room_id=room_id, event_id=said))  # type: ignore[arg-type]
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            (item,) = [i for i in await everything(two, bob, room_id) if i.event.event_id == said]
            assert item.event.content == {} and item.redacted_because is not None

    run(work)


def test_a_past_that_nobody_gives_is_no_beginning(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            await say(one, alice, room_id, "before")
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            await made.stop(ONE)
            found = await page(two, bob, room_id)
            assert [item.event.type for item in found.items] == ["m.room.member"]
            assert not found.complete and found.end is not None
            own = await make_room(two, bob)
            assert (await page(two, bob, own)).complete

    run(work)


def test_the_past_goes_on_from_server_to_server(tmp_path: Path) -> None:
    async def work() -> None:
        three = server("three.example")
        notary = Outbound(allow_networks=("127.0.0.0/8",), key_notaries=(TWO,))
        async with islands(tmp_path, ONE, TWO, three, start={three: {"outbound": notary}}) as made:
            one, two, late = made.apps[ONE], made.apps[TWO], made.apps[three]
            alice, bob, carol = await account(one, "alice"), await account(two, "bob"), await account(late, "carol")
            room_id = await make_room(one, alice)
            said = [await say(one, alice, room_id, str(number)) for number in range(5)]
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            await everything(two, bob, room_id)
            await made.stop(ONE)
            await late.middle.service.do(Join(actor=carol, room_id=room_id, via=(TWO,)))
            seen = [item.event.event_id for item in await everything(late, carol, room_id)]
            assert [event_id for event_id in seen if event_id in said] == said[::-1]

    run(work)


def test_a_time_in_the_past_is_found_also_before_this_server_came(tmp_path: Path) -> None:
    """spec: client-server and server-server getEventByTimestamp"""

    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            said = [await say(one, alice, room_id, str(number)) for number in range(120)]
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            for event_id in (said[3], said[-1]):
                stored = await one.middle.store.load_event(event_id)  # type: ignore[arg-type]
                assert stored is not None
                target = make_target(*V1, "timestamp_to_event", room_id, query={"ts": str(stored.ts_ms), "dir": "b"})
                answer = await two.federation.trust.client.request(ONE, "GET", target)
                here = await two.middle.reader.event_at(room_id, stored.ts_ms, bob, forward=False)
                assert answer["origin_server_ts"] == here.event.origin_server_ts == stored.ts_ms
                # Several in one millisecond: the last of them, from either side.
                assert answer["event_id"] == here.event.event_id

    run(work)


@pytest.mark.parametrize("visibility", ["shared", "joined"])
@pytest.mark.parametrize("version", ["1", "10", "12"])
def test_what_was_said_while_a_server_was_out_of_the_room_stands_in_its_place(
    tmp_path: Path, version: str, visibility: str
) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, room_version=version, initial_state=shared(visibility))
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            before = await say(two, bob, room_id, "before")
            await until(one, room_id, lambda room: last_text(room) == "before")
            await two.middle.service.do(Leave(actor=bob, room_id=room_id))
            await until(one, room_id, lambda room: room.membership(bob) == "leave")
            missed = [await say(one, alice, room_id, f"missed {number}") for number in range(150)]
            await one.middle.service.do(SetTopic(actor=alice, room_id=room_id, topic="meanwhile"))
            await two.middle.service.do(Join(actor=bob, room_id=room_id))
            after = await say(two, bob, room_id, "after")
            found = [item.event.event_id for item in await everything(two, bob, room_id)][::-1]
            assert len(found) == len(set(found))
            said = [one for one in found if one in {before, *missed, after}]
            assert said == ([before, *missed, after] if visibility == "shared" else [before, after])
            room = await room_of(two, room_id)
            assert room.topic == "meanwhile" and len(room.head.extremities) == 1
            await same_state((one, two), room_id)

    run(work)
