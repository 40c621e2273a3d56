"""Other networks that this server reaches: none, as long as no bridge is connected.

People of IRC and XMPP are users here, and their rooms are rooms: they are not looked up elsewhere.
spec: Matrix client-server, module third-party-networks
"""

from tripoint.matrix.errors import EMPTY, MatrixError, bytes_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

_BASE = "/_matrix/client/v3/thirdparty"
_R0 = "/_matrix/client/r0/thirdparty"


class ThirdPartyEndpoints:
    @endpoint("GET", f"{_BASE}/protocols", f"{_R0}/protocols")
    async def protocols(self, call: Call) -> Response:
        return EMPTY

    @endpoint(
        "GET",
        f"{_BASE}/protocol/{{protocol}}",
        f"{_BASE}/location/{{protocol}}",
        f"{_BASE}/user/{{protocol}}",
        f"{_R0}/protocol/{{protocol}}",
        f"{_R0}/location/{{protocol}}",
        f"{_R0}/user/{{protocol}}",
    )
    async def of_protocol(self, call: Call) -> Response:
        raise MatrixError(404, "M_NOT_FOUND", "This server reaches no network of that name")

    @endpoint("GET", f"{_BASE}/location", f"{_BASE}/user", f"{_R0}/location", f"{_R0}/user")
    async def reverse(self, call: Call) -> Response:
        """What of another network a room or a user here stands for."""
        return bytes_response(b"[]")
