"""WebSockets: an HTTP connection that becomes a line for messages, for any protocol that is spoken over one.

A handler of the HTTP front answers a request with accept(); where the handshake is right, the connection is handed
over and the `party` hears of it. What is XMPP or IRC in a message is the party's business: XMPP uses text (RFC 7395),
IRC either kind (IRCv3 websocket). Frames, masks and the handshake are the library's (websockets, its part without I/O);
here are the socket, limits and deadlines.

Who may connect: any page of any origin, since nothing here is decided by cookies or by where somebody comes from; each
protocol asks for a login inside. Messages are not compressed: secrets and what others write share a connection, and a
window of memory for each connection is a high price for short messages.
spec: RFC6455 4.2, 5, 7, 10. Read next: http_connection.py, which hands over.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol, cast

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tripoint.net.http import Request, Response, SwitchProtocols

# How long a peer may take to answer a close frame, or to stop sending what nobody reads.
CLOSE_S: Final = 5.0
# What the library would tell of frames is what people write.
_SILENT: Final = logging.getLogger("tripoint.websocket")
_SILENT.setLevel(logging.CRITICAL)
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
# spec: RFC6455 4.2.2, 4.4: whoever speaks another version learns which one is spoken here
_VERSION: Final = (b"sec-websocket-version", b"13")
# What the front adds, or what does not belong to an answer that is no handshake.
_NOT_PASSED_ON: Final = frozenset({"date", "content-length", "content-type", "connection"})


class WebSocketParty(Protocol):
    """Who speaks over a WebSocket. Calls come from the loop; none may wait."""

    def connected(self, socket: "WebSocket") -> None:
        """The handshake is done; from now on `socket` can be written to."""

    def received(self, message: bytes, is_text: bool) -> None:
        """A whole message, however many frames it came in; a text is UTF-8."""

    def lost(self) -> None:
        """The connection is gone, in whatever way. Called once, if connected() was."""


def accept(
    request: Request, party: WebSocketParty, *, subprotocols: Sequence[str], limit_bytes: int, unsent_bytes: int
) -> Response:
    """The answer to a request that wants a WebSocket: the handshake, with `party` behind it, or an error that says why.

    The client has to offer one of `subprotocols`; the first of ours that it offers is taken. Where there are none, none
    is agreed on. A message over
    `limit_bytes` ends the connection (1009), as do answers to pings that pile up behind `unsent_bytes` of what it has
    not read.
    spec: RFC6455 4.2.1, 4.2.2
    """
    # Open from the start: the request was read by the HTTP front, what comes next are frames.
    names = [Subprotocol(name) for name in subprotocols]
    protocol = ServerProtocol(subprotocols=names, max_size=limit_bytes, state=State.OPEN, logger=_SILENT)
    version = "HTTP/1.1" if request.can_switch else "HTTP/1.0"
    handshake = Handshake(
        request.target,
        Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.all_headers()),
        request.method,
        version,
    )
    answer = protocol.accept(handshake)
    if answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        kept = [_pair(name, value) for name, value in answer.headers.raw_items() if name.lower() not in _NOT_PASSED_ON]
        return Response(answer.status_code, bytes(answer.body), (_TEXT, _VERSION, *kept))
    headers = tuple(_pair(name, value) for name, value in answer.headers.raw_items() if name.lower() != "date")
    return SwitchProtocols(headers, WebSocket(protocol, party, unsent_bytes))


def _pair(name: str, value: str) -> tuple[bytes, bytes]:
    return name.lower().encode("latin-1"), value.encode("latin-1")


class WebSocket(asyncio.Protocol):
    """One WebSocket, at the server's end. It is a ByteWriter for frames that frame_text() or frame_binary() made."""

    def __init__(self, protocol: ServerProtocol, party: WebSocketParty, unsent_bytes: int) -> None:
        self.on_lost: Callable[[], None] = lambda: None  # the HTTP front counts what it handed over
        self._protocol = protocol
        self._party = party
        self._unsent_bytes = unsent_bytes
        self._transport: asyncio.Transport | None = None
        self._message = bytearray()  # of the frames so far of a message in several
        self._is_text = True
        self._closing: asyncio.TimerHandle | None = None

    @property
    def subprotocol(self) -> str:
        """What was agreed on; "" for none."""
        return str(self._protocol.subprotocol or "")

    def limit(self, limit_bytes: int) -> None:
        """From the next message on, this is how long one may be."""
        self._protocol.max_message_size = limit_bytes

    # -- going out

    def frame_text(self, text: bytes) -> bytes:
        """A frame with a message of text (UTF-8), for write(); nothing where no more can be sent."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_text(text)
        return b"".join(self._protocol.data_to_send())

    def frame_binary(self, data: bytes) -> bytes:
        """A frame with a message of bytes, for write(); nothing where no more can be sent."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_binary(data)
        return b"".join(self._protocol.data_to_send())

    def write(self, data: bytes) -> None:
        """Send frames. After a close frame nothing may follow (RFC6455 5.5.1): is_closing() is true then."""
        if self._transport is not None:
            self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._protocol.state is not State.OPEN or self._transport is None or self._transport.is_closing()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake, or do nothing where it is begun. spec: RFC6455 7.1.2, 7.4

        `reason`: at most 123 bytes. The connection ends when the peer has answered, or after CLOSE_S.
        """
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def _flush(self) -> None:
        """Send what the library has to say by itself: pongs and close frames; and end what is over."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            elif self._protocol.close_rcvd is not None or not transport.can_write_eof():
                # spec: RFC6455 7.1.1: after both close frames the server closes the connection
                transport.close()
            else:
                # The peer may be in the middle of sending: closing now would take from it what the close frame says.
                transport.write_eof()
        if transport.get_write_buffer_size() > self._unsent_bytes:
            transport.abort()
        elif self._protocol.close_expected() and self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(CLOSE_S, self.abort)

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports are no subclasses of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        self._party.connected(self)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._take(event)
        self._flush()

    def _take(self, frame: Frame) -> None:
        """A frame of a message. The library has checked its order and the size of the whole."""
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        message = bytes(frame.data)
        if not frame.fin or self._message:
            self._message += message
            if not frame.fin:
                return
            message = bytes(self._message)
            self._message.clear()
        if self._protocol.state is not State.OPEN:
            return
        if self._is_text and not message.isascii() and not _is_utf8(message):
            # spec: RFC6455 8.1
            self._protocol.fail(CloseCode.INVALID_DATA, "The text is not UTF-8")
            return
        self._party.received(message, self._is_text)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self.on_lost()
        self._party.lost()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
