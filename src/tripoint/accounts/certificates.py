"""The certificates with which accounts log in, known by their fingerprints. Who signed them does not matter.

A certificate is one account's. Who has shown it on a connection has its key, which a fingerprint alone does not prove:
so the former takes it over from another account, and the latter takes nothing over.
spec: RFC4422 appendix A; docs/mapping.md 18.1.  NickServ (tripoint/irc/nickserv_cert.py) is the way to them.
"""

import asyncio
import re
from collections.abc import Callable, Sequence

from tripoint.accounts.commit import commit
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutCertificate

# One for each device that somebody has, and the one that will replace it.
MAX_CERTIFICATES = 16
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")


class Certificates:
    """All of them, on disk."""

    def __init__(self, store: AccountStore, stream: Stream, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._adding = asyncio.Lock()

    async def owner(self, fingerprint: str) -> UserId | None:
        """Whose certificate it is."""
        row = await self._store.load_certificate(fingerprint)
        return None if row is None else row.user_id

    async def of(self, user_id: UserId) -> Sequence[str]:
        """The fingerprints of an account's certificates."""
        return [row.fingerprint for row in await self._store.load_certificates(user_id)]

    async def add(self, user_id: UserId, wish: str, *, shown: bool) -> str:
        """Let an account log in with a certificate; its fingerprint. `shown`: the connection that asks has shown it.

        BAD_CERTIFICATE, CERTIFICATE_TAKEN, TOO_MANY_CERTIFICATES, SERVER_BUSY.
        """
        fingerprint = parse_fingerprint(wish)
        async with self._adding:
            owner = await self.owner(fingerprint)
            if owner == user_id:
                return fingerprint
            if owner is not None and not shown:
                raise AccountRefused(AccountRefusal.CERTIFICATE_TAKEN)
            if len(await self.of(user_id)) >= MAX_CERTIFICATES:
                raise AccountRefused(AccountRefusal.TOO_MANY_CERTIFICATES)
            await commit(self._stream, [PutCertificate(fingerprint, user_id, self._clock_ms())])
        return fingerprint

    async def drop(self, user_id: UserId, wish: str) -> bool:
        """Take a certificate of an account away; False where it is none of its. BAD_CERTIFICATE, SERVER_BUSY."""
        fingerprint = parse_fingerprint(wish)
        if await self.owner(fingerprint) != user_id:
            return False
        await commit(self._stream, [PutCertificate(fingerprint, None, 0)])
        return True

    async def drop_all(self, user_id: UserId) -> None:
        """An account is closed. SERVER_BUSY."""
        if fingerprints := await self.of(user_id):
            await commit(self._stream, [PutCertificate(fingerprint, None, 0) for fingerprint in fingerprints])


def parse_fingerprint(text: str) -> str:
    """A fingerprint as people copy it: with colons or not, in either case. AccountRefused(BAD_CERTIFICATE)."""
    fingerprint = text.replace(":", "").lower()
    if not _FINGERPRINT.match(fingerprint):
        raise AccountRefused(AccountRefusal.BAD_CERTIFICATE)
    return fingerprint
