"""Connections that we make to other servers, until stanzas may be sent or a question is answered.

The addresses of a domain are tried one after the other, with a valid certificate where there is one.
spec: RFC6120 3.2, 13.7.2; RFC7590 3.4; XEP-0220 2.2.1. What is said on a stream is outgoing.py's; who needs one is
links.py.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from random import random
from typing import Final, Protocol

from tripoint.core.errors import RemoteFailed
from tripoint.net.address_policy import AddressPolicy, AddressRefused
from tripoint.net.connections import Background
from tripoint.net.discovery import Names
from tripoint.xmpp.s2s.actions import (
    Ask,
    Close,
    Handled,
    Managed,
    Proved,
    Ready,
    Send,
    Stanza,
    StartTls,
    TellHandled,
    Verified,
)
from tripoint.xmpp.s2s.counting import Counting
from tripoint.xmpp.s2s.intake import Intake, Receiving
from tripoint.xmpp.s2s.outgoing import Action, OutgoingStream, Question, State
from tripoint.xmpp.s2s.pairs import Terms
from tripoint.xmpp.s2s.route import Target, targets_of
from tripoint.xmpp.s2s.wire import Wire
from tripoint.xmpp.wire import Element, StreamError

# One address, until stanzas can be sent: TCP, TLS and the other server's look-back at us.
ATTEMPT_S: Final = 20.0
# All addresses of a domain.
CONNECT_S: Final = 60.0
# A peer that was told of the end of a stream has so long to tell its own.
END_S: Final = 10.0


class LinkTls(Protocol):
    """Contexts for connections to servers (net/link_tls.py)."""

    @property
    def verified(self) -> ssl.SSLContext: ...
    @property
    def unverified(self) -> ssl.SSLContext: ...


class NotFound(RemoteFailed):
    """There is no such server."""


class _CutOff(RemoteFailed):
    """It ended the connection before it said anything inside TLS."""


class OutgoingLink:
    """One connection to another server. `answer` is done when stanzas may be sent, or the question is answered."""

    def __init__(
        self,
        stream: OutgoingStream,
        wire: Wire,
        receiving: Receiving,
        background: Background,
        context: ssl.SSLContext,
        name: str,
    ) -> None:
        self.stream = stream
        self.on_end: list[Callable[[], None]] = []
        # Told of a pair of domains, ours and theirs, that the peer proved in this stream (XEP-0288).
        self.goes_back: Callable[[str, str, OutgoingLink], None] = lambda ours, theirs, link: None
        # It showed a certificate that is valid for its name, and said that its people are those of the Matrix server.
        # None: its certificate is not valid.
        self.confirms: bool | None = None
        self.broke = False  # it ended without the end of the stream
        self.used_at = receiving.now_s()
        self.answer: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        # Why it failed is told to whoever waits; where nobody does any more, it is no news.
        self.answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._end_timer: asyncio.TimerHandle | None = None
        self._wire = wire
        self._receiving = receiving
        self._background = background
        self._context = context
        self._name = name
        self._intake = Intake(receiving, background, wire.reads)
        self._counting = Counting(self._intake, wire.write, self._counts_wrong)
        wire.hear = self._hear
        wire.lost = self._lost

    @property
    def how(self) -> str:
        """By what the peer knows us: "external" or "dialback"."""
        return self.stream.how

    @property
    def takes(self) -> int | None:
        """The largest stanza, in bytes, that the peer says it takes. spec: XEP-0478 4"""
        return self.stream.pairs.takes

    @property
    def is_open(self) -> bool:
        """Whether stanzas can be sent."""
        return self.stream.state is State.READY and not self._wire.is_closing

    @property
    def is_gone(self) -> bool:
        """Whether the connection is over."""
        return self._wire.gone

    def write(self, stanza: bytes, original: Element | None = None) -> None:
        """Send something; `original` answers for it where it does not arrive (lost)."""
        self.used_at = self._receiving.now_s()
        self._wire.write(stanza)
        self._counting.sent(original)

    def lost(self) -> list[Element]:
        """Of what was sent before the connection broke, what may not have arrived; once. spec: XEP-0198 4"""
        return self._counting.lost()

    def finish(self, reason: str) -> None:
        """End the stream in peace, and lose nothing that is on its way back. spec: RFC6120 4.4"""
        self.act(self.stream.finish(reason))
        if not self._wire.is_closing and self._end_timer is None:
            self._end_timer = asyncio.get_running_loop().call_later(END_S, self.abort)

    def close(self, reason: str) -> None:
        """End the stream now."""
        self.act(self.stream.close(reason))

    def abort(self) -> None:
        """End the connection now."""
        self._wire.abort()

    def act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._wire.write(action.data)
            elif isinstance(action, StartTls):
                self._background.spawn(self._start_tls())
            elif isinstance(action, Close):
                self._wire.close()
            elif isinstance(action, Stanza):
                self._intake.take(action.element)
            elif isinstance(action, Ask):
                self._background.spawn(self._ask(action))
            elif isinstance(action, Proved):
                self.goes_back(action.ours, action.theirs, self)
            elif isinstance(action, Ready):
                self._settle(True)
            elif isinstance(action, Verified):
                self._settle(action.valid)
            elif isinstance(action, Managed | TellHandled | Handled):
                self._counting.act(action)
            else:
                self._fail(RemoteFailed(self._name, action.reason))

    def _counts_wrong(self, text: str) -> None:
        actions: list[Action] = []
        self.stream.broke(StreamError("undefined-condition", text), actions)
        self.act(actions)

    def _hear(self, data: bytes) -> None:
        self.used_at = self._receiving.now_s()
        self.act(self.stream.receive(data))

    def _settle(self, result: bool | None) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def _lost(self) -> None:
        self.broke = self.stream.state not in (State.ENDING, State.CLOSED)
        self.stream.close("")
        if self._end_timer is not None:
            self._end_timer.cancel()
        kind = _CutOff if self.stream.secure and not self.stream.answered else RemoteFailed
        self._fail(kind(self._name, "it closed the connection"))
        for told in self.on_end:
            told()

    async def _ask(self, ask: Ask) -> None:
        self.act(self.stream.verified(ask, await self._receiving.ask(ask)))

    async def _start_tls(self) -> None:
        try:
            early = await self._wire.start_tls(self._context, _ascii(self._name), ATTEMPT_S)
        except (OSError, TimeoutError) as error:
            self._fail(error)
            return
        self.act(self.stream.tls_started())
        for data in early:
            self._hear(data)


class Connector:
    """Makes links. `terms`: also for what comes back over them."""

    def __init__(
        self,
        terms: Terms,
        tls: LinkTls,
        names: Names,
        policy: AddressPolicy,
        receiving: Receiving,
        background: Background,
    ) -> None:
        self._terms = terms
        self._tls = tls
        self._names = names
        self._policy = policy
        self._receiving = receiving
        self._background = background

    async def connect(self, ours: str, theirs: str, question: Question | None) -> OutgoingLink:
        """A stream on which stanzas may be sent, or whose question is answered. Raises RemoteFailed."""
        failed: RemoteFailed | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                try:
                    targets = await targets_of(theirs, self._names, random)
                except RemoteFailed as error:
                    raise NotFound(theirs, error.reason) from error
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
            if not self._terms.dialback:
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
        stream = OutgoingStream(ours, theirs, self._terms, secure=target.tls, question=question)
        link = OutgoingLink(stream, wire, self._receiving, self._background, context, theirs)
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


def _ascii(domain: str) -> str:
    return domain.encode("idna").decode("ascii")
