"""What somebody has read, for others to see: displayed markers of XMPP and public receipts of the middle.

Rooms are muc/markers.py's, conversations of two c2s/markers.py's.  spec: XEP-0333 4.2, 5; docs/mapping.md 13.2.
"""

from tripoint.core.ids import EventId, RoomId
from tripoint.rooms.commands import SetReceipt
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CHAT_MARKERS_NS, CLIENT_NS
from tripoint.xmpp.wire import Element, escape_attribute

PUBLIC = "m.read"
_MESSAGE = "m.room.message"


def displayed_in(stanza: Element) -> str | None:
    """The id in a message that is a displayed marker; None for any other message."""
    element = stanza.child("displayed", CHAT_MARKERS_NS)
    if element is None or stanza.child("body", CLIENT_NS) is not None:
        return None
    return element.get("id") or ""


def displayed_xml(message_id: str) -> str:
    """spec: XEP-0333 4.2"""
    return f"<displayed xmlns='{CHAT_MARKERS_NS}' id='{escape_attribute(message_id)}'/>"


def message_at(room: RoomView, event_id: EventId) -> HistoryItem | None:
    """The last message at or before an event, among the room's newest events."""
    behind = True
    for item in reversed(room.recent):
        behind = behind and item.event.event_id != event_id
        if not behind and item.event.type == _MESSAGE:
            return item
    return None


async def move_public(session: XmppSession, room_id: RoomId, event_id: EventId, thread_id: str | None = None) -> None:
    """Read up to a message, and say so. A message that is not there, or older than where the account is, changes
    nothing. spec: XEP-0333 5"""
    reader = session.doors.reader
    try:
        wished = await reader.event(room_id, event_id, session.user_id)
        for receipt in await reader.own_receipts(room_id, session.user_id):
            if receipt.kind == PUBLIC and receipt.thread_id == thread_id:
                present = await reader.event(room_id, receipt.event_id, session.user_id)
                if present.position >= wished.position:
                    return
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        return
    await session.doors.rooms.do(
        SetReceipt(actor=session.user_id, room_id=room_id, event_id=event_id, kind=PUBLIC, thread_id=thread_id)
    )
