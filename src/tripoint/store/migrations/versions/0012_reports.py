"""What people reported to the administrators."""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = (
    """CREATE TABLE reports (
        number INTEGER PRIMARY KEY AUTOINCREMENT, ts_ms INTEGER NOT NULL, reporter TEXT NOT NULL, user_id TEXT,
        room_id TEXT, event_id TEXT, kind TEXT NOT NULL, reason TEXT NOT NULL)""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
