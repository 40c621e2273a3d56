"""The reads of store.admin_store on SQLite; a part of sqlite.SqliteStore.

They may look at whole tables, so they run on another thread, each over a connection of its own.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.core.listings import AccountQuery, MediaQuery, MediaUse, MediaUseQuery, OldMediaQuery, RoomQuery
from tripoint.store.admin_store import AccountRow
from tripoint.store.interface import StoreError
from tripoint.store.sql import rows
from tripoint.store.writes import PutMedia

_ACCOUNT_ORDER: Final = {
    "name": "a.user_id",
    "displayname": "casefold(n.value)",
    "avatar_url": "p.value",
    "creation_ts": "a.created_ts_ms",
    "last_seen_ts": "last_seen",
}
_ACCOUNTS = """FROM accounts a
    LEFT JOIN profiles n ON n.user_id = a.user_id AND n.field = 'displayname'
    LEFT JOIN profiles p ON p.user_id = a.user_id AND p.field = 'avatar_url' WHERE 1 = 1"""


def _last(type_: str, field: str) -> str:
    """What the newest state event of a kind says in a field of its content."""
    return (
        f"(SELECT json_extract(CAST(e.json AS TEXT), '$.content.{field}') FROM events e WHERE e.room_key = r.room_key"
        f" AND e.type = '{type_}' AND e.state_key = '' AND e.position IS NOT NULL ORDER BY e.position DESC LIMIT 1)"
    )


_NAME = _last("m.room.name", "name")
_ALIAS = _last("m.room.canonical_alias", "alias")
_LOCAL = "(SELECT count(*) FROM memberships m WHERE m.room_key = r.room_key AND m.membership = 'join')"
_CREATOR = (
    "(SELECT json_extract(CAST(e.json AS TEXT), '$.sender') FROM events e WHERE e.room_key = r.room_key"
    " AND e.type = 'm.room.create' AND e.position IS NOT NULL LIMIT 1)"
)
# SQLite takes the other columns from the row that has the maximum.  https://www.sqlite.org/lang_select.html 2.5
_JOINED = (
    "(SELECT count(*) FROM (SELECT json, max(position) FROM events e WHERE e.room_key = r.room_key"
    " AND e.type = 'm.room.member' AND e.position IS NOT NULL GROUP BY e.state_key) l"
    " WHERE json_extract(CAST(l.json AS TEXT), '$.content.membership') = 'join')"
)
_STATES = (
    "(SELECT count(*) FROM (SELECT 1 FROM events e WHERE e.room_key = r.room_key AND e.type IS NOT NULL"
    " AND e.position IS NOT NULL GROUP BY e.type, e.state_key))"
)
_ROOM_ORDER: Final = {
    "name": f"casefold(coalesce({_NAME}, {_ALIAS}, r.room_id))",
    "canonical_alias": _ALIAS,
    "joined_members": _JOINED,
    "joined_local_members": _LOCAL,
    "version": "r.version",
    "creator": _CREATOR,
    "encryption": _last("m.room.encryption", "algorithm"),
    "federatable": "coalesce({}, 1)".format(_last("m.room.create", '"m.federate"')),
    "public": "r.listed",
    "join_rules": _last("m.room.join_rules", "join_rule"),
    "guest_access": _last("m.room.guest_access", "guest_access"),
    "history_visibility": _last("m.room.history_visibility", "history_visibility"),
    "state_events": _STATES,
}
# What grows downwards where one asks for the largest first, as the de-facto API of these lists has it.
_LARGEST_FIRST: Final = frozenset({"joined_members", "joined_local_members", "version", "federatable", "state_events"})


_MEDIA_ORDER: Final = {
    "media_id": "media_id",
    "upload_name": "filename",
    "created_ts": "created_ts_ms",
    "last_access_ts": "used_ts_ms",
    "media_length": "size",
    "media_type": "type",
    "quarantined_by": "quarantined_by",
    "safe_from_quarantine": "protected",
}
_IS_PICTURE: Final = f"""('mxc://' || server || '/' || media_id) IN (
    SELECT value FROM profiles WHERE field = 'avatar_url'
    UNION SELECT {_last("m.room.avatar", "url")} FROM rooms r)"""
_SERVER: Final = "substr({0}, instr({0}, ':') + 1)"


class AdminReads:
    """Abstract: `path` is the database, `_open` makes a reading connection."""

    path: Path

    def _open(self) -> sqlite3.Connection:
        raise NotImplementedError

    async def _aside(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Read on another thread, over a connection of its own."""

        def run() -> Any:
            connection = self._open()
            try:
                return work(connection)
            finally:
                connection.close()

        try:
            return await asyncio.to_thread(run)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    async def list_accounts(self, query: AccountQuery) -> tuple[Sequence[AccountRow], int]:
        where, parameters = _account_filters(query)
        order = _ACCOUNT_ORDER.get(query.order, f"a.{query.order}")
        way = "DESC" if query.backward else "ASC"
        columns = ", ".join(f"a.{name.strip()}" for name in rows.ACCOUNT_COLUMNS.split(","))
        seen = "(SELECT max(d.last_seen_ts_ms) FROM devices d WHERE d.user_id = a.user_id) AS last_seen"

        def work(connection: sqlite3.Connection) -> tuple[Sequence[AccountRow], int]:
            found = connection.execute(
                f"SELECT {columns}, n.value, p.value, {seen} {_ACCOUNTS}{where}"
                f" ORDER BY {order} {way}, a.user_id LIMIT ? OFFSET ?",
                (*parameters, query.page.limit, query.page.start),
            ).fetchall()
            (total,) = connection.execute(f"SELECT count(*) {_ACCOUNTS}{where}", parameters).fetchone()
            return [AccountRow(rows.account(row[:-3]), *row[-3:]) for row in found], total

        result: tuple[Sequence[AccountRow], int] = await self._aside(work)
        return result

    async def list_rooms(self, query: RoomQuery) -> tuple[Sequence[RoomId], int]:
        where, parameters = " FROM rooms r WHERE r.extremities != '[]'", list[object]()
        if query.public is not None:
            where, parameters = f"{where} AND r.listed = ?", [*parameters, query.public]
        if query.empty is not None:
            where = f"{where} AND {_LOCAL} {'=' if query.empty else '>'} 0"
        if query.text is not None:
            alias = "EXISTS (SELECT 1 FROM aliases l WHERE l.room_key = r.room_key AND instr(casefold(l.alias), ?) > 0)"
            where += f" AND (instr(casefold({_NAME}), ?) > 0 OR instr(casefold({_ALIAS}), ?) > 0 OR {alias}"
            where += " OR r.room_id = ?)"
            parameters += [query.text.casefold()] * 3 + [query.text]
        backward = query.backward != (query.order in _LARGEST_FIRST)
        order = f"{_ROOM_ORDER[query.order]} {'DESC' if backward else 'ASC'}, r.room_id"

        def work(connection: sqlite3.Connection) -> tuple[Sequence[RoomId], int]:
            page = (query.page.limit, query.page.start)
            found = connection.execute(
                f"SELECT r.room_id{where} ORDER BY {order} LIMIT ? OFFSET ?", (*parameters, *page)
            ).fetchall()
            (total,) = connection.execute(f"SELECT count(*){where}", parameters).fetchone()
            return [RoomId(row[0]) for row in found], total

        result: tuple[Sequence[RoomId], int] = await self._aside(work)
        return result


    async def list_rooms_of(self, user_id: UserId) -> Sequence[RoomId]:
        last = (
            "(SELECT json_extract(CAST(e.json AS TEXT), '$.content.membership') FROM events e"
            " WHERE e.room_key = r.room_key AND e.type = 'm.room.member' AND e.state_key = ?"
            " AND e.position IS NOT NULL ORDER BY e.position DESC LIMIT 1)"
        )

        def work(connection: sqlite3.Connection) -> Sequence[RoomId]:
            query = f"SELECT r.room_id FROM rooms r WHERE {last} = 'join' ORDER BY r.room_id"
            return [RoomId(row[0]) for row in connection.execute(query, (user_id,)).fetchall()]

        result: Sequence[RoomId] = await self._aside(work)
        return result


    async def list_servers(self) -> Sequence[ServerName]:
        def work(connection: sqlite3.Connection) -> Sequence[ServerName]:
            server = _SERVER.format("state_key")
            query = f"SELECT DISTINCT {server} FROM events WHERE type = 'm.room.member' ORDER BY 1"
            return [ServerName(row[0]) for row in connection.execute(query).fetchall()]

        result: Sequence[ServerName] = await self._aside(work)
        return result

    async def list_rooms_of_server(self, server: ServerName) -> Sequence[RoomId]:
        def work(connection: sqlite3.Connection) -> Sequence[RoomId]:
            newest = (
                "SELECT json, max(position) FROM events e WHERE e.room_key = r.room_key AND e.type = 'm.room.member'"
                f" AND {_SERVER.format('e.state_key')} = ? AND e.position IS NOT NULL GROUP BY e.state_key"
            )
            query = (
                f"SELECT r.room_id FROM rooms r WHERE EXISTS (SELECT 1 FROM ({newest}) l"
                " WHERE json_extract(CAST(l.json AS TEXT), '$.content.membership') = 'join') ORDER BY r.room_id"
            )
            return [RoomId(row[0]) for row in connection.execute(query, (server,)).fetchall()]

        result: Sequence[RoomId] = await self._aside(work)
        return result

    async def list_media(self, query: MediaQuery) -> tuple[Sequence[PutMedia], int]:
        order = f"{_MEDIA_ORDER[query.order]} {'DESC' if query.backward else 'ASC'}, media_id"
        where = "WHERE uploader = ? AND content IS NOT NULL"

        def work(connection: sqlite3.Connection) -> tuple[Sequence[PutMedia], int]:
            found = connection.execute(
                f"{rows.MEDIA}{where} ORDER BY {order} LIMIT ? OFFSET ?",
                (query.uploader, query.page.limit, query.page.start),
            ).fetchall()
            (total,) = connection.execute(f"SELECT count(*) FROM media {where}", (query.uploader,)).fetchone()
            return [rows.media(row) for row in found], total

        result: tuple[Sequence[PutMedia], int] = await self._aside(work)
        return result

    async def list_old_media(self, query: OldMediaQuery) -> Sequence[PutMedia]:
        where = (
            f"WHERE server {'=' if query.local else '!='} ? AND content IS NOT NULL AND quarantined = 0"
            " AND protected = 0 AND used_ts_ms < ? AND size >= ?"
        )
        if not query.pictures:
            where += f" AND NOT coalesce({_IS_PICTURE}, 0)"

        def work(connection: sqlite3.Connection) -> Sequence[PutMedia]:
            found = connection.execute(
                f"{rows.MEDIA}{where} ORDER BY used_ts_ms, server, media_id LIMIT ?",
                (query.server, query.before_ms, query.larger_than, query.limit),
            ).fetchall()
            return [rows.media(row) for row in found]

        result: Sequence[PutMedia] = await self._aside(work)
        return result

    async def list_media_use(self, query: MediaUseQuery) -> tuple[Sequence[MediaUse], int]:
        tables = (
            " FROM media m LEFT JOIN profiles n ON n.user_id = m.uploader AND n.field = 'displayname'"
            " WHERE m.uploader IS NOT NULL AND m.content IS NOT NULL AND m.created_ts_ms >= ?"
        )
        parameters: list[object] = [query.from_ms]
        if query.until_ms is not None:
            tables += " AND m.created_ts_ms <= ?"
            parameters.append(query.until_ms)
        if query.name is not None:
            tables += " AND (instr(casefold(m.uploader), ?) > 0 OR instr(casefold(n.value), ?) > 0)"
            parameters += [query.name.casefold()] * 2
        order = {"user_id": "1", "displayname": "2", "media_count": "3", "media_length": "4"}[query.order]
        way = "DESC" if query.backward else "ASC"

        def work(connection: sqlite3.Connection) -> tuple[Sequence[MediaUse], int]:
            found = connection.execute(
                f"SELECT m.uploader, n.value, count(*), sum(m.size){tables} GROUP BY m.uploader"
                f" ORDER BY {order} {way}, m.uploader LIMIT ? OFFSET ?",
                (*parameters, query.page.limit, query.page.start),
            ).fetchall()
            (total,) = connection.execute(f"SELECT count(DISTINCT m.uploader){tables}", parameters).fetchone()
            return [MediaUse(UserId(row[0]), *row[1:]) for row in found], total

        result: tuple[Sequence[MediaUse], int] = await self._aside(work)
        return result


def _account_filters(query: AccountQuery) -> tuple[str, list[object]]:
    where, parameters = "", list[object]()
    if query.user_id is not None:
        where += " AND instr(casefold(a.user_id), ?) > 0"
        parameters.append(query.user_id.casefold())
    elif query.name is not None:
        where += " AND (instr(casefold(a.name), ?) > 0 OR instr(casefold(n.value), ?) > 0)"
        parameters += [query.name.casefold()] * 2
    if not query.guests:
        where += " AND a.guest = 0"
    if not query.locked:
        where += " AND a.locked = 0"
    for column, wanted in (("deactivated", query.deactivated), ("admin", query.admins)):
        if wanted is not None:
            where += f" AND a.{column} = ?"
            parameters.append(wanted)
    return where, parameters
