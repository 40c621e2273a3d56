"""Paging over what says nothing: a page is as long as it was asked for, and the end is the end.

spec: docs/mapping.md 11.11, 14.1
"""

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.rooms.commands import Redact
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.paging import gather

# More than one step of reading, and more than one look at the store (reader.MAX_SCAN).
SILENT = 2100


def text(item: HistoryItem) -> str | None:
    body = item.event.content.get("body")
    return body if isinstance(body, str) and not body.startswith("-") else None


def query(room_id: RoomId, viewer: UserId, direction: Direction, limit: int) -> HistoryQuery:
    return HistoryQuery(room_id=room_id, viewer=viewer, direction=direction, limit=limit, types=("m.room.message",))


async def talk(p: Party) -> tuple[UserId, RoomId, list[str]]:
    """a b, a long silence, c d: some things before and after it, and what is redacted among them."""
    alice = await p.account("alice")
    room_id = await p.room(alice)
    said = [await p.say(alice, room_id, word) for word in ("a", "gone", "b")]
    for _ in range(SILENT):
        await p.say(alice, room_id, "-")
    said += [await p.say(alice, room_id, word) for word in ("c", "gone", "d")]
    for index in (1, 4):
        await p.do(Redact(actor=alice, room_id=room_id, event_id=EventId(said[index])))
    return alice, room_id, said


def test_a_long_silence_is_read_over() -> None:
    async def work() -> None:
        async with party() as p:
            alice, room_id, _ = await talk(p)
            reader = p.middle.reader
            for direction in (Direction.FORWARD, Direction.BACKWARD):
                for limit, words in ((10, "abcd"), (4, "abcd")):
                    page = await gather(reader, query(room_id, alice, direction, limit), text)
                    assert ("".join(page.items), page.more) == (words, False)
                page = await gather(reader, query(room_id, alice, direction, 3), text)
                assert ("".join(page.items), page.more) == ("abc" if direction is Direction.FORWARD else "bcd", True)
                nothing = await gather(reader, query(room_id, alice, direction, 0), text)
                assert (nothing.items, nothing.more) == ((), True)

    run(work)


def test_sizes_count() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            room_id = await p.room(alice)
            for word in ("aaa", "bb", "c", "ddddd"):
                await p.say(alice, room_id, word)
            for limit, words in ((1, ["aaa"]), (5, ["aaa", "bb"]), (6, ["aaa", "bb", "c"]), (10, ["aaa", "bb", "c"])):
                page = await gather(p.middle.reader, query(room_id, alice, Direction.FORWARD, limit), text, len)
                assert (list(page.items), page.more) == (words, True)
            page = await gather(p.middle.reader, query(room_id, alice, Direction.BACKWARD, 1), text, len)
            assert (page.items, page.more) == (("ddddd",), True)

    run(work)


@pytest.mark.parametrize(("after_s", "words"), [(0, "abc"), (1, "bc"), (2, "c"), (3, "")])
def test_a_time_is_a_position(after_s: int, words: str) -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            room_id = await p.room(alice)
            start = p.clock.ms()
            for word in "abc":
                await p.say(alice, room_id, word)
                p.clock.now += 1
            position = await p.middle.reader.position_before(room_id, start + after_s * 1000)
            asked = HistoryQuery(
                room_id=room_id, viewer=alice, direction=Direction.FORWARD, anchor=ByPosition(position), limit=10
            )
            page = await gather(p.middle.reader, asked, text)
            assert "".join(page.items) == words
            assert await p.middle.reader.position_before(room_id, 0) == 0

    run(work)
