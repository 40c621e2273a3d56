"""Application services: how far each has heard, and the rooms of its networks."""

from alembic import op

revision = "0028"
down_revision = "0027"

STATEMENTS = (
    """CREATE TABLE app_services (
        service_id TEXT PRIMARY KEY NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB)""",
    """CREATE TABLE network_rooms (
        service_id TEXT NOT NULL, network_id TEXT NOT NULL, room_key INTEGER NOT NULL,
        PRIMARY KEY (service_id, network_id, room_key)) WITHOUT ROWID""",
    "CREATE INDEX network_rooms_room ON network_rooms (room_key)",
    "CREATE INDEX events_placed ON events (position) WHERE position > event_key",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
