"""Which documents somebody has accepted, and in which version."""

from alembic import op

revision = "0031"
down_revision = "0028"

STATEMENTS = (
    """CREATE TABLE accepted_terms (
        user_id TEXT NOT NULL, document TEXT NOT NULL, version TEXT NOT NULL, accepted_ts_ms INTEGER NOT NULL,
        PRIMARY KEY (user_id, document, version)) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
