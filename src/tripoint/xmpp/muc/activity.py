"""Room activity indicators: clients that are not in a room hear, once, that something was said in it.

For rooms of which the account is a member, so nobody hears of what he could not read. Whoever enters a room and leaves
it again hears of it once more. Only people of this server are served.
spec: XEP-0437 3, 4, 5.1
"""

from collections.abc import Iterable
from typing import Final

from tripoint.core.ids import RoomId, UserId
from tripoint.core.in_words import is_spoken
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import EventCommitted, MembershipChanged, RoomChange, UserChange
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.c2s.users import Users
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.projection import room_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, presence
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import RAI_NS
from tripoint.xmpp.wire import Element, escape_text

declare_feature(RAI_NS, at=(At.ROOMS,), spec="XEP-0437 3.1")

# Rooms that are looked at for one client, at most: those of accounts with more are read into memory for nobody.
MAX_ROOMS: Final = 500


@presence("", at=(At.ROOMS,), spec="XEP-0437 3.1")
async def subscribe(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """With <rai/>: hear of rooms. The service has no other use for presence."""
    if stanza.child("rai", RAI_NS) is None:
        raise Problem("service-unavailable", "The service takes presence with <rai/> alone")
    session.muc.activity.subscribe(session)


@presence("unavailable", at=(At.ROOMS,), spec="XEP-0437 3.2")
async def unsubscribe(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """Hear of them no more."""
    session.muc.activity.unsubscribe(session)


class Activity:
    """Who is to hear of which rooms. A room is listed for a session until the session is told of it."""

    def __init__(self, doors: Doors, users: Users, hub: Hub) -> None:
        self._doors = doors
        self._users = users
        self._waiting: dict[RoomId, set[XmppSession]] = {}
        self._subscribed: dict[XmppSession, set[RoomId]] = {}
        hub.watch_all_rooms(self._room_changed)
        hub.watch_users(self._user_changed)

    def subscribe(self, session: XmppSession) -> None:
        """From now on, and of what is unread already. spec: XEP-0437 4: "in a single notification" """
        self.unsubscribe(session)
        rooms = list(self._doors.reader.joined_rooms(session.user_id))[-MAX_ROOMS:]
        self._subscribed[session] = set()
        for room_id in rooms:
            self._wait(session, room_id)
        self._doors.spawn(self._begin(session, rooms))

    def unsubscribe(self, session: XmppSession) -> None:
        """It is told of nothing more; nothing happens where it was of nothing."""
        for room_id in self._subscribed.pop(session, ()):
            waiting = self._waiting[room_id]
            waiting.discard(session)
            if not waiting:
                del self._waiting[room_id]

    def entered(self, session: XmppSession, room_id: RoomId) -> None:
        """It is in the room, and hears of it once more when it is not any longer."""
        self._wait(session, room_id)

    def _wait(self, session: XmppSession, room_id: RoomId) -> None:
        rooms = self._subscribed.get(session)
        if rooms is not None and len(rooms) < MAX_ROOMS:
            rooms.add(room_id)
            self._waiting.setdefault(room_id, set()).add(session)

    def _told(self, session: XmppSession, room_id: RoomId) -> None:
        rooms, waiting = self._subscribed.get(session), self._waiting.get(room_id)
        if rooms is not None and waiting is not None:
            rooms.discard(room_id)
            waiting.discard(session)
            if not waiting:
                del self._waiting[room_id]

    async def _begin(self, session: XmppSession, rooms: Iterable[RoomId]) -> None:
        found: list[RoomView] = []
        for room_id in rooms:
            if session.closed or session not in self._subscribed:
                return
            try:
                room = await self._doors.reader.room(room_id)
                unread = await self._doors.reader.unread(room_id, session.user_id)
            except Refused:
                continue
            # What was told meanwhile waits no more.
            waits = session in self._waiting.get(room_id, ())
            if waits and unread.together().notifications and self._concerns(session, room):
                self._told(session, room_id)
                found.append(room)
        if found:
            self._tell(session, found)

    def _concerns(self, session: XmppSession, room: RoomView) -> bool:
        """Whether the client could enter, and is not there. docs/mapping.md 15.1 (rooms of two), 19.2"""
        if room.direct_pair is not None or room.encrypted or room.membership(session.user_id) != "join":
            return False
        return not is_there(session, room.room_id)

    def _tell(self, session: XmppSession, rooms: Iterable[RoomView]) -> None:
        """spec: XEP-0437 3.1, example 2"""
        domains = self._doors.domains
        inside = "".join(f"<activity>{escape_text(room_jid(room, domains))}</activity>" for room in rooms)
        head = f"<message from='{domains.rooms}'".encode()
        session.send(head + session.to + f"><rai xmlns='{RAI_NS}'>{inside}</rai></message>".encode())

    def _room_changed(self, change: RoomChange) -> None:
        waiting = self._waiting.get(change.room_id)
        if not waiting or not isinstance(change, EventCommitted) or not is_spoken(change.event):
            return
        room = self._doors.reader.peek(change.room_id)
        for session in list(waiting) if room is not None else ():
            assert room is not None
            if self._hears_of(session, change.event.sender) and self._concerns(session, room):
                self._told(session, change.room_id)
                self._tell(session, [room])

    def _hears_of(self, session: XmppSession, sender: UserId) -> bool:
        return sender != session.user_id and not self._doors.reader.blocks(session.user_id, sender)

    def _user_changed(self, change: UserChange) -> None:
        if isinstance(change, MembershipChanged):
            user = self._users.live(change.user_id)
            for session in [] if user is None else user.sessions.values():
                if change.membership == "join":
                    self._wait(session, change.room_id)
                else:
                    self._told(session, change.room_id)


def is_there(session: XmppSession, room_id: RoomId) -> bool:
    """Whether a session is in a room, under whichever of its addresses."""
    return any(visit.view.room.room_id == room_id for visit in session.visits.values())
