"""Keys of this server's devices: uploaded, counted, asked for, claimed.

A one-time key is given out once: it is written down as claimed before it leaves, and is remembered for a while so that
an upload that comes twice does not bring it back. spec: Matrix client-server-api POST /keys/upload, /keys/query,
/keys/claim, one-time-and-fallback-keys. Users' own keys are cross_signing.py.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import orjson
from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.device_changes import DeviceChanges
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import Json, JsonObject, encode
from tripoint.core.device_keys import ED25519, OneTimeKey, Signature, is_shown, with_signatures
from tripoint.core.ids import UserId
from tripoint.rooms.changes import KeyCountsChanged, UserChange
from tripoint.store.device_store import DeviceKeyStore
from tripoint.store.device_writes import (
    DropDeviceKeys,
    PutDeviceKeys,
    PutFallbackKey,
    PutOneTimeKey,
    TrimClaimedKeys,
)
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import Write

# Clients keep 50 to 100 on the server.
MAX_ONE_TIME_KEYS: Final = 1000
# Claimed keys that are remembered for each device and algorithm: an upload is repeated within minutes.
CLAIMED_KEPT: Final = 500
# Devices whose counts stay in memory.
CACHED_COUNTS: Final = 20_000


class KeyStore(AccountStore, DeviceKeyStore, Protocol):
    """The parts of the store that are used here."""


class KeyCounts(Struct, frozen=True):
    """What a device is told of its own keys: unclaimed one-time keys by algorithm, algorithms whose fallback key was
    not given out yet; `position`: when that last changed by somebody else's doing."""

    one_time: Mapping[str, int]
    unused_fallback: tuple[str, ...]
    position: int = 0


class DeviceKeys:
    """See the module. Raises KeyRefused; what it returned is on disk."""

    def __init__(self, store: KeyStore, stream: Stream, changes: DeviceChanges, user_bus: Bus[UserChange]) -> None:
        self._store = store
        self._stream = stream
        self._changes = changes
        self._user_bus = user_bus
        self._counts: OrderedDict[tuple[UserId, str], KeyCounts] = OrderedDict()
        self._taken_at: OrderedDict[tuple[UserId, str], int] = OrderedDict()
        # Keys that are being written down as claimed.
        self._claiming: set[tuple[UserId, str, str, str]] = set()

    # -- the device's own

    async def upload(
        self,
        user_id: UserId,
        device_id: str,
        keys: JsonObject | None,
        one_time: Sequence[OneTimeKey],
        fallback: Sequence[OneTimeKey],
    ) -> KeyCounts:
        """Take what a device publishes; KEY_REPLACED, TOO_MANY_KEYS."""
        async with self._changes.of(user_id):
            writes, changed = await self._identity(user_id, device_id, keys)
            fresh = await self._fresh(user_id, device_id, one_time)
            writes += await self._fallback(user_id, device_id, fallback)
            if fresh:
                position = self._stream.next()
                for one in fresh:
                    writes.append(PutOneTimeKey(user_id, device_id, one.algorithm, one.key_id, position, one.json))
                for algorithm in sorted({one.algorithm for one in fresh}):
                    writes.append(TrimClaimedKeys(user_id, device_id, algorithm, CLAIMED_KEPT))
            if writes:
                await self._changes.commit_or_refuse(user_id, writes, [device_id] if changed else [])
                self._counts.pop((user_id, device_id), None)
        return await self.counts(user_id, device_id)

    async def _identity(self, user_id: UserId, device_id: str, keys: JsonObject | None) -> tuple[list[Write], bool]:
        if keys is None:
            return [], False
        data = encode(keys)
        known = await self._keys_of(user_id)
        if device_id in known and encode(known[device_id]) == data:
            return [], False
        return [PutDeviceKeys(user_id, device_id, data)], True

    async def _fresh(self, user_id: UserId, device_id: str, keys: Sequence[OneTimeKey]) -> list[OneTimeKey]:
        """Those that were not uploaded before."""
        fresh = []
        for key in keys:
            known = await self._store.load_one_time_key(user_id, device_id, key.algorithm, key.key_id)
            if known is None:
                fresh.append(key)
            elif known.key != (_digest(key.json) if known.claimed else key.json):
                text = f"There is another one-time key {key.algorithm}:{key.key_id}"
                raise KeyRefused(KeyRefusal.KEY_REPLACED, text)
        if fresh:
            counts = await self._store.load_key_counts(user_id, device_id)
            if sum(counts.values()) + len(fresh) > MAX_ONE_TIME_KEYS:
                raise KeyRefused(KeyRefusal.TOO_MANY_KEYS)
        return fresh

    async def _fallback(self, user_id: UserId, device_id: str, keys: Sequence[OneTimeKey]) -> list[Write]:
        """One for each algorithm; the one that is there already stays as it is, used or not."""
        known = {key.algorithm: key for key in await self._store.load_fallback_keys(user_id, device_id)}
        writes: list[Write] = []
        for key in keys:
            before = known.get(key.algorithm)
            if before is None or (before.key_id, before.key) != (key.key_id, key.json):
                writes.append(PutFallbackKey(user_id, device_id, key.algorithm, key.key_id, key.json, used=False))
        return writes

    def known_counts(self, user_id: UserId, device_id: str) -> KeyCounts | None:
        """counts(), where they are in memory."""
        return self._counts.get((user_id, device_id))

    async def counts(self, user_id: UserId, device_id: str) -> KeyCounts:
        """From memory, once they were read."""
        device = (user_id, device_id)
        counts = self._counts.get(device)
        if counts is None:
            one_time = await self._store.load_key_counts(user_id, device_id)
            fallback = await self._store.load_fallback_keys(user_id, device_id)
            unused = tuple(key.algorithm for key in fallback if not key.used)
            counts = self._counts[device] = KeyCounts(one_time, unused, self._taken_at.get(device, 0))
            if len(self._counts) > CACHED_COUNTS:
                self._counts.popitem(last=False)
        return counts

    # -- what others ask for

    async def has_keys(self, user_id: UserId) -> frozenset[str]:
        """The devices of a local user that have keys."""
        return frozenset(row.device_id for row in await self._store.load_device_keys(user_id))

    async def query(self, user_id: UserId, viewer: UserId | None) -> Mapping[str, JsonObject]:
        """The keys of a local user's devices with what `viewer` (None: another server) may see of their signatures.

        Devices without keys, such as those of IRC and XMPP, are not among them.
        """
        keys = await self._keys_of(user_id)
        if not keys:
            return {}
        more = await self.signatures(user_id, viewer)
        names = {row.device_id: row.display_name for row in await self._store.load_devices(user_id)}
        found: dict[str, JsonObject] = {}
        for device_id, json in keys.items():
            shown = with_signatures(json, more.get(device_id, ()))
            name = names.get(device_id)
            unsigned: Json = {} if name is None else {"device_display_name": name}
            found[device_id] = {**shown, "unsigned": unsigned}
        return found

    async def signatures(self, user_id: UserId, viewer: UserId | None) -> Mapping[str, Sequence[Signature]]:
        """What local users have signed of a user's keys and `viewer` may see, by the key that is signed."""
        user_signing = (await self._store.load_cross_signing_keys(user_id)).get("user_signing")
        own_id = None
        if user_signing is not None and user_signing.key is not None:
            own_id = next(iter(orjson.loads(user_signing.key)["keys"]), None)
        found: dict[str, list[Signature]] = {}
        for row in await self._store.load_key_signatures(user_id):
            one = Signature(row.signer, row.signing_key_id, row.signature)
            if is_shown(one, user_id, viewer, own_id):
                found.setdefault(row.key_id, []).append(one)
        return found

    async def _keys_of(self, user_id: UserId) -> dict[str, JsonObject]:
        return {row.device_id: orjson.loads(row.keys) for row in await self._store.load_device_keys(user_id)}

    async def claim(self, user_id: UserId, device_id: str, algorithm: str) -> tuple[str, Json] | None:
        """(`<algorithm>:<key id>`, key): a one-time key that nobody else gets, else the fallback key, else None."""
        device = (user_id, device_id, algorithm)
        busy = sum(1 for claim in self._claiming if claim[:3] == device)
        for key in await self._store.load_unclaimed_keys(user_id, device_id, algorithm, busy + 1):
            claim = (*device, key.key_id)
            if claim in self._claiming:
                continue
            self._claiming.add(claim)
            try:
                await self._take(user_id, device_id, replace(key, key=_digest(key.key), claimed=True))
            finally:
                self._claiming.discard(claim)
            return f"{algorithm}:{key.key_id}", orjson.loads(key.key)
        return await self._claim_fallback(user_id, device_id, algorithm)

    async def _claim_fallback(self, user_id: UserId, device_id: str, algorithm: str) -> tuple[str, Json] | None:
        async with self._changes.of(user_id):
            for key in await self._store.load_fallback_keys(user_id, device_id):
                if key.algorithm == algorithm:
                    if not key.used:
                        await self._take(user_id, device_id, replace(key, used=True))
                    return f"{algorithm}:{key.key_id}", orjson.loads(key.key)
        return None

    async def _take(self, user_id: UserId, device_id: str, row: PutOneTimeKey | PutFallbackKey) -> None:
        position = self._stream.next()
        device = (user_id, device_id)

        def tell() -> None:
            self._counts.pop(device, None)
            self._taken_at[device] = position
            if len(self._taken_at) > CACHED_COUNTS:
                self._taken_at.popitem(last=False)
            self._user_bus.publish(KeyCountsChanged(user_id, position, device_id))

        try:
            await self._stream.commit([row, self._stream.floor()], tell)
        except StoreError as error:
            raise KeyRefused(KeyRefusal.BUSY) from error

    # -- devices come and go

    async def is_key_name(self, user_id: UserId, name: str) -> bool:
        """Whether one of a user's cross-signing keys has this name: no device may have it too.

        spec: client-server-api cross-signing: "Servers therefore must ensure that device IDs will not collide with
        cross-signing public keys"
        """
        found = await self._store.load_cross_signing_keys(user_id)
        return any(f"{ED25519}{name}" in orjson.loads(row.key)["keys"] for row in found.values() if row.key is not None)

    def dropping(self, user_id: UserId, device_ids: Sequence[str]) -> list[Write]:
        """What goes with devices."""
        writes: list[Write] = []
        for device_id in device_ids:
            self._counts.pop((user_id, device_id), None)
            self._taken_at.pop((user_id, device_id), None)
            writes.append(DropDeviceKeys(user_id, device_id))
        return writes


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
