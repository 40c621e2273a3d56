"""What clients need to call each other: servers that help through firewalls, and those that carry calls of many.

spec: Matrix client-server, module "Voice over IP", "TURN Credentials"; MSC4143, MSC4195
"""

from collections.abc import Callable, Sequence

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.turn import TurnServer, TurnServers, make_credentials
from tripoint.matrix.errors import EMPTY, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response


class CallEndpoints:
    def __init__(self, turn: TurnServers, now_ms: Callable[[], int], livekit: Sequence[str] = ()) -> None:
        self._transports = rtc_transports(livekit)
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


    @endpoint("GET", "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports")
    async def transports(self, call: Call) -> Response:
        """spec: MSC4143 "in descending order of preference" """
        return json_response({"rtc_transports": self._transports})


def rtc_transports(livekit: Sequence[str]) -> list[Json]:
    """What carries calls of many, as clients are told of it; with the address that those of today need to be told."""
    return [{"type": "livekit", "livekit_service_url": url} for url in livekit]


def _uri(server: TurnServer) -> str:
    """As TURN URIs are written, with an IPv6 address in brackets."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{server.type}:{host}:{server.port}?transport={server.transport}"
