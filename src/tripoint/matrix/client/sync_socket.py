"""Where a socket for syncs is opened (this project's own). The work is in matrix/sync_socket/.

spec: docs/clients/sync-socket.md
"""

from typing import Final

from tripoint.matrix.errors import MatrixError, invalid
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.sync_socket.session import SyncSession, SyncSockets
from tripoint.net.http import Response, SwitchProtocols
from tripoint.net.websocket import accept

SUBPROTOCOL: Final = "dev.tripoint.sync.v1"
# A request of sliding sync with a hundred lists is some 50 kB.
MAX_MESSAGE_BYTES: Final = 262_144
# Pongs that pile up behind an answer: large ones are some ten megabytes.
MAX_UNSENT_BYTES: Final = 67_108_864


class SyncSocketEndpoints:
    def __init__(self, sockets: SyncSockets) -> None:
        self._sockets = sockets

    @endpoint("GET", "/_matrix/client/unstable/dev.tripoint/sync_socket", auth=Auth.OPTIONAL)
    async def open(self, call: Call) -> Response:
        if call.query("access_token") is not None:
            raise invalid("Tokens do not belong in addresses: send it in a header, or in the first message")
        caller = call.maybe_caller
        if caller is not None and caller.service is not None:
            raise MatrixError(403, "M_FORBIDDEN", "A connection is one device's; an application service asks /sync")
        header = call.request.header(b"authorization")
        token = None if header is None else header.partition(" ")[2].strip()
        response = accept(
            call.request,
            SyncSession(self._sockets, call.request, token, caller),
            subprotocols=(SUBPROTOCOL,),
            limit_bytes=MAX_MESSAGE_BYTES,
            unsent_bytes=MAX_UNSENT_BYTES,
        )
        if isinstance(response, SwitchProtocols):
            return response
        # It was no handshake, or not for this: the library's words say why.
        # spec: RFC9110 15.5.22, also for who speaks an older HTTP and may do so here
        status = response.status if call.request.can_switch else 426
        error = MatrixError(status, "M_UNKNOWN", response.body.decode().strip()).response()
        kept = [header for header in response.headers if header[0] not in (b"content-type", b"upgrade")]
        return Response(error.status, error.body, (*error.headers, *kept, (b"upgrade", b"websocket")))
