"""Mention notifications: who is named in a room in which none of his clients is gets the message forwarded.

For members of the room on this server who are connected; who is not finds it in the archive, and is pushed to
(tripoint/xmpp/push.py). That is so in all rooms whose owners have not switched it off.
spec: XEP-0452 3.1, 3.2; docs/mapping.md 2.10
"""

from typing import TYPE_CHECKING

from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at, texts_at
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.settings import forwards_mentions
from tripoint.xmpp.c2s.users import Users
from tripoint.xmpp.muc.activity import is_there
from tripoint.xmpp.muc.events import forwarded_message
from tripoint.xmpp.muc.explicit import MAX_MENTIONS
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import DELAY_NS, FORWARD_NS, MENTION_NOTIFICATIONS_NS
from tripoint.xmpp.wire import escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.muc.service import Muc


class Mentioned:
    """Looks at what is said in all rooms for those who are connected by XMPP."""

    def __init__(self, doors: Doors, users: Users, muc: "Muc", hub: Hub) -> None:
        self._doors = doors
        self._users = users
        self._muc = muc
        hub.watch_all_rooms(self._room_changed)

    def _room_changed(self, change: RoomChange) -> None:
        if not isinstance(change, EventCommitted) or change.event.is_state:
            return
        if "m.mentions" not in change.event.content:
            return
        named = texts_at(object_at(change.event.content, "m.mentions"), "user_ids")[:MAX_MENTIONS]
        absent = [session for name in dict.fromkeys(named) for session in self._absent(UserId(name), change)]
        if absent:
            self._doors.spawn(self._forward(change, absent))

    def _absent(self, user_id: UserId, change: EventCommitted) -> list[XmppSession]:
        """The clients of somebody who is named, where none of them is in the room."""
        user, sender = self._users.live(user_id), change.event.sender
        room = None if user is None else self._doors.reader.peek(change.room_id)
        if user is None or room is None or user_id == sender or self._doors.reader.blocks(user_id, sender):
            return []
        if not forwards_mentions(room.state):
            return []
        if room.membership(user_id) != "join" or room.direct_pair is not None or room.encrypted:
            return []
        if any(is_there(session, change.room_id) for session in user.sessions.values()):
            return []
        return user.available()

    async def _forward(self, change: EventCommitted, sessions: list[XmppSession]) -> None:
        """spec: XEP-0452 3.2, example 3"""
        event = change.event
        async with self._muc.looking(await self._doors.reader.room(change.room_id)) as view:
            entry = next((one for one in view.room.recent if one.event.event_id == event.event_id), None)
            message = None if entry is None else forwarded_message(view, entry)
            room = escape_attribute(view.jid)
        if message is None:
            return
        inside = (
            f"<mentions xmlns='{MENTION_NOTIFICATIONS_NS}'><forwarded xmlns='{FORWARD_NS}'>"
            f"<delay xmlns='{DELAY_NS}' stamp='{timestamp(event.origin_server_ts)}'/>{message}</forwarded></mentions>"
        )
        for session in sessions:
            if not session.closed:
                session.send(f"<message from='{room}'".encode() + session.to + f">{inside}</message>".encode())
