"""How far a user has read, for MARKREAD: the event that his newest read marker stands at, by its time.

Read state is private and one for all protocols (docs/mapping.md 13.3): whatever client moves it, all are told. On IRC
it goes forward alone.  spec: IRCv3 read-marker.  Read next: commands/markread.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.irc.channel import Channel
from tripoint.irc.projection import Names
from tripoint.irc.render import server_time
from tripoint.irc.wire import seal
from tripoint.rooms.changes import ReceiptMoved, RoomChange
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal, Refused

if TYPE_CHECKING:
    from tripoint.irc.entrance import Channels, Spawn
    from tripoint.irc.session import IrcSession

CAPABILITY: Final = "draft/read-marker"
# Kinds of receipts that say what their owner has read.
KINDS: Final = ("m.read", "m.read.private", "m.fully_read")
_REMEMBERED: Final = 50_000

_Key = tuple[UserId, RoomId]


class ReadMarkers:
    """Markers of users who are here, as times in ms since 1970; None where nothing was read yet."""

    def __init__(self, names: Names, reader: RoomReader, spawn: Spawn) -> None:
        self._names = names
        self._reader = reader
        self._spawn = spawn
        self._known: OrderedDict[_Key, int | None] = OrderedDict()
        self.channels: Channels

    async def load(self, user_id: UserId, room_id: RoomId) -> int | None:
        """The marker of a user in a room. Raises Refused(NO_SUCH_ROOM)."""
        key = (user_id, room_id)
        if key not in self._known:
            newest: int | None = None
            for receipt in await self._reader.own_receipts(room_id, user_id):
                if _counts(receipt.kind, receipt.thread_id):
                    newest = _later(newest, await self._time_of(room_id, receipt.event_id, user_id))
            self._keep(key, _later(self._known.get(key), newest))
        return self._known.get(key)

    def keep(self, user_id: UserId, room_id: RoomId, ts_ms: int | None) -> None:
        """The marker stands here now, and who moved it tells it."""
        self._keep((user_id, room_id), ts_ms)

    def _keep(self, key: _Key, ts_ms: int | None) -> None:
        self._known[key] = ts_ms
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def _time_of(self, room_id: RoomId, event_id: EventId, viewer: UserId) -> int | None:
        try:
            return (await self._reader.event(room_id, event_id, viewer)).event.origin_server_ts
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_EVENT:
                raise
            return None

    # --- telling -----------------------------------------------------------------------------------------

    def changed(self, change: RoomChange) -> None:
        """A receipt moved, by whatever client. What nobody here asks for is not remembered."""
        if type(change) is not ReceiptMoved or not _counts(change.kind, change.thread_id):
            return
        channel = self.channels.get(change.room_id)
        sessions = () if channel is None else channel.sessions.values()
        if channel is None or not any(s.user_id == change.user_id and CAPABILITY in s.caps for s in sessions):
            self._known.pop((change.user_id, change.room_id), None)
        else:
            self._spawn(self._moved(channel, change))

    async def _moved(self, channel: Channel, change: ReceiptMoved) -> None:
        key = (change.user_id, change.room_id)
        if key not in self._known:
            ts_ms = await self.load(*key)
        else:
            ts_ms = await self._time_of(change.room_id, change.event_id, change.user_id)
            before = self._known.get(key)
            if before is not None and ts_ms is not None and ts_ms <= before:
                return  # spec: read-marker: it only ever increases
            if ts_ms is not None:
                self._keep(key, ts_ms)
        if ts_ms is not None:
            self.tell(channel.sessions.values(), channel, change.user_id, ts_ms)

    def tell(self, sessions: Iterable[IrcSession], channel: Channel, user_id: UserId, ts_ms: int | None) -> None:
        """MARKREAD to those of the user's sessions that asked for it."""
        for session in sessions:
            if session.user_id == user_id and CAPABILITY in session.caps:
                session.outbox.send(seal(self.line(self.target(session, channel), ts_ms)))

    def show(self, session: IrcSession, channel: Channel, *, own: bool) -> None:
        """MARKREAD behind a JOIN.  spec: IRCv3 read-marker: before the end of the NAMES; docs/mapping.md 5.1

        Where the marker is not known yet it is none for now, and told when it is.
        """
        if CAPABILITY not in session.caps:
            return
        key = (session.user_id, channel.room_id)
        session.shown(self.line(channel.name, self._known.get(key)), own=own)
        if key not in self._known:
            self._spawn(self._show_later(session, channel))

    async def _show_later(self, session: IrcSession, channel: Channel) -> None:
        ts_ms = await self.load(session.user_id, channel.room_id)
        if ts_ms is not None and session.id in channel.sessions:
            self.tell((session,), channel, session.user_id, ts_ms)

    def target(self, session: IrcSession, channel: Channel) -> str:
        """What a client calls a room: a channel, or the other one of the two."""
        if not channel.direct:
            return channel.name
        others = [user_id for user_id in channel.room.joined() if user_id != session.user_id]
        return self._names.nick(others[0] if others else session.user_id)

    def line(self, target: str, ts_ms: int | None) -> str:
        """The body of a MARKREAD of the server."""
        at = "*" if ts_ms is None else f"timestamp={server_time(ts_ms)}"
        return f":{self._names.server} MARKREAD {target} {at}"


def _counts(kind: str, thread_id: str | None) -> bool:
    return kind in KINDS and thread_id in (None, "main")


def _later(one: int | None, other: int | None) -> int | None:
    return max((ts_ms for ts_ms in (one, other) if ts_ms is not None), default=None)
