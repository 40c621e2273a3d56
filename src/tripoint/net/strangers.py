"""What others say of an address that connects: the DNS what it is called, lists whether it is bad, and it itself whose
the connection is (ident).

Asked only where the configuration says so. It never holds anybody up for longer than LOOK_UP_S, and what gives no
answer says nothing. A name counts where it leads back to the address: anybody can call his own address anything.
Read next: dns.py and ident.py, which ask.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, ParamSpec, Protocol, TypeVar

import structlog

from tripoint.core.addresses import parse_address
from tripoint.core.errors import RemoteFailed
from tripoint.net.ident import user_of

log = structlog.get_logger()

T = TypeVar("T")
P = ParamSpec("P")
# A client registers meanwhile, and waits for the rest.
LOOK_UP_S: Final = 4.0
# Sooner than the DNS may take: most machines drop what asks them.
IDENT_S: Final = 2.5
# Look-ups that may be under way; whoever connects beyond that comes in unlooked at: a flood must not fill the DNS.
MAX_RUNNING: Final = 200
# A name of the DNS that can stand in a line of IRC.
MAX_NAME: Final = 200


class Known(NamedTuple):
    """`hostname`: what it is called, confirmed; `listed_in`: a list that has it; `ident`: whose it says it is."""

    hostname: str | None = None
    listed_in: str | None = None
    ident: str | None = None


UNKNOWN: Final = Known()


class ReverseNames(Protocol):
    """The DNS, or a test's table of it. Each raises RemoteFailed where nobody knows."""

    async def addresses(self, name: str) -> Sequence[str]: ...
    async def names_of(self, address: str) -> Sequence[str]: ...
    async def listed(self, address: str, zone: str) -> bool: ...


class Strangers:
    """`zones`: lists of bad addresses; `hostnames`, `ident`: whether names are asked for, and users."""

    def __init__(
        self, names: ReverseNames, zones: Sequence[str] = (), *, hostnames: bool = False, ident: bool = False
    ) -> None:
        self._names = names
        self._running = 0
        self.change(zones, hostnames=hostnames, ident=ident)

    def change(self, zones: Sequence[str], *, hostnames: bool, ident: bool = False) -> None:
        """The configuration was changed."""
        self._zones = tuple(zones)
        self._hostnames = hostnames
        self._ident = ident

    @property
    def asks(self) -> bool:
        """Whether anything is asked at all."""
        return self._hostnames or self._ident or bool(self._zones)

    async def look_up(self, address: str, ports: tuple[int, int] | None = None) -> Known:
        """What is known within LOOK_UP_S. Addresses that are not public are nobody's in the DNS.

        `ports`: of the connection, theirs and ours; None where a proxy has others.
        """
        parsed = parse_address(address)
        if parsed is None or not parsed.is_global or not self.asks or self._running >= MAX_RUNNING:
            return UNKNOWN
        self._running += 1
        try:
            # Each has its own time: whose address it is may let one question wait, and must not lose the others so.
            hostname, user, *listed = await asyncio.gather(
                _or_none(LOOK_UP_S, self._hostname, parsed),
                _or_none(IDENT_S, self._user, parsed, ports),
                *(_or_none(LOOK_UP_S, self._in, parsed, zone) for zone in self._zones),
            )
        finally:
            self._running -= 1
        return Known(hostname, next((zone for zone in listed if zone is not None), None), user)

    async def _user(
        self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, ports: tuple[int, int] | None
    ) -> str | None:
        if not self._ident or ports is None:
            return None
        return await user_of(str(address), *ports)

    async def _hostname(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
        if not self._hostnames:
            return None
        for name in (await self._names.names_of(str(address)))[:2]:
            if len(name) > MAX_NAME or not name.isascii() or not name.isprintable() or set(name) & set(" :!@*?"):
                continue
            if str(address) in await self._names.addresses(name):
                return name.lower()
        return None

    async def _in(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, zone: str) -> str | None:
        return zone if await self._names.listed(str(address), zone) else None


async def _or_none(
    patience_s: float, question: Callable[P, Awaitable[T | None]], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    try:
        async with asyncio.timeout(patience_s):
            return await question(*args, **kwargs)
    except (RemoteFailed, TimeoutError) as error:
        log.debug("net.stranger_unknown", error=str(error))
        return None
