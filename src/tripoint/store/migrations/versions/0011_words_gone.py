"""What the full-text index has to lose."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS = (
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
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
