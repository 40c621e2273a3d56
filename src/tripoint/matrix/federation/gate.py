"""Who calls a federation endpoint: every request is authenticated before anything of it is believed.

spec: Matrix server-server-api request-authentication. What a header says is auth.py's, keys are keys/ring.py's.
"""

from collections.abc import Awaitable, Callable

from tripoint.core.canonical_json import JsonObject, decode_lenient
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName
from tripoint.matrix.depth import MAX_DEPTH, too_deep
from tripoint.matrix.errors import MatrixError, bad_json, not_json
from tripoint.matrix.federation.auth import check_request, parse_credentials
from tripoint.matrix.keys.ring import KeyRing
from tripoint.net.http import Request


class FederationGate:
    """Lets requests of other servers in. `server` is this server's name."""

    def __init__(self, server: ServerName, ring: KeyRing) -> None:
        self._server = server
        self._ring = ring
        # Why a server is not spoken to (rooms/server_lists.py); set by who wires.
        self.kept_out: Callable[[ServerName], Awaitable[str | None]] | None = None
        # Hears of every server whose request was proven to be its: it is up.
        self.heard: Callable[[ServerName], None] = _nobody_listens

    async def check(self, request: Request) -> tuple[ServerName, JsonObject | None]:
        """The server that sent a request, and its body. Raises MatrixError: 401 M_UNAUTHORIZED without proof,
        403 M_FORBIDDEN where its server is not spoken to.

        Numbers in the body are as received (floats, large integers): events of old room versions have them.
        """
        try:
            credentials = parse_credentials(request.headers(b"authorization"), self._server)
        except PeerError as error:
            raise _unauthorized(str(error)) from None
        content = _content(request)
        origin = credentials[0].origin
        keys = await self._ring.request_keys(origin, [one.key_id for one in credentials])
        if not keys:
            raise _unauthorized(f"no valid key of {origin} could be had for this signature")
        try:
            check_request(credentials, keys, self._server, request.method, request.target, content)
        except PeerError as error:
            raise _unauthorized(str(error)) from None
        if self.kept_out is not None and (reason := await self.kept_out(origin)) is not None:
            raise MatrixError(403, "M_FORBIDDEN", f"{self._server} does not speak to your server: {reason}")
        self.heard(origin)
        return origin, content


def _nobody_listens(server: ServerName) -> None:
    pass


def _content(request: Request) -> JsonObject | None:
    if not request.body:
        return None
    try:
        value = decode_lenient(request.body)
    except PeerError:
        raise not_json() from None
    if not isinstance(value, dict):
        raise bad_json("The body must be a JSON object")
    if too_deep(request.body, value):
        raise bad_json(f"The body is nested deeper than {MAX_DEPTH} levels")
    return value


def _unauthorized(reason: str) -> MatrixError:
    return MatrixError(401, "M_UNAUTHORIZED", f"The request is not authenticated: {reason}")
