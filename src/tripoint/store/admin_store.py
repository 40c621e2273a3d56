"""The part of the store's door that administrators' lists go through.

Each of these may look at every row of a table: implementations keep that off the loop's thread.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.core.ids import RoomId, UserId
from tripoint.core.listings import AccountQuery, RoomQuery
from tripoint.store.writes import PutAccount


class AccountRow(Struct, frozen=True):
    """An account in a list. `last_seen_ts_ms`: of its newest device; None: it has none."""

    account: PutAccount
    displayname: str | None
    avatar_url: str | None
    last_seen_ts_ms: int | None


class AdminStore(Protocol):
    """Lists of everything. Each returns a page, and how many there are on all pages together."""

    async def list_accounts(self, query: AccountQuery) -> tuple[Sequence[AccountRow], int]: ...
    async def list_rooms(self, query: RoomQuery) -> tuple[Sequence[RoomId], int]:
        """Rooms by what was said last in their timelines of each kind of state: where forks were resolved otherwise,
        the order is a little off. Rooms that are known by an invitation alone are not among them."""

    async def list_rooms_of(self, user_id: UserId) -> Sequence[RoomId]:
        """Rooms whose newest member event of somebody, of whatever server, says that they are in; by their ids."""
