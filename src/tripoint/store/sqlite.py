"""The store on SQLite: the default. WAL, synchronous=FULL, one writing thread with group commit.

Reads are answered on the loop's thread over a read-only connection: 20-60 µs for a hot page against 60-90 for
a thread hop alone. Whatever scans for long does not belong on it. sql/rows.py turns writes into rows.
Read next: interface.py for what each method promises.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.store import schema
from tripoint.store.group_commit import GroupCommit
from tripoint.store.interface import (
    MEDIA_BLOCK,
    DatabaseTooNew,
    Done,
    MembershipRow,
    RelationCount,
    RelationRow,
    Report,
    StickyRow,
    StoredEvent,
    StoreError,
    WordsGone,
)
from tripoint.store.sql import rows
from tripoint.store.sql.admin_reads import AdminReads
from tripoint.store.sql.app_service_rows import AppServiceReads
from tripoint.store.sql.contact_reads import ContactReads
from tripoint.store.sql.device_reads import DeviceReads
from tripoint.store.sql.oauth_reads import OAuthReads
from tripoint.store.sql.preview_reads import PreviewReads
from tripoint.store.writes import (
    PutAccount,
    PutAccountData,
    PutCertificate,
    PutDelayed,
    PutDestination,
    PutDevice,
    PutFastToken,
    PutMedia,
    PutMediaLink,
    PutMissedRoom,
    PutNode,
    PutNodeItem,
    PutNodeSubscription,
    PutPartialRoom,
    PutPusher,
    PutReceipt,
    PutRegistrationToken,
    PutRoom,
    PutRoomPassword,
    PutServerBan,
    PutServerKey,
    PutStagedPdu,
    PutToken,
    PutVhost,
    Write,
)

_CHAIN = """WITH RECURSIVE chain(base, entries, size, step) AS (
  SELECT base, entries, size, 0 FROM state_groups WHERE state_group = ?
  UNION ALL
  SELECT s.base, s.entries, s.size, chain.step + 1 FROM state_groups s JOIN chain ON s.state_group = chain.base)
"""
_EVENT = (
    "SELECT event_key, position, room_key, event_id, state_group, ts_ms, flags, token, json, redacted_by"
    " FROM events "
)
# What was here before it had its place; it has an index of its own.
_PLACED = "WHERE position > ? AND position > event_key ORDER BY position LIMIT ?"
_ROOM = f"SELECT {rows.ROOM_COLUMNS} FROM rooms "
_ACCOUNT = f"SELECT {rows.ACCOUNT_COLUMNS} FROM accounts "
_USERS_LIKE = """SELECT a.user_id, n.value, p.value FROM accounts a
    LEFT JOIN profiles n ON n.user_id = a.user_id AND n.field = 'displayname'
    LEFT JOIN profiles p ON p.user_id = a.user_id AND p.field = 'avatar_url'
    WHERE a.guest = 0 AND a.deactivated = 0
    AND (instr(substr(a.user_id, 2), ?) > 0 OR (n.value IS NOT NULL AND instr(casefold(n.value), ?) > 0))
    ORDER BY a.user_id LIMIT ?"""


def _casefold(text: str | None) -> str:
    return text.casefold() if text else ""


def open_connection(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection as this server uses it: explicit transactions, WAL, a commit that reached the disk."""
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # the writer's is made on the loop's thread and used on its own thread alone
        cached_statements=256,
    )
    connection.execute("PRAGMA busy_timeout = 5000")
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # What was redacted or deleted is overwritten in its page, as long as that costs no extra writing.
        connection.execute("PRAGMA secure_delete = FAST")
        # Short sort files in memory: a full temporary folder must not fail a commit.
        connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16000")
    # What SQLite calls the same in upper and lower case is ASCII alone.
    connection.create_function("casefold", 1, _casefold, deterministic=True)
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    """Lay out a new database in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in schema.STATEMENTS:
        connection.execute(statement)
    connection.execute("INSERT INTO meta (key, value) VALUES ('schema', ?)", (schema.SCHEMA_VERSION,))
    connection.execute("COMMIT")


def schema_version(connection: sqlite3.Connection) -> str | None:
    """The schema version of a database; None for an empty one."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if found is None:
        return None
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return None if row is None else str(row[0])


class SqliteStore(DeviceReads, OAuthReads, ContactReads, PreviewReads, AppServiceReads, AdminReads):
    """store.interface.Store on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write = open_connection(path, read_only=False)
        version = schema_version(self._write)
        if version is None:
            create_schema(self._write)
        elif version > schema.SCHEMA_VERSION:
            self._write.close()
            raise DatabaseTooNew(
                f"{path} has schema {version}; this program knows {schema.SCHEMA_VERSION} and cannot go back"
            )
        elif version < schema.SCHEMA_VERSION:
            self._write.close()
            # Alembic and SQLAlchemy cost half a second to import: only when there is something to migrate.
            from tripoint.store.migrations import upgrade

            upgrade(path)
            self._write = open_connection(path, read_only=False)
        self._read = open_connection(path, read_only=True)
        self._commits = GroupCommit(self._apply, opened=lambda: None, closed=self._write.close)

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        self._commits.submit(writes, done)

    async def close(self) -> None:
        # The writer closes last: the last connection folds the write-ahead log into the database.
        self._read.close()
        await self._commits.close()

    def _open(self) -> sqlite3.Connection:
        return open_connection(self.path, read_only=True)

    def _apply(self, units: Sequence[Sequence[Write]]) -> None:
        """One transaction. On the writing thread."""
        connection = self._write
        connection.execute("BEGIN IMMEDIATE")
        try:
            rows.execute(connection, units)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # Any, as sqlite3 has it: each query names its columns in the order of the fields that they fill.
    def _all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            return self._read.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        found = self._all(sql, *parameters)
        return found[0] if found else None

    # -- rooms

    async def load_room(self, room_id: RoomId) -> PutRoom | None:
        row = self._one(_ROOM + "WHERE room_id = ?", room_id)
        return None if row is None else rows.room(row)

    async def load_room_by_key(self, room_key: int) -> PutRoom | None:
        row = self._one(_ROOM + "WHERE room_key = ?", room_key)
        return None if row is None else rows.room(row)

    async def load_locked_rooms(self) -> Sequence[PutRoom]:
        return [rows.room(row) for row in self._all(_ROOM + "WHERE locked_until_ms IS NOT NULL")]

    async def load_listed_rooms(self) -> Sequence[PutRoom]:
        return [rows.room(row) for row in self._all(_ROOM + "WHERE listed = 1 ORDER BY room_key")]

    async def load_direct_rooms(self, pair: str) -> Sequence[PutRoom]:
        found = self._all(_ROOM + "WHERE direct_pair = ? ORDER BY created_ts_ms, room_key", pair)
        return [rows.room(row) for row in found]

    async def load_state(self, group: int) -> Mapping[tuple[str, str], int]:
        chain = self._all(_CHAIN + "SELECT base, entries FROM chain ORDER BY step DESC", group)
        state: dict[tuple[str, str], int] = {}
        for base, entries in chain:
            for type_, state_key, event_key in rows.unpack_entries(entries, full=base is None):
                state[type_, state_key] = event_key
        return state

    async def load_state_chain(self, group: int) -> tuple[int, int]:
        chain = self._all(_CHAIN + "SELECT base, size FROM chain ORDER BY step", group)
        deltas = sum(int(str(size)) for base, size in chain if base is not None)
        full = int(str(chain[-1][1])) if chain and chain[-1][0] is None else 0
        return deltas, full

    async def load_events(self, event_keys: Sequence[int]) -> Mapping[int, StoredEvent]:
        return {event.event_key: event for event in self._events("event_key", event_keys)}

    async def load_events_by_id(self, event_ids: Sequence[EventId]) -> Mapping[EventId, StoredEvent]:
        return {event.event_id: event for event in self._events("event_id", event_ids)}

    def _events(self, column: str, values: Sequence[int] | Sequence[EventId]) -> Iterator[StoredEvent]:
        """Events whose `column` has one of `values`, some hundreds at a time."""
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            marks = ",".join("?" * len(part))
            for row in self._all(_EVENT + f"WHERE {column} IN ({marks})", *part):
                yield StoredEvent(*row)

    async def load_event(self, event_id: EventId) -> StoredEvent | None:
        row = self._one(_EVENT + "WHERE event_id = ?", event_id)
        return None if row is None else StoredEvent(*row)

    async def load_partial_room(self, room_key: int) -> PutPartialRoom | None:
        row = self._one(rows.PARTIAL_ROOM + "WHERE room_key = ?", room_key)
        return None if row is None else rows.partial_room(row)

    async def load_partial_rooms(self) -> Sequence[PutPartialRoom]:
        return [rows.partial_room(row) for row in self._all(rows.PARTIAL_ROOM + "ORDER BY room_key")]

    async def load_missing_past(self, room_key: int) -> Sequence[EventId]:
        return [row[0] for row in self._all("SELECT event_id FROM missing_past WHERE room_key = ?", room_key)]

    async def load_first_position(self, room_key: int) -> int:
        row = self._one("SELECT min(position) FROM events WHERE room_key = ?", room_key)
        return 0 if row is None or row[0] is None else int(str(row[0]))

    async def load_waiting_redactions(self, target: EventId) -> Sequence[EventId]:
        return [row[0] for row in self._all("SELECT redaction FROM waiting_redactions WHERE target = ?", target)]

    async def load_timeline(
        self, room_key: int, *, after: int, upto: int, limit: int, backward: bool
    ) -> Sequence[StoredEvent]:
        order = "DESC" if backward else "ASC"
        found = self._all(
            _EVENT + "WHERE room_key = ? AND position > ? AND position <= ? AND position != 0"
            f" ORDER BY position {order} LIMIT ?",
            room_key,
            after,
            upto,
            limit,
        )
        return [StoredEvent(*row) for row in found]

    async def load_state_history(self, room_key: int, type: str, state_key: str) -> Sequence[StoredEvent]:
        found = self._all(
            _EVENT + "WHERE room_key = ? AND type = ? AND state_key = ? AND position IS NOT NULL ORDER BY position",
            room_key,
            type,
            state_key,
        )
        return [StoredEvent(*row) for row in found]

    async def load_state_changes(
        self, room_key: int, type: str, state_key: str, *, after: int, upto: int
    ) -> Sequence[StoredEvent]:
        before = await self.load_state_before(room_key, type, state_key, after + 1)
        found = self._all(
            _EVENT + "WHERE room_key = ? AND type = ? AND state_key = ? AND position > ? AND position <= ?"
            " ORDER BY position",
            room_key,
            type,
            state_key,
            after,
            upto,
        )
        return [*([] if before is None else [before]), *(StoredEvent(*row) for row in found)]

    async def load_state_before(
        self, room_key: int, type: str, state_key: str, position: int
    ) -> StoredEvent | None:
        row = self._one(
            _EVENT + "WHERE room_key = ? AND type = ? AND state_key = ? AND position < ?"
            " ORDER BY position DESC LIMIT 1",
            room_key,
            type,
            state_key,
            position,
        )
        return None if row is None else StoredEvent(*row)

    async def load_position_at(self, room_key: int, ts_ms: int) -> int:
        row = self._one(
            "SELECT position FROM events WHERE room_key = ? AND ts_ms < ? AND position IS NOT NULL"
            " ORDER BY ts_ms DESC, position DESC LIMIT 1",
            room_key,
            ts_ms,
        )
        return 0 if row is None else int(str(row[0]))

    async def load_events_at(
        self, room_key: int, ts_ms: int, *, forward: bool, limit: int
    ) -> Sequence[StoredEvent]:
        sign, order = (">=", "ASC") if forward else ("<=", "DESC")
        found = self._all(
            _EVENT + f"WHERE room_key = ? AND ts_ms {sign} ? AND position IS NOT NULL AND position != 0"
            f" ORDER BY ts_ms {order}, position {order} LIMIT ?",
            room_key,
            ts_ms,
            limit,
        )
        return [StoredEvent(*row) for row in found]

    async def load_event_by_token(self, room_key: int, token: str) -> Sequence[StoredEvent]:
        found = self._all(_EVENT + "WHERE token = ? AND room_key = ? ORDER BY position DESC", token, room_key)
        return [StoredEvent(*row) for row in found]

    async def load_memberships(self, user_id: UserId) -> Sequence[MembershipRow]:
        found = self._all(
            "SELECT m.room_key, r.room_id, m.membership, m.position FROM memberships m"
            " JOIN rooms r ON r.room_key = m.room_key WHERE m.user_id = ?",
            user_id,
        )
        return [MembershipRow(*row) for row in found]

    async def load_last_position(self, room_key: int) -> int:
        row = self._one("SELECT max(position) FROM events WHERE room_key = ?", room_key)
        return 0 if row is None or row[0] is None else int(str(row[0]))

    async def load_alias(self, alias: RoomAlias) -> RoomId | None:
        row = self._one(
            "SELECT r.room_id FROM aliases a JOIN rooms r ON r.room_key = a.room_key WHERE a.alias = ?", alias
        )
        return None if row is None else RoomId(str(row[0]))

    async def load_alias_creator(self, alias: RoomAlias) -> UserId | None:
        row = self._one("SELECT creator FROM aliases WHERE alias = ?", alias)
        return None if row is None else UserId(str(row[0]))

    async def load_aliases(self, room_key: int) -> Sequence[RoomAlias]:
        found = self._all("SELECT alias FROM aliases WHERE room_key = ? ORDER BY alias", room_key)
        return [RoomAlias(str(row[0])) for row in found]

    async def load_receipts(self, room_key: int) -> Sequence[PutReceipt]:
        found = self._all(
            "SELECT room_key, user_id, kind, thread_id, event_id, ts_ms, position FROM receipts"
            " WHERE room_key = ? ORDER BY position",
            room_key,
        )
        return [PutReceipt(*row) for row in found]

    async def load_own_receipts(self, room_key: int, user_id: UserId) -> Sequence[PutReceipt]:
        found = self._all(
            "SELECT room_key, user_id, kind, thread_id, event_id, ts_ms, position FROM receipts"
            " WHERE room_key = ? AND user_id = ? ORDER BY position",
            room_key,
            user_id,
        )
        return [PutReceipt(*row) for row in found]

    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]:
        found = self._all("SELECT key, value FROM names WHERE kind = ? AND scope = ?", kind, scope)
        return {str(key): str(value) for key, value in found}

    async def load_maxima(self) -> tuple[int, int, int]:
        row = self._one(
            "SELECT max(coalesce((SELECT max(event_key) FROM events), 0),"
            "           coalesce((SELECT max(position) FROM events), 0),"
            "           coalesce((SELECT max(position) FROM receipts), 0),"
            "           coalesce((SELECT max(position) FROM account_data), 0),"
            "           coalesce((SELECT max(position) FROM node_items), 0),"
            "           coalesce((SELECT max(position) FROM device_changes), 0),"
            "           coalesce((SELECT max(position) FROM to_device), 0),"
            "           coalesce((SELECT max(position) FROM outgoing_messages), 0)),"
            " coalesce((SELECT max(state_group) FROM state_groups), 0),"
            " coalesce((SELECT max(room_key) FROM rooms), 0)"
        )
        assert row is not None
        return int(str(row[0])), int(str(row[1])), int(str(row[2]))

    async def load_closed_rooms(self) -> Mapping[RoomId, str]:
        found = self._all("SELECT room_id, closed_by FROM closed_rooms ORDER BY room_id")
        return {RoomId(room_id): str(closed_by) for room_id, closed_by in found}

    async def load_room_password(self, room_key: int) -> PutRoomPassword | None:
        row = self._one("SELECT verifier, before FROM kv_password WHERE room_key = ?", room_key)
        return None if row is None else PutRoomPassword(room_key, row[0], row[1])

    async def load_stripped_state(self, room_key: int) -> bytes | None:
        row = self._one("SELECT state FROM stripped_states WHERE room_key = ?", room_key)
        return None if row is None else bytes(row[0])

    async def load_server_keys(self, server: ServerName) -> Sequence[PutServerKey]:
        return [rows.server_key(row) for row in self._all(rows.SERVER_KEY + "WHERE server = ? ORDER BY key_id", server)]

    # -- federation

    async def load_log(self, after: int, limit: int) -> Sequence[StoredEvent]:
        usual = "WHERE event_key > ? AND position <= event_key ORDER BY event_key LIMIT ?"
        found = [*self._all(_EVENT + usual, after, limit), *self._all(_EVENT + _PLACED, after, limit)]
        return sorted((StoredEvent(*row) for row in found), key=lambda event: event.logged)[:limit]

    async def load_placed_after(self, position: int, limit: int) -> Sequence[StoredEvent]:
        # Nearly all have the position that is their key.
        usual = "WHERE event_key > ? AND position = event_key ORDER BY event_key LIMIT ?"
        found = [*self._all(_EVENT + usual, position, limit), *self._all(_EVENT + _PLACED, position, limit)]
        return sorted((StoredEvent(*row) for row in found), key=lambda event: event.place)[:limit]

    async def load_relations(
        self,
        room_key: int,
        targets: Sequence[EventId],
        *,
        rel_type: str | None = None,
        after: int,
        upto: int,
        limit: int,
        backward: bool,
    ) -> Sequence[RelationRow]:
        marks = ",".join("?" * len(targets))
        kind, kinds = ("", ()) if rel_type is None else (" AND rel_type = ?", (rel_type,))
        found = self._all(
            f"SELECT event_key, position, target, rel_type, type, sender FROM relations WHERE target IN ({marks})"
            f"{kind} AND room_key = ? AND position > ? AND position <= ? AND position != 0"
            f" ORDER BY position {'DESC' if backward else 'ASC'} LIMIT ?",
            *targets,
            *kinds,
            room_key,
            after,
            upto,
            limit,
        )
        return [RelationRow(*row) for row in found]

    async def load_room_relations(
        self, room_key: int, rel_type: str, *, upto: int, limit: int
    ) -> Sequence[RelationRow]:
        found = self._all(
            "SELECT event_key, position, target, rel_type, type, sender FROM relations WHERE room_key = ?"
            " AND rel_type = ? AND position <= ? AND position != 0 ORDER BY position DESC LIMIT ?",
            room_key,
            rel_type,
            upto,
            limit,
        )
        return [RelationRow(*row) for row in found]

    async def load_related_rooms(
        self, user_id: UserId, rel_type: str, *, after: int, upto: int
    ) -> Sequence[tuple[RoomId, int]]:
        found = self._all(
            "SELECT * FROM (SELECT r.room_id, (SELECT max(position) FROM relations WHERE room_key = m.room_key"
            " AND rel_type = ? AND position <= ? AND position > ? AND position != 0) AS newest FROM memberships m"
            " JOIN rooms r ON r.room_key = m.room_key WHERE m.user_id = ? AND m.membership = 'join')"
            " WHERE newest IS NOT NULL",
            rel_type,
            upto,
            after,
            user_id,
        )
        return [(room_id, position) for room_id, position in found]

    async def load_relation_counts(
        self, room_key: int, targets: Sequence[EventId], without: Sequence[UserId]
    ) -> Sequence[RelationCount]:
        marks = ",".join("?" * len(targets))
        but = f" AND sender NOT IN ({','.join('?' * len(without))})" if without else ""
        # SQLite takes event_key from the row that has the maximum.  https://www.sqlite.org/lang_select.html 2.5
        found = self._all(
            "SELECT target, rel_type, count(*), event_key, max(position) FROM relations"
            f" WHERE target IN ({marks}) AND room_key = ? AND position IS NOT NULL AND position != 0{but}"
            " GROUP BY target, rel_type",
            *targets,
            room_key,
            *without,
        )
        return [RelationCount(*row[:4]) for row in found]

    async def load_related_by(
        self, room_key: int, targets: Sequence[EventId], rel_type: str, sender: UserId
    ) -> frozenset[EventId]:
        marks = ",".join("?" * len(targets))
        found = self._all(
            f"SELECT DISTINCT target FROM relations WHERE target IN ({marks}) AND rel_type = ? AND sender = ?"
            " AND room_key = ? AND position IS NOT NULL",
            *targets,
            rel_type,
            sender,
            room_key,
        )
        return frozenset(EventId(row[0]) for row in found)

    async def load_reports(self, limit: int) -> Sequence[Report]:
        found = self._all(
            "SELECT number, ts_ms, reporter, user_id, room_id, event_id, kind, reason FROM reports"
            " ORDER BY number LIMIT ?",
            limit,
        )
        return [Report(*row) for row in found]

    async def load_words_gone(self, limit: int) -> Sequence[WordsGone]:
        found = self._all(
            "SELECT number, event_key, position, room_key, json FROM words_gone ORDER BY number LIMIT ?", limit
        )
        return [WordsGone(*row) for row in found]

    async def load_receipts_after(self, position: int) -> Sequence[PutReceipt]:
        found = self._all(
            "SELECT room_key, user_id, kind, thread_id, event_id, ts_ms, position FROM receipts"
            " WHERE position > ? ORDER BY position",
            position,
        )
        return [PutReceipt(*row) for row in found]

    async def load_destinations(self) -> Sequence[PutDestination]:
        found = self._all(
            "SELECT server, position, failing_since_ms, retry_at_ms, interval_ms FROM destinations ORDER BY server"
        )
        return [PutDestination(*row) for row in found]

    async def load_missed_rooms(self) -> Sequence[PutMissedRoom]:
        found = self._all("SELECT server, room_key, since FROM missed_rooms ORDER BY server, room_key")
        return [PutMissedRoom(*row) for row in found]

    async def load_unanswered_ids(self) -> Sequence[tuple[ServerName, str]]:
        found = self._all("SELECT server, txn_id FROM unanswered_transactions ORDER BY server")
        return [(ServerName(str(server)), str(txn_id)) for server, txn_id in found]

    async def load_unanswered(self, server: ServerName) -> bytes | None:
        row = self._one("SELECT body FROM unanswered_transactions WHERE server = ?", server)
        return None if row is None else bytes(row[0])

    async def load_staged_rooms(self) -> Sequence[int]:
        return [int(str(row[0])) for row in self._all("SELECT DISTINCT room_key FROM staged_pdus ORDER BY room_key")]

    async def load_staged_pdus(self, room_key: int) -> Sequence[PutStagedPdu]:
        found = self._all(
            "SELECT event_id, room_key, origin, json FROM staged_pdus WHERE room_key = ? ORDER BY number", room_key
        )
        return [PutStagedPdu(*row) for row in found]

    # -- media

    async def load_media(self, server: ServerName, media_id: str) -> PutMedia | None:
        row = self._one(rows.MEDIA + "WHERE server = ? AND media_id = ?", server, media_id)
        return None if row is None else rows.media(row)

    async def is_content_kept(self, content: str) -> bool:
        return self._one("SELECT 1 FROM media WHERE content = ? LIMIT 1", content) is not None

    async def load_contents(self, after: str, limit: int) -> Sequence[str]:
        found = self._all(
            "SELECT DISTINCT content FROM media WHERE content > ? ORDER BY content LIMIT ?", after, limit
        )
        return [str(row[0]) for row in found]

    async def load_uploaded_bytes(self, user_id: UserId) -> int:
        row = self._one("SELECT coalesce(sum(max(size, ?)), 0) FROM media WHERE uploader = ?", MEDIA_BLOCK, user_id)
        assert row is not None
        return int(str(row[0]))

    async def load_pending_media(self, user_id: UserId) -> Sequence[PutMedia]:
        where = "WHERE uploader = ? AND content IS NULL ORDER BY created_ts_ms, media_id"
        return [rows.media(row) for row in self._all(rows.MEDIA + where, user_id)]

    async def load_lapsed_media(self, now_ms: int) -> Sequence[PutMedia]:
        where = "WHERE content IS NULL AND expires_ts_ms <= ? ORDER BY server, media_id"
        return [rows.media(row) for row in self._all(rows.MEDIA + where, now_ms)]

    async def load_cached_media(self, own: ServerName, limit: int) -> Sequence[PutMedia]:
        where = rows.CACHED + "ORDER BY used_ts_ms, server, media_id LIMIT ?"
        return [rows.media(row) for row in self._all(rows.MEDIA + where, own, limit)]

    async def load_cached_bytes(self, own: ServerName) -> int:
        row = self._one("SELECT coalesce(sum(size), 0) FROM media " + rows.CACHED, own)
        assert row is not None
        return int(str(row[0]))

    async def load_media_link(self, link: str) -> PutMediaLink | None:
        row = self._one(rows.MEDIA_LINK + "WHERE link = ?", link)
        return None if row is None else PutMediaLink(*row)

    async def load_media_links(self, server: ServerName, media_id: str) -> Sequence[PutMediaLink]:
        where = "WHERE server = ? AND media_id = ? ORDER BY subject, link"
        return [PutMediaLink(*row) for row in self._all(rows.MEDIA_LINK + where, server, media_id)]

    async def has_local_member(self, room_key: int) -> bool:
        where = "WHERE room_key = ? AND membership = 'join' LIMIT 1"
        return self._one("SELECT 1 FROM memberships " + where, room_key) is not None

    async def load_meta(self, key: str) -> str | None:
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(row[0])

    # -- accounts

    async def load_account(self, user_id: UserId) -> PutAccount | None:
        row = self._one(_ACCOUNT + "WHERE user_id = ?", user_id)
        return None if row is None else rows.account(row)

    async def load_account_names(self) -> Sequence[str]:
        return [str(row[0]) for row in self._all("SELECT name FROM accounts")]

    async def load_users_like(
        self, part: str, limit: int
    ) -> Sequence[tuple[UserId, str | None, str | None]]:
        found = self._all(_USERS_LIKE, part, part, limit)
        return [(UserId(user), name, avatar) for user, name, avatar in found]

    async def load_guests(self) -> Sequence[PutAccount]:
        return [rows.account(row) for row in self._all(_ACCOUNT + "WHERE guest = 1")]

    async def load_credential(self, user_id: UserId, form: str) -> bytes | None:
        row = self._one("SELECT data FROM credentials WHERE user_id = ? AND form = ?", user_id, form)
        return None if row is None else bytes(row[0])

    async def load_devices(self, user_id: UserId) -> Sequence[PutDevice]:
        found = self._all(
            "SELECT user_id, device_id, protocol, display_name, last_seen_ts_ms FROM devices"
            " WHERE user_id = ? ORDER BY device_id",
            user_id,
        )
        return [PutDevice(*row) for row in found]

    async def load_token(self, token_hash: bytes) -> PutToken | None:
        row = self._one(rows.TOKEN + "WHERE token_hash = ?", token_hash)
        return None if row is None else rows.token(row)

    async def load_tokens(self, user_id: UserId) -> Sequence[PutToken]:
        return [rows.token(row) for row in self._all(rows.TOKEN + "WHERE user_id = ?", user_id)]

    async def load_profile(self, user_id: UserId) -> Mapping[str, str]:
        found = self._all("SELECT field, value FROM profiles WHERE user_id = ?", user_id)
        return {str(field): str(value) for field, value in found}

    async def load_account_data(self, user_id: UserId, since: int) -> Sequence[PutAccountData]:
        found = self._all(
            "SELECT user_id, room_id, type, content, position FROM account_data"
            " WHERE user_id = ? AND position > ? ORDER BY position",
            user_id,
            since,
        )
        return [PutAccountData(*row) for row in found]

    async def load_account_data_of_type(self, type: str) -> Sequence[PutAccountData]:
        found = self._all(
            "SELECT user_id, room_id, type, content, position FROM account_data"
            " WHERE room_id = '' AND type = ? ORDER BY user_id",
            type,
        )
        return [PutAccountData(*row) for row in found]

    async def load_filter(self, user_id: UserId, filter_id: str) -> bytes | None:
        row = self._one("SELECT definition FROM filters WHERE user_id = ? AND filter_id = ?", user_id, filter_id)
        return None if row is None else bytes(row[0])

    async def load_roster(self, user_id: UserId) -> Sequence[bytes]:
        found = self._all("SELECT data FROM rosters WHERE user_id = ? ORDER BY jid", user_id)
        return [bytes(row[0]) for row in found]

    async def load_nodes(self, user_id: UserId) -> Sequence[PutNode]:
        found = self._all("SELECT user_id, node, config FROM nodes WHERE user_id = ? ORDER BY node", user_id)
        return [PutNode(*row) for row in found]

    async def load_node(self, user_id: UserId, node: str) -> PutNode | None:
        row = self._one("SELECT user_id, node, config FROM nodes WHERE user_id = ? AND node = ?", user_id, node)
        return None if row is None else PutNode(*row)

    async def load_node_items(self, user_id: UserId, node: str, limit: int) -> Sequence[PutNodeItem]:
        found = self._all(
            rows.NODE_ITEM + "WHERE user_id = ? AND node = ? ORDER BY position DESC LIMIT ?", user_id, node, limit
        )
        return [PutNodeItem(*row) for row in found]

    async def load_node_item(self, user_id: UserId, node: str, item_id: str) -> PutNodeItem | None:
        row = self._one(
            rows.NODE_ITEM + "WHERE user_id = ? AND node = ? AND item_id = ?", user_id, node, item_id
        )
        return None if row is None else PutNodeItem(*row)

    async def load_delayed(self) -> Sequence[PutDelayed]:
        columns = "delay_id, user_id, room_id, type, state_key, content, delay_ms, since_ms, outcome, sticky_ms"
        found = self._read.execute(f"SELECT {columns} FROM delayed_events ORDER BY delay_id").fetchall()
        return [PutDelayed(*row) for row in found]

    async def load_sticky(self, now_ms: int) -> Sequence[StickyRow]:
        found = self._all(
            "SELECT r.room_id, e.event_id, CASE WHEN s.failed THEN NULL ELSE e.position END AS at, s.sender,"
            " s.until_ts_ms FROM sticky_events s JOIN events e ON e.event_key = s.event_key"
            " JOIN rooms r ON r.room_key = s.room_key WHERE s.until_ts_ms > ? ORDER BY at",
            now_ms,
        )
        return [StickyRow(*row) for row in found]

    async def load_fast_tokens(self, user_id: UserId) -> Sequence[PutFastToken]:
        columns = "user_id, client, slot, device_id, mechanism, salt, expires_ts_ms, count"
        found = self._all(f"SELECT {columns} FROM fast_tokens WHERE user_id = ? ORDER BY client, slot", user_id)
        return [PutFastToken(*row) for row in found]

    async def load_pushers(self) -> Sequence[PutPusher]:
        columns = "user_id, app_id, pushkey, device_id, settings, set_ts_ms, position"
        found = self._read.execute(f"SELECT {columns} FROM pushers ORDER BY user_id, app_id, pushkey").fetchall()
        return [PutPusher(*row) for row in found]

    async def load_node_subscriptions(self, user_id: UserId) -> Sequence[PutNodeSubscription]:
        columns = "user_id, node, jid, subscriber"
        query = f"SELECT {columns} FROM node_subscriptions WHERE user_id = ? ORDER BY node, jid"
        found = self._all(query, user_id)
        return [PutNodeSubscription(*row) for row in found]

    async def load_node_owners(self, node: str) -> Sequence[UserId]:
        return [UserId(row[0]) for row in self._all("SELECT user_id FROM nodes WHERE node = ? ORDER BY user_id", node)]

    async def load_published_bytes(self, user_id: UserId) -> int:
        row = self._one("SELECT coalesce(sum(length(payload)), 0) FROM node_items WHERE user_id = ?", user_id)
        return 0 if row is None else int(str(row[0]))

    async def load_registration_token(self, token: str) -> PutRegistrationToken | None:
        row = self._one(
            "SELECT token, uses_left, expires_ts_ms, username, completed FROM registration_tokens"
            " WHERE token = ?",
            token,
        )
        return None if row is None else PutRegistrationToken(*row)

    async def load_registration_tokens(self) -> Sequence[PutRegistrationToken]:
        found = self._all(
            "SELECT token, uses_left, expires_ts_ms, username, completed FROM registration_tokens ORDER BY token"
        )
        return [PutRegistrationToken(*row) for row in found]

    async def load_server_bans(self) -> Sequence[PutServerBan]:
        columns = "kind, mask, reason, setter, created_ts_ms, expires_ts_ms"
        return [PutServerBan(*row) for row in self._all(f"SELECT {columns} FROM server_bans ORDER BY kind, mask")]

    async def load_certificate(self, fingerprint: str) -> PutCertificate | None:
        columns = "fingerprint, user_id, added_ts_ms"
        rows = self._all(f"SELECT {columns} FROM certificates WHERE fingerprint = ?", fingerprint)
        return PutCertificate(*rows[0]) if rows else None

    async def load_certificates(self, user_id: UserId) -> Sequence[PutCertificate]:
        columns = "fingerprint, user_id, added_ts_ms"
        rows = self._all(f"SELECT {columns} FROM certificates WHERE user_id = ? ORDER BY fingerprint", user_id)
        return [PutCertificate(*row) for row in rows]

    async def load_vhosts(self) -> Sequence[PutVhost]:
        return [PutVhost(*row) for row in self._all("SELECT user_id, host, state FROM vhosts ORDER BY user_id")]
