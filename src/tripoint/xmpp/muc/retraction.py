"""Taking back what was said in a room: by its writer, or by a moderator; and how both look to who is there.

spec: XEP-0424 3, 5; XEP-0425 3; XEP-0422 (as both were said before); docs/mapping.md 11.9, 11.10, 11.13. In
the archive a tombstone stands for what is gone (11.11).
"""

from tripoint.core.event import Event
from tripoint.core.ids import EventId
from tripoint.core.json_view import text_at
from tripoint.core.message import edit_in
from tripoint.rooms.answers import content_now
from tripoint.rooms.changes import EventCommitted, Swept
from tripoint.rooms.commands import Origin, Redact
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.corrections import replacing_message
from tripoint.xmpp.fastening import fastened, moderated_xml
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.messages import inside_of
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.payloads import is_said
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.render import Shared, room_message, stanza_id, timestamp
from tripoint.xmpp.retractions import retract_xml, retracted_xml
from tripoint.xmpp.session import XmppSession, origin_of
from tripoint.xmpp.tables import FASTEN_NS, MODERATE_NS, OLD_MODERATE_NS, OLD_RETRACT_NS, RETRACT_NS, TOMBSTONE_FEATURE
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

declare_feature(RETRACT_NS, at=(At.ROOM,), spec="XEP-0424 2")
declare_feature(TOMBSTONE_FEATURE, at=(At.ROOM,), spec="XEP-0424 4")


async def retract(session: XmppSession, visit: Visit, stanza: Element, element: Element) -> None:
    """A message with <retract/>: one of the sender's own is gone.

    spec: XEP-0424 3, 5.1 (the id is the stanza-id; before its version 0.4 it was what the writer had given)
    """
    reader, room_id = session.doors.reader, visit.view.room.room_id
    own = await reader.event_by_token(room_id, session.user_id, element.get("id") or "")
    found = await _message(session, visit.view, own or element.get("id"))
    if found.event.sender != session.user_id:
        raise Problem("forbidden", "Only its writer retracts a message; who may, moderates it")
    await session.doors.rooms.do(
        Redact(
            actor=session.user_id,
            origin=origin_of(session, stanza),
            room_id=visit.view.room.room_id,
            event_id=found.event.event_id,
        )
    )


@iq("set", MODERATE_NS, "moderate", at=(At.ROOM,), feature=MODERATE_NS, spec="XEP-0425 3")
async def moderate(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Anybody's message, by who may."""
    visit = session.muc.visit(session, jid)
    element = stanza.first()
    assert element is not None  # the registry has seen it
    if element.child("retract", RETRACT_NS) is None:
        raise Problem("feature-not-implemented", "Moderating a message is retracting it")
    await _moderate(session, visit, element.get("id"), element.child_text("reason", MODERATE_NS))
    return ""


@iq("set", FASTEN_NS, "apply-to", at=(At.ROOM,), feature=OLD_MODERATE_NS, spec="XEP-0425 before version 0.3")
async def moderate_as_before(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The same, as clients say it that know the older form alone."""
    visit = session.muc.visit(session, jid)
    asked = fastened(stanza, OLD_MODERATE_NS, "moderate")
    if asked is None or asked[1].child("retract", OLD_RETRACT_NS) is None:
        raise Problem("feature-not-implemented", "What a room fastens to messages is that they are retracted")
    await _moderate(session, visit, asked[0], asked[1].child_text("reason", OLD_MODERATE_NS))
    return ""


async def _moderate(session: XmppSession, visit: Visit, named: str | None, reason: str | None) -> None:
    found = await _message(session, visit.view, named)
    await session.doors.rooms.do(
        Redact(
            actor=session.user_id,
            origin=Origin(session.id),
            room_id=visit.view.room.room_id,
            event_id=found.event.event_id,
            reason=reason or None,
        )
    )


async def _message(session: XmppSession, view: MucView, named: str | None) -> HistoryItem:
    """The message with this stanza-id."""
    try:
        found = await session.doors.reader.event(
            view.room.room_id, EventId(named or ""), session.user_id
        )
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        found = None
    if found is None or not is_said(found.event) or found.redacted_because is not None:
        raise Problem("item-not-found", "There is no such message")
    return found


def id_told(change: EventCommitted) -> str:
    """The `id` of the message that tells an event: XMPP's own stays; else that of the event. docs/mapping.md 11,
    XEP-0045 7.4 (stable_id)
    """
    origin = change.origin
    return origin.token if origin is not None and origin.keep and origin.token else change.event.event_id


def tell_redaction(view: MucView, change: EventCommitted) -> None:
    """Gone is what was said: by its writer from his nick, by a moderator from the room. Of an edit, the text before
    it is back (docs/mapping.md 11.12).
    """
    event, gone = change.event, change.redacted
    if gone is None or not is_said(gone):
        return
    its_id = id_told(change)
    edit = edit_in(gone.content)
    now = None if edit is None else content_now(view.room, edit[0])
    if now is not None and now[0].event.sender == gone.sender:
        former = inside_of(now[1], view.naming, url_of=view.doors.url_of(now[0].event.event_id))
        if former is not None:
            who = view.appear(gone.sender)
            xml = former + replacing_message(view.room, now[0].event.event_id, gone.sender)
            view.tell(room_message(who.jid, xml + stanza_id(view.jid, event.event_id) + who.id_xml, its_id))
            return
    if event.sender == gone.sender:
        view.appear(event.sender)
    view.tell(retraction(view, event, gone, its_id))


def tell_swept(view: MucView, change: Swept) -> None:
    """Everything that somebody said is moderated away at once. docs/mapping.md 9.8

    There is no event for each: nothing of this is in the archive, which has tombstones.
    """
    for gone in change.gone:
        if is_said(gone) and edit_in(gone.content) is None:
            its_id = f"{change.because.event_id}.{gone.event_id}"
            view.tell(room_message(view.jid, _moderation(view, change.because, gone), its_id))


def retraction(view: MucView, event: Event, gone: Event, its_id: str) -> Shared:
    """A redaction as a message. spec: XEP-0424 3, XEP-0425 3.1"""
    mark = stanza_id(view.jid, event.event_id)
    if event.sender == gone.sender:
        xml = retract_xml(gone.event_id) + mark + view.id_xml(event.sender)
        return room_message(f"{view.jid}/{view.nick_of(event.sender)}", xml, its_id)
    return room_message(view.jid, _moderation(view, event, gone) + mark, its_id)


def _moderation(view: MucView, because: Event, gone: Event) -> str:
    """In today's form, and in the one before it for those who know that alone."""
    opening = f"<retract xmlns='{RETRACT_NS}' id='{escape_attribute(gone.event_id)}'>"
    by, reason = f"{view.jid}/{view.nick_of(because.sender)}", text_at(because.content, "reason")
    return f"{opening}{_moderated(view, because)}</retract>" + moderated_xml(gone.event_id, by, reason)


def _moderated(view: MucView, event: Event) -> str:
    reason = text_at(event.content, "reason")
    by = escape_attribute(f"{view.jid}/{view.nick_of(event.sender)}")
    return f"<moderated xmlns='{MODERATE_NS}' by='{by}'>{view.id_xml(event.sender)}</moderated>" + (
        f"<reason>{escape_text(reason)}</reason>" if reason else ""
    )


def tombstone(view: MucView, gone: Event, because: Event, its_id: str) -> str:
    """What stands in the archive for a message that is gone; `its_id` is that of the retraction.

    spec: XEP-0424 4, XEP-0425 4
    """
    moderated = "" if because.sender == gone.sender else _moderated(view, because)
    return retracted_xml(its_id, timestamp(because.origin_server_ts), moderated)
