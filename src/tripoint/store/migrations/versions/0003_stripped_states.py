"""Rooms known from outside: what an invitation or a knock told of them."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("CREATE TABLE stripped_states (room_key INTEGER PRIMARY KEY, state BLOB NOT NULL)")
