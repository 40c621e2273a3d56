"""TCP: bytes of sockets to streams. STARTTLS swaps the transport below one.

spec: RFC6120 3, 5.4.3; RFC7590. What a stream is, is stream.py; over WebSockets it is web.py's. Read next: stream.py.
"""

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from tripoint.core.tls_facts import NO_TLS
from tripoint.fanout.delivery import Outbox
from tripoint.net.tls_transport import tls_facts
from tripoint.xmpp.stream import ClientStream

if TYPE_CHECKING:
    from tripoint.xmpp.frontend import XmppFrontEnd

log = structlog.get_logger()


class _Upgraded(asyncio.Protocol):
    """What the TLS of a STARTTLS is made for: it gives its transport to the protocol that was there before."""

    def __init__(self, main: "XmppProtocol") -> None:
        self._main = main

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._main.tls_started(cast(asyncio.Transport, transport))


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
        tls = tls_facts(transport, front.tls.end_point) if own_tls and front.tls is not None else NO_TLS
        connection = front.connection(address, secure=self._secure, tls=tls)
        self.stream = ClientStream(front, wire, outbox, connection, address, self._start_tls)

    def data_received(self, data: bytes) -> None:
        if self.stream is not None:
            self.stream.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self.stream.lost()
        # Both lead back to here: without them all of it is freed now, and not once garbage is looked for.
        self.transport = self.stream = None

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
        deadline_s = self._front.options.tls_handshake_timeout_s
        # spec: RFC6120 5.4.3.2: a failed handshake ends the connection, which this protocol then hears.
        layer = tls.layer(lambda: _Upgraded(self), deadline_s, self)
        # Whatever comes from now on is for the handshake.
        transport.set_protocol(layer)
        layer.connection_made(transport)

    def tls_started(self, transport: asyncio.Transport) -> None:
        """The handshake is done, and a new stream begins on this transport."""
        tls, stream = self._front.tls, self.stream
        assert tls is not None and stream is not None  # they began it
        transport.set_protocol(self)
        self.transport = stream.wire = stream.outbox.transport = transport
        stream.act(stream.connection.tls_started(tls_facts(transport, tls.end_point)))
