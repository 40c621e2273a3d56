"""What administrators say of accounts, files and rooms; how often a registration token was used."""

from alembic import op

revision = "0025"
down_revision = "0024"

STATEMENTS = (
    "ALTER TABLE accounts ADD COLUMN shadow_banned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE accounts ADD COLUMN erased INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE registration_tokens ADD COLUMN completed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE closed_rooms ADD COLUMN closed_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE media ADD COLUMN quarantined_by TEXT",
    "ALTER TABLE media ADD COLUMN protected INTEGER NOT NULL DEFAULT 0",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
