"""Bans from the whole server: kept on disk, met by whoever connects or logs in, on every protocol.

Front ends ask at the door (`of_address`), the accounts at every login (`of_visitor`); both answer from memory. Whoever
watches is told of a new ban and closes what is connected already.
spec: docs/mapping.md 9.4, 18.4.  Read next: tripoint/core/server_bans.py.
"""

from collections.abc import Callable, Sequence

from tripoint.accounts.commit import commit
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.server_bans import BanIndex, BanKind, ServerBan, Visitor
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutServerBan

# What an operator writes by hand or a script feeds in; each is some hundred bytes in memory.
MAX_BANS = 50_000
# Bans that are over do nobody harm; they are taken off when a ban is set, not more often than this.
SWEEP_MS = 60_000


class ServerBans:
    """All of them. Call start() once. `clock_ms` is the wall clock, by which they end."""

    def __init__(self, store: AccountStore, stream: Stream, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._index = BanIndex()
        self._watchers: list[Callable[[ServerBan], None]] = []
        self._swept_ms = 0

    async def start(self) -> None:
        """Read them."""
        for row in await self._store.load_server_bans():
            assert row.setter is not None  # what is stored has one
            self._index.put(
                ServerBan(
                    BanKind(row.kind), row.mask, row.reason, row.setter, row.created_ts_ms, row.expires_ts_ms
                )
            )

    def watch(self, watcher: Callable[[ServerBan], None]) -> None:
        """`watcher` is told of every ban that is set from now on, when it is on disk."""
        self._watchers.append(watcher)

    def listed(self, kind: BanKind) -> Sequence[ServerBan]:
        """Those that hold now, by their masks."""
        now = self._clock_ms()
        return sorted((ban for ban in self._index if ban.kind is kind and ban.holds(now)), key=lambda ban: ban.mask)

    def of_address(self, address: str) -> ServerBan | None:
        """The ban that a connection from here meets before anything is known of who it is."""
        return self._index.of_address(address, self._clock_ms()) if len(self._index) else None

    def of_visitor(self, who: Visitor) -> ServerBan | None:
        """The ban of any kind that somebody meets."""
        return self._index.of_visitor(who, self._clock_ms()) if len(self._index) else None

    def check(self, who: Visitor) -> None:
        """AccountRefused(BANNED), with the reason, where somebody meets a ban."""
        ban = self.of_visitor(who)
        if ban is not None:
            raise AccountRefused(AccountRefusal.BANNED, banned_text(ban))

    async def put(self, ban: ServerBan) -> None:
        """Set a ban, in the place of another with its mask. AccountRefused: SERVER_BUSY, and TOO_MANY_BANS."""
        now = self._clock_ms()
        if now - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now
            await self._sweep(now)
        if len(self._index) >= MAX_BANS and self._index.get(ban.kind, ban.mask) is None:
            raise AccountRefused(AccountRefusal.TOO_MANY_BANS)
        await commit(self._stream, [_row(ban)])
        self._index.put(ban)
        for watcher in self._watchers:
            watcher(ban)

    async def drop(self, kind: BanKind, mask: str) -> bool:
        """Take a ban off; False if none with this mask holds."""
        ban = self._index.get(kind, mask)
        if ban is None:
            return False
        await commit(self._stream, [_gone(ban)])
        self._index.drop(kind, mask)
        return ban.holds(self._clock_ms())

    async def _sweep(self, now: int) -> None:
        over = [ban for ban in self._index if not ban.holds(now)]
        if over:
            await commit(self._stream, [_gone(ban) for ban in over])
            for ban in over:
                self._index.drop(ban.kind, ban.mask)


def banned_text(ban: ServerBan) -> str:
    """What somebody who meets a ban is told."""
    return f"{AccountRefusal.BANNED.value}: {ban.reason}" if ban.reason else AccountRefusal.BANNED.value


def _row(ban: ServerBan) -> PutServerBan:
    return PutServerBan(ban.kind.value, ban.mask, ban.reason, ban.setter, ban.created_ts_ms, ban.expires_ts_ms)


def _gone(ban: ServerBan) -> PutServerBan:
    return PutServerBan(ban.kind.value, ban.mask, "", None, 0, None)
