"""What was said before, as lines to one client: for CHATHISTORY, and for clients without it when they attach.

spec: docs/mapping.md 1.9 (guests who are gone), 14.1, 14.4.  Read next: commands/history.py, missed.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tripoint.core.ids import RoomId, UserId
from tripoint.irc.events import spoken_to
from tripoint.irc.messages import TYPING_TAGS
from tripoint.rooms.history import HistoryItem

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession

Tagged = tuple[str, list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Place:
    """A room as the asking client knows it: a channel, or the direct room with `peer`, named by his nick."""

    room_id: RoomId
    name: str
    peer: UserId | None = None


def said_lines(
    session: IrcSession, place: Place, item: HistoryItem, mask: str | None, *, stamped: bool = False
) -> list[Tagged]:
    """The lines of one message; none if it says nothing. `stamped`: with the time in the text."""
    target = place.name
    if place.peer is not None and item.event.sender != session.user_id:
        target = session.nick
    stamp = _clock(item.event.origin_server_ts) if stamped else ""
    room = session.reader.peek(place.room_id)
    said = spoken_to(session.names, item.event, target, mask, room, stamp)
    lines = [line for out in said for line in out.lines(session.audience)]
    return [(body, [tag for tag in tags if tag[0] not in TYPING_TAGS]) for body, tags in lines]


def former_mask(session: IrcSession, item: HistoryItem, displayname: str | None) -> str | None:
    """Guests take their nicks along when they go (docs/mapping.md 1.9); history still knows them."""
    sender = item.event.sender
    return session.names.past_guest_mask(sender, displayname) if session.names.is_past_guest(sender) else None


def _clock(ts_ms: int) -> str:
    """``[HH:MM] ``, UTC."""
    try:
        return datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("[%H:%M] ")
    except (OverflowError, OSError, ValueError):
        return ""  # a remote server can date its events as it likes
