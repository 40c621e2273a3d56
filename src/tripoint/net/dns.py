"""Addresses and SRV records by DNS, with the caching that DNS itself prescribes (dnspython).

Nothing here goes through the C library's resolver: that one blocks a thread, knows no deadline and takes 127.1 and
0x7f000001 for addresses. So /etc/hosts is not read, but for the one name that needs no DNS: localhost.
Not here: what the names are for (resolver.py), which addresses are connected to (address_policy.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tripoint.core.errors import RemoteFailed
from tripoint.net.resolver import SrvRecord

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.resolver import Answer

# A name that takes longer is no use to a request that waits for it.
LIFETIME_S: Final = 8.0
# Answers kept, each as long as its TTL says.
CACHED_ANSWERS: Final = 10_000


class Dns:
    """Look-ups of one process. `nameservers`: (address, port) to ask instead of those of /etc/resolv.conf."""

    def __init__(self, nameservers: Sequence[tuple[str, int]] = ()) -> None:
        self._nameservers = nameservers
        self._made: Resolver | None = None

    async def addresses(self, name: str) -> Sequence[str]:
        """IPv6 and IPv4 addresses of a name in turns, aliases followed. Raises RemoteFailed where nobody knows."""
        if name.rstrip(".").lower() == "localhost":
            return ("127.0.0.1", "::1")
        six, four = await asyncio.gather(
            self._resolve(name, "AAAA"), self._resolve(name, "A"), return_exceptions=True
        )
        found: list[list[str]] = []
        for answer in (six, four):
            if isinstance(answer, BaseException) and not isinstance(answer, RemoteFailed):
                raise answer
            found.append([] if isinstance(answer, BaseException) or answer is None else [r.address for r in answer])
        if not any(found):
            for answer in (six, four):
                if isinstance(answer, RemoteFailed):
                    raise answer
        # In turns: with one family broken, every other attempt still gets through.
        longest = max(len(addresses) for addresses in found)
        return [addresses[at] for at in range(longest) for addresses in found if at < len(addresses)]

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        """SRV records of a name, in no order. Raises RemoteFailed where nobody knows."""
        answer = await self._resolve(name, "SRV")
        return [
            SrvRecord(r.priority, r.weight, r.port, r.target.to_text(omit_final_dot=True).strip("."))
            for r in answer or ()
        ]

    async def names_of(self, address: str) -> Sequence[str]:
        """What an address says it is called (PTR). Anybody can say anything: compare with `addresses`. Raises
        RemoteFailed where nobody knows."""
        import dns.reversename

        answer = await self._resolve(dns.reversename.from_address(address).to_text(), "PTR")
        return [r.target.to_text(omit_final_dot=True) for r in answer or ()]

    async def listed(self, address: str, zone: str) -> bool:
        """Whether a list of addresses, kept as a zone of the DNS, has this one. Raises RemoteFailed.

        Such lists answer 127.0.0.0/8; any other address is that of somebody who answers everything. 127.255.255.0/24 is
        how they refuse to answer who asks too much or by way of a public resolver, and says nothing of the address.
        """
        import dns.reversename

        labels = dns.reversename.from_address(address).labels[:-3]  # without in-addr.arpa or ip6.arpa, and the root
        name = ".".join([*(label.decode("ascii") for label in labels), zone])
        answer = await self._resolve(name, "A")
        found = [record.address for record in answer or ()]
        return any(one.startswith("127.") and not one.startswith("127.255.255.") for one in found)

    async def _resolve(self, name: str, kind: str) -> Answer | None:
        """The answer; None where name or records do not exist. Raises RemoteFailed for no answer at all."""
        # Here, since it costs a tenth of a second of CPU that a server without federation need not spend.
        import dns.asyncresolver
        import dns.exception
        import dns.name
        import dns.nameserver
        import dns.resolver

        try:
            if self._made is None:
                made = dns.asyncresolver.Resolver(configure=not self._nameservers)
                if self._nameservers:
                    made.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._nameservers]
                made.cache = dns.resolver.LRUCache(CACHED_ANSWERS)
                self._made = made
            # An absolute name: search domains must not turn a stranger's name into one of ours.
            return await self._made.resolve(
                dns.name.from_text(name), kind, lifetime=LIFETIME_S, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.name.LabelTooLong, dns.name.EmptyLabel, dns.name.NameTooLong, dns.name.IDNAException):
            return None  # no name of the DNS at all
        except (dns.exception.DNSException, OSError) as error:
            raise RemoteFailed(name, f"the DNS gives no answer ({type(error).__name__})") from error
