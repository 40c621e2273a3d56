"""For which domains a certificate speaks. Pure.

spec: RFC6120 13.7.1.2 (dNSName; a wildcard stands for the whole of the leftmost label). XmppAddr and SRVName are not
read: the standard library does not show them, and authorities sign neither.
"""

from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID


def is_for_clients(certificate: bytes) -> bool:
    """Whether a certificate (DER) may be shown by who connects too: that is not said of many that authorities sign."""
    try:
        usage = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage.value


def speaks_for(certificate: Mapping[str, Any], domain: str) -> bool:
    """Whether a certificate, as ssl.SSLSocket.getpeercert() shows one that was verified, is valid for a domain."""
    try:
        wanted = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return False
    rest = wanted.partition(".")[2]
    for kind, name in certificate.get("subjectAltName", ()):
        if kind != "DNS":
            continue
        name = name.lower().rstrip(".")
        if name == wanted or ("." in rest and name == f"*.{rest}"):
            return True
    return False
