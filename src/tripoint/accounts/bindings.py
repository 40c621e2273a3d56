"""What identity servers say whose address is whose, because accounts here had them do so: remembered, so that it can be
taken back.

spec: Matrix client-server-api POST /account/3pid/bind, /account/3pid/unbind, /account/3pid/delete. Who speaks to
identity servers is matrix/federation/identity.py, which runtime connects.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog

from tripoint.accounts.commit import commit
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import UserId
from tripoint.core.third_party import ThirdPartyId
from tripoint.store.contact_writes import PutBinding
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream

log = structlog.get_logger()

# Addresses of one account that are taken back when it is closed; the closing waits for it.
MAX_TAKEN_BACK = 20


class Publisher(Protocol):
    """An identity server that publishes whose an address is. RemoteFailed."""

    def trusts(self, server: str) -> bool: ...
    async def bind(
        self, server: str, access_token: str, sid: str, client_secret: str, mxid: UserId
    ) -> ThirdPartyId: ...
    async def unbind(self, server: str, of: ThirdPartyId, mxid: UserId) -> bool: ...


class Bindings:
    """`publisher` None: no identity server is spoken to."""

    def __init__(self, store: AccountStore, stream: Stream) -> None:
        self.publisher: Publisher | None = None
        self._store = store
        self._stream = stream

    def trusts(self, server: str) -> bool:
        return self.publisher is not None and self.publisher.trusts(server)

    async def bind(self, user_id: UserId, server: str, access_token: str, sid: str, client_secret: str) -> None:
        """An identity server that is trusted publishes what it was shown. RemoteFailed, SERVER_BUSY."""
        assert self.publisher is not None, "it is trusted"
        bound = await self.publisher.bind(server, access_token, sid, client_secret, user_id)
        await commit(self._stream, [PutBinding(user_id, bound.medium, bound.address, server)])

    async def unbind(self, user_id: UserId, of: ThirdPartyId, server: str | None) -> bool:
        """Take it back from a server, or from the one that it was bound through. False: that server does not do it, is
        not known, or is not spoken to. RemoteFailed."""
        bound = [one for one in await self._of(user_id) if (one.medium, one.address) == (of.medium, of.address)]
        if server is None:
            server = bound[0].id_server if bound else None
        if server is None or self.publisher is None or not self.publisher.trusts(server):
            return False
        if not await self.publisher.unbind(server, of, user_id):
            return False
        gone = [PutBinding(user_id, of.medium, of.address, None) for one in bound if one.id_server == server]
        await commit(self._stream, gone)
        return True

    async def unbind_all(self, user_id: UserId, server: str | None = None) -> bool:
        """As unbind(), of everything, when an account is closed: nothing is left to be taken back. True: there was
        something, and all of it is gone."""
        bound = await self._of(user_id)
        done = bool(bound)
        for one in bound[:MAX_TAKEN_BACK]:
            try:
                of = ThirdPartyId(one.medium, one.address)
                done = await self.unbind(user_id, of, server or one.id_server) and done
            except RemoteFailed as failed:
                log.warning("identity.not_unbound", server=failed.host, user_id=user_id, reason=failed.reason)
                done = False
        await commit(self._stream, [PutBinding(user_id, one.medium, one.address, None) for one in bound])
        return done

    async def _of(self, user_id: UserId) -> Sequence[PutBinding]:
        return await self._store.load_bindings(user_id)
