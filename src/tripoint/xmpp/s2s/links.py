"""Streams that we open: one for each pair of domains, with a queue while it is being opened.

What cannot be delivered goes back to its sender as an error (RFC6120 10.4.3, 8.3.3.15, 8.3.3.16), at once while a
domain that failed a moment ago is not tried again. A stream that nothing is sent over is closed. What a connection
takes with it when it breaks is lost, as RFC 6120 has it (no XEP-0198 between servers).
spec: RFC6120 4.5 (one stream each way), 10.4; XEP-0220 2.1.1, 2.2.1. What is said on a stream is outgoing.py's.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import random
from typing import Final, Protocol

import structlog

from tripoint.core.errors import RemoteFailed
from tripoint.net.address_policy import AddressPolicy, AddressRefused
from tripoint.net.connections import Background
from tripoint.net.discovery import Names
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.s2s.actions import Ask, Close, Ready, Send, StartTls, Verified
from tripoint.xmpp.s2s.outgoing import Action, OutgoingStream, Question, State
from tripoint.xmpp.s2s.route import Target, targets_of
from tripoint.xmpp.s2s.wire import Wire
from tripoint.xmpp.wire import Element

log = structlog.get_logger()

# Stanzas that wait for a stream to be opened, for each pair of domains: whoever enters a room is shown everybody in it;
# and bytes.
MAX_QUEUED: Final = 3000
MAX_QUEUED_BYTES: Final = 2 * 1024 * 1024
MAX_DESTINATIONS: Final = 5000
# One address, until stanzas can be sent: TCP, TLS and the other server's look-back at us.
ATTEMPT_S: Final = 20.0
# All addresses of a domain.
CONNECT_S: Final = 60.0
# A domain that failed is not tried again before, doubled each time.
FIRST_REST_S: Final = 10.0
LONGEST_REST_S: Final = 600.0
# A stream over which nothing was sent for so long is closed.
IDLE_S: Final = 600.0
DRAIN_S: Final = 3.0

Pair = tuple[str, str]


class LinkTls(Protocol):
    """Contexts for streams between servers; see net/tls.py."""

    @property
    def verified(self) -> ssl.SSLContext: ...
    @property
    def unverified(self) -> ssl.SSLContext: ...


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
    link: "OutgoingLink | None" = None
    used_at: float = 0.0
    opened: asyncio.Event = field(default_factory=asyncio.Event)  # or it could not be


class OutgoingLink:
    """One connection to another server. `answer` is done when stanzas may be sent, or the question is answered."""

    def __init__(
        self, stream: OutgoingStream, wire: Wire, spawn: Callable[..., None], context: ssl.SSLContext, name: str
    ) -> None:
        self.stream = stream
        self.wire = wire
        self.ended: Callable[[], None] = lambda: None
        # It showed a certificate that is valid for its name, and said that its people are those of the Matrix server.
        # None: its certificate is not valid.
        self.confirms: bool | None = None
        self.broke = False  # it ended without the end of the stream
        self.answer: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        # Why it failed is told to whoever waits; where nobody does any more, it is no news.
        self.answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._spawn = spawn
        self._context = context
        self._name = name
        wire.hear = lambda data: self.act(stream.receive(data))
        wire.lost = self._lost

    @property
    def is_open(self) -> bool:
        """Whether stanzas can be sent."""
        return self.stream.state is State.READY and not self.wire.is_closing

    def act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.wire.write(action.data)
            elif isinstance(action, StartTls):
                self._spawn(self._start_tls())
            elif isinstance(action, Close):
                self.wire.close()
            elif isinstance(action, Ready):
                self._settle(True)
            elif isinstance(action, Verified):
                self._settle(action.valid)
            else:
                self._fail(RemoteFailed(self._name, action.reason))

    def _settle(self, result: bool | None) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def _lost(self) -> None:
        self.broke = self.stream.state is not State.CLOSED
        self.stream.close("")
        kind = _CutOff if self.stream.secure and not self.stream.answered else RemoteFailed
        self._fail(kind(self._name, "it closed the connection"))
        self.ended()

    async def _start_tls(self) -> None:
        try:
            early = await self.wire.start_tls(self._context, _ascii(self._name), ATTEMPT_S)
        except (OSError, TimeoutError) as error:
            self._fail(error)
            return
        self.act(self.stream.tls_started())
        for data in early:
            self.act(self.stream.receive(data))


class Links:
    """`bounce(stanza, problem)` tells the sender of a stanza that it did not arrive; `now_s` is a clock that only goes
    forward. `dialback`: servers without a certificate that is valid for their name are spoken to as well."""

    def __init__(
        self,
        secret: bytes,
        tls: LinkTls,
        names: Names,
        policy: AddressPolicy,
        bounce: Callable[[Element, Problem], None],
        *,
        dialback: bool,
        now_s: Callable[[], float],
    ) -> None:
        self._secret = secret
        self._tls = tls
        self._names = names
        self._policy = policy
        self._bounce = bounce
        # Told of a pair of domains, ours and theirs, where a stanza could not be sent; and where a connection broke,
        # with which some may have been lost.
        # Told of a domain that was connected to, and whether it confirms (see confirms).
        self.connected: Callable[[str, bool | None], None] = lambda theirs, confirms: None
        self.failed: Callable[[str, str], None] = lambda ours, theirs: None
        self.broken: Callable[[str, str], None] = lambda ours, theirs: None
        self._dialback = dialback
        self._now_s = now_s
        self._background = Background("xmpp.s2s")
        self._destinations: dict[Pair, _Destination] = {}
        self._failures: dict[str, Failure] = {}
        self._closing = False

    def send(self, ours: str, theirs: str, stanza: bytes, original: Element | None) -> None:
        """A whole stanza of jabber:client, without that namespace named. `original`: what its sender hears of where it
        cannot be delivered; None: nobody hears."""
        destination = self._destinations.get((ours, theirs))
        if destination is not None and destination.link is not None:
            if destination.link.is_open:
                destination.used_at = self._now_s()
                destination.link.wire.write(stanza)
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
        if destination is None:
            if self._refusal(theirs, None, 0) is not None:
                return None
            destination = self._destinations[pair] = _Destination()
            self._background.spawn(self._open(pair, destination))
        await destination.opened.wait()
        return None if destination.link is None else destination.link.confirms

    async def ask(self, ask: Ask) -> bool | None:
        """Whether a dialback key is of the domain that shows it; None: it cannot be asked. spec: XEP-0220 2.2"""
        try:
            link = await self._connect(ask.receiving, ask.originating, Question(ask.key, ask.stream_id))
            return link.answer.result()
        except RemoteFailed as error:
            log.info("xmpp.s2s.not_asked", domain=ask.originating, reason=error.reason)
            return None

    def sweep(self) -> None:
        """Close streams that nobody uses, forget old failures."""
        now = self._now_s()
        for destination in list(self._destinations.values()):
            if destination.link is not None and now - destination.used_at > IDLE_S:
                destination.link.act(destination.link.stream.close("idle"))
        for domain, failure in list(self._failures.items()):
            if now > failure.until + LONGEST_REST_S:
                del self._failures[domain]

    async def close(self) -> None:
        """End every stream; what waits goes back."""
        self._closing = True
        for destination in list(self._destinations.values()):
            if destination.link is not None:
                destination.link.act(destination.link.stream.close("shutting down"))
            waiting, destination.waiting = destination.waiting, []
            for _, original in waiting:
                self._return(original, Problem("remote-server-timeout", "This server is shutting down"))
        await self._background.finish(DRAIN_S)
        for destination in self._destinations.values():
            if destination.link is not None:
                destination.link.wire.abort()
        self._destinations.clear()

    async def settled(self) -> None:
        """Wait until nothing runs in the background: for tests."""
        await self._background.finish()

    def proofs(self) -> dict[str, str]:
        """By what each domain that is connected to knows us: "external" or "dialback"."""
        links = ((theirs, found.link) for (_, theirs), found in self._destinations.items())
        return {theirs: link.stream.how for theirs, link in links if link is not None}

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
            link = await self._connect(ours, theirs, None)
        except RemoteFailed as error:
            log.info("xmpp.s2s.unreachable", domain=theirs, reason=error.reason)
            former = self._failures.get(theirs)
            rest_s = FIRST_REST_S if former is None else min(former.rest_s * 2, LONGEST_REST_S)
            # spec: RFC6120 8.3.3.15, 8.3.3.16: no such server, or one that cannot be spoken to
            condition = "remote-server-not-found" if isinstance(error, _NotFound) else "remote-server-timeout"
            problem = Problem(condition, f"{theirs} cannot be reached: {error.reason}")
            self._failures[theirs] = Failure(problem, self._now_s() + rest_s, rest_s)
            self._destinations.pop(pair, None)
            for _, original in destination.waiting:
                self._return(original, problem)
            self.failed(ours, theirs)
            return
        self._failures.pop(theirs, None)
        log.info("xmpp.s2s.connected", domain=theirs, by=link.stream.how)
        destination.used_at = self._now_s()

        def ended() -> None:
            if self._destinations.get(pair) is destination:
                del self._destinations[pair]
            if link.broke and not self._closing:
                log.info("xmpp.s2s.broken", domain=theirs)
                self.broken(ours, theirs)

        link.ended = ended
        waiting, destination.waiting = destination.waiting, []
        if link.wire.gone:
            ended()
            for _, original in waiting:
                self._return(original, Problem("remote-server-timeout", f"{theirs} closed the connection"))
            self.failed(ours, theirs)
            return
        destination.link = link
        for stanza, _ in waiting:
            link.wire.write(stanza)
        self.connected(theirs, link.confirms)

    async def _connect(self, ours: str, theirs: str, question: Question | None) -> OutgoingLink:
        """A stream on which stanzas may be sent, or whose question is answered. Raises RemoteFailed."""
        failed: RemoteFailed | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                try:
                    targets = await targets_of(theirs, self._names, random)
                except RemoteFailed as error:
                    raise _NotFound(theirs, error.reason) from error
                for target in targets:
                    try:
                        return await self._by_any_certificate(ours, theirs, target, question)
                    except RemoteFailed as error:
                        failed = error
        except TimeoutError:
            raise RemoteFailed(theirs, f"no stream within {CONNECT_S:g} s") from None
        assert failed is not None  # there is at least one target
        raise failed

    async def _by_any_certificate(
        self, ours: str, theirs: str, target: Target, question: Question | None
    ) -> OutgoingLink:
        """With a certificate that is valid for the name where there is one. spec: RFC6120 13.7.2; RFC7590 3.4"""
        try:
            return await self._twice(ours, theirs, target, self._tls.verified, question)
        except ssl.SSLCertVerificationError as error:
            if not self._dialback:
                raise RemoteFailed(theirs, f"its certificate is not valid: {error.verify_message}") from error
        try:
            return await self._twice(ours, theirs, target, self._tls.unverified, question)
        except ssl.SSLError as error:
            raise RemoteFailed(theirs, f"no TLS with it: {error}") from error

    async def _twice(
        self, ours: str, theirs: str, target: Target, context: ssl.SSLContext, question: Question | None
    ) -> OutgoingLink:
        """Once more where the connection was cut right after the handshake: so does a server that cannot verify our
        certificate, and it may do without one the next time."""
        try:
            return await self._attempt(ours, theirs, target, context, question)
        except _CutOff:
            return await self._attempt(ours, theirs, target, context, question)

    async def _attempt(
        self, ours: str, theirs: str, target: Target, context: ssl.SSLContext, question: Question | None
    ) -> OutgoingLink:
        """Raises RemoteFailed; ssl.SSLCertVerificationError for a certificate that is not valid."""
        wire = Wire()
        stream = OutgoingStream(
            ours, theirs, self._secret, secure=target.tls, dialback=self._dialback, question=question
        )
        link = OutgoingLink(stream, wire, self._background.spawn, context, theirs)
        try:
            self._policy.check(target.address)
            async with asyncio.timeout(ATTEMPT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: wire,
                    target.address,
                    target.port,
                    ssl=context if target.tls else None,
                    server_hostname=_ascii(theirs) if target.tls else None,
                )
                link.act(stream.open())
                await link.answer
        except ssl.SSLCertVerificationError:
            wire.abort()
            raise
        except TimeoutError:
            wire.abort()
            raise RemoteFailed(theirs, f"no stream within {ATTEMPT_S:g} s") from None
        except AddressRefused as error:
            raise RemoteFailed(theirs, str(error)) from error
        except OSError as error:
            wire.abort()
            raise RemoteFailed(theirs, f"no connection: {error}") from error
        except BaseException:
            wire.abort()
            raise
        if question is None and stream.state is not State.READY:
            raise RemoteFailed(theirs, "it closed the stream")
        link.confirms = stream.same_identity if context is self._tls.verified else None
        return link


class _NotFound(RemoteFailed):
    """There is no such server."""


class _CutOff(RemoteFailed):
    """It ended the connection before it said anything inside TLS."""


def _ascii(domain: str) -> str:
    return domain.encode("idna").decode("ascii")
