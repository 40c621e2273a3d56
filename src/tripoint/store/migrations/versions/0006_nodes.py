"""What accounts publish: nodes and their items."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    """CREATE TABLE nodes (
        user_id TEXT NOT NULL, node TEXT NOT NULL, config BLOB NOT NULL,
        PRIMARY KEY (user_id, node)) WITHOUT ROWID""",
    """CREATE TABLE node_items (
        user_id TEXT NOT NULL, node TEXT NOT NULL, item_id TEXT NOT NULL, position INTEGER NOT NULL,
        publisher TEXT NOT NULL, ts_ms INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (user_id, node, item_id))""",
    "CREATE INDEX node_items_order ON node_items (user_id, node, position)",
    "CREATE INDEX node_items_position ON node_items (position)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
