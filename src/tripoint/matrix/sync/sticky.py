"""Sticky events in an answer: those that its timelines do not show, whatever lies between.

Of what happened since a token no more than MAX_EVENTS are told at once, the oldest first, and the next token says how
far they were; who comes into a room gets all that are sticky there.
spec: MSC4354 "Current /sync"
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.matrix.render import Renderer
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.sticky import Sticky

MAX_EVENTS: Final = 200
SECTION: Final = "msc4354_sticky"


class StickyNews(Struct, frozen=True):
    """What an answer tells, by room. `upto`: how far that is where more is left; None: all of it."""

    rooms: Mapping[RoomId, Sequence[Sticky]]
    upto: int | None


NOTHING: Final = StickyNews({}, None)


def sticky_news(
    reader: RoomReader,
    rooms: Mapping[RoomId, int],
    after: int,
    upto: int,
    limit: int = MAX_EVENTS,
) -> StickyNews:
    """What is sticky since `after` in these rooms, where somebody's membership was last written at a position: of those
    where that is since then all of it, and that does not count against `limit`. He may have been there before."""
    fresh: dict[RoomId, Sequence[Sticky]] = {}
    found: list[tuple[int, RoomId, Sticky]] = []
    for room_id in reader.sticky_rooms():
        entered = rooms.get(room_id)
        if entered is None:
            continue
        if entered > after:
            fresh[room_id] = reader.sticky_in(room_id, 0, upto)
        else:
            found += [(one.position, room_id, one) for one in reader.sticky_in(room_id, after, upto)]
    if not fresh and not found:
        return NOTHING
    found.sort(key=lambda entry: entry[0])
    told: dict[RoomId, list[Sticky]] = {}
    for _, room_id, one in found[:limit]:
        told.setdefault(room_id, []).append(one)
    return StickyNews({**fresh, **told}, found[limit - 1][0] if len(found) > limit else None)


def rendered(renderer: Renderer, items: Sequence[HistoryItem], shown: Collection[EventId]) -> list[bytes]:
    """These without what the timeline shows.

    spec: "If a sticky event appears in the timeline section [...] it MUST NOT be included" """
    return [renderer.timeline(item) for item in items if item.event.event_id not in shown]


async def sticky_items(
    reader: RoomReader, room_id: RoomId, viewer: UserId, news: StickyNews, after: int
) -> Sequence[HistoryItem]:
    """The events of a room's part, behind a position."""
    found = [one for one in news.rooms.get(room_id, ()) if one.position > after]
    return await reader.sticky_events(room_id, viewer, found) if found else ()
