"""Transactions between servers: how far each has heard this one, what it missed, what of theirs waits."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "CREATE INDEX receipts_position ON receipts (position)",
    """CREATE TABLE destinations (
        server TEXT PRIMARY KEY, position INTEGER NOT NULL, failing_since_ms INTEGER NOT NULL,
        retry_at_ms INTEGER NOT NULL, interval_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE missed_rooms (
        server TEXT NOT NULL, room_key INTEGER NOT NULL, since INTEGER NOT NULL,
        PRIMARY KEY (server, room_key)) WITHOUT ROWID""",
    "CREATE INDEX missed_rooms_room ON missed_rooms (room_key)",
    """CREATE TABLE staged_pdus (
        number INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, room_key INTEGER NOT NULL,
        origin TEXT NOT NULL, json BLOB NOT NULL)""",
    "CREATE INDEX staged_pdus_room ON staged_pdus (room_key, number)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
