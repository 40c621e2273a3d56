"""What clients need to call each other: servers that help through firewalls.

spec: Matrix client-server, module "Voice over IP", "TURN Credentials"
"""

from collections.abc import Callable

from tripoint.core.canonical_json import JsonObject
from tripoint.core.turn import TurnServer, TurnServers, make_credentials
from tripoint.matrix.errors import EMPTY, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response


class CallEndpoints:
    def __init__(self, turn: TurnServers, now_ms: Callable[[], int]) -> None:
        self._turn = turn
        self._now_ms = now_ms

    @endpoint("GET", "/_matrix/client/v3/voip/turnServer", "/_matrix/client/r0/voip/turnServer")
    async def turn_server(self, call: Call) -> Response:
        """Credentials that end by themselves. Where the operator has no TURN server there is nothing to give: an
        empty object, which clients take for that; they would try a list without addresses and fail."""
        uris = [_uri(server) for server in self._turn.servers if server.needs_credentials]
        if not uris:
            return EMPTY
        made = make_credentials(self._turn, call.user_id, self._now_ms() // 1000)
        answer: JsonObject = {
            "username": made.username,
            "password": made.password,
            "uris": list(uris),
            "ttl": self._turn.lifetime_s,
        }
        return json_response(answer)


def _uri(server: TurnServer) -> str:
    """As TURN URIs are written, with an IPv6 address in brackets."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{server.type}:{host}:{server.port}?transport={server.transport}"
