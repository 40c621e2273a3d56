"""The full-text index by itself: what store/interface.py says of a SearchIndex."""

import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.middle import run
from tripoint.core.ids import EventId
from tripoint.core.words import read_question, words_of
from tripoint.store.interface import Document, Reached
from tripoint.store.search import SqliteSearch


def said(row: int, room_key: int, text: str) -> Document:
    return Document(row, room_key, tuple(words_of(text)))


async def find(index: SqliteSearch, asked: str, *rooms: int, before: int | None = None, limit: int = 10) -> list[int]:
    return [*await index.find(read_question(asked), rooms or None, before=before, limit=limit)]


def test_finding() -> None:
    async def work() -> None:
        index = SqliteSearch(None)
        assert await index.open() == Reached(0, EventId(""))
        documents = [
            said(1, 1, "green tea"),
            said(2, 2, "black tea"),
            said(3, 1, "teapots, 緑茶です"),
            said(-4, 1, "tea of old"),
            said(5, 11, "room1 tea"),
        ]
        await index.add(documents, [], Reached(5, EventId("$5")))
        assert await find(index, "tea") == [5, 3, 2, 1, -4]  # what was fetched from the past is before the rest
        assert await find(index, "tea", 1) == [3, 1, -4]
        assert await find(index, "tea", 1, 2) == [3, 2, 1, -4]
        assert await find(index, "tea", before=3, limit=2) == [2, 1]
        assert await find(index, '"tea"', 1) == [1, -4]
        assert await find(index, "tea -green", 1) == [3, -4]
        assert await find(index, "緑茶") == [3]
        assert await find(index, "茶") == [3]
        assert await find(index, "green black") == []
        assert await find(index, "near or and not") == []  # words of the query language are words
        await index.close()

    run(work)


def test_what_is_taken_out_is_gone_from_the_file(tmp_path: Path) -> None:
    """Words stand in the file without the beginning that they share with the one before."""
    path = tmp_path / "search.db"
    end = Reached(1999, EventId("$x"))
    secret = said(1, 1, "unspeakable secret")
    many = [said(row, 1, f"filler{row} words{row}") for row in range(2, 2000)]

    async def with_index(use: Callable[[SqliteSearch], Awaitable[None]]) -> None:
        index = SqliteSearch(path)
        await index.open()
        await use(index)
        await index.close()

    async def fill(index: SqliteSearch) -> None:
        await index.add([secret, *many], [], end)

    async def take_out(index: SqliteSearch) -> None:
        await index.add([], [secret], end)
        assert await find(index, "unspeakable") == []
        while await index.tidy():
            pass
        # A repeat, as after a crash, does nothing: nor does what never was there.
        await index.add(many[:1], [secret, said(7000, 1, "x")], end)
        assert await find(index, '"filler2"') == [2]

    run(lambda: with_index(fill))
    assert b"nspeakable" in path.read_bytes()
    run(lambda: with_index(take_out))
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO said (said) VALUES ('integrity-check')")
    connection.close()
    assert b"nspeakable" not in path.read_bytes()


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        for number in range(1, 4):
            index = SqliteSearch(tmp_path / "search.db")
            before = EventId(f"${number - 1}") if number > 1 else EventId("")
            assert await index.open() == Reached(number - 1, before)
            await index.add([said(number, 1, "tea")], [], Reached(number, EventId(f"${number}")))
            await index.close()
        index = SqliteSearch(tmp_path / "search.db")
        await index.open()
        assert await find(index, "tea") == [3, 2, 1]
        await index.start_anew()
        assert await find(index, "tea") == []
        await index.close()

    run(work)


def test_a_file_that_is_no_index_is_made_anew(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "search.db").write_bytes(b"not a database at all" * 100)
        index = SqliteSearch(tmp_path / "search.db")
        assert await index.open() == Reached(0, EventId(""))
        await index.add([said(1, 1, "tea")], [], Reached(1, EventId("$1")))
        assert await find(index, "tea") == [1]
        await index.close()

    run(work)


def test_it_finds_what_a_look_at_every_text_finds() -> None:
    """Random texts of few words, added and taken out: the index and the question itself agree."""
    chance = random.Random(7)
    words = ["tea", "teapot", "green", "日本", "本日", "語", "안녕하", "café", "of", "a"]

    async def work() -> None:
        index = SqliteSearch(None)
        await index.open()
        texts: dict[int, str] = {}
        for row in range(1, 300):
            texts[row] = " ".join(chance.choices(words, k=chance.randrange(1, 5)))
            gone = chance.choice([*texts]) if chance.random() < 0.3 else None
            lost = [] if gone is None or gone == row else [said(gone, 1, texts.pop(gone))]
            await index.add([said(row, 1, texts[row])], lost, Reached(row, EventId("$")))
        for _ in range(100):
            asked = " ".join(chance.choices([*words, "-tea", '"tea of"', "本", "te"], k=2))
            question = read_question(asked)
            expected = [row for row in sorted(texts, reverse=True) if question and question.rank(texts[row])]
            maybe = await find(index, asked, limit=1000) if question else []
            assert [row for row in maybe if question.rank(texts[row])] == expected, asked
        await index.close()

    run(work)
