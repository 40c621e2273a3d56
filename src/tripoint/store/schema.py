"""The tables of the newest schema, for a new SQLite database. Old ones are brought here by migrations/.

A test upgrades the first schema step by step and compares it with this file. Keys and positions are
small integers so that state groups and indexes stay small; a room's key stands for its id in every table.
"""

SCHEMA_VERSION = "0032"

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE rooms (
        room_key INTEGER PRIMARY KEY, room_id TEXT NOT NULL UNIQUE, version TEXT NOT NULL,
        head_group INTEGER NOT NULL, extremities TEXT NOT NULL, created_ts_ms INTEGER NOT NULL,
        listed INTEGER NOT NULL, temporary INTEGER NOT NULL, locked_until_ms INTEGER,
        unlock_join_rule TEXT, direct_pair TEXT)""",
    "CREATE INDEX rooms_direct ON rooms (direct_pair, created_ts_ms) WHERE direct_pair IS NOT NULL",
    "CREATE INDEX rooms_listed ON rooms (room_key) WHERE listed = 1",
    "CREATE INDEX rooms_locked ON rooms (locked_until_ms) WHERE locked_until_ms IS NOT NULL",
    """CREATE TABLE events (
        event_key INTEGER PRIMARY KEY, position INTEGER, room_key INTEGER NOT NULL, event_id TEXT NOT NULL,
        state_group INTEGER NOT NULL, ts_ms INTEGER NOT NULL, flags INTEGER NOT NULL,
        type TEXT, state_key TEXT, token TEXT, json BLOB NOT NULL, redacted_by TEXT)""",
    "CREATE UNIQUE INDEX events_id ON events (event_id)",
    "CREATE UNIQUE INDEX events_room ON events (room_key, position) WHERE position IS NOT NULL",
    "CREATE INDEX events_time ON events (room_key, ts_ms) WHERE position IS NOT NULL",
    """CREATE INDEX events_state ON events (room_key, type, state_key, position)
        WHERE type IS NOT NULL AND position IS NOT NULL""",
    "CREATE INDEX events_token ON events (token) WHERE token IS NOT NULL",
    """CREATE TABLE state_groups (
        state_group INTEGER PRIMARY KEY, room_key INTEGER NOT NULL, base INTEGER,
        size INTEGER NOT NULL, entries BLOB NOT NULL)""",
    "CREATE INDEX state_groups_room ON state_groups (room_key)",
    """CREATE TABLE memberships (
        user_id TEXT NOT NULL, room_key INTEGER NOT NULL, membership TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (user_id, room_key)) WITHOUT ROWID""",
    "CREATE INDEX memberships_room ON memberships (room_key)",
    """CREATE TABLE aliases (
        alias TEXT PRIMARY KEY, room_key INTEGER NOT NULL, creator TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX aliases_room ON aliases (room_key)",
    """CREATE TABLE receipts (
        room_key INTEGER NOT NULL, user_id TEXT NOT NULL, kind TEXT NOT NULL, thread_id TEXT NOT NULL,
        event_id TEXT NOT NULL, ts_ms INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (room_key, user_id, kind, thread_id)) WITHOUT ROWID""",
    """CREATE TABLE accounts (
        user_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, guest INTEGER NOT NULL, admin INTEGER NOT NULL,
        deactivated INTEGER NOT NULL, locked INTEGER NOT NULL, created_ts_ms INTEGER NOT NULL, suspended INTEGER NOT NULL DEFAULT 0, shadow_banned INTEGER NOT NULL DEFAULT 0, erased INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",  # noqa: E501 (as ALTER TABLE leaves it)
    """CREATE TABLE credentials (
        user_id TEXT NOT NULL, form TEXT NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (user_id, form)) WITHOUT ROWID""",
    """CREATE TABLE devices (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, protocol TEXT NOT NULL, display_name TEXT,
        last_seen_ts_ms INTEGER NOT NULL, PRIMARY KEY (user_id, device_id)) WITHOUT ROWID""",
    """CREATE TABLE tokens (
        token_hash BLOB PRIMARY KEY, user_id TEXT NOT NULL, device_id TEXT NOT NULL, refresh INTEGER NOT NULL,
        expires_ts_ms INTEGER, client_id TEXT, replaces BLOB, spent INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    "CREATE INDEX tokens_user ON tokens (user_id)",
    "CREATE INDEX tokens_client ON tokens (client_id) WHERE client_id IS NOT NULL",
    """CREATE TABLE profiles (
        user_id TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (user_id, field)) WITHOUT ROWID""",
    """CREATE TABLE account_data (
        user_id TEXT NOT NULL, room_id TEXT NOT NULL, type TEXT NOT NULL, content BLOB NOT NULL,
        position INTEGER NOT NULL, PRIMARY KEY (user_id, room_id, type)) WITHOUT ROWID""",
    """CREATE TABLE filters (
        user_id TEXT NOT NULL, filter_id TEXT NOT NULL, definition BLOB NOT NULL,
        PRIMARY KEY (user_id, filter_id)) WITHOUT ROWID""",
    """CREATE TABLE rosters (
        user_id TEXT NOT NULL, jid TEXT NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (user_id, jid)) WITHOUT ROWID""",
    """CREATE TABLE registration_tokens (
        token TEXT PRIMARY KEY, uses_left INTEGER, expires_ts_ms INTEGER, username TEXT, completed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",  # noqa: E501 (as ALTER TABLE leaves it)
    """CREATE TABLE names (
        kind TEXT NOT NULL, scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (kind, scope, key)) WITHOUT ROWID""",
    """CREATE TABLE server_keys (
        server TEXT NOT NULL, key_id TEXT NOT NULL, public_key TEXT NOT NULL, old INTEGER NOT NULL,
        valid_until_ts_ms INTEGER NOT NULL, fetched_ts_ms INTEGER NOT NULL, document BLOB NOT NULL,
        PRIMARY KEY (server, key_id)) WITHOUT ROWID""",
    """CREATE TABLE missing_past (
        room_key INTEGER NOT NULL, event_id TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (room_key, event_id)) WITHOUT ROWID""",
    """CREATE TABLE partial_rooms (
        room_key INTEGER PRIMARY KEY, join_event TEXT NOT NULL, servers TEXT NOT NULL)""",
    """CREATE TABLE waiting_redactions (
        target TEXT NOT NULL, redaction TEXT NOT NULL, PRIMARY KEY (target, redaction)) WITHOUT ROWID""",
    "CREATE TABLE stripped_states (room_key INTEGER PRIMARY KEY, state BLOB NOT NULL)",
    "CREATE TABLE kv_password (room_key INTEGER PRIMARY KEY, verifier BLOB NOT NULL, before BLOB NOT NULL)",
    "CREATE TABLE closed_rooms (room_id TEXT PRIMARY KEY, closed_by TEXT NOT NULL DEFAULT '') WITHOUT ROWID",
    # Federation transactions (migration 0002).
    "CREATE INDEX receipts_position ON receipts (position)",
    """CREATE TABLE destinations (
        server TEXT PRIMARY KEY, position INTEGER NOT NULL, failing_since_ms INTEGER NOT NULL,
        retry_at_ms INTEGER NOT NULL, interval_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE missed_rooms (
        server TEXT NOT NULL, room_key INTEGER NOT NULL, since INTEGER NOT NULL,
        PRIMARY KEY (server, room_key)) WITHOUT ROWID""",
    "CREATE INDEX missed_rooms_room ON missed_rooms (room_key)",
    """CREATE TABLE unanswered_transactions (
        server TEXT PRIMARY KEY, txn_id TEXT NOT NULL, body BLOB NOT NULL)""",
    """CREATE TABLE staged_pdus (
        number INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, room_key INTEGER NOT NULL,
        origin TEXT NOT NULL, json BLOB NOT NULL)""",
    "CREATE INDEX staged_pdus_room ON staged_pdus (room_key, number)",
    # Media (migration 0005).
    """CREATE TABLE media (
        server TEXT NOT NULL, media_id TEXT NOT NULL, content TEXT, type TEXT NOT NULL, filename TEXT,
        size INTEGER NOT NULL, uploader TEXT, created_ts_ms INTEGER NOT NULL, used_ts_ms INTEGER NOT NULL,
        expires_ts_ms INTEGER, quarantined INTEGER NOT NULL, quarantined_by TEXT, protected INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (server, media_id)) WITHOUT ROWID""",  # noqa: E501 (as ALTER TABLE leaves it)
    "CREATE INDEX media_content ON media (content) WHERE content IS NOT NULL",
    "CREATE INDEX media_uploader ON media (uploader, size) WHERE uploader IS NOT NULL",
    "CREATE INDEX media_expires ON media (expires_ts_ms) WHERE content IS NULL",
    "CREATE INDEX media_cached ON media (used_ts_ms, server, size) WHERE uploader IS NULL AND quarantined = 0",
    """CREATE TABLE media_links (
        link TEXT PRIMARY KEY, server TEXT NOT NULL, media_id TEXT NOT NULL, subject TEXT NOT NULL,
        filename TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX media_links_media ON media_links (server, media_id, subject)",
    # What accounts publish (migration 0006).
    """CREATE TABLE nodes (
        user_id TEXT NOT NULL, node TEXT NOT NULL, config BLOB NOT NULL,
        PRIMARY KEY (user_id, node)) WITHOUT ROWID""",
    """CREATE TABLE node_items (
        user_id TEXT NOT NULL, node TEXT NOT NULL, item_id TEXT NOT NULL, position INTEGER NOT NULL,
        publisher TEXT NOT NULL, ts_ms INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (user_id, node, item_id))""",
    "CREATE INDEX node_items_order ON node_items (user_id, node, position)",
    "CREATE INDEX node_items_position ON node_items (position)",
    """CREATE TABLE node_subscriptions (
        user_id TEXT NOT NULL, node TEXT NOT NULL, jid TEXT NOT NULL, subscriber TEXT NOT NULL,
        PRIMARY KEY (user_id, node, jid)) WITHOUT ROWID""",
    # Keys of devices, messages to devices, key backups (migration 0008).
    """CREATE TABLE device_keys (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, keys BLOB NOT NULL,
        PRIMARY KEY (user_id, device_id)) WITHOUT ROWID""",
    """CREATE TABLE one_time_keys (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, algorithm TEXT NOT NULL, key_id TEXT NOT NULL,
        position INTEGER NOT NULL, key BLOB NOT NULL, claimed INTEGER NOT NULL,
        PRIMARY KEY (user_id, device_id, algorithm, key_id)) WITHOUT ROWID""",
    """CREATE INDEX one_time_keys_order ON one_time_keys (user_id, device_id, algorithm, position, key_id)
        WHERE claimed = 0""",
    """CREATE TABLE fallback_keys (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, algorithm TEXT NOT NULL, key_id TEXT NOT NULL,
        key BLOB NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (user_id, device_id, algorithm)) WITHOUT ROWID""",
    """CREATE TABLE cross_signing_keys (
        user_id TEXT NOT NULL, usage TEXT NOT NULL, key BLOB NOT NULL,
        PRIMARY KEY (user_id, usage)) WITHOUT ROWID""",
    """CREATE TABLE key_signatures (
        user_id TEXT NOT NULL, key_id TEXT NOT NULL, signer TEXT NOT NULL, signing_key_id TEXT NOT NULL,
        signature TEXT NOT NULL, PRIMARY KEY (user_id, key_id, signer, signing_key_id)) WITHOUT ROWID""",
    "CREATE INDEX key_signatures_signer ON key_signatures (signer)",
    """CREATE TABLE device_changes (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, viewer TEXT NOT NULL, position INTEGER NOT NULL,
        previous INTEGER NOT NULL, PRIMARY KEY (user_id, device_id, viewer)) WITHOUT ROWID""",
    "CREATE INDEX device_changes_position ON device_changes (position)",
    """CREATE TABLE to_device (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, position INTEGER NOT NULL, json BLOB NOT NULL,
        PRIMARY KEY (user_id, device_id, position)) WITHOUT ROWID""",
    "CREATE INDEX to_device_position ON to_device (position)",
    """CREATE TABLE outgoing_messages (
        server TEXT NOT NULL, position INTEGER NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (server, position)) WITHOUT ROWID""",
    "CREATE INDEX outgoing_messages_position ON outgoing_messages (position)",
    """CREATE TABLE seen_messages (
        scope TEXT NOT NULL, message_id TEXT NOT NULL, ts_ms INTEGER NOT NULL,
        PRIMARY KEY (scope, message_id)) WITHOUT ROWID""",
    "CREATE INDEX seen_messages_ts ON seen_messages (ts_ms)",
    """CREATE TABLE remote_device_lists (
        user_id TEXT PRIMARY KEY, stream_id INTEGER NOT NULL, stale INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE remote_devices (
        user_id TEXT NOT NULL, device_id TEXT NOT NULL, keys BLOB NOT NULL, display_name TEXT,
        PRIMARY KEY (user_id, device_id)) WITHOUT ROWID""",
    """CREATE TABLE key_backups (
        user_id TEXT NOT NULL, version INTEGER NOT NULL, algorithm TEXT NOT NULL, auth_data BLOB NOT NULL,
        etag INTEGER NOT NULL, deleted INTEGER NOT NULL, PRIMARY KEY (user_id, version)) WITHOUT ROWID""",
    """CREATE TABLE backed_up_keys (
        user_id TEXT NOT NULL, version INTEGER NOT NULL, room_id TEXT NOT NULL, session_id TEXT NOT NULL,
        data BLOB NOT NULL, PRIMARY KEY (user_id, version, room_id, session_id)) WITHOUT ROWID""",
    """CREATE TABLE dehydrated_devices (
        user_id TEXT PRIMARY KEY, device_id TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID""",
    # Bans from this server, and hosts that IRC shows of accounts (migration 0010).
    """CREATE TABLE server_bans (
        kind TEXT NOT NULL, mask TEXT NOT NULL, reason TEXT NOT NULL, setter TEXT NOT NULL,
        created_ts_ms INTEGER NOT NULL, expires_ts_ms INTEGER, PRIMARY KEY (kind, mask)) WITHOUT ROWID""",
    """CREATE TABLE vhosts (
        user_id TEXT PRIMARY KEY, host TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID""",
    # What the full-text index has to lose (migration 0011). State besides names and topics has no words in it.
    """CREATE TABLE words_gone (
        number INTEGER PRIMARY KEY, event_key INTEGER NOT NULL, position INTEGER NOT NULL,
        room_key INTEGER NOT NULL, json BLOB NOT NULL)""",
    """CREATE TRIGGER events_redacted BEFORE UPDATE OF json ON events
        WHEN OLD.position IS NOT NULL AND (OLD.type IS NULL OR OLD.type IN ('m.room.name', 'm.room.topic'))
        BEGIN INSERT INTO words_gone (event_key, position, room_key, json)
        VALUES (OLD.event_key, OLD.position, OLD.room_key, OLD.json); END""",
    """CREATE TRIGGER events_dropped BEFORE DELETE ON events
        WHEN OLD.position IS NOT NULL AND (OLD.type IS NULL OR OLD.type IN ('m.room.name', 'm.room.topic'))
        BEGIN INSERT INTO words_gone (event_key, position, room_key, json)
        VALUES (OLD.event_key, OLD.position, OLD.room_key, OLD.json); END""",
    # What people reported to the administrators (migration 0012).
    """CREATE TABLE reports (
        number INTEGER PRIMARY KEY AUTOINCREMENT, ts_ms INTEGER NOT NULL, reporter TEXT NOT NULL, user_id TEXT,
        room_id TEXT, event_id TEXT, kind TEXT NOT NULL, reason TEXT NOT NULL)""",
    # Which events are about which (migration 0015).
    """CREATE TABLE relations (
        event_key INTEGER PRIMARY KEY, room_key INTEGER NOT NULL, position INTEGER, target TEXT NOT NULL,
        rel_type TEXT NOT NULL, type TEXT NOT NULL, sender TEXT NOT NULL)""",
    "CREATE INDEX relations_target ON relations (target, rel_type, position)",
    "CREATE INDEX relations_room ON relations (room_key, rel_type, position)",
    # Where clients want to be told of events while they are not connected (migration 0017).
    """CREATE TABLE pushers (
        user_id TEXT NOT NULL, app_id TEXT NOT NULL, pushkey TEXT NOT NULL, device_id TEXT NOT NULL,
        settings BLOB NOT NULL, set_ts_ms INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (user_id, app_id, pushkey)) WITHOUT ROWID""",
    # OAuth 2.0, the pages, identities at other providers (migration 0020).
    """CREATE TABLE oauth_clients (
        client_id TEXT PRIMARY KEY, metadata BLOB NOT NULL, used_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE oauth_grants (
        code_hash BLOB PRIMARY KEY, user_code TEXT UNIQUE, content BLOB NOT NULL,
        expires_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX oauth_grants_expires ON oauth_grants (expires_ts_ms)",
    """CREATE TABLE browser_sessions (
        token_hash BLOB PRIMARY KEY, user_id TEXT NOT NULL, created_ts_ms INTEGER NOT NULL,
        expires_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX browser_sessions_user ON browser_sessions (user_id)",
    """CREATE TABLE identities (
        provider TEXT NOT NULL, subject TEXT NOT NULL, user_id TEXT NOT NULL,
        PRIMARY KEY (provider, subject)) WITHOUT ROWID""",
    "CREATE INDEX identities_user ON identities (user_id)",
    # Events that are sent later (migration 0021).
    """CREATE TABLE delayed_events (
        delay_id TEXT PRIMARY KEY NOT NULL, user_id TEXT NOT NULL, room_id TEXT NOT NULL, type TEXT NOT NULL,
        state_key TEXT, content BLOB NOT NULL, delay_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL,
        outcome BLOB, sticky_ms INTEGER) WITHOUT ROWID""",
    # Tokens with which XMPP clients come back (migration 0023).
    """CREATE TABLE fast_tokens (
        user_id TEXT NOT NULL, client TEXT NOT NULL, slot TEXT NOT NULL, device_id TEXT NOT NULL,
        mechanism TEXT NOT NULL, salt BLOB NOT NULL, expires_ts_ms INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (user_id, client, slot)) WITHOUT ROWID""",
    # Certificates that accounts log in with (migration 0024).
    """CREATE TABLE certificates (
        fingerprint TEXT PRIMARY KEY NOT NULL, user_id TEXT NOT NULL, added_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX certificates_by_user ON certificates (user_id)",
    # Events that are delivered for a while, whatever else happens (migration 0027).
    """CREATE TABLE sticky_events (
        event_key INTEGER PRIMARY KEY, room_key INTEGER NOT NULL, sender TEXT NOT NULL, until_ts_ms INTEGER NOT NULL,
        failed INTEGER NOT NULL)""",
    "CREATE INDEX sticky_events_until ON sticky_events (until_ts_ms)",
    # E-mail addresses of accounts, letters that wait, previews of links (migration 0026).
    """CREATE TABLE threepids (
        medium TEXT NOT NULL, address TEXT NOT NULL, user_id TEXT NOT NULL, validated_ts_ms INTEGER NOT NULL,
        added_ts_ms INTEGER NOT NULL, PRIMARY KEY (medium, address)) WITHOUT ROWID""",
    "CREATE INDEX threepids_user ON threepids (user_id)",
    """CREATE TABLE validations (
        sid TEXT PRIMARY KEY NOT NULL, purpose TEXT NOT NULL, address TEXT NOT NULL, secret_hash BLOB NOT NULL,
        token_hash BLOB, attempt INTEGER NOT NULL, next_link TEXT, user_id TEXT, validated_ts_ms INTEGER,
        expires_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX validations_address ON validations (address)",
    "CREATE INDEX validations_expires ON validations (expires_ts_ms)",
    """CREATE TABLE push_digests (
        user_id TEXT NOT NULL, app_id TEXT NOT NULL, pushkey TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (user_id, app_id, pushkey)) WITHOUT ROWID""",
    # Documents that somebody has accepted (migration 0031).
    """CREATE TABLE accepted_terms (
        user_id TEXT NOT NULL, document TEXT NOT NULL, version TEXT NOT NULL, accepted_ts_ms INTEGER NOT NULL,
        PRIMARY KEY (user_id, document, version)) WITHOUT ROWID""",
    # What identity servers say of accounts (migration 0032).
    """CREATE TABLE bindings (
        user_id TEXT NOT NULL, medium TEXT NOT NULL, address TEXT NOT NULL, id_server TEXT NOT NULL,
        PRIMARY KEY (user_id, medium, address)) WITHOUT ROWID""",
    """CREATE TABLE url_previews (
        url TEXT NOT NULL, language TEXT NOT NULL, content BLOB NOT NULL, media_id TEXT,
        fetched_ts_ms INTEGER NOT NULL, expires_ts_ms INTEGER NOT NULL, PRIMARY KEY (url, language)) WITHOUT ROWID""",
    "CREATE INDEX url_previews_expires ON url_previews (expires_ts_ms)",
    # Application services (migration 0028).
    """CREATE TABLE app_services (
        service_id TEXT PRIMARY KEY NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB)""",
    """CREATE TABLE network_rooms (
        service_id TEXT NOT NULL, network_id TEXT NOT NULL, room_key INTEGER NOT NULL,
        PRIMARY KEY (service_id, network_id, room_key)) WITHOUT ROWID""",
    "CREATE INDEX network_rooms_room ON network_rooms (room_key)",
    # Events that were here before they had their place: few.
    "CREATE INDEX events_placed ON events (position) WHERE position > event_key",
)
