"""Who changed something about devices or keys, and when: the log that /sync and other servers are told from.

Each change has a position in the server's stream, which is its `stream_id` between servers; it names the change of a
device of the same user before it. One row is kept for each device: the newest.
spec: Matrix server-server-api device-management
"""

from collections.abc import Sequence
from typing import Protocol

from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.bus.interface import Bus
from tripoint.core.ids import UserId
from tripoint.rooms.changes import DeviceListChanged, UserChange
from tripoint.store.device_store import DeviceKeyStore
from tripoint.store.device_writes import PutDeviceChange
from tripoint.store.interface import StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import Write

# A change as the log has it.
DeviceChange = PutDeviceChange

# The device that stands for a user's cross-signing keys.
ALL_KEYS = ""


class DeviceChangeLog(Protocol):
    """The log, for readers by position (a part of store.device_store.DeviceKeyStore)."""

    async def load_device_changes(self, after: int, limit: int) -> Sequence[PutDeviceChange]: ...
    async def load_device_change(self, position: int) -> PutDeviceChange | None: ...
    async def load_last_device_change(self, user_id: UserId) -> PutDeviceChange | None: ...


class DeviceChanges:
    """`of(user_id)`: a turn in which to read and write what concerns a user's keys; changes are made inside."""

    def __init__(self, store: DeviceKeyStore, stream: Stream, user_bus: Bus[UserChange]) -> None:
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self.of = InTurn()

    async def commit(
        self,
        user_id: UserId,
        writes: Sequence[Write],
        device_ids: Sequence[str] = (),
        *,
        viewers_only: Sequence[UserId] = (),
    ) -> None:
        """Store `writes`, and that these devices changed (ALL_KEYS: the cross-signing keys).

        `viewers_only`: users whose keys changed for `user_id` alone, who has signed them. Raises StoreError.
        """
        last = await self._store.load_last_device_change(user_id)
        replaced = {one: await self._store.load_device_change_of(user_id, one) for one in device_ids}
        # Nothing is awaited from here to the submission: positions go with their unit.
        previous = 0 if last is None else last.position
        rows: list[Write] = []
        told: list[UserChange] = []
        for device_id in device_ids:
            position, before = self._stream.next(), replaced[device_id]
            rows.append(PutDeviceChange(user_id, device_id, "", position, previous))
            told.append(
                DeviceListChanged(user_id, position, device_id, replaced=0 if before is None else before.position)
            )
            previous = position if device_id != ALL_KEYS else previous
        for other in viewers_only:
            position = self._stream.next()
            rows.append(PutDeviceChange(other, ALL_KEYS, user_id, position, 0))
            told.append(DeviceListChanged(other, position, ALL_KEYS, viewer=user_id))

        def tell() -> None:
            for change in told:
                self._user_bus.publish(change)

        await self._stream.commit([*writes, *rows, self._stream.floor()], tell)

    async def commit_or_refuse(
        self,
        user_id: UserId,
        writes: Sequence[Write],
        device_ids: Sequence[str] = (),
        *,
        viewers_only: Sequence[UserId] = (),
    ) -> None:
        """As commit(); KeyRefused(BUSY) where the store cannot."""
        try:
            await self.commit(user_id, writes, device_ids, viewers_only=viewers_only)
        except StoreError as error:
            raise KeyRefused(KeyRefusal.BUSY) from error
