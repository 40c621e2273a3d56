"""The index follows the rooms, and nobody finds what he may not read.  spec: client-server search"""

import asyncio
from pathlib import Path

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.searchable import BODY, NAME, TOPIC
from tripoint.rooms.changes import Swept
from tripoint.rooms.commands import Ban, Forget, Join, Kick, Leave, Redact, SendState
from tripoint.rooms.history import SearchPage, SearchQuery
from tripoint.rooms.indexing import Indexing
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.search import SqliteSearch
from tripoint.store.writes import FLAG_SOFT_FAILED, AddEvent, PlaceEvent


async def search(at: Party, viewer: UserId, text: str, **more: object) -> SearchPage:
    query = SearchQuery(viewer=viewer, text=text, **{"keys": (BODY, NAME, TOPIC), **more})  # type: ignore[arg-type]
    return await at.middle.reader.search(query)


async def bodies(at: Party, viewer: UserId, text: str, **more: object) -> list[object]:
    return [hit.item.event.content.get("body") for hit in (await search(at, viewer, text, **more)).hits]


def test_only_what_may_be_read() -> None:
    async def work() -> None:
        async with party() as at:
            alice, bob, carol = await at.accounts("alice", "bob", "carol")
            room_id = await at.room(alice)
            visibility = SendState(
                actor=alice, room_id=room_id, type="m.room.history_visibility", state_key="",
                content={"history_visibility": "joined"},
            )  # fmt: skip
            await at.do(visibility)
            await at.say(alice, room_id, "tea before bob")
            await at.do(Join(actor=bob, room_id=room_id))
            await at.say(alice, room_id, "tea with bob")
            await at.do(Kick(actor=alice, room_id=room_id, target=bob))
            await at.say(alice, room_id, "tea after bob")
            assert await bodies(at, alice, "tea") == ["tea after bob", "tea with bob", "tea before bob"]
            assert await bodies(at, bob, "tea") == ["tea with bob"]  # spec: those that they have left too
            assert await bodies(at, carol, "tea") == []
            await at.do(Forget(actor=bob, room_id=room_id))
            assert await bodies(at, bob, "tea") == []
            await at.do(Ban(actor=alice, room_id=room_id, target=carol))
            assert await bodies(at, carol, "tea") == []

    run(work)


def test_what_was_here_before_it_had_its_place_is_found_when_it_has_it() -> None:
    """An event that soft-failed, or came before what it follows, and is shown later."""

    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as at:
            (alice,) = await at.accounts("alice")
            room_id = await at.room(alice)
            said = await store.load_event(await at.say(alice, room_id, "tea"))
            assert said is not None
            stream, late = at.middle.stream, EventId("$late")
            key, json = stream.next(), said.json.replace(b'"tea"', b'"orchid"')
            group, ts_ms = said.state_group, said.ts_ms
            await stream.commit(
                [AddEvent(key, None, said.room_key, late, group, ts_ms, FLAG_SOFT_FAILED, None, None, None, json)]
            )
            await at.say(alice, room_id, "and cake")
            assert (await bodies(at, alice, "cake"), await bodies(at, alice, "orchid")) == (["and cake"], [])
            place = stream.next()
            await stream.commit([PlaceEvent(key, place, group, 0)])
            assert await bodies(at, alice, "orchid") == ["orchid"]
            # Who reads the log from where it was then hears of it too.
            log = await store.load_log(key, 10)
            assert (log[-1].event_id, log[-1].logged, log[-1].event_key) == (late, place, key)

    run(work)


def test_what_is_redacted_is_not_found_whenever_it_was_indexed() -> None:
    async def work() -> None:
        async with party() as at:
            (alice,) = await at.accounts("alice")
            room_id = await at.room(alice)
            first = await at.say(alice, room_id, "tea one")
            assert await bodies(at, alice, "tea") == ["tea one"]  # indexed
            second = await at.say(alice, room_id, "tea two")  # not yet
            for event_id in (first, second):
                await at.do(Redact(actor=alice, room_id=room_id, event_id=event_id))  # type: ignore[arg-type]
            assert await bodies(at, alice, "tea") == []
            assert not await at.middle.store.load_words_gone(10)

    run(work)


def test_names_topics_edits_and_pages() -> None:
    async def work() -> None:
        async with party() as at:
            alice, bob = await at.accounts("alice", "bob")
            room_id = await at.room(alice, bob)
            name = SendState(actor=alice, room_id=room_id, type="m.room.name", state_key="", content={"name": "Tea"})
            await at.do(name)
            for number in range(25):
                await at.say(alice if number % 2 else bob, room_id, f"tea {number}")
            assert (await search(at, alice, "tea", keys=(NAME,))).count == 26
            assert len((await search(at, alice, "tea", keys=(NAME,))).hits) == 1
            found: list[object] = []
            start: int | None = None
            for _ in range(10):
                page = await search(at, alice, "tea", keys=(BODY,), start=start, limit=10)
                found += [hit.item.event.content["body"] for hit in page.hits]
                if (start := page.end) is None:
                    break
            assert found == [f"tea {number}" for number in reversed(range(25))]
            ranked: list[object] = []
            start = None
            for _ in range(10):
                page = await search(at, alice, "tea", ranked=True, start=start, limit=10)
                ranked += [hit.item.event.event_id for hit in page.hits]
                if (start := page.end) is None:
                    break
            assert len(ranked) == len(set(ranked)) == 26
            assert len(await bodies(at, alice, "tea", senders=(bob,), limit=100)) == 13
            assert await bodies(at, alice, "tea", rooms=(RoomId("!other:example.org"),)) == []

    run(work)


def test_a_room_that_is_gone_takes_its_words_along() -> None:
    async def work() -> None:
        async with party() as at:
            alice, bob = await at.accounts("alice", "bob")
            room_id = await at.room(alice)
            await at.say(alice, room_id, "tea")
            assert await bodies(at, alice, "tea") == ["tea"]
            await at.do(Leave(actor=alice, room_id=room_id))
            assert await bodies(at, alice, "tea") == ["tea"]  # it stays: the room is no temporary one
            assert await bodies(at, bob, "tea") == []

    run(work)


def test_an_index_of_another_database_is_made_anew(tmp_path: Path) -> None:
    async def one_message(text: str, index: SqliteSearch) -> list[object]:
        async with party() as at:
            (alice,) = await at.accounts("alice")
            indexing = Indexing(at.middle.store, at.middle.stream, index)
            at.middle.reader._searching._indexing = indexing  # the reader's own, exchanged
            await indexing.start()
            room_id = await at.room(alice)
            await at.say(alice, room_id, text)
            found = await bodies(at, alice, text)
            await index.close()
            return found

    async def work() -> None:
        path = tmp_path / "search.db"
        assert await one_message("green", SqliteSearch(path)) == ["green"]
        # The same keys in another database: nothing of the old index may stand for them.
        assert await one_message("black", SqliteSearch(path)) == ["black"]

    run(work)


def test_a_failing_store_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr("tripoint.rooms.indexing.DELAY_S", 0.01)
        store = MemoryStore()
        async with party(store=store) as at:
            (alice,) = await at.accounts("alice")
            room_id = await at.room(alice)
            indexing = at.middle.indexing
            failed, again = asyncio.Event(), asyncio.Event()
            load = store.load_log

            async def failing(after: int, limit: int) -> object:
                if not failed.is_set():
                    failed.set()
                    raise StoreError("no disk")
                again.set()
                return await load(after, limit)

            monkeypatch.setattr(store, "load_log", failing)
            task = asyncio.create_task(indexing.run())
            async with asyncio.timeout(10):
                await failed.wait()
                await at.say(alice, room_id, "tea")
                await again.wait()
            task.cancel()
            assert await bodies(at, alice, "tea") == ["tea"]

    run(work)


def test_it_stops_in_the_moment_in_which_something_is_taken_back() -> None:
    """A server that is told to stop right after a redaction: the cancellation is not lost with the waiting."""

    async def work() -> None:
        async with party() as at:
            (alice,) = await at.accounts("alice")
            room_id = await at.room(alice)
            said = await at.middle.reader.event(room_id, EventId(await at.say(alice, room_id, "tea")), alice)
            indexing = at.middle.indexing
            for steps in range(12):
                task = asyncio.create_task(indexing.run())
                await at.say(alice, room_id, "more tea")
                await asyncio.sleep(0.05)
                indexing.room_changed(Swept(room_id, said.event, (), 1))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                done, _ = await asyncio.wait([task], timeout=2)
                assert done, f"not stopped, {steps} steps of the loop after it"

    run(work)
