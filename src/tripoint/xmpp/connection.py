"""One client's stream, from the first byte to the bound resource, as a pure state machine.

Bytes and the driver's answers go in, actions come out: bytes to send, questions for the accounts, stanzas,
the wish to switch to TLS or to close. The legal order is the table TRANSITIONS in tables.py; whatever is not
in it ends the stream with the error RFC6120 names. Bytes that arrive before a TLS switch never survive it.

spec: RFC6120 4 (streams), 5 (STARTTLS), 6 (SASL), 7 (bind); XEP-0077 5 (registration before login), XEP-0198 5, 9
(resumption), XEP-0388 and XEP-0386 (login and resource in one). What a client says of who it is, is login.py's; who it
may be the driver's business (stream.py), what is offered features.py's; what stanzas mean is c2s/ and muc/.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from tripoint.accounts.sasl import (
    Challenge,
    SaslCondition,
    SaslFailed,
    ScramVerifier,
    mechanisms,
    token_mechanisms,
)
from tripoint.core.tls_facts import NO_TLS, TlsFacts
from tripoint.xmpp.acks import failed, parse_count
from tripoint.xmpp.actions import Action, Bind, Close, Registration, Resume, Send, StartTls, WrongPassword
from tripoint.xmpp.features import Policy, login_features, session_features
from tripoint.xmpp.framing import Framing, StreamFraming
from tripoint.xmpp.jid import InvalidJid, Jid, escape_local, parse_jid
from tripoint.xmpp.login import Login
from tripoint.xmpp.sasl_profiles import Profile, Sasl1, Sasl2, Wishes
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
    STREAMS_NS,
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
# Of all streams of this server, to clients and to other servers.
LANGUAGE = "en"
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7}\Z")  # a language tag, but for the rarest

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
        self._lang = ""  # of what the client writes, where it is not that of our own streams
        self._login = Login(policy, new_id)
        self._registrations = 0
        self._bind_id = ""
        self._proof = b""  # of a login that has succeeded and was not answered yet (XEP-0388 2.6.1)
        self._answered = ""  # what is said with the success of a login of what came with it

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
        self._lang = _language_in(header.lang)
        if header.default_ns != CLIENT_NS:
            raise StreamError("invalid-namespace", "The content namespace of a client's stream is jabber:client")
        if not header.speaks_xmpp:
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
            anonymous=self._policy.anonymous,
            migrating=self._policy.migrating,
        )

    def _element(self, element: Element, actions: list[Action]) -> None:
        name, namespace = element.name, element.namespace
        if self.state is State.BOUND and namespace == CLIENT_NS and name in _STANZAS:
            self._check_from(element)
            if self._lang and "xml:lang" not in element.attributes:
                # spec: RFC6120 4.7.4, 8.1.5
                element.attributes["xml:lang"] = self._lang
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
        elif (name, namespace) == ("error", STREAMS_NS):
            # spec: RFC6120 4.9.1.1: who says so ends the stream; there is nothing to say to it
            actions += self.close()
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
        login = self._login
        if element.name == "abort" and self.state is State.SASL_WAITS_FOR_PEER and profile is login.profile:
            login.end()
            self._go(Input.ABORT)
            actions.append(Send(profile.failure(SaslCondition.ABORTED.value, "You ended the login")))
            return
        try:
            if element.name == profile.begins:
                self._begin_sasl(element, profile, actions)
            elif element.name == "response" and profile is login.profile:
                self._require(Input.RESPONSE)
                self._go(Input.RESPONSE)
                self._sasl_message(profile.response(element), actions)
            else:
                raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")
        except SaslFailed as failed_login:
            if login.trying is not None and failed_login.condition is SaslCondition.NOT_AUTHORIZED:
                actions.append(WrongPassword(login.trying))
            actions += self.refused(failed_login.condition.value, failed_login.text)

    def _begin_sasl(self, element: Element, profile: Profile, actions: list[Action]) -> None:
        if self.state is State.OFFERED_TLS:
            # spec: RFC6120 6.5.4
            actions.append(Send(profile.failure("encryption-required", "Switch to TLS first")))
            return
        self._require(Input.AUTH)
        self._go(Input.AUTH)
        first = self._login.begin(element, profile, self._offered(), self.tls, self._peer_from)
        if first is None:
            # spec: RFC6120 6.4.2: no initial response: ask for it with an empty challenge
            self._go(Input.SASL_CHALLENGE)
            actions.append(Send(f"<challenge xmlns='{profile.namespace}'/>".encode()))
            return
        self._sasl_message(first, actions)

    def _sasl_message(self, data: bytes, actions: list[Action]) -> None:
        step = self._login.step(data)
        if isinstance(step, Challenge):
            self._challenge(step, actions)
        else:
            actions.append(step)

    def _challenge(self, challenge: Challenge, actions: list[Action]) -> None:
        self._go(Input.SASL_CHALLENGE)
        actions.append(Send(self._login.profile.challenge(challenge.data)))

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
        actions: list[Action] = []
        if self.state is State.SASL_WAITS_FOR_US:  # else the stream ended while the accounts were asked
            self._challenge(self._login.credentials(verifier), actions)
        return actions

    def token_checked(self, name: str, authzid: str, *, token: str = "") -> list[Action]:
        """The answer to CheckToken: whose it is. `token`: see admitted(). spec: RFC7628 3.2"""
        if self.state is not State.SASL_WAITS_FOR_US:
            return []
        try:
            self._login.acts_for(name, authzid)
        except SaslFailed as failed:
            return self.refused(failed.condition.value, failed.text)
        return self.admitted(name, token=token)

    def token_refused(self, configuration: str | None) -> list[Action]:
        """The answer to CheckToken: it is nobody's. `configuration`: where the client learns how to get one.

        spec: RFC7628 3.2.2, 3.2.3
        """
        actions: list[Action] = []
        if self.state is State.SASL_WAITS_FOR_US:
            self._challenge(self._login.token_refused(configuration), actions)
        return actions

    @property
    def token_mechanisms(self) -> tuple[str, ...]:
        """What tokens can be for on this connection."""
        return token_mechanisms(self.tls.bindings)

    @property
    def wishes(self) -> Wishes:
        """What is to come with the login that is going on."""
        return self._login.wishes or Wishes()

    @property
    def is_named_at_once(self) -> bool:
        """Whether the success of the login that is going on says who the client is, before it has a resource."""
        wishes = self._login.wishes
        return wishes is not None and wishes.bind is None

    def admitted(self, name: str, *, proof: bytes = b"", token: str = "") -> list[Action]:
        """The answer to CheckPassword, CheckCertificate, HashedToken, Anonymous or Authenticated: `name` is who the
        peer is now; "" for a guest that gets its name with its resource.

        `proof`: what HT answers with; `token`: the <token/> that the client is given (XEP-0484 3.3).
        """
        if self.state is not State.SASL_WAITS_FOR_US:
            return []
        self.name = name
        self._answered = token
        data = self._login.succeed(proof)
        if self._login.profile is Sasl2:
            self._proof = data
            self._go(Input.SASL2_DONE)
            self._framing.widen(self._policy.stanza_bytes)
            return self._next_wish()
        self._go(Input.SASL_DONE)
        # spec: RFC6120 6.4.6: the stream restarts; nothing of the old one is kept
        self._framing.renew(self._policy.stanza_bytes)
        self._header_sent = False
        return [Send(Sasl1.success(data))]

    def refused(self, condition: str, text: str) -> list[Action]:
        """The login failed. `condition` is of RFC6120 6.5. After too many attempts the stream is closed."""
        if self.state is not State.SASL_WAITS_FOR_US:
            return []
        self._go(Input.SASL_FAILED)
        self._login.end()
        actions: list[Action] = [Send(self._login.profile.failure(condition, text))]
        if self._login.attempts >= MAX_SASL_ATTEMPTS:
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
        wishes = self._login.wishes
        assert wishes is not None  # it is kept until it is answered
        if wishes.resume is not None:
            self._login.wishes = replace(wishes, resume=None)
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
        success = Sasl2.success(self._proof, str(identity), self._answered + more)
        self._proof, self._answered, self._login.wishes = b"", "", None
        features = session_features(self._policy, bound=bound)
        return [Send(success), Send(f"<stream:features>{features}</stream:features>".encode())]

    def bound(self, jid: Jid, more: str = "") -> list[Action]:
        """The resource is bound to `jid`, a full JID. `more`: what is said of what else was asked for with it."""
        if self.state is not State.BIND_WAITS_FOR_US:
            return []
        self._go(Input.BIND_DONE)
        self.jid = jid
        if self._login.wishes is not None:
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
        if self._login.wishes is not None:
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
        if self._login.wishes is not None:
            # spec: XEP-0198 9.2: no features follow: the stream is what it was
            return self._succeed(resumed, bound=True)[:1]
        return [Send(resumed.encode())]

    def resume_refused(self, condition: str, handled: int | None = None) -> list[Action]:
        """The answer to Resume: a stanza error condition; the client may bind a resource now. spec: XEP-0198 5"""
        if self.state is not State.RESUME_WAITS_FOR_US:
            return []
        self._go(Input.RESUME_REFUSED)
        if self._login.wishes is not None:
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
        self._login.end()
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
        peer = _bare(self._peer_from)
        to = "" if peer is None else f" to='{escape_attribute(peer)}'"
        return self._framing.opening(
            f" id='{escape_attribute(self._new_id())}' from='{escape_attribute(self._policy.domain)}'{to}"
            f" version='1.0' xml:lang='{LANGUAGE}'"
        )


def _bare(from_: str | None) -> str | None:
    """What the header says of who opens the stream, as our own answers it. spec: RFC6120 4.7.2: the bare JID"""
    try:
        return None if from_ is None else str(parse_jid(from_).bare)
    except InvalidJid:
        return None


def _language_in(lang: str | None) -> str:
    """The language of a stream, for stanzas without one of their own; "" for what we say in our streams: whoever
    hears a stanza there takes it for that. spec: RFC6120 4.7.4, 8.1.5"""
    if lang is None or not _LANGUAGE.match(lang) or lang.lower() == LANGUAGE:
        return ""
    return lang
