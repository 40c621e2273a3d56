"""Rooms that IRC sessions are in: opened, entered, shown, left.

Finds out whether a room of two is their direct room before anything of it is shown, and keeps what is said
meanwhile.  spec: docs/mapping.md 4.1, 4.2, 5.1, 15, 19.2.  Read next: tripoint/irc/channel.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import RoomId, UserId
from tripoint.core.in_words import is_spoken
from tripoint.fanout.hub import Hub
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.events import joined_line, topic_text
from tripoint.irc.projection import Names
from tripoint.irc.render import fitted
from tripoint.irc.replay import Place
from tripoint.irc.tables import CHANNEL_RENAME, fold
from tripoint.irc.wire import Unbuildable, seal
from tripoint.rooms.changes import EventCommitted, MembershipChanged, RoomChange, StateReset
from tripoint.rooms.listing import CUT_NOTE, lists_all
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.settings import tls_only
from tripoint.rooms.spaces import is_space

if TYPE_CHECKING:
    from tripoint.irc.markers import ReadMarkers
    from tripoint.irc.metadata import Metadata
    from tripoint.irc.missed import Missed
    from tripoint.irc.moving import Moving
    from tripoint.irc.session import IrcSession

Spawn = Callable[[Coroutine[object, object, None]], None]
Watcher = Callable[[Channel, RoomChange], None]


def is_closed_to(room: RoomView, session: IrcSession) -> bool:
    """Whether a member's session does not hear the room all the same.  spec: docs/mapping.md 8.10, 19.2, 22.1"""
    return room.encrypted or (tls_only(room) and not session.secure) or is_space(room)


class Channels:
    """All open channels of this process. `watcher` is told of every change of theirs, in order."""

    def __init__(
        self,
        names: Names,
        reader: RoomReader,
        hub: Hub,
        spawn: Spawn,
        watcher: Watcher,
        now_ms: Callable[[], int],
    ) -> None:
        self._names = names
        self._now_ms = now_ms
        self._reader = reader
        self._hub = hub
        self._spawn = spawn
        self._watcher = watcher
        self._open: dict[RoomId, Channel] = {}
        self._by_name: dict[str, Channel] = {}
        self._deciding: dict[RoomId, _Undecided] = {}
        self.markers: ReadMarkers
        self.metadata: Metadata
        self.missed: Missed
        self.moving: Moving

    def get(self, room_id: RoomId) -> Channel | None:
        """The open channel of a room."""
        return self._open.get(room_id)

    def all(self) -> Iterable[Channel]:
        """Every open channel and direct room."""
        return self._open.values()

    def named(self, word: str) -> Channel | None:
        """The channel of this name that some session hears."""
        return self._by_name.get(fold(word))

    async def enter(self, session: IrcSession, room: RoomView) -> None:
        """Let `session` hear a room that its user has joined, and show the room to it.

        Encrypted rooms are not entered (MAPPING 19.2), and rooms for TLS alone not without (8.10).
        """
        if is_closed_to(room, session) or room.room_id in session.channels or not session.live:
            return
        missed = await self.missed.load(session, room)
        if room.room_id in session.channels or not session.live:
            return
        channel = self._open.get(room.room_id)
        if channel is None and self._may_be_direct(room):
            undecided = self._undecided(room)
            undecided.sessions[session.id] = session
            await undecided.done.wait()
        else:
            self._attach(channel or self._new(room, direct=False), session, None)
        channel = session.channels.get(room.room_id)
        if channel is not None and missed:
            self.missed.show(session, self._place(session, channel), missed)

    async def show_missed(self, session: IrcSession, room: RoomView) -> None:
        """What a session missed in the rooms whose place the one has taken that it is in."""
        missed = await self.missed.load(session, room, former=True)
        channel = session.channels.get(room.room_id)
        if channel is not None and missed:
            self.missed.show(session, self._place(session, channel), missed)

    async def show_opened(self, session: IrcSession, room: RoomView) -> None:
        """What was said in a direct room before the session's user entered it just now."""
        await self.settled(room.room_id)
        items = await self.missed.before_joining(session, room)
        channel = session.channels.get(room.room_id)
        if channel is not None and items:
            self.missed.show(session, self._place(session, channel), items)

    def _place(self, session: IrcSession, channel: Channel) -> Place:
        if not channel.direct:
            return Place(channel.room_id, channel.name)
        others = [user_id for user_id in people_of(channel.room) if user_id != session.user_id]
        peer = others[0] if others else session.user_id
        return Place(channel.room_id, self._names.nick(peer), peer)

    def entered(self, session: IrcSession, change: MembershipChanged) -> None:
        """As `enter`, from within the delivery of the join."""
        room = self._reader.peek(change.room_id)
        if room is None or room.room_id in session.channels:
            return
        former = self.moving.former(session, room)
        if former is not None:
            self.moving.move(session, former, room, change.change)
        if is_closed_to(room, session) or room.room_id in session.channels:
            return
        channel = self._open.get(room.room_id)
        if channel is not None:
            self._attach(channel, session, change.change)
        elif self._may_be_direct(room):
            self._undecided(room).sessions[session.id] = session
        else:
            self._attach(self._new(room, direct=False), session, change.change)

    def _may_be_direct(self, room: RoomView) -> bool:
        return room.canonical_alias is None and 1 <= len(people_of(room)) <= 2

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
        direct = await self._is_direct(room)
        undecided = self._deciding.pop(room.room_id, None)
        if undecided is None:
            return
        self._hub.unwatch_room(room.room_id, self._room_changed)
        channel = self._open.get(room.room_id)
        for session in undecided.sessions.values():
            if session.live and session.user_id in room.joined():
                if channel is None:
                    channel = self._new(room, direct=direct)
                self._attach(channel, session, None)
        if channel is not None:
            channel.settle()
            for change in undecided.changes:
                # State is shown as it is now; what was said in between is still to be told.
                if isinstance(change, EventCommitted) and is_spoken(change.event):
                    self._watcher(channel, change)
        undecided.done.set()

    async def _is_direct(self, room: RoomView) -> bool:
        """Whether a room of two, or of one, is a direct room."""
        people = people_of(room)
        return (
            _was_direct(room)
            or invited_as_direct(room)
            or room.direct_pair is not None
            or await self._reader.direct_room(people[0], people[-1]) == room.room_id
        )

    async def direct_peer(self, room: RoomView, user_id: UserId) -> tuple[bool, UserId | None]:
        """Whether a room is shown as a direct one, and who the other one of the two is, as long as he is there."""
        channel = self._open.get(room.room_id)
        direct = channel.direct if channel is not None else self._may_be_direct(room) and await self._is_direct(room)
        if not direct:
            return False, None
        others = [other for other in people_of(room) if other != user_id]
        if others:
            return True, others[0]
        if room.direct_pair is not None and not _was_direct(room):
            # The other one, of another server, is not invited yet.
            return True, next((one for one in room.direct_pair if one != user_id), user_id)
        return True, None if _was_direct(room) else user_id

    async def settled(self, room_id: RoomId) -> None:
        """Wait until it is known whether this room is a direct one, if that is being looked up."""
        undecided = self._deciding.get(room_id)
        if undecided is not None:
            await undecided.done.wait()

    def opened(self, room: RoomView) -> Channel:
        """The channel of a room, opened if nobody hears it yet."""
        return self._open.get(room.room_id) or self._new(room, direct=False)

    def _new(self, room: RoomView, *, direct: bool) -> Channel:
        self.moving.inherit_name(room)
        channel = Channel(room, self._names, direct=direct)
        channel.take_shown(self._reader, self._now_ms())
        self._open[room.room_id] = channel
        if not direct:
            self._by_name[fold(channel.name)] = channel
        self._hub.watch_room(room.room_id, self._room_changed)
        return channel

    def _attach(
        self, channel: Channel, session: IrcSession, change: EventCommitted | StateReset | None
    ) -> None:
        channel.attach(session)
        if change is None:
            channel.settle()
        if channel.direct:
            return
        own = session.entering or (isinstance(change, EventCommitted) and _is_origin(session, change))
        word = session.waits_for(channel.room_id)
        if word is not None:
            own = False  # the command that runs now is another one
            if fold(word) != fold(channel.name):
                session.forwarded(word, channel.name, own=False)
        self.show(session, channel, change, own=own)

    def show(
        self, session: IrcSession, channel: Channel, change: EventCommitted | StateReset | None, *, own: bool
    ) -> None:
        """JOIN, topic, names: a room as a session first sees it.  spec: docs/mapping.md 5.1, RFC2812 3.2.1"""
        if change is not None:
            channel.take_rank(session.user_id)
            channel.member_came(session.user_id)
        ts_ms = change.event.origin_server_ts if isinstance(change, EventCommitted) else None
        out = joined_line(self._names, channel, session.user_id, ts_ms)
        if own:
            session.own(out)
        else:
            session.tell(out)
        self.markers.show(session, channel, own=own)
        # spec: docs/mapping.md 5.1: 331 is never sent on JOIN.
        for body in self.topic_lines(session, channel):
            session.shown(body, own=own)
        self.show_list(session, channel, own=own)
        self.metadata.show(session, channel)

    def show_list(self, session: IrcSession, channel: Channel, *, own: bool) -> None:
        """NAMES for who has not asked to be spared them, and once why they are short.  spec: docs/mapping.md 4.7"""
        if {"no-implicit-names", "draft/no-implicit-names"} & session.caps:
            return
        self.show_names(session, channel, own=own)
        if not lists_all(channel.room) and channel.room_id not in session.told_cut:
            session.told_cut |= {channel.room_id}
            text = CUT_NOTE.format(count=channel.room.joined_count())
            session.notice_of(channel.name, text, own=own)

    def topic_lines(self, session: IrcSession, channel: Channel) -> list[str]:
        """RPL_TOPIC and RPL_TOPICWHOTIME, or nothing without a topic."""
        room, server, nick = channel.room, self._names.server, session.nick
        event, topic = room.topic_event, room.topic
        if event is None or not topic:
            return []
        setter, seconds = self._names.nick(event.sender), event.origin_server_ts // 1000
        return [
            fitted(f":{server} {n.RPL_TOPIC} {nick} {channel.name}", topic_text(topic)),
            f":{server} {n.RPL_TOPICWHOTIME} {nick} {channel.name} {setter} {seconds}",
        ]

    def show_names(self, session: IrcSession, channel: Channel, *, own: bool = True) -> None:
        """RPL_NAMREPLY lines and the end of them."""
        head = f":{self._names.server} {n.RPL_NAMREPLY} {session.nick} "
        lines = channel.member_lines(
            multi_prefix="multi-prefix" in session.caps, userhost="userhost-in-names" in session.caps
        )
        end = f":{self._names.server} {n.RPL_ENDOFNAMES} {session.nick} {channel.name} :End of /NAMES list"
        if own:
            for line in lines:
                session.outbox.respond(head + line, [])
            session.outbox.respond(end, [])
        else:
            session.outbox.send(b"".join([seal(head + line) for line in lines]) + seal(end))

    def detach(self, channel: Channel, session: IrcSession) -> None:
        channel.detach(session)
        if not channel.sessions and self._open.get(channel.room_id) is channel:
            del self._open[channel.room_id]
            if self._by_name.get(fold(channel.name)) is channel:
                del self._by_name[fold(channel.name)]
            self._hub.unwatch_room(channel.room_id, self._room_changed)

    def renamed(self, channel: Channel, old: str, new: str) -> None:
        """The channel is found by another name from now on."""
        if self._by_name.get(fold(old)) is channel:
            del self._by_name[fold(old)]
        channel.name = new
        channel.members_changed()
        self._by_name[fold(new)] = channel

    def take_name(self, channel: Channel, by: str, reason: str = "", asker: str | None = None) -> None:
        """Another name than was told: RENAME; for clients without it PART the old one and JOIN the new one.

        `by`: the mask of who did it, or the server; `asker`: the session that did.
        spec: IRCv3 channel-rename "Fallback"; docs/mapping.md 3.7
        """
        old, new = channel.name, self._names.channel(channel.room)
        if old == new:
            return
        self.renamed(channel, old, new)
        case_alone = fold(old) == fold(new)
        try:
            line = fitted(f":{by} RENAME {old} {new}", reason)
        except Unbuildable:
            line = None  # the two longest names do not fit beside each other
        for session in list(channel.sessions.values()):
            own = session.id == asker
            if line is not None and CHANNEL_RENAME in session.caps:
                session.shown(line, own=own)
                continue
            if case_alone:
                continue  # the fallback "SHOULD NOT be used if the rename only changes the case"
            # spec: IRCv3 channel-rename "Fallback": "part message matching the rename reason if given"
            session.shown(fitted(f":{session.mask} PART {old}", reason or f"This channel is now {new}"), own=own)
            self.show(session, channel, None, own=own)

    def forget(self, session: IrcSession) -> None:
        """A session that ends hears nothing any more."""
        for channel in list(session.channels.values()):
            self.detach(channel, session)
        for undecided in self._deciding.values():
            undecided.sessions.pop(session.id, None)

    def reconsider(self, channel: Channel) -> None:
        """Somebody else came into a room of two: it may be a channel now."""
        sessions = list(channel.sessions.values())
        for session in sessions:
            self.detach(channel, session)
        for session in sessions:
            if self._may_be_direct(channel.room):
                self._undecided(channel.room).sessions[session.id] = session
            else:
                self._attach(self._open.get(channel.room_id) or self._new(channel.room, direct=False), session, None)

    def _room_changed(self, change: RoomChange) -> None:
        channel = self._open.get(change.room_id)
        if channel is None:
            undecided = self._deciding.get(change.room_id)
            if undecided is not None:
                undecided.changes.append(change)
            return
        if isinstance(change, EventCommitted) and change.only_for is not None:
            self._watcher(channel, change)
            return
        if isinstance(change, EventCommitted):
            channel.catch_up(change.position)
        self._watcher(channel, change)
        if isinstance(change, EventCommitted | StateReset):
            # Who came with this event has seen it. A reset can follow at its position, and is news to them.
            channel.catch_up(change.position + 1)


# Matrix's words for who reads what, which ChanServ SET HISTORY takes, in words that say it.
_WHO_READS: Final = {
    "joined": "members read what was said while they were here",
    "invited": "members read what was said since they were invited",
    "shared": "members read all of it",
    "world_readable": "anybody reads all of it",
}


def tell_history(session: IrcSession, room: RoomView, name: str) -> None:
    """An IRC session's first JOIN is told that history is kept, and for whom.  spec: docs/mapping.md 8.14"""
    if not session.told_history:
        session.told_history = True
        visibility = room.history_visibility
        session.notice_of(name, f"History is kept here ({visibility}): {_WHO_READS[visibility]}")


class _Undecided:
    """A room of two whose kind is being looked up: who waits for it and what happened meanwhile."""

    __slots__ = ("changes", "done", "sessions")

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.sessions: dict[str, IrcSession] = {}
        self.changes: list[RoomChange] = []


def people_of(room: RoomView) -> list[UserId]:
    """Who is in the room or invited into it."""
    if room.joined_count() > 2:
        return list(room.joined())
    return [user for user, member in room.members().items() if member.membership in ("join", "invite")]


def invited_as_direct(room: RoomView) -> bool:
    return any(member.event.content.get("is_direct") is True for member in room.members().values())


def _is_origin(session: IrcSession, change: EventCommitted) -> bool:
    return change.origin is not None and change.origin.session == session.id


def _was_direct(room: RoomView) -> bool:
    """One is left of two, in a room without a name: there is nothing to be seen of it and nobody to talk to."""
    return len(people_of(room)) == 1 and len(room.members()) == 2 and room.name is None
