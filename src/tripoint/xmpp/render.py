"""What XMPP clients are sent: stanzas as bytes, made once for everybody who gets them. Pure.

A `Shared` stanza is in two halves; between them goes ` to='...'` of each recipient, so that nothing is
formatted per recipient (DESIGN: speed). Text is escaped where it enters; whatever a caller passes as `xml` is
markup of our own making.
spec: RFC6120 8, XEP-0045, XEP-0203, XEP-0359, XEP-0421. What is said, and when, is decided in c2s/ and muc/.
"""

import hashlib
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tripoint.core.vendor import NS
from tripoint.xmpp.projection import Standing
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import (
    CONFERENCE_NS,
    DELAY_NS,
    HATS_NS,
    MUC_AFFILIATIONS_NS,
    MUC_NS,
    MUC_USER_NS,
    NOTICE_NS,
    OCCUPANT_ID_NS,
    STANZA_ID_NS,
    STYLING_NS,
    Status,
)
from tripoint.xmpp.wire import Element, escape_attribute, escape_text


class Shared(NamedTuple):
    """A stanza without its `to`: recipients get head + their ` to='...'` + tail."""

    head: bytes
    tail: bytes

    def to(self, to: bytes) -> bytes:
        """The stanza for one recipient; `to` is to_attribute() of their address, or empty."""
        return self.head + to + self.tail


def to_attribute(jid: str) -> bytes:
    """` to='jid'`, made once per session."""
    return f" to='{escape_attribute(jid)}'".encode()


# -- parts


def timestamp(ts_ms: int) -> str:
    """A time as XEP-0082 has it, UTC with milliseconds; times outside years 1-9999 become the nearest."""
    clamped = min(max(ts_ms, -62_135_596_800_000), 253_402_300_799_999)
    seconds, milliseconds = divmod(clamped, 1000)
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at.strftime('%Y-%m-%dT%H:%M:%S').rjust(19, '0')}.{milliseconds:03d}Z"


def delay(from_jid: str, ts_ms: int) -> str:
    """spec: XEP-0203"""
    return f"<delay xmlns='{DELAY_NS}' from='{escape_attribute(from_jid)}' stamp='{timestamp(ts_ms)}'/>"


def item(
    standing: Standing,
    *,
    jid: str | None = None,
    nick: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> str:
    """An <item/> of muc#user or muc#admin. `actor` is the nick of who did it. spec: XEP-0045 19.2"""
    attributes = f" affiliation='{standing.affiliation}' role='{standing.role}'"
    if jid is not None:
        attributes += f" jid='{escape_attribute(jid)}'"
    if nick is not None:
        attributes += f" nick='{escape_attribute(nick)}'"
    inside = ""
    if actor is not None:
        inside += f"<actor nick='{escape_attribute(actor)}'/>"
    if reason:
        inside += f"<reason>{escape_text(reason)}</reason>"
    return f"<item{attributes}>{inside}</item>" if inside else f"<item{attributes}/>"


_HATS: Final = {"admin": "Admin", "halfop": "Half-operator"}
# They are the same in every room. spec: XEP-0317 2
HATS_HASH: Final = hashlib.sha256("\0".join(f"{NS}#{hat}" for hat in sorted(_HATS)).encode()).hexdigest()


def hats(standing: Standing) -> str:
    """The hat of a rank that affiliation and role do not tell; nothing for the others. spec: XEP-0317 3.1"""
    if not standing.hat:
        return ""
    uri, title = f"{NS}#{standing.hat}", _HATS[standing.hat]
    return f"<hats xmlns='{HATS_NS}'><hat uri='{uri}' title='{title}' xml:lang='en'/></hats>"


def muc_user(item_xml: str, codes: tuple[Status, ...] = (), version: str = "") -> str:
    """The <x/> of muc#user with an item and status codes. `version`: affiliations_version(), where it says that."""
    statuses = "".join([f"<status code='{code.value}'/>" for code in codes])
    return f"<x xmlns='{MUC_USER_NS}'>{item_xml}{statuses}{version}</x>"


def affiliations_version(*, since: str | None = None, until: str) -> str:
    """Of which versions of the list of affiliations a stanza tells. spec: XEP-0463 5.2"""
    before = "" if since is None else f" since='{since}'"
    return f"<mav xmlns='{MUC_AFFILIATIONS_NS}'{before} until='{until}'/>"


def occupant(occupant_id: str) -> str:
    """spec: XEP-0421 3"""
    return f"<occupant-id xmlns='{OCCUPANT_ID_NS}' id='{occupant_id}'/>"


# -- stanzas of rooms


def room_presence(occupant_jid: str, xml: str, *, unavailable: bool = False, stanza_id: str | None = None) -> Shared:
    """Presence from an occupant; `xml` is everything inside."""
    head = f"<presence from='{escape_attribute(occupant_jid)}'"
    if unavailable:
        head += " type='unavailable'"
    if stanza_id is not None:
        head += f" id='{escape_attribute(stanza_id)}'"
    return Shared(head.encode(), f">{xml}</presence>".encode())


def room_message(
    from_jid: str, xml: str, stanza_id: str | None = None, kind: str = "groupchat", attributes: str = ""
) -> Shared:
    """A message from a room or an occupant, of type groupchat to everybody there; `xml` is everything inside."""
    named = "" if stanza_id is None else f" id='{escape_attribute(stanza_id)}'"
    return Shared(
        f"<message from='{escape_attribute(from_jid)}' type='{kind}'{named}{attributes}".encode(),
        f">{xml}</message>".encode(),
    )


def stanza_id(by: str, event_id: str) -> str:
    """The event id is the id of the message for ever. spec: XEP-0359 3, docs/mapping.md 11"""
    return f"<stanza-id xmlns='{STANZA_ID_NS}' by='{escape_attribute(by)}' id='{escape_attribute(event_id)}'/>"


def body(text: str, *, unstyled: bool = False, notice: bool = False) -> str:
    """<body/> and what says how to read it. docs/mapping.md 10.2, 10.6"""
    marks = f"<unstyled xmlns='{STYLING_NS}'/>" if unstyled else ""
    if notice:
        marks += f"<notice xmlns='{NOTICE_NS}'/>"
    return f"<body>{escape_text(text)}</body>{marks}"


def invitation(room: str, user: str, inviter: str, reason: str | None, thread: str | None) -> bytes:
    """A mediated invitation; clients that know only direct ones find that in it too.

    `thread`: a talk of two goes on in the room, of this thread ("": of none). spec: XEP-0045 7.8.2, 7.9, XEP-0249 2
    """
    why = f"<reason>{escape_text(reason)}</reason>" if reason else ""
    why_too = f" reason='{escape_attribute(reason)}'" if reason else ""
    if thread is not None:
        of = f" thread='{escape_attribute(thread)}'" if thread else ""
        why += f"<continue{of}/>"
        why_too += f" continue='true'{of}"
    return (
        f"<message from='{escape_attribute(room)}' to='{escape_attribute(user)}'><x xmlns='{MUC_USER_NS}'>"
        f"<invite from='{escape_attribute(inviter)}'>{why}</invite></x>"
        f"<x xmlns='{CONFERENCE_NS}' jid='{escape_attribute(room)}'{why_too}/></message>"
    ).encode()


def direct_invitation(room: str, to_jid: str, reason: str) -> bytes:
    """A direct invitation from the room itself. spec: XEP-0249 2"""
    x = f"<x xmlns='{CONFERENCE_NS}' jid='{escape_attribute(room)}' reason='{escape_attribute(reason)}'/>"
    return f"<message from='{escape_attribute(room)}' to='{escape_attribute(to_jid)}'>{x}</message>".encode()


# -- answers


def _addressed(name: str, stanza: Element, from_jid: str, to_jid: str, kind: str) -> str:
    """The opening tag of an answer. Nobody is named before login: then `to_jid` is empty."""
    attributes = f" type='{kind}'" if kind else ""
    stanza_id_ = stanza.get("id")
    if stanza_id_ is not None:
        attributes += f" id='{escape_attribute(stanza_id_)}'"
    if from_jid:
        attributes += f" from='{escape_attribute(from_jid)}'"
    if to_jid:
        attributes += f" to='{escape_attribute(to_jid)}'"
    return f"<{name}{attributes}>"


def iq_result(iq: Element, to_jid: str, xml: str = "") -> bytes:
    """The result of an IQ, from where it was sent to."""
    return (_addressed("iq", iq, iq.get("to") or "", to_jid, "result") + xml + "</iq>").encode()


def stanza_error(stanza: Element, to_jid: str, problem: Problem, by: str = "") -> bytes:
    """The error that answers any stanza. spec: RFC6120 8.3; XEP-0045 7.2 repeats <x/> in refused presence."""
    again = ""
    if stanza.name == "presence" and stanza.child("x", MUC_NS) is not None:
        # slixmpp and others find the join that failed by this element.
        again = f"<x xmlns='{MUC_NS}'/>"
    opening = _addressed(stanza.name, stanza, stanza.get("to") or "", to_jid, "error")
    return f"{opening}{again}{problem.render(escape_attribute(by))}</{stanza.name}>".encode()
