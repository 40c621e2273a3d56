"""Rooms and events of other servers: rooms known from outside, redactions that came before their events,
what lies before all that is here, rooms whose members are not all here.
Passwords of rooms; closed rooms."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """CREATE TABLE missing_past (
        room_key INTEGER NOT NULL, event_id TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (room_key, event_id)) WITHOUT ROWID""",
    """CREATE TABLE partial_rooms (
        room_key INTEGER PRIMARY KEY, join_event TEXT NOT NULL, servers TEXT NOT NULL)""",
    """CREATE TABLE waiting_redactions (
        target TEXT NOT NULL, redaction TEXT NOT NULL, PRIMARY KEY (target, redaction)) WITHOUT ROWID""",
    "CREATE TABLE stripped_states (room_key INTEGER PRIMARY KEY, state BLOB NOT NULL)",
    "CREATE TABLE kv_password (room_key INTEGER PRIMARY KEY, verifier BLOB NOT NULL, before BLOB NOT NULL)",
    "CREATE TABLE closed_rooms (room_id TEXT PRIMARY KEY) WITHOUT ROWID",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
