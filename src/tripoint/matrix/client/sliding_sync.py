"""POST /v4/sync, and the same as it was deployed before it was merged. The work is in matrix/sliding/."""

from tripoint.matrix.client.sync import MAX_TIMEOUT_MS
from tripoint.matrix.errors import bytes_response
from tripoint.matrix.presence import DevicePresence
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.sliding.request import Request, read_stable, read_unstable
from tripoint.matrix.sliding.server import SlidingServer
from tripoint.net.http import Response


class SlidingSyncEndpoints:
    def __init__(self, server: SlidingServer, presence: DevicePresence) -> None:
        self._server = server
        self._presence = presence

    @endpoint("POST", "/_matrix/client/v4/sync")
    async def sync(self, call: Call) -> Response:
        return await self._sync(call, read_stable(call.json()))

    @endpoint("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync")
    async def sync_as_deployed(self, call: Call) -> Response:
        request = read_unstable(
            call.json_or_empty(),
            call.query("pos") or None,
            call.number("timeout") or 0,
            call.query("set_presence") or "online",
            call.user_id,
        )
        return await self._sync(call, request)

    async def _sync(self, call: Call, request: Request) -> Response:
        self._presence.synced(call.user_id, call.session, request.presence)
        timeout_s = min(request.timeout_ms, MAX_TIMEOUT_MS) / 1000
        return bytes_response(await self._server.sync(call.user_id, call.known_device, request, timeout_s))
