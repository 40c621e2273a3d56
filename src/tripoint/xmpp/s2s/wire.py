"""The bytes of a stream between servers: one connection, TLS begun at its start or inside.

spec: RFC6120 3, 5.4.3; RFC7590. Read next: links.py (outgoing), listener.py (incoming).
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol, cast

from tripoint.net.tls_transport import CERTIFICATE, VERIFIED, TlsLayer

# What may wait to be read by the peer.
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024


class _TlsSide(asyncio.Protocol):
    """Hears what comes out of TLS until the handshake is known to be over."""

    def __init__(self, main: "Wire") -> None:
        self._main = main
        self.early: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._main.connection_lost(exc)


class _Secured(asyncio.Protocol):
    """What the TLS of a peer that connected is made for."""

    def __init__(self, secured: Callable[[asyncio.Transport], None]) -> None:
        self._tell = secured

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tell(cast(asyncio.Transport, transport))


class ServingTls(Protocol):
    """TLS for servers that connect, who are asked for a certificate (net/link_tls.py)."""

    def layer(
        self, make: Callable[[], asyncio.BaseProtocol], deadline_s: float, before: asyncio.BaseProtocol
    ) -> TlsLayer: ...


class Wire(asyncio.Protocol):
    """`hear` gets bytes, `lost` is called once at the end, `made` when the connection stands."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.made: Callable[[], None] = lambda: None
        self.hear: Callable[[bytes], None] = lambda data: None
        self.lost: Callable[[], None] = lambda: None
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport, but do what it says.
        self.transport = cast(asyncio.Transport, transport)
        self.made()

    def data_received(self, data: bytes) -> None:
        self.hear(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone:
            self.gone = True
            self.lost()

    def write(self, data: bytes) -> None:
        """A peer that does not read is cut off."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self.transport.abort()
            return
        self.transport.write(data)

    @property
    def is_closing(self) -> bool:
        """Whether what is written now goes nowhere."""
        return self.gone or self.transport is None or self.transport.is_closing()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def reads(self, on: bool) -> None:
        """Whether bytes are taken now; TCP holds the sender back otherwise."""
        if self.transport is None or self.transport.is_closing():
            return
        if on:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    @property
    def peer_address(self) -> str:
        peer = None if self.transport is None else self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) and peer else "local"

    @property
    def verified_certificate(self) -> bytes | None:
        """The certificate (DER) of a peer that connected, where it showed one that an authority signed."""
        told = None if self.transport is None else self.transport.get_extra_info
        shown = told(CERTIFICATE) if told is not None and told(VERIFIED) else None
        return shown if isinstance(shown, bytes) else None

    def serve_tls(self, tls: ServingTls, deadline_s: float, started: Callable[[], None]) -> None:
        """Begin TLS as the server; `started` is called before anything is heard inside it. A handshake that fails ends
        the connection."""
        transport = self.transport
        assert transport is not None  # TLS begins at the start of a connection or inside a stream

        def secured(inside: asyncio.Transport) -> None:
            inside.set_protocol(self)
            self.transport = inside
            started()

        layer = tls.layer(lambda: _Secured(secured), deadline_s, self)
        # Whatever comes from now on is for the handshake.
        transport.set_protocol(layer)
        layer.connection_made(transport)

    async def start_tls(self, context: ssl.SSLContext, name: str, timeout_s: float) -> list[bytes]:
        """Begin TLS as the client; what was heard inside it already. Raises OSError, TimeoutError."""
        transport = self.transport
        assert transport is not None  # TLS begins inside a stream
        side = _TlsSide(self)
        try:
            upgraded = await asyncio.get_running_loop().start_tls(
                transport,
                side,
                context,
                server_hostname=name,
                ssl_handshake_timeout=timeout_s,
            )
        except BaseException:
            transport.abort()
            # After whoever waits here has seen why.
            asyncio.get_running_loop().call_soon(self.connection_lost, None)
            raise
        if upgraded is None or self.gone:
            transport.abort()
            raise ConnectionResetError("the connection ended during the handshake")
        self.transport = upgraded
        upgraded.set_protocol(self)
        return side.early
