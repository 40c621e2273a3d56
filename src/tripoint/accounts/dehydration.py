"""Dehydrated devices: one for each user, kept by the server to collect room keys while nobody is logged in.

It is a device of the account with keys and a queue of messages, without a token. spec: MSC3814
"""

from collections.abc import Sequence

import orjson

from tripoint.accounts.device_changes import DeviceChanges
from tripoint.accounts.device_keys import DeviceKeys, KeyStore
from tripoint.accounts.devices import MAX_DISPLAY_NAME, Devices
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.accounts.to_device import Page, ToDevice
from tripoint.core.canonical_json import JsonObject, encode
from tripoint.core.device_keys import OneTimeKey
from tripoint.core.ids import UserId
from tripoint.store.device_writes import PutDehydratedDevice, PutDeviceKeys
from tripoint.store.writes import PutDevice


class Dehydration:
    """Raises KeyRefused."""

    def __init__(
        self, store: KeyStore, devices: Devices, keys: DeviceKeys, changes: DeviceChanges, messages: ToDevice
    ) -> None:
        self._store = store
        self._devices = devices
        self._keys = keys
        self._changes = changes
        self._messages = messages

    async def put(
        self,
        user_id: UserId,
        device_id: str,
        data: JsonObject,
        display_name: str | None,
        keys: JsonObject,
        one_time: Sequence[OneTimeKey],
        fallback: Sequence[OneTimeKey],
        now_ms: int,
    ) -> None:
        """Take a new one; the one before it goes. KEY_IS_A_DEVICE where the id is another device's."""
        before = await self.get(user_id)
        if before is not None:
            await self.delete(user_id)
        if any(row.device_id == device_id for row in await self._store.load_devices(user_id)):
            raise KeyRefused(KeyRefusal.KEY_IS_A_DEVICE)
        async with self._changes.of(user_id):
            name = None if display_name is None else display_name[:MAX_DISPLAY_NAME]
            await self._changes.commit_or_refuse(
                user_id,
                [
                    PutDevice(user_id, device_id, "matrix", name, now_ms),
                    PutDehydratedDevice(user_id, device_id, orjson.dumps(data)),
                    PutDeviceKeys(user_id, device_id, encode(keys)),
                ],
                [device_id],
            )
        await self._keys.upload(user_id, device_id, None, one_time, fallback)

    async def get(self, user_id: UserId) -> tuple[str, JsonObject] | None:
        """(device id, what it is made of again), if there is one."""
        row = await self._store.load_dehydrated_device(user_id)
        if row is None or row.device_id is None:
            return None
        return row.device_id, orjson.loads(row.data)

    async def delete(self, user_id: UserId) -> str:
        """NO_DEHYDRATED_DEVICE where there is none."""
        found = await self.get(user_id)
        if found is None:
            raise KeyRefused(KeyRefusal.NO_DEHYDRATED_DEVICE)
        await self._devices.drop(user_id, [found[0]], "replaced")
        return found[0]

    async def events(self, user_id: UserId, device_id: str, after: int, upto: int) -> Page:
        """Messages that have come for it; none of them goes. NOT_THE_DEHYDRATED_DEVICE.

        spec: MSC3814: "the server should *not* delete any to-device messages delivered in previous batches"
        """
        found = await self.get(user_id)
        if found is None or found[0] != device_id:
            raise KeyRefused(KeyRefusal.NOT_THE_DEHYDRATED_DEVICE)
        return await self._messages.page(user_id, device_id, after, upto)
