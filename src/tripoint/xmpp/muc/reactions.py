"""Reactions in a room. XMPP says the whole set that somebody has on a message, Matrix one event for each.

spec: XEP-0444 3, 4; docs/mapping.md 11.4, 11.5, 11.12. Read next: tripoint/xmpp/reactions.py.
"""

from tripoint.core.ids import EventId, UserId
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.muc.retraction import id_told
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.reactions import (
    is_word,
    reacted_to,
    reactions_of,
    reactions_xml,
    set_reactions,
    wanted_reactions,
)
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import room_message, stanza_id
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.wire import Element


async def react(session: XmppSession, visit: Visit, stanza: Element, element: Element) -> None:
    """A message with <reactions/>: the set that the sender has from now on. Raises Problem, Refused."""
    room_id = visit.view.room.room_id
    wanted = wanted_reactions(element)
    try:
        about = await session.doors.reader.event(room_id, EventId(element.get("id") or ""), session.user_id)
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        raise Problem("item-not-found", "There is no such message") from refused
    await set_reactions(session, stanza, room_id, about.event.event_id, wanted)


def tell_reaction(view: MucView, change: EventCommitted) -> None:
    """One reaction more, or with `redacted` one less: the whole set is told when it is looked up."""
    about = reacted_to(change.redacted if change.redacted is not None else change.event)
    if about is not None and not is_word(about[1]):
        writer = change.event.sender if change.redacted is None else change.redacted.sender
        view.doors.spawn(_tell(view, writer, about[0], change.event.event_id, id_told(change)))


async def _tell(view: MucView, user_id: UserId, target: str, event_id: EventId, its_id: str) -> None:
    try:
        present = await reactions_of(view.doors.reader, view.room.room_id, user_id)
    except Refused:
        return  # he is gone, and so is what he may see
    if view.is_empty or view.room.membership(user_id) != "join":
        return
    who = view.appear(user_id)
    xml = reactions_xml(target, present.get(target, ())) + stanza_id(view.jid, event_id) + who.id_xml
    with view.unheard_from(user_id):
        view.tell(room_message(who.jid, xml, its_id))
