"""One room as its XMPP occupants see it: who is there under which nick, and what each change looks like.

The view hears the room's committed changes in order, renders each once and appends it to every visit's outbox.
A visit is one session in the room; an occupant is a member, with as many visits as he has resources here, none
if he is on another protocol or away. Nothing here asks or decides: commands are in enter.py, messages.py,
admin.py, owner.py.
spec: XEP-0045 7.1, 7.2, 7.14, 8, 9; docs/mapping.md 2.6-2.9, 4.4-4.7, 5.2, 7, 10.
"""

from collections.abc import Callable, Iterable
from typing import Final

from tripoint.core.event import Event
from tripoint.core.ids import RoomAlias, UserId
from tripoint.core.json_view import text_at
from tripoint.core.power import Rank
from tripoint.core.richtext import Mention, RoomPill
from tripoint.rooms.changes import EventCommitted, TypingChanged
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.jid import alias_jid_local, user_jid
from tripoint.xmpp.messages import inside_of
from tripoint.xmpp.projection import Nicks, Standing, handle_of, occupant_id, standing_in
from tripoint.xmpp.render import (
    Shared,
    delay,
    item,
    muc_user,
    occupant,
    room_message,
    room_presence,
    stanza_id,
)
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import CHAT_STATES_NS, MUC_USER_NS, Status
from tripoint.xmpp.wire import escape_text

# docs/mapping.md 4.7: beyond this, only those with a rank, those online and those who speak are listed.
FULL_LIST_MEMBERS: Final = 1000
# docs/mapping.md 5: older than this when it is delivered, a message says when it was sent.
LATE_MS: Final = 30_000

_SHOW_OF: Final = {
    "online": "",
    "unavailable": "<show>away</show>",
    "offline": "<show>xa</show>",
}
_GONE: Final = "none"
# State whose change is a change of the room's configuration. spec: XEP-0045 10.2.1
_CONFIGURATION: Final = frozenset(
    {
        "m.room.avatar",
        "m.room.canonical_alias",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.room.join_rules",
        "m.room.name",
    }
)


class Occupant:
    """A member of the room as others see him. `presence` is what they were told last."""

    __slots__ = ("hidden", "id_xml", "jid", "nick", "presence", "standing", "user_id", "visits")

    def __init__(self, user_id: UserId, nick: str, jid: str, standing: Standing, id_xml: str) -> None:
        self.user_id = user_id
        self.nick = nick
        self.jid = jid
        self.standing = standing
        self.id_xml = id_xml
        self.visits: list[Visit] = []
        # He has left with his last resource (XEP-0045 7.14) but is still a member: not shown until he speaks.
        self.hidden = False
        self.presence = Shared(b"", b"")


class Visit:
    """One session in the room. `inside` is what its presence says here; `position` what it has heard.

    While `waiting` is a list, the session is still being shown the room: what happens goes there.
    """

    __slots__ = ("inside", "occupant", "position", "session", "view", "waiting")

    def __init__(self, view: "MucView", session: XmppSession, who: Occupant, inside: str, position: int) -> None:
        self.view = view
        self.session = session
        self.occupant = who
        self.inside = inside
        self.position = position
        self.waiting: list[Shared] | None = []


class MucView:
    """A room with at least one visit. `jid` is the bare JID under which it is visited."""

    def __init__(self, room: RoomView, jid: str, nicks: Nicks, doors: Doors) -> None:
        self.room = room
        self.jid = jid
        self.nicks = nicks
        self.position = room.last_position
        self.occupants: dict[UserId, Occupant] = {}
        self._doors = doors
        self._by_nick: dict[str, Occupant] = {}
        # What the busiest loop of the server needs of each visit, and no more.
        self._hearing: dict[Visit, tuple[Callable[[bytes], None], bytes]] = {}
        self._entering: list[Visit] = []
        self._names: dict[str, UserId] | None = None
        self._typing: set[UserId] = set()  # who was told to be typing
        # Members whose first visit is about to begin: their presence is told then, once.
        self.expected: set[UserId] = set()
        # How many are on their way in: the view must not be forgotten while they ask for things.
        self.holds = 0
        self._lists_all = room.joined_count() <= FULL_LIST_MEMBERS
        for user_id in room.joined():
            if self._lists_all or self._is_listed(user_id):
                self._add(user_id)

    @property
    def is_empty(self) -> bool:
        """Nobody is here by XMPP, nor about to be."""
        return not self._hearing and not self._entering and not self.holds

    # -- finding

    def with_nick(self, nick: str) -> Occupant | None:
        return self._by_nick.get(nick)

    def known_names(self) -> dict[str, UserId]:
        """Every word that calls somebody here: nicks and handles (docs/mapping.md 2.10)."""
        if self._names is None:
            server = self._doors.domains.server
            self._names = {handle_of(user_id, server): user_id for user_id in self.occupants}
            self._names.update({who.nick: user_id for user_id, who in self.occupants.items()})
        return self._names

    def nick_of(self, user_id: UserId) -> str:
        """The nick under which somebody is shown who may have left."""
        who = self.occupants.get(user_id)
        if who is not None:
            return who.nick
        member = self.room.member(user_id)
        return self.nicks.former(user_id, None if member is None else member.displayname)

    def naming(self, pill: Mention | RoomPill) -> str:
        """How mentions and rooms are called for readers here. docs/mapping.md 2.10, 3.8"""
        if isinstance(pill, Mention):
            who = self.occupants.get(pill.user_id)
            return pill.text if who is None else who.nick
        if pill.room.startswith("#"):
            local = alias_jid_local(RoomAlias(pill.room), self._doors.domains.server)
            if local is not None:
                return f"xmpp:{local}@{self._doors.domains.rooms}?join"
        return pill.text

    def visits_of(self, user_id: UserId) -> list[Visit]:
        who = self.occupants.get(user_id)
        return [] if who is None else who.visits

    # -- occupants

    def _is_listed(self, user_id: UserId) -> bool:
        return (
            self.room.rank(user_id).above(Rank.PLAIN)
            or self._doors.reader.presence(user_id).presence != "offline"
            or user_id in self.expected
        )

    def _add(self, user_id: UserId) -> Occupant:
        member = self.room.member(user_id)
        nick = self.nicks.assign(user_id, None if member is None else member.displayname)
        who = Occupant(
            user_id,
            nick,
            f"{self.jid}/{nick}",
            standing_in(self.room, user_id),
            occupant(occupant_id(self._doors.secret, self.room.room_id, user_id)),
        )
        self.occupants[user_id] = who
        self._by_nick[nick] = who
        self._names = None
        who.presence = self._render_presence(who)
        return who

    def _render_presence(self, who: Occupant, codes: tuple[Status, ...] = (), echo: str | None = None) -> Shared:
        """Available presence. `codes` and `echo` (the id of his own stanza) are for himself."""
        if who.visits:
            # spec: XEP-0045 7.2.8: several resources, one occupant: the latest presence stands for all.
            visit = who.visits[-1]
            inside, jid = visit.inside, visit.session.full
        else:
            now = self._doors.reader.presence(who.user_id)
            inside, jid = _SHOW_OF[now.presence], self._bare(who.user_id)
            if now.status_msg:
                inside += f"<status>{escape_text(now.status_msg)}</status>"
        x = muc_user(item(who.standing, jid=jid), codes)
        return room_presence(who.jid, inside + x + who.id_xml, stanza_id=echo)

    def _bare(self, user_id: UserId) -> str:
        return user_jid(user_id, self._doors.domains)

    # -- telling

    def tell(self, shared: Shared) -> None:
        """To every visit. This loop is what a busy room does all day."""
        head, tail = shared
        for send, to in self._hearing.values():
            send(head + to + tail)
        for visit in self._entering:
            if visit.waiting is not None:
                visit.waiting.append(shared)

    def _tell_of(self, who: Occupant, others: Shared, himself: Shared) -> None:
        """Others hear one stanza, the visits of `who` another."""
        if not who.visits:
            self.tell(others)
            return
        for visit in [*self._hearing, *self._entering]:
            shared = himself if visit.occupant is who else others
            if visit.waiting is None:
                visit.session.send_shared(shared)
            else:
                visit.waiting.append(shared)

    def _refresh(self, who: Occupant, *, always: bool = False) -> None:
        """Tell his presence if it is not what was told last."""
        presence = self._render_presence(who)
        if presence == who.presence and not always:
            return
        who.presence = presence
        if not who.hidden:
            self._tell_of(who, presence, self._render_presence(who, (Status.SELF_PRESENCE,)))

    def _appear(self, user_id: UserId) -> Occupant:
        """Whoever speaks is shown first. docs/mapping.md 4.4, 4.7"""
        who = self.occupants.get(user_id)
        if who is None:
            who = self._add(user_id)
            self._refresh(who, always=True)
        elif who.hidden:
            who.hidden = False
            self._refresh(who, always=True)
        return who

    # -- visits

    def begin_visit(self, session: XmppSession, inside: str, codes: tuple[Status, ...], echo: str | None) -> Visit:
        """Show `session` who is here, last of all itself; then it waits for end_of_entry().

        spec: XEP-0045 7.1 (1, 2), 7.2.2: self-presence goes last: clients take it as the end of the list.
        """
        user_id = session.user_id
        who = self.occupants.get(user_id)
        new = who is None or who.hidden or user_id in self.expected
        self.expected.discard(user_id)
        if who is None:
            who = self._add(user_id)
        visit = Visit(self, session, who, inside, self.position)
        who.visits.append(visit)
        who.hidden = False
        presence = self._render_presence(who)
        if new or presence != who.presence:
            who.presence = presence
            self._tell_of(who, presence, self._render_presence(who, (Status.SELF_PRESENCE,)))
        to = session.to
        moderators: list[bytes] = []
        others: list[bytes] = []
        for other in self.occupants.values():
            if other is not who and not other.hidden and other.user_id not in self.expected:
                shown = moderators if other.standing.role == "moderator" else others
                shown += (other.presence.head, to, other.presence.tail)
        session.send(b"".join(moderators + others))
        session.send_shared(self._render_presence(who, codes, echo))
        self._entering.append(visit)
        session.visits[self.jid] = visit
        return visit

    def end_of_entry(self, visit: Visit, history: Iterable[Shared], subject: Shared) -> None:
        """History, subject, what happened meanwhile; from now on the visit hears live. spec: XEP-0045 7.1"""
        if visit not in self._entering:
            return  # kicked or gone while the history was read
        session = visit.session
        for shared in (*history, subject, *(visit.waiting or ())):
            session.send_shared(shared)
        visit.waiting = None
        self._entering.remove(visit)
        self._hearing[visit] = (session.outbox.send, session.to)

    def change_presence(self, visit: Visit, inside: str) -> None:
        """A visit says something else about itself. spec: XEP-0045 7.7"""
        visit.inside = inside
        who = visit.occupant
        who.visits.remove(visit)
        who.visits.append(visit)
        self._refresh(who)

    def end_visit(self, visit: Visit, *, left: bool, inside: str = "") -> None:
        """The session is in the room no more; the membership stays. docs/mapping.md 4.4, 4.5

        `left`: by its own wish, and it is told so; else the stream was lost.
        """
        who = visit.occupant
        self.forget_visit(visit)
        if left:
            x = muc_user(
                item(Standing(who.standing.affiliation, _GONE), jid=visit.session.full), (Status.SELF_PRESENCE,)
            )
            visit.session.send_shared(room_presence(who.jid, x + who.id_xml, unavailable=True))
        if who.visits or not left:
            if self.occupants.get(who.user_id) is who:
                self._refresh(who)
            return
        who.hidden = True
        x = muc_user(item(Standing(who.standing.affiliation, _GONE), jid=visit.session.full))
        self.tell(room_presence(who.jid, inside + x + who.id_xml, unavailable=True))

    def forget_visit(self, visit: Visit) -> None:
        """The session hears no more; nobody is told."""
        self._hearing.pop(visit, None)
        if visit in self._entering:
            self._entering.remove(visit)
        visit.waiting = None
        if visit in visit.occupant.visits:
            visit.occupant.visits.remove(visit)
        if visit.session.visits.get(self.jid) is visit:
            del visit.session.visits[self.jid]

    # -- changes

    def event_committed(self, change: EventCommitted) -> None:
        """Everything that is told of an event, to everybody."""
        if change.position <= self.position:
            return  # the room was read when this was in it already
        self.position = change.position
        event = change.event
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, change)
        elif event.type in _CONFIGURATION:
            self._configured(change)
        elif not event.is_state:
            self._said(change)

    def _said(self, change: EventCommitted) -> None:
        event = change.event
        inside = inside_of(event.content, self.naming)
        if inside is None:
            return
        who = self._appear(event.sender)
        self._typing.discard(event.sender)
        origin = change.origin
        # docs/mapping.md 11: an XMPP message keeps its id; others have the id of their event
        its_id = origin.token if origin is not None and origin.keep and origin.token else event.event_id
        late = self._doors.now_ms() - event.origin_server_ts > LATE_MS
        self.tell(self._message(who.jid, who.id_xml, event, its_id, inside, late=late))

    def _message(self, from_jid: str, id_xml: str, event: Event, its_id: str, inside: str, *, late: bool) -> Shared:
        xml = inside + stanza_id(self.jid, event.event_id) + id_xml
        if late:
            xml += delay(self.jid, event.origin_server_ts)
        return room_message(from_jid, xml, its_id)

    def history_message(self, entry: HistoryItem) -> Shared | None:
        """A message as history shows it; None for one that says nothing. spec: XEP-0045 7.2.13"""
        event = entry.event
        inside = inside_of(event.content, self.naming)
        if inside is None:
            return None
        id_xml = occupant(occupant_id(self._doors.secret, self.room.room_id, event.sender))
        from_jid = f"{self.jid}/{self.nick_of(event.sender)}"
        return self._message(from_jid, id_xml, event, entry.token or event.event_id, inside, late=True)

    def subject(self) -> Shared:
        """The subject as it is shown on entry. spec: XEP-0045 7.2.15"""
        event = self.room.topic_event
        if event is None:
            return room_message(self.jid, "<subject></subject>")
        return self._subject_of(event, late=True)

    def _subject_of(self, event: Event, *, late: bool) -> Shared:
        text = text_at(event.content, "topic") or ""
        inside = f"<subject>{escape_text(text)}</subject>"
        id_xml = occupant(occupant_id(self._doors.secret, self.room.room_id, event.sender))
        from_jid = f"{self.jid}/{self.nick_of(event.sender)}"
        return self._message(from_jid, id_xml, event, event.event_id, inside, late=late)

    def _topic(self, change: EventCommitted) -> None:
        self._appear(change.event.sender)
        self.tell(self._subject_of(change.event, late=False))

    def _configured(self, change: EventCommitted) -> None:
        """spec: XEP-0045 10.2.1; join rules also change who counts as a member."""
        x = f"<x xmlns='{MUC_USER_NS}'><status code='{Status.CONFIGURATION_CHANGED.value}'/></x>"
        self.tell(room_message(self.jid, x, change.event.event_id))
        if change.event.type == "m.room.join_rules":
            self._ranks(change)

    def _ranks(self, change: EventCommitted) -> None:
        """Standings that differ now are told with a new presence. spec: XEP-0045 8.3, 9.6, 10.3"""
        if not self._lists_all:
            for user_id in self.room.joined():
                if user_id not in self.occupants and self.room.rank(user_id).above(Rank.PLAIN):
                    self._appear(user_id)
        for who in list(self.occupants.values()):
            standing = standing_in(self.room, who.user_id)
            if standing != who.standing:
                who.standing = standing
                self._refresh(who)

    def _member(self, change: EventCommitted) -> None:
        event = change.event
        user_id = UserId(event.state_key or "")
        now = _membership(event)
        before = "leave" if change.replaced is None else _membership(change.replaced)
        if now == "join":
            who = self.occupants.get(user_id)
            if who is None:
                if not (self._lists_all or self._is_listed(user_id)):
                    return
                who = self._add(user_id)
                if user_id not in self.expected:
                    self._refresh(who, always=True)
            elif before == "join":
                self._rename(who, text_at(event.content, "displayname"))
        elif before == "join":
            self._removed(user_id, now, event)

    def _rename(self, who: Occupant, displayname: str | None) -> None:
        """spec: XEP-0045 7.6: unavailable from the old nick with 303, available from the new one."""
        nick = self.nicks.assign(who.user_id, displayname)
        if nick == who.nick:
            return
        old = who.jid
        jid = who.visits[-1].session.full if who.visits else self._bare(who.user_id)
        leaving = item(Standing(who.standing.affiliation, who.standing.role), jid=jid, nick=nick)
        if not who.hidden:
            self._tell_of(
                who,
                room_presence(old, muc_user(leaving, (Status.NEW_NICK,)) + who.id_xml, unavailable=True),
                room_presence(
                    old,
                    muc_user(leaving, (Status.NEW_NICK, Status.SELF_PRESENCE)) + who.id_xml,
                    unavailable=True,
                ),
            )
        if self._by_nick.get(who.nick) is who:
            del self._by_nick[who.nick]
        who.nick, who.jid = nick, f"{self.jid}/{nick}"
        self._names = None
        self._by_nick[nick] = who
        self._refresh(who, always=True)

    def _removed(self, user_id: UserId, membership: str, event: Event) -> None:
        """Left, kicked or banned. spec: XEP-0045 7.14, 8.2, 9.1; docs/mapping.md 9.1, 9.7"""
        self.expected.discard(user_id)
        self._typing.discard(user_id)
        who = self.occupants.pop(user_id, None)
        self._names = None
        if who is None:
            self.nicks.release(user_id)
            return
        if self._by_nick.get(who.nick) is who:
            del self._by_nick[who.nick]
        reason = text_at(event.content, "reason")
        codes: tuple[Status, ...] = ()
        actor = None
        if membership == "ban":
            codes = (Status.BANNED,)
        elif event.sender != user_id:
            codes = (Status.KICKED,)
        if codes:
            actor = self.nick_of(event.sender)
        standing = Standing("outcast" if membership == "ban" else _GONE, _GONE)
        jid = who.visits[-1].session.full if who.visits else self._bare(user_id)
        about = item(standing, jid=jid, actor=actor, reason=reason if codes else None)
        status = f"<status>{escape_text(reason)}</status>" if reason and not codes else ""
        if not who.hidden:
            self._tell_of(
                who,
                room_presence(who.jid, status + muc_user(about, codes) + who.id_xml, unavailable=True),
                room_presence(
                    who.jid,
                    status + muc_user(about, (Status.SELF_PRESENCE, *codes)) + who.id_xml,
                    unavailable=True,
                ),
            )
        for visit in list(who.visits):
            waiting = visit.waiting
            self.forget_visit(visit)
            # Kicked while the history was being read: he still has to hear that he is out.
            for shared in (waiting or ())[-1:]:
                visit.session.send_shared(shared)
        self.nicks.release(user_id)

    def _encrypted(self, change: EventCommitted) -> None:
        """The room became end-to-end encrypted: visits end, memberships stay. docs/mapping.md 19.3"""
        why = "This room is now end-to-end encrypted: open it in a Matrix client"
        for visit in [*self._hearing, *self._entering]:
            who = visit.occupant
            about = item(Standing(who.standing.affiliation, _GONE), jid=visit.session.full, reason=why)
            x = muc_user(about, (Status.SELF_PRESENCE,))
            visit.session.send_shared(room_presence(who.jid, x + who.id_xml, unavailable=True))
            self.forget_visit(visit)

    # -- presence of members

    def presence_changed(self, user_id: UserId) -> None:
        """The aggregated presence of somebody is another one now. docs/mapping.md 13.7"""
        who = self.occupants.get(user_id)
        if who is not None:
            self._refresh(who)
        elif self.room.membership(user_id) == "join" and self._is_listed(user_id):
            self._refresh(self._add(user_id), always=True)

    def typing_changed(self, change: TypingChanged) -> None:
        """Who types now, as chat states. docs/mapping.md 13.1; XEP-0085 5.5

        A message says by itself that its writer has stopped, so nobody is told a second time.
        """
        for user_id in change.user_ids - change.before:
            self._tell_state(user_id, "composing")
            self._typing.add(user_id)
        for user_id in change.before - change.user_ids:
            if user_id in self._typing:
                self._typing.discard(user_id)
                self._tell_state(user_id, "active")

    def _tell_state(self, user_id: UserId, state: str) -> None:
        who = self.occupants.get(user_id)
        if who is not None and not who.hidden:
            self.tell(room_message(who.jid, f"<{state} xmlns='{CHAT_STATES_NS}'/>" + who.id_xml))

    def close(self, codes: tuple[Status, ...]) -> None:
        """The service goes away: everybody here is told. spec: XEP-0045 11.2"""
        for visit in [*self._hearing, *self._entering]:
            who = visit.occupant
            x = muc_user(item(Standing(_GONE, _GONE)), (Status.SELF_PRESENCE, *codes))
            visit.session.send_shared(room_presence(who.jid, x + who.id_xml, unavailable=True))
            self.forget_visit(visit)


def _membership(event: Event) -> str:
    return text_at(event.content, "membership") or "leave"


_HANDLERS: Final[dict[str, Callable[[MucView, EventCommitted], None]]] = {
    "m.room.encryption": MucView._encrypted,
    "m.room.member": MucView._member,
    "m.room.power_levels": MucView._ranks,
    "m.room.topic": MucView._topic,
    "m.room.message": MucView._said,
}
