"""Cross-signing: users' own keys, and what one has signed of one's devices and of others.

The server checks signatures so that a mistake is told to whoever makes it; what a signature means is for clients.
spec: Matrix client-server-api cross-signing, POST /keys/device_signing/upload, POST /keys/signatures/upload
"""

from collections.abc import Awaitable, Callable, Mapping

import orjson
from msgspec import Struct

from tripoint.accounts.device_changes import ALL_KEYS, DeviceChanges
from tripoint.accounts.device_keys import DeviceKeys, KeyStore
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.core.canonical_json import CanonicalJsonError, JsonObject, encode
from tripoint.core.device_keys import (
    ED25519,
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    BadKeys,
    CrossSigningKey,
    check_signature,
    read_cross_signing_key,
    same_key,
    with_signatures,
)
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at, text_at
from tripoint.core.signing import BadSignature
from tripoint.store.device_writes import DropUserKeys, PutCrossSigningKey, PutKeySignature
from tripoint.store.writes import Write


class UploadedKeys(Struct, frozen=True):
    """What /keys/device_signing/upload brings."""

    master: CrossSigningKey | None = None
    self_signing: CrossSigningKey | None = None
    user_signing: CrossSigningKey | None = None

    def given(self) -> list[CrossSigningKey]:
        return [key for key in (self.master, self.self_signing, self.user_signing) if key is not None]


class Failure(Struct, frozen=True):
    """A signature that was not taken: the errcode that the specification has for it, and a sentence."""

    errcode: str
    error: str


class CrossSigning:
    """Raises KeyRefused. `foreign` finds the master key of another server's user, if it can be had."""

    def __init__(self, store: KeyStore, keys: DeviceKeys, changes: DeviceChanges) -> None:
        self._store = store
        self._keys = keys
        self._changes = changes
        self.foreign: Callable[[UserId], Awaitable[JsonObject | None]] | None = None

    async def load(self, user_id: UserId) -> dict[str, CrossSigningKey]:
        """A user's keys as uploaded, by usage."""
        found: dict[str, CrossSigningKey] = {}
        for usage, row in (await self._store.load_cross_signing_keys(user_id)).items():
            if row.key is not None:
                found[usage] = read_cross_signing_key(orjson.loads(row.key), user_id, usage)
        return found

    async def shown(self, user_id: UserId, viewer: UserId | None) -> dict[str, JsonObject]:
        """A local user's keys by usage with what `viewer` (None: another server) may see: the user-signing key is its
        owner's alone. spec: POST /keys/query user_signing_keys"""
        keys = await self.load(user_id)
        if viewer != user_id:
            keys.pop(USER_SIGNING, None)
        if not keys:
            return {}
        more = await self._keys.signatures(user_id, viewer)
        return {usage: with_signatures(key.json, more.get(key.public_key, ())) for usage, key in keys.items()}

    async def brings_new(self, user_id: UserId, uploaded: UploadedKeys) -> bool:
        """Whether the upload changes keys of somebody who has some: that needs the password once more.

        spec: POST /keys/device_signing/upload: not where there is no master key yet, nor where the request contains no
        new keys.
        """
        return _brings_new(await self.load(user_id), uploaded)

    async def upload(self, user_id: UserId, uploaded: UploadedKeys, *, confirmed: bool) -> bool:
        """Keep a user's keys. NO_MASTER_KEY, BAD_SIGNATURE, KEY_IS_A_DEVICE.

        With another master key those go that the old one has signed. False, and nothing is kept, where it needs the
        password and the user has not `confirmed` it: another upload was faster.
        """
        async with self._changes.of(user_id):
            known = await self.load(user_id)
            if not confirmed and _brings_new(known, uploaded):
                return False
            master = uploaded.master if uploaded.master is not None else known.get(MASTER)
            if master is None:
                raise KeyRefused(KeyRefusal.NO_MASTER_KEY)
            await self._check(user_id, master, uploaded)
            writes: list[Write] = []
            if MASTER in known and known[MASTER].public_key != master.public_key:
                for usage in (SELF_SIGNING, USER_SIGNING):
                    if usage in known:
                        writes.append(PutCrossSigningKey(user_id, usage, None))
            for key in uploaded.given():
                before = known.get(key.usage)
                if before is None or encode(before.json) != encode(key.json):
                    writes.append(PutCrossSigningKey(user_id, key.usage, encode(key.json)))
            if writes:
                await self._changes.commit_or_refuse(user_id, writes, [ALL_KEYS])
            return True

    async def _check(self, user_id: UserId, master: CrossSigningKey, uploaded: UploadedKeys) -> None:
        devices = {row.device_id for row in await self._store.load_devices(user_id)}
        names = [key.public_key for key in uploaded.given()]
        if len(set(names)) != len(names):
            raise KeyRefused(KeyRefusal.KEY_IS_A_DEVICE, "Two of these keys are the same")
        for key in uploaded.given():
            if key.public_key in devices:
                raise KeyRefused(KeyRefusal.KEY_IS_A_DEVICE)
            if key.usage != MASTER:
                try:
                    check_signature(key.json, user_id, {master.key_id: master.public_key})
                except BadSignature as error:
                    text = f"{key.usage}_key is not signed by the master key: {error}"
                    raise KeyRefused(KeyRefusal.BAD_SIGNATURE, text) from error

    async def drop(self, user_id: UserId) -> None:
        """The account is closed: its keys, signatures and backups go. StoreError is KeyRefused(BUSY)."""
        async with self._changes.of(user_id):
            had = await self.load(user_id)
            await self._changes.commit_or_refuse(user_id, [DropUserKeys(user_id)], [ALL_KEYS] if had else [])

    # -- signatures

    async def sign(
        self, signer: UserId, signed: Mapping[str, Mapping[str, object]], is_local: Callable[[UserId], bool]
    ) -> dict[str, dict[str, Failure]]:
        """Keep `signer`'s signatures of keys (user → key → signed object); those that cannot be taken, and why."""
        failures: dict[str, dict[str, Failure]] = {}
        writes: list[Write] = []
        changed: list[str] = []
        others: list[UserId] = []
        async with self._changes.of(signer):
            own = await self.load(signer)
            devices = {row.device_id: orjson.loads(row.keys) for row in await self._store.load_device_keys(signer)}
            for user_id, keys in signed.items():
                for key_id, value in keys.items():
                    try:
                        if user_id == signer:
                            target, signing = _own_target(signer, key_id, own, devices)
                        else:
                            target, signing = await self._target_of(UserId(user_id), key_id, own, is_local)
                        fresh = _read(signer, key_id, value, target, signing)
                    except _Failed as failed:
                        failures.setdefault(user_id, {})[key_id] = failed.failure
                        continue
                    for signing_key_id, signature in fresh.items():
                        writes.append(PutKeySignature(UserId(user_id), key_id, signer, signing_key_id, signature))
                    if user_id == signer:
                        changed.append(key_id if key_id in devices else ALL_KEYS)
                    else:
                        others.append(UserId(user_id))
            if writes:
                await self._changes.commit_or_refuse(
                    signer, writes, list(dict.fromkeys(changed)), viewers_only=list(dict.fromkeys(others))
                )
        return failures

    async def _target_of(
        self, user_id: UserId, key_id: str, own: Mapping[str, CrossSigningKey], is_local: Callable[[UserId], bool]
    ) -> tuple[JsonObject, dict[str, str]]:
        """Somebody else's master key, which the signer's user-signing key signs."""
        master: JsonObject | None = None
        if is_local(user_id):
            known = (await self.load(user_id)).get(MASTER)
            master = None if known is None else known.json
        elif self.foreign is not None:
            master = await self.foreign(user_id)
        if master is None or object_at(master, "keys").get(ED25519 + key_id) != key_id:
            raise _Failed("M_NOT_FOUND", "There is no such master key")
        user_signing = own.get(USER_SIGNING)
        if user_signing is None:
            raise _Failed("M_INVALID_SIGNATURE", "You have no user-signing key")
        return master, {user_signing.key_id: user_signing.public_key}


class _Failed(Exception):
    def __init__(self, errcode: str, error: str) -> None:
        self.failure = Failure(errcode, error)


def _brings_new(known: Mapping[str, CrossSigningKey], uploaded: UploadedKeys) -> bool:
    if MASTER not in known:
        return False
    return any(key.usage not in known or not same_key(key.json, known[key.usage].json) for key in uploaded.given())


def _own_target(
    signer: UserId, key_id: str, own: Mapping[str, CrossSigningKey], devices: Mapping[str, JsonObject]
) -> tuple[JsonObject, dict[str, str]]:
    """What of one's own is signed, and by which keys it may be: a device by the self-signing key, the master key by
    devices. spec: client-server-api cross-signing"""
    device = devices.get(key_id)
    if device is not None:
        self_signing = own.get(SELF_SIGNING)
        if self_signing is None:
            raise _Failed("M_INVALID_SIGNATURE", "You have no self-signing key")
        return device, {self_signing.key_id: self_signing.public_key}
    master = own.get(MASTER)
    if master is None or master.public_key != key_id:
        raise _Failed("M_NOT_FOUND", "There is no such device or key of yours")
    prints = {ED25519 + one: text_at(object_at(json, "keys"), ED25519 + one) for one, json in devices.items()}
    return master.json, {name: value for name, value in prints.items() if value is not None}


def _read(
    signer: UserId, key_id: str, value: object, target: JsonObject, signing: Mapping[str, str]
) -> dict[str, str]:
    """The signatures of `signer` that a signed object holds, each of them checked."""
    if not isinstance(value, dict):
        raise _Failed("M_INVALID_PARAM", "A signed key is an object")
    try:
        if not same_key(value, target):
            raise _Failed("M_INVALID_PARAM", f"{key_id} is not as it was uploaded")
        check_signature(value, signer, signing)
    except (BadSignature, BadKeys, CanonicalJsonError) as error:
        raise _Failed("M_INVALID_SIGNATURE", str(error)) from error
    own = object_at(object_at(value, "signatures"), signer)
    return {name: text for name, text in own.items() if name in signing and isinstance(text, str)}
