"""The part of the store's door that devices' keys, messages to devices and key backups go through.

As in interface.py: absent is None or empty, never an exception; tests/contract holds every store to it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.core.ids import ServerName, UserId
from tripoint.store.device_writes import (
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
    PutToDevice,
)


class Waiting(Struct, frozen=True):
    """Messages that wait: how many, how many bytes, and the positions of the oldest and the newest (0: none)."""

    count: int = 0
    size: int = 0
    oldest: int = 0
    newest: int = 0


class DeviceKeyStore(Protocol):
    """Keys of local devices, cross-signing keys, and who changed."""

    async def load_device_keys(self, user_id: UserId) -> Sequence[PutDeviceKeys]:
        """The devices of a local user that have keys, by their ids."""

    async def load_one_time_key(self, user_id: UserId, device_id: str, algorithm: str, key_id: str) -> (
        PutOneTimeKey | None
    ):
        """One key by its id, claimed or not."""

    async def load_unclaimed_keys(
        self, user_id: UserId, device_id: str, algorithm: str, limit: int
    ) -> Sequence[PutOneTimeKey]:
        """The next keys to be given out, in the order in which they were uploaded."""

    async def load_key_counts(self, user_id: UserId, device_id: str) -> Mapping[str, int]:
        """How many keys of each algorithm are unclaimed."""

    async def load_fallback_keys(self, user_id: UserId, device_id: str) -> Sequence[PutFallbackKey]:
        """By their algorithms."""

    async def load_cross_signing_keys(self, user_id: UserId) -> Mapping[str, PutCrossSigningKey]:
        """By their usages."""

    async def load_key_signatures(self, user_id: UserId) -> Sequence[PutKeySignature]:
        """What local users have signed of a user's keys."""

    async def load_last_device_change(self, user_id: UserId) -> PutDeviceChange | None:
        """The newest change of a device of a user that concerns everybody."""

    async def load_device_changes(self, after: int, limit: int) -> Sequence[PutDeviceChange]:
        """Changes after a position, of all users, in their order."""

    async def load_device_change(self, position: int) -> PutDeviceChange | None:
        """The change at a position, while nothing newer has taken its place."""

    async def load_device_change_of(self, user_id: UserId, device_id: str) -> PutDeviceChange | None:
        """The newest change of one device that concerns everybody."""

    async def load_dehydrated_device(self, user_id: UserId) -> PutDehydratedDevice | None: ...


class RemoteDeviceStore(Protocol):
    """What is known of other servers' users."""

    async def load_remote_device_list(self, user_id: UserId) -> PutRemoteDeviceList | None: ...
    async def load_remote_devices(self, user_id: UserId) -> Sequence[PutRemoteDevice]:
        """By their ids."""

    async def load_cross_signing_keys(self, user_id: UserId) -> Mapping[str, PutCrossSigningKey]:
        """By their usages."""


class MessageStore(Protocol):
    """Messages to devices that wait, here and for other servers."""

    async def load_to_device(
        self, user_id: UserId, device_id: str, *, after: int, upto: int, limit: int
    ) -> Sequence[PutToDevice]:
        """The messages for a device with after < position <= upto, the oldest first."""

    async def load_waiting(self, user_id: UserId, device_id: str) -> Waiting:
        """How much waits for a device."""

    async def load_outgoing_servers(self) -> Sequence[ServerName]:
        """Servers for which messages wait."""

    async def load_outgoing_messages(self, server: ServerName, after: int, limit: int) -> Sequence[PutOutgoingMessage]:
        """The messages for a server after a position, the oldest first."""

    async def load_outgoing(self, server: ServerName) -> Waiting:
        """How much waits for a server."""

    async def is_seen(self, scope: str, message_id: str) -> bool: ...


class BackupStore(Protocol):
    """Key backups."""

    async def load_key_backups(self, user_id: UserId) -> Sequence[PutKeyBackup]:
        """All versions that a user ever made, the oldest first, the deleted ones too."""

    async def load_backed_up_key(
        self, user_id: UserId, version: int, room_id: str, session_id: str
    ) -> PutBackedUpKey | None: ...
    async def load_backed_up_keys(
        self, user_id: UserId, version: int, *, room_id: str | None, after: tuple[str, str], limit: int
    ) -> Sequence[PutBackedUpKey]:
        """Keys of a backup, all or of one room, by room and session; those after the one of this room and session."""

    async def count_backed_up_keys(self, user_id: UserId, version: int, room_id: str | None = None) -> int: ...


class DeviceStore(DeviceKeyStore, RemoteDeviceStore, MessageStore, BackupStore, Protocol):
    """All of it."""
