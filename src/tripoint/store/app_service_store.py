"""What is kept of application services: how far each has heard, and which rooms are in the directories of its networks.

As in interface.py: absent is None or empty, never an exception; tests/contract holds every store to it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from tripoint.store.interface import StoredEvent


class PutAppService(Struct, frozen=True):
    """How far a service is. `place`: up to which position events were looked at for it, `number`: of its newest
    transaction, `body`: that transaction while it is not acknowledged. A `place` of None forgets the service."""

    service_id: str
    place: int | None
    number: int
    body: bytes | None


class PutNetworkRoom(Struct, frozen=True):
    """A room in the directory of a network that a service reaches. `listed` None takes it out."""

    service_id: str
    network_id: str
    room_key: int
    listed: bool | None = True


class AppServiceStore(Protocol):
    """Application services."""

    async def load_placed_after(self, position: int, limit: int) -> Sequence["StoredEvent"]:
        """Events of all rooms' timelines after a position, by position; what was fetched of the past has none here."""

    async def load_app_service(self, service_id: str) -> PutAppService | None: ...
    async def load_network_rooms(self) -> Sequence[PutNetworkRoom]:
        """Those of all networks, by service, network and room."""
