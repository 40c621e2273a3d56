"""Bans from this server, and hosts that IRC shows of accounts."""

from alembic import op

revision = "0010"
down_revision = "0008"

STATEMENTS = (
    """CREATE TABLE server_bans (
        kind TEXT NOT NULL, mask TEXT NOT NULL, reason TEXT NOT NULL, setter TEXT NOT NULL,
        created_ts_ms INTEGER NOT NULL, expires_ts_ms INTEGER, PRIMARY KEY (kind, mask)) WITHOUT ROWID""",
    """CREATE TABLE vhosts (
        user_id TEXT PRIMARY KEY, host TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
