"""The meeting place: what handlers and connections hold to reach rooms, users and each other's sessions.

Finds channels and users by the names that clients use, and lets sessions come and go.
spec: docs/mapping.md 1.5, 3, 4.2, 4.5, 4.11.  Read next: tripoint/irc/entrance.py, tripoint/irc/telling.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from tripoint.accounts.ports import AccountService
from tripoint.core.errors import PeerError
from tripoint.core.ids import (
    RoomAlias,
    RoomId,
    UserId,
    fold_alias_localpart,
    parse_room_alias,
    parse_user_id,
    server_of,
)
from tripoint.fanout.hub import Hub
from tripoint.irc.channel import Boxes, Channel, spread, together
from tripoint.irc.connection import QUIT
from tripoint.irc.entrance import Channels, Spawn, tell_history
from tripoint.irc.hosts import Hosts
from tripoint.irc.joining import Joining
from tripoint.irc.markers import CAPABILITY as READ_MARKER
from tripoint.irc.markers import ReadMarkers
from tripoint.irc.metadata import NAME, Metadata
from tripoint.irc.missed import Missed
from tripoint.irc.monitors import Monitors
from tripoint.irc.moving import Moving
from tripoint.irc.names import foreign_user, is_nick, nick_of
from tripoint.irc.operators import Notice
from tripoint.irc.options import IrcOptions
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.projection import Names
from tripoint.irc.render import Outgoing, fitted, one_line
from tripoint.irc.room_settings import RoomSettings
from tripoint.irc.session import IrcSession
from tripoint.irc.sessions import Sessions
from tripoint.irc.spaces import tell_children
from tripoint.irc.tables import isupport_tokens
from tripoint.irc.telling import Teller
from tripoint.irc.user_modes import mark, set_operator, tell_changed
from tripoint.irc.whowas import Was, Whowas
from tripoint.media.ports import Media
from tripoint.net.connections import CallLater
from tripoint.rooms.changes import Reported, UserChange
from tripoint.rooms.commands import AcceptDirect
from tripoint.rooms.ports import NameTable, PresenceService, RoomReader, RoomService, RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.spaces import is_space
from tripoint.rooms.succession import replacement_of


class Network:
    """All IRC sessions of this process. `spawn` runs work in the background and owns it; `now_ms` is the clock."""

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
        call_later: CallLater,
        name_table: NameTable,
        media: Media,
    ) -> None:
        self.names = names
        self.rooms = rooms
        self.reader = reader
        self.accounts = accounts
        self.media = media
        self.presence = presence
        self.options = options
        self.now_ms = now_ms
        self.started_ts_ms = now_ms()
        self.unregistered = 0
        self.registration = "closed"  # open | token | closed: whether accounts can be made here
        self.sessions = Sessions(presence)
        self.operators: dict[str, IrcSession] = {}
        # Reads the configuration again and says what came of it; runtime connects it.
        self.rehash: Callable[[], Awaitable[list[str]]] | None = None
        self.whowas = Whowas()
        self.usage: Counter[str] = Counter()  # how often each command was used
        self.monitors = Monitors(names, reader)
        teller = Teller(names, reader, self.sessions, self.monitors, now_ms)
        self.channels = teller.channels = Channels(
            names, reader, hub, spawn, teller.room_changed, now_ms
        )
        self.moving = teller.moving = self.channels.moving = Moving(names, reader, self.sessions, now_ms)
        self.moving.channels = self.channels
        self.metadata = teller.metadata = self.channels.metadata = Metadata(
            names, reader, self.sessions, self.monitors, media.links, spawn, RoomSettings(accounts)
        )
        self.metadata.channels = self.channels
        self.monitors.shown = self.metadata.show_user
        self.markers = self.channels.markers = ReadMarkers(names, reader, spawn)
        self.markers.channels = self.channels
        self.missed = self.channels.missed = Missed(reader, name_table, self.markers)
        hub.watch_all_rooms(self.markers.changed, messages=False)
        self.joining = Joining(spawn, call_later, self._entered)
        # Channels that are being made, by their folded names: done when there is one, or why there is none was said.
        self.making: dict[str, asyncio.Future[None]] = {}
        self.spawn = spawn
        self.host_changed = Hosts(names, accounts.vhosts, self.sessions, teller, now_ms).changed
        self.tell_realname = teller.tell_realname
        hub.watch_users(teller.user_changed)
        hub.watch_users(self._reported)

    @property
    def title(self) -> str:
        """The name of the network as clients show it."""
        return self.options.network or self.names.server

    def isupport(self) -> tuple[str, ...]:
        """What the server supports, as the tokens of RPL_ISUPPORT; one tuple for all connections."""
        options = self.options
        return isupport_tokens(
            self.title, self.media.links.upload_url, options.icon_url, options.vapid, guests=options.guests
        )

    async def _entered(self, session: IrcSession, room: RoomView, word: str, created: bool) -> None:
        """A room of another server is joined. Where the account was in it already, the session is let in here."""
        if room.encrypted:
            raise Refused(Refusal.ENCRYPTED)
        if is_space(room):
            await tell_children(session, room, session.notice)
            return
        await self.channels.enter(session, room)
        if created and session.live:
            with session.outbox.apart():
                tell_history(session, room, self.names.channel(room))

    # --- coming and going --------------------------------------------------------------------------------

    async def enter_joined_rooms(self, session: IrcSession) -> None:
        """Show a new session the rooms of its user: the most recent ones, up to the limit (MAPPING 4.2)."""
        await self.missed.begin(session)
        memberships = await self.reader.memberships(session.user_id)
        for room_id in [room_id for room_id, is_in in memberships.items() if is_in == "invite"]:
            await self._talk_along(session, room_id)
        views = [await self.reader.room(room_id) for room_id, is_in in memberships.items() if is_in == "join"]
        views.sort(key=lambda view: view.last_position, reverse=True)
        for view in reversed(views[: self.options.autojoin]):
            if replacement_of(view) is not None:
                # It may lead on, and where to may be for another server to say.
                self.spawn(self.moving.go_along(session, view))
                continue
            if READ_MARKER in session.caps:
                await self.markers.load(session.user_id, view.room_id)
            await self.channels.enter(session, view)
        await session.accounts.greetings.came(session.user_id)

    async def _talk_along(self, session: IrcSession, room_id: RoomId) -> None:
        """Somebody here wrote while there was no client to be written to: what was said is shown (MAPPING 15.5)."""
        done = await session.do(AcceptDirect(actor=session.user_id, room_id=room_id))
        if done.created and session.live:
            await self.channels.show_opened(session, await self.reader.room(room_id))

    def remove(self, session: IrcSession, reason: str) -> None:
        """The connection is gone. A guest quits everywhere; an account stays a member (MAPPING 4.5, 4.11)."""
        if not session.live:
            return
        if session.account.guest:
            self.names.gone.add(session.user_id)
            boxes = together(session.channels.values())
            self._tell_quit(session.user_id, session.mask, boxes, session.outbox, reason)
        self.channels.forget(session)
        self.monitors.forget(session)
        self.sessions.remove(session)
        self.operators.pop(session.id, None)
        if session.account.guest or not self.sessions.of(session.user_id):
            self.note_gone(session)
        if session.modes:
            mark(session, session.user_id)
        if self.operators:
            self.notify(Notice.CONNECTIONS, f"Client exiting: {session.mask} [{session.address}] ({reason})")
        if not session.account.guest and not self.sessions.of(session.user_id):
            self.missed.note(session.user_id)
        if session.account.guest:
            self.end_guest(session.user_id, reason.removeprefix(QUIT) or None)

    def guest_left(self, user_id: UserId, mask: str, channels: Iterable[Channel], skip: IrcOutbox, reason: str) -> None:
        """The guest that a session was before it logged in quits `channels`.

        To others it is gone at once: who shows up under its nick next is another. In the rooms it stays until
        `end_guest`, so that they outlive the change.
        """
        self.names.gone.add(user_id)
        channels = list(channels)
        for channel in channels:
            channel.member_went(user_id)
        self._tell_quit(user_id, mask, together(channels), skip, reason)

    def change_user(self, session: IrcSession, user_id: UserId) -> None:
        """A session goes on as another user, in no room yet."""
        self.channels.forget(session)
        session.direct = {}
        if session.operator is not None:
            before = session.modes
            set_operator(session, None)
            tell_changed(session, before)
        former = session.user_id
        self.sessions.change_user(session, user_id)
        if session.modes:
            mark(session, former)
            mark(session, user_id)

    def end_guest(self, user_id: UserId, reason: str | None = None) -> None:
        """Take a guest that was told to have quit out of its rooms, for this reason (MAPPING 4.11)."""
        self.spawn(self._end_guest(user_id, reason))

    async def _end_guest(self, user_id: UserId, reason: str | None) -> None:
        try:
            await self.accounts.end_guest(user_id, reason)
        finally:
            self.names.gone.discard(user_id)
            self.names.forget(user_id)

    def _tell_quit(self, user_id: UserId, mask: str, boxes: Boxes, skip: IrcOutbox, reason: str) -> None:
        line, who = fitted(f":{mask} QUIT", reason), self.names.who(user_id)
        spread(Outgoing([line], ts_ms=self.now_ms(), who=who), boxes, skip)

    def note_gone(self, session: IrcSession) -> None:
        """Somebody has gone, or goes by another nick: WHOWAS knows."""
        user_id, guest = session.user_id, session.account.guest
        username, host = self.names.username_and_host(user_id)
        realname = one_line(session.negotiation.realname) if guest else ""
        nick, account = self.names.nick(user_id), None if guest else user_id
        self.whowas.add(Was(nick, username, host, realname, self.now_ms(), account))

    async def realname(self, user_id: UserId) -> str:
        """What stands where IRC has the real name: what somebody is called everywhere, whatever a room has.

        spec: docs/mapping.md 2.3, 2.5. Of other servers' users it is what a room that is heard here calls them.
        """
        if server_of(user_id) == self.names.server:
            return self.names.realname(user_id, (await self.reader.profile(user_id)).get("displayname"))
        return self.names.realname(user_id, (await self.metadata.of_user(user_id)).get(NAME))

    def notify(self, kind: Notice, text: str) -> None:
        """Tell the operators who want to hear of such things (MODE +s)."""
        for operator in list(self.operators.values()):
            if kind.value in operator.notices:
                line = fitted(f":{self.names.server} NOTICE {operator.nick}", f"*** {text}")
                operator.tell(Outgoing([line], ts_ms=self.now_ms()))

    def _reported(self, change: UserChange) -> None:
        """spec: docs/mapping.md 9.13"""
        if isinstance(change, Reported):
            reason = f": {one_line(change.reason)}" if change.reason else ""
            self.notify(Notice.ABUSE, f"{self.names.nick(change.user_id)} reports {change.about}{reason}")

    # --- finding -----------------------------------------------------------------------------------------

    async def find_room(self, word: str, user_id: UserId) -> RoomId | None:
        """The room of this name, whoever is in it. No other server is asked.

        A room of another server is found if somebody here hears it, or by the names of those that the user is in.
        """
        channel = self.channels.named(word)
        if channel is not None and replacement_of(channel.room) is None:
            return channel.room_id  # nearly always
        room_id = await self._named(word, user_id)
        try:
            # Where it was replaced its name means the room that took its place.
            return None if room_id is None else await self.reader.newest(room_id)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            return room_id

    async def _named(self, word: str, user_id: UserId) -> RoomId | None:
        channel = self.channels.named(word)
        if channel is not None:
            return channel.room_id
        slug = self.names.slug_room(word)
        if slug is not None:
            return slug
        alias = self.alias_named(word)
        if alias is None:
            return None
        if server_of(alias) != self.names.server:
            return await self.reader.own_room(user_id, alias)
        return await self.reader.resolve_alias(alias)

    def alias_named(self, word: str) -> RoomAlias | None:
        """The room alias that a channel name means."""
        alias = self.names.alias(word)
        if alias is None:
            return None
        localpart, _, server = alias[1:].partition(":")
        try:
            if server == self.names.server:
                alias = f"#{fold_alias_localpart(localpart)}:{server}"
            return parse_room_alias(alias)
        except PeerError:
            return None

    async def find_user(self, word: str) -> UserId | None:
        """Who has this nick: somebody seen before, an account, or a remote user by his literal nick."""
        user_id = self.names.user(word)
        if user_id is not None and user_id not in self.names.gone:
            return user_id
        localpart, colon, server = word.partition(":")
        if colon:
            return self._remote_user(localpart, server, word)
        server = self.names.server
        user_id = self.names.local_user(word) if is_nick(word) else foreign_user(word, server)
        if user_id is None:
            return None
        account = await self.accounts.account(user_id) if await self.accounts.is_local_user(user_id) else None
        return user_id if account is not None and not account.guest else None

    def _remote_user(self, localpart: str, server: str, word: str) -> UserId | None:
        try:
            user_id = parse_user_id(f"@{localpart}:{server}")
        except PeerError:
            return None
        # A name that nobody here has seen is not remembered: anybody could fill memory with them.
        return user_id if nick_of(user_id, self.names.server) == word else None
