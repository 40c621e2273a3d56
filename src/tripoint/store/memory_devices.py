"""Devices' keys, messages to devices and backups in memory; a part of memory.MemoryStore."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tripoint.core.ids import ServerName, UserId
from tripoint.store.device_store import Waiting
from tripoint.store.device_writes import (
    DeviceWrite,
    DropBackedUpKeys,
    DropDeviceKeys,
    DropOutgoingMessages,
    DropRemoteDevices,
    DropToDevice,
    DropUserKeys,
    PutBackedUpKey,
    PutCrossSigningKey,
    PutDehydratedDevice,
    PutDeviceChange,
    PutDeviceKeys,
    PutFallbackKey,
    PutKeyBackup,
    PutKeySignature,
    PutOneTimeKey,
    PutOutgoingMessage,
    PutRemoteDevice,
    PutRemoteDeviceList,
    PutSeenMessage,
    PutToDevice,
    TrimClaimedKeys,
    TrimSeenMessages,
)

K = TypeVar("K")
V = TypeVar("V")


class DevicesInMemory:
    """store.device_store.DeviceStore in dictionaries."""

    def __init__(self) -> None:
        self.device_keys: dict[tuple[UserId, str], PutDeviceKeys] = {}
        self.one_time_keys: dict[tuple[UserId, str, str, str], PutOneTimeKey] = {}
        self.fallback_keys: dict[tuple[UserId, str, str], PutFallbackKey] = {}
        self.cross_signing_keys: dict[tuple[UserId, str], PutCrossSigningKey] = {}
        self.key_signatures: dict[tuple[UserId, str, UserId, str], PutKeySignature] = {}
        self.device_changes: dict[tuple[UserId, str, str], PutDeviceChange] = {}
        self.to_device: dict[tuple[UserId, str, int], PutToDevice] = {}
        self.outgoing: dict[tuple[ServerName, int], PutOutgoingMessage] = {}
        self.seen_messages: dict[tuple[str, str], PutSeenMessage] = {}
        self.remote_device_lists: dict[UserId, PutRemoteDeviceList] = {}
        self.remote_devices: dict[tuple[UserId, str], PutRemoteDevice] = {}
        self.key_backups: dict[tuple[UserId, int], PutKeyBackup] = {}
        self.backed_up_keys: dict[tuple[UserId, int, str, str], PutBackedUpKey] = {}
        self.dehydrated: dict[UserId, PutDehydratedDevice] = {}

    def apply(self, write: DeviceWrite) -> None:
        match write:
            case PutDeviceKeys():
                self.device_keys[write.user_id, write.device_id] = write
            case PutOneTimeKey():
                self.one_time_keys[write.user_id, write.device_id, write.algorithm, write.key_id] = write
            case TrimClaimedKeys():
                self._trim_claimed(write)
            case PutFallbackKey():
                self.fallback_keys[write.user_id, write.device_id, write.algorithm] = write
            case DropDeviceKeys():
                self._drop_device(write.user_id, write.device_id)
            case PutCrossSigningKey():
                put(self.cross_signing_keys, (write.user_id, write.usage), write, write.key is None)
            case PutKeySignature():
                self.key_signatures[write.user_id, write.key_id, write.signer, write.signing_key_id] = write
            case DropUserKeys():
                self.drop_user(write.user_id)
            case PutDeviceChange():
                self.device_changes[write.user_id, write.device_id, write.viewer] = write
            case PutToDevice():
                self.to_device[write.user_id, write.device_id, write.position] = write
            case DropToDevice():
                whose = (write.user_id, write.device_id)
                drop(self.to_device, lambda key, _: key[:2] == whose and key[2] <= write.upto)
            case PutOutgoingMessage():
                self.outgoing[write.server, write.position] = write
            case DropOutgoingMessages():
                drop(self.outgoing, lambda key, _: key[0] == write.server and key[1] <= write.upto)
            case PutSeenMessage():
                self.seen_messages[write.scope, write.message_id] = write
            case TrimSeenMessages():
                drop(self.seen_messages, lambda _, seen: seen.ts_ms < write.before_ms)
            case PutRemoteDeviceList():
                put(self.remote_device_lists, write.user_id, write, write.stream_id is None)
            case PutRemoteDevice():
                put(self.remote_devices, (write.user_id, write.device_id), write, write.keys is None)
            case DropRemoteDevices():
                drop(self.remote_devices, lambda key, _: key[0] == write.user_id)
                drop(self.cross_signing_keys, lambda key, _: key[0] == write.user_id)
            case PutKeyBackup():
                self.key_backups[write.user_id, write.version] = write
            case PutBackedUpKey():
                session = (write.user_id, write.version, write.room_id, write.session_id)
                put(self.backed_up_keys, session, write, write.data is None)
            case DropBackedUpKeys():
                backup, room_id = (write.user_id, write.version), write.room_id
                drop(self.backed_up_keys, lambda key, _: key[:2] == backup and room_id in (None, key[2]))
            case PutDehydratedDevice():
                put(self.dehydrated, write.user_id, write, write.device_id is None)

    def _trim_claimed(self, write: TrimClaimedKeys) -> None:
        whose = (write.user_id, write.device_id, write.algorithm)
        claimed = [key for key in self.one_time_keys.values() if key.claimed and _whose(key) == whose]
        claimed.sort(key=lambda key: (-key.position, key.key_id))
        for key in claimed[write.keep :]:
            del self.one_time_keys[*whose, key.key_id]

    def _drop_device(self, user_id: UserId, device_id: str) -> None:
        device = (user_id, device_id)
        self.device_keys.pop(device, None)
        drop(self.one_time_keys, lambda key, _: key[:2] == device)
        drop(self.fallback_keys, lambda key, _: key[:2] == device)
        drop(self.to_device, lambda key, _: key[:2] == device)
        drop(self.key_signatures, lambda key, _: key[:2] == device)
        drop(self.dehydrated, lambda user, kept: (user, kept.device_id) == device)
        drop(self.seen_messages, lambda key, _: key[0] == f"{user_id} {device_id}")

    def drop_user(self, user_id: UserId) -> None:
        """All that goes with an account."""
        drop(self.device_keys, lambda key, _: key[0] == user_id)
        drop(self.one_time_keys, lambda key, _: key[0] == user_id)
        drop(self.fallback_keys, lambda key, _: key[0] == user_id)
        drop(self.to_device, lambda key, _: key[0] == user_id)
        drop(self.cross_signing_keys, lambda key, _: key[0] == user_id)
        drop(self.key_signatures, lambda key, _: user_id in (key[0], key[2]))
        drop(self.key_backups, lambda key, _: key[0] == user_id)
        drop(self.backed_up_keys, lambda key, _: key[0] == user_id)
        self.dehydrated.pop(user_id, None)

    # -- keys

    async def load_device_keys(self, user_id: UserId) -> Sequence[PutDeviceKeys]:
        return [write for key, write in sorted(self.device_keys.items()) if key[0] == user_id]

    async def load_one_time_key(
        self, user_id: UserId, device_id: str, algorithm: str, key_id: str
    ) -> PutOneTimeKey | None:
        return self.one_time_keys.get((user_id, device_id, algorithm, key_id))

    async def load_unclaimed_keys(
        self, user_id: UserId, device_id: str, algorithm: str, limit: int
    ) -> Sequence[PutOneTimeKey]:
        whose = (user_id, device_id, algorithm)
        found = [key for key in self.one_time_keys.values() if not key.claimed and _whose(key) == whose]
        return sorted(found, key=lambda key: (key.position, key.key_id))[:limit]

    async def load_key_counts(self, user_id: UserId, device_id: str) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for key, write in self.one_time_keys.items():
            if key[:2] == (user_id, device_id) and not write.claimed:
                counts[write.algorithm] = counts.get(write.algorithm, 0) + 1
        return counts

    async def load_fallback_keys(self, user_id: UserId, device_id: str) -> Sequence[PutFallbackKey]:
        return [write for key, write in sorted(self.fallback_keys.items()) if key[:2] == (user_id, device_id)]

    async def load_cross_signing_keys(self, user_id: UserId) -> Mapping[str, PutCrossSigningKey]:
        return {usage: write for (user, usage), write in self.cross_signing_keys.items() if user == user_id}

    async def load_key_signatures(self, user_id: UserId) -> Sequence[PutKeySignature]:
        return [write for key, write in sorted(self.key_signatures.items()) if key[0] == user_id]

    async def load_last_device_change(self, user_id: UserId) -> PutDeviceChange | None:
        changes = [write for key, write in self.device_changes.items() if key[0] == user_id and key[1] and not key[2]]
        return max(changes, key=lambda write: write.position, default=None)

    async def load_device_changes(self, after: int, limit: int) -> Sequence[PutDeviceChange]:
        found = [write for write in self.device_changes.values() if write.position > after]
        return sorted(found, key=lambda write: write.position)[:limit]

    async def load_device_change(self, position: int) -> PutDeviceChange | None:
        return next((write for write in self.device_changes.values() if write.position == position), None)

    async def load_device_change_of(self, user_id: UserId, device_id: str) -> PutDeviceChange | None:
        return self.device_changes.get((user_id, device_id, ""))

    async def load_dehydrated_device(self, user_id: UserId) -> PutDehydratedDevice | None:
        return self.dehydrated.get(user_id)

    # -- other servers' users

    async def load_remote_device_list(self, user_id: UserId) -> PutRemoteDeviceList | None:
        return self.remote_device_lists.get(user_id)

    async def load_remote_devices(self, user_id: UserId) -> Sequence[PutRemoteDevice]:
        return [write for key, write in sorted(self.remote_devices.items()) if key[0] == user_id]

    # -- messages

    async def load_to_device(
        self, user_id: UserId, device_id: str, *, after: int, upto: int, limit: int
    ) -> Sequence[PutToDevice]:
        found = [
            write
            for key, write in sorted(self.to_device.items())
            if key[:2] == (user_id, device_id) and after < key[2] <= upto
        ]
        return found[:limit]

    async def load_waiting(self, user_id: UserId, device_id: str) -> Waiting:
        found = {key[2]: write.json for key, write in self.to_device.items() if key[:2] == (user_id, device_id)}
        return _waiting(found)

    async def load_outgoing_servers(self) -> Sequence[ServerName]:
        return sorted({server for server, _ in self.outgoing})

    async def load_outgoing_messages(self, server: ServerName, after: int, limit: int) -> Sequence[PutOutgoingMessage]:
        found = [write for key, write in sorted(self.outgoing.items()) if key[0] == server and key[1] > after]
        return found[:limit]

    async def load_outgoing(self, server: ServerName) -> Waiting:
        return _waiting({key[1]: write.content for key, write in self.outgoing.items() if key[0] == server})

    async def is_seen(self, scope: str, message_id: str) -> bool:
        return (scope, message_id) in self.seen_messages

    # -- backups

    async def load_key_backups(self, user_id: UserId) -> Sequence[PutKeyBackup]:
        return [write for key, write in sorted(self.key_backups.items()) if key[0] == user_id]

    async def load_backed_up_key(
        self, user_id: UserId, version: int, room_id: str, session_id: str
    ) -> PutBackedUpKey | None:
        return self.backed_up_keys.get((user_id, version, room_id, session_id))

    async def load_backed_up_keys(
        self, user_id: UserId, version: int, *, room_id: str | None, after: tuple[str, str], limit: int
    ) -> Sequence[PutBackedUpKey]:
        found = [
            write
            for key, write in sorted(self.backed_up_keys.items())
            if key[:2] == (user_id, version) and room_id in (None, key[2]) and key[2:] > after
        ]
        return found[:limit]

    async def count_backed_up_keys(self, user_id: UserId, version: int, room_id: str | None = None) -> int:
        return sum(1 for key in self.backed_up_keys if key[:2] == (user_id, version) and room_id in (None, key[2]))


def _whose(key: PutOneTimeKey) -> tuple[UserId, str, str]:
    return key.user_id, key.device_id, key.algorithm


def _waiting(found: Mapping[int, bytes]) -> Waiting:
    if not found:
        return Waiting()
    return Waiting(len(found), sum(map(len, found.values())), min(found), max(found))


def put(table: dict[K, V], key: K, value: V, delete: bool) -> None:
    """Set an entry, or take it away."""
    if delete:
        table.pop(key, None)
    else:
        table[key] = value


def drop(table: dict[K, V], gone: Callable[[K, V], bool]) -> None:
    """Take away every entry of which this holds."""
    for key in [key for key, value in table.items() if gone(key, value)]:
        del table[key]
