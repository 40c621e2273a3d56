"""The part of the store's door for e-mail addresses of accounts, letters that wait, and documents that were
accepted.

As in interface.py: absent is None or empty, never an exception; tests/contract holds every store to it.
"""

from collections.abc import Sequence
from typing import Protocol

from tripoint.core.ids import UserId
from tripoint.store.contact_writes import PutAccepted, PutBinding, PutDigest, PutThreePid, PutValidation


class ContactStore(Protocol):
    """Third-party identifiers, what is being confirmed, digests, what was accepted."""

    async def load_threepid(self, medium: str, address: str) -> PutThreePid | None: ...
    async def load_threepids(self, user_id: UserId) -> Sequence[PutThreePid]:
        """Those of an account, by medium and address."""

    async def load_validation(self, sid: str) -> PutValidation | None:
        """Those that expired too, as long as they are there."""

    async def load_validations_of(self, address: str) -> Sequence[PutValidation]:
        """All that are about an address, by their ids."""

    async def count_validations(self) -> int: ...
    async def load_digests(self) -> Sequence[PutDigest]:
        """Those of all accounts."""

    async def load_accepted(self, user_id: UserId) -> Sequence[PutAccepted]:
        """What somebody has accepted, every version, the earliest first."""

    async def load_bindings(self, user_id: UserId) -> Sequence[PutBinding]:
        """What identity servers say of an account, by medium and address."""
