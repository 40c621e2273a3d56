"""Application services on SQLite: how they are read and written; a part of sqlite.SqliteStore."""

from collections.abc import Callable, Sequence
from typing import Any

from tripoint.store.app_service_store import PutAppService, PutNetworkRoom

Row = tuple[object, ...]

PUT: dict[type, tuple[str, Callable[[Any], Row]]] = {
    PutAppService: (
        "INSERT OR REPLACE INTO app_services (service_id, place, number, body) VALUES (?,?,?,?)",
        lambda w: (w.service_id, w.place, w.number, w.body),
    ),
    PutNetworkRoom: (
        "INSERT OR REPLACE INTO network_rooms (service_id, network_id, room_key) VALUES (?,?,?)",
        lambda w: (w.service_id, w.network_id, w.room_key),
    ),
}

DELETE: dict[type, tuple[str, str, Callable[[Any], Row]]] = {
    PutAppService: ("place", "DELETE FROM app_services WHERE service_id = ?", lambda w: (w.service_id,)),
    PutNetworkRoom: (
        "listed",
        "DELETE FROM network_rooms WHERE service_id = ? AND network_id = ? AND room_key = ?",
        lambda w: (w.service_id, w.network_id, w.room_key),
    ),
}


class AppServiceReads:
    """Abstract: queries go through _all and _one, which the store that is made of this defines."""

    def _all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        raise NotImplementedError

    async def load_app_service(self, service_id: str) -> PutAppService | None:
        row = self._one("SELECT service_id, place, number, body FROM app_services WHERE service_id = ?", service_id)
        return None if row is None else PutAppService(*row)

    async def load_network_rooms(self) -> Sequence[PutNetworkRoom]:
        found = self._all("SELECT service_id, network_id, room_key FROM network_rooms ORDER BY 1, 2, 3")
        return [PutNetworkRoom(*row) for row in found]
