"""Events that are delivered for a while, whatever else happens."""

from alembic import op

revision = "0027"
down_revision = "0026"

STATEMENTS = (
    """CREATE TABLE sticky_events (
        event_key INTEGER PRIMARY KEY, room_key INTEGER NOT NULL, sender TEXT NOT NULL, until_ts_ms INTEGER NOT NULL,
        failed INTEGER NOT NULL)""",
    "CREATE INDEX sticky_events_until ON sticky_events (until_ts_ms)",
    "ALTER TABLE delayed_events ADD COLUMN sticky_ms INTEGER",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
