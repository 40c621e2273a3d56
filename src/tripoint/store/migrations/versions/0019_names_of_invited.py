"""Names that are kept for who is invited to register."""

from alembic import op

revision = "0019"
down_revision = "0017"


def upgrade() -> None:
    op.execute("ALTER TABLE registration_tokens ADD COLUMN username TEXT")
