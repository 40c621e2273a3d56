"""What accounts have accepted of the documents that are asked for now (core/terms.py), for an operator who asks
accounts that exist too. What whoever makes an account accepts is written with it (service.py).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tripoint.core.ids import UserId
from tripoint.core.terms import Accepted, Terms
from tripoint.store.contact_store import ContactStore
from tripoint.store.contact_writes import PutAccepted
from tripoint.store.stream import Stream

# Accounts of which it is remembered that they have accepted everything.
MAX_CONTENT: Final = 50_000


class Consents:
    """`terms`: what is asked for now. `is_asked`: whether somebody is asked at all: people of this server with an
    account of their own are."""

    def __init__(
        self,
        store: ContactStore,
        stream: Stream,
        clock_ms: Callable[[], int],
        terms: Callable[[], Sequence[Terms]],
        is_asked: Callable[[UserId], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._terms = terms
        self._is_asked = is_asked
        # Whether accounts that exist are asked too; set by who wires.
        self.of_all = False
        self._content: OrderedDict[UserId, Sequence[Terms]] = OrderedDict()

    async def lacking(self, user_id: UserId) -> Sequence[Terms]:
        """The documents that somebody has yet to accept, in their present versions."""
        terms = self._terms()
        if not terms or not self.of_all or self._content.get(user_id) == terms:
            return ()
        wanted: Sequence[Terms] = ()
        if await self._is_asked(user_id):
            accepted = {(one.document, one.version) for one in await self._store.load_accepted(user_id)}
            wanted = [one for one in terms if (one.document, one.version) not in accepted]
        if not wanted:
            self._content[user_id] = terms
            if len(self._content) > MAX_CONTENT:
                self._content.popitem(last=False)
        return wanted

    async def accept(self, user_id: UserId, accepted: Accepted) -> None:
        """Keep what somebody has accepted, of what is asked for now in its present version. StoreError."""
        now_ms = self._clock_ms()
        given = [one for one in self._terms() if accepted.get(one.document) == one.version]
        await self._stream.commit([PutAccepted(user_id, one.document, one.version, now_ms) for one in given])
