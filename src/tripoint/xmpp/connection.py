"""One client's stream, from the first byte to the bound resource, as a pure state machine.

Bytes and the driver's answers go in, actions come out: bytes to send, questions for the accounts, stanzas,
the wish to switch to TLS or to close. The legal order is the table TRANSITIONS in tables.py; whatever is not
in it ends the stream with the error RFC6120 names. Bytes that arrive before a TLS switch never survive it.

spec: RFC6120 4 (streams), 5 (STARTTLS), 6 (SASL), 7 (bind); XEP-0077 5 (registration before login), XEP-0198 5, 9
(resumption), XEP-0388 and XEP-0386 (login and resource in one), XEP-0474. Who the peer may be is the driver's business
(stream.py), what is offered features.py's; what stanzas mean is c2s/ and muc/.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace

from tripoint.accounts.sasl import (
    BearerExchange,
    Challenge,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    Done,
    Exchange,
    HashedToken,
    NeedCredentials,
    SaslCondition,
    SaslFailed,
    ScramVerifier,
    mechanisms,
    start_exchange,
    token_mechanisms,
)
from tripoint.core.tls_facts import NO_TLS, TlsFacts
from tripoint.xmpp.acks import failed, parse_count
from tripoint.xmpp.features import Policy, login_features, session_features
from tripoint.xmpp.framing import Framing, StreamFraming
from tripoint.xmpp.jid import InvalidJid, Jid, escape_local, parse_jid, prepare_local, unescape_local
from tripoint.xmpp.sasl_profiles import (
    BindRequest,
    Profile,
    Sasl1,
    Sasl2,
    UserAgent,
    Wishes,
)
from tripoint.xmpp.tables import (
    BIND2_NS,
    BIND_NS,
    CSI_NS,
    PREAUTH_NS,
    REGISTER_NS,
    SASL2_NS,
    SASL_NS,
    SM_NS,
    STREAM_ERRORS_NS,
    TLS_NS,
    TRANSITIONS,
    Input,
    State,
)
from tripoint.xmpp.wire import (
    CLIENT_NS,
    MAX_STANZA_BYTES_UNAUTHENTICATED,
    Broken,
    Element,
    StreamClosed,
    StreamError,
    StreamOpened,
    escape_attribute,
    escape_text,
)

# spec: RFC6120 6.4.5: at least 2 and at most 5 attempts
MAX_SASL_ATTEMPTS = 5
MAX_REGISTRATIONS = 20


@dataclass(frozen=True, slots=True)
class Send:
    """One stream header, element or closing tag to write: over a WebSocket, a message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write out what is waiting, then begin the TLS handshake as server; then call tls_started()."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """SCRAM proved that the peer knows the password of `name`: admit with admitted() or refused().

    `app`: the device whose app password it was.
    """

    name: str
    app: str = ""


@dataclass(frozen=True, slots=True)
class WrongPassword:
    """A SCRAM proof did not fit: for whoever counts failures. The peer has been answered."""

    name: str


@dataclass(frozen=True, slots=True)
class Registration:
    """An IQ with jabber:iq:register before login, or with a token for it (XEP-0445); answer with
    registration_answered()."""

    iq: Element


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind a resource (None: any) and answer with bound() or bind_refused(). `request`: it comes with the login."""

    resource: str | None
    request: BindRequest | None = None
    user_agent: UserAgent | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with the session `previd`, whose client has handled `h`; answer with resumed() or resume_refused()."""

    previd: str
    h: int


@dataclass(frozen=True, slots=True)
class Close:
    """Write out what is waiting and close the TCP connection."""


Action = (
    Send
    | StartTls
    | NeedCredentials
    | CheckPassword
    | CheckCertificate
    | CheckToken
    | HashedToken
    | Authenticated
    | WrongPassword
    | Registration
    | Bind
    | Resume
    | Close
    | Element
)

_STANZAS = frozenset({"message", "presence", "iq"})
# Elements beside the stanzas that a session takes in their order. spec: XEP-0198 3, 4; XEP-0352 4.2
_IN_TURN = frozenset({(SM_NS, "enable"), (SM_NS, "r"), (SM_NS, "a"), (CSI_NS, "active"), (CSI_NS, "inactive")})


class ClientConnection:
    """One c2s connection. Methods return what to do now, in order; none does I/O.

    `new_id` gives fresh random text for stream ids and SCRAM nonces. `tls` is what is known
    of a connection that is TLS already (direct TLS), `secure` says that it is. `framing`: how the stream lies on its
    transport; None: over TCP.
    """

    def __init__(
        self,
        policy: Policy,
        new_id: Callable[[], str],
        *,
        secure: bool = False,
        tls: TlsFacts = NO_TLS,
        framing: Framing | None = None,
    ) -> None:
        self.state = State.AWAIT_HEADER
        self.secure = secure
        self.name: str | None = None  # account name once authenticated
        self.jid: Jid | None = None  # full JID once bound
        self._policy = policy
        self._new_id = new_id
        self.tls = tls
        self._framing = StreamFraming() if framing is None else framing
        self._header_sent = False
        self._peer_from: str | None = None
        self._exchange: Exchange | None = None
        self._trying: str | None = None
        self._attempts = 0
        self._registrations = 0
        self._bind_id = ""
        self._success_data = b""
        self._profile: Profile = Sasl1
        # What came with a login that has succeeded and was not answered yet (XEP-0388 2.6.1), and what is said of it.
        self._wishes: Wishes | None = None
        self._answered = ""

    # -- from the peer

    def receive(self, data: bytes) -> list[Action]:
        """What these bytes lead to. Bytes between <proceed/> and the end of the handshake are dropped."""
        if self.state in (State.TLS_SWITCH, State.CLOSED):
            return []
        actions: list[Action] = []
        framing = self._framing
        renewals = framing.renewals
        for event in framing.receive(data):
            # spec: RFC6120 5.4.3.3: whatever came before the new stream is discarded
            if self.state in (State.TLS_SWITCH, State.CLOSED) or framing.renewals != renewals:
                break
            try:
                if isinstance(event, Element):
                    self._element(event, actions)
                elif isinstance(event, StreamOpened):
                    self._header(event, actions)
                elif isinstance(event, StreamClosed):
                    actions += self.close()
                elif isinstance(event, Broken):
                    actions += self.fail(event.condition, event.text)
            except StreamError as error:
                actions += self.fail(error.condition, error.text)
        return actions

    def _header(self, header: StreamOpened, actions: list[Action]) -> None:
        if self.state not in (State.AWAIT_HEADER, State.AWAIT_HEADER_AGAIN):
            raise StreamError("policy-violation", "The stream is open already")
        self._peer_from = header.from_
        if header.default_ns != CLIENT_NS:
            raise StreamError("invalid-namespace", "The content namespace of a client's stream is jabber:client")
        # spec: RFC6120 4.7.5: a missing version is 0.9, which this server does not speak
        if header.version is None or header.version.partition(".")[0] != "1":
            raise StreamError("unsupported-version", "This server speaks XMPP 1.0")
        if header.to is None:
            raise StreamError("improper-addressing", "The stream header needs a 'to'")
        try:
            host = parse_jid(header.to)
        except InvalidJid:
            host = None
        if host is None or str(host) != self._policy.domain:
            raise StreamError("host-unknown", f"This server is {self._policy.domain}")
        if self.state is State.AWAIT_HEADER_AGAIN:
            self._go(Input.HEADER)
            features = session_features(self._policy, bound=False)
        elif self._policy.require_tls and not self.secure:
            if not self._can_start_tls():
                raise StreamError("policy-violation", "This server takes logins over TLS alone, from the first byte")
            self.state = State.OFFERED_TLS
            features = f"<starttls xmlns='{TLS_NS}'><required/></starttls>"
        else:
            self.state = State.OFFERED_SASL
            features = login_features(
                self._policy,
                self._offered(),
                starttls=self._can_start_tls(),
                secure=self.secure,
                bindings=tuple(self.tls.bindings),
            )
        actions.append(Send(self._render_header()))
        actions.append(Send(f"<stream:features>{features}</stream:features>".encode()))

    def _can_start_tls(self) -> bool:
        return self._policy.starttls and not self.secure and self._framing.starttls

    def _offered(self) -> tuple[str, ...]:
        # PLAIN without TLS is offered only where the policy lets a login happen without TLS at all: loopback.
        return mechanisms(
            plain=True,
            sha1=self._policy.scram_sha1,
            binding=bool(self.tls.bindings),
            certificate=bool(self.tls.certificate),
            migrating=self._policy.migrating,
        )

    def _element(self, element: Element, actions: list[Action]) -> None:
        name, namespace = element.name, element.namespace
        if self.state is State.BOUND and namespace == CLIENT_NS and name in _STANZAS:
            self._check_from(element)
            actions.append(element)
        elif self.state is State.BOUND and (namespace, name) in _IN_TURN:
            actions.append(element)
        elif namespace == SM_NS:
            self._manage(element, actions)
        elif namespace == SASL_NS:
            self._sasl(element, Sasl1, actions)
        elif namespace == SASL2_NS and self.secure:
            self._sasl(element, Sasl2, actions)
        elif namespace == TLS_NS and name == "starttls":
            self._starttls(actions)
        elif namespace == CLIENT_NS and name in _STANZAS:
            self._early_stanza(element, actions)
        else:
            # spec: RFC6120 4.9.3.24
            raise StreamError("unsupported-stanza-type", f"<{name}/> is not expected in this stream")

    def _starttls(self, actions: list[Action]) -> None:
        if not self._can_start_tls() or (self.state, Input.STARTTLS) not in TRANSITIONS:
            # spec: RFC6120 5.4.2.2: the failure case closes stream and connection
            actions.append(Send(f"<failure xmlns='{TLS_NS}'/>".encode()))
            actions += self.close()
            return
        self._go(Input.STARTTLS)
        self._framing.close()
        actions.append(Send(f"<proceed xmlns='{TLS_NS}'/>".encode()))
        actions.append(StartTls())

    def _manage(self, element: Element, actions: list[Action]) -> None:
        """Stream management that is not for a bound session. spec: XEP-0198 3, 5, 6"""
        if self.name is None:
            raise StreamError("not-authorized", "Log in first")
        previd, h = element.get("previd"), parse_count(element.get("h"))
        if element.name != "resume" or (self.state, Input.RESUME) not in TRANSITIONS:
            actions.append(Send(failed("unexpected-request")))
        elif not previd or h is None:
            actions.append(Send(failed("bad-request")))
        else:
            self._go(Input.RESUME)
            actions.append(Resume(previd, h))

    def _early_stanza(self, element: Element, actions: list[Action]) -> None:
        """A stanza before the resource is bound: registration or bind, else not-authorized."""
        payload = element.first()
        iq_id = element.get("id")
        if element.name == "iq" and payload is not None and iq_id is not None:
            kind = element.get("type")
            if payload.namespace == REGISTER_NS and payload.name == "query" and kind in ("get", "set"):
                self._register(element, actions)
                return
            if payload.namespace == PREAUTH_NS and payload.name == "preauth" and kind == "set":
                self._register(element, actions)
                return
            if payload.namespace == BIND_NS and payload.name == "bind" and kind == "set":
                self._require(Input.BIND_IQ)
                self._go(Input.BIND_IQ)
                self._bind_id = iq_id
                actions.append(Bind(payload.child_text("resource", BIND_NS) or None))
                return
        # spec: RFC6120 4.9.3.12, 7.1
        raise StreamError("not-authorized", "Log in and bind a resource first")

    def _register(self, element: Element, actions: list[Action]) -> None:
        if not self._policy.registration:
            raise StreamError("not-authorized", "This server does not take registrations here")
        self._require(Input.REGISTER_IQ)
        self._registrations += 1
        if self._registrations > MAX_REGISTRATIONS:
            raise StreamError("policy-violation", "Too many registration requests on one stream")
        self._go(Input.REGISTER_IQ)
        actions.append(Registration(element))

    def _check_from(self, element: Element) -> None:
        """A client may name only itself. Which of its resources it is, we say: another one's name is overridden.

        spec: RFC6120 8.1.2.1 (1), 4.9.3.9. COMPAT: Converse (14) resumes a stream under the resource that it had, and
        goes on to call itself by a new one.
        """
        claimed = element.attributes.get("from")
        if claimed is None or self.jid is None:
            return
        try:
            jid = parse_jid(claimed)
        except InvalidJid:
            jid = None
        if jid is None or jid.bare != self.jid.bare:
            raise StreamError("invalid-from", "The 'from' of a stanza must be your own address")

    # -- SASL

    def _sasl(self, element: Element, profile: Profile, actions: list[Action]) -> None:
        if element.name == "abort" and self.state is State.SASL_WAITS_FOR_PEER and profile is self._profile:
            self._exchange = self._wishes = None
            self._go(Input.ABORT)
            actions.append(Send(profile.failure(SaslCondition.ABORTED.value, "You ended the login")))
            return
        try:
            if element.name == profile.begins:
                self._begin_sasl(element, profile, actions)
            elif element.name == "response" and profile is self._profile:
                self._require(Input.RESPONSE)
                self._go(Input.RESPONSE)
                self._sasl_message(profile.response(element), actions)
            else:
                raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")
        except SaslFailed as failed_login:
            if self._trying is not None and failed_login.condition is SaslCondition.NOT_AUTHORIZED:
                actions.append(WrongPassword(self._trying))
            actions += self.refused(failed_login.condition.value, failed_login.text)

    def _begin_sasl(self, element: Element, profile: Profile, actions: list[Action]) -> None:
        if self.state is State.OFFERED_TLS:
            # spec: RFC6120 6.5.4
            actions.append(Send(profile.failure("encryption-required", "Switch to TLS first")))
            return
        self._require(Input.AUTH)
        self._go(Input.AUTH)
        self._attempts += 1
        self._trying, self._wishes, self._profile = None, None, profile
        begun = profile.begin(element)
        self._exchange = start_exchange(
            begun.mechanism,
            self._offered() if begun.wishes is None or begun.wishes.fast is None else self._for_tokens(begun.wishes),
            server_nonce=self._new_id(),
            bindings=self.tls.bindings,
            advertised=self._advertised(),
        )
        self._wishes = begun.wishes
        if begun.initial is None:
            # spec: RFC6120 6.4.2: no initial response: ask for it with an empty challenge
            self._go(Input.SASL_CHALLENGE)
            actions.append(Send(f"<challenge xmlns='{profile.namespace}'/>".encode()))
            return
        self._sasl_message(begun.initial, actions)

    def _for_tokens(self, wishes: Wishes) -> tuple[str, ...]:
        """What a client can choose that comes with a token. spec: XEP-0484 3.4, 4.1"""
        if wishes.user_agent.id is None:
            raise SaslFailed(SaslCondition.MALFORMED_REQUEST, "A client with a token says which one it is (user-agent)")
        return self.token_mechanisms

    def _advertised(self) -> bytes:
        """What SCRAM signs of our offer, so that nobody cuts it unseen. spec: XEP-0474 6.1"""
        offer = "\x1e".join(sorted(self._offered()))
        bindings = "\x1e".join(sorted(self.tls.bindings))
        return (f"{offer}\x1f{bindings}" if bindings else offer).encode()

    def _sasl_message(self, data: bytes, actions: list[Action]) -> None:
        exchange = self._exchange
        assert exchange is not None  # the table lets a message through only inside an exchange
        step = exchange.receive(data)
        if isinstance(step, NeedCredentials):
            self._trying = self._account_name(step.username)
            actions.append(NeedCredentials(self._trying, step.hash_name))
        elif isinstance(step, CheckPassword):
            self._trying = self._account_name(step.authcid)
            self._check_authzid(step.authzid)
            actions.append(CheckPassword("", self._trying, step.password))
        elif isinstance(step, CheckCertificate):
            actions.append(CheckCertificate(self._authorized_name(step.authzid)))
        elif isinstance(step, HashedToken):
            self._trying = self._account_name(step.authcid)
            actions.append(replace(step, authcid=self._trying))
        elif isinstance(step, CheckToken):
            actions.append(step)
        elif isinstance(step, Done):
            self._check_authzid(step.authzid)
            self._success_data = step.data
            assert self._trying is not None  # NeedCredentials came before
            actions.append(Authenticated(self._trying, step.app))
        elif isinstance(step, Challenge):
            self._go(Input.SASL_CHALLENGE)
            actions.append(Send(self._profile.challenge(step.data)))

    def _account_name(self, authcid: str) -> str:
        """The account that a client names; some send their whole bare JID. spec: RFC6120 6.3.7"""
        local, at, domain = authcid.partition("@")
        if at and domain.lower() != self._policy.domain:
            raise SaslFailed(SaslCondition.NOT_AUTHORIZED, f"This server is {self._policy.domain}")
        try:
            return unescape_local(prepare_local(local))
        except InvalidJid:
            raise SaslFailed(SaslCondition.NOT_AUTHORIZED, "Wrong user name or password") from None

    def _check_authzid(self, authzid: str) -> None:
        """Nobody acts for somebody else here. spec: RFC6120 6.3.8: the authzid is a bare JID; XEP-0388 2.3, 4.4"""
        if not authzid:
            return
        try:
            jid = parse_jid(authzid)
        except InvalidJid:
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "The address to act for is not an address") from None
        self._check_is(jid, self._trying)

    def _check_is(self, jid: Jid, name: str | None) -> None:
        """That a client asks to be the account `name`, and said nothing else when it opened the stream."""
        if self._profile is Sasl2 and self._peer_from and self._peer_from.partition("/")[0] != str(jid):
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "The stream was opened in another name")
        if jid.resource or jid.domain != self._policy.domain or unescape_local(jid.local) != name:
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "You can only log in as yourself")

    def _authorized_name(self, authzid: str) -> str:
        """The account that a client with a certificate asks for; "" leaves it to the certificate.

        spec: XEP-0178 2, step 10: an authorization identity is a bare JID
        """
        if not authzid:
            return ""
        try:
            jid = parse_jid(authzid)
        except InvalidJid:
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "The address to act for is not an address") from None
        name = unescape_local(jid.local)
        self._check_is(jid, name)
        return name

    # -- from the driver

    def tls_started(self, tls: TlsFacts) -> list[Action]:
        """The handshake is done; a new stream begins."""
        self._go(Input.TLS_DONE)
        self.secure = True
        self.tls = tls
        self._framing.renew(MAX_STANZA_BYTES_UNAUTHENTICATED)
        self._header_sent = False
        return []

    def credentials(self, verifier: ScramVerifier) -> list[Action]:
        """The answer to NeedCredentials."""
        if self.state is not State.SASL_WAITS_FOR_US or self._exchange is None:
            return []  # the stream ended while the accounts were asked
        challenge = self._exchange.credentials(verifier)
        self._go(Input.SASL_CHALLENGE)
        return [Send(self._profile.challenge(challenge.data))]

    def token_checked(self, name: str, authzid: str, *, token: str = "") -> list[Action]:
        """The answer to CheckToken: whose it is. `token`: see admitted(). spec: RFC7628 3.2"""
        if self.state is not State.SASL_WAITS_FOR_US:
            return []
        self._trying = name
        try:
            self._check_authzid(authzid)
        except SaslFailed as failed:
            return self.refused(failed.condition.value, failed.text)
        return self.admitted(name, token=token)

    def token_refused(self, configuration: str | None) -> list[Action]:
        """The answer to CheckToken: it is nobody's. `configuration`: where the client learns how to get one.

        spec: RFC7628 3.2.2, 3.2.3
        """
        if self.state is not State.SASL_WAITS_FOR_US or not isinstance(self._exchange, BearerExchange):
            return []
        self._go(Input.SASL_CHALLENGE)
        return [Send(self._profile.challenge(self._exchange.token_refused(configuration).data))]

    @property
    def token_mechanisms(self) -> tuple[str, ...]:
        """What tokens can be for on this connection."""
        return token_mechanisms(self.tls.bindings)

    @property
    def wishes(self) -> Wishes:
        """What is to come with the login that is going on."""
        return self._wishes or Wishes()

    def admitted(self, name: str, *, proof: bytes = b"", token: str = "") -> list[Action]:
        """The answer to CheckPassword, CheckCertificate, HashedToken or Authenticated: `name` is who the peer is now.

        `proof`: what HT answers with; `token`: the <token/> that the client is given (XEP-0484 3.3).
        """
        if self.state is not State.SASL_WAITS_FOR_US:
            return []
        self.name = name
        self._success_data = proof or self._success_data
        self._answered = token
        self._exchange = None
        if self._profile is Sasl2:
            self._go(Input.SASL2_DONE)
            self._framing.widen(self._policy.stanza_bytes)
            return self._next_wish()
        self._go(Input.SASL_DONE)
        data = base64.b64encode(self._success_data).decode()
        self._success_data = b""
        # spec: RFC6120 6.4.6: the stream restarts; nothing of the old one is kept
        self._framing.renew(self._policy.stanza_bytes)
        self._header_sent = False
        return [Send(f"<success xmlns='{SASL_NS}'>{data}</success>".encode())]

    def refused(self, condition: str, text: str) -> list[Action]:
        """The login failed. `condition` is of RFC6120 6.5. After too many attempts the stream is closed."""
        if self.state is not State.SASL_WAITS_FOR_US:
            return []
        self._go(Input.SASL_FAILED)
        self._exchange = self._wishes = None
        self._success_data = b""
        actions: list[Action] = [Send(self._profile.failure(condition, text))]
        if self._attempts >= MAX_SASL_ATTEMPTS:
            actions += self.fail("policy-violation", "Too many failed logins on one stream")
        return actions

    def registration_answered(self, reply: bytes) -> list[Action]:
        """The IQ that answers a Registration."""
        if self.state is not State.REGISTERING:
            return []
        self._go(Input.REGISTER_ANSWERED)
        return [Send(reply)]

    def _next_wish(self) -> list[Action]:
        """What came with the login, one after the other: an earlier session, else a resource. spec: XEP-0386 3.2"""
        wishes = self._wishes
        assert wishes is not None  # it is kept until it is answered
        if wishes.resume is not None:
            self._wishes = replace(wishes, resume=None)
            previd, h = wishes.resume
            if previd:
                self._go(Input.RESUME)
                return [Resume(previd, h)]
            self._answered += failed("bad-request").decode()
        if wishes.bind is not None:
            self._go(Input.BIND_IQ)
            return [Bind(None, wishes.bind, wishes.user_agent)]
        return self._succeed("", bound=False)

    def _succeed(self, more: str, *, bound: bool) -> list[Action]:
        """Say that the login is done, and what there is now. spec: XEP-0388 2.6.1"""
        assert self.name is not None  # admitted
        identity = self.jid or Jid(escape_local(self.name), self._policy.domain, "")
        success = Sasl2.success(self._success_data, str(identity), self._answered + more)
        self._success_data, self._answered, self._wishes = b"", "", None
        features = session_features(self._policy, bound=bound)
        return [Send(success), Send(f"<stream:features>{features}</stream:features>".encode())]

    def bound(self, jid: Jid, more: str = "") -> list[Action]:
        """The resource is bound to `jid`, a full JID. `more`: what is said of what else was asked for with it."""
        if self.state is not State.BIND_WAITS_FOR_US:
            return []
        self._go(Input.BIND_DONE)
        self.jid = jid
        if self._wishes is not None:
            return self._succeed(f"<bound xmlns='{BIND2_NS}'>{more}</bound>", bound=True)
        return [
            Send(
                f"<iq type='result' id='{escape_attribute(self._bind_id)}'><bind xmlns='{BIND_NS}'>"
                f"<jid>{escape_text(str(jid))}</jid></bind></iq>".encode()
            )
        ]

    def bind_refused(self, error: str) -> list[Action]:
        """No resource; `error` is the rendered <error/> element. The client may ask again."""
        if self.state is not State.BIND_WAITS_FOR_US:
            return []
        self._go(Input.BIND_REFUSED)
        if self._wishes is not None:
            # Nothing is defined for this: the login holds, and the client is offered to bind by itself.
            return self._succeed("", bound=False)
        return [Send(f"<iq type='error' id='{escape_attribute(self._bind_id)}'>{error}</iq>".encode())]

    def resumed(self, jid: Jid, previd: str, handled: int) -> list[Action]:
        """The answer to Resume: the session of `jid`, which has handled so many stanzas, goes on here."""
        if self.state is not State.RESUME_WAITS_FOR_US:
            return []
        self._go(Input.RESUMED)
        self.jid = jid
        resumed = f"<resumed xmlns='{SM_NS}' previd='{escape_attribute(previd)}' h='{handled}'/>"
        if self._wishes is not None:
            # spec: XEP-0198 9.2: no features follow: the stream is what it was
            return self._succeed(resumed, bound=True)[:1]
        return [Send(resumed.encode())]

    def resume_refused(self, condition: str, handled: int | None = None) -> list[Action]:
        """The answer to Resume: a stanza error condition; the client may bind a resource now. spec: XEP-0198 5"""
        if self.state is not State.RESUME_WAITS_FOR_US:
            return []
        self._go(Input.RESUME_REFUSED)
        if self._wishes is not None:
            # spec: XEP-0198 9.2.1: it is told with the success, and a resource is bound
            self._answered += failed(condition, handled).decode()
            return self._next_wish()
        return [Send(failed(condition, handled))]

    def fail(self, condition: str, text: str, more: str = "") -> list[Action]:
        """End the stream with an error of RFC6120 4.9.3. `more`: an element that says more, as XML."""
        if self.state is State.CLOSED:
            return []
        error = (
            f"<stream:error><{condition} xmlns='{STREAM_ERRORS_NS}'/>{more}"
            f"<text xmlns='{STREAM_ERRORS_NS}' xml:lang='en'>{escape_text(text)}</text></stream:error>"
        )
        return [*self._opened(), Send(error.encode()), *self.close()]

    def close(self) -> list[Action]:
        """End the stream in peace. spec: RFC6120 4.4"""
        if self.state is State.CLOSED:
            return []
        actions = [*self._opened(), Send(self._framing.ending), Close()]
        self._end()
        return actions

    def _opened(self) -> list[Action]:
        """Our header, where it was not sent. spec: RFC6120 4.9.1.2, RFC7395 3.5"""
        return [] if self._header_sent else [Send(self._render_header())]

    def _end(self) -> None:
        self.state = State.CLOSED
        self._exchange = None
        self._framing.close()

    # -- shared

    def _require(self, what: Input) -> None:
        if (self.state, what) not in TRANSITIONS:
            # spec: RFC6120 4.9.3.12 and 6.4: nothing else while a step of the negotiation is open
            condition = "not-authorized" if self.name is None else "policy-violation"
            raise StreamError(condition, f"{what.value} cannot come now: {self.state.value}")

    def _go(self, what: Input) -> None:
        self.state = TRANSITIONS[self.state, what]

    def _render_header(self) -> bytes:
        self._header_sent = True
        to = f" to='{escape_attribute(self._peer_from)}'" if self._peer_from else ""
        return self._framing.opening(
            f" id='{escape_attribute(self._new_id())}' from='{escape_attribute(self._policy.domain)}'{to}"
            " version='1.0' xml:lang='en'"
        )
