"""Connections that other servers open to us: bytes to stanzas, one stanza after the other.

Everybody is asked for a certificate; who has none that an authority signed may still prove its name by dialback.
spec: RFC6120 4.6, 5.4.3, 10.1. What a stream is, is incoming.py; who asks about keys links.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from tripoint.net.connections import Background, Connections
from tripoint.xmpp.s2s.actions import Ask, Close, Handled, Managed, Proved, Send, Stanza, StartTls, TellHandled
from tripoint.xmpp.s2s.certificates import speaks_for
from tripoint.xmpp.s2s.counting import Counting
from tripoint.xmpp.s2s.incoming import Action, IncomingStream, State
from tripoint.xmpp.s2s.intake import Intake, Receiving
from tripoint.xmpp.s2s.pairs import Terms
from tripoint.xmpp.s2s.wire import ServingTls, Wire
from tripoint.xmpp.wire import Element

HANDSHAKE_S: Final = 30.0
# Until a server has proved one name.
PROOF_S: Final = 60.0
# A stream that nothing came over for so long is closed.
IDLE_S: Final = 3600.0
DRAIN_S: Final = 3.0


class Listener:
    """All streams of other servers."""

    def __init__(
        self,
        terms: Terms,
        tls: ServingTls,
        receiving: Receiving,
        connections: "Connections[IncomingLink]",
        new_id: Callable[[], str],
    ) -> None:
        self.terms = terms
        self.tls = tls
        self.receiving = receiving
        self.connections = connections
        self.new_id = new_id
        self.now_s = receiving.now_s
        self.background = Background("xmpp.s2s")
        # Why nobody is let in from an address, where that is so.
        self.banned: Callable[[str], str | None] = lambda address: None
        # Told of a pair of domains, ours and theirs, whose stanzas may go back over a stream (XEP-0288).
        self.goes_back: Callable[[str, str, IncomingLink], None] = lambda ours, theirs, link: None

    def protocol(self, *, secure: bool, address: str | None = None) -> Wire:
        """The factory for `loop.create_server`; `secure`, `address`: as of XmppFrontEnd.protocol."""
        wire = Wire()
        wire.made = lambda: IncomingLink(self, wire, address, secure=secure).begin()
        return wire

    def sweep(self) -> None:
        """Close who proves nothing, who says nothing for long, and who is banned by now."""
        now = self.now_s()
        for link in self.connections.all():
            if (banned := self.banned(link.address)) is not None:
                link.end("policy-violation", banned)
            elif not link.stream.pairs.verified and now - link.since > PROOF_S:
                link.end("connection-timeout", "You did not prove your name")
            elif now - max(link.heard_at, link.used_at) > IDLE_S:
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
    """One connection of another server. For links.py, it is a way to it too where stanzas go back over it."""

    confirms = None  # a server tells of its people on the streams that are opened to it

    def __init__(self, listener: Listener, wire: Wire, address: str | None, *, secure: bool) -> None:
        self.stream = IncomingStream(listener.terms, listener.new_id)
        self.since = self.heard_at = self.used_at = listener.now_s()
        self.address = wire.peer_address if address is None else address
        self.broke = False  # it ended without the end of the stream
        self.on_end: list[Callable[[], None]] = []
        self._listener = listener
        self._wire = wire
        self._secure = secure
        self._intake = Intake(listener.receiving, listener.background, wire.reads)
        self._counting = Counting(self._intake, wire.write, self._counts_wrong)
        wire.hear = self._hear
        wire.lost = self._lost

    @property
    def how(self) -> str:
        """By what it has proved its name."""
        return self.stream.how

    @property
    def takes(self) -> int | None:
        """The largest stanza, in bytes, that the peer says it takes. spec: XEP-0478 4"""
        return self.stream.pairs.takes

    @property
    def is_open(self) -> bool:
        """Whether stanzas can be sent back."""
        return self.stream.state is State.OPEN and not self._wire.is_closing

    def write(self, stanza: bytes, original: Element | None = None) -> None:
        """Send something back; `original` answers for it where it does not arrive (lost)."""
        self.used_at = self._listener.now_s()
        self._wire.write(stanza)
        self._counting.sent(original)

    def lost(self) -> list[Element]:
        """Of what was sent before the connection broke, what may not have arrived; once. spec: XEP-0198 4"""
        return self._counting.lost()

    def begin(self) -> None:
        """The connection stands."""
        if self._secure:
            self._tls_started()
        limit = self._listener.receiving.traffic.connections_per_address
        refused = self._listener.connections.admit(self, self.address, limit)
        refused = refused or self._listener.banned(self.address)
        if refused is not None:
            self.end("policy-violation", refused)

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
            elif isinstance(action, Proved):
                self._listener.goes_back(action.ours, action.theirs, self)
            elif isinstance(action, Managed | TellHandled | Handled):
                self._counting.act(action)
            else:
                assert isinstance(action, Stanza)
                self._intake.take(action.element)

    def end(self, condition: str, text: str) -> None:
        """Close from our side, with a stream error."""
        switching = self.stream.state is State.TLS_SWITCH
        self.act(self.stream.fail(condition, text))
        if switching:
            self._wire.abort()

    def _counts_wrong(self, text: str) -> None:
        self.end("undefined-condition", text)

    def _hear(self, data: bytes) -> None:
        self.heard_at = self._listener.now_s()
        self.act(self.stream.receive(data))

    def _lost(self) -> None:
        self.broke = self.stream.state is not State.CLOSED
        self.stream.close()
        self._listener.connections.gone(self)
        for told in self.on_end:
            told()

    def _start_tls(self) -> None:
        self._wire.serve_tls(self._listener.tls, HANDSHAKE_S, self._tls_started)

    def _tls_started(self) -> None:
        certificate = self._wire.verified_certificate
        self.stream.tls_started(_nobody if certificate is None else partial(speaks_for, certificate))

    async def _ask(self, ask: Ask) -> None:
        self.act(self.stream.verified(ask, await self._listener.receiving.ask(ask)))


def _nobody(_domain: str) -> bool:
    """For whom a peer speaks that showed no certificate, or one that nobody knows."""
    return False
