"""How far the occupants of a room have read, as far as they say so: displayed markers both ways.

In rooms with many members nobody is told: each message would bring as many markers to everybody.
spec: XEP-0333 4.3; docs/mapping.md 13.2.
"""

from typing import Final

from tripoint.core.ids import EventId
from tripoint.rooms.changes import ReceiptMoved
from tripoint.xmpp.markers import PUBLIC, displayed_xml, message_at, move_public
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.render import room_message
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CHAT_MARKERS_NS, CLIENT_NS
from tripoint.xmpp.wire import Element, escape_text

declare_feature(CHAT_MARKERS_NS, at=(At.ROOM,), spec="XEP-0333 3")

MAX_MEMBERS: Final = 100
_MAIN: Final = (None, "main")


async def displayed(session: XmppSession, visit: Visit, stanza: Element, message_id: str) -> None:
    """An occupant has read up to a message, in one thread where it names one (docs/mapping.md 11.7)."""
    thread = stanza.child_text("thread", CLIENT_NS)
    thread_id = thread if thread and thread.startswith("$") else None
    await move_public(session, visit.view.room.room_id, EventId(message_id), thread_id)


def tell_displayed(view: MucView, change: ReceiptMoved) -> None:
    """Somebody's public receipt moved: from his address, to everybody. What stands at his own message says nothing."""
    room, who = view.room, view.occupants.get(change.user_id)
    if change.kind != PUBLIC or who is None or who.hidden or room.joined_count() > MAX_MEMBERS:
        return
    item = message_at(room, change.event_id)
    if item is None or item.event.sender == change.user_id:
        return
    xml = displayed_xml(item.event.event_id)
    if change.thread_id is not None and change.thread_id not in _MAIN:
        xml += f"<thread>{escape_text(change.thread_id)}</thread>"
    with view.unheard_from(change.user_id):
        view.tell(room_message(who.jid, xml + who.id_xml))
