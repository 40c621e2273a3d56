"""Clients that show certificates of their own making, and what these are called."""

import hashlib
import ssl
from pathlib import Path

from tripoint.net.tls import make_self_signed


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of the certificate itself, which is in the file as base64."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


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
