"""Tokens with which XMPP clients come back (XEP-0484): what they are made of."""

from alembic import op

revision = "0023"
down_revision = "0021"

STATEMENTS = (
    """CREATE TABLE fast_tokens (
        user_id TEXT NOT NULL, client TEXT NOT NULL, slot TEXT NOT NULL, device_id TEXT NOT NULL,
        mechanism TEXT NOT NULL, salt BLOB NOT NULL, expires_ts_ms INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (user_id, client, slot)) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
