"""Ways to other servers: one for each pair of domains, with a queue while it is being opened.

A way is a stream of ours, or one that the other server opened and over which stanzas go back (XEP-0288). What cannot be
delivered goes back to its sender as an error (RFC6120 10.4.3, 8.3.3.15, 8.3.3.16), at once while a domain that failed a
moment ago is not tried again. A stream that nothing is sent over is closed. What a connection may have taken with it
when it broke goes back too, where the other side acknowledges what it has handled (XEP-0198).
spec: RFC6120 4.5, 10.4; XEP-0198 4; XEP-0220 2.1.1; XEP-0288 2.2; XEP-0478 4.
How a stream is opened is connecting.py's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from tripoint.core.errors import RemoteFailed
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.connections import Background
from tripoint.net.discovery import Names
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.s2s.actions import Ask
from tripoint.xmpp.s2s.connecting import Connector, LinkTls, NotFound, OutgoingLink
from tripoint.xmpp.s2s.intake import Receiving
from tripoint.xmpp.s2s.outgoing import Question
from tripoint.xmpp.s2s.pairs import Terms
from tripoint.xmpp.wire import Element

log = structlog.get_logger()

# Stanzas that wait for a stream to be opened, for each pair of domains: whoever enters a room is shown everybody in it;
# and bytes.
MAX_QUEUED: Final = 3000
MAX_QUEUED_BYTES: Final = 2 * 1024 * 1024
MAX_DESTINATIONS: Final = 5000
# A domain that failed is not tried again before, doubled each time.
FIRST_REST_S: Final = 10.0
LONGEST_REST_S: Final = 600.0
# A stream over which nothing was sent for so long is closed.
IDLE_S: Final = 600.0
DRAIN_S: Final = 3.0

Pair = tuple[str, str]


class Way(Protocol):
    """A stream over which stanzas go to another server. `confirms`: see OutgoingLink; `on_end`: called once it is over,
    and `broke` says then whether without the end of the stream."""

    on_end: list[Callable[[], None]]
    broke: bool

    @property
    def confirms(self) -> bool | None: ...
    @property
    def how(self) -> str: ...
    @property
    def takes(self) -> int | None: ...
    @property
    def is_open(self) -> bool: ...
    def write(self, stanza: bytes, original: Element | None = None) -> None: ...
    def lost(self) -> list[Element]: ...


@dataclass(slots=True)
class Failure:
    """Why a domain is not tried, until when, and for how long the next time."""

    problem: Problem
    until: float
    rest_s: float


@dataclass(slots=True)
class _Destination:
    """`link` None: it is being opened, and `waiting` holds what is for it, with what answers for it where it fails."""

    waiting: list[tuple[bytes, Element | None]] = field(default_factory=list)
    size: int = 0
    link: Way | None = None
    opened: asyncio.Event = field(default_factory=asyncio.Event)  # or it could not be


class Links:
    """`bounce(stanza, problem)` tells the sender of a stanza that it did not arrive; `receiving`: what comes back over
    streams of ours is for it."""

    def __init__(
        self,
        terms: Terms,
        tls: LinkTls,
        names: Names,
        policy: AddressPolicy,
        receiving: Receiving,
        bounce: Callable[[Element, Problem], None],
    ) -> None:
        self._now_s = receiving.now_s
        self._bounce = bounce
        # Told of a domain that was connected to, and whether it confirms (see confirms).
        self.connected: Callable[[str, bool | None], None] = lambda theirs, confirms: None
        # Told of a pair of domains, ours and theirs, where a stanza could not be sent; and where a connection broke,
        # with which some may have been lost.
        self.failed: Callable[[str, str], None] = lambda ours, theirs: None
        self.broken: Callable[[str, str], None] = lambda ours, theirs: None
        self._background = Background("xmpp.s2s")
        self._connector = Connector(terms, tls, names, policy, receiving, self._background)
        self._destinations: dict[Pair, _Destination] = {}
        self._spare: set[OutgoingLink] = set()  # streams of ours that are not needed, while the other side uses them
        self._failures: dict[str, Failure] = {}
        self._closing = False

    def send(self, ours: str, theirs: str, stanza: bytes, original: Element | None) -> None:
        """A whole stanza of jabber:client, without that namespace named. `original`: what its sender hears of where it
        cannot be delivered; None: nobody hears."""
        destination = self._destinations.get((ours, theirs))
        if destination is not None and destination.link is not None:
            if destination.link.is_open:
                self._write(theirs, destination.link, stanza, original)
                return
            # It is ending: the next one begins.
            del self._destinations[ours, theirs]
            destination = None
        problem = self._refusal(theirs, destination, len(stanza))
        if problem is not None:
            self._return(original, problem)
            self.failed(ours, theirs)
            return
        if destination is None:
            destination = self._destinations[ours, theirs] = _Destination()
            self._background.spawn(self._open((ours, theirs), destination))
        destination.waiting.append((stanza, original))
        destination.size += len(stanza)

    async def confirms(self, ours: str, theirs: str) -> bool | None:
        """Whether a domain says, over TLS with a certificate that is valid for it, that its people are those of the
        Matrix server of this name; None where there is no such stream, and none can be opened. docs/mapping.md 1.6"""
        pair = ours, theirs
        destination = self._destinations.get(pair)
        if destination is not None and destination.link is not None and destination.link.confirms is None:
            return await self._ask_to_confirm(pair)
        if destination is None:
            if self._refusal(theirs, None, 0) is not None:
                return None
            destination = self._destinations[pair] = _Destination()
            self._background.spawn(self._open(pair, destination))
        await destination.opened.wait()
        return None if destination.link is None else destination.link.confirms

    async def _ask_to_confirm(self, pair: Pair) -> bool | None:
        """By a stream of our own, where stanzas go back over one of theirs: only the server that is connected to
        tells."""
        try:
            link = await self._connector.connect(*pair, None)
        except RemoteFailed as error:
            log.info("xmpp.s2s.not_asked", domain=pair[1], reason=error.reason)
            return None
        link.finish("it has answered")
        return link.confirms

    def goes_back(self, ours: str, theirs: str, link: Way) -> None:
        """The other side has proved its name in a stream over which stanzas may go back: it is used instead of a new
        one. spec: XEP-0288 2.2"""
        destination = self._destinations.get((ours, theirs))
        if self._closing or (destination is not None and destination.link is not None and destination.link.is_open):
            return
        if destination is None and len(self._destinations) >= MAX_DESTINATIONS:
            return
        if destination is None or destination.link is not None:
            destination = self._destinations[ours, theirs] = _Destination()
        log.info("xmpp.s2s.both_ways", domain=theirs, by=link.how)
        self._failures.pop(theirs, None)
        self._use((ours, theirs), destination, link)
        destination.opened.set()

    async def ask(self, ask: Ask) -> bool | None:
        """Whether a dialback key is of the domain that shows it; None: it cannot be asked. spec: XEP-0220 2.2"""
        try:
            link = await self._connector.connect(ask.receiving, ask.originating, Question(ask.key, ask.stream_id))
            return link.answer.result()
        except RemoteFailed as error:
            log.info("xmpp.s2s.not_asked", domain=ask.originating, reason=error.reason)
            return None

    def sweep(self) -> None:
        """Close streams that nobody uses, forget old failures."""
        now = self._now_s()
        for link in self._own():
            if now - link.used_at > IDLE_S:
                link.finish("idle")
        for domain, failure in list(self._failures.items()):
            if now > failure.until + LONGEST_REST_S:
                del self._failures[domain]

    async def close(self) -> None:
        """End every stream; what waits goes back."""
        self._closing = True
        own = self._own()
        for link in own:
            link.close("shutting down")
        for destination in list(self._destinations.values()):
            self._return_all(destination, Problem("remote-server-timeout", "This server is shutting down"))
        await self._background.finish(DRAIN_S)
        for link in own:
            link.abort()
        self._destinations.clear()

    def _own(self) -> list[OutgoingLink]:
        """Streams that we opened, each once."""
        used = (destination.link for destination in self._destinations.values())
        return list({link for link in used if isinstance(link, OutgoingLink)} | self._spare)

    async def settled(self) -> None:
        """Wait until nothing runs in the background: for tests."""
        await self._background.finish()

    def proofs(self) -> dict[str, str]:
        """By what the name of each domain that stanzas go to was proved: "external" or "dialback"."""
        links = ((theirs, found.link) for (_, theirs), found in self._destinations.items())
        return {theirs: link.how for theirs, link in links if link is not None}

    def _refusal(self, theirs: str, destination: _Destination | None, size: int) -> Problem | None:
        if self._closing:
            return Problem("remote-server-timeout", "This server is shutting down")
        failure = self._failures.get(theirs)
        if destination is None and failure is not None and self._now_s() < failure.until:
            return failure.problem
        if destination is None and len(self._destinations) >= MAX_DESTINATIONS:
            return Problem("resource-constraint", "This server speaks to too many others now")
        if destination is not None and (
            len(destination.waiting) >= MAX_QUEUED or destination.size + size > MAX_QUEUED_BYTES
        ):
            return Problem("resource-constraint", f"Too much waits for {theirs} already")
        return None

    def _return(self, original: Element | None, problem: Problem) -> None:
        if original is not None and original.get("type") not in ("error", "result"):
            self._bounce(original, problem)

    async def _open(self, pair: Pair, destination: _Destination) -> None:
        try:
            await self._make(pair, destination)
        finally:
            destination.opened.set()

    async def _make(self, pair: Pair, destination: _Destination) -> None:
        ours, theirs = pair
        try:
            link = await self._connector.connect(ours, theirs, None)
        except RemoteFailed as error:
            log.info("xmpp.s2s.unreachable", domain=theirs, reason=error.reason)
            if destination.link is None:
                self._give_up(pair, destination, error)
            return
        self._failures.pop(theirs, None)
        log.info("xmpp.s2s.connected", domain=theirs, by=link.how)
        if destination.link is not None and destination.link.is_open:
            # They connected at the same time, and may send over this one: it ends when nobody does.
            self._spare.add(link)
            link.on_end.append(lambda: self._spare.discard(link))
        elif link.is_gone:
            self._destinations.pop(pair, None)
            self._return_all(destination, Problem("remote-server-timeout", f"{theirs} closed the connection"))
            self.failed(ours, theirs)
            return
        else:
            link.goes_back = self.goes_back
            self._use(pair, destination, link)
        self.connected(theirs, link.confirms)

    def _give_up(self, pair: Pair, destination: _Destination, error: RemoteFailed) -> None:
        ours, theirs = pair
        former = self._failures.get(theirs)
        rest_s = FIRST_REST_S if former is None else min(former.rest_s * 2, LONGEST_REST_S)
        # spec: RFC6120 8.3.3.15, 8.3.3.16: no such server, or one that cannot be spoken to
        condition = "remote-server-not-found" if isinstance(error, NotFound) else "remote-server-timeout"
        problem = Problem(condition, f"{theirs} cannot be reached: {error.reason}")
        self._failures[theirs] = Failure(problem, self._now_s() + rest_s, rest_s)
        self._destinations.pop(pair, None)
        self._return_all(destination, problem)
        self.failed(ours, theirs)

    def _use(self, pair: Pair, destination: _Destination, link: Way) -> None:
        """What waits goes this way, and what comes after it."""

        def ended() -> None:
            if self._destinations.get(pair) is destination and destination.link is link:
                del self._destinations[pair]
            if link.broke and not self._closing:
                log.info("xmpp.s2s.broken", domain=pair[1])
                text = f"The connection to {pair[1]} broke: it may not have arrived"
                problem = Problem("remote-server-timeout", text)
                for original in link.lost():
                    self._return(original, problem)
                self.broken(*pair)

        link.on_end.append(ended)
        destination.link = link
        waiting, destination.waiting = destination.waiting, []
        for stanza, original in waiting:
            self._write(pair[1], link, stanza, original)

    def _write(self, theirs: str, link: Way, stanza: bytes, original: Element | None) -> None:
        """spec: XEP-0478 4: what is larger than the other side takes would end the stream for everybody"""
        if link.takes is not None and len(stanza) > link.takes:
            self._return(original, Problem("policy-violation", f"{theirs} takes at most {link.takes} bytes at a time"))
            return
        link.write(stanza, original)

    def _return_all(self, destination: _Destination, problem: Problem) -> None:
        waiting, destination.waiting = destination.waiting, []
        for _, original in waiting:
            self._return(original, problem)
