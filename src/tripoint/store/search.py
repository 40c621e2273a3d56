"""The full-text index on SQLite FTS5: interface.SearchIndex.

A file of its own beside the database: made from it, and made again when it is lost. It has no text, only which words
stand in which event: what is taken out has to be said again word for word. One thread has the connection; a long
question or a long catching up never keeps the loop.

spec: https://www.sqlite.org/fts5.html 4.4.3 (contentless tables), 4.6 (detail); docs/decisions/search.md
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tripoint.core.ids import EventId
from tripoint.core.words import Question
from tripoint.store.interface import Document, Reached, StoreError

# Another way of taking words apart makes another index.
_FORM: Final = "1"
# Pages that one step of tidying writes: some milliseconds.
_STEP: Final = 200
_T = TypeVar("_T")
_SCHEMA: Final = (
    # The words come taken apart and folded (core/words.py): the tokenizer only parts them at the spaces.
    """CREATE VIRTUAL TABLE said USING fts5 (words, content='', detail=none,
        tokenize="unicode61 remove_diacritics 0 categories 'L* N* M* Co Cf'")""",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
# Stands before a room's key as a word of every event of the room. Nobody's text has it: it is for private use.
_ROOM: Final = "\ue000"


class SqliteSearch:
    """See interface.SearchIndex. `path` None: in memory, for tests and short-lived processes, without a thread."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread = None if path is None else ThreadPoolExecutor(1, thread_name_prefix="search")
        self._connection: sqlite3.Connection | None = None
        self._merging = False

    async def open(self) -> Reached:
        return await self._on_thread(self._open)

    async def start_anew(self) -> None:
        await self._on_thread(self._start_anew)

    async def add(self, added: Sequence[Document], gone: Sequence[Document], reached: Reached) -> None:
        await self._on_thread(lambda: self._add(added, gone, reached))

    async def find(
        self, question: Question, rooms: Sequence[int] | None, *, before: int | None, limit: int
    ) -> Sequence[int]:
        match = _match(question, rooms)
        return await self._on_thread(lambda: self._find(match, before, limit))

    async def tidy(self) -> bool:
        return await self._on_thread(self._tidy)

    async def close(self) -> None:
        await self._on_thread(self._close)
        if self._thread is not None:
            self._thread.shutdown()

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        try:
            if self._thread is None:
                return work()
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"search index: {error}") from error

    # -- on the thread

    def _open(self) -> Reached:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            self._start_anew()  # what is no index, or a broken one, is made again
            return self._reached()

    def _connect(self) -> Reached:
        self._connection = connection = sqlite3.connect(
            ":memory:" if self._path is None else self._path, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # What was taken out is forgotten by the database then: it must not come back.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            self._create()
        elif self._value("form") != _FORM:
            raise sqlite3.DatabaseError("made by another version")
        return self._reached()

    def _create(self) -> None:
        connection = self._open_connection
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)", [("form", _FORM), ("reached", "0"), ("event_id", "")]
        )
        connection.execute("COMMIT")

    @property
    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def _value(self, key: str) -> str:
        row = self._open_connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def _reached(self) -> Reached:
        return Reached(int(self._value("reached") or 0), EventId(self._value("event_id")))

    def _start_anew(self) -> None:
        self._close()
        if self._path is not None:
            for end in ("", "-wal", "-shm"):
                Path(f"{self._path}{end}").unlink(missing_ok=True)
        self._connect()

    def _add(self, added: Sequence[Document], gone: Sequence[Document], reached: Reached) -> None:
        connection = self._open_connection
        connection.execute("BEGIN")
        try:
            connection.executemany(
                "INSERT INTO said (rowid, words) VALUES (?, ?)",
                [(document.row, _text(document)) for document in added if not self._has(document.row)],
            )
            connection.executemany(
                "INSERT INTO said (said, rowid, words) VALUES ('delete', ?, ?)",
                [(document.row, _text(document)) for document in gone if self._has(document.row)],
            )
            if gone and not self._merging:
                # Taking out writes a note that the words do not count any more: merging the parts of the index drops
                # both. A negative number begins that, tidy() goes on.  spec: FTS5 6.8
                connection.execute("INSERT INTO said (said, rank) VALUES ('merge', ?)", (-_STEP,))
                self._merging = True
            connection.executemany(
                "UPDATE meta SET value = ? WHERE key = ?",
                [(str(reached.event_key), "reached"), (reached.event_id, "event_id")],
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _has(self, row: int) -> bool:
        found = self._open_connection.execute("SELECT 1 FROM said_docsize WHERE id = ?", (row,)).fetchone()
        return found is not None

    def _tidy(self) -> bool:
        if not self._merging:
            return False
        connection = self._open_connection
        before = connection.total_changes
        connection.execute("INSERT INTO said (said, rank) VALUES ('merge', ?)", (_STEP,))
        # spec: FTS5 6.8: less than two changes: there was nothing left to do.
        self._merging = connection.total_changes - before >= 2
        return self._merging

    def _find(self, match: str, before: int | None, limit: int) -> Sequence[int]:
        bound = "" if before is None else "AND rowid < ? "
        found = self._open_connection.execute(
            f"SELECT rowid FROM said WHERE said MATCH ? {bound}ORDER BY rowid DESC LIMIT ?",
            (match, limit) if before is None else (match, before, limit),
        )
        return [row for (row,) in found]

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(document: Document) -> str:
    return " ".join([f"{_ROOM}{document.room_key}", *document.words])


def _match(question: Question, rooms: Sequence[int] | None) -> str:
    """spec: FTS5 3. The words have no quotes: they are letters and digits."""
    terms = [f'"{term.word}"{" *" if term.beginning else ""}' for term in question.terms]
    if rooms is not None:
        terms.append("(" + " OR ".join(f'"{_ROOM}{room_key}"' for room_key in rooms) + ")")
    match = " AND ".join(terms)
    for word in question.without:
        match = f'({match}) NOT "{word}"'
    return match
