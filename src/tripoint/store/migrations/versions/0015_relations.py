"""Which events are about which, of the events of before too."""

from alembic import op

revision = "0015"
down_revision = "0013"

STATEMENTS = (
    """CREATE TABLE relations (
        event_key INTEGER PRIMARY KEY, room_key INTEGER NOT NULL, position INTEGER, target TEXT NOT NULL,
        rel_type TEXT NOT NULL, type TEXT NOT NULL, sender TEXT NOT NULL)""",
    "CREATE INDEX relations_target ON relations (target, rel_type, position)",
    "CREATE INDEX relations_room ON relations (room_key, rel_type, position)",
    # What is about no event of the room is found by nobody: it does no harm.
    """INSERT INTO relations
        SELECT event_key, room_key, position, json_extract(text, '$.content."m.relates_to".event_id'),
            json_extract(text, '$.content."m.relates_to".rel_type'), json_extract(text, '$.type'),
            json_extract(text, '$.sender')
        FROM (SELECT event_key, room_key, position, CAST(json AS TEXT) AS text FROM events
            WHERE type IS NULL AND instr(json, CAST('"rel_type"' AS BLOB)) > 0)
        WHERE json_type(text, '$.content."m.relates_to".event_id') = 'text'
            AND json_type(text, '$.content."m.relates_to".rel_type') = 'text'""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
