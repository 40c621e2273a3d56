"""A stream that we open to another server, as a pure state machine: to send stanzas, or to ask about a dialback key.

TLS first, then SASL EXTERNAL where it is offered, dialback otherwise or after a refusal. Where the peer can, stanzas
come back over the same stream, and more of its domains may prove their names in it.
spec: RFC6120 4, 5.4.3.3, 6.3.4; XEP-0220 2.1.1, 2.2.1, 2.4; XEP-0178 3; XEP-0288 2; XEP-0478 3, 4.
Read next: pairs.py, links.py.
"""

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tripoint.xmpp.hearing import Hearing
from tripoint.xmpp.s2s.actions import (
    Ask,
    Close,
    Failed,
    Handled,
    Managed,
    Proved,
    Ready,
    Send,
    Stanza,
    StartTls,
    TellHandled,
    Verified,
    stream_error,
    stream_header,
)
from tripoint.xmpp.s2s.dialback import DIALBACK_NS, SERVER_NS, dialback_key
from tripoint.xmpp.s2s.pairs import Pairs, Terms
from tripoint.xmpp.tables import (
    BIDI_FEATURE_NS,
    BIDI_NS,
    SAME_IDENTITY_NS,
    SASL_NS,
    SM_NS,
    STREAM_ERRORS_NS,
    TLS_NS,
)
from tripoint.xmpp.wire import STREAMS_NS, Element, StreamError, StreamOpened, escape_attribute, escape_text

# A limit that is smaller is not that of a server for servers it knows, but for strangers.
LEAST_AFTER_DIALBACK: Final = 65_536

Action = (
    Send | StartTls | Close | Ready | Ask | Proved | Stanza | Verified | Failed | Managed | TellHandled | Handled
)


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a key that was shown in the stream `stream_id` is theirs. spec: XEP-0220 2.2.1"""

    key: str
    stream_id: str


class State(Enum):
    """What is waited for."""

    HEADER = "header"
    FEATURES = "features"
    PROCEED = "proceed"
    TLS_SWITCH = "switching to TLS"
    SASL = "answer to EXTERNAL"
    DIALBACK = "answer to dialback"
    READY = "nothing"
    ENDING = "the end of the stream, after ours"
    CLOSED = "closed"


class OutgoingStream:
    """Methods return what to do now; none does I/O. `ours` and `theirs`: the pair of domains, `question`: what is asked
    instead of sending stanzas."""

    def __init__(
        self, ours: str, theirs: str, terms: Terms, *, secure: bool = False, question: Question | None = None
    ) -> None:
        self.state = State.HEADER
        self.secure = secure
        self.how = ""
        # It says, inside TLS, that its people are those of the Matrix server of this name (docs/mapping.md 1.6).
        self.same_identity = False
        self.answered = False  # since the last header of ours, inside TLS if that was begun
        self.pairs = Pairs(terms)  # what the peer has proved to us
        self._ours, self._theirs, self._terms = ours, theirs, terms
        self._question = question
        self._tried_external = False
        self._authenticated = False
        self._managed = False  # offered with the last features, and then asked for
        self._hearing: Hearing[Action] = Hearing(self.pairs.stanza_bytes)
        self._stream_id: str | None = None

    def open(self) -> list[Action]:
        """The connection stands: our header."""
        return [Send(stream_header(self._ours, self._theirs))]

    def tls_started(self) -> list[Action]:
        """spec: RFC6120 5.4.3.3"""
        self.secure = True
        return self._again()

    def receive(self, data: bytes) -> list[Action]:
        """What these bytes lead to."""
        return self._hearing.receive(data, self)

    def verified(self, ask: Ask, valid: bool | None) -> list[Action]:
        """What the authoritative server of another domain of the peer said; None: it could not be asked.

        spec: XEP-0288 2.2
        """
        return [*self.pairs.answered(ask, valid)] if self.state is State.READY else []

    def close(self, reason: str) -> list[Action]:
        """End the stream in peace."""
        if self.state is State.CLOSED:
            return []
        said = self.state is State.ENDING
        self.state = State.CLOSED
        self._hearing.stop()
        return [*([] if said else [Send(b"</stream:stream>")]), Close(), Failed(reason)]

    def finish(self, reason: str) -> list[Action]:
        """Send nothing any more; what the peer has on its way back is still taken. spec: RFC6120 4.4"""
        if self.state is not State.READY or not self.pairs.both_ways:
            return self.close(reason)
        self.state = State.ENDING
        return [Send(b"</stream:stream>")]

    # -- what the peer sends

    def ended(self, actions: list[Action]) -> None:
        if self.state is State.ENDING:
            self.state = State.CLOSED
            self._hearing.stop()
            actions.append(Close())
        else:
            actions += self.close("it closed the stream")

    def broke(self, error: StreamError, actions: list[Action]) -> None:
        self.state = State.CLOSED
        self._hearing.stop()
        actions += [Send(stream_error(error.condition, error.text)), Close(), Failed(error.text)]

    def _again(self) -> list[Action]:
        self._hearing.renew()
        self.state = State.HEADER
        self.answered = False
        return self.open()

    def header(self, header: StreamOpened, actions: list[Action]) -> None:
        if header.default_ns != SERVER_NS:
            raise StreamError("invalid-namespace", "The content namespace between servers is jabber:server")
        if header.version is None or header.version.partition(".")[0] != "1":
            raise StreamError("unsupported-version", "This server speaks XMPP 1.0")
        self._stream_id = header.id
        self.answered = True
        self.state = State.FEATURES

    def element(self, element: Element, actions: list[Action]) -> None:
        kind = (element.namespace, element.name)
        if kind == (STREAMS_NS, "error"):
            named = next((one for one in element.elements() if one.namespace == STREAM_ERRORS_NS), None)
            text = element.child_text("text", STREAM_ERRORS_NS)
            reason = "it ended the stream" if named is None else f"it says {named.name}"
            actions += self.close(f"{reason}: {text[:300]}" if text else reason)
        elif kind == (STREAMS_NS, "features"):
            if self.state is State.FEATURES:
                self._features(element, actions)
        elif kind == (TLS_NS, "proceed") and self.state is State.PROCEED:
            self.state = State.TLS_SWITCH
            self._hearing.stop()
            actions.append(StartTls())
        elif kind == (TLS_NS, "failure") and self.state is State.PROCEED:
            actions += self.close("it refuses to begin TLS")
        elif kind == (SASL_NS, "success") and self.state is State.SASL:
            self._authenticated = True
            actions += self._again()
        elif kind == (SASL_NS, "failure") and self.state is State.SASL:
            # spec: XEP-0178 3, step 12: dialback may follow in the same stream
            self._prove_by_dialback(actions)
        elif kind == (DIALBACK_NS, "result") and self.state is State.DIALBACK and self._question is None:
            self._answered(element, actions)
        elif kind == (DIALBACK_NS, "verify") and self.state is State.DIALBACK and self._question is not None:
            self._verified(element, actions)
        elif element.namespace == SM_NS and self._managed and self.state in (State.READY, State.ENDING):
            self._manage(element, actions)
        elif self.pairs.both_ways and self.state in (State.READY, State.ENDING):
            self._comes_back(element, actions)
        else:
            # spec: RFC6120 4.9.3.24; a stream between servers carries stanzas one way (RFC6120 4.5), unless both were
            # asked for and the peer knows who we are (XEP-0288 2.2)
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")

    def _manage(self, element: Element, actions: list[Action]) -> None:
        """spec: XEP-0198 3, 4, 6"""
        if self.state is State.ENDING:
            return  # nothing can be said any more
        if element.name == "failed":
            self._managed = False
            actions.append(Managed(on=False))
        elif element.name != "enabled":
            actions.append(self.pairs.manage(element))

    def _comes_back(self, element: Element, actions: list[Action]) -> None:
        """spec: XEP-0288 2.2"""
        kind = (element.namespace, element.name)
        if element.namespace == SERVER_NS and element.name in ("message", "presence", "iq"):
            actions.append(self.pairs.stanza(element))
        elif kind == (DIALBACK_NS, "result"):
            actions += filter(None, [self.pairs.result(element, self._stream_id or "")])
        elif kind == (DIALBACK_NS, "verify"):
            actions.append(self.pairs.verify(element))
        else:
            raise StreamError("unsupported-stanza-type", f"<{element.name}/> is not expected in this stream")

    def _features(self, features: Element, actions: list[Action]) -> None:
        self.pairs.note_limits(features)
        self._managed = features.child("sm", SM_NS) is not None
        if self.secure and features.child("identity", SAME_IDENTITY_NS) is not None:
            self.same_identity = True
        if self._authenticated:
            self._ready("external", actions)
            return
        if not self.secure:
            if features.child("starttls", TLS_NS) is not None:
                self.state = State.PROCEED
                actions.append(Send(f"<starttls xmlns='{TLS_NS}'/>".encode()))
                return
            if self._terms.require_tls:
                actions += self.close("it does not offer TLS")
                return
        if self._question is not None:
            self.state = State.DIALBACK
            actions.append(Send(self._dialback_element("verify", self._question.key, self._question.stream_id)))
            return
        if features.child("bidi", BIDI_FEATURE_NS) is not None:
            self.pairs.both_ways = True
            actions.append(Send(f"<bidi xmlns='{BIDI_NS}'>{self.pairs.limits_xml}</bidi>".encode()))
        mechanisms = features.child("mechanisms", SASL_NS)
        offered = [] if mechanisms is None else [one.text.strip() for one in mechanisms.elements()]
        if self.secure and "EXTERNAL" in offered and not self._tried_external:
            self._tried_external = True
            self.state = State.SASL
            # spec: XEP-0178 3: the domain as authorization identity is understood by everybody
            who = base64.b64encode(self._ours.encode()).decode()
            actions.append(Send(f"<auth xmlns='{SASL_NS}' mechanism='EXTERNAL'>{who}</auth>".encode()))
            return
        self._prove_by_dialback(actions)

    def _prove_by_dialback(self, actions: list[Action]) -> None:
        if not self._terms.dialback:
            actions += self.close("it does not take our certificate")
        elif not self._stream_id:
            actions += self.close("its stream has no id")
        else:
            self.state = State.DIALBACK
            key = dialback_key(self._terms.secret, self._theirs, self._ours, self._stream_id)
            actions.append(Send(self._dialback_element("result", key, None)))

    def _dialback_element(self, name: str, key: str, stream_id: str | None) -> bytes:
        named = "" if stream_id is None else f" id='{escape_attribute(stream_id)}'"
        return (
            f"<db:{name} from='{escape_attribute(self._ours)}' to='{escape_attribute(self._theirs)}'{named}>"
            f"{escape_text(key)}</db:{name}>"
        ).encode()

    def _is_ours(self, element: Element) -> bool:
        return (element.get("from") or "").lower() == self._theirs and (element.get("to") or "").lower() == self._ours

    def _answered(self, element: Element, actions: list[Action]) -> None:
        kind = element.get("type")
        if not self._is_ours(element):
            raise StreamError("invalid-from", "That is the answer to somebody else")
        if kind == "valid":
            self._ready("dialback", actions)
        else:
            believed = "it does not believe our name" if kind == "invalid" else "it could not check our name"
            actions += self.close(believed)

    def _verified(self, element: Element, actions: list[Action]) -> None:
        assert self._question is not None
        kind = element.get("type")
        if not self._is_ours(element) or element.get("id") != self._question.stream_id:
            raise StreamError("invalid-from", "That is the answer to another question")
        actions.append(Verified(True if kind == "valid" else False if kind == "invalid" else None))
        actions += self.close("it has answered")

    def _ready(self, how: str, actions: list[Action]) -> None:
        self.state = State.READY
        self.how = how
        if how == "dialback" and (self.pairs.takes or 0) < LEAST_AFTER_DIALBACK:
            # No features follow: what they say may have been for peers that have proved nothing yet.
            self.pairs.takes = None
        if self.pairs.both_ways:
            self.pairs.admit((self._theirs, self._ours))
            self._hearing.limit(self.pairs.stanza_bytes)
        if self._managed:
            actions += [Send(f"<enable xmlns='{SM_NS}'/>".encode()), Managed()]
        actions.append(Ready(how))
