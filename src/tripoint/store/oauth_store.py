"""The part of the store's door that OAuth 2.0 and the pages go through.

As in interface.py: absent is None or empty, never an exception; tests/contract holds every store to it.
"""

from collections.abc import Sequence
from typing import Protocol

from tripoint.core.ids import UserId
from tripoint.store.oauth_writes import PutBrowserSession, PutIdentity, PutOAuthClient, PutOAuthGrant


class OAuthStore(Protocol):
    """Clients, codes, sessions of browsers, linked identities."""

    async def load_oauth_client(self, client_id: str) -> PutOAuthClient | None: ...
    async def count_oauth_clients(self) -> int: ...
    async def load_oauth_grant(self, code_hash: bytes) -> PutOAuthGrant | None:
        """Those that expired too, as long as they are there."""

    async def load_oauth_grant_of(self, user_code: str) -> PutOAuthGrant | None: ...
    async def load_browser_session(self, token_hash: bytes) -> PutBrowserSession | None: ...
    async def load_identity(self, provider: str, subject: str) -> PutIdentity | None: ...
    async def load_identities(self, user_id: UserId) -> Sequence[PutIdentity]:
        """Those of an account, by provider and subject."""
