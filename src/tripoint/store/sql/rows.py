"""Writes to statements and rows, and rows back to values.

Writes of one kind in a transaction go out together (steps.py). Kinds that touch several tables (DropRoom,
DropAccount) first flush what is gathered, so that order is kept where it matters.
"""

import sqlite3
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.json_view import object_at, text_at
from tripoint.core.relations import child_of
from tripoint.store.sql import app_service_rows, contact_rows, device_rows, oauth_rows, preview_reads
from tripoint.store.sql.steps import in_few_steps
from tripoint.store.writes import (
    AddEvent,
    AddReport,
    AddStateGroup,
    CompleteStates,
    DropAccount,
    DropEvents,
    DropRegistrationToken,
    DropReport,
    DropRoom,
    ForgetSticky,
    ForgetWordsGone,
    PlaceEvent,
    PutAccount,
    PutAccountData,
    PutAlias,
    PutCertificate,
    PutClosedRoom,
    PutCredential,
    PutDelayed,
    PutDestination,
    PutDevice,
    PutFastToken,
    PutFilter,
    PutMedia,
    PutMediaLink,
    PutMembership,
    PutMeta,
    PutMissedRoom,
    PutMissingPast,
    PutName,
    PutNode,
    PutNodeItem,
    PutNodeSubscription,
    PutPartialRoom,
    PutProfile,
    PutPusher,
    PutReceipt,
    PutRegistrationToken,
    PutRoom,
    PutRoomPassword,
    PutRosterItem,
    PutServerBan,
    PutServerKey,
    PutStagedPdu,
    PutSticky,
    PutStrippedState,
    PutToken,
    PutUnanswered,
    PutVhost,
    PutWaitingRedaction,
    ReplaceEventJson,
    StateDelta,
    Write,
    completed,
)

Row = tuple[object, ...]

ROOM_COLUMNS = (
    "room_key, room_id, version, head_group, extremities, created_ts_ms, listed, temporary,"
    " locked_until_ms, unlock_join_rule, direct_pair"
)
ACCOUNT_COLUMNS = "user_id, name, guest, admin, deactivated, locked, created_ts_ms, suspended, shadow_banned, erased"
SERVER_KEY = (
    "SELECT server, key_id, public_key, old, valid_until_ts_ms, fetched_ts_ms, document FROM server_keys "
)
PARTIAL_ROOM = "SELECT room_key, join_event, servers FROM partial_rooms "
MEDIA = (
    "SELECT server, media_id, content, type, filename, size, uploader, created_ts_ms, used_ts_ms, expires_ts_ms,"
    " quarantined, quarantined_by, protected FROM media "
)
CACHED = "WHERE uploader IS NULL AND server != ? AND quarantined = 0 "
MEDIA_LINK = "SELECT link, server, media_id, subject, filename FROM media_links "
NODE_ITEM = "SELECT user_id, node, item_id, position, publisher, ts_ms, payload FROM node_items "
TOKEN = "SELECT token_hash, user_id, device_id, refresh, expires_ts_ms, client_id, replaces, spent FROM tokens "


def pack_entries(entries: StateDelta, *, full: bool) -> bytes:
    """State entries as stored: JSON; compressed where it is a whole state."""
    data = orjson.dumps(entries)
    return zlib.compress(data, 6) if full else data


def unpack_entries(data: Any, *, full: bool) -> StateDelta:
    entries = orjson.loads(zlib.decompress(data) if full else data)
    return tuple((type_, state_key, position) for type_, state_key, position in entries)


def room(row: Sequence[Any]) -> PutRoom:
    """A row of rooms, columns as in ROOM_COLUMNS."""
    return PutRoom(
        room_key=row[0],
        room_id=RoomId(row[1]),
        version=row[2],
        head_group=row[3],
        extremities=tuple((EventId(event_id), depth, group) for event_id, depth, group in orjson.loads(row[4])),
        created_ts_ms=row[5],
        listed=bool(row[6]),
        temporary=bool(row[7]),
        locked_until_ms=row[8],
        unlock_join_rule=row[9],
        direct_pair=row[10],
    )


def account(row: Sequence[Any]) -> PutAccount:
    """A row of accounts, columns as in ACCOUNT_COLUMNS."""
    return PutAccount(
        *(UserId(row[0]), row[1], bool(row[2]), bool(row[3]), bool(row[4]), bool(row[5]), row[6]),
        *(bool(row[7]), bool(row[8]), bool(row[9])),
    )


def token(row: Sequence[Any]) -> PutToken:
    """A row of tokens, columns as in TOKEN."""
    return PutToken(
        bytes(row[0]), UserId(row[1]), row[2], bool(row[3]), row[4], row[5], row[6], bool(row[7])
    )


def partial_room(row: Sequence[Any]) -> PutPartialRoom:
    """A row of partial_rooms, columns as in PARTIAL_ROOM."""
    return PutPartialRoom(row[0], EventId(row[1]), tuple(ServerName(name) for name in orjson.loads(row[2])))


def media(row: Sequence[Any]) -> PutMedia:
    """A row of media, columns as in MEDIA."""
    named = dict(zip(PutMedia.__struct_fields__, row, strict=True))
    return PutMedia(**{**named, "quarantined": bool(row[10]), "protected": bool(row[12])})


def server_key(row: Sequence[Any]) -> PutServerKey:
    """A row of server_keys, columns as in SERVER_KEY."""
    return PutServerKey(ServerName(row[0]), row[1], row[2], bool(row[3]), row[4], row[5], bytes(row[6]))


# Kind of write -> (statement, row) for what stays.
_PUT: dict[type, tuple[str, Callable[[Any], Row]]] = {
    PutRoom: (
        f"INSERT OR REPLACE INTO rooms ({ROOM_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        lambda w: (
            w.room_key,
            w.room_id,
            w.version,
            w.head_group,
            orjson.dumps(w.extremities).decode(),
            w.created_ts_ms,
            w.listed,
            w.temporary,
            w.locked_until_ms,
            w.unlock_join_rule,
            w.direct_pair,
        ),
    ),
    AddEvent: (
        "INSERT INTO events (event_key, position, room_key, event_id, state_group, ts_ms, flags, type, state_key,"
        " token, json, redacted_by) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        lambda w: (
            w.event_key,
            w.position,
            w.room_key,
            w.event_id,
            w.state_group,
            w.ts_ms,
            w.flags,
            w.type,
            w.state_key,
            w.token,
            w.json,
            w.redacted_by,
        ),
    ),
    PlaceEvent: (
        "UPDATE events SET position = ?, state_group = ?, flags = ? WHERE event_key = ?",
        lambda w: (w.position, w.state_group, w.flags, w.event_key),
    ),
    ReplaceEventJson: (
        "UPDATE events SET flags = ?, json = ?, redacted_by = ? WHERE event_key = ?",
        lambda w: (w.flags, w.json, w.redacted_by, w.event_key),
    ),
    AddStateGroup: (
        "INSERT INTO state_groups (state_group, room_key, base, size, entries) VALUES (?,?,?,?,?)",
        lambda w: (w.group, w.room_key, w.base, len(w.entries), pack_entries(w.entries, full=w.base is None)),
    ),
    PutMembership: (
        "INSERT OR REPLACE INTO memberships (user_id, room_key, membership, position) VALUES (?,?,?,?)",
        lambda w: (w.user_id, w.room_key, w.membership, w.position),
    ),
    PutAlias: (
        "INSERT OR REPLACE INTO aliases (alias, room_key, creator) VALUES (?,?,?)",
        lambda w: (w.alias, w.room_key, w.creator),
    ),
    PutReceipt: (
        "INSERT OR REPLACE INTO receipts (room_key, user_id, kind, thread_id, event_id, ts_ms, position)"
        " VALUES (?,?,?,?,?,?,?)",
        lambda w: (w.room_key, w.user_id, w.kind, w.thread_id, w.event_id, w.ts_ms, w.position),
    ),
    PutAccount: (
        f"INSERT OR REPLACE INTO accounts ({ACCOUNT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",
        lambda w: (
            *(w.user_id, w.name, w.guest, w.admin, w.deactivated, w.locked, w.created_ts_ms),
            *(w.suspended, w.shadow_banned, w.erased),
        ),
    ),
    PutCredential: (
        "INSERT OR REPLACE INTO credentials (user_id, form, data) VALUES (?,?,?)",
        lambda w: (w.user_id, w.form, w.data),
    ),
    PutDevice: (
        "INSERT OR REPLACE INTO devices (user_id, device_id, protocol, display_name, last_seen_ts_ms)"
        " VALUES (?,?,?,?,?)",
        lambda w: (w.user_id, w.device_id, w.protocol, w.display_name, w.last_seen_ts_ms),
    ),
    PutToken: (
        "INSERT OR REPLACE INTO tokens"
        " (token_hash, user_id, device_id, refresh, expires_ts_ms, client_id, replaces, spent)"
        " VALUES (?,?,?,?,?,?,?,?)",
        lambda w: (
            *(w.token_hash, w.user_id, w.device_id, w.refresh, w.expires_ts_ms),
            *(w.client_id, w.replaces, w.spent),
        ),
    ),
    PutProfile: (
        "INSERT OR REPLACE INTO profiles (user_id, field, value) VALUES (?,?,?)",
        lambda w: (w.user_id, w.field, w.value),
    ),
    PutAccountData: (
        "INSERT OR REPLACE INTO account_data (user_id, room_id, type, content, position) VALUES (?,?,?,?,?)",
        lambda w: (w.user_id, w.room_id, w.type, w.content, w.position),
    ),
    PutFilter: (
        "INSERT OR REPLACE INTO filters (user_id, filter_id, definition) VALUES (?,?,?)",
        lambda w: (w.user_id, w.filter_id, w.definition),
    ),
    PutRosterItem: (
        "INSERT OR REPLACE INTO rosters (user_id, jid, data) VALUES (?,?,?)",
        lambda w: (w.user_id, w.jid, w.data),
    ),
    PutNode: (
        "INSERT OR REPLACE INTO nodes (user_id, node, config) VALUES (?,?,?)",
        lambda w: (w.user_id, w.node, w.config),
    ),
    PutNodeItem: (
        "INSERT OR REPLACE INTO node_items (user_id, node, item_id, position, publisher, ts_ms, payload)"
        " VALUES (?,?,?,?,?,?,?)",
        lambda w: (w.user_id, w.node, w.item_id, w.position, w.publisher, w.ts_ms, w.payload),
    ),
    PutNodeSubscription: (
        "INSERT OR REPLACE INTO node_subscriptions (user_id, node, jid, subscriber) VALUES (?,?,?,?)",
        lambda w: (w.user_id, w.node, w.jid, w.subscriber),
    ),
    PutFastToken: (
        "INSERT OR REPLACE INTO fast_tokens"
        " (user_id, client, slot, device_id, mechanism, salt, expires_ts_ms, count) VALUES (?,?,?,?,?,?,?,?)",
        lambda w: (*(w.user_id, w.client, w.slot, w.device_id), *(w.mechanism, w.salt, w.expires_ts_ms, w.count)),
    ),
    PutPusher: (
        "INSERT OR REPLACE INTO pushers (user_id, app_id, pushkey, device_id, settings, set_ts_ms, position)"
        " VALUES (?,?,?,?,?,?,?)",
        lambda w: (w.user_id, w.app_id, w.pushkey, w.device_id, w.settings, w.set_ts_ms, w.position),
    ),
    PutDelayed: (
        "INSERT OR REPLACE INTO delayed_events"
        " (delay_id, user_id, room_id, type, state_key, content, delay_ms, since_ms, outcome, sticky_ms)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        lambda w: (
            *(w.delay_id, w.user_id, w.room_id, w.type, w.state_key),
            *(w.content, w.delay_ms, w.since_ms, w.outcome, w.sticky_ms),
        ),
    ),
    PutSticky: (
        "INSERT OR REPLACE INTO sticky_events (event_key, room_key, sender, until_ts_ms, failed) VALUES (?,?,?,?,?)",
        lambda w: (w.event_key, w.room_key, w.sender, w.until_ts_ms, w.failed),
    ),
    ForgetSticky: ("DELETE FROM sticky_events WHERE until_ts_ms <= ?", lambda w: (w.now_ms,)),
    PutRegistrationToken: (
        "INSERT OR REPLACE INTO registration_tokens (token, uses_left, expires_ts_ms, username, completed)"
        " VALUES (?,?,?,?,?)",
        lambda w: (w.token, w.uses_left, w.expires_ts_ms, w.username, w.completed),
    ),
    DropRegistrationToken: ("DELETE FROM registration_tokens WHERE token = ?", lambda w: (w.token,)),
    PutName: (
        "INSERT OR REPLACE INTO names (kind, scope, key, value) VALUES (?,?,?,?)",
        lambda w: (w.kind, w.scope, w.key, w.value),
    ),
    PutServerKey: (
        "INSERT OR REPLACE INTO server_keys"
        " (server, key_id, public_key, old, valid_until_ts_ms, fetched_ts_ms, document) VALUES (?,?,?,?,?,?,?)",
        lambda w: (
            w.server,
            w.key_id,
            w.public_key,
            w.old,
            w.valid_until_ts_ms,
            w.fetched_ts_ms,
            w.document,
        ),
    ),
    PutPartialRoom: (
        "INSERT OR REPLACE INTO partial_rooms (room_key, join_event, servers) VALUES (?,?,?)",
        lambda w: (w.room_key, w.join, orjson.dumps(w.servers).decode()),
    ),
    PutMissingPast: (
        "INSERT OR IGNORE INTO missing_past (room_key, event_id, position) VALUES (?,?,?)",
        lambda w: (w.room_key, w.event_id, w.position),
    ),
    PutWaitingRedaction: (
        "INSERT OR IGNORE INTO waiting_redactions (target, redaction) VALUES (?,?)",
        lambda w: (w.target, w.redaction),
    ),
    PutClosedRoom: (
        "INSERT OR IGNORE INTO closed_rooms (room_id, closed_by) VALUES (?,?)",
        lambda w: (w.room_id, w.by),
    ),
    PutRoomPassword: (
        "INSERT OR REPLACE INTO kv_password (room_key, verifier, before) VALUES (?,?,?)",
        lambda w: (w.room_key, w.verifier, w.before),
    ),
    PutStrippedState: (
        "INSERT OR REPLACE INTO stripped_states (room_key, state) VALUES (?,?)",
        lambda w: (w.room_key, w.state),
    ),
    PutDestination: (
        "INSERT OR REPLACE INTO destinations (server, position, failing_since_ms, retry_at_ms, interval_ms)"
        " VALUES (?,?,?,?,?)",
        lambda w: (w.server, w.position, w.failing_since_ms, w.retry_at_ms, w.interval_ms),
    ),
    PutMissedRoom: (
        "INSERT OR REPLACE INTO missed_rooms (server, room_key, since) VALUES (?,?,?)",
        lambda w: (w.server, w.room_key, w.since),
    ),
    PutUnanswered: (
        "INSERT OR REPLACE INTO unanswered_transactions (server, txn_id, body) VALUES (?,?,?)",
        lambda w: (w.server, w.txn_id, w.body),
    ),
    AddReport: (
        "INSERT INTO reports (ts_ms, reporter, user_id, room_id, event_id, kind, reason) VALUES (?,?,?,?,?,?,?)",
        lambda w: (w.ts_ms, w.reporter, w.user_id, w.room_id, w.event_id, w.kind, w.reason),
    ),
    DropReport: ("DELETE FROM reports WHERE number = ?", lambda w: (w.number,)),
    ForgetWordsGone: ("DELETE FROM words_gone WHERE number <= ?", lambda w: (w.upto,)),
    PutStagedPdu: (
        "INSERT OR IGNORE INTO staged_pdus (event_id, room_key, origin, json) VALUES (?,?,?,?)",
        lambda w: (w.event_id, w.room_key, w.origin, w.json),
    ),
    PutMedia: (
        "INSERT OR REPLACE INTO media (server, media_id, content, type, filename, size, uploader, created_ts_ms,"
        " used_ts_ms, expires_ts_ms, quarantined, quarantined_by, protected) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        lambda w: (
            w.server,
            w.media_id,
            w.content,
            w.type,
            w.filename,
            w.size,
            w.uploader,
            w.created_ts_ms,
            w.used_ts_ms,
            w.expires_ts_ms,
            w.quarantined,
            w.quarantined_by,
            w.protected,
        ),
    ),
    PutMediaLink: (
        "INSERT OR IGNORE INTO media_links (link, server, media_id, subject, filename) VALUES (?,?,?,?,?)",
        lambda w: (w.link, w.server, w.media_id, w.subject, w.filename),
    ),
    PutServerBan: (
        "INSERT OR REPLACE INTO server_bans (kind, mask, reason, setter, created_ts_ms, expires_ts_ms)"
        " VALUES (?,?,?,?,?,?)",
        lambda w: (w.kind, w.mask, w.reason, w.setter, w.created_ts_ms, w.expires_ts_ms),
    ),
    PutCertificate: (
        "INSERT OR REPLACE INTO certificates (fingerprint, user_id, added_ts_ms) VALUES (?,?,?)",
        lambda w: (w.fingerprint, w.user_id, w.added_ts_ms),
    ),
    PutVhost: (
        "INSERT OR REPLACE INTO vhosts (user_id, host, state) VALUES (?,?,?)",
        lambda w: (w.user_id, w.host, w.state),
    ),
    PutMeta: ("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", lambda w: (w.key, w.value)),
    **device_rows.PUT,
    **oauth_rows.PUT,
    **contact_rows.PUT,
    **preview_reads.PUT,
    **app_service_rows.PUT,
}

# Kind of write -> (the field that is None to delete, statement, row).
_DELETE: dict[type, tuple[str, str, Callable[[Any], Row]]] = {
    PutMembership: (
        "membership",
        "DELETE FROM memberships WHERE user_id = ? AND room_key = ?",
        lambda w: (w.user_id, w.room_key),
    ),
    PutAlias: ("room_key", "DELETE FROM aliases WHERE alias = ?", lambda w: (w.alias,)),
    PutCredential: (
        "data",
        "DELETE FROM credentials WHERE user_id = ? AND form = ?",
        lambda w: (w.user_id, w.form),
    ),
    PutDevice: (
        "protocol",
        "DELETE FROM devices WHERE user_id = ? AND device_id = ?",
        lambda w: (w.user_id, w.device_id),
    ),
    PutToken: ("device_id", "DELETE FROM tokens WHERE token_hash = ?", lambda w: (w.token_hash,)),
    PutProfile: (
        "value",
        "DELETE FROM profiles WHERE user_id = ? AND field = ?",
        lambda w: (w.user_id, w.field),
    ),
    PutRosterItem: (
        "data",
        "DELETE FROM rosters WHERE user_id = ? AND jid = ?",
        lambda w: (w.user_id, w.jid),
    ),
    PutNode: ("config", "DELETE FROM nodes WHERE user_id = ? AND node = ?", lambda w: (w.user_id, w.node)),
    PutNodeItem: (
        "payload",
        "DELETE FROM node_items WHERE user_id = ? AND node = ? AND item_id = ?",
        lambda w: (w.user_id, w.node, w.item_id),
    ),
    PutNodeSubscription: (
        "subscriber",
        "DELETE FROM node_subscriptions WHERE user_id = ? AND node = ? AND jid = ?",
        lambda w: (w.user_id, w.node, w.jid),
    ),
    PutDelayed: ("content", "DELETE FROM delayed_events WHERE delay_id = ?", lambda w: (w.delay_id,)),
    PutFastToken: (
        "salt",
        "DELETE FROM fast_tokens WHERE user_id = ? AND client = ? AND slot = ?",
        lambda w: (w.user_id, w.client, w.slot),
    ),
    PutPusher: (
        "settings",
        "DELETE FROM pushers WHERE user_id = ? AND app_id = ? AND pushkey = ?",
        lambda w: (w.user_id, w.app_id, w.pushkey),
    ),
    PutServerKey: (
        "public_key",
        "DELETE FROM server_keys WHERE server = ? AND key_id = ?",
        lambda w: (w.server, w.key_id),
    ),
    PutPartialRoom: ("join", "DELETE FROM partial_rooms WHERE room_key = ?", lambda w: (w.room_key,)),
    PutMissingPast: (
        "position",
        "DELETE FROM missing_past WHERE room_key = ? AND event_id = ?",
        lambda w: (w.room_key, w.event_id),
    ),
    PutRoomPassword: ("verifier", "DELETE FROM kv_password WHERE room_key = ?", lambda w: (w.room_key,)),
    PutStrippedState: ("state", "DELETE FROM stripped_states WHERE room_key = ?", lambda w: (w.room_key,)),
    PutDestination: ("position", "DELETE FROM destinations WHERE server = ?", lambda w: (w.server,)),
    PutMissedRoom: (
        "since",
        "DELETE FROM missed_rooms WHERE server = ? AND room_key = ?",
        lambda w: (w.server, w.room_key),
    ),
    PutName: (
        "value",
        "DELETE FROM names WHERE kind = ? AND scope = ? AND key = ?",
        lambda w: (w.kind, w.scope, w.key),
    ),
    PutUnanswered: (
        "txn_id",
        "DELETE FROM unanswered_transactions WHERE server = ?",
        lambda w: (w.server,),
    ),
    PutMedia: (
        "type",
        "DELETE FROM media WHERE server = ? AND media_id = ?",
        lambda w: (w.server, w.media_id),
    ),
    PutMediaLink: ("server", "DELETE FROM media_links WHERE link = ?", lambda w: (w.link,)),
    PutServerBan: (
        "setter",
        "DELETE FROM server_bans WHERE kind = ? AND mask = ?",
        lambda w: (w.kind, w.mask),
    ),
    PutClosedRoom: ("by", "DELETE FROM closed_rooms WHERE room_id = ?", lambda w: (w.room_id,)),
    PutCertificate: ("user_id", "DELETE FROM certificates WHERE fingerprint = ?", lambda w: (w.fingerprint,)),
    PutVhost: ("host", "DELETE FROM vhosts WHERE user_id = ?", lambda w: (w.user_id,)),
    PutStagedPdu: ("room_key", "DELETE FROM staged_pdus WHERE event_id = ?", lambda w: (w.event_id,)),
    **device_rows.DELETE,
    **oauth_rows.DELETE,
    **contact_rows.DELETE,
    **preview_reads.DELETE,
    **app_service_rows.DELETE,
}

_DROP_ROOM = tuple(
    f"DELETE FROM {table} WHERE room_key = ?"
    for table in (
        "events",
        "state_groups",
        "memberships",
        "aliases",
        "receipts",
        "kv_password",
        "stripped_states",
        "missing_past",
        "partial_rooms",
        "missed_rooms",
        "staged_pdus",
        "relations",
        "sticky_events",
        "network_rooms",
        "rooms",
    )
)
_DROP_ACCOUNT = tuple(
    f"DELETE FROM {table} WHERE user_id = ?"
    for table in (
        "accounts",
        "credentials",
        "devices",
        "tokens",
        "profiles",
        "account_data",
        "filters",
        "rosters",
        "nodes",
        "node_items",
        "node_subscriptions",
        "pushers",
        "fast_tokens",
        *oauth_rows.OF_ACCOUNT,
        *contact_rows.OF_ACCOUNT,
        "delayed_events",
        "memberships",
        "receipts",
    )
) + tuple(f"DELETE FROM {table} WHERE {column} = ?" for table, column in device_rows.OF_ACCOUNT)


_RELATED = (
    "INSERT OR REPLACE INTO relations (event_key, room_key, position, target, rel_type, type, sender)"
    " VALUES (?,?,?,?,?,?,?)"
)


def related_by(write: AddEvent) -> tuple[str, str, str, str] | None:
    """(target, rel_type, type, sender) of an event that is about another; state is about nothing."""
    if b'"rel_type"' not in write.json or write.type is not None:
        return None
    fields = orjson.loads(write.json)
    child = child_of(object_at(fields, "content"))
    if child is None:
        return None
    return child[1], child[0], text_at(fields, "type") or "", text_at(fields, "sender") or ""


# What nearly every event changes of its room, and nothing else: no index has a part in it. A row that would change in
# anything else is left as it is.
_MOVE_HEADS = """UPDATE rooms SET head_group = m.column2, extremities = m.column3
    FROM (VALUES (?,?,?,?,?,?,?,?)) AS m WHERE room_key = m.column1 AND listed = m.column4 AND temporary = m.column5
    AND locked_until_ms IS m.column6 AND unlock_join_rule IS m.column7 AND direct_pair IS m.column8"""


def _head_row(write: PutRoom) -> Row:
    return (
        *(write.room_key, write.head_group, orjson.dumps(write.extremities).decode(), write.listed, write.temporary),
        *(write.locked_until_ms, write.unlock_join_rule, write.direct_pair),
    )


class _Gathered:
    """Rows on their way, one list per kind of write; a kind changes its statement only after a flush."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[type | str, tuple[str, list[Row]]] = {}
        self._rooms: dict[int, PutRoom] = {}

    def add(self, write: Write) -> None:
        kind = type(write)
        if isinstance(write, PutRoom):
            # Every event moves its room's head: only the last of a transaction needs to be written.
            self._rooms[write.room_key] = write
            return
        delete = _DELETE.get(kind)
        if delete is not None and getattr(write, delete[0]) is None:
            statement, row = delete[1], delete[2](write)
        else:
            put = _PUT[kind]
            statement, row = put[0], put[1](write)
        self._gather(kind, statement, row)
        if kind is AddEvent or kind is PlaceEvent or kind is ReplaceEventJson:
            self._relate(write)

    def _gather(self, kind: type | str, statement: str, row: Row) -> None:
        gathered = self._rows.get(kind)
        if gathered is not None and gathered[0] == statement:
            gathered[1].append(row)
            return
        if gathered is not None:
            in_few_steps(self._connection, *gathered)
        self._rows[kind] = (statement, [row])

    def _relate(self, write: Write) -> None:
        """What an event is about follows from the event: nobody else has to write it."""
        if isinstance(write, AddEvent):
            related = related_by(write)
            if related is not None:
                row = (write.event_key, write.room_key, write.position, *related)
                self._gather("related", _RELATED, row)
        elif isinstance(write, PlaceEvent):
            moved = "UPDATE relations SET position = ? WHERE event_key = ?"
            self._gather("moved", moved, (write.position, write.event_key))
        elif isinstance(write, ReplaceEventJson):
            self._gather("unrelated", "DELETE FROM relations WHERE event_key = ?", (write.event_key,))

    def flush(self) -> None:
        if self._rooms:
            moved = in_few_steps(self._connection, _MOVE_HEADS, [_head_row(write) for write in self._rooms.values()])
            if moved < len(self._rooms):
                statement, make_row = _PUT[PutRoom]
                self._connection.executemany(statement, [make_row(write) for write in self._rooms.values()])
            self._rooms = {}
        for statement, gathered in self._rows.values():
            in_few_steps(self._connection, statement, gathered)
        self._rows = {}

    def drop(self, statements: Sequence[str], key: int | UserId) -> None:
        self.run([(statement, (key,)) for statement in statements])

    def run(self, statements: Sequence[tuple[str, Row]]) -> None:
        """Statements that must come after all that was written before them."""
        self.flush()
        for statement, row in statements:
            self._connection.execute(statement, row)


def _complete(connection: sqlite3.Connection, write: CompleteStates) -> None:
    """Only whole states are written anew: the others are deltas on them."""
    select = "SELECT state_group, entries FROM state_groups WHERE room_key = ? AND base IS NULL"
    for group, data in connection.execute(select, (write.room_key,)).fetchall():
        entries = completed(unpack_entries(data, full=True), write.entries)
        connection.execute(
            "UPDATE state_groups SET size = ?, entries = ? WHERE state_group = ?",
            (len(entries), pack_entries(entries, full=True), group),
        )


def _drops(write: Write) -> list[tuple[str, Row]] | None:
    """The statements of a write that clears several rows or tables; None for any other."""
    return device_rows.drops(write) or oauth_rows.drops(write) or contact_rows.drops(write)


def execute(connection: sqlite3.Connection, units: Sequence[Sequence[Write]]) -> None:
    """Carry out the writes of all units, in order, inside the caller's transaction."""
    gathered = _Gathered(connection)
    for unit in units:
        for write in unit:
            if type(write) in _PUT:
                gathered.add(write)
            elif isinstance(write, DropRoom):
                gathered.drop(_DROP_ROOM, write.room_key)
            elif isinstance(write, DropEvents):
                gathered.flush()
                keys = [(key,) for key in write.event_keys]
                for table in ("events", "relations", "sticky_events"):
                    connection.executemany(f"DELETE FROM {table} WHERE event_key = ?", keys)
            elif isinstance(write, CompleteStates):
                gathered.flush()
                _complete(connection, write)
            elif isinstance(write, DropAccount):
                gathered.drop(_DROP_ACCOUNT, write.user_id)
            elif (statements := _drops(write)) is not None:
                gathered.run(statements)
            else:
                raise TypeError(f"nobody stores {type(write).__name__}")
    gathered.flush()
