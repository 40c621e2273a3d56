"""The devices of other servers' users, as far as they are known here, on disk.

A list is good as long as every update since it was had has come, each naming the one before it; otherwise it is stale,
and is asked for again before it is used. Who asks is matrix/federation/remote_devices.py.
spec: Matrix server-server-api device-management
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import orjson
from msgspec import Struct

from tripoint.accounts.device_changes import ALL_KEYS
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.rooms.changes import DeviceListChanged, UserChange
from tripoint.store.device_store import DeviceKeyStore, RemoteDeviceStore
from tripoint.store.device_writes import (
    DropRemoteDevices,
    PutCrossSigningKey,
    PutDeviceChange,
    PutRemoteDevice,
    PutRemoteDeviceList,
)
from tripoint.store.interface import StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import Write


class RemoteListStore(DeviceKeyStore, RemoteDeviceStore, Protocol):
    """The parts of the store that are used here."""


class RemoteDevice(Struct, frozen=True):
    device_id: str
    keys: JsonObject
    display_name: str | None


class RemoteList(Struct, frozen=True):
    """A user's devices with keys, and the cross-signing keys that everybody may see, by usage."""

    stream_id: int
    devices: Sequence[RemoteDevice]
    keys: Mapping[str, JsonObject]


class RemoteLists:
    """Raises KeyRefused(BUSY) where something could not be kept."""

    def __init__(self, store: RemoteListStore, stream: Stream, user_bus: Bus[UserChange]) -> None:
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self._turn = InTurn()

    async def get(self, user_id: UserId) -> RemoteList | None:
        """The list, if it is known and good."""
        row = await self._store.load_remote_device_list(user_id)
        if row is None or row.stale or row.stream_id is None:
            return None
        return await self._read(user_id, row.stream_id)

    async def get_old(self, user_id: UserId) -> RemoteList | None:
        """The list as it was last known, good or not."""
        row = await self._store.load_remote_device_list(user_id)
        return None if row is None or row.stream_id is None else await self._read(user_id, row.stream_id)

    async def _read(self, user_id: UserId, stream_id: int) -> RemoteList:
        devices = [
            RemoteDevice(one.device_id, orjson.loads(one.keys or b"{}"), one.display_name)
            for one in await self._store.load_remote_devices(user_id)
        ]
        keys = await self._store.load_cross_signing_keys(user_id)
        return RemoteList(
            stream_id, devices, {usage: orjson.loads(key.key) for usage, key in keys.items() if key.key is not None}
        )

    async def replace(self, user_id: UserId, whole: RemoteList) -> None:
        """What the user's server says now takes the place of what was known. Told where it differs."""
        async with self._turn(user_id):
            old = await self.get_old(user_id)
            writes: list[Write] = [DropRemoteDevices(user_id)]
            for device in whole.devices:
                writes.append(
                    PutRemoteDevice(user_id, device.device_id, orjson.dumps(device.keys), device.display_name)
                )
            for usage, key in whole.keys.items():
                writes.append(PutCrossSigningKey(user_id, usage, orjson.dumps(key)))
            writes.append(PutRemoteDeviceList(user_id, whole.stream_id, stale=False))
            differs = old is not None and (_by_id(old), dict(old.keys)) != (_by_id(whole), dict(whole.keys))
            await self._commit(user_id, writes, told=differs)

    async def update(
        self, user_id: UserId, stream_id: int, previous: Sequence[int], device_id: str, device: RemoteDevice | None
    ) -> None:
        """One device changed (None: it is gone, or has no keys). Told, if the user is known here at all.

        spec: "If a server receives an EDU which refers to a prev_id it does not recognise, it must resynchronise"
        """
        async with self._turn(user_id):
            row = await self._store.load_remote_device_list(user_id)
            if row is None or row.stream_id is None or (stream_id == row.stream_id and not row.stale):
                return
            if row.stale or row.stream_id not in previous or max(previous) > row.stream_id or stream_id < row.stream_id:
                await self._commit(user_id, [PutRemoteDeviceList(user_id, row.stream_id, stale=True)], told=True)
                return
            keys = None if device is None else orjson.dumps(device.keys)
            name = None if device is None else device.display_name
            await self._commit(
                user_id,
                [
                    PutRemoteDevice(user_id, device_id, keys, name),
                    PutRemoteDeviceList(user_id, stream_id, stale=False),
                ],
                told=True,
            )

    async def update_keys(self, user_id: UserId, keys: Mapping[str, JsonObject]) -> None:
        """Cross-signing keys changed. Told, if the user is known here at all."""
        async with self._turn(user_id):
            if await self._store.load_remote_device_list(user_id) is None:
                return
            writes: list[Write] = [PutCrossSigningKey(user_id, usage, orjson.dumps(key)) for usage, key in keys.items()]
            await self._commit(user_id, writes, told=True)

    async def doubt(self, user_id: UserId) -> None:
        """Updates may not come any more: the user shares no room with this server, or may not."""
        async with self._turn(user_id):
            row = await self._store.load_remote_device_list(user_id)
            if row is not None and not row.stale:
                await self._commit(user_id, [PutRemoteDeviceList(user_id, row.stream_id, stale=True)], told=False)

    async def _commit(self, user_id: UserId, writes: list[Write], *, told: bool) -> None:
        tell: Callable[[], None] | None = None
        if told:
            before = await self._store.load_device_change_of(user_id, ALL_KEYS)
            position = self._stream.next()
            replaced = 0 if before is None else before.position
            change = DeviceListChanged(user_id, position, ALL_KEYS, replaced=replaced)
            writes += [PutDeviceChange(user_id, ALL_KEYS, "", position, 0), self._stream.floor()]

            tell = partial(self._user_bus.publish, change)

        try:
            await self._stream.commit(writes, tell)
        except StoreError as error:
            raise KeyRefused(KeyRefusal.BUSY) from error


def _by_id(whole: RemoteList) -> dict[str, tuple[JsonObject, str | None]]:
    return {device.device_id: (device.keys, device.display_name) for device in whole.devices}
