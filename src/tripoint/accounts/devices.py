"""Devices and their tokens: every session is a device of its account.

spec: Matrix client-server "Login", "Refresh", "Device management"; docs/mapping.md 4 (key-less devices)
Tokens are stored as SHA-256 and never written to a log; those in use are answered from memory.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence

from tripoint.accounts.device_changes import DeviceChanges
from tripoint.accounts.device_keys import DeviceKeys
from tripoint.accounts.ports import Account, Device, LogIn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.bus.interface import Bus
from tripoint.core.ids import DeviceId, UserId
from tripoint.rooms.changes import SessionsEnded, UserChange
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutDevice, PutToken, Write

# 32 characters of 64: 192 bits.
_TOKEN_BYTES = 24
# spec: client-server: a device id is an opaque string; longer ones are not ours.
MAX_DEVICE_ID = 255
MAX_DISPLAY_NAME = 255
_CACHED_TOKENS = 100_000


def token_hash(token: str) -> bytes:
    """The form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class LogInTokens:
    """What a refresh gives: new tokens of the same device."""

    __slots__ = ("access_token", "device_id", "expires_in_ms", "refresh_token")

    def __init__(self, device_id: str, access_token: str, refresh_token: str, expires_in_ms: int) -> None:
        self.device_id = device_id
        self.access_token = access_token
        self.refresh_token = refresh_token
        self.expires_in_ms = expires_in_ms


class Devices:
    """Devices and tokens of all accounts. `token_life_ms`: how long an access token with a refresh token
    lives."""

    def __init__(
        self,
        store: AccountStore,
        stream: Stream,
        user_bus: Bus[UserChange],
        clock_ms: Callable[[], int],
        token_life_ms: int,
        keys: DeviceKeys,
        changes: DeviceChanges,
    ) -> None:
        self._keys = keys
        self._changes = changes
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self._clock_ms = clock_ms
        self._token_life_ms = token_life_ms
        self._tokens: dict[bytes, PutToken] = {}

    async def log_in(
        self,
        account: Account,
        *,
        protocol: str,
        device_id: str | None,
        display_name: str | None,
        tokens: bool,
        refreshable: bool,
    ) -> LogIn:
        """See AccountService.log_in."""
        if display_name is not None:
            display_name = display_name[:MAX_DISPLAY_NAME]
        known = {row.device_id: row for row in await self._store.load_devices(account.user_id)}
        if device_id is None:
            device_id = _new_device_id() if tokens else _keyless_id(protocol, display_name)
        if not 0 < len(device_id) <= MAX_DEVICE_ID:
            raise AccountRefused(AccountRefusal.NO_SUCH_DEVICE, "A device id has 1 to 255 characters")
        row = known.get(device_id)
        # What a device of this name may have left behind is not for this one.
        new = row is None and tokens
        writes: list[Write] = self._keys.dropping(account.user_id, [device_id]) if new else []
        dropped: list[PutToken] = []
        if new and await self._keys.is_key_name(account.user_id, device_id):
            raise AccountRefused(AccountRefusal.NO_SUCH_DEVICE, "One of your cross-signing keys has that name")
        if row is None or tokens:
            name = display_name if row is None or display_name is not None else row.display_name
            writes.append(PutDevice(account.user_id, device_id, protocol, name, self._clock_ms()))
        if not tokens:
            await self._commit(writes)
            return LogIn(account, DeviceId(device_id))
        renamed = row is not None and name != row.display_name
        if row is not None:
            # spec: POST /login: tokens that the device had before are invalid from now on.
            dropped = await self._drop_tokens(account.user_id, [device_id])
            writes.extend(dropped)
        made, fresh = self._make_tokens(account.user_id, device_id, refreshable)
        if renamed:
            await self._commit_changed(account.user_id, [*writes, *fresh], [device_id])
        else:
            await self._commit([*writes, *fresh])
        self._forget(dropped)
        for token in fresh:
            self._tokens[token.token_hash] = token
        return LogIn(
            account,
            DeviceId(device_id),
            made[0],
            made[1] if refreshable else None,
            self._token_life_ms if refreshable else None,
        )

    def _make_tokens(
        self, user_id: UserId, device_id: str, refreshable: bool
    ) -> tuple[list[str], list[PutToken]]:
        access = f"tp_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        expires = self._clock_ms() + self._token_life_ms if refreshable else None
        made, writes = [access], [PutToken(token_hash(access), user_id, device_id, False, expires)]
        if refreshable:
            again = f"tpr_{secrets.token_urlsafe(_TOKEN_BYTES)}"
            made.append(again)
            writes.append(PutToken(token_hash(again), user_id, device_id, True, None))
        return made, writes

    async def find_token(self, access_token: str) -> PutToken:
        """The row of a valid access token. UNKNOWN_TOKEN, EXPIRED_TOKEN."""
        digest = token_hash(access_token)
        row = self._tokens.get(digest)
        if row is None:
            row = await self._store.load_token(digest)
            if row is None or row.refresh or row.device_id is None:
                raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
            if len(self._tokens) >= _CACHED_TOKENS:
                self._tokens.clear()
            self._tokens[digest] = row
        if row.refresh:
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
        if row.expires_ts_ms is not None and row.expires_ts_ms <= self._clock_ms():
            raise AccountRefused(AccountRefusal.EXPIRED_TOKEN)
        return row

    async def refresh(self, refresh_token: str) -> tuple[UserId, LogInTokens]:
        """Trade a refresh token for new tokens; the old ones end.

        spec: POST /refresh. The old refresh token ends at once rather than when the new access token is first
        used: a client that lost the answer logs in again.
        """
        digest = token_hash(refresh_token)
        row = await self._store.load_token(digest)
        if row is None or not row.refresh or row.device_id is None:
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
        drop = await self._drop_tokens(row.user_id, [row.device_id])
        made, fresh = self._make_tokens(row.user_id, row.device_id, True)
        await self._commit([*drop, *fresh])
        self._forget(drop)
        return row.user_id, LogInTokens(row.device_id, made[0], made[1], self._token_life_ms)

    async def devices(self, user_id: UserId) -> Sequence[Device]:
        return [
            Device(row.user_id, DeviceId(row.device_id), row.display_name, row.last_seen_ts_ms, row.protocol or "")
            for row in await self._store.load_devices(user_id)
        ]

    async def rename(self, user_id: UserId, device_id: str, display_name: str) -> None:
        for row in await self._store.load_devices(user_id):
            if row.device_id == device_id:
                name = display_name[:MAX_DISPLAY_NAME]
                write = PutDevice(user_id, device_id, row.protocol, name, row.last_seen_ts_ms)
                await self._commit_changed(user_id, [write], [device_id] if name != row.display_name else [])
                return
        raise AccountRefused(AccountRefusal.NO_SUCH_DEVICE)

    async def drop(self, user_id: UserId, device_ids: Sequence[str], reason: str) -> None:
        """End devices: their tokens stop working, their connections close, their keys and messages go, and whoever
        shares a room with the user is told."""
        known = {row.device_id for row in await self._store.load_devices(user_id)}
        gone = [device_id for device_id in device_ids if device_id in known]
        writes: list[Write] = [PutDevice(user_id, device_id, None, None, 0) for device_id in gone]
        dropped = await self._drop_tokens(user_id, gone)
        writes.extend(dropped)
        await self._commit_changed(user_id, [*writes, *self._keys.dropping(user_id, gone)], gone)
        self._forget(dropped)
        if gone:
            self._user_bus.publish(SessionsEnded(user_id, tuple(gone), reason))

    async def interrupt(self, user_id: UserId, reason: str) -> None:
        """End the connections of all devices. The devices and their tokens stay."""
        devices = tuple(row.device_id for row in await self._store.load_devices(user_id))
        self._user_bus.publish(SessionsEnded(user_id, devices, reason, kept=True))

    async def drop_all(self, user_id: UserId, reason: str, keep: str | None = None) -> None:
        rows = await self._store.load_devices(user_id)
        await self.drop(user_id, [row.device_id for row in rows if row.device_id != keep], reason)

    def _forget(self, dropped: Sequence[PutToken]) -> None:
        """Once more, when the disk knows: a request that came in between read the old row and kept it."""
        for token in dropped:
            self._tokens.pop(token.token_hash, None)

    async def _drop_tokens(self, user_id: UserId, device_ids: Sequence[str]) -> list[PutToken]:
        writes: list[PutToken] = []
        for row in await self._store.load_tokens(user_id):
            if row.device_id in device_ids:
                self._tokens.pop(row.token_hash, None)
                writes.append(PutToken(row.token_hash, user_id, None, row.refresh, None))
        return writes

    async def _commit_changed(self, user_id: UserId, writes: Sequence[Write], device_ids: Sequence[str]) -> None:
        """As _commit, of what others are told if these devices have keys."""
        if not writes:
            return
        async with self._changes.of(user_id):
            with_keys = await self._keys.has_keys(user_id) if device_ids else ()
            changed = [device_id for device_id in device_ids if device_id in with_keys]
            try:
                await self._changes.commit(user_id, writes, changed)
            except StoreError as error:
                raise AccountRefused(AccountRefusal.SERVER_BUSY) from error

    async def _commit(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        try:
            await self._stream.commit(writes)
        except StoreError as error:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from error


def _new_device_id() -> str:
    """Ten capital letters, as Matrix clients show them."""
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(10))


def _keyless_id(protocol: str, display_name: str | None) -> str:
    """The same id for the same kind of client (docs/mapping.md 4)."""
    label = hashlib.sha256(f"{protocol}\0{display_name or ''}".encode()).hexdigest()[:8].upper()
    return f"{protocol.upper()}-{label}"
