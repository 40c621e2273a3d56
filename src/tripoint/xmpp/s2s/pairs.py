"""The pairs of domains (its, ours) that a peer has proved in one stream, and what it may send for them. Pure.

Streams that others opened are heard so, and those of ours that carry stanzas both ways.
spec: RFC6120 8.1.1.2, 8.1.2.2 (from and to between servers), 13.12; XEP-0220 2.1.2, 2.2.2, 2.5, 2.6; XEP-0288 2.2.
"""

from dataclasses import dataclass
from typing import Final

from tripoint.xmpp.acks import parse_count
from tripoint.xmpp.jid import InvalidJid, domain_in, prepare_domain
from tripoint.xmpp.s2s.actions import Ask, Handled, Proved, Send, Stanza, TellHandled, as_client
from tripoint.xmpp.s2s.dialback import is_dialback_key
from tripoint.xmpp.tables import LIMITS_NS, STANZA_ERRORS_NS
from tripoint.xmpp.wire import MAX_STANZA_BYTES_UNAUTHENTICATED, Element, StreamError, escape_attribute

# Pairs of domains of one stream: our three names times the domains of a large host.
MAX_PAIRS: Final = 200
# Keys of one stream that wait for the answer of an authoritative server.
MAX_ASKED: Final = 10

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms other servers come in. `domains`: ours, and those of components; `secret` makes dialback keys."""

    domains: frozenset[str]
    secret: bytes
    require_tls: bool
    dialback: bool
    stanza_bytes: int
    identity: str | None = None  # of which of them it is said that it is a Matrix server too: docs/mapping.md 1.6


class Pairs:
    """Methods return what to do now. `both_ways`: stanzas go back over the same stream for each pair (XEP-0288)."""

    def __init__(self, terms: Terms) -> None:
        self.verified: set[Pair] = set()
        self.both_ways = False
        self.takes: int | None = None  # the largest stanza, in bytes, that the peer says it takes
        self._terms = terms
        self._asked: set[Pair] = set()

    @property
    def stanza_bytes(self) -> int:
        """How large a stanza the peer may send by now."""
        return self._terms.stanza_bytes if self.verified else MAX_STANZA_BYTES_UNAUTHENTICATED

    @property
    def limits_xml(self) -> str:
        """How large a stanza it may send once it has proved its name. spec: XEP-0478 3.1, 3.2"""
        return f"<limits xmlns='{LIMITS_NS}'><max-bytes>{self._terms.stanza_bytes}</max-bytes></limits>"

    def note_limits(self, said: Element) -> None:
        """What the peer says inside of its features, or of its <bidi/>. spec: XEP-0478 3.1, 3.2, 4"""
        limits = said.child("limits", LIMITS_NS)
        text = "" if limits is None else (limits.child_text("max-bytes", LIMITS_NS) or "").strip()
        self.takes = int(text[:12]) if text.isascii() and text.isdecimal() else None

    def manage(self, element: Element) -> TellHandled | Handled:
        """What a peer says of stanzas that are counted. spec: XEP-0198 4, 6"""
        if element.name == "r":
            return TellHandled()
        h = parse_count(element.get("h")) if element.name == "a" else None
        if h is None:
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")
        return Handled(h)

    def forget_questions(self) -> None:
        """The stream begins anew: what was asked in it is not answered any more."""
        self._asked.clear()

    def admit(self, pair: Pair) -> list[Proved]:
        """The pair is proved."""
        self.verified.add(pair)
        return [Proved(*pair)] if self.both_ways else []

    def result(self, element: Element, stream_id: str) -> Send | Ask | None:
        """The peer shows a key. spec: XEP-0220 2.1.1, 2.4.2"""
        pair = theirs, ours = _addressed(element)
        if not self._terms.dialback:
            raise StreamError("not-authorized", "This server asks for a valid certificate")
        if element.get("type") is not None:
            raise StreamError("unsupported-stanza-type", "An answer to a question that was not asked")
        if ours not in self._terms.domains:
            return _result(pair, "error", "item-not-found")
        if theirs in self._terms.domains:
            raise StreamError("invalid-from", "That is a domain of this server")
        if pair in self.verified:
            return _result(pair, "valid")
        if len(self._asked) >= MAX_ASKED or len(self.verified) >= MAX_PAIRS:
            return _result(pair, "error", "resource-constraint")
        if pair in self._asked:
            return None
        self._asked.add(pair)
        return Ask(theirs, ours, element.text.strip(), stream_id)

    def answered(self, ask: Ask, valid: bool | None) -> list[Send | Proved]:
        """What the authoritative server said; None: it could not be asked. spec: XEP-0220 2.1.2, 2.4.2"""
        pair = (ask.originating, ask.receiving)
        self._asked.discard(pair)
        if valid:
            return [_result(pair, "valid"), *self.admit(pair)]
        return [_result(pair, "invalid") if valid is False else _result(pair, "error", "remote-server-not-found")]

    def verify(self, element: Element) -> Send:
        """A server asks whether a key is ours. spec: XEP-0220 2.2.2"""
        receiving, ours = _addressed(element)
        stream_id = element.get("id")
        if stream_id is None or element.get("type") is not None:
            raise StreamError("improper-addressing", "A question about a key has the id of the stream and no type")
        head = (
            f"<db:verify from='{escape_attribute(ours)}' to='{escape_attribute(receiving)}' "
            f"id='{escape_attribute(stream_id)}'"
        )
        if ours not in self._terms.domains:
            return Send(f"{head} type='error'>{_error('item-not-found')}</db:verify>".encode())
        ok = is_dialback_key(element.text, self._terms.secret, receiving, ours, stream_id)
        return Send(f"{head} type='{'valid' if ok else 'invalid'}'/>".encode())

    def stanza(self, element: Element) -> Stanza:
        """spec: RFC6120 8.1.1.2, 8.1.2.2, 4.9.3.9 (invalid-from), 4.9.3.6 (host-unknown), 4.9.3.12"""
        from_, to = element.get("from"), element.get("to")
        if not from_ or not to:
            raise StreamError("improper-addressing", "Between servers every stanza has a 'from' and a 'to'")
        if not self.verified:
            raise StreamError("not-authorized", "Prove your name first")
        try:
            theirs, ours = domain_in(from_), domain_in(to)
        except InvalidJid:
            raise StreamError("improper-addressing", "The 'from' or 'to' of a stanza is no address") from None
        if (theirs, ours) not in self.verified:
            if ours not in self._terms.domains:
                raise StreamError("host-unknown", "That domain is not served here")
            raise StreamError("invalid-from", f"You have not proved to {ours} that you are {theirs}")
        return Stanza(as_client(element))


def domain_of(text: str) -> str | None:
    """A prepared domain; None for what is none."""
    try:
        return prepare_domain(text)
    except InvalidJid:
        return None


def _addressed(element: Element) -> Pair:
    from_, to = element.get("from"), element.get("to")
    if not from_ or not to:
        raise StreamError("improper-addressing", "Between servers everything has a 'from' and a 'to'")
    theirs, ours = domain_of(from_), domain_of(to)
    if theirs is None or ours is None:
        raise StreamError("improper-addressing", "The 'from' or 'to' is no domain")
    return theirs, ours


def _result(pair: Pair, kind: str, condition: str = "") -> Send:
    theirs, ours = pair
    head = f"<db:result from='{escape_attribute(ours)}' to='{escape_attribute(theirs)}' type='{kind}'"
    return Send(f"{head}>{_error(condition)}</db:result>".encode() if condition else f"{head}/>".encode())


def _error(condition: str) -> str:
    """spec: XEP-0220 2.4.1"""
    return f"<error type='cancel'><{condition} xmlns='{STANZA_ERRORS_NS}'/></error>"
