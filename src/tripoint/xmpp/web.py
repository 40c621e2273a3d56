"""XMPP for web pages: streams over WebSockets and BOSH, and the documents by which clients find them.

A page of any origin may connect: there are no cookies here that it could use, and who logs in proves it inside the
stream. spec: RFC7395 3, 4; XEP-0156 2; RFC6415 2, 3 (host-meta), appendix A (JRD). How messages make a stream is
framing.py, frames and handshakes are net/websocket.py; BOSH is bosh.py.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from tripoint.fanout.delivery import MessageOutbox
from tripoint.net.http import Request, Response
from tripoint.net.websocket import WebSocket, accept
from tripoint.xmpp.bosh import PATH as BOSH_PATH
from tripoint.xmpp.bosh import Bosh
from tripoint.xmpp.framing import MessageFraming, standalone
from tripoint.xmpp.stream import ClientStream
from tripoint.xmpp.wire import escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.frontend import XmppFrontEnd

log = structlog.get_logger()

PATH: Final = "/xmpp-websocket"
HOST_META: Final = "/.well-known/host-meta"
HOST_META_JSON: Final = "/.well-known/host-meta.json"
PATHS: Final = (PATH, BOSH_PATH, HOST_META, HOST_META_JSON)

_RELATION: Final = "urn:xmpp:alt-connections:websocket"
_BOSH_RELATION: Final = "urn:xmpp:alt-connections:xbosh"
_SUBPROTOCOL: Final = "xmpp"  # spec: RFC7395 3.1
# spec: XEP-0156 3: web clients of other domains read it; it holds nothing that is not public.
_CORS: Final = (b"access-control-allow-origin", b"*")
# A stanza is measured by the framing, which says so in a stream error; this much later the connection just ends.
_SLACK_BYTES: Final = 65_536


def websocket_url(public_url: str) -> str | None:
    """The address of WebSockets of a server that is reached at `public_url`; None where that is without TLS.

    spec: XEP-0156 2.2 (1): nothing but wss: is given out.
    """
    scheme, _, rest = public_url.partition("://")
    return f"wss://{rest.rstrip('/')}{PATH}" if scheme.lower() == "https" and rest else None


class XmppWeb:
    """Answers the addresses of XMPP on the HTTP front. `public_url`: where clients reach that; may be empty."""

    def __init__(self, front: "XmppFrontEnd", public_url: str) -> None:
        self._front = front
        self._bosh = Bosh(front)
        url = websocket_url(public_url)
        links = () if url is None else ((_RELATION, url), (_BOSH_RELATION, public_url.rstrip("/") + BOSH_PATH))
        self._xrd = _xrd(links) if links else None
        self._jrd = orjson.dumps({"links": [{"rel": rel, "href": href} for rel, href in links]}) if links else None

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None for an address that is not XMPP's."""
        if request.path == PATH:
            return self._connect(request)
        if request.path == BOSH_PATH:
            return await self._bosh.handle(request)
        if request.path == HOST_META:
            # spec: RFC6415 3: who accepts JSON alone may be given it here too
            if request.header(b"accept") == "application/json":
                return _document(request, self._jrd, b"application/json")
            return _document(request, self._xrd, b"application/xrd+xml; charset=utf-8")
        if request.path == HOST_META_JSON:
            return _document(request, self._jrd, b"application/json")
        return None

    def drain(self) -> None:
        """The server stops."""
        self._bosh.drain()

    def _connect(self, request: Request) -> Response:
        options = self._front.options
        return accept(
            request,
            _Party(self._front, request.address, secure=request.secure),
            subprotocols=(_SUBPROTOCOL,),
            limit_bytes=options.stanza_bytes + _SLACK_BYTES,
            unsent_bytes=options.sendq_bytes,
        )


def _xrd(links: Sequence[tuple[str, str]]) -> bytes:
    written = "".join(f"<Link rel='{rel}' href='{escape_attribute(href)}'/>" for rel, href in links)
    return (
        "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>"
        f"{written}</XRD>\n"
    ).encode()


def _document(request: Request, document: bytes | None, kind: bytes) -> Response:
    if request.method not in ("GET", "HEAD"):
        return Response(405, b"", ((b"allow", b"GET, HEAD"), _CORS))
    if document is None:
        return Response(404, b"This server has not been told its address on the web.\n", (_CORS,))
    return Response(200, document, ((b"content-type", kind), _CORS))


class _Party:
    """A client at the other end of a WebSocket. spec: RFC7395 3"""

    def __init__(self, front: "XmppFrontEnd", address: str, *, secure: bool) -> None:
        self._front = front
        self._address = address
        self._secure = secure
        self._stream: ClientStream | None = None
        self._socket: WebSocket | None = None

    def connected(self, socket: WebSocket) -> None:
        front = self._front
        self._socket = socket
        outbox = MessageOutbox(
            socket,
            front.flusher,
            front.options.sendq_bytes,
            self._overflowed,
            lambda xml: socket.frame_text(standalone(xml)),
        )
        connection = front.connection(self._address, secure=self._secure, framing=MessageFraming())
        self._stream = ClientStream(front, socket, outbox, connection, self._address)

    def received(self, message: bytes, is_text: bool) -> None:
        stream = self._stream
        if stream is None:
            return
        if is_text:
            stream.receive(message)
        else:
            # spec: RFC7395 3.2
            stream.act(stream.connection.fail("bad-format", "XMPP is text: a message of bytes has no meaning here"))

    def lost(self) -> None:
        if self._stream is not None:
            self._stream.lost()

    def _overflowed(self) -> None:
        log.info("xmpp.send_queue_full", address=self._address)
        if self._socket is not None:
            self._socket.abort()
