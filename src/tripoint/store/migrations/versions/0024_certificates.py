"""Certificates that accounts log in with."""

from alembic import op

revision = "0024"
down_revision = "0023"

STATEMENTS = (
    """CREATE TABLE certificates (
        fingerprint TEXT PRIMARY KEY NOT NULL, user_id TEXT NOT NULL, added_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX certificates_by_user ON certificates (user_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
