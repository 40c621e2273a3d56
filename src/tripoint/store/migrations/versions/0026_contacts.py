"""E-mail addresses of accounts, what is being confirmed, letters that wait; previews of links."""

from alembic import op

revision = "0026"
down_revision = "0025"

STATEMENTS = (
    """CREATE TABLE threepids (
        medium TEXT NOT NULL, address TEXT NOT NULL, user_id TEXT NOT NULL, validated_ts_ms INTEGER NOT NULL,
        added_ts_ms INTEGER NOT NULL, PRIMARY KEY (medium, address)) WITHOUT ROWID""",
    "CREATE INDEX threepids_user ON threepids (user_id)",
    """CREATE TABLE validations (
        sid TEXT PRIMARY KEY NOT NULL, purpose TEXT NOT NULL, address TEXT NOT NULL, secret_hash BLOB NOT NULL,
        token_hash BLOB, attempt INTEGER NOT NULL, next_link TEXT, user_id TEXT, validated_ts_ms INTEGER,
        expires_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX validations_address ON validations (address)",
    "CREATE INDEX validations_expires ON validations (expires_ts_ms)",
    """CREATE TABLE push_digests (
        user_id TEXT NOT NULL, app_id TEXT NOT NULL, pushkey TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (user_id, app_id, pushkey)) WITHOUT ROWID""",
    """CREATE TABLE url_previews (
        url TEXT NOT NULL, language TEXT NOT NULL, content BLOB NOT NULL, media_id TEXT,
        fetched_ts_ms INTEGER NOT NULL, expires_ts_ms INTEGER NOT NULL, PRIMARY KEY (url, language)) WITHOUT ROWID""",
    "CREATE INDEX url_previews_expires ON url_previews (expires_ts_ms)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
