"""Threads in which something is new: what sliding sync tells of them, and the pages behind that. spec: MSC4360"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson
from msgspec import Struct

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.relations import child_of
from tripoint.matrix.errors import invalid
from tripoint.matrix.render import Own, Renderer
from tripoint.matrix.sync.tokens import page_token
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.history import BEGINNING, HistoryItem, ThreadUpdate, ThreadUpdates, ThreadUpdatesQuery
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.relating import THREAD

# spec: "Defaults to 100. Servers may impose a smaller limit than what is requested here."
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 100
# Rooms in whose threads was written most recently; of others the store is asked.
KEPT: Final = 50_000
_TOKEN: Final = re.compile(r"t(-?\d{1,18})\.(\d{1,18})\Z")


class ThreadPlace(Struct, frozen=True):
    """Where a page of thread updates begins. `end`: how far the stream had come at the first of its pages; what is
    written later is for the next sync."""

    upto: int
    end: int

    def text(self) -> str:
        return f"t{self.upto}.{self.end}"


def parse_place(text: str) -> ThreadPlace:
    """M_INVALID_PARAM for what is no such token."""
    match = _TOKEN.match(text)
    if match is None:
        raise invalid("from is a prev_batch of thread updates")
    return ThreadPlace(int(match[1]), int(match[2]))


class Threads:
    """Of all users. It hears of what is written, so that a sync in which nothing happened asks nobody."""

    def __init__(
        self, reader: RoomReader, renderer: Renderer, own: Callable[[Event, str], Own | None]
    ) -> None:
        self._reader = reader
        self._renderer = renderer
        self._own = own
        self._newest: OrderedDict[RoomId, int] = OrderedDict()
        # Of what is newer than this everything is kept.
        self._known_from = reader.stream_position().of()

    def room_changed(self, change: RoomChange) -> None:
        if not isinstance(change, EventCommitted) or change.only_for is not None:
            return
        related = child_of(change.event.content)
        if related is None or related[0] != THREAD:
            return
        self._newest[change.room_id] = change.position
        self._newest.move_to_end(change.room_id)
        if len(self._newest) > KEPT:
            self._known_from = max(self._known_from, self._newest.popitem(last=False)[1])

    async def since(
        self,
        user_id: UserId,
        after: int | None,
        upto: int,
        limit: int | None,
        shown: Mapping[RoomId, frozenset[EventId]],
    ) -> ThreadUpdates:
        """What is new since `after` (None: all), without what is `shown` otherwise."""
        rooms = None
        if after is not None and after >= self._known_from:
            rooms = self._written_since(after)
            if not rooms:
                return ThreadUpdates((), None)
        query = ThreadUpdatesQuery(
            viewer=user_id,
            after=BEGINNING if after is None else after,
            upto=upto,
            end=upto,
            limit=min(limit or DEFAULT_LIMIT, MAX_LIMIT),
            rooms=rooms,
            shown=shown,
        )
        return await self._reader.thread_updates(query)

    def _written_since(self, position: int) -> dict[RoomId, int]:
        found = {}
        for room_id in reversed(self._newest):
            if self._newest[room_id] <= position:
                break
            found[room_id] = self._newest[room_id]
        return found

    async def text(
        self, user_id: UserId, session: str, updates: Sequence[ThreadUpdate], *, roots: bool
    ) -> bytes:
        """The object of updates by room and thread. `session` is the device among the sessions of all protocols."""
        of_room: dict[RoomId, list[ThreadUpdate]] = {}
        for update in updates:
            of_room.setdefault(update.room_id, []).append(update)
        rooms = []
        for room_id, found in of_room.items():
            shown = await self._roots(user_id, session, room_id, found) if roots else {}
            threads = []
            for update in found:
                parts = []
                if update.root_id in shown:
                    parts.append(b'"thread_root":' + shown[update.root_id])
                if update.prior is not None:
                    parts.append(b'"prev_batch":"%s"' % page_token(update.prior).encode())
                threads.append(orjson.dumps(update.root_id) + b":{" + b",".join(parts) + b"}")
            rooms.append(orjson.dumps(room_id) + b":{" + b",".join(threads) + b"}")
        return b"{" + b",".join(rooms) + b"}"

    async def _roots(
        self, user_id: UserId, session: str, room_id: RoomId, updates: Sequence[ThreadUpdate]
    ) -> dict[EventId, bytes]:
        items: list[HistoryItem] = [update.root for update in updates if update.root is not None]
        bundles = await self._reader.bundles(room_id, user_id, items)
        return {
            item.event.event_id: self._renderer.history(
                item, self._own(item.event, session), bundles.get(item.event.event_id)
            )
            for item in items
        }
