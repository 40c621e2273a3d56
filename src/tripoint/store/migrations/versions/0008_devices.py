"""Keys of devices, messages to devices, key backups, and what is known of other servers' devices."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
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
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
