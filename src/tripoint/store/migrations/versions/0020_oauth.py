"""OAuth 2.0: clients, codes, which tokens are whose; who is logged in on the pages; identities at other providers."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = (
    "ALTER TABLE tokens ADD COLUMN client_id TEXT",
    "ALTER TABLE tokens ADD COLUMN replaces BLOB",
    "ALTER TABLE tokens ADD COLUMN spent INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX tokens_client ON tokens (client_id) WHERE client_id IS NOT NULL",
    """CREATE TABLE oauth_clients (
        client_id TEXT PRIMARY KEY, metadata BLOB NOT NULL, used_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE oauth_grants (
        code_hash BLOB PRIMARY KEY, user_code TEXT UNIQUE, content BLOB NOT NULL,
        expires_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX oauth_grants_expires ON oauth_grants (expires_ts_ms)",
    """CREATE TABLE browser_sessions (
        token_hash BLOB PRIMARY KEY, user_id TEXT NOT NULL, created_ts_ms INTEGER NOT NULL,
        expires_ts_ms INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX browser_sessions_user ON browser_sessions (user_id)",
    """CREATE TABLE identities (
        provider TEXT NOT NULL, subject TEXT NOT NULL, user_id TEXT NOT NULL,
        PRIMARY KEY (provider, subject)) WITHOUT ROWID""",
    "CREATE INDEX identities_user ON identities (user_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
