"""TLS of clients who may show a certificate that nobody signed: OpenSSL by memory BIOs, between socket and protocol.

A `TlsLayer` is the protocol of a socket's transport and the transport of the protocol above it, in one object. Beside
what every transport tells it knows the fingerprint of the peer's certificate and the keying material of the session.
Why it is not the standard library's: docs/decisions/tls.md.
spec: RFC8446; RFC9266 (tls-exporter).  Read next: tripoint/net/tls.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tripoint.core.tls_facts import TLS_EXPORTER, TLS_SERVER_END_POINT, TlsFacts

log = structlog.get_logger()

# What extra info of a transport is called that only this engine has.
FINGERPRINT: Final = "peer_fingerprint"
EXPORTER: Final = "tls_exporter"
CERTIFICATE: Final = "peer_certificate_der"
VERIFIED: Final = "peer_verified"
SERVER_NAME: Final = "tls_server_name"

# The plaintext of one record. spec: RFC8446 5.1
_RECORD: Final = 16384
# A record is longer than its plaintext by less than this. spec: RFC8446 5.2
_RECORD_EXTRA: Final = 256
# Who does not read what was sent before a close has this long for it.
CLOSE_S = 30.0
# Flights of a handshake, and alerts.
_FLIGHT: Final = 16384
_EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
_EXPORTER_BYTES: Final = 32


class TlsLayer(asyncio.Transport, asyncio.Protocol):
    """One connection's TLS, as the server.

    `make` gives the protocol above once the handshake is done. Whoever does not get that far within `deadline_s` is
    disconnected. Nothing is read ahead of a protocol that has paused, beyond what the socket gave in one piece; what
    is written waits in the socket's transport, whose limits hold. `before`: who had the connection until now (STARTTLS)
    and hears of its end if the handshake does not come to one.
    """

    __slots__ = (
        "_above",
        "_answers",
        "_before",
        "_below",
        "_closing",
        "_deadline",
        "_deadline_s",
        "_ended",
        "_make",
        "_paused",
        "_resuming",
        "_tls",
    )

    def __init__(
        self,
        context: SSL.Context,
        make: Callable[[], asyncio.BaseProtocol],
        deadline_s: float,
        before: asyncio.BaseProtocol | None = None,
    ) -> None:
        self._make: Callable[[], asyncio.BaseProtocol] | None = make
        self._before = before
        self._above: asyncio.Protocol | None = None
        self._below: asyncio.Transport | None = None
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._deadline_s = deadline_s
        self._deadline: asyncio.TimerHandle | None = None
        self._answers = False  # TLS may have something to say to what it reads
        self._closing = False
        self._ended = False  # nothing more comes from below
        self._paused = False
        self._resuming = False

    # -- the protocol of the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._below = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(self._deadline_s, self._too_slow)

    def _too_slow(self) -> None:
        log.debug("net.tls_handshake_too_slow")
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._tls.bio_write(data)
            if self._make is not None and not self._shake_hands():
                return
            self._read()
        except SSL.Error as error:
            self._failed(error)

    def _shake_hands(self) -> bool:
        """Go on with the handshake; whether it is done. The protocol above is made then."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._send_out(_FLIGHT)
            return False
        self._send_out(_FLIGHT)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        # That a renegotiation is refused; what there is in 1.3 waits for the next record that goes out.
        self._answers = self._tls.get_protocol_version() < SSL.TLS1_3_VERSION
        make, self._make, self._before = self._make, None, None
        assert make is not None  # the handshake was not done before
        self._above = cast(asyncio.Protocol, make())
        self._above.connection_made(self)
        return True

    def _read(self) -> None:
        """Give what has come to the protocol above, as long as it takes it."""
        tls = self._tls
        while not self._paused and not self._closing:
            try:
                data = tls.recv(_RECORD)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._eof()
                return
            assert self._above is not None  # the handshake is done
            self._above.data_received(data)
        if self._answers and not self._closing:
            self._send_out(_FLIGHT)

    def eof_received(self) -> bool:
        """The socket ends without the farewell of TLS. Lines and stanzas tell where they end, so it is an end."""
        if not self._closing:
            if self._above is None:
                self.abort()
            else:
                self._eof()
        return False

    def _eof(self) -> None:
        if not self._ended:
            self._ended = True
            if self._above is None or not self._above.eof_received():
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        told = self._above if self._above is not None else self._before
        self._make = self._above = self._before = None
        if told is not None:
            told.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        if self._above is not None:
            self._above.resume_writing()

    # -- the transport of the protocol above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        size = len(data)
        try:
            sent = self._tls.send(data)
            while sent < size:
                data = memoryview(data)[sent:]
                size -= sent
                self._send_out(_RECORD + _RECORD_EXTRA)
                sent = self._tls.send(data)
            self._send_out(size + _RECORD_EXTRA)
        except SSL.Error as error:
            self._failed(error)

    def _send_out(self, expected: int) -> None:
        """Write to the socket what TLS has ready, which is probably less than `expected` bytes."""
        below = self._below
        assert below is not None  # connected
        while True:
            try:
                data = self._tls.bio_read(expected)
            except SSL.WantReadError:
                return
            below.write(data)
            if len(data) < expected:
                return

    def _failed(self, error: SSL.Error) -> None:
        """The peer broke TLS: it is told by an alert, and is gone. The others do not notice."""
        log.debug("net.tls_failed", error=type(error).__name__, reasons=[text for _, _, text in _reasons(error)])
        if self._closing:
            return
        self._closing = True
        if self._below is not None:
            try:
                self._send_out(_FLIGHT)
            except SSL.Error:
                pass  # there was no alert to send
            self._close_below(self._below)

    def close(self) -> None:
        if self._closing:
            return
        below = self._below
        assert below is not None  # connected
        if self._make is None:
            try:
                # spec: RFC8446 6.1: a close_notify, whose answer nobody has to wait for.
                self._tls.shutdown()
                self._send_out(_FLIGHT)
            except SSL.Error:
                pass  # TLS is over already
        self._closing = True
        if self._paused:
            # A socket that is not read does not notice that its peer is gone.
            below.resume_reading()
        self._close_below(below)

    def _close_below(self, below: asyncio.Transport) -> None:
        below.close()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if below.get_write_buffer_size():
            self._deadline = asyncio.get_running_loop().call_later(CLOSE_S, below.abort)

    def abort(self) -> None:
        self._closing = True
        if self._below is not None:
            self._below.abort()

    def is_closing(self) -> bool:
        return self._closing or self._below is None or self._below.is_closing()

    def pause_reading(self) -> None:
        if not self._paused and not self._closing and self._below is not None:
            self._paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._closing and self._below is not None:
            self._paused = False
            self._below.resume_reading()
            if not self._resuming:
                self._resuming = True
                asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """What had come when reading was paused."""
        self._resuming = False
        if self._closing or self._paused:
            return
        try:
            self._read()
        except SSL.Error as error:
            self._failed(error)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def get_write_buffer_size(self) -> int:
        return 0 if self._below is None else self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        assert self._below is not None  # connected
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert self._below is not None  # connected
        self._below.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._above is not None  # made
        return self._above

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Also FINGERPRINT: the SHA-256 of the peer's certificate in lower-case hex; EXPORTER: of tls-exporter;
        CERTIFICATE: the peer's; VERIFIED: whether an authority signed it, where the context looks at that; SERVER_NAME:
        the name that the client wanted to reach.

        spec: RFC9266 2: before TLS 1.3 the latter is defined only with the extended master secret, of which nothing
        tells whether it was used.
        """
        if name == FINGERPRINT:
            certificate = self._tls.get_peer_certificate()
            return default if certificate is None else certificate.digest("sha256").decode().replace(":", "").lower()
        if name == EXPORTER:
            if self._make is not None or self._tls.get_protocol_version() < SSL.TLS1_3_VERSION:
                return default
            return self._tls.export_keying_material(_EXPORTER_LABEL, _EXPORTER_BYTES, b"")
        if name == CERTIFICATE:
            certificate = self._tls.get_peer_certificate()
            return default if certificate is None else certificate.to_cryptography().public_bytes(Encoding.DER)
        if name == VERIFIED:
            return self._tls.get_app_data() is True
        if name == SERVER_NAME:
            return self._tls.get_servername() or default
        return default if self._below is None else self._below.get_extra_info(name, default)


def tls_facts(transport: asyncio.BaseTransport, end_point: bytes) -> TlsFacts:
    """What is known of a connection whose TLS ends here. `end_point`: tls-server-end-point of our certificate.

    spec: RFC9266 3, XEP-0440 3: tls-exporter is the one to be preferred
    """
    exporter, shown = transport.get_extra_info(EXPORTER), transport.get_extra_info(FINGERPRINT)
    bindings = {TLS_SERVER_END_POINT: end_point}
    if isinstance(exporter, bytes):
        bindings = {TLS_EXPORTER: exporter, **bindings}
    named = transport.get_extra_info(SERVER_NAME) is not None
    return TlsFacts(bindings, shown if isinstance(shown, str) else "", named)


def _reasons(error: SSL.Error) -> list[tuple[str, str, str]]:
    """What OpenSSL says of an error: library, function, reason."""
    return error.args[0] if error.args and isinstance(error.args[0], list) else []
