"""Peers' addresses: which are this machine's own, and which count as one for limits (docs/mapping.md 1.9)."""

import ipaddress
from functools import lru_cache


# Asked several times of every connection.
@lru_cache(maxsize=4096)
def parse_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address without its zone, IPv4 where it is only mapped; None for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def is_loopback(address: str) -> bool:
    """Whether a peer's address is this machine's own."""
    parsed = parse_address(address)
    return parsed is not None and parsed.is_loopback


@lru_cache(maxsize=4096)
def wide_network_of(address: str) -> str:
    """The /24 or /48 around an address: what one customer of a provider may have. What is no address is itself."""
    parsed = parse_address(address)
    if parsed is None:
        return address
    return str(ipaddress.ip_network((parsed, 48 if parsed.version == 6 else 24), strict=False))


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The /32 or /64 that an address is counted as. What is no address (a socket path) is itself."""
    parsed = parse_address(address)
    if parsed is None:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
