"""Every address that is not of this server's own three domains: components, and other XMPP servers.

One way out for our people, rooms and components alike, one way in for what comes from components and servers, and one
place where what cannot be delivered goes back from.
spec: RFC6120 10.4, 10.5, 8.3.3.8, 8.3.3.15, 8.3.3.16; XEP-0114. Who they are here is c2s/foreign.py's.
"""

from collections.abc import Awaitable, Callable

import structlog

from tripoint.xmpp.components.service import Components
from tripoint.xmpp.jid import Domains, InvalidJid, Jid, domain_in, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import stanza_error
from tripoint.xmpp.s2s.service import Servers
from tripoint.xmpp.wire import REFUSED, REFUSED_NS, Element, render

log = structlog.get_logger()


class Outside:
    """`servers` None: no other server is spoken to; `components` None: there are none. `deliver` and `bounce` (for our
    own people and rooms) are set before anything comes."""

    def __init__(self, domains: Domains, servers: Servers | None, components: Components | None) -> None:
        self.deliver: Callable[[Element], Awaitable[None]] = _nowhere
        self.bounce: Callable[[Element, Problem], None] = lambda stanza, problem: None
        self._domains = domains
        self._servers = servers
        self._components = components

    def is_component(self, domain: str) -> bool:
        """Whether this is the domain of a component, connected or not."""
        return self._components is not None and domain in self._components.names

    def reaches(self, domain: str) -> bool:
        """Whether there is a way to a domain that is not ours."""
        return self._servers is not None or self.is_component(domain)

    def send(self, stanza: bytes, ours: str, to: Jid, original: Element | None = None) -> None:
        """A whole stanza, with its addresses, from one of our domains or a component. `original`: what its sender is
        told of where it cannot be delivered; None: nobody is."""
        if self._components is not None and to.domain in self._components.names:
            problem = self._components.send(to.domain, stanza)
        elif self._servers is not None:
            self._servers.send(stanza, ours, to, original)
            return
        else:
            problem = Problem("remote-server-not-found", "This server does not talk to other XMPP servers")
        if problem is not None and original is not None and original.get("type") not in ("error", "result"):
            self.bounced(original, problem)

    async def confirms(self, domain: str) -> bool | None:
        """Whether a domain is a Matrix server too, as links.py has it; a component never is. docs/mapping.md 1.6"""
        if self._servers is None or self.is_component(domain):
            return False
        return await self._servers.links.confirms(self._domains.server, domain)

    async def came(self, stanza: Element) -> None:
        """A stanza of a component or another server, whose domains were checked."""
        try:
            sender = parse_jid(stanza.get("from") or "")
        except InvalidJid as error:
            # It has no address that could be answered, and the others of that domain are not to blame.
            log.info("xmpp.outside.malformed_sender", reason=str(error))
            return
        try:
            to = parse_jid(stanza.get("to") or "")
        except InvalidJid as error:
            self._refuse_malformed(stanza, sender, error)
            return
        if (why := stanza.child_text(REFUSED, REFUSED_NS)) is not None:
            if stanza.get("type") not in ("error", "result"):
                self.send(stanza_error(stanza, str(sender), Problem("policy-violation", why)), to.domain, sender)
        elif self._domains.has(to.domain):
            await self.deliver(stanza)
        else:
            self.send(render(stanza), sender.domain, to, stanza)

    def _refuse_malformed(self, stanza: Element, sender: Jid, error: InvalidJid) -> None:
        """spec: RFC6120 8.3.3.8. The answer comes from the domain: the rest is no address."""
        if stanza.get("type") in ("error", "result"):
            return
        ours = domain_in(stanza.get("to") or "")
        addressed = Element(stanza.name, stanza.namespace, {**stanza.attributes, "to": ours})
        problem = Problem("jid-malformed", f"The address is not valid: {error}")
        self.send(stanza_error(addressed, str(sender), problem), ours, sender)

    def bounced(self, stanza: Element, problem: Problem) -> None:
        """A stanza could not be delivered; whoever sent it is told. spec: RFC6120 10.4.3"""
        sender = parse_jid(stanza.get("from") or "")
        if self._domains.has(sender.domain):
            self.bounce(stanza, problem)
        else:
            to = parse_jid(stanza.get("to") or "")
            self.send(stanza_error(stanza, str(sender), problem), to.domain, sender)


async def _nowhere(_stanza: Element) -> None:
    """Nobody is served yet."""
