"""What came of one-to-one messages: that they are kept, and that the other one has read them.

Where clients of XMPP get a message they say so themselves. Where none does, because its reader is on another protocol
or away, a receipt says that the server has stored it: it cannot be lost any more. Displayed markers are the public
receipts of the direct room, whatever client moved them.
spec: XEP-0184 5, 7; XEP-0333 4; docs/mapping.md 13.2, 13.4.
"""

from typing import TYPE_CHECKING, Final

from tripoint.core.ids import UserId
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import ReceiptMoved, RoomChange
from tripoint.xmpp.c2s.relating import message_named
from tripoint.xmpp.markers import PUBLIC, displayed_in, displayed_xml, message_at, move_public
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.tables import RECEIPTS_NS
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.direct import DirectMessages
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.session import Doors, XmppSession

declare_feature(RECEIPTS_NS, at=(At.ACCOUNT,), spec="XEP-0184 6")

_MAIN: Final = (None, "main")


def take_request(stanza: Element) -> str | None:
    """Take a request for a receipt out of a message; the message's id, where it has one. spec: XEP-0184 5.3"""
    request = stanza.child("request", RECEIPTS_NS)
    if request is None:
        return None
    stanza.children.remove(request)
    return stanza.get("id")


def send_receipt(session: "XmppSession", from_jid: str, message_id: str) -> None:
    """Tell the writer that a message is stored. spec: XEP-0184 7"""
    received = f"<received xmlns='{RECEIPTS_NS}' id='{escape_attribute(message_id)}'/>"
    head = f"<message from='{escape_attribute(from_jid)}' type='chat'"
    session.send(head.encode() + session.to + f">{received}</message>".encode())


async def displayed(session: "XmppSession", stanza: Element, peer: UserId) -> bool:
    """A marker for a message of the conversation becomes a receipt; False for anything else."""
    named = displayed_in(stanza)
    room_id = None if named is None else await session.doors.reader.direct_room(session.user_id, peer)
    if named is None or room_id is None:
        return False
    found = await message_named(session, room_id, named, peer)
    if found is None:
        return False
    await move_public(session, room_id, found.event.event_id)
    return True


class DirectMarkers:
    """Tells writers of one-to-one messages that these were read."""

    def __init__(self, doors: "Doors", users: "Users", direct: "DirectMessages", hub: Hub) -> None:
        self._doors = doors
        self._users = users
        self._direct = direct
        hub.watch_all_rooms(self._room_changed, messages=False)

    def _room_changed(self, change: RoomChange) -> None:
        """See fanout.hub."""
        if type(change) is not ReceiptMoved or change.kind != PUBLIC or change.thread_id not in _MAIN:
            return
        room = self._doors.reader.peek(change.room_id)
        if room is None or room.joined_count() > 2:
            return
        if any(user_id != change.user_id and self._users.live(user_id) is not None for user_id in room.joined()):
            self._doors.spawn(self._tell(change))

    async def _tell(self, change: ReceiptMoved) -> None:
        room = self._doors.reader.peek(change.room_id)
        peer = None if room is None else await self._direct.peer_in(room, change.user_id)
        user = None if peer is None else self._users.live(peer)
        item = None if room is None else message_at(room, change.event_id)
        if peer is None or user is None or item is None or item.event.sender != peer:
            return
        if self._doors.reader.blocks(peer, change.user_id):
            return
        head = f"<message from='{escape_attribute(self._users.jid_of(change.user_id))}' type='chat'".encode()
        tail = f">{displayed_xml(item.token or item.event.event_id)}</message>".encode()
        for session in user.available():
            if session.priority >= 0:
                session.send(head + user.to + tail)
