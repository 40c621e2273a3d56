"""Transactions that another server did not answer, which are sent again as they are."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """CREATE TABLE unanswered_transactions (
        server TEXT PRIMARY KEY, txn_id TEXT NOT NULL, body BLOB NOT NULL)""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
