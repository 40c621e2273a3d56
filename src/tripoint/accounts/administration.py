"""What administrators see and say of accounts beyond what their owners do: lists, the admin flag, shadow bans, opening
a closed account again. Locking and suspending are service.py's.

docs/operate/administration.md; docs/mapping.md 18.3, 18.5
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.account import Account
from tripoint.accounts.imported_hashes import ImportedHash, check_hash
from tripoint.accounts.passwords import Passwords
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import RESERVED_ACCOUNT_NAMES, InvalidId, ServerName, UserId, make_user_id
from tripoint.core.listings import AccountQuery
from tripoint.core.notices import writes_notices
from tripoint.store.admin_store import AccountRow
from tripoint.store.contact_writes import PutAccepted
from tripoint.store.interface import Store, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutAccount, PutProfile, Write

# spec: Matrix appendices, historical user ids: what a localpart could be; capitals are another account's elsewhere.
_GUEST_NAME: Final = re.compile(r"guest-\d+")
_IMPORTED_NAME: Final = re.compile(r"[!-9;-@\[-~]{1,200}")


# What somebody has accepted, for those who do not name the store.
Acceptance = PutAccepted


class ListedAccount(Struct, frozen=True):
    """An account as an administrator sees it. `last_seen_ts_ms`: of its newest device; None: it has none."""

    account: Account
    displayname: str | None
    avatar_url: str | None
    last_seen_ts_ms: int | None


class Identity(Struct, frozen=True):
    """Who somebody is elsewhere: at an identity provider of the configuration."""

    provider: str
    subject: str


class ImportedAccount(Struct, frozen=True, forbid_unknown_fields=True):
    """An account as it comes from another server: its name, as it was there, and the hash of its password
    (imported_hashes.py). Without a hash nobody gets in until an administrator sets a password."""

    name: str
    hash: str = ""
    pepper: str = ""
    displayname: str = ""
    admin: bool = False
    created_ts_ms: int = 0


class Administration:
    """Raises AccountRefused (NO_SUCH_ACCOUNT where there is none, SERVER_BUSY); what it returned is on disk.

    `changed` takes up the new row of an account.
    """

    def __init__(
        self,
        server: ServerName,
        store: Store,
        stream: Stream,
        passwords: Passwords,
        changed: Callable[[PutAccount], object],
    ) -> None:
        self._server = server
        self._store = store
        self._stream = stream
        self._passwords = passwords
        self._changed = changed

    async def listed(self, query: AccountQuery) -> tuple[Sequence[ListedAccount], int]:
        """A page of accounts, and how many there are on all pages."""
        try:
            rows, total = await self._store.list_accounts(query)
        except StoreError as error:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from error
        return [_shown(row) for row in rows], total

    async def account(self, user_id: UserId) -> ListedAccount | None:
        """An account as in a list; one that was closed, too."""
        row = await self._store.load_account(user_id)
        if row is None:
            return None
        profile = await self._store.load_profile(user_id)
        seen = [device.last_seen_ts_ms for device in await self._store.load_devices(user_id)]
        return _shown(
            AccountRow(row, profile.get("displayname"), profile.get("avatar_url"), max(seen, default=None))
        )

    async def identities(self, user_id: UserId) -> Sequence[Identity]:
        return [Identity(one.provider, one.subject) for one in await self._store.load_identities(user_id)]

    async def accepted(self, user_id: UserId) -> Sequence[Acceptance]:
        """The documents that somebody has accepted, the earliest first."""
        return await self._store.load_accepted(user_id)

    async def of_identity(self, provider: str, subject: str) -> UserId | None:
        found = await self._store.load_identity(provider, subject)
        return None if found is None else found.user_id

    async def set_admin(self, user_id: UserId, admin: bool) -> None:
        """Make an administrator of somebody, or take it back; it counts from the next request on."""
        await self._change(replace(await self._row(user_id), admin=admin))

    async def set_shadow_banned(self, user_id: UserId, on: bool) -> None:
        """What a shadow-banned account says is shown to itself alone (rooms/shadows.py)."""
        await self._change(replace(await self._row(user_id), shadow_banned=on))

    async def take_in(self, given: ImportedAccount) -> UserId:
        """Make an account of another server's one here. Its name may be one that nobody could register
        (docs/mapping.md 1.3). BAD_NAME, NAME_TAKEN, BAD_PASSWORD for a hash that cannot be used."""
        reserved = given.name in RESERVED_ACCOUNT_NAMES or _GUEST_NAME.fullmatch(given.name) is not None
        reserved = reserved or writes_notices(f"@{given.name}:{self._server}", self._server)
        if reserved or not _IMPORTED_NAME.fullmatch(given.name):
            raise AccountRefused(AccountRefusal.BAD_NAME)
        try:
            user_id = make_user_id(given.name, self._server)
        except InvalidId as error:
            raise AccountRefused(AccountRefusal.BAD_NAME, str(error)) from error
        if await self._store.load_account(user_id) is not None:
            raise AccountRefused(AccountRefusal.NAME_TAKEN)
        forms: Sequence[Write] = ()
        if given.hash:
            try:
                check_hash(given.hash)
            except ValueError as error:
                raise AccountRefused(AccountRefusal.BAD_PASSWORD, f"This hash cannot be used: {error}") from error
            forms = self._passwords.imported_forms(user_id, ImportedHash(given.hash, given.pepper))
        row = PutAccount(user_id, given.name, False, given.admin, False, False, given.created_ts_ms)
        await self._change(row, *forms, PutProfile(user_id, "displayname", given.displayname or given.name))
        return user_id

    async def reactivate(self, user_id: UserId, password: str | None) -> None:
        """Open a closed account again. What went when it was closed stays gone; without a password nobody gets in
        until one is set. BAD_PASSWORD."""
        row = await self._store.load_account(user_id)
        if row is None:
            raise AccountRefused(AccountRefusal.NO_SUCH_ACCOUNT)
        forms = () if password is None else await self._passwords.forms(user_id, password)
        again = replace(row, deactivated=False, erased=False, locked=False, suspended=False, shadow_banned=False)
        name = PutProfile(user_id, "displayname", row.name)
        await self._change(again, *forms, name)

    async def _row(self, user_id: UserId) -> PutAccount:
        row = await self._store.load_account(user_id)
        if row is None or row.deactivated:
            raise AccountRefused(AccountRefusal.NO_SUCH_ACCOUNT)
        return row

    async def _change(self, row: PutAccount, *others: Write) -> None:
        try:
            await self._stream.commit([row, *others])
        except StoreError as error:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from error
        self._changed(row)


def account_of(row: PutAccount) -> Account:
    """An account as it is stored, for everybody else."""
    return Account(
        *(row.user_id, row.name, row.guest, row.admin, row.created_ts_ms, row.deactivated, row.locked),
        *(row.suspended, row.shadow_banned, row.erased),
    )


def _shown(row: AccountRow) -> ListedAccount:
    return ListedAccount(account_of(row.account), row.displayname, row.avatar_url, row.last_seen_ts_ms)


Erase = Callable[[UserId], Awaitable[None]]
