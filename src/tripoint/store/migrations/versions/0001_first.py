"""The first schema. Databases begin here; schema.py lays it out."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: a database without this schema is new, and new ones are laid out by schema.py."""
