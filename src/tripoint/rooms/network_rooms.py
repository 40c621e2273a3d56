"""Rooms in the directories of networks that application services reach; those of the server itself are naming.py's.

spec: Matrix application-service-api "Published room directories"
"""

from collections.abc import Sequence

from tripoint.core.ids import RoomId
from tripoint.rooms.commands import Done, SetNetworkListed
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.service_log import ServiceStore
from tripoint.rooms.writer import Writer
from tripoint.store.app_service_store import PutNetworkRoom


class NetworkRooms:
    """A network is named by the id of its service, `|`, and its own."""

    def __init__(self, rooms: LoadedRooms, writer: Writer, store: ServiceStore) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store

    async def set_listed(self, command: SetNetworkListed) -> Done:
        room = await self._rooms.get(command.room_id)
        if not room.is_here(self._writer.signer.server):
            raise Refused(Refusal.NO_SUCH_ROOM)
        service_id, _, network_id = command.network.partition("|")
        await self._writer.write([PutNetworkRoom(service_id, network_id, room.room_key, command.listed or None)])
        return Done(room.room_id)

    async def of(self, network: str | None) -> Sequence[RoomId]:
        """The rooms of a network; None: of all of them."""
        keys = {
            row.room_key
            for row in await self._store.load_network_rooms()
            if network in (None, f"{row.service_id}|{row.network_id}")
        }
        rows = [await self._store.load_room_by_key(key) for key in sorted(keys)]
        return [row.room_id for row in rows if row is not None]
