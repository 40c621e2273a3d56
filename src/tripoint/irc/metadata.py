"""Metadata of users and channels: profiles and names of rooms, as keys and values, for who subscribes to them.

A user's keys are the fields of the profile, so they are the same on all protocols; those that only IRC has names for
stand among them under a name of the project's own. A channel's are what its room says of itself.
spec: IRCv3 metadata; docs/mapping.md 2.3, 8.11, 17.3.  Read next: commands/metadata.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import orjson

from tripoint.core.attachment import attachment_in
from tripoint.core.canonical_json import Json
from tripoint.core.ids import InvalidId, UserId, server_of
from tripoint.core.mxc import parse_mxc
from tripoint.core.profile import is_profile_key
from tripoint.core.vendor import V
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.projection import Names
from tripoint.irc.render import server_line
from tripoint.irc.room_settings import RoomSettings
from tripoint.irc.sessions import Sessions
from tripoint.irc.wire import Unbuildable, build_tags, seal
from tripoint.media.ports import FileLinks
from tripoint.rooms.changes import AccountDataChanged, EventCommitted, ProfileChanged, RoomChange
from tripoint.rooms.ports import RoomReader

if TYPE_CHECKING:
    from tripoint.irc.entrance import Channels, Spawn
    from tripoint.irc.monitors import Monitors
    from tripoint.irc.session import IrcSession

CAPABILITY: Final = "draft/metadata-2"
# Members of whom a client is told at once when it enters a channel; in larger ones it asks.
SYNC_AT_ONCE: Final = 100
RETRY_AFTER_S: Final = 4
NAME: Final = "display-name"
AVATAR: Final = "avatar"
_SHOWN: Final = {NAME: "displayname", AVATAR: "avatar_url"}
_KEY: Final = re.compile(r"[a-z0-9_./-]{1,200}\Z")
ROOM_AVATAR: Final = "m.room.avatar"
# State of a room that is a key of its channel.
_ROOM_KEYS: Final = {"m.room.name": NAME, ROOM_AVATAR: AVATAR}
_OURS: Final = f"{V}.irc."
# How many people's profiles are read before others get their turn.
_AT_ONCE: Final = 50

Values = dict[str, str]


def is_key(word: str) -> bool:
    """Whether this is the name of a key.  spec: IRCv3 metadata, "Keys and Values"."""
    return _KEY.match(word) is not None


def field_of(key: str) -> str | None:
    """The profile's field that a key is; None for what a profile has no place for."""
    if key in _SHOWN:
        return _SHOWN[key]
    field = key if "." in key and key[0].isalpha() else f"{_OURS}{key}"
    return field if is_profile_key(field) else None


def key_of(field: str) -> str | None:
    """The key that a field of a profile is; None where IRC has no form for it."""
    for key, shown in _SHOWN.items():
        if shown == field:
            return key
    key = field.removeprefix(_OURS)
    return key if is_key(key) else None


def value_of(value: Json) -> str:
    """A field's value as text: what is no text as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class Metadata:
    """Reads metadata, and tells sessions of this process of changes."""

    def __init__(
        self,
        names: Names,
        reader: RoomReader,
        sessions: Sessions,
        monitors: Monitors,
        links: FileLinks,
        spawn: Spawn,
        settings: RoomSettings,
    ) -> None:
        self.settings = settings
        self._names = names
        self._reader = reader
        self._sessions = sessions
        self._monitors = monitors
        self._links = links
        self._spawn = spawn
        self.channels: Channels
        self._count = 0

    # --- reading -----------------------------------------------------------------------------------------

    async def of_user(self, user_id: UserId) -> Values:
        """A user's keys. Of other servers' users the name alone is known here, by the rooms that they are in."""
        if server_of(user_id) == self._names.server:
            profile = await self._reader.whole_profile(user_id)
            keyed = ((key_of(field), self._shown(user_id, field, value)) for field, value in profile.items())
            return {key: value for key, value in keyed if key is not None and value is not None}
        for channel in self.channels.all():
            member = channel.room.member(user_id)
            if member is not None and member.displayname is not None:
                return {NAME: member.displayname}
        return {}

    def _shown(self, user_id: UserId, field: str, value: Json) -> str | None:
        """A field's value as it is shown: a picture by an address that leads to it (docs/mapping.md 12.2)."""
        if field != "avatar_url":
            return value_of(value)
        try:
            return self._links.profile_url(user_id, parse_mxc(str(value)))
        except InvalidId:
            return None

    async def own_lines(self, session: IrcSession) -> list[str] | None:
        """METADATA lines of a client's own user, for its welcome; None where it has not asked for metadata."""
        if CAPABILITY not in session.caps:
            return None
        values = {} if session.account.guest else await self.of_user(session.user_id)
        server, nick = self._names.server, session.nick
        lines = [self.line(server, nick, key, value) for key, value in values.items()]
        return [line for line in lines if line is not None]

    def of_channel(self, channel: Channel) -> Values:
        """A channel's keys."""
        name, avatar = channel.room.name, channel.room.state.get((ROOM_AVATAR, ""))
        found = {} if name is None else {NAME: name}
        picture = None if avatar is None else attachment_in(avatar.content)
        if avatar is not None and picture is not None and picture.mxc is not None:
            url = self._links.url(avatar.event_id, picture)
            if url is not None:
                found[AVATAR] = url
        return found

    async def of_channel_for(self, session: IrcSession, channel: Channel) -> Values:
        """A channel's keys, and what a client's own user has set about it."""
        found = self.of_channel(channel)
        if not session.account.guest:
            found.update(await self.settings.of(session.user_id, channel.room_id))
        return found

    # --- telling -----------------------------------------------------------------------------------------

    def line(self, source: str, target: str, key: str, value: str) -> str | None:
        """The body of a METADATA; a value that is too long for it is cut.  None where even that has no room."""
        try:
            return server_line(source, "METADATA", (target, key, "*", value))
        except Unbuildable:
            return None

    async def synced(self, session: IrcSession, channel: Channel, keys: Iterable[str]) -> list[str]:
        """METADATA lines of a channel and of who is shown in it, for these keys."""
        wanted, server = set(keys), self._names.server
        found = [(channel.name, await self.of_channel_for(session, channel))]
        for number, user_id in enumerate(list(channel.room.joined())):
            if channel.shows(user_id):
                found.append((self._names.nick(user_id), await self.of_user(user_id)))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        lines = [
            self.line(server, target, key, value)
            for target, values in found
            for key, value in values.items()
            if key in wanted
        ]
        return [line for line in lines if line is not None]

    def show(self, session: IrcSession, channel: Channel) -> None:
        """What a client is told of a channel that it enters, later than the rest of it."""
        if CAPABILITY in session.caps and session.subscribed:
            self._spawn(self.show_later(session, channel, frozenset(session.subscribed)))

    async def show_later(self, session: IrcSession, channel: Channel, keys: frozenset[str]) -> None:
        """The same, for these keys; in a large channel it is asked to come again: "Postponed synchronization"."""
        if channel.room.joined_count() > SYNC_AT_ONCE:
            later = (session.nick, channel.name, str(RETRY_AFTER_S))
            body = " ".join([f":{self._names.server}", n.RPL_METADATASYNCLATER, *later])
            session.outbox.send(seal(body))
            return
        lines = await self.synced(session, channel, keys)
        if session.id in channel.sessions:
            self.send_batch(session, channel.name, lines)

    def show_user(self, session: IrcSession, user_id: UserId, keys: Iterable[str] | None = None) -> None:
        """What a client is told of somebody whom it watches and who is here: of all its keys, or of these.

        spec: IRCv3 metadata "Notifications"
        """
        if CAPABILITY in session.caps and session.subscribed:
            self._spawn(self._show_user(session, user_id, tuple(session.subscribed if keys is None else keys)))

    def show_watched(self, session: IrcSession, keys: Iterable[str]) -> None:
        """The same of everybody whom it watches and shares no channel with: those it is shown with the channel."""
        shared = [channel for channel in session.channels.values() if not channel.direct]
        here = dict.fromkeys(self._monitors.user_here(nick) for nick in session.monitored.values())
        for user_id in here:
            if user_id is None or any(user_id in one.room.joined() and one.shows(user_id) for one in shared):
                continue
            self.show_user(session, user_id, keys)

    async def _show_user(self, session: IrcSession, user_id: UserId, keys: tuple[str, ...]) -> None:
        values, nick = await self.of_user(user_id), self._names.nick(user_id)
        made = [self.line(self._names.server, nick, key, values[key]) for key in keys if key in values]
        lines = [line for line in made if line is not None]
        if lines and session.live:
            self.send_batch(session, nick, lines)

    def send_batch(self, session: IrcSession, target: str, lines: list[str]) -> None:
        """Lines as a batch that answers nothing."""
        server = self._names.server
        if "batch" not in session.caps:
            session.outbox.send(b"".join([seal(line) for line in lines]))
            return
        self._count += 1
        name = f"md{self._count}"
        tags = build_tags([("batch", name)])
        whole = [seal(f":{server} BATCH +{name} metadata {target}"), *(seal(line, tags) for line in lines)]
        session.outbox.send(b"".join([*whole, seal(f":{server} BATCH -{name}")]))

    def profile_changed(self, change: ProfileChanged) -> None:
        """Tell who shares a channel with a user or watches him, and his other clients."""
        key = key_of(change.field)
        if key is None or self._names.is_our_guest(change.user_id):
            return
        shown = None if change.value is None else self._shown(change.user_id, change.field, change.value)
        value = shown or ""
        line = self.line(self._names.mask(change.user_id), self._names.nick(change.user_id), key, value)
        if line is None:
            return
        told: dict[str, IrcSession] = {session.id: session for session in self._sessions.of(change.user_id)}
        for room_id in self._reader.joined_rooms(change.user_id):
            channel = self.channels.get(room_id)
            if channel is not None and channel.shows(change.user_id):
                told.update(channel.sessions)
        told.update({session.id: session for session in self._monitors.watching(change.user_id)})
        for session in told.values():
            self._tell(session, key, line)

    def room_changed(self, channel: Channel, change: RoomChange) -> None:
        """Tell who is in a channel that it is called otherwise, or has another picture."""
        if not isinstance(change, EventCommitted) or channel.direct:
            return
        key = _ROOM_KEYS.get(change.event.type)
        if key is None:
            return
        value = self.of_channel(channel).get(key, "")
        line = self.line(self._names.mask(change.event.sender), channel.name, key, value)
        for session in channel.sessions.values() if line is not None else ():
            if change.origin is None or change.origin.session != session.id:
                self._tell(session, key, line or "")

    def account_data_changed(self, change: AccountDataChanged) -> None:
        """Tell a user's clients what he has set about a channel."""
        sessions = self._sessions.of(change.user_id)
        for room_id, key, value in self.settings.changed(change) if sessions else ():
            channel = self.channels.get(room_id)
            if channel is None or channel.direct:
                continue
            line = self.line(self._names.mask(change.user_id), channel.name, key, value)
            for session in sessions if line is not None else ():
                if session.id in channel.sessions:
                    self._tell(session, key, line or "")

    def _tell(self, session: IrcSession, key: str, line: str) -> None:
        if CAPABILITY in session.caps and key in session.subscribed and session.changing_metadata != key:
            session.outbox.send(seal(line))
