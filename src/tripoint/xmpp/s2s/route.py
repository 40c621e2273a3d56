"""Where another domain takes streams of servers: SRV records, with and without TLS from the first byte. Pure but for
the look-ups it is given.

spec: RFC6120 3.2 (SRV, fall-back), XEP-0368 3 (both kinds of records are one list), RFC2782.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tripoint.core.errors import RemoteFailed
from tripoint.net.discovery import Names
from tripoint.net.resolver import SrvRecord, order_srv

PORT: Final = 5269
# Addresses that are tried of one domain.
MAX_TARGETS: Final = 6


@dataclass(frozen=True, slots=True)
class Target:
    """`tls`: from the first byte."""

    address: str
    port: int
    tls: bool


async def targets_of(domain: str, names: Names, random: Callable[[], float]) -> Sequence[Target]:
    """What to connect to, in this order. Raises RemoteFailed where there is nothing."""
    try:
        host = domain.encode("idna").decode("ascii")
    except UnicodeError:
        raise RemoteFailed(domain, "it is no name of the DNS") from None
    records: dict[SrvRecord, bool] = {}
    refused = False
    for service, tls in (("_xmpps-server._tcp", True), ("_xmpp-server._tcp", False)):
        found = await names.srv(f"{service}.{host}")
        # spec: RFC2782 "Target": the root alone says that there is no such service here
        refused = refused or any(not record.target for record in found)
        records.update({record: tls for record in found if record.target})
    if not records and refused:
        raise RemoteFailed(domain, "its SRV record says that it does not federate")
    places = [(record.target, record.port, records[record]) for record in order_srv(list(records), random)]
    targets: list[Target] = []
    failed: RemoteFailed | None = None
    # spec: RFC6120 3.2.2: without SRV records the domain itself, at the registered port
    for name, port, tls in places or [(host, PORT, False)]:
        try:
            targets += [Target(address, port, tls) for address in await names.addresses(name)]
        except RemoteFailed as error:
            failed = error
        if len(targets) >= MAX_TARGETS:
            break
    if not targets:
        raise RemoteFailed(domain, "it has no address" if failed is None else failed.reason)
    return targets[:MAX_TARGETS]
