"""One client's connection, whatever carries it: the state machine of its stream, and what that asks of the accounts.

Bytes or messages come in by receive(), actions of the state machine go to the wire, the accounts and the session. There
is no timer per connection: one sweep (frontend.py) looks at all of them.
spec: RFC6120 4.4, 4.6, 7. What may come when is connection.py; sockets are listener.py (TCP) and web.py (WebSocket).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Protocol

import structlog

from tripoint.accounts.fast_tokens import Recognized
from tripoint.accounts.ports import Account, LetIn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.sasl import Anonymous, CheckCertificate, CheckPassword, CheckToken, HashedToken, NeedCredentials
from tripoint.accounts.server_bans import banned_text
from tripoint.core.ids import DeviceId
from tripoint.core.server_bans import ServerBan, Visitor
from tripoint.fanout.delivery import ByteWriter, Outbox
from tripoint.xmpp.acks import HandledTooMuch
from tripoint.xmpp.actions import (
    Action,
    Authenticated,
    Bind,
    Close,
    Registration,
    Resume,
    Send,
    StartTls,
    WrongPassword,
)
from tripoint.xmpp.c2s.archive import archive_metadata
from tripoint.xmpp.c2s.registration import Registering
from tripoint.xmpp.connection import ClientConnection
from tripoint.xmpp.guests import GuestLogin
from tripoint.xmpp.jid import InvalidJid, prepare_resource
from tripoint.xmpp.management import enabled_xml, too_high
from tripoint.xmpp.refusals import Problem, sasl_condition
from tripoint.xmpp.sasl_profiles import token_xml
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import PING_NS, State
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.frontend import XmppFrontEnd

log = structlog.get_logger()

# What a session that is brought to another connection may take to handle what it has received.
RESUME_S = 10.0


_Question = (
    NeedCredentials
    | CheckPassword
    | CheckCertificate
    | CheckToken
    | HashedToken
    | Anonymous
    | Authenticated
    | Registration
    | Bind
    | Resume
)


class Wire(ByteWriter, Protocol):
    """What carries a stream: an asyncio.Transport or a WebSocket."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class ClientStream:
    """A client that is connected from `address`. `start_tls` begins TLS inside the stream, where the wire can."""

    def __init__(
        self,
        front: "XmppFrontEnd",
        wire: Wire,
        outbox: Outbox,
        connection: ClientConnection,
        address: str,
        start_tls: Callable[[], Coroutine[object, object, None]] | None = None,
    ) -> None:
        self._front = front
        self._start_tls = start_tls
        self._account: Account | None = None
        # The device whose access token let this client in: it ends with it.
        self._let_in_by: DeviceId | None = None
        self._registering: Registering | None = None
        self._guest: GuestLogin | None = None
        self._paused = False
        self._gone = False
        self._closed = False  # the stream was ended, by whichever side
        self.wire = wire
        self.outbox = outbox
        self.connection = connection
        self.session: XmppSession | None = None
        self.address = address
        self.since = self.heard_at = front.monotonic()
        self.pinged_at: float | None = None
        refused = front.admit(self)
        banned = front.accounts.bans.of_address(address)
        if banned is not None:
            # spec: docs/mapping.md 9.4
            self.act(connection.fail("policy-violation", banned_text(banned)))
        elif refused is not None:
            self.act(connection.fail("resource-constraint", refused))

    def receive(self, data: bytes) -> None:
        """Bytes, or a message."""
        self.heard_at = self._front.monotonic()
        self.pinged_at = None
        self.act(self.connection.receive(data))

    def lost(self) -> None:
        """The wire is gone."""
        if self._gone:
            return
        self._gone = True
        self.outbox.closed = True
        self.connection.close()
        session = self.session
        if session is not None and not self._closed and self._front.sessions.keep(session):
            self.session = None
        self._end_session()
        self._front.gone(self)

    @property
    def gone(self) -> bool:
        return self._gone

    # -- actions

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Element):
                self._stanza(action)
            elif isinstance(action, Send):
                self.outbox.send(action.data)
            elif isinstance(action, Close):
                self._close()
            elif isinstance(action, StartTls):
                assert self._start_tls is not None  # the framing says that there is none
                self._front.spawn(self._start_tls())
            elif isinstance(action, WrongPassword):
                self._front.spawn(self._report_wrong_password(action.name))
            else:
                self._front.spawn(self._ask(action))

    def _stanza(self, stanza: Element) -> None:
        session = self.session
        if session is not None and not session.receive(stanza) and not self._paused:
            self._paused = True
            self.wire.pause_reading()

    def drained(self) -> None:
        """More may be read."""
        if self._paused and not self.wire.is_closing():
            self._paused = False
            self.wire.resume_reading()

    def _close(self) -> None:
        self._closed = True
        self.outbox.close()
        self._end_session()
        self.wire.close()

    # -- what the accounts say

    async def _report_wrong_password(self, name: str) -> None:
        try:
            await self._front.accounts.scram_done(name, False, address=self.address)
        except AccountRefused:
            pass  # the client has its answer already; this one only counts

    async def _ask(self, action: _Question) -> None:
        connection, accounts = self.connection, self._front.accounts
        try:
            if isinstance(action, NeedCredentials):
                verifier = await accounts.scram_verifier(action.username, action.hash_name)
                answer = connection.credentials(verifier)
            elif isinstance(action, CheckPassword):
                who = self._let_in(await accounts.check_login(action.authcid, action.password, address=self.address))
                answer = connection.admitted(who.name, token=await self._token(connection))
            elif isinstance(action, CheckCertificate):
                shown = connection.tls.certificate
                self._account = await accounts.check_certificate(shown, action.authzid, address=self.address)
                answer = connection.admitted(self._account.name, token=await self._token(connection))
            elif isinstance(action, CheckToken):
                answer = await self._check_token(connection, action)
            elif isinstance(action, HashedToken):
                answer = await self._check_hashed(connection, action)
            elif isinstance(action, Anonymous):
                answer = await self._begin_as_guest(connection)
            elif isinstance(action, Authenticated):
                who = self._let_in(await accounts.scram_done(action.name, True, address=self.address, app=action.app))
                answer = connection.admitted(who.name, token=await self._token(connection))
            elif isinstance(action, Registration):
                if self._registering is None:
                    self._registering = Registering(accounts)
                answer = connection.registration_answered(await self._registering.answer(action.iq, self.address))
            elif isinstance(action, Resume):
                await self._resume(connection, action)
                return
            else:
                await self._bind(connection, action)
                return
        except AccountRefused as refused:
            answer = connection.refused(sasl_condition(refused), refused.text)
        except Exception:  # a bug: told to us with its trace, and to the client as one of this server
            log.exception("xmpp.login_failed")
            answer = connection.fail("internal-server-error", "The server could not do this")
        self.act(answer)

    def _let_in(self, let_in: LetIn) -> Account:
        self._account, self._let_in_by = let_in.account, let_in.device_id
        return let_in.account

    async def _begin_as_guest(self, connection: ClientConnection) -> list[Action]:
        """spec: XEP-0175 4"""
        self._guest = GuestLogin(self._front.accounts, self._front.spawn)
        if not connection.is_named_at_once:
            return connection.admitted("")
        self._account = await self._guest.become(self.address)
        if self._gone:
            self._guest.drop()
        return connection.admitted(self._account.name)

    async def _check_token(self, connection: ClientConnection, action: CheckToken) -> list[Action]:
        """spec: RFC7628 3.2"""
        try:
            owner = await self._front.accounts.check_token(action.token, address=self.address)
        except AccountRefused as refused:
            if refused.refusal not in (AccountRefusal.UNKNOWN_TOKEN, AccountRefusal.EXPIRED_TOKEN):
                raise
            return connection.token_refused(self._front.token_configuration())
        self._account, self._let_in_by = owner.account, owner.device_id
        token = await self._token(connection)
        return connection.token_checked(owner.account.name, action.authzid, token=token)

    async def _check_hashed(self, connection: ClientConnection, shown: HashedToken) -> list[Action]:
        """spec: XEP-0484 3.4-3.6"""
        accounts, wishes = self._front.accounts, connection.wishes
        client, use = wishes.user_agent.id, wishes.fast
        assert client is not None and use is not None  # the connection has looked
        known = await accounts.fast_tokens.recognize(accounts.user_id(shown.authcid), client, shown, use.count)
        who = self._let_in(await accounts.scram_done(shown.authcid, known is not None, address=self.address))
        assert known is not None  # else it was refused
        await accounts.fast_tokens.used(known, invalidate=use.invalidate)
        self._let_in_by = known.device_id
        token = await self._token(connection, known)
        return connection.admitted(who.name, proof=known.proof, token=token)

    async def _token(self, connection: ClientConnection, known: Recognized | None = None) -> str:
        """The <token/> for a client that has asked for one, or whose token is to be changed; nothing where it has not
        said which client it is, or asks for a mechanism that is not offered. spec: XEP-0484 3.3, 3.5, 3.6"""
        wishes, account, tokens = connection.wishes, self._account, self._front.accounts.fast_tokens
        client, mechanism = wishes.user_agent.id, wishes.token_for
        if mechanism is None and known is not None and wishes.fast is not None and not wishes.fast.invalidate:
            mechanism = known.row.mechanism if tokens.is_due(known) else None
        assert account is not None  # logged in by now
        if client is None or mechanism not in connection.token_mechanisms or account.guest:
            return ""
        device_id = self._let_in_by
        if device_id is None:
            tag = "" if wishes.bind is None else wishes.bind.tag
            device_id = await self._front.sessions.device_of(account, tag, wishes.user_agent)
        granted = await tokens.grant(account.user_id, client, device_id, mechanism)
        return token_xml(granted.token, granted.expires_ts_ms)

    async def _bind(self, connection: ClientConnection, bind: Bind) -> None:
        """spec: RFC6120 7.6, 7.7: the client's resource, or one of ours; a taken one passes to the newcomer."""
        front, guest = self._front, self._guest
        request, user_agent = bind.request, bind.user_agent
        if guest is not None:
            try:
                self._account = await guest.become(self.address)
            except AccountRefused as refused:
                self.act(connection.fail("resource-constraint", refused.text))
                return
        account = self._account
        assert account is not None  # bound after login only
        try:
            if guest is not None:
                # spec: XEP-0175 3 (1)
                resource = front.new_id()
            elif request is not None and user_agent is not None:
                resource = front.sessions.resource_for(account, request, user_agent)
            else:
                resource = front.new_id() if bind.resource is None else prepare_resource(bind.resource)
        except InvalidJid as error:
            self.act(connection.bind_refused(Problem("bad-request", str(error)).render()))
            return
        try:
            session = await front.sessions.begin(
                account, resource, self.outbox, self, secure=connection.secure, user_agent=user_agent
            )
            session.let_in_by = self._let_in_by
            if guest is not None:
                guest.has_session()
        except (AccountRefused, Problem) as refused:
            self.act(connection.bind_refused(Problem("resource-constraint", refused.text, "cancel").render()))
            return
        let_in_by = self._let_in_by
        if let_in_by is not None and not await front.accounts.has_device(account.user_id, let_in_by):
            # It was logged out between the login and this.
            front.sessions.end(session)
            self.act(connection.fail("not-authorized", "logged out"))
            return
        if self._gone or connection.state is not State.BIND_WAITS_FOR_US:
            front.sessions.end(session)
            return
        banned = self._banned(account)
        if banned is not None:
            # He was banned between his login and this.
            front.sessions.end(session)
            self.act(connection.fail("policy-violation", banned_text(banned)))
            return
        session.address = self.address
        if request is None:
            self.session = session
            self.act(connection.bound(session.jid))
            return
        # spec: XEP-0386 3.2: where the archive ends. What comes from here on waits, so that nothing falls between.
        session.hold_back()
        try:
            metadata = await archive_metadata(session)
        except BaseException:
            front.sessions.end(session)
            raise
        pending = session.go()
        if session.closed or self._gone or connection.state is not State.BIND_WAITS_FOR_US:
            front.sessions.end(session)
            return
        front.sessions.end_former(session)
        self.session = session
        session.reads_archive = True
        session.carbons = request.carbons
        enabled = ""
        if request.manage is not None:
            resumable, wished_s = request.manage
            enabled = enabled_xml(session.begin_management(resumable=resumable, wished_s=wished_s))
        self.act(connection.bound(session.jid, metadata + enabled))
        for stanza in pending:
            session.send(stanza)
        session.set_active(not request.inactive)

    async def _resume(self, connection: ClientConnection, resume: Resume) -> None:
        """Bring an earlier session here, from wherever it is. spec: XEP-0198 5"""
        resumptions = self._front.sessions.resumptions
        session: XmppSession | int | None
        if self._guest is not None:
            session = resumptions.find_guest(resume.previd)
        else:
            assert self._account is not None  # logged in by now
            session = resumptions.find(resume.previd, self._account.user_id)
        if not isinstance(session, XmppSession):
            self.act(connection.resume_refused("item-not-found", session))
            return
        if session.secure and not connection.secure:
            self.act(connection.resume_refused("not-allowed"))
            return
        try:
            if not _can_go_on(session, resume.h):
                self.act(connection.resume_refused("item-not-found", _handled(session)))
                return
            session.carrier.hand_over()
            async with asyncio.timeout(RESUME_S):
                await session.rest()
            if session.closed or not _is_waiting(session) or not _can_go_on(session, resume.h):
                self.act(connection.resume_refused("item-not-found"))
            elif (banned := self._banned(session.account)) is not None:
                self.act(connection.fail("policy-violation", banned_text(banned)))
            elif not self._gone and connection.state is State.RESUME_WAITS_FOR_US:
                self._account = session.account
                if self._guest is not None:
                    self._guest.drop()
                self.session = session
                session.address = self.address
                session.let_in_by = self._let_in_by
                self.act(connection.resumed(session.jid, resume.previd, _handled(session)))
                session.attach(self, self.outbox, resume.h)
        except HandledTooMuch as error:
            self.act(connection.fail("undefined-condition", str(error), too_high(error)))
        except TimeoutError:
            self.act(connection.resume_refused("resource-constraint"))

    def _banned(self, account: Account) -> ServerBan | None:
        return self._front.accounts.bans.of_visitor(Visitor(self.address, (account.name,)))

    # -- the end

    def hand_over(self) -> None:
        """The session goes on with another connection: this one ends. spec: XEP-0198 5, example 15"""
        session, self.session = self.session, None
        if session is not None:
            self._front.sessions.resumptions.keep(session)
        self.act(self.connection.fail("conflict", "The session goes on with another connection"))

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if self._guest is not None:
            self._guest.drop()
        if session is not None:
            self._front.sessions.end(session)

    def end(self, condition: str, text: str, more: str = "") -> None:
        """Close from our side, with a stream error."""
        switching = self.connection.state is State.TLS_SWITCH
        self.act(self.connection.fail(condition, text, more))
        if switching:
            self.wire.abort()

    @property
    def asked_at(self) -> float | None:
        """Since when the client owes us a sign that it is there; anything that it sends is one."""
        managed = None if self.session is None else self.session.managed
        if managed is not None and managed.asked_at is not None and self.heard_at <= managed.asked_at:
            return managed.asked_at
        return self.pinged_at

    def time_out(self) -> None:
        """The client does not answer. A session that can be resumed is only cut off. spec: XEP-0198 5"""
        managed = None if self.session is None else self.session.managed
        if managed is not None and managed.sm_id is not None:
            self.wire.abort()
        else:
            self.end("connection-timeout", "You did not answer")

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


def _can_go_on(session: XmppSession, h: int) -> bool:
    """Whether everything that the client has not had is still here. Raises HandledTooMuch."""
    return session.managed is not None and session.managed.unacked.can_go_on_from(h)


def _handled(session: XmppSession) -> int:
    return 0 if session.managed is None else session.managed.handled


def _is_waiting(session: XmppSession) -> bool:
    """Whether no connection has it."""
    return session.managed is not None and session.managed.outbox is None
