"""The part of the store's door that administrators' lists go through.

Each of these may look at every row of a table: implementations keep that off the loop's thread.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.core.listings import AccountQuery, MediaQuery, MediaUse, MediaUseQuery, OldMediaQuery, RoomQuery
from tripoint.store.writes import PutAccount, PutMedia


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

    async def list_servers(self) -> Sequence[ServerName]:
        """Servers of which somebody is or was in a room, this one too; by their names."""

    async def list_rooms_of_server(self, server: ServerName) -> Sequence[RoomId]:
        """Rooms that somebody of a server is in, as list_rooms_of() has it."""

    async def list_media(self, query: MediaQuery) -> tuple[Sequence[PutMedia], int]:
        """What somebody has uploaded; what has not come yet is not among it."""

    async def list_old_media(self, query: OldMediaQuery) -> Sequence[PutMedia]:
        """The one that was used longest ago first."""

    async def list_media_use(self, query: MediaUseQuery) -> tuple[Sequence[MediaUse], int]: ...
