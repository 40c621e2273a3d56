"""OAuth clients, codes, sessions of browsers and identities in memory; a part of memory.MemoryStore."""

from collections.abc import Collection, Sequence

from tripoint.core.ids import UserId
from tripoint.store.memory_devices import put
from tripoint.store.oauth_writes import (
    DropBrowserSessions,
    OAuthWrite,
    PutBrowserSession,
    PutIdentity,
    PutOAuthClient,
    PutOAuthGrant,
    TrimOAuth,
)


class OAuthInMemory:
    """store.oauth_store.OAuthStore in dictionaries."""

    def __init__(self) -> None:
        self.oauth_clients: dict[str, PutOAuthClient] = {}
        self.oauth_grants: dict[bytes, PutOAuthGrant] = {}
        self.browser_sessions: dict[bytes, PutBrowserSession] = {}
        self.identities: dict[tuple[str, str], PutIdentity] = {}

    def apply_oauth(self, write: OAuthWrite, in_use: Collection[str | None]) -> None:
        """`in_use`: the clients that have tokens."""
        match write:
            case PutOAuthClient():
                self.oauth_clients[write.client_id] = write
            case PutOAuthGrant():
                put(self.oauth_grants, write.code_hash, write, write.content is None)
            case PutBrowserSession():
                put(self.browser_sessions, write.token_hash, write, write.user_id is None)
            case DropBrowserSessions():
                for key, session in list(self.browser_sessions.items()):
                    if session.user_id == write.user_id and key != write.kept:
                        del self.browser_sessions[key]
            case PutIdentity():
                put(self.identities, (write.provider, write.subject), write, write.user_id is None)
            case TrimOAuth():
                self._trim(write, in_use)

    def _trim(self, write: TrimOAuth, in_use: Collection[str | None]) -> None:
        for code, grant in list(self.oauth_grants.items()):
            if grant.expires_ts_ms <= write.now_ms:
                del self.oauth_grants[code]
        for key, session in list(self.browser_sessions.items()):
            if session.expires_ts_ms <= write.now_ms:
                del self.browser_sessions[key]
        for client_id, client in list(self.oauth_clients.items()):
            if client.used_ts_ms < write.clients_before_ms and client_id not in in_use:
                del self.oauth_clients[client_id]

    def drop_oauth_of(self, user_id: UserId) -> None:
        """What goes with an account."""
        for key, session in list(self.browser_sessions.items()):
            if session.user_id == user_id:
                del self.browser_sessions[key]
        for name, identity in list(self.identities.items()):
            if identity.user_id == user_id:
                del self.identities[name]

    async def load_oauth_client(self, client_id: str) -> PutOAuthClient | None:
        return self.oauth_clients.get(client_id)

    async def count_oauth_clients(self) -> int:
        return len(self.oauth_clients)

    async def load_oauth_grant(self, code_hash: bytes) -> PutOAuthGrant | None:
        return self.oauth_grants.get(code_hash)

    async def load_oauth_grant_of(self, user_code: str) -> PutOAuthGrant | None:
        return next((grant for grant in self.oauth_grants.values() if grant.user_code == user_code), None)

    async def load_browser_session(self, token_hash: bytes) -> PutBrowserSession | None:
        return self.browser_sessions.get(token_hash)

    async def load_identity(self, provider: str, subject: str) -> PutIdentity | None:
        return self.identities.get((provider, subject))

    async def load_identities(self, user_id: UserId) -> Sequence[PutIdentity]:
        return [identity for _, identity in sorted(self.identities.items()) if identity.user_id == user_id]
