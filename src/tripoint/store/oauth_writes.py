"""What can be written about OAuth 2.0 and browsers: clients, codes, who is logged in on the pages, linked identities.

As in writes.py: frozen values; None in the field that says so deletes.
"""

from msgspec import Struct

from tripoint.core.ids import UserId


class PutOAuthClient(Struct, frozen=True):
    """A registered client. `metadata`: as accounts/oauth/clients.py writes it. `used_ts_ms`: when it was last
    registered or let in."""

    client_id: str
    metadata: bytes
    used_ts_ms: int


class PutOAuthGrant(Struct, frozen=True):
    """Something that will be traded for tokens, by the SHA-256 of its code. `content` None deletes it.

    `user_code`: what a person types to find it (device authorization).
    """

    code_hash: bytes
    user_code: str | None
    content: bytes | None
    expires_ts_ms: int


class PutBrowserSession(Struct, frozen=True):
    """Somebody is logged in on the pages, by the SHA-256 of the cookie. `user_id` None ends it."""

    token_hash: bytes
    user_id: UserId | None
    created_ts_ms: int
    expires_ts_ms: int


class DropBrowserSessions(Struct, frozen=True):
    """An account is logged out on the pages, in every browser but the one whose hash is `kept`."""

    user_id: UserId
    kept: bytes | None


class PutIdentity(Struct, frozen=True):
    """Who an account is at a provider that people log in by. `user_id` None takes the link away."""

    provider: str
    subject: str
    user_id: UserId | None


class TrimOAuth(Struct, frozen=True):
    """Codes and sessions of browsers that expired before `now_ms`, and clients that were last used before
    `clients_before_ms` and have no tokens."""

    now_ms: int
    clients_before_ms: int


OAuthWrite = PutOAuthClient | PutOAuthGrant | PutBrowserSession | DropBrowserSessions | PutIdentity | TrimOAuth
