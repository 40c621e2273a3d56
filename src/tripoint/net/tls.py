"""TLS: server contexts behind one interface, and the certificate a new server makes for itself.

The standard library serves HTTP, which asks for no client certificate. Clients of IRC and XMPP, who may show one that
nobody signed, are served by pyOpenSSL (tls_transport.py), and so are other XMPP servers (link_tls.py):
docs/decisions/tls.md.
"""

import asyncio
import datetime
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from tripoint.net.tls_transport import TlsLayer

SELF_MADE_DAYS = 3650
# A phone on a bad network needs a few seconds; who takes longer than this does something else.
HANDSHAKE_S = 20.0
# What the standard library offers below TLS 1.3: forward secrecy, authenticated encryption where the peer can.
_CIPHERS = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
# SSL_MODE_RELEASE_BUFFERS, for which pyOpenSSL has no name: a connection that is idle keeps no buffers (34 kB).
_MODE_RELEASE_BUFFERS = 0x10
# Between XMPP servers who connects shows his certificate too.
_USAGE = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


class ServerTls:
    """The server's certificate and the context that uses it. reload() takes up renewed files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # spec: RFC7590 3.1 and RFC7525: nothing below TLS 1.2, no compression (the default already).
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.end_point = b""
        self.reload()

    def reload(self) -> None:
        """Read the files again; connections made from now on use them. Raises OSError or ssl.SSLError and
        leaves what was."""
        end_point = end_point_binding(self.certificate.read_bytes())
        self.context.load_cert_chain(self.certificate, self.key)
        self.end_point = end_point


class ClientTls:
    """The context for clients, who are asked for a certificate, whoever signed it: it is known by its fingerprint.

    `alpn`: the protocol that is agreed on with clients who ask for it by name. reload() comes after ServerTls.reload().
    """

    def __init__(self, own: ServerTls, alpn: bytes | None = None) -> None:
        self._own = own
        self._alpn = alpn
        self.context = self._make()

    @property
    def end_point(self) -> bytes:
        """tls-server-end-point."""
        return self._own.end_point

    def layer(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        deadline_s: float = HANDSHAKE_S,
        before: asyncio.BaseProtocol | None = None,
    ) -> TlsLayer:
        """The protocol of a new connection's socket, as TlsLayer says."""
        return TlsLayer(self.context, make, deadline_s, before)

    def reload(self) -> None:
        """Connections made from now on use the renewed files. Raises ValueError and leaves what was."""
        self.context = self._make()

    def _make(self) -> SSL.Context:
        context = serving_context(self._own)
        context.set_verify(SSL.VERIFY_PEER, _takes_any)
        context.set_verify_depth(0)  # who signed it is not looked at, so that nobody makes us check long chains
        # Without it OpenSSL refuses to resume a session of who showed a certificate.
        context.set_session_id(b"tripoint")
        if self._alpn is not None:
            context.set_alpn_select_callback(partial(choose_alpn, self._alpn))
        return context


def serving_context(own: ServerTls) -> SSL.Context:
    """A context of pyOpenSSL that serves with the server's certificate; whom it asks for one is the caller's choice.

    Raises ValueError for files that do not fit.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(_MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets keep sessions at the client
    try:
        context.use_certificate_chain_file(str(own.certificate))
        context.use_privatekey_file(str(own.key))
        context.check_privatekey()
    except SSL.Error as error:
        raise ValueError(f"{own.certificate}: {error}") from error
    return context


def _takes_any(_connection: SSL.Connection, _certificate: object, _error: int, _depth: int, _ok: int) -> bool:
    """Whoever signed it: the peer has shown that it holds the key, and the fingerprint says whose it is."""
    return True


def choose_alpn(own: bytes, _connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    """Our protocol, where it is offered.

    spec: RFC7301 3.2, but that a client who names something else is served all the same: it is our only protocol.
    """
    return own if own in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def end_point_binding(certificate_pem: bytes) -> bytes:
    """tls-server-end-point: the hash of the certificate.

    spec: RFC5929 4.1: with the hash of its signature, but SHA-256 for MD5 and SHA-1.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    algorithm = certificate.signature_hash_algorithm
    name = "sha256" if algorithm is None or algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate.public_bytes(serialization.Encoding.DER)).digest()


def make_self_signed(names: list[str], certificate: Path, key: Path) -> None:
    """Write a new self-signed certificate for these DNS names or IP addresses, and its key, readable by the owner
    alone."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_MADE_DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGE), critical=False)
        .sign(private, hashes.SHA256())
    )
    write_secret(
        key,
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
