"""The reads of store.oauth_store on SQLite; a part of sqlite.SqliteStore."""

from collections.abc import Sequence
from typing import Any

from tripoint.core.ids import UserId
from tripoint.store.oauth_writes import PutBrowserSession, PutIdentity, PutOAuthClient, PutOAuthGrant

_GRANT = "SELECT code_hash, user_code, content, expires_ts_ms FROM oauth_grants "
_IDENTITY = "SELECT provider, subject, user_id FROM identities "


class OAuthReads:
    """Abstract: queries go through _all and _one, which the store that is made of this defines."""

    def _all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        raise NotImplementedError

    async def load_oauth_client(self, client_id: str) -> PutOAuthClient | None:
        query = "SELECT client_id, metadata, used_ts_ms FROM oauth_clients WHERE client_id = ?"
        row = self._one(query, client_id)
        return None if row is None else PutOAuthClient(*row)

    async def count_oauth_clients(self) -> int:
        row = self._one("SELECT count(*) FROM oauth_clients")
        return 0 if row is None else int(row[0])

    async def load_oauth_grant(self, code_hash: bytes) -> PutOAuthGrant | None:
        row = self._one(_GRANT + "WHERE code_hash = ?", code_hash)
        return None if row is None else PutOAuthGrant(*row)

    async def load_oauth_grant_of(self, user_code: str) -> PutOAuthGrant | None:
        row = self._one(_GRANT + "WHERE user_code = ?", user_code)
        return None if row is None else PutOAuthGrant(*row)

    async def load_browser_session(self, token_hash: bytes) -> PutBrowserSession | None:
        query = "SELECT token_hash, user_id, created_ts_ms, expires_ts_ms FROM browser_sessions WHERE token_hash = ?"
        row = self._one(query, token_hash)
        return None if row is None else PutBrowserSession(*row)

    async def load_identity(self, provider: str, subject: str) -> PutIdentity | None:
        row = self._one(_IDENTITY + "WHERE provider = ? AND subject = ?", provider, subject)
        return None if row is None else PutIdentity(*row)

    async def load_identities(self, user_id: UserId) -> Sequence[PutIdentity]:
        found = self._all(_IDENTITY + "WHERE user_id = ? ORDER BY provider, subject", user_id)
        return [PutIdentity(*row) for row in found]
