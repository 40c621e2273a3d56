"""Application services in memory; a part of memory.MemoryStore."""

from collections.abc import Sequence

from tripoint.store.app_service_store import PutAppService, PutNetworkRoom


class AppServicesInMemory:
    """store.app_service_store.AppServiceStore in dictionaries."""

    def __init__(self) -> None:
        self.app_services: dict[str, PutAppService] = {}
        self.network_rooms: dict[tuple[str, str, int], PutNetworkRoom] = {}

    async def load_app_service(self, service_id: str) -> PutAppService | None:
        return self.app_services.get(service_id)

    async def load_network_rooms(self) -> Sequence[PutNetworkRoom]:
        return [self.network_rooms[key] for key in sorted(self.network_rooms)]

    def drop_network_rooms(self, room_key: int) -> None:
        """A room is gone."""
        for key in [key for key in self.network_rooms if key[2] == room_key]:
            del self.network_rooms[key]
