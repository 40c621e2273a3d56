"""A stream that another server opened to us, as a pure state machine: it sends, we say who it may speak for.

A pair of domains (its, ours) is verified by a certificate (SASL EXTERNAL) or by dialback; of one stream there may be
several pairs. Nothing but what proves a pair is taken before, and a stanza only for a verified pair.
spec: RFC6120 4, 5, 6.3.4, 8.1.1.2, 8.1.2.2 (from and to between servers), 13.12; XEP-0220 2.1.2, 2.2.2, 2.4
(piggybacking); XEP-0178 3. Read next: outgoing.py.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tripoint.xmpp.jid import InvalidJid, parse_jid, prepare_domain
from tripoint.xmpp.s2s.actions import Ask, Close, Send, Stanza, StartTls, as_client, stream_error, stream_header
from tripoint.xmpp.s2s.dialback import DIALBACK_FEATURE_NS, DIALBACK_NS, SERVER_NS, is_dialback_key
from tripoint.xmpp.tables import SAME_IDENTITY_NS, SASL_NS, STANZA_ERRORS_NS, TLS_NS
from tripoint.xmpp.wire import (
    MAX_STANZA_BYTES_UNAUTHENTICATED,
    Broken,
    Element,
    StreamClosed,
    StreamError,
    StreamOpened,
    StreamParser,
    escape_attribute,
)

# Pairs of domains of one stream: our three names times the domains of a large host.
MAX_PAIRS: Final = 200
# Keys of one stream that wait for the answer of an authoritative server.
MAX_ASKED: Final = 10

Action = Send | StartTls | Close | Ask | Stanza
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms other servers come in. `domains`: our names; `secret` makes dialback keys."""

    domains: frozenset[str]
    secret: bytes
    require_tls: bool
    dialback: bool
    stanza_bytes: int
    identity: str | None = None  # of which of them it is said that it is a Matrix server too: docs/mapping.md 1.6


class State(Enum):
    """Where the negotiation is."""

    AWAIT_HEADER = "await header"
    OPEN = "open"
    TLS_SWITCH = "switching to TLS"
    CLOSED = "closed"


class IncomingStream:
    """Methods return what to do now, in order; none does I/O. `new_id` gives stream ids that nobody guesses."""

    def __init__(self, terms: Terms, new_id: Callable[[], str], *, secure: bool = False) -> None:
        self.state = State.AWAIT_HEADER
        self.secure = secure
        self.verified_pairs: set[Pair] = set()
        self._terms = terms
        self._new_id = new_id
        self._certified: Callable[[str], bool] = lambda domain: False
        self._parser = StreamParser(MAX_STANZA_BYTES_UNAUTHENTICATED)
        self._id = ""
        self._from: str | None = None
        self._to = ""
        self._header_sent = False
        self._offered_external = False
        self._asked: set[Pair] = set()

    @property
    def peer(self) -> str | None:
        """The domain that the peer says it is; nothing is proved by it."""
        return self._from

    def tls_started(self, certified: Callable[[str], bool]) -> None:
        """The connection is encrypted from here on; `certified`: whether the peer has shown a valid
        certificate of a domain. spec: RFC6120 5.4.3.3"""
        self.secure = True
        self._certified = certified
        self._renew()

    def receive(self, data: bytes) -> list[Action]:
        """What these bytes lead to."""
        if self.state in (State.TLS_SWITCH, State.CLOSED):
            return []
        actions: list[Action] = []
        parser = self._parser
        for event in parser.receive(data):
            if self.state in (State.TLS_SWITCH, State.CLOSED) or parser is not self._parser:
                break
            try:
                if isinstance(event, Element):
                    self._element(event, actions)
                elif isinstance(event, StreamOpened):
                    self._header(event, actions)
                elif isinstance(event, StreamClosed):
                    actions += self.close()
                else:
                    assert isinstance(event, Broken)
                    raise StreamError(event.condition, event.text)
            except StreamError as error:
                actions += self.fail(error.condition, error.text)
        return actions

    def verified(self, ask: Ask, valid: bool | None) -> list[Action]:
        """What the authoritative server said; None: it could not be asked. spec: XEP-0220 2.1.2, 2.4.2"""
        pair = (ask.originating, ask.receiving)
        self._asked.discard(pair)
        if self.state is not State.OPEN or ask.stream_id != self._id:
            return []
        if valid:
            self._admit(pair)
            return [self._result(pair, "valid")]
        if valid is None:
            return [self._result(pair, "error", "remote-server-not-found")]
        # spec: XEP-0220 2.1.2: the stream is not closed while other domains use it
        answer: list[Action] = [self._result(pair, "invalid")]
        return answer if self.verified_pairs else [*answer, *self.close()]

    def fail(self, condition: str, text: str) -> list[Action]:
        """End the stream with an error. spec: RFC6120 4.9.1"""
        if self.state is State.CLOSED:
            return []
        actions: list[Action] = []
        if not self._header_sent and self.state is not State.TLS_SWITCH:
            # spec: RFC6120 4.9.1.2: the answering header comes first
            actions.append(Send(stream_header(None, None, self._new_id())))
        if self.state is not State.TLS_SWITCH:
            actions.append(Send(stream_error(condition, text)))
        self.state = State.CLOSED
        self._parser.close()
        return [*actions, Close()]

    def close(self) -> list[Action]:
        """End the stream in peace. spec: RFC6120 4.4"""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        self._parser.close()
        return [Send(b"</stream:stream>"), Close()]

    # -- what the peer sends

    def _renew(self) -> None:
        self._parser.close()
        self._parser = StreamParser(self._limit())
        self.state = State.AWAIT_HEADER
        self._header_sent = False

    def _limit(self) -> int:
        return self._terms.stanza_bytes if self.verified_pairs else MAX_STANZA_BYTES_UNAUTHENTICATED

    def _header(self, header: StreamOpened, actions: list[Action]) -> None:
        if header.default_ns != SERVER_NS:
            raise StreamError("invalid-namespace", "The content namespace between servers is jabber:server")
        # spec: RFC6120 4.7.5; XEP-0220 2.1.1: what is older than 1.0 cannot encrypt
        if header.version is None or header.version.partition(".")[0] != "1":
            raise StreamError("unsupported-version", "This server speaks XMPP 1.0")
        if header.to is None:
            raise StreamError("improper-addressing", "The stream header needs a 'to'")
        self._to = _domain(header.to) or ""
        if self._to not in self._terms.domains:
            raise StreamError("host-unknown", f"{header.to[:200]} is not served here")
        self._from = None if header.from_ is None else _domain(header.from_)
        if header.from_ is not None and self._from is None:
            raise StreamError("invalid-from", "The 'from' of the header is no domain")
        self._id = self._new_id()
        self.state = State.OPEN
        self._header_sent = True
        actions.append(Send(stream_header(self._to, self._from, self._id)))
        actions.append(Send(f"<stream:features>{self._features()}</stream:features>".encode()))

    def _features(self) -> str:
        if not self.secure:
            required = "<required/>" if self._terms.require_tls else ""
            tls = f"<starttls xmlns='{TLS_NS}'>{required}</starttls>"
            if self._terms.require_tls:
                return tls
        else:
            tls = ""
        authenticated = (self._from, self._to) in self.verified_pairs
        self._offered_external = (
            self.secure and self._from is not None and not authenticated and self._certified(self._from)
        )
        external = (
            f"<mechanisms xmlns='{SASL_NS}'><mechanism>EXTERNAL</mechanism></mechanisms>"
            if self._offered_external
            else ""
        )
        # spec: XEP-0220 2.3: errors are understood
        dialback = f"<dialback xmlns='{DIALBACK_FEATURE_NS}'><errors/></dialback>" if self._terms.dialback else ""
        same = f"<identity xmlns='{SAME_IDENTITY_NS}'/>" if self.secure and self._to == self._terms.identity else ""
        return tls + external + dialback + same

    def _element(self, element: Element, actions: list[Action]) -> None:
        kind = (element.namespace, element.name)
        if kind == (TLS_NS, "starttls"):
            self._starttls(actions)
        elif not self.secure and self._terms.require_tls:
            # spec: RFC6120 5.3.1
            raise StreamError("policy-violation", "Servers speak to each other over TLS alone here")
        elif element.namespace == SASL_NS:
            self._sasl(element, actions)
        elif kind == (DIALBACK_NS, "result"):
            self._dialback_result(element, actions)
        elif kind == (DIALBACK_NS, "verify"):
            self._dialback_verify(element, actions)
        elif element.namespace == SERVER_NS and element.name in ("message", "presence", "iq"):
            self._stanza(element, actions)
        else:
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")

    def _starttls(self, actions: list[Action]) -> None:
        if self.secure or self.verified_pairs:
            # spec: RFC6120 5.4.2.2
            actions.append(Send(f"<failure xmlns='{TLS_NS}'/>".encode()))
            actions += self.close()
            return
        self.state = State.TLS_SWITCH
        self._parser.close()
        self._asked.clear()
        actions += [Send(f"<proceed xmlns='{TLS_NS}'/>".encode()), StartTls()]

    def _sasl(self, element: Element, actions: list[Action]) -> None:
        """spec: RFC6120 6.3.4, 6.4; RFC4422 A; XEP-0178 3"""
        if element.name != "auth":
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")
        if element.get("mechanism") != "EXTERNAL" or not self._offered_external or self._from is None:
            actions.append(Send(f"<failure xmlns='{SASL_NS}'><invalid-mechanism/></failure>".encode()))
            return
        self._offered_external = False  # once for each stream
        text = element.text.strip()
        if text in ("", "="):
            wanted: str | None = self._from
        else:
            try:
                wanted = _domain(base64.b64decode(text, validate=True).decode())
            except (binascii.Error, UnicodeDecodeError):
                actions.append(Send(f"<failure xmlns='{SASL_NS}'><incorrect-encoding/></failure>".encode()))
                return
        if wanted != self._from:
            actions.append(Send(f"<failure xmlns='{SASL_NS}'><invalid-authzid/></failure>".encode()))
            return
        self._admit((self._from, self._to))
        actions.append(Send(f"<success xmlns='{SASL_NS}'/>".encode()))
        self._renew()

    def _addressed(self, element: Element) -> Pair:
        from_, to = element.get("from"), element.get("to")
        if not from_ or not to:
            raise StreamError("improper-addressing", "Between servers everything has a 'from' and a 'to'")
        theirs, ours = _domain(from_), _domain(to)
        if theirs is None or ours is None:
            raise StreamError("improper-addressing", "The 'from' or 'to' is no domain")
        return theirs, ours

    def _dialback_result(self, element: Element, actions: list[Action]) -> None:
        """The peer shows a key. spec: XEP-0220 2.1.1, 2.4.2"""
        pair = theirs, ours = self._addressed(element)
        if not self._terms.dialback:
            raise StreamError("not-authorized", "This server asks for a valid certificate")
        if element.get("type") is not None:
            raise StreamError("unsupported-stanza-type", "An answer to a question that was not asked")
        if ours not in self._terms.domains:
            actions.append(self._result(pair, "error", "item-not-found"))
        elif theirs in self._terms.domains:
            raise StreamError("invalid-from", "That is a domain of this server")
        elif pair in self.verified_pairs:
            actions.append(self._result(pair, "valid"))
        elif len(self._asked) >= MAX_ASKED or len(self.verified_pairs) >= MAX_PAIRS:
            actions.append(self._result(pair, "error", "resource-constraint"))
        elif pair not in self._asked:
            self._asked.add(pair)
            actions.append(Ask(theirs, ours, element.text.strip(), self._id))

    def _dialback_verify(self, element: Element, actions: list[Action]) -> None:
        """A server asks whether a key is ours. spec: XEP-0220 2.2.2"""
        receiving, ours = self._addressed(element)
        stream_id = element.get("id")
        if stream_id is None or element.get("type") is not None:
            raise StreamError("improper-addressing", "A question about a key has the id of the stream and no type")
        head = (
            f"<db:verify from='{escape_attribute(ours)}' to='{escape_attribute(receiving)}' "
            f"id='{escape_attribute(stream_id)}'"
        )
        if ours not in self._terms.domains:
            actions.append(Send(f"{head} type='error'>{_error('item-not-found')}</db:verify>".encode()))
            return
        ok = is_dialback_key(element.text, self._terms.secret, receiving, ours, stream_id)
        actions.append(Send(f"{head} type='{'valid' if ok else 'invalid'}'/>".encode()))

    def _stanza(self, element: Element, actions: list[Action]) -> None:
        """spec: RFC6120 8.1.1.2, 8.1.2.2, 4.9.3.9 (invalid-from), 4.9.3.6 (host-unknown), 4.9.3.12"""
        from_, to = element.get("from"), element.get("to")
        if not from_ or not to:
            raise StreamError("improper-addressing", "Between servers every stanza has a 'from' and a 'to'")
        if not self.verified_pairs:
            raise StreamError("not-authorized", "Prove your name first")
        try:
            theirs, ours = parse_jid(from_).domain, parse_jid(to).domain
        except InvalidJid:
            raise StreamError("improper-addressing", "The 'from' or 'to' of a stanza is no address") from None
        if (theirs, ours) not in self.verified_pairs:
            if ours not in self._terms.domains:
                raise StreamError("host-unknown", "That domain is not served here")
            raise StreamError("invalid-from", f"You have not proved to {ours} that you are {theirs}")
        actions.append(Stanza(as_client(element)))

    def _admit(self, pair: Pair) -> None:
        self.verified_pairs.add(pair)
        self._parser.max_stanza_bytes = self._limit()

    def _result(self, pair: Pair, kind: str, condition: str = "") -> Send:
        theirs, ours = pair
        head = f"<db:result from='{escape_attribute(ours)}' to='{escape_attribute(theirs)}' type='{kind}'"
        return Send(f"{head}>{_error(condition)}</db:result>".encode() if condition else f"{head}/>".encode())


def _error(condition: str) -> str:
    """spec: XEP-0220 2.4.1"""
    return f"<error type='cancel'><{condition} xmlns='{STANZA_ERRORS_NS}'/></error>"


def _domain(text: str) -> str | None:
    """A prepared domain; None for what is none."""
    try:
        return prepare_domain(text)
    except InvalidJid:
        return None
