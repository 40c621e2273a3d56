"""TLS between XMPP servers, with the server's own certificate in both directions.

Who connects here is asked for a certificate and needs none. Whether an authority signed it is noted of the connection
instead of ending it (CERTIFICATE, VERIFIED of tls_transport.py): dialback may still do. docs/decisions/tls.md.
spec: RFC6120 13.7; RFC7590 3.4.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from tripoint.net.tls import HANDSHAKE_S, ServerTls, choose_alpn, serving_context
from tripoint.net.tls_transport import TlsLayer

# Nobody makes us check longer chains of signatures; authorities' are of two or three.
_MAX_DEPTH: Final = 5
_INVALID_PURPOSE: Final = 26  # X509_V_ERR_INVALID_PURPOSE


class LinkTls:
    """`verified` connects to who shows a valid certificate for its name, `unverified` to anybody; layer() serves.

    `authorities`: PEM files beside the system's. `alpn`: the protocol that is named to who is connected to, and agreed
    on with who connects and names it. Raises OSError, ValueError.
    """

    def __init__(self, own: ServerTls, authorities: Sequence[str] = (), alpn: str | None = None) -> None:
        self._own = own
        self._alpn = alpn
        self._authorities = tuple(authorities)
        self.verified = ssl.create_default_context()
        self.verified.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in authorities:
            self.verified.load_verify_locations(path)
        self.unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.unverified.minimum_version = ssl.TLSVersion.TLSv1_2
        self.unverified.check_hostname = False
        self.unverified.verify_mode = ssl.CERT_NONE
        if alpn is not None:
            for context in (self.verified, self.unverified):
                context.set_alpn_protocols([alpn])
        self._serving = self._make()
        self.reload()

    def layer(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        deadline_s: float = HANDSHAKE_S,
        before: asyncio.BaseProtocol | None = None,
    ) -> TlsLayer:
        """The protocol of the socket of a server that connects, as TlsLayer says."""
        return TlsLayer(self._serving, make, deadline_s, before)

    def reload(self) -> None:
        """As ServerTls.reload(), which comes first."""
        self._serving = self._make()
        for context in (self.verified, self.unverified):
            context.load_cert_chain(self._own.certificate, self._own.key)

    def _make(self) -> SSL.Context:
        context = serving_context(self._own)
        context.set_default_verify_paths()
        for path in self._authorities:
            try:
                context.load_verify_locations(path)
            except SSL.Error as error:
                raise ValueError(f"{path}: {error}") from error
        context.set_verify(SSL.VERIFY_PEER, _note)
        context.set_verify_depth(_MAX_DEPTH)
        # A session that is taken up again would bring a certificate that nobody looked at.
        context.set_options(SSL.OP_NO_TICKET)
        if self._alpn is not None:
            context.set_alpn_select_callback(partial(choose_alpn, self._alpn.encode()))
        return context


def _note(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Called for each certificate of the chain, from the authority's to the peer's own, and for what is wrong."""
    if not ok and not (error == _INVALID_PURPOSE and _may_serve(certificate)):
        connection.set_app_data(False)
    elif depth == 0 and connection.get_app_data() is None:
        connection.set_app_data(True)
    return True


def _may_serve(certificate: crypto.X509) -> bool:
    """Whether it is for who is connected to. Public authorities sign for nothing else, and a server that may answer
    under a name may call under it too."""
    try:
        usage = certificate.to_cryptography().extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (ValueError, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage.value
