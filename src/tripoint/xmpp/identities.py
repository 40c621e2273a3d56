"""Which other domains are Matrix servers too, so that `bob@remote.org` is `@bob:remote.org`.

Three things have to agree: the names are the same; the server's signed keys say so; the XMPP domain says so inside TLS,
with a certificate that is valid for it. What was proven is kept, and looked at again when the domain is connected to.
Without proof they are two users.
spec: docs/mapping.md 1.6, 23.4
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import InvalidId, ServerName, parse_server_name
from tripoint.rooms.ports import NameTable
from tripoint.xmpp.jid import SameServers
from tripoint.xmpp.session import Spawn

log = structlog.get_logger()

_KIND: Final = "same_identity"  # name table: server -> "1", "" for no more
# How long an answer is believed without another look.
PROVEN_S: Final = 86_400.0
NOT_S: Final = 600.0
# Domains whose answer is remembered.
MAX_KNOWN: Final = 10_000
# Both questions together.
ASKING_S: Final = 15.0


class Identities:
    """`same` is kept true for everybody who reads it. `claims`: whether a server's keys say so; `confirms`: whether a
    domain says so, None where it cannot be told (s2s/links.py)."""

    def __init__(
        self,
        same: SameServers,
        names: NameTable,
        claims: Callable[[ServerName], Awaitable[bool]],
        confirms: Callable[[str], Awaitable[bool | None]],
        spawn: Spawn,
        monotonic: Callable[[], float],
    ) -> None:
        self._same = same
        self._names = names
        self._claims = claims
        self._confirms = confirms
        self._spawn = spawn
        self._monotonic = monotonic
        # Until when the present answer about a domain is believed.
        self._until: dict[str, float] = {}
        self._asking: dict[str, asyncio.Future[None]] = {}

    async def start(self) -> None:
        """What was proven before."""
        for name, value in (await self._names.load_names(_KIND, "")).items():
            if value:
                self._same.names.add(ServerName(name))

    def is_known(self, domain: str) -> bool:
        """Whether there is an answer, yes or no, that needs no new look."""
        return self._monotonic() < self._until.get(domain, 0.0)

    async def look(self, domain: str, patience_s: float = ASKING_S) -> bool:
        """Whether a domain is a Matrix server too; it is asked where that is not known, and waited for so long."""
        if not self.is_known(domain):
            await asyncio.wait([self._asked(domain)], timeout=patience_s)
        return domain in self._same.names

    def _asked(self, domain: str) -> asyncio.Future[None]:
        """Done when there is an answer; each domain is asked once at a time."""
        asking = self._asking.get(domain)
        if asking is None:
            asking = self._asking[domain] = asyncio.get_running_loop().create_future()
            self._spawn(self._answer(domain, asking))
        return asking

    async def _answer(self, domain: str, asking: asyncio.Future[None]) -> None:
        try:
            await self._ask(domain)
        finally:
            del self._asking[domain]
            asking.set_result(None)

    def connected(self, domain: str, confirms: bool | None) -> None:
        """A domain was connected to. One that says so is asked about the rest; one that was proven and says so no more
        is believed no longer."""
        if (confirms and not self.is_known(domain)) or (confirms is False and domain in self._same.names):
            self._asked(domain)

    async def _ask(self, domain: str) -> None:
        proven: bool | None = None
        try:
            server = parse_server_name(domain)
            async with asyncio.timeout(ASKING_S):
                proven = await self._confirms(domain)
                if proven:
                    proven = await self._claims(server)
        except (InvalidId, RemoteFailed, TimeoutError) as error:
            proven = None
            log.debug("xmpp.identity_unknown", domain=domain, error=str(error))
        self._remember(domain, PROVEN_S if proven else NOT_S)
        if proven is None:
            return  # who does not answer has not changed their mind
        if proven != (domain in self._same.names):
            log.info("xmpp.identity", domain=domain, same=proven)
            self._names.put_name(_KIND, "", domain, "1" if proven else "")
            (self._same.names.add if proven else self._same.names.discard)(ServerName(domain))

    def _remember(self, domain: str, for_s: float) -> None:
        self._until.pop(domain, None)
        while len(self._until) >= MAX_KNOWN:
            del self._until[next(iter(self._until))]
        self._until[domain] = self._monotonic() + for_s
