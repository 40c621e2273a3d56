"""For which domains a certificate speaks. Pure.

spec: RFC6120 13.7.1.2 (SRVName, dNSName, XmppAddr; a wildcard stands for the whole of the leftmost label of a dNSName).
When we connect the standard library decides, by dNSName alone.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from cryptography import x509

_XMPP_ADDR: Final = "1.3.6.1.5.5.7.8.5"
_SRV_NAME: Final = "1.3.6.1.5.5.7.8.7"
_SERVICE: Final = "_xmpp-server."
_UTF8_STRING: Final = 0x0C
_IA5_STRING: Final = 0x16
# Of what kind of text each is, in DER.
_TEXTS: Final = {_XMPP_ADDR: _UTF8_STRING, _SRV_NAME: _IA5_STRING}


def speaks_for(certificate: bytes, domain: str) -> bool:
    """Whether a certificate (DER) that was verified is valid for a domain, which is prepared."""
    try:
        wanted = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return False
    try:
        found = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (ValueError, x509.ExtensionNotFound):
        return False
    rest = wanted.partition(".")[2]
    for name in found.value.get_values_for_type(x509.DNSName):
        name = name.lower().rstrip(".")
        if name == wanted or ("." in rest and name == f"*.{rest}"):
            return True
    return any(
        text.lower() == (domain if kind == _XMPP_ADDR else _SERVICE + wanted)
        for kind, text in _other_names(found.value.get_values_for_type(x509.OtherName))
    )


def _other_names(names: Iterable[x509.OtherName]) -> Iterator[tuple[str, str]]:
    """(kind, text) of each SRVName and XmppAddr; what is malformed is not there."""
    for one in names:
        kind = one.type_id.dotted_string
        text = _text(one.value, _TEXTS[kind]) if kind in _TEXTS else None
        if text is not None:
            yield kind, text


def _text(value: bytes, tag: int) -> str | None:
    """A text in DER: its tag, its length in one byte or after how many bytes that takes, the text."""
    if len(value) < 2 or value[0] != tag:
        return None
    length, start = value[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(value[2:start], "big")
    if len(value) != start + length:
        return None
    try:
        return value[start:].decode()
    except UnicodeDecodeError:
        return None
