"""A stream that another server opened to us, as a pure state machine: it sends, we say who it may speak for.

A pair of domains (its, ours) is verified by a certificate (SASL EXTERNAL) or by dialback; of one stream there may be
several pairs. Nothing but what proves a pair is taken before, and a stanza only for a verified pair.
spec: RFC6120 4, 5, 6.3.4; XEP-0178 3; XEP-0288 2; XEP-0478 3. Read next: pairs.py, outgoing.py.
"""

import base64
import binascii
from collections.abc import Callable
from enum import Enum

from tripoint.xmpp.acks import failed
from tripoint.xmpp.hearing import Hearing
from tripoint.xmpp.s2s.actions import (
    Ask,
    Close,
    Handled,
    Managed,
    Proved,
    Send,
    Stanza,
    StartTls,
    TellHandled,
    stream_error,
    stream_header,
)
from tripoint.xmpp.s2s.dialback import DIALBACK_FEATURE_NS, DIALBACK_NS, SERVER_NS
from tripoint.xmpp.s2s.pairs import Pairs, Terms, domain_of
from tripoint.xmpp.tables import BIDI_FEATURE_NS, BIDI_NS, SAME_IDENTITY_NS, SASL_NS, SM_NS, TLS_NS
from tripoint.xmpp.wire import Element, StreamError, StreamOpened

Action = Send | StartTls | Close | Ask | Proved | Stanza | Managed | TellHandled | Handled


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
        self.how = ""  # by what it has proved a name: "external" or "dialback"
        self.pairs = Pairs(terms)
        self._terms = terms
        self._new_id = new_id
        self._certified: Callable[[str], bool] = lambda domain: False
        self._hearing: Hearing[Action] = Hearing(self.pairs.stanza_bytes)
        self._id = ""
        self._from: str | None = None
        self._to = ""
        self._header_sent = False
        self._offered_external = False
        self._managed = False
        self._awaiting: list[Proved] = []  # stanzas go back once the stream has begun anew

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
        return self._hearing.receive(data, self)

    def verified(self, ask: Ask, valid: bool | None) -> list[Action]:
        """What the authoritative server said; None: it could not be asked. spec: XEP-0220 2.1.2, 2.4.2"""
        if self.state is not State.OPEN or ask.stream_id != self._id:
            return []
        answer: list[Action] = [*self.pairs.answered(ask, valid)]
        if valid:
            self._proved("dialback")
        elif valid is False and not self.pairs.verified:
            # spec: XEP-0220 2.1.2: the stream is not closed while other domains use it
            answer += self.close()
        return answer

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
        self._hearing.stop()
        return [*actions, Close()]

    def close(self) -> list[Action]:
        """End the stream in peace. spec: RFC6120 4.4"""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        self._hearing.stop()
        return [Send(b"</stream:stream>"), Close()]

    # -- what the peer sends

    def ended(self, actions: list[Action]) -> None:
        actions += self.close()

    def broke(self, error: StreamError, actions: list[Action]) -> None:
        actions += self.fail(error.condition, error.text)

    def _renew(self) -> None:
        self._hearing.renew()
        self.state = State.AWAIT_HEADER
        self._header_sent = False

    def _proved(self, how: str) -> None:
        self.how = self.how or how
        self._hearing.limit(self.pairs.stanza_bytes)

    def header(self, header: StreamOpened, actions: list[Action]) -> None:
        if header.default_ns != SERVER_NS:
            raise StreamError("invalid-namespace", "The content namespace between servers is jabber:server")
        # spec: RFC6120 4.7.5; XEP-0220 2.1.1: what is older than 1.0 cannot encrypt
        if not header.speaks_xmpp:
            raise StreamError("unsupported-version", "This server speaks XMPP 1.0")
        if header.to is None:
            raise StreamError("improper-addressing", "The stream header needs a 'to'")
        self._to = domain_of(header.to) or ""
        if self._to not in self._terms.domains:
            raise StreamError("host-unknown", f"{header.to[:200]} is not served here")
        self._from = None if header.from_ is None else domain_of(header.from_)
        if header.from_ is not None and self._from is None:
            raise StreamError("invalid-from", "The 'from' of the header is no domain")
        self._id = self._new_id()
        self.state = State.OPEN
        self._header_sent = True
        actions.append(Send(stream_header(self._to, self._from, self._id)))
        actions.append(Send(f"<stream:features>{self._features()}</stream:features>".encode()))
        actions += self._awaiting
        self._awaiting = []

    def _features(self) -> str:
        # spec: XEP-0288 2.1: both before and after TLS
        bidi = f"<bidi xmlns='{BIDI_FEATURE_NS}'/>"
        tls = external = dialback = same = ""
        if not self.secure:
            required = "<required/>" if self._terms.require_tls else ""
            tls = f"<starttls xmlns='{TLS_NS}'>{required}</starttls>"
            if self._terms.require_tls:
                return tls + bidi
        authenticated = (self._from, self._to) in self.pairs.verified
        self._offered_external = (
            self.secure and self._from is not None and not authenticated and self._certified(self._from)
        )
        if self._offered_external:
            external = f"<mechanisms xmlns='{SASL_NS}'><mechanism>EXTERNAL</mechanism></mechanisms>"
        if self._terms.dialback:
            # spec: XEP-0220 2.4.2: errors are understood
            dialback = f"<dialback xmlns='{DIALBACK_FEATURE_NS}'><errors/></dialback>"
        if self.secure and self._to == self._terms.identity:
            same = f"<identity xmlns='{SAME_IDENTITY_NS}'/>"
        last = f"<sm xmlns='{SM_NS}'/>" if authenticated else bidi
        return tls + external + dialback + last + same + self.pairs.limits_xml

    def element(self, element: Element, actions: list[Action]) -> None:
        kind = (element.namespace, element.name)
        if kind == (TLS_NS, "starttls"):
            self._starttls(actions)
        elif not self.secure and self._terms.require_tls:
            # spec: RFC6120 5.3.1
            raise StreamError("policy-violation", "Servers speak to each other over TLS alone here")
        elif element.namespace == SASL_NS:
            self._sasl(element, actions)
        elif kind == (BIDI_NS, "bidi"):
            self._bidi(element, actions)
        elif kind == (DIALBACK_NS, "result"):
            actions += filter(None, [self.pairs.result(element, self._id)])
        elif kind == (DIALBACK_NS, "verify"):
            actions.append(self.pairs.verify(element))
        elif element.namespace == SM_NS:
            self._manage(element, actions)
        elif element.namespace == SERVER_NS and element.name in ("message", "presence", "iq"):
            actions.append(self.pairs.stanza(element))
        else:
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")

    def _starttls(self, actions: list[Action]) -> None:
        if self.secure or self.pairs.verified or self.pairs.both_ways:
            # spec: RFC6120 5.4.2.2; XEP-0288 2.1: TLS comes before bidi
            actions.append(Send(f"<failure xmlns='{TLS_NS}'/>".encode()))
            actions += self.close()
            return
        self.state = State.TLS_SWITCH
        self._hearing.stop()
        self.pairs.forget_questions()
        actions += [Send(f"<proceed xmlns='{TLS_NS}'/>".encode()), StartTls()]

    def _bidi(self, element: Element, actions: list[Action]) -> None:
        """Stanzas go back for every pair that is proved, whether this comes first, as it should, or after the proof.

        spec: XEP-0288 2.2
        """
        self.pairs.both_ways = True
        self.pairs.note_limits(element)
        actions += [Proved(*pair) for pair in sorted(self.pairs.verified)]

    def _manage(self, element: Element, actions: list[Action]) -> None:
        """Nothing is resumed here. spec: XEP-0198 3, 4, 6"""
        if element.name == "enable" and self.pairs.verified and not self._managed:
            self._managed = True
            actions += [Send(f"<enabled xmlns='{SM_NS}'/>".encode()), Managed()]
        elif element.name in ("enable", "resume"):
            actions.append(Send(failed("unexpected-request" if element.name == "enable" else "item-not-found")))
        elif self._managed:
            actions.append(self.pairs.manage(element))
        else:
            actions.append(Send(failed("unexpected-request")))

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
                wanted = domain_of(base64.b64decode(text, validate=True).decode())
            except (binascii.Error, UnicodeDecodeError):
                actions.append(Send(f"<failure xmlns='{SASL_NS}'><incorrect-encoding/></failure>".encode()))
                return
        if wanted != self._from:
            actions.append(Send(f"<failure xmlns='{SASL_NS}'><invalid-authzid/></failure>".encode()))
            return
        actions.append(Send(f"<success xmlns='{SASL_NS}'/>".encode()))
        self._awaiting = self.pairs.admit((self._from, self._to))
        self._proved("external")
        self._renew()
