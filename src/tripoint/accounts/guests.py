"""Guests: who is here without an account, under which nick, from where, and until when.

Those of IRC and XMPP end with their connection; those of Matrix have none, and end when they log out or are not heard
of for long. What becomes of one who makes an account is service.py's.
spec: docs/mapping.md 1.9; Matrix client-server-api guest-access
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tripoint.accounts.account import Account
from tripoint.accounts.commit import commit
from tripoint.accounts.devices import Devices
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.registration import Registration
from tripoint.accounts.server_bans import ServerBans
from tripoint.core.addresses import network_of
from tripoint.core.ids import InvalidId, ServerName, UserId, check_new_account_name, make_user_id, split_user_id
from tripoint.core.server_bans import Visitor
from tripoint.store.interface import Store
from tripoint.store.stream import Stream
from tripoint.store.writes import DropAccount, PutAccount, PutMeta, PutProfile

# docs/mapping.md 1.9: guest accounts are named guest-<n>; nobody registers such a name.
GUEST_NAME: Final = re.compile(r"guest-\d+\Z")
# docs/mapping.md 1.9: what is the server's alone in nicks, and what no line or JID can carry.
_NOT_IN_NICK: Final = re.compile(r"[:~@#!\s\x00-\x1f\x7f]")
MAX_NICK: Final = 64
# A guest on Matrix has no connection that ends: an evening without a word, and it is gone.
IDLE_MS: Final = 6 * 3_600_000


class Guests:
    """`is_taken(folded nick)`: an account has a name that looks like it; `check_free` raises where an application
    service has the name for itself. `remember` takes up the row and the profile of a new guest;
    `forget` is called when one is gone, `leave_rooms` and `rename` are those of Accounts."""

    def __init__(
        self,
        server: ServerName,
        store: Store,
        stream: Stream,
        registration: Registration,
        bans: ServerBans,
        devices: Devices,
        clock_ms: Callable[[], int],
        *,
        is_taken: Callable[[str], bool],
        check_free: Callable[[str], None],
        remember: Callable[[PutAccount, Mapping[str, str]], Account],
        forget: Callable[[UserId], None],
        leave_rooms: Callable[[UserId, str | None], Awaitable[None]],
        rename: Callable[[UserId, str], Awaitable[None]],
    ) -> None:
        self._server = server
        self._store = store
        self._stream = stream
        self._registration = registration
        self._bans = bans
        self._devices = devices
        self._clock_ms = clock_ms
        self._is_taken = is_taken
        self._check_free = check_free
        self._remember = remember
        self._forget = forget
        self._leave_rooms = leave_rooms
        self._rename = rename
        self._networks: dict[UserId, str] = {}  # guest -> where from
        self._from: Counter[str] = Counter()  # network -> how many guests
        self._nicks: dict[str, UserId] = {}  # folded nick -> guest
        self._number = 0
        # Guests without a connection, and when they were last heard of.
        self._heard_ms: dict[UserId, int] = {}

    async def start(self, *, end: bool) -> None:
        """Read how many there were; `end` those that a stopped server left behind."""
        self._number = int(await self._store.load_meta("guest_number") or 0)
        if end:
            for row in await self._store.load_guests():
                await self.end(row.user_id)

    # -- who is one

    def __contains__(self, user_id: UserId) -> bool:
        return user_id in self._networks

    def __len__(self) -> int:
        return len(self._networks)

    def network(self, user_id: UserId) -> str:
        """Where a guest is from; "" of somebody who is none."""
        return self._networks.get(user_id, "")

    def with_nick(self, folded: str) -> UserId | None:
        return self._nicks.get(folded)

    def has_no_connection(self, user_id: UserId) -> bool:
        """One of Matrix."""
        return user_id in self._heard_ms

    def heard_from(self, user_id: UserId) -> None:
        if user_id in self._heard_ms:
            self._heard_ms[user_id] = self._clock_ms()

    # -- coming

    async def create(self, nick: str, *, address: str) -> Account:
        """GUESTS_OFF, BAD_NAME, NAME_TAKEN, TOO_MANY_GUESTS, BANNED, RATE_LIMITED."""
        if not self._registration.policy.guests:
            raise AccountRefused(AccountRefusal.GUESTS_OFF)
        self.check_nick(nick)
        return await self.create_numbered(nick, address=address)

    async def create_on_matrix(self, *, address: str) -> Account:
        if not self._registration.policy.matrix_guests:
            raise AccountRefused(AccountRefusal.GUESTS_OFF)
        self._registration.take(address)
        account = await self.create_numbered(address=address)
        self._heard_ms[account.user_id] = self._clock_ms()
        return account

    async def create_numbered(self, nick: str | None = None, *, address: str) -> Account:
        """Without a nick it is called by its number."""
        self._bans.check(Visitor(address, () if nick is None else (nick,)))
        network = network_of(address)
        limit = self._registration.policy.guests_per_address
        if limit and self._from[network] >= limit:
            raise AccountRefused(AccountRefusal.TOO_MANY_GUESTS)
        self._registration.take_guest(network)
        self._number += 1
        name = f"guest-{self._number}"
        nick = name if nick is None else nick
        user_id = make_user_id(name, self._server)
        row = PutAccount(user_id, name, True, False, False, False, self._clock_ms())
        self._networks[user_id] = network
        self._from[network] += 1
        self._nicks[nick.lower()] = user_id
        try:
            number = PutMeta("guest_number", str(self._number))
            await commit(self._stream, [row, PutProfile(user_id, "displayname", nick), number])
        except BaseException:
            self._gone(user_id)
            raise
        return self._remember(row, {"displayname": nick})

    # -- nicks

    def check_nick(self, nick: str, user_id: UserId | None = None) -> None:
        """BAD_NAME, NAME_TAKEN, NAME_EXCLUSIVE unless a guest (`user_id`, if it is one already) may have this nick."""
        if not 0 < len(nick) <= MAX_NICK or _NOT_IN_NICK.search(nick):
            raise AccountRefused(AccountRefusal.BAD_NAME, "That nick cannot be used")
        folded = nick.lower()
        self._check_free(folded)
        holder = self._nicks.get(folded)
        if holder is not None and holder != user_id:
            raise AccountRefused(AccountRefusal.NAME_TAKEN, "That nick is in use")
        if self._is_taken(folded):
            raise AccountRefused(AccountRefusal.NAME_TAKEN, "That nick belongs to an account")
        own = user_id is not None and folded == split_user_id(user_id)[0]
        if own:
            return
        try:
            # Reserved names and their look-alikes; a nick that is no account name at all is none of them.
            if folded.isascii() and re.fullmatch(r"[a-z][a-z0-9._-]{0,31}", folded):
                check_new_account_name(folded, self._server)
        except InvalidId as error:
            raise AccountRefused(AccountRefusal.BAD_NAME, f"That nick cannot be used: {error}") from error

    async def rename(self, user_id: UserId, nick: str) -> None:
        self.check_nick(nick, user_id)
        self._drop_nicks(user_id)
        self._nicks[nick.lower()] = user_id
        await self._rename(user_id, nick)

    # -- going

    async def end_idle(self) -> None:
        """Guests without a connection that were not heard of for long are gone."""
        before_ms = self._clock_ms() - IDLE_MS
        for user_id, heard_ms in list(self._heard_ms.items()):
            if heard_ms < before_ms:
                await self.end(user_id)

    async def end(self, user_id: UserId, reason: str | None = None) -> None:
        row = await self._store.load_account(user_id)
        if row is None or not row.guest:
            return
        await self._leave_rooms(user_id, reason)
        await self._devices.drop_all(user_id, reason or "the guest is gone")
        await commit(self._stream, [DropAccount(user_id), self._stream.floor()])
        self._gone(user_id)

    def _gone(self, user_id: UserId) -> None:
        self.no_more(user_id)
        self._forget(user_id)

    def no_more(self, user_id: UserId) -> None:
        """A guest has become an account."""
        self._heard_ms.pop(user_id, None)
        network = self._networks.pop(user_id, None)
        if network is not None:
            self._from[network] -= 1
            if not self._from[network]:
                del self._from[network]
        self._drop_nicks(user_id)

    def _drop_nicks(self, user_id: UserId) -> None:
        for folded, holder in list(self._nicks.items()):
            if holder == user_id:
                del self._nicks[folded]
