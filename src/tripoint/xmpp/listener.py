"""TCP: bytes of sockets to streams. STARTTLS swaps the transport below one.

spec: RFC6120 3, 5.4.3; RFC7590. What a stream is, is stream.py; over WebSockets it is web.py's. Read next: stream.py.
"""

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from tripoint.fanout.delivery import Outbox
from tripoint.xmpp.stream import ClientStream

if TYPE_CHECKING:
    from tripoint.xmpp.frontend import XmppFrontEnd

log = structlog.get_logger()


class _TlsSide(asyncio.Protocol):
    """Hears what comes out of TLS until the handshake is known to be over.

    The end of a handshake and the first stream header often arrive together, and the header is then delivered
    before start_tls() returns. Plaintext goes to the XmppProtocol itself, which drops it.
    """

    def __init__(self, main: "XmppProtocol") -> None:
        self._main = main
        self.early: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._main.connection_lost(exc)


class XmppProtocol(asyncio.Protocol):
    """One client's connection. `secure`: it came over TLS; `offloaded`: which ended at a proxy.

    `address`: from where, if the socket does not tell.
    """

    def __init__(
        self, front: "XmppFrontEnd", *, secure: bool, address: str | None = None, offloaded: bool = False
    ) -> None:
        self._front = front
        self._secure = secure
        self._offloaded = offloaded
        self._address = address
        self.transport: asyncio.Transport | None = None
        self.stream: ClientStream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport, but do what it says.
        self.transport = wire = cast(asyncio.Transport, transport)
        front = self._front
        peer = transport.get_extra_info("peername")
        address = self._address
        if address is None:
            address = str(peer[0]) if isinstance(peer, tuple) and peer else "local"
        outbox = Outbox(wire, front.flusher, front.options.sendq_bytes, self._overflowed)
        # Channel binding is to the certificate that the client sees.
        own_tls = self._secure and not self._offloaded
        connection = front.connection(address, secure=self._secure, own_tls=own_tls)
        self.stream = ClientStream(front, wire, outbox, connection, address, self._start_tls)

    def data_received(self, data: bytes) -> None:
        if self.stream is not None:
            self.stream.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self.stream.lost()

    def _overflowed(self) -> None:
        assert self.stream is not None  # it has sent too much
        log.info("xmpp.send_queue_full", address=self.stream.address)
        if self.transport is not None:
            self.transport.abort()

    async def _start_tls(self) -> None:
        """<proceed/> goes out in the clear, what comes after it is the handshake. spec: RFC6120 5.4.3"""
        tls = self._front.tls
        transport, stream = self.transport, self.stream
        if tls is None or transport is None or stream is None or stream.gone:
            return
        stream.outbox.flush()
        loop = asyncio.get_running_loop()
        side = _TlsSide(self)
        try:
            upgraded = await loop.start_tls(
                transport,
                side,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=self._front.options.tls_handshake_timeout_s,
            )
        except (OSError, TimeoutError) as error:
            # spec: RFC6120 5.4.3.2: a failed handshake ends the connection
            log.debug("xmpp.tls_failed", address=stream.address, error=str(error))
            upgraded = None
        if upgraded is None or stream.gone:
            transport.abort()
            self.connection_lost(None)
            return
        self.transport = stream.wire = stream.outbox.transport = upgraded
        upgraded.set_protocol(self)
        stream.act(stream.connection.tls_started(tls.end_point))
        for data in side.early:
            self.data_received(data)
