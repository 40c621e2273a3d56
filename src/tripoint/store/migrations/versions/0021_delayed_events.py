"""Events that are sent later."""

from alembic import op

revision = "0021"
down_revision = "0020"

STATEMENTS = (
    """CREATE TABLE delayed_events (
        delay_id TEXT PRIMARY KEY NOT NULL, user_id TEXT NOT NULL, room_id TEXT NOT NULL, type TEXT NOT NULL,
        state_key TEXT, content BLOB NOT NULL, delay_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL,
        outcome BLOB) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
