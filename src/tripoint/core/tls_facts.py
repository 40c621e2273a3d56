"""What is known of a connection by its TLS: what a login on it can be bound to, and who has shown which certificate.

spec: RFC5056; RFC5929 4 (tls-server-end-point), RFC9266 (tls-exporter)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

TLS_SERVER_END_POINT: Final = "tls-server-end-point"
TLS_EXPORTER: Final = "tls-exporter"

# Names of channel binding types and their data.
Bindings = Mapping[str, bytes]
NO_BINDINGS: Final[Bindings] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """`bindings`: what the connection can be bound to, the better first; `certificate`: the fingerprint of the one that
    the client has shown (SHA-256 of its DER form in lower-case hex), "" for none; `named`: whether the client has said
    by which name it found the server (SNI)."""

    bindings: Bindings
    certificate: str = ""
    named: bool = True


# Without TLS, and where TLS ends at a proxy.
NO_TLS: Final = TlsFacts(NO_BINDINGS)
