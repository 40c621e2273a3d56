"""IRC for web pages: lines over WebSockets, one a message.

A page of any origin may connect: there are no cookies here that it could use, and who logs in proves it by SASL. Frames
and the handshake are net/websocket.py's; what is behind is the same connection as over TCP.
spec: IRCv3 websocket.  Read next: tripoint/irc/listener.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from tripoint.irc.listener import IrcProtocol
from tripoint.irc.wire import MAX_PENDING_BYTES
from tripoint.net.http import Request, Response
from tripoint.net.websocket import WebSocket, accept

if TYPE_CHECKING:
    from tripoint.irc.frontend import IrcFrontEnd

PATH: Final = "/irc-websocket"
TEXT: Final = "text.ircv3.net"
BINARY: Final = "binary.ircv3.net"
# A line that is too long is answered (417); what is much longer ends the connection.
LIMIT_BYTES: Final = 4 * MAX_PENDING_BYTES


class IrcWeb:
    """Answers the address of IRC on the HTTP front."""

    def __init__(self, front: IrcFrontEnd) -> None:
        self._front = front

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None for another address."""
        if request.path != PATH:
            return None
        return accept(
            request,
            _Party(self._front, request.address, secure=request.secure),
            subprotocols=_wished(request),
            limit_bytes=LIMIT_BYTES,
            unsent_bytes=self._front.options.sendq_bytes,
        )


def _wished(request: Request) -> list[str]:
    """spec: "The server MUST accept any subprotocol it supports, respecting the client's order of preference."

    COMPAT: gamja and others name none, and "the server MAY continue" without: it sends text.
    """
    offered = ",".join(request.headers(b"sec-websocket-protocol"))
    wished = [word.strip() for word in offered.split(",")]
    if not any(wished):
        return []
    return [word for word in dict.fromkeys(wished) if word in (TEXT, BINARY)] or [TEXT, BINARY]


class _Party:
    """A client at the other end of a WebSocket."""

    def __init__(self, front: IrcFrontEnd, address: str, *, secure: bool) -> None:
        # Its TLS ends at the HTTP front or at a proxy: nothing is bound to it.
        self._protocol = IrcProtocol(front, secure=secure, address=address, offloaded=secure)

    def connected(self, socket: WebSocket) -> None:
        # It has what the protocol uses of a transport.
        self._protocol.connection_made(cast(asyncio.Transport, _Lines(socket)))

    def received(self, message: bytes, is_text: bool) -> None:
        # spec: "each message MUST consist of a single IRC line": two in one are one that holds a CR, which none may.
        line = message.rstrip(b"\r\n").replace(b"\n", b"\r")
        self._protocol.data_received(line + b"\r\n")

    def lost(self) -> None:
        self._protocol.connection_lost(None)


class _Lines:
    """A WebSocket as a transport of lines: each becomes a message, without its CR LF."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._frame = socket.frame_binary if socket.subprotocol == BINARY else socket.frame_text
        self.close = socket.close
        self.abort = socket.abort
        self.is_closing = socket.is_closing
        self.pause_reading = socket.pause_reading
        self.resume_reading = socket.resume_reading
        self.get_write_buffer_size = socket.get_write_buffer_size

    def get_extra_info(self, name: str) -> None:
        """Whatever there is to know was known with the request."""

    def write(self, data: bytes) -> None:
        """Whole lines: an outbox writes nothing else. All of them are UTF-8."""
        self._socket.write(b"".join([self._frame(line) for line in data.split(b"\r\n")[:-1]]))
