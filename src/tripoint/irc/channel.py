"""One room as its IRC sessions see it: who is attached, what they hear, the NAMES that are sent again and again.

A channel watches its room once for all sessions of this process.  Each change is rendered once per audience
and appended to every outbox.  A room that is the direct room of two users is no channel for its members: its
messages are PRIVMSGs between them, and nothing else of it is shown (docs/mapping.md 15).
spec: docs/mapping.md 4, 5, 7-10.  Read next: tripoint/irc/render.py, tripoint/irc/events.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import object_at
from tripoint.core.power import Rank, rank_of
from tripoint.irc.hearers import Hearers
from tripoint.irc.member_list import MemberList
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.projection import Names, channel_args, channel_flags, muted_users, prefix, shown_rank
from tripoint.irc.render import Outgoing
from tripoint.irc.tables import NICKLEN
from tripoint.irc.wire import MAX_BODY_BYTES
from tripoint.rooms.listing import denied_members, listed_members, lists_all
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.succession import replacement_of

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession


Boxes = Mapping[int, Hearers]


def spread(out: Outgoing, boxes: Boxes, skip: IrcOutbox | None = None) -> None:
    """Append `out` to outboxes grouped by audience, all but `skip`."""
    requires = out.requires
    for audience, hearers in boxes.items():
        if not requires or audience & requires:
            hearers.say(out.form(audience), skip)


def together(channels: Iterable[Channel]) -> Boxes:
    """Everybody who hears at least one of these channels, once; direct rooms do not count."""
    found = [channel for channel in channels if not channel.direct]
    if len(found) == 1:
        return found[0].boxes()
    boxes: dict[int, dict[IrcOutbox, None]] = {}
    for channel in found:
        for audience, hearers in channel.boxes().items():
            boxes.setdefault(audience, {}).update(dict.fromkeys(hearers))
    return {audience: Hearers(some) for audience, some in boxes.items()}


class Channel:
    """A room with at least one IRC session in it. `direct` is True for the direct room of two users.

    `shown` is who is in the NAMES of a huge room, or of one that denies a server, None where everybody is (MAPPING
    4.7, 9.12); it is so until `take_shown` was asked.
    """

    def __init__(self, room: RoomView, names: Names, *, direct: bool) -> None:
        self.room = room
        self.room_id: RoomId = room.room_id
        self.direct = direct
        self.names = names
        self.name = names.channel(room)
        self.sessions: dict[str, IrcSession] = {}
        # What was last told: modes and ranks are announced as differences to these.
        self.flags = channel_flags(room)
        self.args = channel_args(room)
        self.ranks: dict[UserId, Rank] = {}
        self.shown: set[UserId] | None = None
        self.take_ranks()
        self.muted = muted_users(room.power)
        self._audiences: dict[int, Hearers] = {}
        # Sessions that attached at a position which the watcher has not reached yet: see `catch_up`.
        self._waiting: list[tuple[int, IrcSession]] = []
        # The room that this one leads to and that nobody goes over to (moving.py): who enters it all the same stays.
        self.stays_before: RoomId | None = replacement_of(room)
        # What whoever comes from the room whose place this one took is told, by where the two rooms were (moving.py).
        self.arrival: tuple[tuple[RoomId, int, int], Sequence[Outgoing] | None] | None = None
        # NAMES by (multi-prefix, userhost-in-names).
        self._lists: dict[tuple[bool, bool], MemberList] = {}

    # --- who hears ---------------------------------------------------------------------------------------

    def attach(self, session: IrcSession) -> None:
        """From the room's present position on, `session` hears. What it sees of it now is the caller's."""
        self.sessions[session.id] = session
        session.channels[self.room_id] = self
        self._waiting.append((self.room.last_position, session))

    def detach(self, session: IrcSession) -> None:
        """`session` hears no more; the room's membership is not touched."""
        if self.sessions.pop(session.id, None) is None:
            return
        session.channels.pop(self.room_id, None)
        self._no_more(session)
        self._waiting = [entry for entry in self._waiting if entry[1] is not session]

    def regroup(self, session: IrcSession, audience: int) -> None:
        """`session` changed its capabilities."""
        if self.hears(session):
            self._no_more(session)
            self._hear(session, audience)

    def _hear(self, session: IrcSession, audience: int) -> None:
        hearers = self._audiences.get(audience)
        if hearers is None:
            hearers = self._audiences[audience] = Hearers()
        hearers.add(session.outbox)

    def _no_more(self, session: IrcSession) -> None:
        hearers = self._audiences.get(session.audience)
        if hearers is not None:
            hearers.discard(session.outbox)
            if not hearers:
                del self._audiences[session.audience]

    def catch_up(self, position: int) -> None:
        """A change with this position comes next: those who attached before it hear it.

        A session is shown the room as it is when it attaches; changes up to there are still on their way when
        it attached from within their own delivery, and it must not be told of them again.
        """
        if not self._waiting:
            return
        later: list[tuple[int, IrcSession]] = []
        for entry in self._waiting:
            if entry[0] < position:
                session = entry[1]
                self._hear(session, session.audience)
            else:
                later.append(entry)
        self._waiting = later

    def hears(self, session: IrcSession) -> bool:
        """Whether `session` is attached and hears the change that is being told."""
        return session.outbox in self._audiences.get(session.audience, ())

    def tell(self, out: Outgoing, skip: IrcOutbox | None = None) -> None:
        """Append `out` to every outbox but `skip`."""
        spread(out, self._audiences, skip)

    def tell_but(self, out: Outgoing, deaf: frozenset[UserId], skip: IrcOutbox | None = None) -> None:
        """As `tell`, but to nobody of `deaf`, who have blocked the one it comes from (MAPPING 16.3)."""
        if not deaf:
            self.tell(out, skip)
            return
        for session in self.sessions.values():
            if session.user_id not in deaf and session.outbox is not skip and self.hears(session):
                session.tell(out)

    def boxes(self) -> Boxes:
        """Who hears what is no change of the room (NICK, QUIT, AWAY), by audience. Not to be changed."""
        self.settle()
        return self._audiences

    def settle(self) -> None:
        """Everything that is committed was told: those who wait hear whatever comes next."""
        self.catch_up(self.room.last_position + 1)

    # --- who is shown ------------------------------------------------------------------------------------

    def take_shown(self, reader: RoomReader, now_ms: int) -> None:
        """Read anew who is shown: everybody, or of a huge room those who matter, and who was shown before."""
        denied = denied_members(self.room, self.names.server)
        if lists_all(self.room):
            self.shown = {*self.room.joined()} - denied if denied else None
            return
        before = self.shown or set()
        kept = before & self.room.joined().keys() - denied
        self.shown = {*listed_members(self.room, reader.presence, now_ms, self.names.server), *kept}

    def shows(self, user_id: UserId) -> bool:
        """Whether sessions here know this member."""
        return self.shown is None or user_id in self.shown

    # --- NAMES -------------------------------------------------------------------------------------------

    def take_ranks(self) -> dict[UserId, tuple[Rank, Rank]]:
        """Read the ranks anew; those that changed as user -> (before, now)."""
        before = self.ranks
        now: dict[UserId, Rank] = {}
        room, power = self.room, self.room.power
        joined = room.joined()
        candidates: Iterable[str] = joined
        if rank_of(power, "", "join") in _UNMARKED:
            # Only who is named in the levels can stand out: a room of ten thousand is not walked.
            candidates = {*object_at(power.content, "users"), *power.creators, power.creator}
        for name in candidates:
            user_id = UserId(name)
            if user_id in joined and (rank := shown_rank(room, user_id)) not in _UNMARKED:
                now[user_id] = rank
        self.ranks = now
        changed = {}
        for user_id in sorted(before.keys() | now.keys()):
            old, new = before.get(user_id, Rank.PLAIN), now.get(user_id, Rank.PLAIN)
            if old is not new:
                changed[user_id] = (old, new)
        return changed

    def take_rank(self, user_id: UserId) -> None:
        """Read the rank of one user who just came."""
        rank = shown_rank(self.room, user_id)
        if rank in _UNMARKED:
            self.ranks.pop(user_id, None)
        else:
            self.ranks[user_id] = rank

    def rank(self, user_id: UserId) -> Rank:
        """The rank as it was last told; PLAIN for everybody without a prefix."""
        return self.ranks.get(user_id, Rank.PLAIN)

    def members_changed(self) -> None:
        """Names, ranks or the symbol changed: NAMES are made anew when they are asked for."""
        self._lists.clear()

    def member_came(self, user_id: UserId) -> None:
        """One member more, or one who is shown from now on."""
        if self.shown is not None:
            self.shown.add(user_id)
        for key, members in self._lists.items():
            members.put(user_id, self._member_word(user_id, *key))

    def member_went(self, user_id: UserId) -> None:
        """One member less."""
        self.ranks.pop(user_id, None)
        if self.shown is not None:
            self.shown.discard(user_id)
        for members in self._lists.values():
            members.drop(user_id)

    def member_lines(self, *, multi_prefix: bool, userhost: bool) -> list[str]:
        """What follows the nick in each RPL_NAMREPLY: ``= #channel :words``, shared by all who ask.

        Lines are filled for the longest nick that an asker can have.
        """
        key = (multi_prefix, userhost)
        members = self._lists.get(key)
        if members is None:
            # spec: RFC2812 5.1 RPL_NAMREPLY: "@" for secret channels, "=" for public ones.
            symbol = "@" if "s" in self.flags else "="
            head = f"{symbol} {self.name} :"
            server = len(self.names.server.encode())
            room = MAX_BODY_BYTES - server - len(head.encode("utf-8", "replace")) - NICKLEN - len(":  353 ")
            members = self._lists[key] = MemberList(head, room)
            for user_id in self.room.joined():
                if user_id not in self.names.gone and self.shows(user_id):
                    members.put(user_id, self._member_word(user_id, *key))
        return members.lines()

    def _member_word(self, user_id: UserId, multi_prefix: bool, userhost: bool) -> str:
        member = self.room.member(user_id)
        word = self.names.nick(user_id, member.displayname if member is not None else None)
        if userhost:
            word = self.names.mask(user_id)
        rank = self.ranks.get(user_id)
        return word if rank is None else prefix(rank, multi=multi_prefix) + word


_UNMARKED = frozenset({Rank.PLAIN, Rank.UNVOICED, Rank.MUTED, Rank.BANNED})
