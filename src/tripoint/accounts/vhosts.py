"""The hosts that IRC shows of accounts in the place of the server's name: asked for by their users, given by operators.

They lie below `users.<server>`, so that nobody looks like another server's user, or like a guest.
spec: docs/mapping.md 18.4.  HostServ (tripoint/irc/hostserv.py) is the way to them.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import ServerName, UserId
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutVhost

# A host of IRC has 63 bytes; a label of the DNS has too.
_LABELS = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?){0,3}\Z")
MAX_HOST = 63
MAX_ASKING = 1000

ASKED, ON, OFF = "asked", "on", "off"


class Vhosts:
    """All of them, in memory and on disk. Call start() once."""

    def __init__(self, server: ServerName, store: AccountStore, stream: Stream) -> None:
        self.below = f".users.{server}"
        self._store = store
        self._stream = stream
        self._rows: dict[UserId, PutVhost] = {}
        self._watchers: list[Callable[[UserId], None]] = []

    async def start(self) -> None:
        """Read them."""
        for row in await self._store.load_vhosts():
            self._rows[row.user_id] = row

    def watch(self, watcher: Callable[[UserId], None]) -> None:
        """`watcher` is told whose host is another one now."""
        self._watchers.append(watcher)

    def host(self, user_id: UserId) -> str | None:
        """What is shown of an account; None: nothing but the server's name."""
        row = self._rows.get(user_id)
        return row.host if row is not None and row.state == ON else None

    def of(self, user_id: UserId) -> PutVhost | None:
        """What an account has or asks for."""
        return self._rows.get(user_id)

    def asking(self) -> Sequence[PutVhost]:
        """What waits for an operator."""
        return sorted((row for row in self._rows.values() if row.state == ASKED), key=lambda row: row.user_id)

    def given(self) -> Mapping[UserId, PutVhost]:
        """Those that were given, whether they are shown or not."""
        return {user_id: row for user_id, row in self._rows.items() if row.state != ASKED}

    def whole(self, wish: str) -> str:
        """The host that a wish means: the words before `.users.<server>`, or all of it. AccountRefused(BAD_VHOST)."""
        host = wish.lower().removesuffix(self.below)
        if not _LABELS.match(host) or len(host + self.below) > MAX_HOST:
            raise AccountRefused(AccountRefusal.BAD_VHOST, f"{AccountRefusal.BAD_VHOST.value}, before {self.below}")
        return host + self.below

    async def put(self, user_id: UserId, wish: str, state: str) -> str:
        """Give an account a host, or note that it asks for one. The whole host. BAD_VHOST, NAME_TAKEN, SERVER_BUSY."""
        host = self.whole(wish)
        if any(row.host == host and row.user_id != user_id for row in self._rows.values()):
            raise AccountRefused(AccountRefusal.NAME_TAKEN, "Somebody else has, or asks for, that host")
        if state == ASKED and len(self.asking()) >= MAX_ASKING:
            raise AccountRefused(AccountRefusal.SERVER_BUSY, "Too many ask for a host just now")
        await self._store_row(PutVhost(user_id, host, state))
        return host

    async def switch(self, user_id: UserId, *, on: bool) -> bool:
        """Show the host of an account, or the server's name; False if it was given none."""
        row = self._rows.get(user_id)
        if row is None or row.state == ASKED:
            return False
        await self._store_row(PutVhost(user_id, row.host, ON if on else OFF))
        return True

    async def drop(self, user_id: UserId) -> bool:
        """Take a host, or the wish for one, away; False if there is none."""
        if user_id not in self._rows:
            return False
        await self._store_row(PutVhost(user_id, None, OFF))
        return True

    async def _store_row(self, row: PutVhost) -> None:
        before = self.host(row.user_id)
        try:
            await self._stream.commit([row])
        except StoreError as error:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from error
        if row.host is None:
            self._rows.pop(row.user_id, None)
        else:
            self._rows[row.user_id] = row
        if self.host(row.user_id) != before:
            for watcher in self._watchers:
                watcher(row.user_id)
