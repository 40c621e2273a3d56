"""The PROXY header that a load balancer sends before a connection's own bytes: who is at its other end. Pure.

spec: the PROXY protocol, versions 1 and 2, as haproxy.org publishes it (sections 2.1, 2.2); it is in no RFC.
Read next: proxied.py, which reads it from a socket.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from tripoint.core.errors import PeerError

# Section 2.1: "a 107-byte buffer is always enough", with the CR LF.
MAX_V1_BYTES: Final = 107
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
V2_HEAD_BYTES: Final = 16
# Addresses take 36 bytes at most that are read here; the rest are extensions, of which certificates are the longest.
MAX_V2_BYTES: Final = 4096

_TLV_SSL: Final = 0x20
_CLIENT_SSL: Final = 0x01


class Source(NamedTuple):
    """Who is at the other end. `address` None: the proxy itself, which looks whether the server is alive. `secure`: the
    client speaks TLS to the proxy."""

    address: str | None
    secure: bool = False


class BadHeader(PeerError):
    """What a proxy sent is no PROXY header."""


def parse_v1(line: bytes) -> Source:
    """A whole line with its CR LF. Raises BadHeader."""
    if not line.startswith(b"PROXY ") or not line.endswith(b"\r\n") or len(line) > MAX_V1_BYTES:
        raise BadHeader("no PROXY line")
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return Source(None)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadHeader("a PROXY line names TCP4 or TCP6, two addresses and two ports")
    version = 4 if words[1] == b"TCP4" else 6
    try:
        source, target = (ipaddress.ip_address(word.decode("ascii")) for word in words[2:4])
        ports = [int(word) if word.isdigit() and len(word) <= 5 else -1 for word in words[4:]]
    except (ValueError, UnicodeDecodeError):
        raise BadHeader("an address or a port of a PROXY line is none") from None
    if source.version != version or target.version != version or not all(0 <= port < 65536 for port in ports):
        raise BadHeader("an address or a port of a PROXY line is of the wrong kind")
    return Source(str(source))


def v2_length(head: bytes) -> int:
    """How many bytes follow the first sixteen. Raises BadHeader."""
    if len(head) != V2_HEAD_BYTES or not head.startswith(SIGNATURE) or head[12] >> 4 != 2:
        raise BadHeader("no PROXY header of version 2")
    length = int.from_bytes(head[14:16], "big")
    if length > MAX_V2_BYTES:
        raise BadHeader("a PROXY header that is too long")
    return length


def parse_v2(head: bytes, body: bytes) -> Source:
    """The first sixteen bytes, and what follows them. Raises BadHeader."""
    if len(body) != v2_length(head):
        raise BadHeader("a PROXY header that is cut")
    command, family = head[12] & 0xF, head[13] >> 4
    if command == 0:
        return Source(None)
    if command != 1:
        raise BadHeader("a PROXY header with an unknown command")
    size = {1: 4, 2: 16}.get(family)
    if size is None:
        # Section 2.2: for AF_UNSPEC and AF_UNIX the receiver takes the proxy's own address.
        return Source(None)
    addresses = 2 * size + 4
    if len(body) < addresses:
        raise BadHeader("a PROXY header without its addresses")
    source = ipaddress.ip_address(body[:size])
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        source = source.ipv4_mapped
    return Source(str(source), _says_tls(body[addresses:]))


def _says_tls(extensions: bytes) -> bool:
    """Section 2.2.5: the first byte of PP2_TYPE_SSL says whether the client connected over TLS."""
    at = 0
    while at + 3 <= len(extensions):
        kind, length = extensions[at], int.from_bytes(extensions[at + 1 : at + 3], "big")
        value = extensions[at + 3 : at + 3 + length]
        if len(value) < length:
            raise BadHeader("an extension of a PROXY header is cut")
        if kind == _TLV_SSL and value:
            return bool(value[0] & _CLIENT_SSL)
        at += 3 + length
    return False
