"""How far one has read: MARKREAD.

spec: IRCv3 read-marker; docs/mapping.md 13.3: a time means the last event at or before it, the marker is private.
Others' clients hear nothing; one's own on all protocols do (tripoint/irc/markers.py).
"""

from __future__ import annotations

from tripoint.core.errors import PeerError
from tripoint.core.ids import EventId, RoomId
from tripoint.irc import numerics as n
from tripoint.irc.markers import CAPABILITY
from tripoint.irc.references import parse_time
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line
from tripoint.rooms.commands import SetReceipt
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery


@command("MARKREAD", spec="IRCv3 read-marker")
async def markread(session: IrcSession, line: Line) -> None:
    """MARKREAD <target> [timestamp=<time>]. Forwards only; the answer is where the marker stands."""
    if CAPABILITY not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "MARKREAD", f"Ask for the {CAPABILITY} capability first")
    if not line.param(0):
        raise Failed("NEED_MORE_PARAMS", text="Missing parameters")
    target = line.params[0]
    ts_ms = _time(line.params[1]) if len(line.params) > 1 else None
    name, room_id = await _place(session, target)
    stands: int | None = None
    if room_id is not None:
        markers = session.network.markers
        stands = await markers.load(session.user_id, room_id)
        if ts_ms is not None and (stands is None or ts_ms > stands):
            stands = await _move(session, room_id, ts_ms, stands)
    session.shown(session.network.markers.line(name, stands), own=True)


def _time(word: str) -> int:
    kind, _, value = word.partition("=")
    try:
        if kind != "timestamp":
            raise PeerError("Invalid timestamp")
        return parse_time(value)
    except PeerError as error:
        raise Failed("INVALID_PARAMS", echo(word), text=str(error)) from None


async def _place(session: IrcSession, target: str) -> tuple[str, RoomId | None]:
    """What is read, by its name; None where nothing was ever said to somebody."""
    try:
        if target.startswith("#"):
            channel = await session.channel_named(target)
            return channel.name, channel.room_id
        peer = await session.user_named(target)
    except IrcRefused as refused:
        # spec: read-marker "Errors and Warnings"
        raise Failed("INVALID_PARAMS", echo(target), text=refused.params[-1]) from None
    return session.names.nick(peer), await session.reader.direct_room(session.user_id, peer)


async def _move(session: IrcSession, room_id: RoomId, ts_ms: int, before: int | None) -> int | None:
    """Read up to a time. Where the marker stands then, which is where it was if nothing new was said until then."""
    item = await _last_at(session, room_id, ts_ms)
    at = None if item is None else item.event.origin_server_ts
    if item is None or at is None or (before is not None and at <= before):
        return before
    markers = session.network.markers
    markers.keep(session.user_id, room_id, at)
    try:
        for kind in ("m.read.private", "m.fully_read"):
            event_id = EventId(item.event.event_id)
            command = SetReceipt(actor=session.user_id, room_id=room_id, event_id=event_id, kind=kind)
            await session.do(command)
    except BaseException:
        markers.keep(session.user_id, room_id, before)
        raise
    channel = session.network.channels.get(room_id)
    if channel is not None:
        others = [other for other in channel.sessions.values() if other is not session]
        markers.tell(others, channel, session.user_id, at)
    return at


async def _last_at(session: IrcSession, room_id: RoomId, ts_ms: int) -> HistoryItem | None:
    position = await session.reader.position_before(room_id, ts_ms + 1)
    page = await session.reader.history(
        HistoryQuery(
            room_id=room_id,
            viewer=session.user_id,
            direction=Direction.BACKWARD,
            anchor=ByPosition(position),
            limit=1,
            only_here=True,
        )
    )
    return page.items[0] if page.items else None
