"""Which addresses this server may connect to by itself: public ones, and what the operator allows. Pure.

Names and redirects come from strangers, so what they lead to is judged, and judged as an address at the moment of
connecting: a name that is looked up twice may answer twice. The tables are IANA's special-purpose
address registries, written out: what ipaddress calls global differs between versions of Python.
An IPv4 address inside an IPv6 one counts as that IPv4 address, since the network delivers it there.
Read next: outbound.py, which asks for every socket.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_REFUSED_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a carrier's NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local; clouds answer here with credentials
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, withdrawn
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# Only 2000::/3 is handed out for use in public; the rest is loopback, private, link-local, multicast or nothing.
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
# The interface identifier of ISATAP: 0000:5efe or 0200:5efe, then the IPv4 address.
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


class AddressRefused(OSError):
    """This server does not connect to that address. An OSError: connecting failed, as with no route."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EACCES, reason)


class AddressPolicy:
    """`allow_networks`: networks (CIDR) that may be connected to although they are not public."""

    def __init__(self, allow_networks: Sequence[str] = ()) -> None:
        self._allowed = tuple(ipaddress.ip_network(text) for text in allow_networks)

    def is_allowed(self, address: str) -> bool:
        """Whether this server may connect to an IP address. What is no address is not allowed."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address):
            if parsed.scope_id is not None:
                return False  # a zone makes sense on one link alone
            inner = _embedded(parsed)
            if inner is not None:
                return self._is_allowed(inner)
        return self._is_allowed(parsed)

    def check(self, address: str) -> None:
        """Raise AddressRefused unless this server may connect to that address."""
        if not self.is_allowed(address):
            raise AddressRefused(f"{address} is no public address and not in outbound.allow_networks")

    def _is_allowed(self, parsed: IPv4Address | IPv6Address) -> bool:
        return _is_public(parsed) or any(parsed in network for network in self._allowed)


def _is_public(parsed: IPv4Address | IPv6Address) -> bool:
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _REFUSED_V4)
    return parsed in _PUBLIC_V6 and not any(parsed in network for network in _REFUSED_V6)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets for an IPv6 address go in the end, or None: v4-mapped and
    -compatible, 6to4, NAT64, ISATAP."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    number = int(address)
    if address in _NAT64 or (address in _COMPATIBLE and number > 1):
        return IPv4Address(number & 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None
