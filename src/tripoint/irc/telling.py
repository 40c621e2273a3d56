"""What the middle tells, told to IRC: changes of rooms and of users become lines to those who hear them.

spec: docs/mapping.md 4.5, 5.3, 9.9, 13, 15.1, 19.3.  What each event says is in events.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tripoint.core.event import Event
from tripoint.core.ids import UserId, server_of
from tripoint.core.in_words import is_spoken
from tripoint.core.json_view import text_at
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel, spread, together
from tripoint.irc.entrance import Channels, invited_as_direct, people_of
from tripoint.irc.events import (
    FORMS,
    appearing,
    came,
    flag_changes,
    is_msgid,
    left_line,
    member_event,
    reaction_to,
    redact_line,
    redaction_to,
    spoken_event,
    spoken_to,
    typing_line,
)
from tripoint.irc.hearers import Hearers
from tripoint.irc.metadata import NAME, Metadata
from tripoint.irc.monitors import Monitors
from tripoint.irc.moving import Moving
from tripoint.irc.names import is_nick
from tripoint.irc.projection import Names, channel_flags
from tripoint.irc.render import NOBODY, Audience, Outgoing, fitted, one_line, server_line
from tripoint.irc.resets import reset_lines
from tripoint.irc.sessions import Sessions
from tripoint.irc.wire import seal
from tripoint.rooms.changes import (
    AccountDataChanged,
    DirectoryChanged,
    EventCommitted,
    MembershipChanged,
    MoveRefused,
    PresenceChanged,
    ProfileChanged,
    RoomChange,
    RoomMoved,
    SessionsEnded,
    StateReset,
    Swept,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.listing import DENIED_NOTE, denied_members
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal
from tripoint.rooms.settings import TLS_ONLY, tls_only

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession

# Who does these hears of it only with echo-message.
_NOBODY: frozenset[UserId] = frozenset()
# What is done to messages, and is not told to whom its sender is blocked by.
_DEEDS = frozenset({"m.reaction", "m.room.redaction"})


class Teller:
    """`room_changed` and `user_changed` are called in order of commit and never wait."""

    def __init__(
        self, names: Names, reader: RoomReader, sessions: Sessions, monitors: Monitors, now_ms: Callable[[], int]
    ) -> None:
        self._names = names
        self._monitors = monitors
        self._reader = reader
        self._sessions = sessions
        self._now_ms = now_ms
        self.channels: Channels
        self.metadata: Metadata
        self.moving: Moving

    def room_changed(self, channel: Channel, change: RoomChange) -> None:
        """A change of an open channel."""
        self.metadata.room_changed(channel, change)
        if isinstance(change, EventCommitted):
            self._event(channel, change)
        elif isinstance(change, StateReset):
            self._reset(channel, change)
        elif isinstance(change, TypingChanged):
            self._typing(channel, change)
        elif isinstance(change, DirectoryChanged) and not channel.direct:
            self._directory_changed(channel, change)
        elif isinstance(change, Swept) and not channel.direct:
            self._swept(channel, change)

    def _event(self, channel: Channel, change: EventCommitted) -> None:
        kind = change.event.type
        if channel.direct:
            self._direct_event(channel, change)
        elif kind == "m.room.member":
            self._member_event(channel, change)
        elif kind == "m.room.canonical_alias":
            reason = text_at(change.event.content, "reason") or ""
            asker = None if change.origin is None else change.origin.session
            self._renamed(channel, self._names.mask(change.event.sender), reason, asker)
        elif kind == "m.room.encryption":
            self._encrypted(channel)
        else:
            form = spoken_event if is_spoken(change.event) else FORMS.get(kind)
            if form is not None and not (kind == "m.room.power_levels" and self.moving.is_left(channel)):
                spoken = form is spoken_event or kind in _DEEDS
                self._tell(channel, change, form(channel, change), spoken=spoken)
            if kind == TLS_ONLY:
                self._for_tls_alone(channel)
            elif kind == "m.room.server_acl":
                self._denied(channel, change.event.origin_server_ts)

    def _denied(self, channel: Channel, ts_ms: int) -> None:
        """Members whose servers are denied from now on go from the list, those of others are back. MAPPING 9.12"""
        before = {*channel.room.joined()} if channel.shown is None else set(channel.shown)
        channel.take_shown(self._reader, self._now_ms())
        for user_id in sorted(before & denied_members(channel.room, self._names.server)):
            channel.tell(left_line(self._names, channel.name, user_id, DENIED_NOTE, ts_ms))
            channel.member_went(user_id)
        for user_id in sorted((channel.room.joined().keys() if channel.shown is None else channel.shown) - before):
            for out in came(channel, user_id, ts_ms):
                channel.tell(out)

    def _swept(self, channel: Channel, change: Swept) -> None:
        """Lines that are gone, one by one to who has asked for that, and that they are to the others. MAPPING 9.8"""
        event = change.because
        for gone in change.gone:
            if is_msgid(gone.event_id):
                channel.tell(redact_line(self._names, event, channel.name, gone.event_id))
        if not change.count:
            return
        writer, by = self._names.nick(UserId(event.state_key or "")), self._names.nick(event.sender)
        text = f"{change.count} {'message' if change.count == 1 else 'messages'} of {writer} removed by {by}"
        notice = server_line(self._names.server, "NOTICE", (channel.name, text))
        for session in list(channel.sessions.values()):
            if channel.hears(session) and not session.audience & Audience.REDACTION:
                session.shown(notice, own=False)

    def _tell(self, channel: Channel, change: EventCommitted, outs: list[Outgoing], *, spoken: bool) -> None:
        """The asking session hears it as the answer to its command; without echo-message not what it said."""
        if channel.shown is not None and outs:
            for out in appearing(channel, change.event.sender, change.event.origin_server_ts):
                channel.tell(out)
        origin = self._sessions.get(change.origin.session) if change.origin is not None else None
        deaf = self._reader.blockers(change.event.sender) if spoken else _NOBODY
        if change.only_for is not None:
            deaf = frozenset(session.user_id for session in channel.sessions.values()) - {change.only_for}
        if origin is None or not channel.hears(origin):
            for out in outs:
                channel.tell_but(out, deaf)
            return
        for out in outs:
            if (not spoken or "echo-message" in origin.caps) and origin.hears(out):
                origin.own(out)
            channel.tell_but(out, deaf, origin.outbox)

    def _member_event(self, channel: Channel, change: EventCommitted) -> None:
        event = change.event
        user_id = UserId(event.state_key or "")
        membership = text_at(event.content, "membership")
        cut = channel.shown if membership == "join" else None
        if cut is not None and self._reader.presence(user_id).presence != "offline":
            cut.add(user_id)
        self._tell(channel, change, member_event(channel, change), spoken=False)
        if membership == "invite":
            self._invited(channel, event, user_id, None if change.origin is None else change.origin.session)
        elif membership == "knock":
            self._knocked(channel, event, user_id)
        elif change.replaced is not None and text_at(change.replaced.content, "membership") == "invite":
            self._declined(channel, event, change.replaced)
        if membership == "join":
            self._came_away(channel, change, user_id)
        else:
            for session in self._sessions.of(user_id):
                if session.id in channel.sessions:
                    self.channels.detach(channel, session)

    def _came_away(self, channel: Channel, change: EventCommitted, user_id: UserId) -> None:
        """AWAY of who comes.  spec: IRCv3 away-notify: "when a user joins and has an away message set" """
        presence = self._reader.presence(user_id)
        before = change.replaced and text_at(change.replaced.content, "membership")
        if before == "join" or presence.presence != "unavailable" or not channel.shows(user_id):
            return
        out = self._away_line(user_id, away_text(presence.presence, presence.status_msg))
        for session in channel.sessions.values():
            if session.user_id != user_id:
                session.tell(out)

    def _away_line(self, user_id: UserId, away: str | None) -> Outgoing:
        """AWAY of somebody, for who has asked for that."""
        head, who = f":{self._names.mask(user_id)} AWAY", self._names.who(user_id)
        body = fitted(head, away) if away else head
        return Outgoing([body], ts_ms=self._now_ms(), who=who, requires=int(Audience.AWAY_NOTIFY))

    def _reset(self, channel: Channel, change: StateReset) -> None:
        """State that changed without an event.  spec: docs/mapping.md 5.5"""
        room = channel.room
        if change.completes and not channel.direct:
            self._completed(channel)
        elif not channel.direct:
            for out in reset_lines(channel, change, self._now_ms()):
                channel.tell(out)
        for session in list(channel.sessions.values()):
            if room.membership(session.user_id) != "join":
                self.channels.detach(channel, session)
        if channel.direct:
            if len(people_of(room)) > 2:
                self.channels.reconsider(channel)
            return
        self._renamed(channel, self._names.server)
        if room.encrypted:
            self._encrypted(channel)
        self._for_tls_alone(channel)

    def _completed(self, channel: Channel) -> None:
        """Members who were there all the time are known now: nobody has joined, the list is another one (4.7)."""
        channel.take_shown(self._reader, self._now_ms())
        channel.take_ranks()
        channel.members_changed()
        for session in channel.sessions.values():
            self.channels.show_list(session, channel, own=False)

    def _invited(self, channel: Channel, event: Event, user_id: UserId, asker: str | None) -> None:
        """invite-notify, to members who could invite; who does so (`asker`) has RPL_INVITING already.

        spec: docs/mapping.md 9.9, IRCv3 invite-notify
        """
        power = channel.room.power
        names = self._names
        out = Outgoing(
            [f":{names.mask(event.sender)} INVITE {names.nick(user_id)} {channel.name}"],
            ts_ms=event.origin_server_ts,
            who=names.who(event.sender),
            requires=int(Audience.INVITE_NOTIFY),
        )
        for session in channel.sessions.values():
            if session.user_id == user_id or session.id == asker:
                continue
            if power.user(session.user_id) >= power.invite:
                session.tell(out)

    def _declined(self, channel: Channel, event: Event, invitation: Event) -> None:
        """An invitation is given back: said to who invited, since no line says it.  spec: docs/mapping.md 9.10"""
        if event.sender != event.state_key or text_at(event.content, "membership") != "leave":
            return
        names, reason = self._names, text_at(event.content, "reason")
        text = f"{names.nick(event.sender)} declined your invitation to {channel.name}"
        for session in self._sessions.of(invitation.sender):
            if session.id in channel.sessions:
                head = f":{names.server} NOTICE {session.nick}"
                line = fitted(head, one_line(f"{text}: {reason}" if reason else text))
                session.tell(Outgoing([line], ts_ms=event.origin_server_ts))

    def _knocked(self, channel: Channel, event: Event, user_id: UserId) -> None:
        """RPL_KNOCK, to members who could invite.  spec: docs/mapping.md 9.11"""
        power, names, name = channel.room.power, self._names, channel.name
        why = text_at(event.content, "reason") or "has asked for an invitation"
        for session in channel.sessions.values():
            if power.user(session.user_id) >= power.invite:
                words = f":{names.server} {n.RPL_KNOCK} {session.nick} {name} {names.mask(user_id)}"
                session.tell(Outgoing([fitted(words, one_line(why))], ts_ms=event.origin_server_ts))

    def _direct_event(self, channel: Channel, change: EventCommitted) -> None:
        """A message between two people.  spec: docs/mapping.md 15.1, 5.3"""
        event = change.event
        if event.type == "m.room.member":
            user_id = UserId(event.state_key or "")
            if text_at(event.content, "membership") != "join":
                for session in self._sessions.of(user_id):
                    if session.id in channel.sessions:
                        self.channels.detach(channel, session)
            elif len(people_of(channel.room)) > 2:
                self.channels.reconsider(channel)
            return
        if event.type not in _DEEDS and not is_spoken(event):
            return
        peer = self._peer(channel, event.sender)
        made: dict[str, list[Outgoing]] = {}
        origin = change.origin.session if change.origin is not None else None
        for session in list(channel.sessions.values()):
            if not channel.hears(session) or self._reader.blocks(session.user_id, event.sender):
                continue
            mine = session.user_id == event.sender
            asked = mine and session.id == origin
            target = self._names.nick(peer) if mine else session.nick
            if target not in made:
                made[target] = self._said(channel, change, target)
            for out in made[target]:
                if asked and "echo-message" in session.caps and session.hears(out):
                    session.own(out)
                # Who writes to himself gets it as the one it was written to, too.
                if not asked or peer == event.sender:
                    session.tell(out)

    def _said(self, channel: Channel, change: EventCommitted, target: str) -> list[Outgoing]:
        """What somebody said, did to what was said or took back, to one target."""
        if change.event.type == "m.reaction":
            return reaction_to(self._names, change.event, target)
        if change.event.type == "m.room.redaction":
            return redaction_to(self._names, change, target, channel.room)
        return spoken_to(self._names, change.event, target, room=channel.room)

    def _peer(self, channel: Channel, sender: UserId) -> UserId:
        for user_id in people_of(channel.room):
            if user_id != sender:
                return user_id
        return sender  # notes to oneself, or the other one has left

    def _typing(self, channel: Channel, change: TypingChanged) -> None:
        for user_id in change.user_ids ^ change.before:
            if not channel.shows(user_id):
                continue
            active = user_id in change.user_ids
            if not channel.direct:
                out = typing_line(self._names, user_id, channel.name, active=active)
            for session in channel.sessions.values():
                if session.user_id == user_id or self._reader.blocks(session.user_id, user_id):
                    continue
                if channel.direct:
                    out = typing_line(self._names, user_id, session.nick, active=active)
                session.tell(out)

    def _renamed(self, channel: Channel, by: str, reason: str = "", asker: str | None = None) -> None:
        """Another canonical alias. A room that was replaced is left under the name that it had."""
        if not self.moving.is_left(channel):
            self.channels.take_name(channel, by, reason, asker)

    def _directory_changed(self, channel: Channel, change: DirectoryChanged) -> None:
        """+s and -s: no event says so. The server does where nobody here asked for it.  spec: docs/mapping.md 6.2"""
        before, now = channel.flags, channel_flags(channel.room)
        if before != now:
            channel.flags = now
            channel.members_changed()
            mask = self._names.server if change.by is None else self._names.mask(change.by)
            who = NOBODY if change.by is None else self._names.who(change.by)
            out = Outgoing([f":{mask} MODE {channel.name} {flag_changes(before, now)}"], ts_ms=self._now_ms(), who=who)
            asker = None if change.origin is None else self._sessions.get(change.origin.session)
            if asker is None or not channel.hears(asker):
                channel.tell(out)
                return
            asker.own(out)
            channel.tell(out, asker.outbox)

    def _encrypted(self, channel: Channel) -> None:
        """The room became encrypted: sessions part, the accounts stay.  spec: docs/mapping.md 19.3"""
        text = "This room is now end-to-end encrypted: open it in a Matrix client"
        for session in list(channel.sessions.values()):
            self._see_out(channel, session, text, "End-to-end encrypted")

    def _for_tls_alone(self, channel: Channel) -> None:
        """+S: sessions without TLS part, the accounts stay.  spec: docs/mapping.md 8.10"""
        if not tls_only(channel.room):
            return
        for session in list(channel.sessions.values()):
            if not session.secure:
                self._see_out(channel, session, Refusal.TLS_NEEDED.value, "TLS only")

    def _see_out(self, channel: Channel, session: IrcSession, text: str, reason: str) -> None:
        """One session hears the channel no more, for a reason that is not its user's."""
        session.outbox.send(seal(fitted(f":{self._names.server} NOTICE {channel.name}", text)))
        session.tell(Outgoing([fitted(f":{session.mask} PART {channel.name}", reason)]))
        self.channels.detach(channel, session)

    def user_changed(self, change: UserChange) -> None:
        if isinstance(change, MembershipChanged):
            self._membership_changed(change)
        elif isinstance(change, RoomMoved):
            self.moving.moved(change)
        elif isinstance(change, MoveRefused):
            self.moving.refused(change)
        elif isinstance(change, PresenceChanged):
            self._presence_changed(change)
        elif isinstance(change, ProfileChanged):
            self._profile_changed(change)
        elif isinstance(change, AccountDataChanged):
            self.metadata.account_data_changed(change)
        elif isinstance(change, SessionsEnded):
            for session in self._sessions.of(change.user_id):
                if not change.device_ids or {session.device_id, session.let_in_by} & {*change.device_ids}:
                    session.close(change.reason)

    def _membership_changed(self, change: MembershipChanged) -> None:
        if not self._sessions.of(change.user_id):
            return
        if change.membership == "join" and change.before != "join":
            for session in self._sessions.of(change.user_id):
                self.channels.entered(session, change)
        elif change.membership == "invite":
            room = self._reader.peek(change.room_id)
            invitation = None if room is None else room.member(change.user_id)
            if room is None or invitation is None or invitation.membership != "invite":
                return  # he is inside with the same commit
            event, names = invitation.event, self._names
            if self._reader.hides_invitation(change.user_id, event.sender):
                return  # docs/mapping.md 16.3
            if invited_as_direct(room) and len(people_of(room)) <= 2:
                # Of this server's people he enters by himself (rooms/direct_invitations.py).
                if server_of(event.sender) != names.server or room.encrypted:
                    self._wants_to_talk(change.user_id, event.sender, encrypted=room.encrypted)
                return
            line = f":{names.mask(event.sender)} INVITE {names.nick(change.user_id)} {names.channel(room)}"
            out = Outgoing([line], ts_ms=event.origin_server_ts, who=names.who(event.sender))
            for session in self._sessions.of(change.user_id):
                session.tell(out)
        elif change.before == "knock" and change.membership in ("leave", "ban"):
            self._turned_away(change)

    def _turned_away(self, change: MembershipChanged) -> None:
        """A knock was declined: said in words, since no line says it.  spec: docs/mapping.md 9.11"""
        room = self._reader.peek(change.room_id)
        member = None if room is None else room.member(change.user_id)
        if room is None or member is None or member.event.sender == change.user_id:
            return
        name = self._names.channel(room)
        for session in self._sessions.of(change.user_id):
            head, text = f":{self._names.server} NOTICE {session.nick}", f"You were not let into {name}"
            session.tell(Outgoing([fitted(head, text)], ts_ms=member.event.origin_server_ts))

    def _wants_to_talk(self, user_id: UserId, other: UserId, *, encrypted: bool) -> None:
        """Somebody of another server opened a direct room, or it is encrypted; nobody enters by himself.

        spec: docs/mapping.md 15.5, 19.2
        """
        nick = self._names.nick(other)
        text = f"{nick} would like to talk to you. Write to {nick} to accept"
        if encrypted:
            text = f"{nick} would like to talk to you, end-to-end encrypted: open it in a Matrix client"
        line = f":{self._names.server} NOTICE {self._names.nick(user_id)} :{text}"
        for session in self._sessions.of(user_id):
            session.tell(Outgoing([line]))

    def _presence_changed(self, change: PresenceChanged) -> None:
        """AWAY for who asked for it.  spec: IRCv3 away-notify; docs/mapping.md 4.5, 13.6, 13.9"""
        self._monitors.refresh(self._names.nick(change.user_id))
        if change.user_id in self._names.gone:
            return
        if change.presence != "offline":
            for room_id in self._reader.joined_rooms(change.user_id):
                channel = self.channels.get(room_id)
                if channel is not None and channel.shown is not None:
                    for out in appearing(channel, change.user_id, self._now_ms()):
                        spread(out, channel.boxes())
        away = away_text(change.presence, change.status_msg)
        self.tell_members_once(change.user_id, self._away_line(change.user_id, away))

    def _profile_changed(self, change: ProfileChanged) -> None:
        """SETNAME and METADATA for who asked for them.  spec: IRCv3 setname; docs/mapping.md 2.3, 2.9, 17.3"""
        self.metadata.profile_changed(change)
        if change.field != "displayname":
            return
        shown = change.value if isinstance(change.value, str) else ""
        if self._names.is_our_guest(change.user_id):
            self._guest_renamed(change.user_id, shown)
        else:
            self.tell_realname(change.user_id, shown or self._names.nick(change.user_id))

    def tell_realname(self, user_id: UserId, name: str) -> None:
        """SETNAME, to the user's own clients too."""
        line, who = fitted(f":{self._names.mask(user_id)} SETNAME", name), self._names.who(user_id)
        out = Outgoing([line], ts_ms=self._now_ms(), who=who, requires=int(Audience.SETNAME))
        self.tell_members_once(user_id, out, and_self=True)

    def _guest_renamed(self, user_id: UserId, nick: str) -> None:
        """A guest's display name is its nick.  spec: docs/mapping.md 1.9, RFC2812 3.1.2"""
        old, host = self._names.mask(user_id), self._names.username_and_host(user_id)[1]
        if nick == self._names.nick(user_id) or not is_nick(nick):
            return
        for session in self._sessions.of(user_id)[:1]:
            session.network.note_gone(session)
        self._names.set_guest(user_id, nick, host)
        self._monitors.refresh(old.partition("!")[0])
        self._monitors.refresh(nick)
        for session in self._sessions.of(user_id):
            for channel in session.channels.values():
                channel.members_changed()
            if not session.changing_account:
                out = Outgoing([f":{old} NICK {nick}"], ts_ms=self._now_ms(), who=self._names.who(user_id))
                self._sessions.tell_sharing(session, out)

    def channels_of(self, user_id: UserId) -> list[Channel]:
        """The open channels of a local user."""
        channels = (self.channels.get(room_id) for room_id in self._reader.joined_rooms(user_id))
        return [channel for channel in channels if channel is not None]

    def tell_members_once(self, user_id: UserId, out: Outgoing, *, and_self: bool = False) -> None:
        """Everybody who shares a channel with a local user, and who watches him, once each."""
        mine = {session.outbox: session for session in self._sessions.of(user_id)}
        boxes = together(self.channels_of(user_id))
        spread(out, {audience: Hearers(b for b in some if b not in mine) for audience, some in boxes.items()})
        if and_self:
            for session in mine.values():
                if session.changing_metadata == NAME and session.hears(out):
                    session.own(out)
                else:
                    session.tell(out)
        for session in self._monitors.extended(user_id):
            # spec: IRCv3 extended-monitor: who shares a channel has heard it.
            if session.outbox not in mine and not any(session.outbox in part for part in boxes.values()):
                session.tell(out)


def away_text(presence: str, status_msg: str | None) -> str | None:
    """The AWAY message that a presence amounts to, None for who is here (MAPPING 13.6)."""
    if presence == "online":
        return None
    return (status_msg or "Away") if presence == "unavailable" else "offline"
