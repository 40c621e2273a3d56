"""Databases move forward only, and arrive at the schema that new ones have."""

import sqlite3
from pathlib import Path

import pytest

from tests.support.middle import run
from tripoint.store import migrations, schema
from tripoint.store.interface import DatabaseTooNew
from tripoint.store.sqlite import SqliteStore, create_schema, open_connection, schema_version


def shape(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return rows


def test_the_newest_migration_is_the_schema_of_new_databases() -> None:
    assert migrations.newest() == schema.SCHEMA_VERSION


def test_an_upgraded_database_has_the_shape_of_a_new_one(tmp_path: Path) -> None:
    """The first schema, as its program laid it out, and then every step."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    first = sqlite3.connect(old)
    first.executescript((Path(__file__).parent / "schema_0001.sql").read_text("utf-8"))
    first.close()
    connection = open_connection(new, read_only=False)
    create_schema(connection)
    connection.close()
    migrations.upgrade(old)
    assert shape(old) == shape(new)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    connection = open_connection(path, read_only=False)
    create_schema(connection)
    connection.execute("UPDATE meta SET value = '9999' WHERE key = 'schema'")
    connection.close()

    async def work() -> None:
        with pytest.raises(DatabaseTooNew, match="9999"):
            SqliteStore(path)

    run(work)
    connection = open_connection(path, read_only=True)
    assert schema_version(connection) == "9999"
    connection.close()


def test_a_commit_is_durable_by_configuration(tmp_path: Path) -> None:
    connection = open_connection(tmp_path / "test.db", read_only=False)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    connection.close()


def test_what_old_events_are_about_is_found(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    first = sqlite3.connect(path)
    first.executescript((Path(__file__).parent / "schema_0001.sql").read_text("utf-8"))
    for key, json in enumerate(
        (
            b'{"type":"m.room.message","sender":"@a:b","content":{"m.relates_to":{"rel_type":"m.thread","event_id":"$r"}}}',
            b'{"type":"m.room.message","sender":"@a:b","content":{"m.relates_to":{"rel_type":7,"event_id":"$r"}}}',
            b'{"type":"m.room.message","sender":"@a:b","content":{"body":"\\"rel_type\\""}}',
        ),
        1,
    ):
        first.execute(
            "INSERT INTO events (event_key, position, room_key, event_id, state_group, ts_ms, flags, json)"
            " VALUES (?, ?, 1, ?, 0, 0, 0, ?)",
            (key, key, f"${key}", json),
        )
    first.commit()
    first.close()
    migrations.upgrade(path)
    connection = open_connection(path, read_only=True)
    found = connection.execute("SELECT event_key, position, target, rel_type, type, sender FROM relations").fetchall()
    connection.close()
    assert found == [(1, 1, "$r", "m.thread", "m.room.message", "@a:b")]
