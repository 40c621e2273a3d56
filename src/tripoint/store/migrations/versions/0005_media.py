"""Files: their names and what is known of them, and the capability URLs that lead to them."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """CREATE TABLE media (
        server TEXT NOT NULL, media_id TEXT NOT NULL, content TEXT, type TEXT NOT NULL, filename TEXT,
        size INTEGER NOT NULL, uploader TEXT, created_ts_ms INTEGER NOT NULL, used_ts_ms INTEGER NOT NULL,
        expires_ts_ms INTEGER, quarantined INTEGER NOT NULL, PRIMARY KEY (server, media_id)) WITHOUT ROWID""",
    "CREATE INDEX media_content ON media (content) WHERE content IS NOT NULL",
    "CREATE INDEX media_uploader ON media (uploader, size) WHERE uploader IS NOT NULL",
    "CREATE INDEX media_expires ON media (expires_ts_ms) WHERE content IS NULL",
    "CREATE INDEX media_cached ON media (used_ts_ms, server, size) WHERE uploader IS NULL AND quarantined = 0",
    """CREATE TABLE media_links (
        link TEXT PRIMARY KEY, server TEXT NOT NULL, media_id TEXT NOT NULL, subject TEXT NOT NULL,
        filename TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX media_links_media ON media_links (server, media_id, subject)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
