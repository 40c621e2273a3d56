"""Writes of store.oauth_writes to statements and rows. Joined to the others in rows.py."""

from collections.abc import Callable
from typing import Any

from tripoint.store.oauth_writes import (
    DropBrowserSessions,
    PutBrowserSession,
    PutIdentity,
    PutOAuthClient,
    PutOAuthGrant,
    TrimOAuth,
)

Row = tuple[object, ...]

# Tables whose rows go with an account.
OF_ACCOUNT = ("browser_sessions", "identities")

PUT: dict[type, tuple[str, Callable[[Any], Row]]] = {
    PutOAuthClient: (
        "INSERT OR REPLACE INTO oauth_clients (client_id, metadata, used_ts_ms) VALUES (?,?,?)",
        lambda w: (w.client_id, w.metadata, w.used_ts_ms),
    ),
    PutOAuthGrant: (
        "INSERT OR REPLACE INTO oauth_grants (code_hash, user_code, content, expires_ts_ms) VALUES (?,?,?,?)",
        lambda w: (w.code_hash, w.user_code, w.content, w.expires_ts_ms),
    ),
    PutBrowserSession: (
        "INSERT OR REPLACE INTO browser_sessions (token_hash, user_id, created_ts_ms, expires_ts_ms) VALUES (?,?,?,?)",
        lambda w: (w.token_hash, w.user_id, w.created_ts_ms, w.expires_ts_ms),
    ),
    PutIdentity: (
        "INSERT OR REPLACE INTO identities (provider, subject, user_id) VALUES (?,?,?)",
        lambda w: (w.provider, w.subject, w.user_id),
    ),
}

# Kind of write -> (the field that is None to delete, statement, row).
DELETE: dict[type, tuple[str, str, Callable[[Any], Row]]] = {
    PutOAuthGrant: ("content", "DELETE FROM oauth_grants WHERE code_hash = ?", lambda w: (w.code_hash,)),
    PutBrowserSession: ("user_id", "DELETE FROM browser_sessions WHERE token_hash = ?", lambda w: (w.token_hash,)),
    PutIdentity: (
        "user_id",
        "DELETE FROM identities WHERE provider = ? AND subject = ?",
        lambda w: (w.provider, w.subject),
    ),
}


def drops(write: Any) -> list[tuple[str, Row]] | None:
    """The statements of a write that clears several rows or tables; None for any other."""
    if isinstance(write, DropBrowserSessions):
        return [
            ("DELETE FROM browser_sessions WHERE user_id = ? AND token_hash IS NOT ?", (write.user_id, write.kept))
        ]
    if isinstance(write, TrimOAuth):
        return [
            ("DELETE FROM oauth_grants WHERE expires_ts_ms <= ?", (write.now_ms,)),
            ("DELETE FROM browser_sessions WHERE expires_ts_ms <= ?", (write.now_ms,)),
            (
                "DELETE FROM oauth_clients WHERE used_ts_ms < ? AND NOT EXISTS"
                " (SELECT 1 FROM tokens WHERE tokens.client_id = oauth_clients.client_id)",
                (write.clients_before_ms,),
            ),
        ]
    return None
