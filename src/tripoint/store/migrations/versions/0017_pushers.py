"""Where clients want to be told of events while they are not connected."""

from alembic import op

revision = "0017"
down_revision = "0015"

STATEMENTS = (
    """CREATE TABLE pushers (
        user_id TEXT NOT NULL, app_id TEXT NOT NULL, pushkey TEXT NOT NULL, device_id TEXT NOT NULL,
        settings BLOB NOT NULL, set_ts_ms INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (user_id, app_id, pushkey)) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
