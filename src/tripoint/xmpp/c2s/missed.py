"""One-to-one messages that came while an account took none, or that a client may not have had.

What was said is in the rooms of two: there is no spool. Noted is how far an account has heard, at login and at its end.
spec: XEP-0160 3; XEP-0198 4; docs/mapping.md 15. Read next: direct.py.
"""

from typing import Final

from tripoint.core.ids import RoomId, UserId
from tripoint.core.sealed import BARE
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.xmpp.c2s.conversation import said
from tripoint.xmpp.c2s.direct import DirectMessages, chat
from tripoint.xmpp.c2s.users import Users
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.render import delay, stanza_id
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.stanza_facts import facts_in

declare_feature("msgoffline", at=(At.SERVER,), spec="XEP-0160 4")

# What a user who was away gets at login; the whole of it is in the room's history.
_PER_ROOM: Final = 100
_SEEN: Final = "xmpp_seen"  # name table: account -> stream position up to which its messages were delivered


class Missed:
    """What sessions have missed, for all accounts."""

    def __init__(self, doors: Doors, users: Users, direct: DirectMessages) -> None:
        self._doors = doors
        self._users = users
        self._direct = direct

    async def show(self, session: XmppSession) -> None:
        """Messages that came while no resource of the account took any; all of those in rooms that it has entered
        since. spec: XEP-0160 3"""
        session.hearing_since = self._direct.last_position
        session.hears = True
        user = session.user
        opened: set[RoomId] = set()
        if user is not None:
            opened, user.opened = user.opened, opened
        if session.reads_archive:
            self._note_seen(session.user_id)
            return
        if user is None or any(o is not session and o.priority >= 0 for o in user.available()):
            return
        rooms = await self._direct.direct_rooms(session.user_id)
        names = await self._doors.names.load_names(_SEEN, session.user_id) if rooms else {}
        seen = names.get("position", "")
        known = int(seen) if seen.isdecimal() else await self._at_first(session.user_id) if rooms else None
        for room_id, peer in rooms:
            since = 0 if room_id in opened else known
            room = self._doors.reader.peek(room_id) or await self._doors.reader.room(room_id)
            if since is not None and room.last_position > since:
                await self._show_missed_in(session, room_id, peer, since)
        self._note_seen(session.user_id)

    async def _at_first(self, user_id: UserId) -> int | None:
        """Since when an account has missed things that no client of XMPP has heard for: always, where nobody has heard
        for it by another protocol either; else (None) it missed nothing yet."""
        devices = await self._doors.accounts.devices(user_id)
        return 0 if all(one.protocol == "xmpp" for one in devices) else None

    async def _show_missed_in(self, session: XmppSession, room_id: RoomId, peer: UserId, seen: int) -> None:
        peer_jid = self._users.jid_of(peer)
        for item in await self._missed_in(session.user_id, room_id, seen):
            self._show_late(session, item, peer_jid)

    async def _missed_in(self, user_id: UserId, room_id: RoomId, seen: int) -> tuple[HistoryItem, ...]:
        page = await self._doors.reader.history(
            HistoryQuery(
                room_id=room_id,
                viewer=user_id,
                direction=Direction.FORWARD,
                anchor=ByPosition(seen),
                limit=_PER_ROOM,
                spoken=True,
                types=(BARE,),
                not_senders=(user_id,),
            )
        )
        return page.items

    async def _hand_on(self, session: XmppSession, others: list[XmppSession], since: int) -> None:
        """What a session that is gone did not acknowledge, for those who came too late to hear it themselves."""
        newest = max(other.hearing_since for other in others)
        for room_id, peer in await self._direct.direct_rooms(session.user_id):
            room = self._doors.reader.peek(room_id) or await self._doors.reader.room(room_id)
            if room.last_position < since:
                continue
            for item in await self._missed_in(session.user_id, room_id, since - 1):
                for other in others:
                    if item.position <= min(newest, other.hearing_since) and not other.closed:
                        self._show_late(other, item, self._users.jid_of(peer))

    def _show_late(self, session: XmppSession, item: HistoryItem, peer_jid: str) -> None:
        inside = said(self._doors, item.event, self._doors.reader.peek(item.event.room_id))
        if inside is None:
            return
        # spec: XEP-0203 3: `from` is who delays: the server
        late = stanza_id(session.bare, item.event.event_id)
        late += delay(self._doors.domains.server, item.event.origin_server_ts)
        facts = facts_in(item.event.content)
        sender = f"{peer_jid}/{facts.resource}" if facts.resource else peer_jid
        shared = chat(sender, item.token or item.event.event_id, inside + late, facts)
        self._direct.position = item.position
        session.send(shared.to(_to_bare(session)))
        self._direct.position = self._direct.last_position


    def went_silent(self, session: XmppSession) -> None:
        """A session takes no more messages; if it was the last of its account, note how far it has read.

        What it has not acknowledged (XEP-0198) it may not have had: that is missed by whoever comes next, and by those
        who came after it was said. spec: XEP-0198 4
        """
        user = session.user
        if user is None or not session.hears:
            return
        session.hears = False
        since = None if session.managed is None else session.managed.missed_since()
        others = [o for o in user.available() if o is not session and o.priority >= 0]
        if not others:
            self._note_seen(session.user_id, since)
        elif since is not None and (late := [o for o in others if o.hearing_since >= since]):
            self._doors.spawn(self._hand_on(session, late, since))

    def _note_seen(self, user_id: UserId, since: int | None = None) -> None:
        """From here on messages are missed, or from what has the position `since` on. Noted at login and at the end: a
        server that was killed in between shows some messages twice rather than none."""
        position = self._direct.last_position if since is None else since - 1
        if self._direct.last_position:
            self._doors.names.put_name(_SEEN, user_id, "position", str(position))


def _to_bare(session: XmppSession) -> bytes:
    """` to=` with the bare JID of the session's account."""
    return session.user.to if session.user is not None else session.to
