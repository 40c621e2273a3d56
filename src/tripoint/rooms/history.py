"""One history query for all protocols: /messages, CHATHISTORY and MAM are three forms of it.

spec: docs/mapping.md 14.1, 14.2. Which events a viewer may see is visibility.py; reading them is service.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from tripoint.core.event import Event
from tripoint.core.glob import glob_match
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.in_words import is_spoken

# A position below every event, those of the fetched past too (backfill.py): the beginning of a room.
BEGINNING = -(2**62)


class Direction(Enum):
    BACKWARD = "backward"  # from the anchor into the past; results newest first
    FORWARD = "forward"  # from the anchor towards now; results oldest first
    AROUND = "around"  # half before, half after the anchor, oldest first; an event anchor itself included


class ByPosition(Struct, frozen=True, tag=True):
    """Between events: `position` itself is behind a forward reader and before a backward one.

    A backward query from position p returns events with position <= p; a forward one those with position > p.
    """

    position: int


class ByEvent(Struct, frozen=True, tag=True):
    """An event; it is not part of a forward or backward result."""

    event_id: EventId


class ByTime(Struct, frozen=True, tag=True):
    """Milliseconds since 1970, by origin_server_ts."""

    ts_ms: int


Anchor = ByPosition | ByEvent | ByTime


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """A page of a room's history as `viewer` may see it.

    `anchor` None is now (backward) or the beginning (forward). `until` ends the page before that anchor.
    `types` None means all, with `spoken` none besides what says something (core/in_words.py); `not_types` and `senders`
    narrow further. `says`: only what has these words (core/words.py), of what is here. `limit` counts what is returned.
    """

    room_id: RoomId
    viewer: UserId
    direction: Direction
    anchor: Anchor | None = None
    until: Anchor | None = None
    limit: int = 20
    types: tuple[str, ...] | None = None
    spoken: bool = False
    not_types: tuple[str, ...] = ()
    senders: tuple[UserId, ...] | None = None
    not_senders: tuple[UserId, ...] = ()
    contains_url: bool | None = None
    says: str | None = None
    only_here: bool = False  # what this server does not have is asked of nobody
    # Fill HistoryItem.replaced, which costs a look-up per state event, and membership.
    with_replaced: bool = False


class HistoryItem(Struct, frozen=True):
    """An event of a page. `token` is the Origin.token that was kept with it (`keep`); `replaced` the state
    event that stood under the same key before; `redacted_because` the redaction, if it was redacted. `membership`: what
    the reader was in the room then, where that was looked up."""

    position: int
    event: Event
    token: str | None = None
    replaced: Event | None = None
    redacted_because: Event | None = None
    membership: str | None = None


class HistoryPage(Struct, frozen=True):
    """`start` and `end` are positions to page on from (ByPosition); `end` None: nothing more that way."""

    items: tuple[HistoryItem, ...]
    start: int
    end: int | None
    complete: bool = True  # False: history that this server does not hold lies beyond


class SearchQuery(Struct, frozen=True, kw_only=True):
    """What has these words (core/words.py) in all rooms where `viewer` is or was, as far as he may see it.

    `keys`: core/searchable.py; `rooms` None: all. `ranked`: what answers best first, else the newest. `start`: where
    the page before ended. Rooms that are encrypted are left out.
    spec: client-server search; docs/mapping.md 14.5
    """

    viewer: UserId
    text: str
    keys: tuple[str, ...]
    rooms: tuple[RoomId, ...] | None = None
    not_rooms: tuple[RoomId, ...] = ()
    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()
    senders: tuple[UserId, ...] | None = None
    not_senders: tuple[UserId, ...] = ()
    contains_url: bool | None = None
    after_ts_ms: int | None = None
    before_ts_ms: int | None = None
    ranked: bool = False
    start: int | None = None
    limit: int = 10


class Hit(Struct, frozen=True):
    """An event that answers; `rank`: the higher, the better."""

    room_id: RoomId
    item: HistoryItem
    rank: float


class SearchPage(Struct, frozen=True):
    """`count` is about how many there are in all; `end`: the `start` of the next page, None: there is none.
    `highlights`: the words as they stand in what was found."""

    hits: tuple[Hit, ...]
    count: int
    end: int | None
    highlights: tuple[str, ...]


class Thread(Struct, frozen=True):
    """What a thread's root says of it. `latest_bundle` is what goes with the latest event."""

    latest: HistoryItem
    latest_bundle: Bundle | None
    count: int
    participated: bool


class Bundle(Struct, frozen=True):
    """What of an event's children goes with it, for one reader."""

    replacement: Event | None = None
    references: tuple[EventId, ...] = ()
    thread: Thread | None = None


class RelationsQuery(Struct, frozen=True, kw_only=True):
    """Children of an event, from `start` on; `rel_type` and `type` None: all. Positions as in history.ByPosition."""

    room_id: RoomId
    event_id: EventId
    viewer: UserId
    rel_type: str | None = None
    type: str | None = None
    backward: bool = True
    start: int | None = None
    end: int | None = None
    limit: int = 50
    recurse: bool = False


class ThreadsQuery(Struct, frozen=True, kw_only=True):
    """Roots of the threads of a room, the one that was written in last first."""

    room_id: RoomId
    viewer: UserId
    participated: bool = False
    start: int | None = None
    limit: int = 20


class ThreadUpdatesQuery(Struct, frozen=True, kw_only=True):
    """Threads with something new at after < position <= upto, in all rooms that `viewer` is joined to, the one that was
    written in last first.

    `end`: those that are written in at upto < position <= end were on a page before this one. `rooms`: where alone
    something is new, and the newest position of it; None: anywhere. `shown`: events that the viewer has got otherwise;
    a thread with nothing but these is left out.
    """

    viewer: UserId
    after: int
    upto: int
    end: int
    limit: int = 100
    rooms: Mapping[RoomId, int] | None = None
    shown: Mapping[RoomId, frozenset[EventId]] = {}


class ThreadUpdate(Struct, frozen=True):
    """`root` None: the viewer may not see it, or it is not here. `prior`: the position of what is new in the thread
    before its latest event, if there is any."""

    room_id: RoomId
    root_id: EventId
    root: HistoryItem | None
    prior: int | None


class ThreadUpdates(Struct, frozen=True):
    """A page of them; `end`: the `upto` of the next one, None: there is none."""

    updates: tuple[ThreadUpdate, ...]
    end: int | None


def matches(query: HistoryQuery | SearchQuery, event: Event) -> bool:
    """spec: client-server RoomEventFilter."""
    spoken = isinstance(query, HistoryQuery) and query.spoken
    if query.types is not None or spoken:
        said = spoken and is_spoken(event)
        if not said and not any(glob_match(pattern, event.type) for pattern in query.types or ()):
            return False
    if any(glob_match(pattern, event.type) for pattern in query.not_types):
        return False
    if query.senders is not None and event.sender not in query.senders:
        return False
    if event.sender in query.not_senders:
        return False
    if query.contains_url is not None:
        return isinstance(event.content.get("url"), str) == query.contains_url
    return True
