"""What one of two people does to a message of their conversation: takes his own back, reacts to any.

A message is named by the `id` that its sender gave it, or by its event id. spec: XEP-0424 3, 5.1; XEP-0444 3, 4.2;
docs/mapping.md 11.5, 11.9, 15.1. What the other one sees of it is conversation.py's.
"""

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.message import edit_in
from tripoint.rooms.commands import Redact
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.fastening import retracting
from tripoint.xmpp.payloads import is_said
from tripoint.xmpp.reactions import set_reactions, wanted_reactions
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession, origin_of
from tripoint.xmpp.tables import REACTIONS_NS
from tripoint.xmpp.wire import Element


async def relate(session: XmppSession, stanza: Element, peer: UserId) -> bool:
    """Carry out a stanza that retracts or reacts; False for any other. Raises Problem, Refused."""
    gone, reactions = retracting(stanza), stanza.child("reactions", REACTIONS_NS)
    if gone is None and reactions is None:
        return False
    element = gone if gone is not None else reactions
    assert element is not None
    room_id = await session.doors.reader.direct_room(session.user_id, peer)
    found = None if room_id is None else await message_named(session, room_id, element.get("id") or "", peer)
    if room_id is None or found is None:
        raise Problem("item-not-found", "There is no such message")
    event = found.event
    if gone is not None:
        if event.sender != session.user_id:
            raise Problem("forbidden", "Only its writer retracts a message")
        origin = origin_of(session, stanza)
        await session.doors.rooms.do(
            Redact(actor=session.user_id, origin=origin, room_id=room_id, event_id=event.event_id)
        )
    elif reactions is not None:
        # spec: XEP-0444 4: a reaction to a correction is one to what it corrects
        edit = edit_in(event.content)
        target = event.event_id if edit is None else EventId(edit[0])
        await set_reactions(session, stanza, room_id, target, wanted_reactions(reactions))
    return True


async def message_named(session: XmppSession, room_id: RoomId, named: str, peer: UserId) -> HistoryItem | None:
    """The message of a conversation that an id means."""
    reader = session.doors.reader
    event_id = None
    for user_id in (session.user_id, peer):
        event_id = event_id or await reader.event_by_token(room_id, user_id, named)
    try:
        found = await reader.event(room_id, event_id or EventId(named), session.user_id)
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        return None
    return found if is_said(found.event) and found.redacted_because is None else None
