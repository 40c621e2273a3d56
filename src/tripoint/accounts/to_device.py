"""Messages to devices: each reaches each device once, and waits until the device, or the other server, has it.

For local devices a message is a row with a position of the stream; a device that syncs with a token at or behind that
position has it, and it goes. For other servers it waits in a queue of that server and is sent as m.direct_to_device.
Ids of transactions (from clients) and of messages (from servers) are kept, so that what comes twice counts once.

Bounds: a device has at most MAX_WAITING messages or MAX_WAITING_BYTES, a server MAX_OUTGOING and MAX_OUTGOING_BYTES;
beyond these the oldest go, which is said in the log. docs/decisions/devices.md says why.
spec: Matrix client-server-api send-to-device-messaging; server-server-api send-to-device-messaging
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Final, Protocol

import orjson
import structlog
from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName, UserId, server_of
from tripoint.rooms.changes import DeviceMessage, MessagesQueued, UserChange
from tripoint.store.device_store import MessageStore, Waiting
from tripoint.store.device_writes import (
    DropOutgoingMessages,
    DropToDevice,
    PutOutgoingMessage,
    PutSeenMessage,
    PutToDevice,
    TrimSeenMessages,
)
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import Write

log = structlog.get_logger()

# A month of a busy phone's room keys; one that is away for longer asks for what it lacks, or has the backup.
MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
# A server that is away: as many, for all its users together.
MAX_OUTGOING: Final = 50_000
MAX_OUTGOING_BYTES: Final = 256 * 1024 * 1024
# How much of a queue goes when it is full: not one by one.
SHARE_DROPPED: Final = 10
# spec: "100 messages is recommended as a reasonable limit" (of one sync)
PAGE: Final = 100
# As for events. One request's messages are bounded by its body.
MAX_MESSAGE_BYTES: Final = 65_536
# Devices of all users in one request; clients send to 20 or 100 at a time.
MAX_DEVICES: Final = 5_000
# A server that did not hear the answer may send the same for as long as it was away.
SEEN_MS: Final = 30 * 24 * 60 * 60_000
# Devices whose queues are known from memory.
CACHED_QUEUES: Final = 20_000
# Users and devices after which others run in between.
PER_TURN: Final = 50
EVERY_DEVICE: Final = "*"

# user -> device, or EVERY_DEVICE -> content
Messages = Mapping[UserId, Mapping[str, JsonObject]]


class MessagingStore(AccountStore, MessageStore, Protocol):
    """The parts of the store that are used here."""


class Page(Struct, frozen=True):
    """Messages for a device, and the position up to which these are all. `events` are JSON."""

    events: Sequence[bytes]
    upto: int
    more: bool


NOTHING: Final = Page((), 0, False)


class ToDevice:
    """See the module. `server` is this server's name."""

    def __init__(
        self,
        server: ServerName,
        store: MessagingStore,
        stream: Stream,
        user_bus: Bus[UserChange],
        clock_ms: Callable[[], int],
    ) -> None:
        self._server = server
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self._clock_ms = clock_ms
        self._queues: OrderedDict[tuple[UserId, str], Waiting] = OrderedDict()
        self._outgoing: dict[ServerName, Waiting] = {}
        # Messages on their way to the disk, by scope and id: one that comes again waits for the first.
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._trimmed_ms = 0

    # -- sending

    async def send(self, sender: UserId, device_id: str, txn_id: str, type_: str, messages: Messages) -> None:
        """What a local device sends; a transaction id that it used before for this type does nothing. TOO_LARGE, BUSY.

        spec: client-server-api transaction-identifiers: "and the path of the HTTP request is the same"
        """
        _check(messages)
        scope, once = f"{sender} {device_id}", f"{type_}\n{txn_id}"
        await self._once(scope, once, lambda: self._send(scope, once, sender, type_, messages))

    async def receive(
        self, origin: ServerName, message_id: str, sender: UserId, type_: str, messages: Messages
    ) -> None:
        """What another server sends for local users. As send(); messages for others are left out."""
        _check(messages)
        own = {user_id: devices for user_id, devices in messages.items() if server_of(user_id) == self._server}
        await self._once(origin, message_id, lambda: self._send(origin, message_id, sender, type_, own))

    async def _once(self, scope: str, message_id: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        running = self._running.get((scope, message_id))
        if running is None:

            async def first() -> None:
                if not await self._store.is_seen(scope, message_id):
                    await work()

            running = asyncio.get_running_loop().create_task(first())
            self._running[scope, message_id] = running
            running.add_done_callback(lambda done: self._ran(scope, message_id, done))
        # Shielded: whoever asks and goes away does not take it back from the one that waits beside it.
        await asyncio.shield(running)

    def _ran(self, scope: str, message_id: str, done: "asyncio.Task[None]") -> None:
        del self._running[scope, message_id]
        if not done.cancelled():
            done.exception()  # told to whoever still waits

    async def _send(self, scope: str, message_id: str, sender: UserId, type_: str, messages: Messages) -> None:
        here: list[tuple[UserId, str, bytes]] = []
        abroad: dict[ServerName, JsonObject] = {}
        for number, (user_id, devices) in enumerate(messages.items(), 1):
            if number % PER_TURN == 0:
                await asyncio.sleep(0)
            if server_of(user_id) != self._server:
                if devices:
                    abroad.setdefault(server_of(user_id), {})[user_id] = dict(devices)
                continue
            for device_id, said in await self._meant(user_id, devices):
                event = orjson.dumps({"sender": sender, "type": type_, "content": said})
                here.append((user_id, device_id, event))
        if not here and not abroad:
            return
        for number, (user_id, device_id, _) in enumerate(here, 1):
            await self._queue(user_id, device_id)
            if number % PER_TURN == 0:
                await asyncio.sleep(0)
        for server in abroad:
            await self._queue_of_server(server)
        # Nothing is awaited from here to the submission.
        position = self._stream.next()
        writes: list[Write] = [PutSeenMessage(scope, message_id, self._clock_ms())]
        told: dict[UserId, list[str]] = {}
        for user_id, device_id, event in here:
            writes += self._put_here(user_id, device_id, position, event)
            told.setdefault(user_id, []).append(device_id)
        for server, users in abroad.items():
            for part in _parts(users):
                content: JsonObject = {
                    "sender": sender,
                    "type": type_,
                    # spec: m.direct_to_device message_id: at most 32 codepoints
                    "message_id": secrets.token_urlsafe(18),
                    "messages": part,
                }
                writes += self._put_abroad(server, self._stream.next(), orjson.dumps(content))
        writes += [*self._trimmed(), self._stream.floor()]

        def tell() -> None:
            for user_id, device_id, event in here:
                self._arrived(user_id, device_id, position, len(event))
            for user_id, device_ids in told.items():
                self._user_bus.publish(DeviceMessage(user_id, position, tuple(device_ids)))
            if abroad:
                self._user_bus.publish(MessagesQueued(sender, tuple(abroad)))

        try:
            await self._stream.commit(writes, tell)
        except StoreError as error:
            # What is there now is found out anew.
            for user_id, device_id, _ in here:
                self._queues.pop((user_id, device_id), None)
            for server in abroad:
                self._outgoing.pop(server, None)
            raise KeyRefused(KeyRefusal.BUSY) from error

    async def _meant(self, user_id: UserId, devices: Mapping[str, JsonObject]) -> list[tuple[str, JsonObject]]:
        """The devices that exist and can have messages. spec: "*" is all known devices"""
        rows = await self._store.load_devices(user_id)
        known = [row.device_id for row in rows if row.protocol == "matrix"]
        everybody = devices.get(EVERY_DEVICE)
        if everybody is not None:
            return [(device_id, devices.get(device_id, everybody)) for device_id in known]
        return [(device_id, devices[device_id]) for device_id in known if device_id in devices]

    def _put_here(self, user_id: UserId, device_id: str, position: int, event: bytes) -> list[Write]:
        writes: list[Write] = [PutToDevice(user_id, device_id, position, event)]
        queue = self._queues.get((user_id, device_id))
        if queue is not None:  # else it is read again when it is asked for
            self._queues[user_id, device_id] = _longer(queue, position, len(event))
        return writes

    def _arrived(self, user_id: UserId, device_id: str, position: int, size: int) -> None:
        """A message is on disk. Its queue may have been read again after it was submitted, and without it."""
        queue = self._queues.get((user_id, device_id))
        if queue is not None and queue.newest < position:
            self._queues[user_id, device_id] = _longer(queue, position, size)

    def _put_abroad(self, server: ServerName, position: int, content: bytes) -> list[Write]:
        queue = self._outgoing.get(server)
        if queue is not None:
            self._outgoing[server] = _longer(queue, position, len(content))
        return [PutOutgoingMessage(server, position, content)]

    def _trimmed(self) -> list[Write]:
        """Once an hour: ids that nobody sends any more."""
        now_ms = self._clock_ms()
        if now_ms - self._trimmed_ms < 3_600_000:
            return []
        self._trimmed_ms = now_ms
        return [TrimSeenMessages(now_ms - SEEN_MS)]

    # -- what waits for a device

    async def _queue(self, user_id: UserId, device_id: str) -> Waiting:
        """How much waits for a device. Where that is too much, the oldest go."""
        device = (user_id, device_id)
        queue = self._queues.get(device)
        if queue is None:
            committed = -1
            while committed != self._stream.committed:  # else one may have arrived while it was read
                committed = self._stream.committed
                queue = await self._store.load_waiting(user_id, device_id)
            queue = self._queues.setdefault(device, queue or Waiting())
            if len(self._queues) > CACHED_QUEUES:
                self._queues.popitem(last=False)
        if queue.count >= MAX_WAITING or queue.size >= MAX_WAITING_BYTES:
            oldest = await self._store.load_to_device(
                user_id, device_id, after=0, upto=self._stream.committed, limit=max(1, queue.count // SHARE_DROPPED)
            )
            if oldest:
                log.warning("devices.messages_dropped", user_id=user_id, device_id=device_id, number=len(oldest))
                await self._drop(user_id, device_id, oldest[-1].position)
                return await self._queue(user_id, device_id)
        return queue

    async def _drop(self, user_id: UserId, device_id: str, upto: int) -> None:
        """Messages up to a position are not needed any more."""
        try:
            await self._stream.commit([DropToDevice(user_id, device_id, upto), self._stream.floor()])
        except StoreError as error:
            raise KeyRefused(KeyRefusal.BUSY) from error
        self._queues.pop((user_id, device_id), None)

    def is_quiet(self, user_id: UserId, device_id: str) -> bool:
        """Whether nothing waits for a device, as far as that is known from memory."""
        queue = self._queues.get((user_id, device_id))
        return queue is not None and not queue.count

    async def page(self, user_id: UserId, device_id: str, after: int, upto: int, limit: int = PAGE) -> Page:
        """What a device is to be told in a sync that begins after a position; the oldest `limit` of it."""
        queue = self._queues.get((user_id, device_id))
        if queue is None:
            queue = await self._queue(user_id, device_id)
        if queue.newest <= after:
            return NOTHING
        rows = await self._store.load_to_device(user_id, device_id, after=after, upto=upto, limit=limit + 1)
        if not rows:
            return NOTHING
        more = len(rows) > limit
        return Page([row.json for row in rows[:limit]], rows[:limit][-1].position if more else upto, more)

    async def acknowledge(self, user_id: UserId, device_id: str, upto: int) -> None:
        """A device has what lies up to a position. Not waited for: what is not deleted now is deleted the next time,
        and is not told again, since the device's token lies behind it."""
        upto = min(upto, self._stream.committed)
        queue = await self._queue(user_id, device_id)
        if not queue.count or queue.oldest > upto:
            return

        def done(error: StoreError | None) -> None:
            if error is not None:
                self._queues.pop((user_id, device_id), None)

        self._stream.submit([DropToDevice(user_id, device_id, upto), self._stream.floor()], done)
        if queue.newest <= upto:
            self._queues[user_id, device_id] = Waiting()
        else:
            self._queues[user_id, device_id] = replace(queue, oldest=upto + 1)

    def forget(self, user_id: UserId, device_ids: Sequence[str]) -> None:
        """Devices are gone."""
        for device_id in device_ids:
            self._queues.pop((user_id, device_id), None)

    # -- what waits for other servers

    async def _queue_of_server(self, server: ServerName) -> None:
        queue = self._outgoing.get(server)
        if queue is None:
            loaded = await self._store.load_outgoing(server)
            queue = self._outgoing.setdefault(server, loaded)
        if queue.count >= MAX_OUTGOING or queue.size >= MAX_OUTGOING_BYTES:
            limit = max(1, queue.count // SHARE_DROPPED)
            oldest = await self._store.load_outgoing_messages(server, 0, limit)
            if oldest:
                log.warning("devices.outgoing_dropped", server=server, number=len(oldest))
                if not await self.sent(server, oldest[-1].position):
                    raise KeyRefused(KeyRefusal.BUSY)
                await self._queue_of_server(server)

    async def waiting_servers(self) -> Sequence[ServerName]:
        """Servers for which something waits, as found at the start."""
        return await self._store.load_outgoing_servers()

    async def outgoing(self, server: ServerName, after: int, limit: int) -> Sequence[PutOutgoingMessage]:
        """What is to be said to a server next."""
        rows = await self._store.load_outgoing_messages(server, after, limit)
        return [row for row in rows if row.position <= self._stream.committed]

    async def sent(self, server: ServerName, upto: int) -> bool:
        """A server has what lies up to a position, or will never take it. False where that cannot be written: it is
        sent again after a restart, and known there by its ids."""
        upto = min(upto, self._stream.committed)
        self._outgoing.pop(server, None)
        try:
            await self._stream.commit([DropOutgoingMessages(server, upto), self._stream.floor()])
        except StoreError:
            return False
        finally:
            self._outgoing.pop(server, None)
        return True


def _check(messages: Messages) -> None:
    if sum(len(devices) for devices in messages.values()) > MAX_DEVICES:
        raise KeyRefused(KeyRefusal.TOO_MANY_DEVICES)
    for devices in messages.values():
        for content in devices.values():
            if len(orjson.dumps(content)) > MAX_MESSAGE_BYTES:
                raise KeyRefused(KeyRefusal.TOO_LARGE)


def _parts(users: JsonObject) -> list[JsonObject]:
    """Messages for users of one server, cut so that none is much longer than the largest single one may be: what is
    sent to a thousand devices must fit into transactions."""
    parts: list[JsonObject] = [{}]
    size = 0
    for user_id, devices in users.items():
        assert isinstance(devices, dict), "a map of devices"
        for device_id, content in devices.items():
            length = len(orjson.dumps(content))
            if size and size + length > MAX_MESSAGE_BYTES:
                parts.append({})
                size = 0
            size += length
            own = parts[-1].setdefault(user_id, {})
            assert isinstance(own, dict), "made here"
            own[device_id] = content
    return parts


def _longer(queue: Waiting, position: int, size: int) -> Waiting:
    return replace(
        queue,
        count=queue.count + 1,
        size=queue.size + size,
        oldest=queue.oldest or position,
        newest=position,
    )
