"""From a Matrix server's name to where its federation listens. Pure but for the look-ups it is given.

spec: Matrix server-server-api resolving-server-names; RFC2782 for SRV records. The steps keep the specification's
numbers. What a look-up is (DNS, HTTPS, tables in a test) and how long its answer is kept is the caller's: dns.py and
well_known.py. Whether an address may be connected to is address_policy.py's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName

DEFAULT_PORT: Final = 8448
# The registered service name, then the deprecated one (steps 4 and 5; 3.3 and 3.4).
SERVICES: Final = ("_matrix-fed._tcp", "_matrix._tcp")
# Addresses of one server that are tried. More than any real server has; a name may give thousands.
MAX_TARGETS: Final = 8


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """spec: RFC2782. `target` without the final dot; empty: decidedly not available at this domain."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Target:
    """An IP address and a port to connect to."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach a server: what to connect to, in this order, and what to say there.

    `host`: the Host header. `tls_name`: the DNS name or IP address for which the certificate must be valid.
    """

    targets: tuple[Target, ...]
    host: str
    tls_name: str


class LookUps(Protocol):
    """What resolving asks the world. Each raises RemoteFailed where there is no answer to be had for now."""

    async def addresses(self, name: str) -> Sequence[str]:
        """IPv6 and IPv4 addresses of a DNS name, aliases (CNAME) followed, best first; empty: there are none."""

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        """SRV records of a name; empty: there are none."""

    async def well_known(self, hostname: str) -> ServerName | None:
        """m.server of https://hostname/.well-known/matrix/server; None: no valid one, whatever the reason."""


async def resolve(server: ServerName, look_ups: LookUps, random: Callable[[], float]) -> Route:
    """Where and how to reach a server. Raises RemoteFailed where it has no address.

    `random` gives numbers from 0 to below 1: SRV records of one priority share the load by weight.
    """
    host, port = split_server_name(server)
    _check_port(server, port)
    # 1. An IP literal.
    if _is_ip(host):
        return _literal(server, host, port)
    # 2. A name with a port.
    if port is not None:
        return Route(await _targets(server, [(host, port)], look_ups), server, host)
    # 3. What the name delegates to.
    delegated = await look_ups.well_known(host)
    if delegated is None:
        # 4. to 6. Nothing is delegated: SRV, the deprecated SRV, port 8448, all of the name itself.
        return await _by_service(server, host, look_ups, random)
    to_host, to_port = split_server_name(delegated)
    _check_port(server, to_port)
    # 3.1. An IP literal.
    if _is_ip(to_host):
        return _literal(delegated, to_host, to_port)
    # 3.2. A name with a port.
    if to_port is not None:
        return Route(await _targets(server, [(to_host, to_port)], look_ups), delegated, to_host)
    # 3.3. to 3.5. The same as 4. to 6., of the delegated name.
    return await _by_service(server, to_host, look_ups, random)


def split_server_name(server: ServerName) -> tuple[str, int | None]:
    """(host, port); an IPv6 host without its brackets."""
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        return host, int(rest[1:]) if rest else None
    host, _, port = server.partition(":")
    return host, int(port) if port else None


def _check_port(server: ServerName, port: int | None) -> None:
    # The grammar of server names is five digits.
    if port is not None and not 0 < port < 65536:
        raise RemoteFailed(server, "there is no such port")


def _literal(name: ServerName, host: str, port: int | None) -> Route:
    return Route((Target(host, DEFAULT_PORT if port is None else port),), name, host)


async def _by_service(
    server: ServerName, host: str, look_ups: LookUps, random: Callable[[], float]
) -> Route:
    """Steps 4 to 6 (3.3 to 3.5): Host header and certificate are of `host`, wherever SRV records point."""
    for service in SERVICES:
        try:
            records = await look_ups.srv(f"{service}.{host}")
        except RemoteFailed as error:
            # Not on to the next step: port 8448 of the name itself might be a stranger.
            raise RemoteFailed(server, error.reason) from error
        if records:
            places = [(record.target, record.port) for record in order_srv(records, random) if record.target]
            if not places:
                # spec: RFC2782 "Target": the root alone says that there is no such service here.
                raise RemoteFailed(server, "its SRV record says that it does not federate")
            return Route(await _targets(server, places, look_ups), host, host)
    return Route(await _targets(server, [(host, DEFAULT_PORT)], look_ups), host, host)


async def _targets(
    server: ServerName, places: Sequence[tuple[str, int]], look_ups: LookUps
) -> tuple[Target, ...]:
    """The addresses of the places, in their order; one that cannot be looked up does not stop those after it."""
    found: list[Target] = []
    failed: RemoteFailed | None = None
    for name, port in places[:MAX_TARGETS]:
        try:
            addresses = await look_ups.addresses(name)
        except RemoteFailed as error:
            failed = error
            continue
        found += [Target(address, port) for address in addresses]
        if len(found) >= MAX_TARGETS:
            break
    if not found:
        reason = "no address could be looked up" if failed is None else failed.reason
        raise RemoteFailed(server, reason)
    return tuple(dict.fromkeys(found))[:MAX_TARGETS]


def order_srv(records: Sequence[SrvRecord], random: Callable[[], float]) -> list[SrvRecord]:
    """The order in which to try records: by priority, within one by chance in proportion to weight.

    spec: RFC2782 "Weight": records of weight 0 first, then each draw takes the first whose running sum reaches
    a random number up to the sum of all.
    """
    ordered: list[SrvRecord] = []
    for priority in sorted({record.priority for record in records}):
        left = sorted((r for r in records if r.priority == priority), key=lambda r: r.weight != 0)
        while left:
            drawn = random() * sum(record.weight for record in left)
            running = 0
            for at, record in enumerate(left):
                running += record.weight
                if running >= drawn:
                    ordered.append(left.pop(at))
                    break
    return ordered


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
