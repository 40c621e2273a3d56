"""What a sync says of devices: messages to this one, whose keys changed, how many keys of its own are left.

spec: Matrix client-server-api extensions-to-sync (send-to-device), e2e-extensions-to-sync
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator

import orjson
from msgspec import Struct

from tripoint.accounts.device_keys import CACHED_COUNTS, KeyCounts
from tripoint.accounts.encryption import Encryption
from tripoint.accounts.to_device import NOTHING
from tripoint.core.ids import DeviceId, ServerName, UserId, server_of
from tripoint.matrix.sync.device_lists import DeviceLists
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.changes import DeviceListChanged, RoomChange
from tripoint.rooms.ports import RoomReader


class News(Struct, frozen=True):
    """Members of an answer, each with a comma before it. `to_device`: how far messages were told, if not all were."""

    parts: bytes
    is_news: bool
    to_device: int | None = None


class DeviceNews:
    """`server` is this server's name."""

    def __init__(self, server: ServerName, reader: RoomReader, encryption: Encryption) -> None:
        self._server = server
        self._reader = reader
        self._keys = encryption.keys
        self._messages = encryption.messages
        # What was said of a device's own keys last time, where nothing else was to be said.
        self._said: OrderedDict[tuple[UserId, str], tuple[KeyCounts, News]] = OrderedDict()
        self.lists = DeviceLists(server, reader, encryption.changes)

    def room_changed(self, change: RoomChange) -> None:
        self.lists.room_changed(change)

    def list_changed(self, change: DeviceListChanged, waiting: Collection[UserId]) -> Iterator[UserId]:
        """Those of the waiting users who are to hear of it at once. Others hear of it when they sync next."""
        self.lists.user_changed(change)
        if change.viewer is not None:
            yield change.viewer
            return
        yield change.user_id
        if server_of(change.user_id) == self._server:
            rooms = [room for one in self._reader.joined_rooms(change.user_id) if (room := self._reader.peek(one))]
            yield from {user_id for room in rooms for user_id in _both(room.joined(), waiting)}
            return
        for user_id in waiting:
            for room_id in self._reader.joined_rooms(user_id):
                room = self._reader.peek(room_id)
                if room is not None and change.user_id in room.joined():
                    yield user_id
                    break

    def is_quiet(self, user_id: UserId, device_id: DeviceId) -> bool:
        """Whether nothing waits for a device that could be acknowledged, as far as that is known from memory."""
        return self._messages.is_quiet(user_id, device_id)

    async def acknowledge(self, user_id: UserId, device_id: DeviceId, since: SyncToken) -> None:
        """The device has what was told up to a token. spec: "delete them from the store" """
        await self._messages.acknowledge(user_id, device_id, since.messages)

    def nothing_since(self, user_id: UserId, device_id: DeviceId, since: SyncToken | None) -> News | None:
        """since() where nothing is new, as far as that is known from memory: nearly always."""
        known = self._said.get((user_id, device_id))
        if known is None or since is None or known[0] is not self._keys.known_counts(user_id, device_id):
            return None
        position = since.position
        if known[0].position > position or not self._messages.is_quiet(user_id, device_id):
            return None
        return None if self.lists.may_have_moved(user_id, position) else known[1]

    async def since(self, user_id: UserId, device_id: DeviceId, since: SyncToken | None, upto: SyncToken) -> News:
        """What is to be told between two tokens."""
        counts = await self._keys.counts(user_id, device_id)
        known = self._said.get((user_id, device_id))
        if known is None or known[0] is not counts:
            known = self._said[user_id, device_id] = counts, News(_said(counts), False)
            if len(self._said) > CACHED_COUNTS:
                self._said.popitem(last=False)
        parts = [known[1].parts]
        position = since.position if since is not None else 0
        is_news = counts.position > position
        page = NOTHING
        if not self._messages.is_quiet(user_id, device_id):
            after = since.messages if since is not None else 0
            page = await self._messages.page(user_id, device_id, after, upto.position)
        if page.events:
            is_news = True
            parts += [b',"to_device":{"events":[', b",".join(page.events), b"]}"]
        # spec: "Note: only present on an incremental sync"
        if since is not None and self.lists.may_have_moved(user_id, position):
            changed, left = await self.lists.since(user_id, position)
            if changed or left:
                is_news = True
                parts += [b',"device_lists":', orjson.dumps({"changed": changed, "left": left})]
        return News(b"".join(parts), is_news, page.upto if page.more else None)


def _said(counts: KeyCounts) -> bytes:
    said = b',"device_unused_fallback_key_types":' + orjson.dumps(counts.unused_fallback)
    if counts.one_time:
        said += b',"device_one_time_keys_count":' + orjson.dumps(counts.one_time)
    return said


def _both(one: Collection[UserId], other: Collection[UserId]) -> Iterator[UserId]:
    small, large = (one, other) if len(one) < len(other) else (other, one)
    return (user_id for user_id in small if user_id in large)
