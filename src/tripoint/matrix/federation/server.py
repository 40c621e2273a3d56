"""What this server is, for other servers: version and delegation.

spec: Matrix server-server-api server-implementation, getWellKnown
"""

from tripoint import __version__
from tripoint.matrix.errors import MatrixError, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

NAME = "tripoint"


class FederationInfo:
    """`delegated`: host[:port] where other servers find this one; empty: at its own name, and 404 here."""

    def __init__(self, delegated: str) -> None:
        self._delegated = delegated
        self._version = json_response({"server": {"name": NAME, "version": __version__}})

    @endpoint("GET", "/_matrix/federation/v1/version", auth=Auth.NONE)
    async def version(self, call: Call) -> Response:
        return self._version

    @endpoint("GET", "/.well-known/matrix/server", auth=Auth.NONE)
    async def well_known(self, call: Call) -> Response:
        if not self._delegated:
            raise MatrixError(404, "M_NOT_FOUND", "This server is found at its own name")
        return json_response({"m.server": self._delegated})
