"""Who accounts are at other providers: linked by whoever was logged in on both sides, never by a name that is the same.

spec: Matrix client-server-api sso-login
"""

from collections.abc import Sequence

from tripoint.accounts.commit import commit
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.store.interface import AccountStore
from tripoint.store.oauth_writes import PutIdentity
from tripoint.store.stream import Stream


class Identities:
    """All of them, straight from the store. `turn` is held by whoever looks one up in order to use it for a new
    account."""

    def __init__(self, store: AccountStore, stream: Stream) -> None:
        self._store = store
        self._stream = stream
        self.turn = InTurn()

    async def find(self, provider: str, subject: str) -> UserId | None:
        """Whose account this is."""
        row = await self._store.load_identity(provider, subject)
        return None if row is None else row.user_id

    async def of(self, user_id: UserId) -> Sequence[PutIdentity]:
        """What an account is linked with."""
        return await self._store.load_identities(user_id)

    async def link(self, provider: str, subject: str, user_id: UserId) -> None:
        """NAME_TAKEN where it is linked with another account."""
        async with self.turn(f"{provider} {subject}"):
            known = await self.find(provider, subject)
            if known is not None and known != user_id:
                raise AccountRefused(AccountRefusal.NAME_TAKEN, "Another account here is linked with that one")
            await commit(self._stream, [PutIdentity(provider, subject, user_id)])

    async def unlink(self, provider: str, subject: str) -> None:
        await commit(self._stream, [PutIdentity(provider, subject, None)])
