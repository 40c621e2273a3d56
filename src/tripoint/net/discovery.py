"""Where servers are, from everything that can be asked: DNS, .well-known, and chance for SRV weights.

The order of the steps is resolver.py's; this joins them to the look-ups of a running process.
"""

import time
from collections.abc import Callable, Sequence
from random import random
from typing import Final, Protocol

from tripoint.core.ids import ServerName
from tripoint.net.outbound import Answer, Outbound
from tripoint.net.resolver import Route, SrvRecord, resolve
from tripoint.net.well_known import LIMIT_BYTES, WellKnown

# All of a .well-known request, redirects included: whoever waits has not even connected yet.
WELL_KNOWN_S: Final = 10.0


class Names(Protocol):
    """The DNS, or a test's table of it. As in resolver.LookUps."""

    async def addresses(self, name: str) -> Sequence[str]: ...
    async def srv(self, name: str) -> Sequence[SrvRecord]: ...


class Discovery:
    """resolver.LookUps of a process, and routes from them."""

    def __init__(self, names: Names, outbound: Outbound, *, now_s: Callable[[], float] = time.time) -> None:
        self._outbound = outbound
        self._well_known = WellKnown(self._fetch, now_s)
        self.addresses = names.addresses
        self.srv = names.srv
        self.well_known = self._well_known.server_of

    async def route(self, server: ServerName) -> Route:
        """How to reach a server. Raises RemoteFailed."""
        return await resolve(server, self, random)

    def close(self) -> None:
        self._well_known.close()

    async def _fetch(self, hostname: str) -> Answer:
        url = f"https://{hostname}/.well-known/matrix/server"
        return await self._outbound.get(url, limit_bytes=LIMIT_BYTES, timeout_s=WELL_KNOWN_S)
