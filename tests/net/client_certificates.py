"""Clients that show certificates of their own making, and what these are called."""

import datetime
import hashlib
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tripoint.net.tls import make_self_signed


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of the certificate itself, which is in the file as base64."""
    first, end, _ = certificate.read_text().partition("-----END CERTIFICATE-----\n")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first + end)).hexdigest()


def client_context(certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A client that believes every server, and shows a certificate if it has one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def made_client(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A client with a new certificate that nobody signed, and its fingerprint."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    make_self_signed([name], certificate, key)
    return client_context(certificate, key), fingerprint(certificate)


def signed_clients(folder: Path) -> list[tuple[Path, Path]]:
    """Certificates, and their keys, of an authority that nobody knows: with its own behind it, without, and expired."""
    now = datetime.datetime.now(datetime.UTC)
    top_key = ec.generate_private_key(ec.SECP256R1())
    top = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])

    def signed(name: str, key: ec.EllipticCurvePrivateKey, until: datetime.datetime) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(top, subject, key.public_key(), x509.random_serial_number())
        begun = builder.not_valid_before(now - datetime.timedelta(days=9)).not_valid_after(until)
        return begun.sign(top_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    later, over = now + datetime.timedelta(days=9), now - datetime.timedelta(days=1)
    own = signed("somebody", top_key, later)
    made = []
    for name, until, behind in (("chain", later, own), ("alone", later, b""), ("over", over, b"")):
        key = ec.generate_private_key(ec.SECP256R1())
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        paths[0].write_bytes(signed(name, key, until) + behind)
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        made.append(paths)
    return made
