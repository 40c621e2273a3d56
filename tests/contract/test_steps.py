"""Many rows in few steps of SQLite: the same rows as one by one."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from tripoint.store.sql.steps import in_few_steps

COUNTS = [0, 1, 2, 3, 63, 64, 65, 127, 200]


class Watched(sqlite3.Connection):
    """Counts what it is asked to do."""

    steps = 0

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        type(self).steps += 1
        return super().execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        rows = list(rows)
        type(self).steps += len(rows)
        return super().executemany(sql, rows)


@pytest.fixture
def connection() -> Watched:
    Watched.steps = 0
    made = sqlite3.connect(":memory:", factory=Watched)
    made.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT, b BLOB)")
    return made


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t (k, a, b) VALUES (?,?,?)",
        "INSERT OR REPLACE INTO t (k, a, b) VALUES (?, ?, ?)",
        "INSERT INTO t (k, a, b) VALUES (?,?,?) ON CONFLICT (k) DO UPDATE SET a = excluded.a",
    ],
)
def test_rows_that_come_in(connection: Watched, statement: str, count: int) -> None:
    rows = [(n, f"text {n}" if n % 3 else None, bytes([n % 256])) for n in range(count)]
    Watched.steps = 0
    assert in_few_steps(connection, statement, rows) == count
    assert Watched.steps <= (count if "CONFLICT" in statement else count // 64 + 6)
    assert connection.execute("SELECT k, a, b FROM t ORDER BY k").fetchall() == rows


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_change_where_they_are_as_they_should_be(connection: Watched, count: int) -> None:
    in_few_steps(connection, "INSERT INTO t VALUES (?,?,?)", [(n, None if n % 2 else "x", b"") for n in range(count)])
    statement = "UPDATE t SET b = m.column2 FROM (VALUES (?,?,?)) AS m WHERE k = m.column1 AND a IS m.column3"
    rows = [(n, b"new", None if n % 2 else "x") for n in range(count)]
    assert in_few_steps(connection, statement, rows) == count
    assert connection.execute("SELECT count(*) FROM t WHERE b = x'6e6577'").fetchone() == (count,)
    # Some are not as they should be, and stay; the caller sees it by the count.
    others = [(n, b"newer", "x") for n in range(count)]
    assert in_few_steps(connection, statement, others) == (count + 1) // 2


def test_what_cannot_be_stored_stores_nothing_of_its_step(connection: Watched) -> None:
    connection.isolation_level = None
    connection.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError):
        in_few_steps(connection, "INSERT INTO t (k, a, b) VALUES (?,?,?)", [(n % 40, "", b"") for n in range(64)])
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
