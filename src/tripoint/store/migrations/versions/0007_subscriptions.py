"""Who asked to hear of what accounts publish."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """CREATE TABLE node_subscriptions (
        user_id TEXT NOT NULL, node TEXT NOT NULL, jid TEXT NOT NULL, subscriber TEXT NOT NULL,
        PRIMARY KEY (user_id, node, jid)) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
