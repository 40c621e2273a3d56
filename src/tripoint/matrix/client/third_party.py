"""Other networks that this server reaches by application services: looked up for clients.

People of IRC and XMPP are users here, and their rooms are rooms: they are not looked up elsewhere.
spec: Matrix client-server, module third-party-networks
"""

from typing import Final

import orjson

from tripoint.core.canonical_json import JsonObject
from tripoint.matrix.appservice.networks import Networks
from tripoint.matrix.errors import MatrixError, bytes_response, json_response, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

_BASE = "/_matrix/client/v3/thirdparty"
_R0 = "/_matrix/client/r0/thirdparty"
# What is for this server in a query: the rest are fields of a network.
_NOT_FIELDS: Final = frozenset({"access_token", "user_id", "device_id"})
MAX_FIELDS: Final = 20
MAX_TEXT: Final = 1000


class ThirdPartyEndpoints:
    def __init__(self, networks: Networks | None) -> None:
        """None: there are none."""
        self._networks = networks

    @endpoint("GET", f"{_BASE}/protocols", f"{_R0}/protocols")
    async def protocols(self, call: Call) -> Response:
        known: JsonObject = {} if self._networks is None else {**await self._networks.protocols()}
        return json_response(known)

    @endpoint("GET", f"{_BASE}/protocol/{{protocol}}", f"{_R0}/protocol/{{protocol}}")
    async def protocol(self, call: Call) -> Response:
        about = None if self._networks is None else await self._networks.protocol(call.path["protocol"])
        if about is None:
            raise _unknown()
        return json_response(about)

    @endpoint("GET", f"{_BASE}/location/{{protocol}}", f"{_R0}/location/{{protocol}}")
    async def locations(self, call: Call) -> Response:
        return await self._search(call, "location")

    @endpoint("GET", f"{_BASE}/user/{{protocol}}", f"{_R0}/user/{{protocol}}")
    async def users(self, call: Call) -> Response:
        return await self._search(call, "user")

    async def _search(self, call: Call, kind: str) -> Response:
        protocol, networks = call.path["protocol"], self._networks
        if networks is None or not networks.has(protocol):
            raise _unknown()
        fields = [(name, values[0]) for name, values in call.request.queries().items() if name not in _NOT_FIELDS]
        if len(fields) > MAX_FIELDS or any(len(value) > MAX_TEXT for _, value in fields):
            raise MatrixError(400, "M_INVALID_PARAM", "That is too much to search for")
        return bytes_response(orjson.dumps(await networks.search(kind, protocol, fields)))

    @endpoint("GET", f"{_BASE}/location", f"{_R0}/location")
    async def of_alias(self, call: Call) -> Response:
        """What of another network a room here stands for."""
        return await self._of(call, "location", "alias")

    @endpoint("GET", f"{_BASE}/user", f"{_R0}/user")
    async def of_user(self, call: Call) -> Response:
        """What of another network a user here stands for."""
        return await self._of(call, "user", "userid")

    async def _of(self, call: Call, kind: str, parameter: str) -> Response:
        value = call.query(parameter)
        if not value:
            raise missing(parameter)
        found = [] if self._networks is None else await self._networks.of(kind, (parameter, value))
        return bytes_response(orjson.dumps(found))


def _unknown() -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", "This server reaches no network of that name")
