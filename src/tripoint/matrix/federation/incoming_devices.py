"""EDUs of other servers about devices: messages for them, lists that changed, cross-signing keys.

What is told here is on disk when it returns, so a transaction is answered when nothing of it can be lost; KeyRefused
goes to whoever asked, and the transaction comes again. spec: Matrix server-server-api send-to-device-messaging,
device-management
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, UserId, parse_user_id, server_of
from tripoint.core.json_view import list_at, text_at
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.matrix.client.to_device import read_messages
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.federation.remote_keys import read_remote_device, read_remote_keys, read_stream_id
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.room import membership_of

log = structlog.get_logger()

MAX_NAME: Final = 255
# Messages of one server. A room of thousands of devices gets a new session at once; a flood would push out what waits.
MESSAGES: Final = Rate(5_000, 50.0)


class IncomingDevices:
    """`server` is this server's name. room_changed() hears of every change of rooms."""

    def __init__(
        self,
        server: ServerName,
        encryption: Encryption,
        rooms: LoadedRooms,
        clock_s: Callable[[], float],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._server = server
        self._to_device = encryption.messages
        self._remote = encryption.remote
        self._rooms = rooms
        self._clock_s = clock_s
        self._report = report
        self._pace = TokenBuckets(MESSAGES)
        self._doubted: dict[UserId, None] = {}
        self._doubting: asyncio.Task[None] | None = None

    async def messages(self, origin: ServerName, contents: Sequence[JsonObject]) -> None:
        """m.direct_to_device. A server's own users alone send."""
        if wait_s := self._pace.wait_s(origin, self._clock_s()):
            error = "Too many messages to devices"
            raise MatrixError(429, "M_LIMIT_EXCEEDED", error, retry_after_ms=int(wait_s * 1000) + 1)
        for content in contents:
            self._pace.take(origin, self._clock_s())
            sender, type_ = _user_of(origin, content, "sender"), text_at(content, "type")
            message_id = text_at(content, "message_id")
            if sender is None or not type_ or not message_id or max(len(type_), len(message_id)) > MAX_NAME:
                log.info("federation.message_dropped", server=origin, reason="it is none")
                continue
            try:
                messages = read_messages(content.get("messages"))
                await self._to_device.receive(origin, message_id, sender, type_, messages)
            except PeerError as error:
                log.info("federation.message_dropped", server=origin, reason=str(error))
            except KeyRefused as refused:
                if refused.refusal is KeyRefusal.BUSY:
                    raise
                log.info("federation.message_dropped", server=origin, reason=refused.refusal.name)

    async def lists(self, origin: ServerName, contents: Sequence[JsonObject]) -> None:
        """m.device_list_update"""
        for content in contents:
            user_id, device_id = _user_of(origin, content, "user_id"), text_at(content, "device_id")
            stream_id = read_stream_id(content)
            if user_id is None or not device_id or len(device_id) > MAX_NAME or stream_id is None:
                log.info("federation.device_update_dropped", server=origin)
                continue
            device = None if content.get("deleted") is True else read_remote_device(user_id, content)
            previous = [one for one in list_at(content, "prev_id") if type(one) is int]
            await self._remote.update(user_id, stream_id, previous, device_id, device)

    async def keys(self, origin: ServerName, contents: Sequence[JsonObject]) -> None:
        """m.signing_key_update"""
        for content in contents:
            user_id = _user_of(origin, content, "user_id")
            if user_id is None:
                log.info("federation.key_update_dropped", server=origin)
                continue
            given = {usage: content.get(f"{usage}_key") for usage in ("master", "self_signing")}
            keys = read_remote_keys(user_id, given)
            if keys:
                await self._remote.update_keys(user_id, keys)

    # -- whose updates come no more

    def room_changed(self, change: RoomChange) -> None:
        """Who leaves the last shared room is told of no more: what is known is not to be relied on."""
        if not isinstance(change, EventCommitted) or change.event.type != "m.room.member":
            return
        if membership_of(change.replaced) != "join" or membership_of(change.event) == "join":
            return
        target = UserId(change.event.state_key or "")
        if server_of(target) != self._server:
            self._doubt([target])
            return
        room = self._rooms.peek(change.room_id)
        if room is not None and self._server not in room.servers():
            self._doubt(list(room.joined()))

    def _doubt(self, users: Sequence[UserId]) -> None:
        for user_id in users:
            if not any(user_id in room.joined() and self._server in room.servers() for room in self._rooms.in_memory()):
                self._doubted[user_id] = None
        if self._doubted and self._doubting is None:
            self._doubting = asyncio.get_running_loop().create_task(self._doubt_all())

    async def _doubt_all(self) -> None:
        try:
            while self._doubted:
                user_id = next(iter(self._doubted))
                await self._remote.doubt(user_id)
                self._doubted.pop(user_id, None)
        except KeyRefused:
            log.warning("devices.not_doubted", number=len(self._doubted))
        except Exception as error:  # a bug: told, and the next departure tries again
            self._report("federation.devices", error)
        finally:
            self._doubting = None

    async def close(self) -> None:
        if self._doubting is not None:
            self._doubting.cancel()
            await asyncio.gather(self._doubting, return_exceptions=True)


def _user_of(origin: ServerName, content: JsonObject, name: str) -> UserId | None:
    """A user of the server that speaks; None for anybody else's."""
    try:
        user_id = parse_user_id(text_at(content, name) or "")
    except PeerError:
        return None
    return user_id if server_of(user_id) == origin else None
