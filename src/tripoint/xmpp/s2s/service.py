"""XMPP federation of this process as the front end has it: one door out, and where other servers come in.

Read next: links.py (out), listener.py (in), c2s/foreign.py (what comes in).
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tripoint.core.ids import ServerName
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.connections import Connections
from tripoint.net.discovery import Names
from tripoint.xmpp.jid import Domains, Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.s2s.actions import Ask
from tripoint.xmpp.s2s.connecting import LinkTls
from tripoint.xmpp.s2s.intake import Receiving, Traffic
from tripoint.xmpp.s2s.links import Links
from tripoint.xmpp.s2s.listener import Listener
from tripoint.xmpp.s2s.pairs import Terms
from tripoint.xmpp.s2s.wire import ServingTls, Wire
from tripoint.xmpp.wire import Element


class BothTls(LinkTls, ServingTls, Protocol):
    """TLS for both directions (net/link_tls.py)."""


@dataclass(frozen=True, slots=True)
class Means:
    """What federation needs from outside. `dialback`: servers without a certificate that is valid for their name are
    spoken to as well. `claims`: whether a Matrix server says, signed, that its people are those of the XMPP domain of
    its name (it may raise RemoteFailed); None: nothing is said of that here either."""

    names: Names
    policy: AddressPolicy
    tls: BothTls
    dialback: bool = True
    claims: Callable[[ServerName], Awaitable[bool]] | None = None


class Servers:
    """Every stream to and from other servers. `deliver` and `bounce` are set before the first stream. `components`:
    more domains for which this server speaks."""

    def __init__(
        self,
        domains: Domains,
        secret: bytes,
        means: Means,
        traffic: Traffic,
        stanza_bytes: int,
        *,
        components: frozenset[str] = frozenset(),
        new_id: Callable[[], str],
        now_s: Callable[[], float],
    ) -> None:
        self.deliver: Callable[[Element], Awaitable[None]] | None = None
        self.bounce: Callable[[Element, Problem], None] | None = None
        terms = Terms(
            frozenset((domains.server, domains.rooms, domains.gateway)) | components,
            hmac.digest(secret, b"dialback", "sha256"),
            require_tls=True,
            dialback=means.dialback,
            # A server adds to what its client has written, and lists that services give are longer than that.
            stanza_bytes=2 * stanza_bytes,
            identity=None if means.claims is None else domains.server,
        )
        receiving = Receiving(traffic, self._delivered, self._asked, now_s)
        self.links = Links(terms, means.tls, means.names, means.policy, receiving, self._bounced)
        self.listener = Listener(terms, means.tls, receiving, Connections(clock_s=now_s), new_id)
        self.listener.goes_back = self.links.goes_back
        self.claims = means.claims

    def send(self, stanza: bytes, ours: str, to: Jid, original: Element | None = None) -> None:
        """A whole stanza, with its addresses, from one of our domains. `original`: what its sender is told of where it
        cannot be delivered; None: nobody is."""
        self.links.send(ours, to.domain, stanza, original)

    def protocol(self, *, secure: bool, address: str | None = None, offloaded: bool = False) -> Wire:
        """The factory of the listener; see Listener.protocol."""
        return self.listener.protocol(secure=secure, address=address)

    def sweep(self) -> None:
        """Close what is idle."""
        self.links.sweep()
        self.listener.sweep()

    async def close(self) -> None:
        """Tell every server, and close."""
        await self.listener.close()
        await self.links.close()

    async def _delivered(self, stanza: Element) -> None:
        assert self.deliver is not None
        await self.deliver(stanza)

    async def _asked(self, ask: Ask) -> bool | None:
        return await self.links.ask(ask)

    def _bounced(self, stanza: Element, problem: Problem) -> None:
        assert self.bounce is not None
        self.bounce(stanza, problem)
