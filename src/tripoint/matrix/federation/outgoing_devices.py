"""What other servers are told of local users' devices: which changes, whom, and as what.

A change is named by its position (accounts/device_changes.py); what it comes to is read when it is sent, so a server
that was away hears of each device once, as it is then. spec: Matrix server-server-api device-management,
definitions/event-schemas/m.device_list_update, m.signing_key_update
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Final

from tripoint.accounts.device_changes import ALL_KEYS, DeviceChange
from tripoint.accounts.encryption import Encryption
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.json_view import object_at, text_at
from tripoint.matrix.federation.lanes import Edu
from tripoint.rooms.changes import DeviceListChanged, EventCommitted
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import membership_of

PAGE: Final = 500
# EDUs that are kept while they go to all who hear of them.
CACHED: Final = 500


# (position of the change, who is to hear of it, the position of one that it outdates or 0)
Offer = Callable[[int, Sequence[ServerName], int], None]


class OutgoingDevices:
    """`servers(room_id)`: the other servers in a room that is in memory. `offer` is called with each change, once it is
    known who is to hear of it."""

    offer: Offer

    def __init__(
        self,
        server: ServerName,
        encryption: Encryption,
        reader: RoomReader,
        servers: Callable[[RoomId], tuple[ServerName, ...]],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._server = server
        self._keys = encryption.keys
        self._signing = encryption.signing
        self._log = encryption.changes
        self._reader = reader
        self._servers = servers
        self._report = report
        self._made: OrderedDict[int, Edu] = OrderedDict()
        # Changes for which it is being found out who is to hear of them.
        self._held: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what happens

    def user_changed(self, change: DeviceListChanged) -> None:
        if server_of(change.user_id) == self._server and change.viewer is None:
            self._held.add(change.position)
            self._work_out(self._tell(change))

    def room_changed(self, change: EventCommitted) -> None:
        """spec: "when that user joins a room which contains servers which are not already receiving updates" """
        event = change.event
        if event.type != "m.room.member" or server_of(UserId(event.state_key or "")) != self._server:
            return
        if not self._servers(change.room_id):
            return  # most rooms
        if membership_of(event) == "join" and membership_of(change.replaced) != "join":
            self._work_out(self._tell_newcomers(UserId(event.state_key or ""), change.room_id))

    def first_held(self) -> int | None:
        """The lowest position of a change that was not offered yet."""
        return min(self._held, default=None)

    async def close(self) -> None:
        """Changes that are still held are found in the log after the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _work_out(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._reported(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reported(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # a bug: told, and the change is worked out again after a restart
            self._report("federation.devices", error)

    async def _tell(self, change: DeviceListChanged) -> None:
        self.offer(change.position, await self.servers_of(change.user_id), change.replaced)
        self._held.discard(change.position)

    async def _tell_newcomers(self, user_id: UserId, room_id: RoomId) -> None:
        position, servers = await self.newcomers(user_id, room_id)
        self.offer(position, servers, 0)

    # -- who hears of what

    async def servers_of(self, user_id: UserId) -> tuple[ServerName, ...]:
        """The servers that share a room with a local user."""
        found: dict[ServerName, None] = {}
        for room_id, membership in list((await self._reader.memberships(user_id)).items()):
            if membership != "join":
                continue
            try:
                await self._reader.room(room_id)
            except Refused:
                continue  # it ended just now
            found.update(dict.fromkeys(self._servers(room_id)))
        return tuple(found)

    async def changes_after(self, position: int) -> AsyncIterator[tuple[int, tuple[ServerName, ...]]]:
        """Changes of local users after a position that other servers are to hear of, and which."""
        while page := await self._log.load_device_changes(position, PAGE):
            for row in page:
                position = row.position
                if server_of(row.user_id) == self._server and not row.viewer:
                    yield position, await self.servers_of(row.user_id)
            if len(page) < PAGE:
                return

    async def newcomers(self, user_id: UserId, room_id: RoomId) -> tuple[int, tuple[ServerName, ...]]:
        """A local user came into a room: the newest change of its devices, and the servers there that may not have
        heard of it."""
        left = set(self._servers(room_id))
        last = await self._log.load_last_device_change(user_id) if left else None
        if last is None:
            return 0, ()
        for one in self._reader.joined_rooms(user_id):
            room = self._reader.peek(one) if one != room_id else None
            if room is not None:
                left -= room.servers().keys()
        return last.position, tuple(sorted(left))

    async def edu(self, server: ServerName, position: int) -> Edu | None:
        """What a server is told of a change; None: it is outdated, or none of the server's any more."""
        change = await self._log.load_device_change(position)
        if change is None or change.viewer or server_of(change.user_id) != self._server:
            return None
        if not await self._shares_room(server, change.user_id):
            return None
        # What a position stands for does not change: a thousand servers are told the same.
        edu = self._made.get(position)
        if edu is None:
            edu = self._made[position] = await self._make(change)
            if len(self._made) > CACHED:
                self._made.popitem(last=False)
        return edu

    async def _shares_room(self, server: ServerName, user_id: UserId) -> bool:
        for room_id, membership in list((await self._reader.memberships(user_id)).items()):
            if membership != "join":
                continue
            try:
                room = await self._reader.room(room_id)
            except Refused:
                continue  # it ended just now
            if server in room.servers() or server in self._servers(room_id):
                return True
        return False

    async def _make(self, change: DeviceChange) -> Edu:
        if change.device_id == ALL_KEYS:
            content: JsonObject = {"user_id": change.user_id}
            for usage, key in (await self._signing.shown(change.user_id, None)).items():
                content[f"{usage}_key"] = key
            return Edu("m.signing_key_update", content)
        previous: list[Json] = [change.previous] if change.previous else []
        content = {
            "user_id": change.user_id,
            "device_id": change.device_id,
            "stream_id": change.position,
            "prev_id": previous,
        }
        json = (await self._keys.query(change.user_id, None)).get(change.device_id)
        if json is None:
            content["deleted"] = True
        else:
            content["keys"] = {name: value for name, value in json.items() if name != "unsigned"}
            name = text_at(object_at(json, "unsigned"), "device_display_name")
            if name is not None:
                content["device_display_name"] = name
        return Edu("m.device_list_update", content)
