"""Corrections: a message that takes the place of an earlier one of the same writer.

spec: XEP-0308 3, 4; docs/mapping.md 11.1-11.3. The events' own form is core.message's.
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.message import edit_content, edit_in
from tripoint.rooms.answers import recent_item
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CORRECT_NS
from tripoint.xmpp.wire import Element, escape_attribute

_MESSAGE = "m.room.message"


async def corrected(
    session: XmppSession, room_id: RoomId, stanza: Element, content: JsonObject, kind: str = _MESSAGE
) -> JsonObject:
    """The content of a stanza's event: an edit, where it corrects an own message of that type, else `content` as it is.

    docs/mapping.md 11.3: whatever else a <replace/> names, what is said is a new message.
    """
    replace = stanza.child("replace", CORRECT_NS)
    its_id = None if replace is None else replace.get("id")
    target = None if not its_id else await _own_message(session, room_id, its_id, kind)
    return content if target is None else edit_content(target, content)


async def _own_message(session: XmppSession, room_id: RoomId, its_id: str, kind: str) -> EventId | None:
    """The own message with this `id` attribute; of a correction, what it corrects."""
    reader = session.doors.reader
    event_id = await reader.event_by_token(room_id, session.user_id, its_id)
    try:
        found = await reader.event(room_id, event_id or EventId(its_id), session.user_id)
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        return None
    event = found.event
    if event.sender != session.user_id or event.type != kind or found.redacted_because is not None:
        return None
    edit = edit_in(event.content)
    return event.event_id if edit is None else EventId(edit[0])


def replacing(room: RoomView | None, event: Event) -> str:
    """The <replace/> of an event, if it is an edit."""
    edit = edit_in(event.content)
    return "" if edit is None else replacing_message(room, edit[0], event.sender)


def replacing_message(room: RoomView | None, target: str, sender: UserId) -> str:
    """The <replace/> of an edit of `target`: it names the `id` attribute under which clients know the first message.

    That is looked for among the room's newest events; an older message is named by its event id. What would edit
    the message of another is none: nobody here writes such an event, but other servers may.
    """
    named = target
    found = None if room is None else recent_item(room, target)
    if found is not None:
        if found[0].event.sender != sender:
            return ""
        named = found[0].token or named
    return f"<replace xmlns='{CORRECT_NS}' id='{escape_attribute(named)}'/>"
