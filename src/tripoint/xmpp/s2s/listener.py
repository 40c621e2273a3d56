"""Connections that other servers open to us: bytes to stanzas, one stanza after the other.

Everybody is asked for a certificate; who has none that an authority signed may still prove its name by dialback.
spec: RFC6120 4.6, 5.4.3, 10.1. What a stream is, is incoming.py; who asks about keys links.py.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from tripoint.net.connections import Background, Connections
from tripoint.xmpp.s2s.actions import Ask, Close, Send, Stanza, StartTls
from tripoint.xmpp.s2s.certificates import speaks_for
from tripoint.xmpp.s2s.incoming import Action, IncomingStream, State, Terms
from tripoint.xmpp.s2s.wire import ServingTls, Wire
from tripoint.xmpp.wire import Element

log = structlog.get_logger()

HANDSHAKE_S: Final = 30.0
# Until a server has proved one name.
PROOF_S: Final = 60.0
# A stream that nothing came over for so long is closed.
IDLE_S: Final = 3600.0
# Stanzas of one stream that may wait before its socket is read no further.
BACKLOG: Final = 64
DRAIN_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much one stream and one address may send; 0: any number."""

    stanzas_burst: float
    stanzas_per_s: float
    connections_per_address: int


class Listener:
    """All streams of other servers. `deliver` handles one stanza, `ask` asks an authoritative server."""

    def __init__(
        self,
        terms: Terms,
        tls: ServingTls,
        traffic: Traffic,
        connections: "Connections[IncomingLink]",
        new_id: Callable[[], str],
        deliver: Callable[[Element], Awaitable[None]],
        ask: Callable[[Ask], Awaitable[bool | None]],
        now_s: Callable[[], float],
    ) -> None:
        self.terms = terms
        self.tls = tls
        self.traffic = traffic
        self.connections = connections
        self.new_id = new_id
        self.deliver = deliver
        self.ask = ask
        self.now_s = now_s
        self.background = Background("xmpp.s2s")
        # Why nobody is let in from an address, where that is so.
        self.banned: Callable[[str], str | None] = lambda address: None

    def protocol(self, *, secure: bool, address: str | None = None, direct: bool = False) -> Wire:
        """The factory for `loop.create_server`; `secure`, `address`: as of XmppFrontEnd.protocol, `direct`: TLS begins
        with the first byte, and here."""
        wire = Wire()
        wire.made = lambda: IncomingLink(self, wire, address, secure=secure, direct=direct).begin()
        return wire

    def sweep(self) -> None:
        """Close who proves nothing, who says nothing for long, and who is banned by now."""
        now = self.now_s()
        for link in self.connections.all():
            if (banned := self.banned(link.address)) is not None:
                link.end("policy-violation", banned)
            elif not link.stream.verified_pairs and now - link.since > PROOF_S:
                link.end("connection-timeout", "You did not prove your name")
            elif now - link.heard_at > IDLE_S:
                link.act(link.stream.close())

    async def close(self) -> None:
        """Tell everybody and close."""
        self.connections.closing = True
        for link in self.connections.all():
            link.end("system-shutdown", "The server is shutting down")
        await self.background.finish(DRAIN_S)

    async def settled(self) -> None:
        """Wait until nothing runs in the background: for tests."""
        await self.background.finish()


class IncomingLink:
    """One connection of another server."""

    def __init__(self, listener: Listener, wire: Wire, address: str | None, *, secure: bool, direct: bool) -> None:
        self.stream = IncomingStream(listener.terms, listener.new_id)
        self.since = self.heard_at = listener.now_s()
        self._listener = listener
        self._wire = wire
        self.address = wire.peer_address if address is None else address
        self._secure = secure
        self._direct = direct
        self._backlog: deque[Element] = deque()
        self._busy = False
        self._allowance = listener.traffic.stanzas_burst
        self._allowance_at = self.since
        wire.hear = self._hear
        wire.lost = self._lost

    def begin(self) -> None:
        """The connection stands."""
        if self._secure:
            self._tls_started()
        limit = self._listener.traffic.connections_per_address
        refused = self._listener.connections.admit(self, self.address, limit)
        refused = refused or self._listener.banned(self.address)
        if refused is not None:
            self.end("policy-violation", refused)
        elif self._direct:
            self._start_tls()

    def act(self, actions: list[Action]) -> None:
        """Do what the stream says."""
        for action in actions:
            if isinstance(action, Send):
                self._wire.write(action.data)
            elif isinstance(action, StartTls):
                # <proceed/> goes out in the clear, what comes after it is the handshake. spec: RFC6120 5.4.3
                self._start_tls()
            elif isinstance(action, Close):
                self._wire.close()
            elif isinstance(action, Ask):
                self._listener.background.spawn(self._ask(action))
            else:
                assert isinstance(action, Stanza)
                self._take(action.element)

    def end(self, condition: str, text: str) -> None:
        """Close from our side, with a stream error."""
        switching = self.stream.state is State.TLS_SWITCH
        self.act(self.stream.fail(condition, text))
        if switching:
            self._wire.abort()

    def _hear(self, data: bytes) -> None:
        self.heard_at = self._listener.now_s()
        self.act(self.stream.receive(data))

    def _lost(self) -> None:
        self.stream.close()
        self._listener.connections.gone(self)

    def _start_tls(self) -> None:
        self._wire.serve_tls(self._listener.tls, HANDSHAKE_S, self._tls_started)

    def _tls_started(self) -> None:
        certificate = self._wire.verified_certificate
        self.stream.tls_started(_nobody if certificate is None else partial(speaks_for, certificate))

    async def _ask(self, ask: Ask) -> None:
        self.act(self.stream.verified(ask, await self._listener.ask(ask)))

    # -- stanzas

    def _take(self, stanza: Element) -> None:
        self._backlog.append(stanza)
        if len(self._backlog) == BACKLOG:
            self._wire.reads(False)
        if not self._busy:
            self._busy = True
            self._listener.background.spawn(self._work())

    async def _work(self) -> None:
        """Handle what waits, in its order. What was received before the stream ended is handled too."""
        try:
            while self._backlog:
                wait_s = self._owed()
                if wait_s:
                    await asyncio.sleep(wait_s)
                stanza = self._backlog.popleft()
                try:
                    await self._listener.deliver(stanza)
                except Exception:  # a bug: told to us with its trace; the stanzas after it are handled
                    log.exception("xmpp.s2s.handler_failed", stanza=stanza.name)
                if len(self._backlog) == BACKLOG // 2:
                    self._wire.reads(True)
        finally:
            self._busy = False
            self._wire.reads(True)

    def _owed(self) -> float:
        """Seconds that the next stanza has to wait. docs/mapping.md 24"""
        traffic = self._listener.traffic
        if traffic.stanzas_per_s <= 0:
            return 0.0
        now = self._listener.now_s()
        earned = self._allowance + (now - self._allowance_at) * traffic.stanzas_per_s
        self._allowance = min(traffic.stanzas_burst, earned) - 1
        self._allowance_at = now
        return max(0.0, -self._allowance / traffic.stanzas_per_s)


def _nobody(_domain: str) -> bool:
    """For whom a peer speaks that showed no certificate, or one that nobody knows."""
    return False
