"""Pages of what can be shown: the history query, read on until enough of it says something in a protocol.

Many events say nothing on IRC or XMPP (what was redacted, state, unknown types). A page that counted them would be
short or empty in the middle of a history, and clients take that for its end. So front ends page through here.
Visibility is applied below, in the reader. spec: docs/mapping.md 11.11, 14.1, 14.2. Read next: history.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec.structs import replace

from tripoint.core.ids import UserId
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import RoomReader, RoomView

T = TypeVar("T")

# What is read at once when the first look was not enough: not in steps of one through a quiet stretch.
_STEP = 50


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """`items` oldest first, whichever way was read. `more`: that way there is more to be shown.

    `complete` False: beyond lies history that this server could not get from others (docs/mapping.md 14.3).
    """

    items: tuple[T, ...]
    more: bool
    complete: bool = True


def _one(_: object) -> int:
    return 1


async def gather(
    reader: RoomReader,
    query: HistoryQuery,
    show: Callable[[HistoryItem], T | None],
    size: Callable[[T], int] = _one,
    prepare: Callable[[Sequence[HistoryItem]], Awaitable[None]] | None = None,
) -> Gathered[T]:
    """What `show` makes of a backward or forward query, up to `query.limit`; what it makes None of is left out.

    `size` is what one thing counts against the limit; a single one that is larger is still shown. A limit of 0
    only tells whether there is anything. `prepare` is awaited for events before they are shown. Raises Refused as
    RoomReader.history does.
    """
    limit, anchor = query.limit, query.anchor
    found: list[T] = []
    used = 0
    least = 1
    while True:
        step = replace(query, anchor=anchor, limit=max(least, limit - len(found) + 1))
        least = _STEP
        page = await reader.history(step)
        if prepare is not None:
            await prepare(page.items)
        for item in page.items:
            shown = show(item)
            if shown is None:
                continue
            used += size(shown)
            if used > limit and (found or not limit):
                return Gathered(_oldest_first(query, found), more=True)
            found.append(shown)
        if page.end is None or not page.complete:
            return Gathered(_oldest_first(query, found), more=False, complete=page.complete)
        anchor = ByPosition(page.end)
        # A long stretch without anything to show must not hold up everybody else.
        await asyncio.sleep(0)


def _oldest_first(query: HistoryQuery, found: list[T]) -> tuple[T, ...]:
    return tuple(reversed(found)) if query.direction is Direction.BACKWARD else tuple(found)


def may_ask_for_history(room: RoomView, user_id: UserId) -> bool:
    """Whether IRC and XMPP let a user ask at all; which events are then shown is decided at each of them.

    spec: docs/mapping.md 14.2; XEP-0313 6.1.2: only who may enter; IRCv3 chathistory "Security Considerations"
    """
    membership = room.membership(user_id)
    return membership == "join" or (membership != "ban" and room.history_visibility == "world_readable")
