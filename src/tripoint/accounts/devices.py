"""Devices: every session is a device of its account. Their tokens are tokens.py.

spec: Matrix client-server "Login", "Refresh", "Device management"; docs/mapping.md 4 (key-less devices)
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence

import structlog
from msgspec.structs import replace

from tripoint.accounts.commit import commit
from tripoint.accounts.device_changes import DeviceChanges
from tripoint.accounts.device_keys import DeviceKeys
from tripoint.accounts.ports import Account, Device, LogIn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.tokens import LogInTokens, Reused, Tokens
from tripoint.bus.interface import Bus
from tripoint.core.ids import DeviceId, UserId
from tripoint.rooms.changes import SessionsEnded, UserChange
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutDevice, PutToken, Write

log = structlog.get_logger("tripoint")

# spec: client-server: a device id is an opaque string; longer ones are not ours.
MAX_DEVICE_ID = 255
MAX_DISPLAY_NAME = 255


class Devices:
    """Devices of all accounts."""

    def __init__(
        self,
        store: AccountStore,
        stream: Stream,
        user_bus: Bus[UserChange],
        clock_ms: Callable[[], int],
        tokens: Tokens,
        keys: DeviceKeys,
        changes: DeviceChanges,
    ) -> None:
        self._keys = keys
        self._changes = changes
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self._clock_ms = clock_ms
        self._tokens = tokens

    async def log_in(
        self,
        account: Account,
        *,
        protocol: str,
        device_id: str | None,
        display_name: str | None,
        tokens: bool,
        refreshable: bool,
        client_id: str | None = None,
        expires_ts_ms: int | None = None,
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
        new = row is None and (tokens or protocol == "matrix")
        writes: list[Write] = self._keys.dropping(account.user_id, [device_id]) if new else []
        dropped: list[PutToken] = []
        if new and await self._keys.is_key_name(account.user_id, device_id):
            raise AccountRefused(AccountRefusal.NO_SUCH_DEVICE, "One of your cross-signing keys has that name")
        if row is None or tokens:
            name = display_name if row is None or display_name is not None else row.display_name
            writes.append(PutDevice(account.user_id, device_id, protocol, name, self._clock_ms()))
        if not tokens:
            await commit(self._stream, writes)
            return LogIn(account, DeviceId(device_id))
        renamed = row is not None and name != row.display_name
        if row is not None:
            # spec: POST /login: tokens that the device had before are invalid from now on.
            dropped = await self._tokens.dropping(account.user_id, [device_id])
            writes.extend(dropped)
        made, fresh = self._tokens.make(
            account.user_id, device_id, refreshable=refreshable, client_id=client_id, expires_ts_ms=expires_ts_ms
        )
        if renamed:
            await self._commit_changed(account.user_id, [*writes, *fresh], [device_id])
        else:
            await commit(self._stream, [*writes, *fresh])
        self._tokens.forget(dropped)
        self._tokens.keep(fresh)
        return LogIn(account, DeviceId(device_id), made.access_token, made.refresh_token, made.expires_in_ms)

    async def find_token(self, access_token: str) -> PutToken:
        """The row of a valid access token. UNKNOWN_TOKEN, EXPIRED_TOKEN."""
        return self._tokens.known(access_token) or await self._tokens.find(access_token)

    async def refresh(self, refresh_token: str, client_id: str | None) -> tuple[UserId, LogInTokens]:
        """Trade a refresh token for new tokens. UNKNOWN_TOKEN.

        spec: refresh-token-grant: "The homeserver SHOULD consider that the session is compromised if an old,
        invalidated refresh token is used, and SHOULD revoke the session."
        """
        try:
            return await self._tokens.refresh(refresh_token, client_id)
        except Reused as reused:
            row = reused.row
            if row.client_id is not None and row.device_id is not None:
                log.warning("accounts.refresh_token_reused", user_id=row.user_id, device_id=row.device_id)
                await self.drop(row.user_id, [row.device_id], "a refresh token was used twice")
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN) from reused

    async def revoke(self, token: str) -> bool:
        """End the device that a token of either kind belongs to; False where the token means nothing.

        spec: token-revocation: "The server MUST revoke both the access token and refresh token".
        """
        row = await self._tokens.owner(token)
        if row is None or row.device_id is None:
            return False
        await self.drop(row.user_id, [row.device_id], "logged out")
        return True

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
        dropped = await self._tokens.dropping(user_id, gone)
        writes.extend(dropped)
        fast = await self._store.load_fast_tokens(user_id)
        writes.extend(replace(row, salt=None) for row in fast if row.device_id in gone)
        await self._commit_changed(user_id, [*writes, *self._keys.dropping(user_id, gone)], gone)
        self._tokens.forget(dropped)
        if gone:
            self._user_bus.publish(SessionsEnded(user_id, tuple(gone), reason))

    async def interrupt(self, user_id: UserId, reason: str) -> None:
        """End the connections of all devices. The devices and their tokens stay."""
        devices = tuple(row.device_id for row in await self._store.load_devices(user_id))
        self._user_bus.publish(SessionsEnded(user_id, devices, reason, kept=True))

    async def drop_all(self, user_id: UserId, reason: str, keep: str | None = None) -> None:
        rows = await self._store.load_devices(user_id)
        await self.drop(user_id, [row.device_id for row in rows if row.device_id != keep], reason)

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


def _new_device_id() -> str:
    """Ten capital letters, as Matrix clients show them."""
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(10))


def _keyless_id(protocol: str, display_name: str | None) -> str:
    """The same id for the same kind of client (docs/mapping.md 4)."""
    label = hashlib.sha256(f"{protocol}\0{display_name or ''}".encode()).hexdigest()[:8].upper()
    return f"{protocol.upper()}-{label}"
