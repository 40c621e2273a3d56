"""All IRC sessions of this process, and what the middle tells them.

Watches every room that a session is in and every user who has one; finds channels and users by their names.
Enters sessions into rooms and takes them out again as memberships change, whoever changed them.
spec: docs/mapping.md 4, 5, 9.9, 13.6, 15, 19.  Read next: tripoint/irc/channel.py, tripoint/irc/events.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable

import structlog

from tripoint.accounts.ports import AccountService
from tripoint.core.errors import PeerError
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId, fold_alias_localpart, parse_room_alias, parse_user_id
from tripoint.core.json_view import text_at
from tripoint.fanout.hub import Hub
from tripoint.irc import numerics as n
from tripoint.irc.channel import Boxes, Channel, spread, together
from tripoint.irc.events import (
    FORMS,
    flag_changes,
    joined_line,
    member_event,
    reaction_to,
    spoken_to,
    topic_text,
    typing_line,
)
from tripoint.irc.messages import SPOKEN_TYPES
from tripoint.irc.names import is_nick
from tripoint.irc.options import IrcOptions
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.projection import Names, channel_flags
from tripoint.irc.render import Audience, Outgoing, fitted
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import fold
from tripoint.irc.wire import seal
from tripoint.rooms.changes import (
    DirectoryChanged,
    EventCommitted,
    MembershipChanged,
    PresenceChanged,
    ProfileChanged,
    RoomChange,
    SessionsEnded,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.ports import PresenceService, RoomReader, RoomService, RoomView

log = structlog.get_logger()

Spawn = Callable[[Coroutine[object, object, None]], None]


class Network:
    """The meeting place of the sessions. `spawn` runs work in the background and owns it; `now_ms` is the clock."""

    def __init__(
        self,
        names: Names,
        rooms: RoomService,
        reader: RoomReader,
        accounts: AccountService,
        presence: PresenceService,
        hub: Hub,
        options: IrcOptions,
        spawn: Spawn,
        now_ms: Callable[[], int],
    ) -> None:
        self.names = names
        self.rooms = rooms
        self.reader = reader
        self.accounts = accounts
        self.presence = presence
        self.options = options
        self.now_ms = now_ms
        self.started_ts_ms = now_ms()
        self.sessions: dict[str, IrcSession] = {}
        self.channels: dict[RoomId, Channel] = {}
        self.unregistered = 0
        self.most_sessions = 0
        self._by_user: dict[UserId, dict[str, IrcSession]] = {}
        self._by_name: dict[str, Channel] = {}
        self._deciding: dict[RoomId, _Undecided] = {}
        self._hub = hub
        self._spawn = spawn
        hub.watch_users(self._user_changed)

    @property
    def title(self) -> str:
        """The name of the network as clients show it."""
        return self.options.network or self.names.server

    # --- sessions ----------------------------------------------------------------------------------------

    def add(self, session: IrcSession) -> None:
        """A session is logged in; it hears of its user from now on."""
        self.sessions[session.id] = session
        self._by_user.setdefault(session.user_id, {})[session.id] = session
        self.most_sessions = max(self.most_sessions, len(self.sessions))
        self.presence.session_up(session.user_id, session.id)

    async def enter_joined_rooms(self, session: IrcSession) -> None:
        """Show a new session the rooms of its user: the most recent ones, up to the limit (MAPPING 4.2)."""
        memberships = await self.reader.memberships(session.user_id)
        views = [await self.reader.room(room_id) for room_id, is_in in memberships.items() if is_in == "join"]
        views.sort(key=lambda view: view.last_position, reverse=True)
        for view in reversed(views[: self.options.autojoin]):
            await self.enter(session, view)

    def remove(self, session: IrcSession, reason: str) -> None:
        """The connection is gone. A guest quits everywhere; an account stays a member (MAPPING 4.5, 4.11)."""
        if self.sessions.pop(session.id, None) is None:
            return
        user_id = session.user_id
        if session.account.guest:
            self.names.gone.add(user_id)
            self._tell_quit(session.mask, self._audience_of(session), session.outbox, reason)
        for channel in list(session.channels.values()):
            self._detach(channel, session)
        for undecided in self._deciding.values():
            undecided.sessions.pop(session.id, None)
        mine = self._by_user.get(user_id, {})
        mine.pop(session.id, None)
        if not mine:
            self._by_user.pop(user_id, None)
        self.presence.session_down(user_id, session.id)
        if session.account.guest:
            self._spawn(self._end_guest(user_id))

    def guest_left(self, user_id: UserId, mask: str, channels: Iterable[Channel], skip: IrcOutbox, reason: str) -> None:
        """The guest that a session was before it logged in quits `channels`.

        To others it is gone at once: who shows up under its nick next is another. In the rooms it stays until
        `end_guest`, so that they outlive the change.
        """
        self.names.gone.add(user_id)
        channels = list(channels)
        for channel in channels:
            channel.member_went(user_id)
        self._tell_quit(mask, together(channels), skip, reason)

    def end_guest(self, user_id: UserId) -> None:
        """Take a guest that was told to have quit out of its rooms."""
        self._spawn(self._end_guest(user_id))

    async def _end_guest(self, user_id: UserId) -> None:
        self.names.gone.add(user_id)
        try:
            await self.accounts.end_guest(user_id)
        finally:
            self.names.gone.discard(user_id)
            self.names.forget(user_id)

    def rename_user(self, session: IrcSession, user_id: UserId) -> None:
        """A session goes on as another user (a guest logs in)."""
        if session.account.guest:
            self.names.gone.add(session.user_id)
        mine = self._by_user.get(session.user_id, {})
        mine.pop(session.id, None)
        if not mine:
            self._by_user.pop(session.user_id, None)
        self.presence.session_down(session.user_id, session.id)
        for channel in list(session.channels.values()):
            self._detach(channel, session)
        session.direct.clear()
        session.user_id = user_id
        self._by_user.setdefault(user_id, {})[session.id] = session
        self.presence.session_up(user_id, session.id)

    def sessions_of(self, user_id: UserId) -> Iterable[IrcSession]:
        """Live sessions of a user in this process."""
        return list(self._by_user.get(user_id, {}).values())

    def tell_sharing(self, session: IrcSession, out: Outgoing) -> None:
        """Everybody who shares a channel with `session`, it too, once each."""
        session.own(out)
        spread(out, self._audience_of(session), session.outbox)

    def _audience_of(self, session: IrcSession) -> Boxes:
        return together(session.channels.values())

    def _tell_quit(self, mask: str, boxes: Boxes, skip: IrcOutbox, reason: str) -> None:
        spread(Outgoing([fitted(f":{mask} QUIT", reason)], ts_ms=self.now_ms()), boxes, skip)

    # --- finding -----------------------------------------------------------------------------------------

    def channel_named(self, word: str) -> Channel | None:
        """The channel of this name that some session hears."""
        return self._by_name.get(fold(word))

    async def find_room(self, word: str) -> RoomId | None:
        """The room of this name, whoever is in it."""
        channel = self.channel_named(word)
        if channel is not None:
            return channel.room_id
        slug = self.names.slug_room(word)
        if slug is not None:
            return slug
        alias = self.names.alias(word)
        if alias is None:
            return None
        localpart, _, server = alias[1:].partition(":")
        if server != self.names.server:
            return await self.reader.resolve_alias(parse_room_alias(alias))
        try:
            folded = fold_alias_localpart(localpart)
        except PeerError:
            return None
        return await self.reader.resolve_alias(parse_room_alias(f"#{folded}:{server}"))

    async def find_user(self, word: str) -> UserId | None:
        """Who has this nick: somebody seen before, an account, or a remote user by his literal nick."""
        user_id = self.names.user(word)
        if user_id is not None:
            return user_id
        localpart, colon, server = word.partition(":")
        if colon:
            return self._remote_user(localpart, server, word)
        if not is_nick(word):
            return None
        user_id = self.names.local_user(word)
        account = await self.accounts.account(user_id)
        return user_id if account is not None and not account.deactivated and not account.guest else None

    def _remote_user(self, localpart: str, server: str, word: str) -> UserId | None:
        try:
            user_id = parse_user_id(f"@{localpart}:{server}")
        except PeerError:
            return None
        return user_id if self.names.nick(user_id) == word else None

    # --- entering and leaving ----------------------------------------------------------------------------

    async def enter(self, session: IrcSession, room: RoomView) -> None:
        """Let `session` hear a room that its user has joined, and show the room to it.

        Encrypted rooms are not entered (MAPPING 19.2).
        """
        if room.encrypted or room.room_id in session.channels or session.id not in self.sessions:
            return
        channel = self.channels.get(room.room_id)
        if channel is None and self._may_be_direct(room):
            undecided = self._undecided(room)
            undecided.sessions[session.id] = session
            await undecided.done.wait()
            return
        self._attach(channel or self._open(room, direct=False), session, None)

    def _entered(self, session: IrcSession, change: MembershipChanged) -> None:
        """As `enter`, from within the delivery of the join."""
        room = self.reader.peek(change.room_id)
        if room is None or room.encrypted or room.room_id in session.channels:
            return
        channel = self.channels.get(room.room_id)
        if channel is not None:
            self._attach(channel, session, change.change)
        elif self._may_be_direct(room):
            self._undecided(room).sessions[session.id] = session
        else:
            self._attach(self._open(room, direct=False), session, change.change)

    def _may_be_direct(self, room: RoomView) -> bool:
        return room.canonical_alias is None and 1 <= len(_people(room)) <= 2

    def _undecided(self, room: RoomView) -> _Undecided:
        """The looking up of what kind of room this is, begun if nobody has begun it."""
        undecided = self._deciding.get(room.room_id)
        if undecided is None:
            self._deciding[room.room_id] = undecided = _Undecided()
            self._hub.watch_room(room.room_id, self._room_changed)
            self._spawn(self._decide(room))
        return undecided

    async def _decide(self, room: RoomView) -> None:
        """Whether a room of two is their direct room; what is said meanwhile is kept."""
        try:
            await self._look_up(room)
        finally:
            undecided = self._deciding.pop(room.room_id, None)
            if undecided is not None:
                self._hub.unwatch_room(room.room_id, self._room_changed)
                undecided.done.set()

    async def _look_up(self, room: RoomView) -> None:
        people = _people(room)
        one, other = people[0], people[-1]
        direct = _invited_as_direct(room) or await self.reader.direct_room(one, other) == room.room_id
        undecided = self._deciding.pop(room.room_id, None)
        if undecided is None:
            return
        self._hub.unwatch_room(room.room_id, self._room_changed)
        channel = self.channels.get(room.room_id)
        for session in undecided.sessions.values():
            if session.id in self.sessions and session.user_id in room.joined():
                if channel is None:
                    channel = self._open(room, direct=direct)
                self._attach(channel, session, None)
        if channel is not None:
            channel.settle()
            for change in undecided.changes:
                # State is shown as it is now; what was said in between is still to be told.
                if isinstance(change, EventCommitted) and change.event.type in SPOKEN_TYPES:
                    self._event(channel, change)
        undecided.done.set()

    async def settled(self, room_id: RoomId) -> None:
        """Wait until it is known whether this room is a direct one, if that is being looked up."""
        undecided = self._deciding.get(room_id)
        if undecided is not None:
            await undecided.done.wait()

    def _open(self, room: RoomView, *, direct: bool) -> Channel:
        channel = Channel(room, self.names, direct=direct)
        self.channels[room.room_id] = channel
        if not direct:
            self._by_name[fold(channel.name)] = channel
        self._hub.watch_room(room.room_id, self._room_changed)
        return channel

    def _attach(self, channel: Channel, session: IrcSession, change: EventCommitted | None) -> None:
        channel.attach(session)
        if change is None:
            channel.settle()
        if channel.direct:
            return
        own = session.entering or (change is not None and _is_origin(session, change))
        self._show_channel(session, channel, change, own=own)

    def _show_channel(self, session: IrcSession, channel: Channel, change: EventCommitted | None, *, own: bool) -> None:
        """JOIN, topic, names: a room as a session first sees it.  spec: docs/mapping.md 5.1, RFC2812 3.2.1"""
        if change is not None:
            channel.take_rank(session.user_id)
            channel.member_came(session.user_id)
        out = joined_line(self.names, channel, change, session.user_id)
        if own:
            session.own(out)
        else:
            session.tell(out)
        # spec: docs/mapping.md 5.1: 331 is never sent on JOIN.
        for body in self.topic_lines(session, channel):
            session.shown(body, own=own)
        if not ({"no-implicit-names", "draft/no-implicit-names"} & session.caps):
            self.show_names(session, channel, own=own)

    def topic_lines(self, session: IrcSession, channel: Channel) -> list[str]:
        """RPL_TOPIC and RPL_TOPICWHOTIME, or nothing without a topic."""
        room, server, nick = channel.room, self.names.server, session.nick
        event, topic = room.topic_event, room.topic
        if event is None or not topic:
            return []
        setter, seconds = self.names.nick(event.sender), event.origin_server_ts // 1000
        return [
            fitted(f":{server} {n.RPL_TOPIC} {nick} {channel.name}", topic_text(topic)),
            f":{server} {n.RPL_TOPICWHOTIME} {nick} {channel.name} {setter} {seconds}",
        ]

    def show_names(self, session: IrcSession, channel: Channel, *, own: bool = True) -> None:
        """RPL_NAMREPLY lines and the end of them."""
        head = f":{self.names.server} {n.RPL_NAMREPLY} {session.nick} "
        lines = channel.member_lines(
            multi_prefix="multi-prefix" in session.caps, userhost="userhost-in-names" in session.caps
        )
        end = f":{self.names.server} {n.RPL_ENDOFNAMES} {session.nick} {channel.name} :End of /NAMES list"
        if own:
            for line in lines:
                session.outbox.respond(head + line, [])
            session.outbox.respond(end, [])
        else:
            session.outbox.send(b"".join([seal(head + line) for line in lines]) + seal(end))

    def leave_quietly(self, session: IrcSession, channel: Channel) -> None:
        """A session stops hearing a channel although its user stays a member."""
        self._detach(channel, session)

    def _detach(self, channel: Channel, session: IrcSession) -> None:
        channel.detach(session)
        if not channel.sessions and self.channels.get(channel.room_id) is channel:
            del self.channels[channel.room_id]
            if self._by_name.get(fold(channel.name)) is channel:
                del self._by_name[fold(channel.name)]
            self._hub.unwatch_room(channel.room_id, self._room_changed)

    # --- what the middle tells ---------------------------------------------------------------------------

    def _room_changed(self, change: RoomChange) -> None:
        channel = self.channels.get(change.room_id)
        if channel is None:
            undecided = self._deciding.get(change.room_id)
            if undecided is not None:
                undecided.changes.append(change)
            return
        if isinstance(change, EventCommitted):
            channel.catch_up(change.position)
            self._event(channel, change)
        elif isinstance(change, TypingChanged):
            self._typing(channel, change)
        elif isinstance(change, DirectoryChanged) and not channel.direct:
            self._directory_changed(channel)

    def _event(self, channel: Channel, change: EventCommitted) -> None:
        kind = change.event.type
        if channel.direct:
            self._direct_event(channel, change)
        elif kind == "m.room.member":
            self._member_event(channel, change)
        elif kind == "m.room.canonical_alias":
            self._renamed(channel)
        elif kind == "m.room.encryption":
            self._encrypted(channel)
        else:
            form = FORMS.get(kind)
            if form is not None:
                spoken = kind in SPOKEN_TYPES or kind == "m.reaction"
                self._tell(channel, change, form(channel, change), spoken=spoken)

    def _tell(self, channel: Channel, change: EventCommitted, outs: list[Outgoing], *, spoken: bool) -> None:
        """The asking session hears it as the answer to its command; without echo-message not what it said."""
        origin = self.sessions.get(change.origin.session) if change.origin is not None else None
        if origin is None or not channel.hears(origin):
            for out in outs:
                channel.tell(out)
            return
        for out in outs:
            if (not spoken or "echo-message" in origin.caps) and origin.hears(out):
                origin.own(out)
            channel.tell(out, origin.outbox)

    def _member_event(self, channel: Channel, change: EventCommitted) -> None:
        event = change.event
        user_id = UserId(event.state_key or "")
        self._tell(channel, change, member_event(channel, change), spoken=False)
        membership = text_at(event.content, "membership")
        if membership == "invite":
            self._invited(channel, event, user_id)
        if membership != "join":
            for session in self.sessions_of(user_id):
                if session.id in channel.sessions:
                    self._detach(channel, session)

    def _invited(self, channel: Channel, event: Event, user_id: UserId) -> None:
        """invite-notify, to members who could invite.  spec: docs/mapping.md 9.9, IRCv3 invite-notify"""
        power = channel.room.power
        names = self.names
        out = Outgoing(
            [f":{names.mask(event.sender)} INVITE {names.nick(user_id)} {channel.name}"],
            ts_ms=event.origin_server_ts,
            account=names.account(event.sender),
            requires=int(Audience.INVITE_NOTIFY),
        )
        for session in channel.sessions.values():
            if session.user_id != user_id and power.user(session.user_id) >= power.invite:
                session.tell(out)

    def _direct_event(self, channel: Channel, change: EventCommitted) -> None:
        """A message between two people.  spec: docs/mapping.md 15.1, 5.3"""
        event = change.event
        if event.type == "m.room.member":
            user_id = UserId(event.state_key or "")
            if text_at(event.content, "membership") != "join":
                for session in self.sessions_of(user_id):
                    if session.id in channel.sessions:
                        self._detach(channel, session)
            return
        make = reaction_to if event.type == "m.reaction" else spoken_to
        if event.type not in SPOKEN_TYPES and event.type != "m.reaction":
            return
        peer = self._peer(channel, event.sender)
        made: dict[str, list[Outgoing]] = {}
        origin = change.origin.session if change.origin is not None else None
        for session in list(channel.sessions.values()):
            if not channel.hears(session):
                continue
            mine = session.user_id == event.sender
            asked = mine and session.id == origin
            target = self.names.nick(peer) if mine else session.nick
            if target not in made:
                made[target] = make(self.names, event, target)
            for out in made[target]:
                if asked and "echo-message" in session.caps and session.hears(out):
                    session.own(out)
                # Who writes to himself gets it as the one it was written to, too.
                if not asked or peer == event.sender:
                    session.tell(out)

    def _peer(self, channel: Channel, sender: UserId) -> UserId:
        for user_id in _people(channel.room):
            if user_id != sender:
                return user_id
        return sender  # notes to oneself, or the other one has left

    def _typing(self, channel: Channel, change: TypingChanged) -> None:
        for user_id in change.user_ids ^ change.before:
            active = user_id in change.user_ids
            if not channel.direct:
                out = typing_line(self.names, user_id, channel.name, active=active)
            for session in channel.sessions.values():
                if session.user_id == user_id:
                    continue
                if channel.direct:
                    out = typing_line(self.names, user_id, session.nick, active=active)
                session.tell(out)

    def _renamed(self, channel: Channel) -> None:
        """Another canonical alias: PART the old name and JOIN the new one.  spec: docs/mapping.md 3.7"""
        old, new = channel.name, self.names.channel(channel.room)
        if old == new:
            return
        if self._by_name.get(fold(old)) is channel:
            del self._by_name[fold(old)]
        channel.name = new
        channel.members_changed()
        self._by_name[fold(new)] = channel
        for session in list(channel.sessions.values()):
            session.tell(Outgoing([fitted(f":{session.mask} PART {old}", f"This channel is now {new}")]))
            self._show_channel(session, channel, None, own=False)

    def _directory_changed(self, channel: Channel) -> None:
        """+s and -s: no event says who did it, so the server does.  spec: docs/mapping.md 6.2"""
        before, now = channel.flags, channel_flags(channel.room)
        if before != now:
            channel.flags = now
            channel.members_changed()
            words = f":{self.names.server} MODE {channel.name} {flag_changes(before, now)}"
            channel.tell(Outgoing([words], ts_ms=self.now_ms()))

    def _encrypted(self, channel: Channel) -> None:
        """The room became encrypted: sessions part, the accounts stay.  spec: docs/mapping.md 19.3"""
        text = "This room is now end-to-end encrypted: open it in a Matrix client"
        for session in list(channel.sessions.values()):
            session.outbox.send(seal(fitted(f":{self.names.server} NOTICE {channel.name}", text)))
            session.tell(Outgoing([fitted(f":{session.mask} PART {channel.name}", "End-to-end encrypted")]))
            self._detach(channel, session)

    def _user_changed(self, change: UserChange) -> None:
        if isinstance(change, MembershipChanged):
            self._membership_changed(change)
        elif isinstance(change, PresenceChanged):
            self._presence_changed(change)
        elif isinstance(change, ProfileChanged):
            self._profile_changed(change)
        elif isinstance(change, SessionsEnded):
            for session in self.sessions_of(change.user_id):
                if not change.device_ids or session.device_id in change.device_ids:
                    session.close(change.reason)

    def _membership_changed(self, change: MembershipChanged) -> None:
        if change.user_id not in self._by_user:
            return
        if change.membership == "join" and change.before != "join":
            for session in self.sessions_of(change.user_id):
                self._entered(session, change)
        elif change.membership == "invite":
            room = self.reader.peek(change.room_id)
            if room is None or self._may_be_direct(room):
                return
            event, names = change.change.event, self.names
            line = f":{names.mask(event.sender)} INVITE {names.nick(change.user_id)} {names.channel(room)}"
            out = Outgoing([line], ts_ms=event.origin_server_ts, account=names.account(event.sender))
            for session in self.sessions_of(change.user_id):
                session.tell(out)

    def _presence_changed(self, change: PresenceChanged) -> None:
        """AWAY for who asked for it.  spec: IRCv3 away-notify; docs/mapping.md 4.5, 13.6"""
        if change.user_id in self.names.gone:
            return
        away = away_text(change.presence, change.status_msg)
        head = f":{self.names.mask(change.user_id)} AWAY"
        self._tell_members_once(
            change.user_id,
            Outgoing([fitted(head, away) if away else head], requires=int(Audience.AWAY_NOTIFY)),
        )

    def _profile_changed(self, change: ProfileChanged) -> None:
        """SETNAME for who asked for it.  spec: IRCv3 setname; docs/mapping.md 2.3, 2.9"""
        if change.field != "displayname":
            return
        if self.names.is_our_guest(change.user_id):
            self._guest_renamed(change.user_id, change.value or "")
        else:
            name = change.value or self.names.nick(change.user_id)
            line = fitted(f":{self.names.mask(change.user_id)} SETNAME", name)
            self._tell_members_once(change.user_id, Outgoing([line], requires=int(Audience.SETNAME)), and_self=True)

    def _guest_renamed(self, user_id: UserId, nick: str) -> None:
        """A guest's display name is its nick.  spec: docs/mapping.md 1.9, RFC2812 3.1.2"""
        old, host = self.names.mask(user_id), self.names.username_and_host(user_id)[1]
        if nick == self.names.nick(user_id) or not is_nick(nick):
            return
        self.names.set_guest(user_id, nick, host)
        for session in self.sessions_of(user_id):
            for channel in session.channels.values():
                channel.members_changed()
            if not session.changing_account:
                self.tell_sharing(session, Outgoing([f":{old} NICK {nick}"], ts_ms=self.now_ms()))

    def _tell_members_once(self, user_id: UserId, out: Outgoing, *, and_self: bool = False) -> None:
        channels = (self.channels.get(room_id) for room_id in self.reader.joined_rooms(user_id))
        mine = {session.outbox: session for session in self.sessions_of(user_id)}
        boxes = together(channel for channel in channels if channel is not None)
        spread(out, {audience: dict.fromkeys(b for b in part if b not in mine) for audience, part in boxes.items()})
        if and_self:
            for session in mine.values():
                session.tell(out)


class _Undecided:
    """A room of two whose kind is being looked up: who waits for it and what happened meanwhile."""

    __slots__ = ("changes", "done", "sessions")

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.sessions: dict[str, IrcSession] = {}
        self.changes: list[RoomChange] = []


def away_text(presence: str, status_msg: str | None) -> str | None:
    """The AWAY message that a presence amounts to, None for who is here (MAPPING 13.6)."""
    if presence == "online":
        return None
    return (status_msg or "Away") if presence == "unavailable" else "offline"


def _people(room: RoomView) -> list[UserId]:
    """Who is in the room or invited into it."""
    if room.joined_count() > 2:
        return list(room.joined())
    return [user for user, member in room.members().items() if member.membership in ("join", "invite")]


def _invited_as_direct(room: RoomView) -> bool:
    return any(member.event.content.get("is_direct") is True for member in room.members().values())


def _is_origin(session: IrcSession, change: EventCommitted) -> bool:
    return change.origin is not None and change.origin.session == session.id
