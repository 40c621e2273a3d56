"""TLS: server contexts behind one interface, and the certificate a new server makes for itself.

The standard library serves everything that asks for no client certificate, and XMPP servers whose certificate an
authority signed. Peers that show another one (IRC certfp) need another engine: docs/decisions/tls.md.
"""

import datetime
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SELF_MADE_DAYS = 3650
# Between XMPP servers who connects shows his certificate too.
_USAGE = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


class ServerTls:
    """The server's certificate and the context that uses it. reload() takes up renewed files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        self.context = _server_context()
        self.end_point = b""
        self.reload()

    def reload(self) -> None:
        """Read the files again; connections made from now on use them. Raises OSError or ssl.SSLError and
        leaves what was."""
        end_point = end_point_binding(self.certificate.read_bytes())
        self.context.load_cert_chain(self.certificate, self.key)
        self.end_point = end_point


class LinkTls:
    """Contexts for streams between XMPP servers, with the server's own certificate in both directions.

    `asking` serves and asks for a certificate, which an authority that is trusted must have signed; `silent` serves
    and asks for none. `verified` connects to who shows a valid certificate for its name, `unverified` to anybody.
    `authorities`: PEM files beside the system's. Raises OSError, ValueError.
    """

    def __init__(self, own: ServerTls, authorities: Sequence[str] = ()) -> None:
        self._own = own
        self.silent = own.context
        self.asking = _server_context()
        self.asking.verify_mode = ssl.CERT_OPTIONAL
        self.verified = ssl.create_default_context()
        self.verified.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in authorities:
            self.verified.load_verify_locations(path)
            self.asking.load_verify_locations(path)
        self.asking.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        self.unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.unverified.minimum_version = ssl.TLSVersion.TLSv1_2
        self.unverified.check_hostname = False
        self.unverified.verify_mode = ssl.CERT_NONE
        self.reload()

    def reload(self) -> None:
        """As ServerTls.reload(), which comes first."""
        for context in (self.asking, self.verified, self.unverified):
            context.load_cert_chain(self._own.certificate, self._own.key)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # spec: RFC7590 3.1 and RFC7525: nothing below TLS 1.2, no compression (the default already).
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


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
