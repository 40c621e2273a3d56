"""Stream management of one session: its counters, the acks it is asked for and asks for, and what waits to be resumed.

A session that does not ask for it has nothing of this. One that does sends through a Managed: each stanza is counted
and kept until the client says that it has handled it. While there is no connection, what is sent is kept the same way,
and goes out when the client resumes.
spec: XEP-0198 3-7. Counting is acks.py, who may resume what is resumption.py.
"""

from typing import TYPE_CHECKING, Final

from tripoint.xmpp.acks import HandledTooMuch, Unacked, failed, parse_boolean, parse_count
from tripoint.xmpp.tables import SM_NS
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.session import Sink, XmppSession

# An ack is asked for when so many stanzas wait for one, and by the sweep where fewer do (spec: XEP-0198 8.2).
ASK_AFTER: Final = 5
ASK: Final = f"<r xmlns='{SM_NS}'/>".encode()


class Managed:
    """What a managed session sends through. `sm_id` is what it is resumed by; None: it cannot be.

    `outbox` is that of the connection, None while there is none. `asked_at`: since when an ack is waited for.
    """

    __slots__ = ("_sent_when_lost", "_session", "asked_at", "handled", "max_s", "outbox", "sm_id", "unacked")

    def __init__(
        self, session: "XmppSession", outbox: "Sink", sm_id: str | None, max_s: float, unacked: Unacked
    ) -> None:
        self.outbox: Sink | None = outbox
        self.sm_id = sm_id
        self.max_s = max_s
        self.handled = 0  # stanzas of the client
        self.asked_at: float | None = None
        self.unacked = unacked
        self._sent_when_lost = 0
        self._session = session

    def send(self, data: bytes) -> None:
        """A whole stanza. It leaves at once where there is a connection, and stays until it is acknowledged."""
        session = self._session
        self.unacked.add(data, session.direct.position)
        outbox = self.outbox
        if outbox is not None:
            outbox.send(data)
            if self.asked_at is None and self.unacked.outstanding >= ASK_AFTER:
                self.ask()

    def ask(self) -> None:
        """Ask for an ack, unless one is waited for."""
        if self.outbox is not None and self.asked_at is None and self.unacked.outstanding:
            self.asked_at = self._session.doors.monotonic()
            self.outbox.send(ASK)

    def lost(self) -> None:
        """The connection is gone."""
        self.outbox = None
        self._sent_when_lost = self.unacked.sent

    @property
    def is_past_resuming(self) -> bool:
        """Whether so much came since the connection was lost that no client could go on, whatever it has had."""
        return self.outbox is None and not self.unacked.can_go_on_from(self._sent_when_lost)

    def go_on(self, outbox: "Sink", h: int) -> None:
        """There is a connection again, whose client has handled `h`: what it has not had goes out anew.

        Raises HandledTooMuch. spec: XEP-0198 5
        """
        self.unacked.acknowledge(h)
        self.outbox = outbox
        self.asked_at = None
        for stanza in self.unacked.kept():
            outbox.send(stanza.data)
        self.ask()

    def missed_since(self) -> int | None:
        """The mark of the oldest one-to-one message that the client may not have had; None: it has had all."""
        if self.unacked.given_up is not None:
            return self.unacked.given_up
        return next((one.mark for one in self.unacked.kept() if _is_one_to_one(one.data)), None)


def _is_one_to_one(data: bytes) -> bool:
    return data.startswith(b"<message") and b" type='groupchat'" not in data[: data.index(b">")]


def manage(session: "XmppSession", element: Element) -> None:
    """<enable/>, <r/> or <a/> of a bound client, in its turn between the stanzas. spec: XEP-0198 3, 4"""
    managed = session.managed
    if element.name == "enable":
        _enable(session, element)
    elif managed is None:
        session.send_nonza(failed("unexpected-request"))
    elif element.name == "r":
        session.send_nonza(f"<a xmlns='{SM_NS}' h='{managed.handled}'/>".encode())
    else:
        _acknowledged(session, managed, element)


def _enable(session: "XmppSession", element: Element) -> None:
    if session.managed is not None:
        # spec: XEP-0198 3, example 6
        session.send_nonza(failed("unexpected-request"))
        return
    resumable = parse_boolean(element.get("resume"))
    managed = session.begin_management(resumable=resumable, wished_s=parse_count(element.get("max")))
    if managed is not None:  # else the connection was lost meanwhile
        session.send_nonza(enabled_xml(managed).encode())


def enabled_xml(managed: Managed | None) -> str:
    """<enabled/>, or what says that there is nothing to manage. spec: XEP-0198 3, 9.1.1"""
    if managed is None:
        return failed("internal-server-error").decode()
    more = ""
    if managed.sm_id is not None:
        more = f" id='{escape_attribute(managed.sm_id)}' resume='true' max='{managed.max_s:.0f}'"
    return f"<enabled xmlns='{SM_NS}'{more}/>"


def _acknowledged(session: "XmppSession", managed: Managed, element: Element) -> None:
    h = parse_count(element.get("h"))
    if h is None:
        session.send_nonza(failed("bad-request"))
        return
    try:
        managed.unacked.acknowledge(h)
    except HandledTooMuch as error:
        session.end("undefined-condition", str(error), too_high(error))
        return
    managed.asked_at = None
    if managed.unacked.outstanding >= ASK_AFTER:
        managed.ask()


def too_high(error: HandledTooMuch) -> str:
    """What a stream error says besides its condition. spec: XEP-0198 6, example 17"""
    return f"<handled-count-too-high xmlns='{SM_NS}' h='{error.h}' send-count='{error.sent}'/>"
