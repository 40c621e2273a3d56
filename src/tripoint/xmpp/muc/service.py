"""All rooms that somebody is in by XMPP: opening and closing their views, finding rooms by address, invitations.

Watches the rooms that have a view, and the users who are online. spec: XEP-0045; docs/mapping.md 3, 4, 9.9.
Read next: view.py, enter.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import structlog

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, UserId, server_of
from tripoint.core.json_view import text_at
from tripoint.core.stand_ins import stand_in_address
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import (
    DirectoryChanged,
    EventCommitted,
    MembershipChanged,
    MoveRefused,
    PassedOn,
    PresenceChanged,
    ReceiptMoved,
    RoomChange,
    RoomClosed,
    RoomMoved,
    SessionsEnded,
    StateReset,
    Swept,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.commands import AcceptDirect, Invite, Leave
from tripoint.rooms.ports import RoomView
from tripoint.rooms.readers import Feature, ReaderNow
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.succession import predecessor_of, replacement_of, succeeds
from tripoint.xmpp.blocked import addresses_of
from tripoint.xmpp.c2s.users import Users
from tripoint.xmpp.identities import Identities
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid, parse_room_jid, room_id_jid_local
from tripoint.xmpp.messages import THREAD_KEY
from tripoint.xmpp.muc.activity import Activity
from tripoint.xmpp.muc.events import tell_closed, tell_configured, tell_event, tell_passed_on, tell_typing
from tripoint.xmpp.muc.invited import Invited
from tripoint.xmpp.muc.markers import MAX_MEMBERS, tell_displayed
from tripoint.xmpp.muc.mentioned import Mentioned
from tripoint.xmpp.muc.moving import CLOSING, UPGRADED, go_over, is_left, stay, turn_away
from tripoint.xmpp.muc.resets import tell_reset
from tripoint.xmpp.muc.retraction import tell_swept
from tripoint.xmpp.muc.versions import Versions
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.projection import Nicks, is_public, room_jid
from tripoint.xmpp.questions import Questions
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import body, invitation, room_message, to_attribute
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import CLIENT_NS, CONFERENCE_NS, CORRECT_NS, MUC_NS, REACTIONS_NS, RETRACT_NS, Status
from tripoint.xmpp.wire import Element, render

log = structlog.get_logger()

_FEATURES = {CORRECT_NS: Feature.EDITS, REACTIONS_NS: Feature.REACTIONS, RETRACT_NS: Feature.REDACTIONS}
_NICKS = "muc_nick"  # name table: room -> user -> nick
_ROOT = "muc_root"  # name table: room -> "root" -> the room from which occupants' ids are made


class _Opening:
    """A room whose view is being made, and how many wait for it."""

    __slots__ = ("lock", "openers")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.openers = 0


class Muc:
    """The MUC service of this process."""

    def __init__(self, doors: Doors, users: Users, hub: Hub) -> None:
        self._doors = doors
        self._users = users
        self._hub = hub
        # By room and address: a room whose canonical alias changed is still visited under the old one by those
        # who are in it, and entered under the new one (docs/mapping.md 3.7).
        self._views: dict[RoomId, dict[str, MucView]] = {}
        self._nicks: dict[RoomId, Nicks] = {}
        self._opening: dict[RoomId, _Opening] = {}
        self.questions = Questions(doors)
        self.invited = Invited(doors)
        # Direct invitations that are being made, as they were sent.
        self._direct_invitations: dict[tuple[RoomId, UserId], bytes] = {}
        # Which other servers are Matrix servers too; None where none is spoken to.
        self.identities: Identities | None = None
        self.activity = Activity(doors, users, hub)
        self.versions = Versions(doors.reader, doors.names)
        self._mentioned = Mentioned(doors, users, self, hub)
        hub.watch_users(self._user_changed)

    # -- views

    def readers(self, room_id: RoomId) -> Iterator[ReaderNow]:
        """Every session that is in the room; of a client that has not said what it shows, nothing is assumed."""
        for view in self._views.get(room_id, {}).values():
            for visit in view.visits():
                session = visit.session
                lacks = frozenset(feature for name, feature in _FEATURES.items() if name not in session.shows)
                yield ReaderNow(session.user_id, lacks)

    def view(self, room_id: RoomId, jid: str) -> MucView | None:
        """The view of a room under this address, while somebody is in it."""
        return self._views.get(room_id, {}).get(jid)

    async def open(self, room: RoomView, asked: Jid | None = None) -> MucView:
        """The view of a room under the address that it has now; it lasts while somebody is in it.

        `asked`: a room of another server that is served here has the address that it has there, for who asks for it by
        that (docs/mapping.md 23.4).
        """
        room_id, jid = room.room_id, room_jid(room, self._doors.domains)
        away = asked is not None and asked.domain != self._doors.domains.rooms
        if asked is not None and away and self.named(asked) == room.canonical_alias:
            jid = str(asked.bare)
        # While anybody opens it, the room's lock is everybody's: it is free for a moment between two.
        opening = self._opening.setdefault(room_id, _Opening())
        opening.openers += 1
        try:
            return await self._open(opening, room, jid)
        finally:
            opening.openers -= 1
            if not opening.openers:
                del self._opening[room_id]

    async def _open(self, opening: _Opening, room: RoomView, jid: str) -> MucView:
        room_id = room.room_id
        async with opening.lock:
            view = self.view(room_id, jid)
            if view is None:
                nicks = self._nicks.get(room_id)
                if nicks is None:
                    nicks = self._nicks[room_id] = await self._load_nicks(room_id)
                root = (await self._doors.names.load_names(_ROOT, room_id)).get("root")
                view = self._add(MucView(room, jid, nicks, self._doors, None if root is None else RoomId(root)))
        return view

    def _add(self, view: MucView) -> MucView:
        room_id = view.room.room_id
        if room_id not in self._views:
            self._hub.watch_room(room_id, self._room_changed)
        self._views.setdefault(room_id, {})[view.jid] = view
        self._look_at_pictures(view)
        return view

    def _look_at_pictures(self, view: MucView) -> None:
        if view.room.joined_count() <= MAX_MEMBERS and (unknown := view.unknown_pictures()):
            self._doors.spawn(self._learn_pictures(view, unknown))

    async def _learn_pictures(self, view: MucView, unknown: list[tuple[UserId, str]]) -> None:
        """Pictures of those who are in a room by other protocols, for presence to name them. docs/mapping.md 17.1"""
        for user_id, mxc in unknown:
            if await self._doors.pictures.of(mxc) is not None:
                view.presence_changed(user_id)

    async def _load_nicks(self, room_id: RoomId) -> Nicks:
        remembered = await self._doors.names.load_names(_NICKS, room_id)
        doors = self._doors
        return Nicks(doors.domains.server, remembered, self._keeper(room_id), doors.accounts.account_like)

    def _keeper(self, room_id: RoomId) -> Callable[[UserId, str], None]:
        return lambda user_id, nick: self._doors.names.put_name(_NICKS, room_id, user_id, nick)

    @asynccontextmanager
    async def looking(self, room: RoomView) -> AsyncIterator[MucView]:
        """The view of a room for a moment, whether anybody is in it by XMPP or not."""
        view = await self.open(room)
        view.holds += 1
        try:
            yield view
        finally:
            view.holds -= 1
            self.close_if_empty(view)

    # -- rooms that took the place of others

    def _go_over(self, old_id: RoomId | None, room: RoomView) -> None:
        """Who is in the old room by XMPP, and a member of this one, is in this one under the same address."""
        for old in list(self._views.get(old_id, {}).values()) if old_id is not None else ():
            if not succeeds(room, old.room):
                continue
            new = self.view(room.room_id, old.jid)
            if new is None:
                nicks = self._nicks.get(room.room_id)
                if nicks is None:
                    nicks = self._nicks[room.room_id] = old.nicks.heir(self._keeper(room.room_id))
                if old.root != room.room_id:
                    self._doors.names.put_name(_ROOT, room.room_id, "root", old.root)
                new = self._add(MucView(room, old.jid, nicks, self._doors, old.root))
            go_over(old, new)
            self.close_if_empty(old)
            self.close_if_empty(new)

    def _not_taken_along(self, change: MoveRefused) -> None:
        for view in list(self._views.get(change.old, {}).values()):
            visits = [visit for visit in view.visits() if visit.session.user_id == change.user_id]
            if change.stays:
                stay(view, change.new)
                told = room_message(view.jid, body(change.text), kind="normal")
                for visit in visits:
                    visit.session.send_shared(told)
            else:
                turn_away(view, visits, f"{UPGRADED}: {change.text}", self._venue(change.new))
                self.close_if_empty(view)

    def close_if_empty(self, view: MucView) -> None:
        """Forget a view that nobody looks through."""
        room_id = view.room.room_id
        views = self._views.get(room_id, {})
        if view.is_empty and views.get(view.jid) is view:
            del views[view.jid]
            if not views:
                del self._views[room_id]
                self._nicks.pop(room_id, None)
                self.versions.forget(room_id)
                self._hub.unwatch_room(room_id, self._room_changed)

    def _room_changed(self, change: RoomChange) -> None:
        for view in list(self._views.get(change.room_id, {}).values()):
            if isinstance(change, EventCommitted):
                # What closes a room that was replaced is not for those who are about to go over.
                if change.event.type not in CLOSING or not is_left(view):
                    tell_event(view, change)
                    if change.event.type == "m.room.member":
                        self._look_at_pictures(view)
                self.close_if_empty(view)
            elif isinstance(change, StateReset):
                tell_reset(view, change)
                self.close_if_empty(view)
            elif isinstance(change, PassedOn):
                tell_passed_on(view, change)
            elif isinstance(change, TypingChanged):
                tell_typing(view, change)
            elif isinstance(change, ReceiptMoved):
                tell_displayed(view, change)
            elif isinstance(change, DirectoryChanged):
                if view.take_settings():
                    tell_configured(view, None)
            elif isinstance(change, Swept):
                tell_swept(view, change)
            elif isinstance(change, RoomClosed):
                tell_closed(view, change, change.venue or self._venue(change.replacement))
                self.close_if_empty(view)
            if view.has_affiliations:
                self.versions.told(view)

    def _venue(self, room_id: RoomId | None) -> str | None:
        """The address of the room that takes the place of another, as far as it is known now."""
        if room_id is None:
            return None
        room = self._doors.reader.peek(room_id)
        if room is None:
            return f"{room_id_jid_local(room_id)}@{self._doors.domains.rooms}"
        return room_jid(room, self._doors.domains)

    # -- finding

    def visit(self, session: XmppSession, jid: Jid) -> Visit:
        """The session's visit to a room; Problem where there is none. spec: XEP-0045 7.4 (not-acceptable)"""
        visit = session.visits.get(str(jid.bare))
        if visit is None:
            raise Problem("not-acceptable", "You are not in this room")
        return visit

    async def visiting(self, session: XmppSession, jid: Jid) -> Visit:
        """As visit(), of a room that may not be there: item-not-found then. spec: XEP-0045 17.2 (3)"""
        visit = session.visits.get(str(jid.bare))
        if visit is None:
            await self.room_for(session, jid)
            raise Problem("not-acceptable", "You are not in this room")
        return visit

    def named(self, jid: Jid) -> RoomAlias | RoomId:
        """What a JID of the service says; Problem where it is no name of a room."""
        try:
            named = parse_room_jid(jid, self._doors.domains)
        except InvalidJid as error:
            raise Problem("jid-malformed", str(error)) from None
        if named is None:
            raise Problem("item-not-found", "There is no such room")
        return named

    async def find(self, session: XmppSession, jid: Jid) -> RoomId | None:
        """The room that a JID of the service names, whoever is in it. No other server is asked.

        A room of another server is found by the names of those that the user is in.
        """
        return await self.find_for(session.user_id, jid)

    async def find_for(self, user_id: UserId, jid: Jid) -> RoomId | None:
        """As find(), for a user who need not be here."""
        room_id = await self._named_room(user_id, jid)
        try:
            # Where it was replaced its address means the room that took its place.
            return None if room_id is None else await self._doors.reader.newest(room_id)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            return room_id

    async def _named_room(self, user_id: UserId, jid: Jid) -> RoomId | None:
        named = self.named(jid)
        reader = self._doors.reader
        if named.startswith("!"):
            room_id = RoomId(named)
            try:
                await reader.room(room_id)
            except Refused:
                return None
            return room_id
        alias = RoomAlias(named)
        if server_of(alias) != self._doors.domains.server:
            return await reader.own_room(user_id, alias)
        return await reader.resolve_alias(alias)

    async def elsewhere(self, session: XmppSession, jid: Jid) -> RoomAlias | RoomId | None:
        """What a JID names, where another server has to be asked for the room: an alias, or an invitation's room."""
        named = self.named(jid)
        server = self._doors.domains.server
        room_id = await self.find(session, jid)
        if room_id is not None:
            room = await self._doors.reader.room(room_id)
            leads_on = replacement_of(room) is not None and room.membership(session.user_id) == "join"
            return room_id if leads_on or not room.is_here(server) else None
        return named if named.startswith("#") and server_of(named) != server else None

    async def invite(
        self,
        session: XmppSession,
        room: RoomView,
        target: UserId,
        reason: str | None,
        content: JsonObject | None = None,
    ) -> None:
        """In the name of a session's user. docs/mapping.md 9.9. Raises Refused."""
        if self._call_back(session, room, target, reason):
            return
        await self._doors.rooms.do(
            Invite(
                actor=session.user_id, room_id=room.room_id, target=target, reason=reason, content=content or {}
            )
        )

    def _call_back(self, session: XmppSession, room: RoomView, target: UserId, reason: str | None) -> bool:
        """Somebody of another server who is a member still, and is not there: that he is wanted is only told him."""
        views = self._views.get(room.room_id, {}).values()
        here = any(who.visits for view in views if (who := view.occupants.get(target)) is not None)
        may = room.membership(session.user_id) == "join" and room.power.user(session.user_id) >= room.power.invite
        is_foreign = stand_in_address(target, self._doors.domains.server) is not None
        if not is_foreign or room.membership(target) != "join" or here or not may or self._doors.abroad is None:
            return False
        to = self._users.jid_of(target)
        told = invitation(room_jid(room, self._doors.domains), to, self._users.jid_of(session.user_id), reason, None)
        self._doors.abroad.send(told, self._doors.domains.rooms, parse_jid(to))
        return True

    async def room_for(self, session: XmppSession, jid: Jid) -> RoomView:
        """The room, if the session's user may know of it; item-not-found otherwise.

        A room that is listed, open or has him as member or invitee; nobody learns of others by asking.
        """
        room_id = await self.find(session, jid)
        room = None if room_id is None else await self._doors.reader.room(room_id)
        if room is None or not may_know(room, session.user_id):
            raise Problem("item-not-found", "There is no such room")
        return room

    def looks_first(self, session: XmppSession, stanza: Element, jid: Jid) -> bool:
        """Somebody enters a room at another server, which may be a Matrix server too: then he is served here. Where
        that is not known it is asked first, and the stanza handled afterwards: True. docs/mapping.md 23.4"""
        head, _, server = jid.domain.partition(".")
        identities = self.identities
        if identities is None or head != "rooms" or not jid.local or stanza.child("x", MUC_NS) is None:
            return False
        if identities.is_known(server) or str(jid.bare) in session.rooms_abroad:
            return False
        self._doors.spawn(self._look_first(session, stanza, identities, server))
        return True

    async def _look_first(
        self, session: XmppSession, stanza: Element, identities: Identities, server: str
    ) -> None:
        await identities.look(server)
        if not session.closed:
            await session.guarded(stanza, session.dispatch(stanza))

    # -- leaving

    def leave_all(self, session: XmppSession) -> None:
        """The session became unavailable: it leaves every room by its own wish."""
        self.activity.unsubscribe(session)
        for waiting in session.waiting.values():
            waiting.left = True
        for visit in list(session.visits.values()):
            visit.view.end_visit(visit, left=True)
            self.end_if_locked(visit.view, session.user_id)
            self.close_if_empty(visit.view)

    def end_if_locked(self, view: MucView, user_id: UserId) -> None:
        """Who made a room and goes before it was opened takes it along. spec: XEP-0045 10.1.3"""
        if is_abandoned(view, user_id):
            self._doors.spawn(self._end_locked(view, user_id))

    async def _end_locked(self, view: MucView, user_id: UserId) -> None:
        if not is_abandoned(view, user_id):
            return  # back again
        try:
            await self._doors.rooms.do(Leave(actor=user_id, room_id=view.room.room_id))
        except Refused as refused:
            # It opens by itself when the ten minutes are over (docs/mapping.md 4.3).
            log.info("muc.locked_room_stays", room_id=view.room.room_id, reason=refused.refusal.name)

    def lost(self, session: XmppSession) -> None:
        """The stream is gone. docs/mapping.md 4.5, 4.11: an account is still a member, and a guest is gone."""
        self.activity.unsubscribe(session)
        for visit in list(session.visits.values()):
            visit.view.end_visit(visit, left=session.account.guest)
            self.end_if_locked(visit.view, session.user_id)
            self.close_if_empty(visit.view)

    def shut_down(self) -> None:
        """Tell everybody that the service goes away. spec: XEP-0045 11.2 (332)"""
        for view in [view for views in self._views.values() for view in views.values()]:
            view.close((Status.SHUTDOWN,))
            self.close_if_empty(view)

    # -- users

    def _user_changed(self, change: UserChange) -> None:
        if isinstance(change, PresenceChanged):
            for room_id in self._doors.reader.joined_rooms(change.user_id) if self._views else ():
                for view in self._views.get(room_id, {}).values():
                    view.presence_changed(change.user_id)
        elif isinstance(change, RoomMoved):
            room = self._doors.reader.peek(change.new)
            if room is not None:
                self._go_over(change.old, room)
        elif isinstance(change, MoveRefused):
            self._not_taken_along(change)
        elif isinstance(change, MembershipChanged):
            room = self._doors.reader.peek(change.room_id)
            if change.membership == "join" and room is not None:
                self._go_over(predecessor_of(room), room)
            elif change.membership == "invite":
                self._tell_invited(change)
            elif change.before == "knock" and change.membership in ("leave", "ban"):
                self._tell_turned_away(change)
        elif isinstance(change, SessionsEnded):
            user = self._users.live(change.user_id)
            for session in [] if user is None else list(user.sessions.values()):
                if not change.device_ids or {session.device_id, session.let_in_by} & {*change.device_ids}:
                    session.end("not-authorized", change.reason)

    def _tell_invited(self, change: MembershipChanged) -> None:
        user = self._users.live(change.user_id)
        room = self._doors.reader.peek(change.room_id)
        member = None if room is None else room.member(change.user_id)
        if room is None or member is None or member.membership != "invite":
            return  # he is inside with the same commit
        if stand_in_address(change.user_id, self._doors.domains.server) is not None:
            self._invite_abroad(room, change.user_id)
        if user is None:
            return
        data = self._told_of_invitation(room, change.user_id)
        if data is not None:
            data = self._direct_invitations.get((room.room_id, change.user_id), data)
            for session in user.available():
                session.send(data)

    def _invite_abroad(self, room: RoomView, user_id: UserId) -> None:
        """An invitation for somebody of another XMPP server. docs/mapping.md 9.9, 23.1"""
        if self._doors.abroad is None or room.direct_pair is not None:
            return  # who stands for them enters direct rooms by himself
        to, address = parse_jid(self._users.jid_of(user_id)), room_jid(room, self._doors.domains)
        self.invited.sent(room, address, str(to), user_id)
        original = Element("message", CLIENT_NS, {"from": address, "to": str(to)})
        self._doors.abroad.send(self._invitation(room, user_id), self._doors.domains.rooms, to, original)

    def _told_of_invitation(self, room: RoomView, user_id: UserId) -> bytes | None:
        """An invitation as it is shown; None: it is not."""
        member = room.member(user_id)
        reader, address = self._doors.reader, parse_jid(room_jid(room, self._doors.domains))
        if member is None or reader.hides_invitation(user_id, member.event.sender):
            return None
        if user_id in reader.address_blockers(addresses_of(address)):
            return None  # docs/mapping.md 16.3
        people = sum(other.membership in ("join", "invite") for other in room.members().values())
        if member.event.content.get("is_direct") is not True or people > 2:
            return self._invitation(room, user_id)
        if server_of(member.event.sender) == self._doors.domains.server and not room.encrypted:
            return None  # he enters by himself (rooms/direct_invitations.py)
        # docs/mapping.md 15.5, 19.2
        text = "I would like to talk to you. Write to me to accept"
        if room.encrypted:
            text = "I would like to talk to you, end-to-end encrypted: open it in a Matrix client"
        return room_message(self._users.jid_of(member.event.sender), body(text), kind="chat").to(
            to_attribute(self._users.jid_of(user_id))
        )

    def _tell_turned_away(self, change: MembershipChanged) -> None:
        """A knock was declined; XEP-0045 has no word for it, so it is said in plain ones. docs/mapping.md 9.11"""
        user, room = self._users.live(change.user_id), self._doors.reader.peek(change.room_id)
        member = None if room is None else room.member(change.user_id)
        if user is None or room is None or member is None or member.event.sender == change.user_id:
            return
        told = room_message(room_jid(room, self._doors.domains), body("You were not let in"), kind="normal")
        for session in user.available():
            session.send_shared(told)

    def _invitation(self, room: RoomView, user_id: UserId) -> bytes:
        member = room.member(user_id)
        assert member is not None  # he is invited
        return invitation(
            room_jid(room, self._doors.domains),
            self._users.jid_of(user_id),
            self._users.jid_of(member.event.sender),
            text_at(member.event.content, "reason"),
            text_at(member.event.content, THREAD_KEY),
        )

    async def show_invitations(self, session: XmppSession) -> list[RoomId]:
        """Invitations that came while the user was away; those of people here who want to talk are accepted, and are
        what is returned. docs/mapping.md 9.9, 15.5"""
        user_id = session.user_id
        memberships = await self._doors.reader.memberships(user_id)
        accepted = []
        for room_id in [room_id for room_id, membership in memberships.items() if membership == "invite"]:
            if (await self._doors.rooms.do(AcceptDirect(actor=user_id, room_id=room_id))).created:
                accepted.append(room_id)
                continue
            data = self._told_of_invitation(await self._doors.reader.room(room_id), user_id)
            if data is not None:
                session.send(data)
        return accepted

    async def accept_direct_invitation(self, session: XmppSession, stanza: Element, target: UserId) -> bool:
        """A direct invitation (XEP-0249) into a room of ours is a real one; True if this was one.

        spec: XEP-0249 2; docs/mapping.md 9.9. Whose clients are there get it as it was sent. Where it could not be one,
        and the room lets in who comes, it is a message like others.
        """
        x = stanza.child("x", CONFERENCE_NS)
        try:
            jid = parse_jid(x.get("jid") or "") if x is not None else None
        except InvalidJid:
            return False
        if x is None or jid is None or not jid.local or self._doors.domains.server_of_rooms(jid.domain) is None:
            return False
        if jid.domain != self._doors.domains.rooms and await self.find(session, jid) is None:
            return False  # of a server that is a Matrix server too, and not known here: whoever is invited finds it
        room = await self.room_for(session, jid)
        key, sent = (room.room_id, target), {**stanza.attributes, "from": session.full}
        self._direct_invitations[key] = render(Element(stanza.name, stanza.namespace, sent, stanza.children))
        try:
            await self.invite(session, room, target, x.get("reason") or None)
        except Refused as refused:
            if refused.refusal not in (Refusal.POWER_TOO_LOW, Refusal.ALREADY_JOINED) or not is_public(room):
                raise
            return False
        finally:
            self._direct_invitations.pop(key, None)
        return True


def is_abandoned(view: MucView, user_id: UserId) -> bool:
    """Whether a room was never opened, and its only member has no client in it."""
    room = view.room
    return room.locked and room.joined_count() == 1 and room.membership(user_id) == "join" and not view.visits()


def may_know(room: RoomView, user_id: UserId) -> bool:
    """Whether a user may learn that this room exists. docs/mapping.md 6.2"""
    if room.membership(user_id) in ("join", "invite"):
        return True
    open_to_strangers = is_public(room) or room.join_rule in ("knock", "knock_restricted")
    return not room.locked and (room.listed or open_to_strangers)
