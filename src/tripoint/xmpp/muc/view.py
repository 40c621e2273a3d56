"""One room as its XMPP occupants see it: who is there under which nick, who hears, and how sessions come and go.

A visit is one session in the room; an occupant is a member, with as many visits as he has resources here, none
if he is on another protocol or away. Each stanza is rendered once and appended to every visit's outbox. What the
room's changes look like is events.py; commands are in enter.py, messages.py, admin.py, owner.py.
spec: XEP-0045 7.1, 7.2, 7.7, 7.14; docs/mapping.md 2.6-2.9, 4.4-4.7, 5.2, 7, 13.7.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.core.message import Mentions
from tripoint.core.power import Rank, anybody_sets_topic, moderated
from tripoint.core.richtext import Mention, RoomPill
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.listing import CUT_NOTE, denied_members, is_listed, listed_members, lists_all
from tripoint.rooms.ports import RoomView
from tripoint.rooms.succession import replacement_of
from tripoint.xmpp.c2s.photos import photo_xml
from tripoint.xmpp.jid import alias_jid_local, user_jid
from tripoint.xmpp.muc.affiliations import Affiliations
from tripoint.xmpp.muc.explicit import mentions_xml
from tripoint.xmpp.projection import Nicks, Standing, handle_of, occupant_id, standing_in
from tripoint.xmpp.render import (
    Shared,
    affiliations_version,
    body,
    hats,
    item,
    muc_user,
    occupant,
    room_message,
    room_presence,
)
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import Status
from tripoint.xmpp.wire import escape_text

_SHOW_OF: Final = {
    "online": "",
    "unavailable": "<show>away</show>",
    "offline": "<show>xa</show>",
}
GONE: Final = "none"


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

    __slots__ = ("inside", "occupant", "pasted", "position", "session", "told_cut", "view", "waiting")

    def __init__(self, view: "MucView", session: XmppSession, who: Occupant, inside: str, position: int) -> None:
        self.view = view
        self.session = session
        self.occupant = who
        self.inside = inside
        self.position = position
        self.waiting: list[Shared] | None = []
        self.told_cut = False
        self.pasted: str | None = None  # the address of a file in what it is saying


class MucView:
    """A room with at least one visit. `jid` is the bare JID under which it is visited.

    `root`: the room from which the ids of occupants are made: the first one that was known by this address here, where
    rooms were replaced (docs/mapping.md 21.4), so that the same person stays the same for clients.
    """

    def __init__(self, room: RoomView, jid: str, nicks: Nicks, doors: Doors, root: RoomId | None = None) -> None:
        self.room = room
        self.jid = jid
        self.root = root or room.room_id
        # The room that this one leads to and that nobody goes over to (moving.py): who enters it all the same stays.
        self.stays_before: RoomId | None = replacement_of(room)
        self._deaf: frozenset[UserId] = frozenset()
        self.nicks = nicks
        self.position = room.last_position
        self.occupants: dict[UserId, Occupant] = {}
        self.doors = doors
        self._by_nick: dict[str, Occupant] = {}
        # What the busiest loop of the server needs of each visit, and no more.
        self._hearing: dict[Visit, tuple[Callable[[bytes], None], bytes]] = {}
        self._entering: list[Visit] = []
        self._names: dict[str, UserId] | None = None
        self._affiliations: Affiliations | None = None
        self.typing: set[UserId] = set()  # who was told to be typing
        # Chat states that are being said by stanzas: the stanza's id, and the state in its own word.
        self.states_said: dict[UserId, tuple[str | None, str]] = {}
        # Members whose first visit is about to begin: their presence is told then, once.
        self.expected: set[UserId] = set()
        # How many are on their way in: the view must not be forgotten while they ask for things.
        self.holds = 0
        self._lists_all = lists_all(room)
        self._settings = _settings(room)
        for user_id in self._listed():
            self._add(user_id)

    @property
    def is_empty(self) -> bool:
        """Nobody is here by XMPP, nor about to be."""
        return not self._hearing and not self._entering and not self.holds

    @property
    def affiliations(self) -> Affiliations:
        """Who is what, as it was told; made when somebody comes first."""
        if self._affiliations is None:
            self._affiliations = Affiliations(self.doors.secret, self.root, self.room)
        return self._affiliations

    @property
    def has_affiliations(self) -> bool:
        """Whether anybody was told who is what."""
        return self._affiliations is not None

    # -- finding

    def with_nick(self, nick: str) -> Occupant | None:
        return self._by_nick.get(nick)

    def known_names(self) -> dict[str, UserId]:
        """Every word that calls somebody here: nicks and handles (docs/mapping.md 2.10)."""
        if self._names is None:
            server = self.doors.domains.server
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
            local = alias_jid_local(RoomAlias(pill.room), self.doors.domains.server)
            if local is not None:
                return f"xmpp:{local}@{self.doors.domains.rooms}?join"
        return pill.text

    def calls(self, mentions: Mentions, text: str) -> str:
        """Who is meant, for clients that are told so. docs/mapping.md 2.10"""
        return mentions_xml(mentions, text, self._called)

    def _called(self, user_id: UserId) -> tuple[str, str] | None:
        who = self.occupants.get(user_id)
        return None if who is None else (who.nick, self.occupant_id(user_id))

    def with_occupant_id(self, wanted: str) -> UserId | None:
        """Who has this id here, among those who are listed."""
        return next((user_id for user_id in self.occupants if self.occupant_id(user_id) == wanted), None)

    # -- occupants

    def _listed(self) -> Iterable[UserId]:
        """Everybody, or of a huge room those who matter. docs/mapping.md 4.7"""
        if self._lists_all:
            denied = denied_members(self.room, self.doors.domains.server)
            return [user_id for user_id in self.room.joined() if user_id not in denied]
        return listed_members(self.room, self.doors.reader.presence, self.now_ms(), self.doors.domains.server)

    def _is_listed(self, user_id: UserId) -> bool:
        return user_id in self.expected or is_listed(
            self.room, user_id, self.doors.reader.presence, self.doors.domains.server
        )

    def completed(self) -> None:
        """Members who were there all the time are known now (rooms/partial.py): who is listed is told."""
        self._lists_all = lists_all(self.room)
        for user_id in self._listed():
            if user_id not in self.occupants:
                self.appear(user_id)
        for visit in self._hearing:
            self.tell_cut(visit)

    def tell_cut(self, visit: Visit) -> None:
        """In a huge room, once: that not everybody is listed. docs/mapping.md 4.7, 10.13"""
        if self._lists_all or visit.told_cut:
            return
        visit.told_cut = True
        xml = body(CUT_NOTE.format(count=self.room.joined_count()))
        visit.session.send_shared(room_message(self.jid, xml, kind="normal"))

    def _add(self, user_id: UserId) -> Occupant:
        member = self.room.member(user_id)
        nick = self.nicks.assign(user_id, None if member is None else member.displayname)
        who = Occupant(
            user_id,
            nick,
            f"{self.jid}/{nick}",
            standing_in(self.room, user_id),
            self.id_xml(user_id),
        )
        # docs/mapping.md 23.1: nobody is here for who is of another XMPP server but their own sessions.
        who.hidden = stand_in_address(user_id, self.doors.domains.server) is not None
        self.occupants[user_id] = who
        self._by_nick[nick] = who
        self._names = None
        who.presence = self._render_presence(who)
        return who

    def _render_presence(
        self, who: Occupant, codes: tuple[Status, ...] = (), echo: str | None = None, version: str = ""
    ) -> Shared:
        """Available presence. `codes` and `echo` (the id of his own stanza) are for himself.

        `version` says that it tells of a change of affiliations; his own always says which version he knows now.
        """
        if who.visits:
            # spec: XEP-0045 7.2.8: several resources, one occupant: the latest presence stands for all.
            inside = who.visits[-1].inside
        else:
            now = self.doors.reader.presence(who.user_id)
            inside = _SHOW_OF[now.presence]
            if now.status_msg:
                inside += f"<status>{escape_text(now.status_msg)}</status>"
            member = self.room.member(who.user_id)
            picture = self.doors.pictures.known_id(None if member is None else member.avatar_url)
            inside += "" if picture is None else photo_xml(picture)
        if Status.SELF_PRESENCE in codes and not version:
            # spec: XEP-0463 5.2.1
            version = affiliations_version(until=self.affiliations.version)
        x = muc_user(item(who.standing, jid=self.shown_jid(who)), codes, version)
        return room_presence(who.jid, inside + x + hats(who.standing) + who.id_xml, stanza_id=echo)

    def shown_jid(self, who: Occupant) -> str:
        """His address as the others see it: of his latest visit, or the bare one. spec: XEP-0045 7.2.3"""
        return who.visits[-1].session.full if who.visits else user_jid(who.user_id, self.doors.domains)

    def bare_jid(self, user_id: UserId) -> str:
        """The address of anybody, in the room or not."""
        return user_jid(user_id, self.doors.domains)

    def standing_of(self, user_id: UserId) -> Standing:
        """The present standing of somebody who may have left."""
        if self.room.membership(user_id) in ("join", "ban"):
            return standing_in(self.room, user_id)
        return Standing(GONE, GONE)

    def now_ms(self) -> int:
        return self.doors.now_ms()

    def id_xml(self, user_id: UserId) -> str:
        """The <occupant-id/> of anybody who is or was here."""
        return occupant(self.occupant_id(user_id))

    def occupant_id(self, user_id: UserId) -> str:
        return occupant_id(self.doors.secret, self.root, user_id)

    # -- telling

    def visits(self) -> list[Visit]:
        """Every session that is here, those to whom the room is still being shown too."""
        return [*self._hearing, *self._entering]

    @contextmanager
    def unheard_by(self, users: frozenset[UserId]) -> Iterator[None]:
        """What is said meanwhile is not for these; who is there they see."""
        self._deaf = users
        try:
            yield
        finally:
            self._deaf = frozenset()

    def unheard_from(self, speaker: UserId) -> AbstractContextManager[None]:
        """What is said meanwhile is by somebody whom some have blocked, or this room. docs/mapping.md 16.3"""
        who, reader = self.occupants.get(speaker), self.doors.reader
        return self.unheard_by(reader.blockers(speaker) | reader.address_blockers(self._addresses(who)))

    def has_blocked(self, user_id: UserId, who: Occupant) -> bool:
        """Whether somebody has blocked another as he is here, or this room. spec: XEP-0191 6"""
        return user_id in self.doors.reader.address_blockers(self._addresses(who))

    def _addresses(self, who: Occupant | None) -> tuple[str, ...]:
        here = (self.jid, self.doors.domains.rooms)
        return here if who is None else (who.jid, *here)

    def tell(self, shared: Shared) -> None:
        """To every visit. This loop is what a busy room does all day."""
        head, tail = shared
        if self._deaf and head.startswith(b"<message"):
            self._tell_but(shared)
            return
        for send, to in self._hearing.values():
            send(head + to + tail)
        for visit in self._entering:
            if visit.waiting is not None:
                visit.waiting.append(shared)

    def _tell_but(self, shared: Shared) -> None:
        for visit, (send, to) in self._hearing.items():
            if visit.session.user_id not in self._deaf:
                send(shared.to(to))
        for visit in self._entering:
            if visit.waiting is not None and visit.session.user_id not in self._deaf:
                visit.waiting.append(shared)

    def tell_echo(self, shared: Shared, visit: Visit, own: Shared) -> None:
        """To everybody, and to the visit that said it in its own form."""
        hears = self._hearing.pop(visit, None)
        self.tell(shared)
        if hears is not None:
            self._hearing[visit] = hears
            visit.session.send_shared(own)

    def tell_of(self, who: Occupant, others: Shared, himself: Shared) -> None:
        """Others hear one stanza, the visits of `who` another."""
        if not who.visits:
            self.tell(others)
            return
        for visit in self.visits():
            shared = himself if visit.occupant is who else others
            if visit.waiting is None:
                visit.session.send_shared(shared)
            else:
                visit.waiting.append(shared)

    def refresh(self, who: Occupant, *, always: bool = False) -> None:
        """Tell his presence if it is not what was told last."""
        presence = self._render_presence(who)
        if presence == who.presence and not always:
            return
        who.presence = presence
        if not who.hidden:
            version = self.affiliations.take(who.user_id)
            told = self._render_presence(who, version=version) if version else presence
            self.tell_of(who, told, self._render_presence(who, (Status.SELF_PRESENCE,), version=version))

    def appear(self, user_id: UserId) -> Occupant:
        """Whoever speaks is shown first. docs/mapping.md 4.4, 4.7"""
        who = self.occupants.get(user_id)
        if who is None:
            who = self._add(user_id)
            who.hidden = False
            self.refresh(who, always=True)
        elif who.hidden:
            who.hidden = False
            self.refresh(who, always=True)
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
            self.tell_of(who, presence, self._render_presence(who, (Status.SELF_PRESENCE,)))
        moderators: list[Shared] = []
        others: list[Shared] = []
        for other in self.occupants.values():
            if other is not who and not other.hidden and other.user_id not in self.expected:
                shown = moderators if other.standing.role == "moderator" else others
                shown.append(other.presence)
        for presence_of in (*moderators, *others):
            session.send_shared(presence_of)
        session.send_shared(self._render_presence(who, codes, echo))
        self._entering.append(visit)
        session.visits[self.jid] = visit
        return visit

    def take_over(self, session: XmppSession, inside: str) -> Visit:
        """`session` hears live from now on; what it sees of the room, and who sees it, is the caller's (moving.py)."""
        who = self.occupants.get(session.user_id) or self._add(session.user_id)
        visit = Visit(self, session, who, inside, self.position)
        visit.waiting = None
        who.visits.append(visit)
        who.hidden = False
        self._hearing[visit] = (session.outbox.send, session.to)
        session.visits[self.jid] = visit
        return visit

    def sends_by(self, visit: Visit) -> None:
        """The session of a visit sends by another way now."""
        if visit in self._hearing:
            self._hearing[visit] = (visit.session.outbox.send, visit.session.to)

    def present_anew(self, who: Occupant) -> Shared:
        """His presence as it is now; it counts as told."""
        who.presence = self._render_presence(who)
        return who.presence

    def own_presence(self, who: Occupant) -> Shared:
        """His presence as he sees it himself."""
        return self._render_presence(who, (Status.SELF_PRESENCE,))

    def assigned_presence(self, who: Occupant) -> Shared:
        """As own_presence(), for who wanted another nick than this one."""
        return self._render_presence(who, (Status.SELF_PRESENCE, Status.NICK_ASSIGNED))

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
        self.tell_cut(visit)

    def change_presence(self, visit: Visit, inside: str) -> None:
        """A visit says something else about itself. spec: XEP-0045 7.7"""
        visit.inside = inside
        who = visit.occupant
        who.visits.remove(visit)
        who.visits.append(visit)
        self.refresh(who)

    def end_visit(self, visit: Visit, *, left: bool, inside: str = "") -> None:
        """The session is in the room no more; the membership stays. docs/mapping.md 4.4, 4.5

        `left`: by its own wish, and it is told so; else the stream was lost.
        """
        who = visit.occupant
        self.forget_visit(visit)
        if left:
            x = muc_user(
                item(Standing(who.standing.affiliation, GONE), jid=visit.session.full), (Status.SELF_PRESENCE,)
            )
            visit.session.send_shared(room_presence(who.jid, x + who.id_xml, unavailable=True))
        if who.visits or not left:
            if self.occupants.get(who.user_id) is who:
                self.refresh(who)
            return
        who.hidden = True
        x = muc_user(item(Standing(who.standing.affiliation, GONE), jid=visit.session.full))
        self.tell(room_presence(who.jid, inside + x + who.id_xml, unavailable=True))

    def drop_visit(self, visit: Visit, why: str) -> None:
        """What is sent to this session of another server does not arrive, or it is not there any more; it is not told.

        spec: XEP-0045 11.1 (333, and no 307: nobody has kicked them), 18.1.2
        """
        who = visit.occupant
        self.forget_visit(visit)
        if who.visits:
            if self.occupants.get(who.user_id) is who:
                self.refresh(who)
            return
        who.hidden = True
        about = item(Standing(who.standing.affiliation, GONE), jid=visit.session.full, reason=why)
        x = muc_user(about, (Status.TECHNICAL,))
        self.tell(room_presence(who.jid, x + who.id_xml, unavailable=True))

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

    # -- what changes of the room do to the list (events.py says what is told of them)

    def came(self, user_id: UserId) -> None:
        """Somebody joined: told at once, unless his own visit is about to begin."""
        if user_id not in self.occupants and (self._lists_all or self._is_listed(user_id)):
            who = self._add(user_id)
            if user_id not in self.expected:
                self.refresh(who, always=True)

    def take_denied(self) -> Iterable[Occupant]:
        """Who is on the list and whose server is denied now; who is allowed again is told to be there. mapping 9.12"""
        denied = denied_members(self.room, self.doors.domains.server)
        for user_id in self._listed():
            if user_id not in self.occupants:
                self.appear(user_id)
        return [self.occupants[user_id] for user_id in sorted(denied) if user_id in self.occupants]

    def rename(self, who: Occupant, nick: str) -> None:
        """From now on he is found under another nick; what is told of it is the caller's."""
        self._forget_nick(who)
        who.nick, who.jid = nick, f"{self.jid}/{nick}"
        self._by_nick[nick] = who

    def remove(self, user_id: UserId) -> Occupant | None:
        """Take somebody off the list, who is a member no more; what is told of it is the caller's."""
        self.expected.discard(user_id)
        self.typing.discard(user_id)
        who = self.occupants.pop(user_id, None)
        if who is not None:
            self._forget_nick(who)
        self.nicks.release(user_id)
        return who

    def _forget_nick(self, who: Occupant) -> None:
        self._names = None
        if self._by_nick.get(who.nick) is who:
            del self._by_nick[who.nick]

    def take_ranks(self) -> None:
        """Standings that differ now are told with a new presence. spec: XEP-0045 8.3, 9.6, 10.3"""
        if not self._lists_all:
            for user_id in self.room.joined():
                if user_id not in self.occupants and self.room.rank(user_id).above(Rank.PLAIN):
                    self.appear(user_id)
        for who in list(self.occupants.values()):
            standing = standing_in(self.room, who.user_id)
            if standing != who.standing:
                who.standing = standing
                self.refresh(who)

    def take_settings(self) -> bool:
        """Whether what the configuration form makes of levels and of the directory is another than it was."""
        before, self._settings = self._settings, _settings(self.room)
        return before != self._settings

    # -- presence of members

    def unknown_pictures(self) -> list[tuple[UserId, str]]:
        """Who is here by other protocols with a picture of this server that nobody has looked at yet (mapping 17.1)."""
        found: list[tuple[UserId, str]] = []
        here = f"mxc://{self.doors.domains.server}/"
        for who in self.occupants.values():
            member = None if who.visits or who.hidden else self.room.member(who.user_id)
            mxc = None if member is None else member.avatar_url
            if mxc is not None and mxc.startswith(here) and self.doors.pictures.known_id(mxc) is None:
                found.append((who.user_id, mxc))
        return found

    def presence_changed(self, user_id: UserId) -> None:
        """The aggregated presence of somebody is another one now. docs/mapping.md 13.7"""
        who = self.occupants.get(user_id)
        if who is not None:
            self.refresh(who)
        elif self.room.membership(user_id) == "join" and self._is_listed(user_id):
            self.refresh(self._add(user_id), always=True)

    def close(self, codes: tuple[Status, ...]) -> None:
        """The service goes away: everybody here is told. spec: XEP-0045 11.2"""
        for visit in self.visits():
            who = visit.occupant
            x = muc_user(item(Standing(GONE, GONE)), (Status.SELF_PRESENCE, *codes))
            visit.session.send_shared(room_presence(who.jid, x + who.id_xml, unavailable=True))
            self.forget_visit(visit)


def _settings(room: RoomView) -> tuple[bool, ...]:
    power = room.power
    return moderated(power), anybody_sets_topic(power), power.invite <= power.users_default, room.listed
