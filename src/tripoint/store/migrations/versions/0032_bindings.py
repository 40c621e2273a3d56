"""Which addresses of accounts identity servers publish, and which of those servers."""

from alembic import op

revision = "0032"
down_revision = "0031"

STATEMENTS = (
    """CREATE TABLE bindings (
        user_id TEXT NOT NULL, medium TEXT NOT NULL, address TEXT NOT NULL, id_server TEXT NOT NULL,
        PRIMARY KEY (user_id, medium, address)) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
