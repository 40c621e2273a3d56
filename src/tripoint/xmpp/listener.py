"""Sockets: bytes to the stream's state machine, its actions to sockets, accounts and sessions.

One protocol object per connection; STARTTLS swaps its transport. There is no timer per connection: one sweep
(frontend.py) looks at all of them.
spec: RFC6120 3, 4.4, 4.6, 5.4.3, 7; RFC7590. What may come when is connection.py. Read next: frontend.py.
"""

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from tripoint.accounts.ports import Account
from tripoint.accounts.refusals import AccountRefused
from tripoint.accounts.sasl import CheckPassword, NeedCredentials
from tripoint.accounts.server_bans import banned_text
from tripoint.fanout.delivery import Outbox
from tripoint.xmpp.c2s.registration import answer_registration
from tripoint.xmpp.connection import (
    Action,
    Authenticated,
    Bind,
    ClientConnection,
    Close,
    Registration,
    Send,
    StartTls,
    WrongPassword,
)
from tripoint.xmpp.jid import InvalidJid, prepare_resource
from tripoint.xmpp.refusals import Problem, sasl_condition
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import PING_NS, State
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.frontend import XmppFrontEnd

log = structlog.get_logger()


class _TlsSide(asyncio.Protocol):
    """Hears what comes out of TLS until the handshake is known to be over.

    The end of a handshake and the first stream header often arrive together, and the header is then delivered
    before start_tls() returns. Plaintext goes to the XmppProtocol itself, which drops it.
    """

    def __init__(self, main: "XmppProtocol") -> None:
        self._main = main
        self.early: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._main.connection_lost(exc)


class XmppProtocol(asyncio.Protocol):
    """One client's connection. `secure`: it came over TLS; `offloaded`: which ended at a proxy.

    `address`: from where, if the socket does not tell.
    """

    def __init__(
        self, front: "XmppFrontEnd", *, secure: bool, address: str | None = None, offloaded: bool = False
    ) -> None:
        self._front = front
        self._secure = secure
        self._offloaded = offloaded
        self._account: Account | None = None
        self._paused = False
        self._gone = False
        self.transport: asyncio.Transport | None = None
        self.outbox: Outbox | None = None
        self.connection: ClientConnection | None = None
        self.session: XmppSession | None = None
        self.address = address or ""
        self.since = 0.0
        self.heard_at = 0.0
        self.pinged_at: float | None = None

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport, but do what it says.
        stream = cast(asyncio.Transport, transport)
        front = self._front
        self.transport = stream
        peer = transport.get_extra_info("peername")
        if not self.address:
            self.address = str(peer[0]) if isinstance(peer, tuple) and peer else "local"
        self.since = self.heard_at = front.monotonic()
        self.outbox = Outbox(stream, front.flusher, front.options.sendq_bytes, self._overflowed)
        self.connection = front.connection(self.address, secure=self._secure, offloaded=self._offloaded)
        refused = front.admit(self)
        banned = front.accounts.bans.of_address(self.address)
        if banned is not None:
            # spec: docs/mapping.md 9.4
            self._act(self.connection.fail("policy-violation", banned_text(banned)))
        elif refused is not None:
            self._act(self.connection.fail("resource-constraint", refused))

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._front.monotonic()
        self.pinged_at = None
        if self.connection is not None:
            self._act(self.connection.receive(data))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone:
            return
        self._gone = True
        if self.outbox is not None:
            self.outbox.closed = True
        if self.connection is not None:
            self.connection.close()
        self._end_session()
        self._front.gone(self)

    def _overflowed(self) -> None:
        log.info("xmpp.send_queue_full", address=self.address)
        if self.transport is not None:
            self.transport.abort()

    # -- actions

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Element):
                self._stanza(action)
            elif isinstance(action, Send):
                if self.outbox is not None:
                    self.outbox.send(action.data)
            elif isinstance(action, Close):
                self._close()
            elif isinstance(action, StartTls):
                self._front.spawn(self._start_tls())
            elif isinstance(action, WrongPassword):
                self._front.spawn(self._report_wrong_password(action.name))
            else:
                self._front.spawn(self._ask(action))

    def _stanza(self, stanza: Element) -> None:
        session = self.session
        if session is not None and not session.receive(stanza) and self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _drained(self) -> None:
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def _close(self) -> None:
        if self.outbox is not None:
            self.outbox.close()
        self._end_session()
        if self.transport is not None:
            self.transport.close()

    async def _start_tls(self) -> None:
        """<proceed/> goes out in the clear, what comes after it is the handshake. spec: RFC6120 5.4.3"""
        tls = self._front.tls
        transport, outbox, connection = self.transport, self.outbox, self.connection
        if tls is None or transport is None or outbox is None or connection is None or self._gone:
            return
        outbox.flush()
        loop = asyncio.get_running_loop()
        side = _TlsSide(self)
        try:
            upgraded = await loop.start_tls(
                transport,
                side,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=self._front.options.tls_handshake_timeout_s,
            )
        except (OSError, TimeoutError) as error:
            # spec: RFC6120 5.4.3.2: a failed handshake ends the connection
            log.debug("xmpp.tls_failed", address=self.address, error=str(error))
            upgraded = None
        if upgraded is None or self._gone:
            transport.abort()
            self.connection_lost(None)
            return
        self.transport = outbox.transport = upgraded
        upgraded.set_protocol(self)
        self._act(connection.tls_started(tls.end_point))
        for data in side.early:
            self.data_received(data)

    # -- what the accounts say

    async def _report_wrong_password(self, name: str) -> None:
        try:
            await self._front.accounts.scram_done(name, False, address=self.address)
        except AccountRefused:
            pass  # the client has its answer already; this one only counts

    async def _ask(self, action: "NeedCredentials | CheckPassword | Authenticated | Registration | Bind") -> None:
        connection, accounts = self.connection, self._front.accounts
        assert connection is not None  # it asked
        try:
            if isinstance(action, NeedCredentials):
                verifier = await accounts.scram_verifier(action.username, action.hash_name)
                answer = connection.credentials(verifier)
            elif isinstance(action, CheckPassword):
                self._account = await accounts.check_password(action.authcid, action.password, address=self.address)
                answer = connection.admitted(self._account.name)
            elif isinstance(action, Authenticated):
                self._account = await accounts.scram_done(action.name, True, address=self.address)
                answer = connection.admitted(self._account.name)
            elif isinstance(action, Registration):
                reply = await answer_registration(accounts, action.iq, self.address)
                answer = connection.registration_answered(reply)
            else:
                await self._bind(connection, action)
                return
        except AccountRefused as refused:
            answer = connection.refused(sasl_condition(refused), refused.text)
        except Exception:
            log.exception("xmpp.login_failed")
            answer = connection.fail("internal-server-error", "The server could not do this")
        self._act(answer)

    async def _bind(self, connection: ClientConnection, bind: Bind) -> None:
        """spec: RFC6120 7.6, 7.7: the client's resource, or one of ours; a taken one passes to the newcomer."""
        front, account = self._front, self._account
        assert account is not None and self.outbox is not None  # bound after login only
        try:
            resource = front.new_id() if bind.resource is None else prepare_resource(bind.resource)
        except InvalidJid as error:
            self._act(connection.bind_refused(Problem("bad-request", str(error)).render()))
            return
        try:
            session = await front.begin_session(
                account, resource, self.outbox, self._end, self._drained, secure=connection.secure
            )
        except (AccountRefused, Problem) as refused:
            self._act(connection.bind_refused(Problem("resource-constraint", refused.text, "cancel").render()))
            return
        if self._gone or connection.state is not State.BIND_WAITS_FOR_US:
            front.end_session(session)
            return
        self.session = session
        self._act(connection.bound(session.jid))

    # -- the end

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            self._front.end_session(session)

    def _end(self, condition: str, text: str) -> None:
        """Close from our side with a stream error."""
        if self.connection is not None:
            self._act(self.connection.fail(condition, text))

    def end(self, condition: str, text: str) -> None:
        """Close from outside: timeout, shutdown."""
        self._end(condition, text)
        if self.connection is not None and self.connection.state is State.TLS_SWITCH and self.transport is not None:
            self.transport.abort()

    def ping(self, now: float) -> None:
        """Ask whether the client is there. spec: XEP-0199 4.1"""
        self.pinged_at = now
        session = self.session
        if session is not None:
            server = escape_attribute(self._front.domains.server)
            session.send(
                f"<iq type='get' id='ping' from='{server}' to='{escape_attribute(session.full)}'>"
                f"<ping xmlns='{PING_NS}'/></iq>".encode()
            )
