"""The directories of the networks that application services reach. spec: application-service-api "Published room
directories" """

from tripoint.core.ids import RoomId
from tripoint.matrix.appservice.networks import instance_id
from tripoint.matrix.errors import EMPTY, MatrixError, invalid
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import SetNetworkListed
from tripoint.rooms.ports import RoomService

MAX_NETWORK_ID = 255


class NetworkDirectoryEndpoints:
    def __init__(self, rooms: RoomService) -> None:
        self._rooms = rooms

    @endpoint("PUT", "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}")
    async def set_listed(self, call: Call) -> Response:
        service, network_id = call.caller.service, call.path["networkId"]
        if service is None:
            raise MatrixError(403, "M_FORBIDDEN", "This is for application services, with their as_token")
        if not 0 < len(network_id) <= MAX_NETWORK_ID:
            raise invalid(f"A network id has 1 to {MAX_NETWORK_ID} characters")
        visibility = call.json().get("visibility")
        if visibility not in ("public", "private"):
            raise invalid("visibility is public or private")
        command = SetNetworkListed(
            actor=call.user_id,
            room_id=RoomId(call.path["roomId"]),
            network=instance_id(service.service_id, network_id),
            listed=visibility == "public",
        )
        await self._rooms.do(command)
        return EMPTY
