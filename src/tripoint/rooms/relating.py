"""Events that are about other events: what is asked of them, and what of them goes with the event that they are about.

A child counts where its reader may see it and has not blocked its writer. How many children there are is one question
to the store for a whole page; only where the history of a room is not all open to a reader is each of them looked at.
spec: Matrix client-server "Relationships between events", "Aggregations of child events", modules threading,
event-replacements, reference-relations
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from tripoint.core.event import Event, redact
from tripoint.core.ids import EventId, UserId
from tripoint.core.relations import child_of
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.history import Bundle, HistoryItem, HistoryPage, RelationsQuery, Thread, ThreadsQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.visibility import Sight
from tripoint.store.interface import RelationCount, RelationRow, RoomStore, StoredEvent

THREAD: Final = "m.thread"
REPLACE: Final = "m.replace"
REFERENCE: Final = "m.reference"
_BUNDLED: Final = frozenset({THREAD, REPLACE, REFERENCE})
# Steps from an event to what is about what is about it.  spec: GET /relations `recurse`: at least 3
DEPTH: Final = 3
# Events that a question goes over, and children that are looked at one by one.
MAX_TARGETS: Final = 500
MAX_CHILDREN: Final = 500
MAX_SCAN: Final = 2000
# Edits of one message of which the newest is sought, and references that go with an event.
MAX_EDITS: Final = 50
MAX_REFERENCES: Final = 100
_CHUNK: Final = 200
_END: Final = 2**62


class Relating:
    """Part of reader.Reader: `sight` and `item` are its own."""

    def __init__(
        self,
        store: RoomStore,
        blocks: Blocks,
        sight: Callable[[Room, UserId], Awaitable[Sight]],
        item: Callable[[Room, StoredEvent], Awaitable[HistoryItem]],
    ) -> None:
        self._store = store
        self._blocks = blocks
        self._sight = sight
        self._item = item

    # -- what goes with events

    async def bundles(self, room: Room, viewer: UserId, items: Sequence[HistoryItem]) -> Mapping[EventId, Bundle]:
        """The bundles of those of `items` that have one. State has none."""
        said = {item.event.event_id: item for item in items if item.event.state_key is None}
        if not said:
            return {}
        without = sorted(self._blocks.of(viewer).users)
        counts = await self._store.load_relation_counts(room.room_key, list(said), without)
        counts = [count for count in counts if count.rel_type in _BUNDLED]
        if not counts:
            return {}
        look = _Look(self, room, viewer, await self._sight(room, viewer), frozenset(without))
        threads = [count.target for count in counts if count.rel_type == THREAD]
        taken_part = await self._took_part(room, viewer, threads)
        found: dict[EventId, Bundle] = {}
        for count in counts:
            bundle = await look.bundle(said[count.target], count, count.target in taken_part)
            if bundle is not None:
                before = found.get(count.target)
                found[count.target] = bundle if before is None else _together(before, bundle)
        return found

    async def _took_part(self, room: Room, viewer: UserId, roots: Sequence[EventId]) -> frozenset[EventId]:
        if not roots:
            return frozenset()
        return await self._store.load_related_by(room.room_key, roots, THREAD, viewer)

    # -- questions

    async def relations(self, room: Room, query: RelationsQuery) -> HistoryPage:
        """What is about an event that the viewer may see. Refused(NO_SUCH_EVENT)."""
        sight = await self._sight(room, query.viewer)
        await self._visible(room, sight, query.event_id)
        targets = [query.event_id]
        if query.recurse:
            targets = await self._all_about(room, query.event_id)
        low, high = room.oldest, _END
        if query.backward:
            high = high if query.start is None else query.start
            low = low if query.end is None else max(low, query.end)
        else:
            low = low if query.start is None else max(low, query.start)
            high = high if query.end is None else query.end
        look = _Look(self, room, query.viewer, sight, frozenset(self._blocks.of(query.viewer).users))
        items: list[HistoryItem] = []
        begun, scanned = high if query.backward else low, 0
        while scanned < MAX_SCAN:
            rows = await self._store.load_relations(
                room.room_key,
                targets,
                rel_type=query.rel_type,
                after=low,
                upto=high,
                limit=_CHUNK,
                backward=query.backward,
            )
            scanned += len(rows)
            shown = await look.items([row for row in rows if query.type in (None, row.type)])
            for row in rows:
                if query.backward:
                    high = row.position - 1
                else:
                    low = row.position
                if row.event_key in shown:
                    items.append(shown[row.event_key])
                    if len(items) == query.limit:
                        return HistoryPage(tuple(items), begun, high if query.backward else low)
            if len(rows) < _CHUNK:
                return HistoryPage(tuple(items), begun, None)
        return HistoryPage(tuple(items), begun, high if query.backward else low)

    async def threads(self, room: Room, query: ThreadsQuery) -> HistoryPage:
        """The roots are the items; of one whose writer is blocked its redacted form. `end`: see ThreadsQuery.start."""
        sight = await self._sight(room, query.viewer)
        ignored = frozenset(self._blocks.of(query.viewer).users)
        upto = _END if query.start is None else query.start
        begun, scanned = upto, 0
        roots: dict[EventId, HistoryItem | None] = {}
        found: list[HistoryItem] = []
        while scanned < MAX_SCAN:
            rows = await self._store.load_room_relations(room.room_key, THREAD, upto=upto, limit=_CHUNK)
            scanned += len(rows)
            for row in rows:
                upto = row.position - 1
                if row.target in roots or row.sender in ignored:
                    continue
                await sight.reach(row.position)
                if not sight.may_see(row.position):
                    continue
                root = roots[row.target] = await self._root(room, query, sight, row, ignored)
                if root is not None:
                    found.append(root)
                    if len(found) == query.limit:
                        return HistoryPage(tuple(found), begun, upto)
            if len(rows) < _CHUNK:
                return HistoryPage(tuple(found), begun, None)
        return HistoryPage(tuple(found), begun, upto)

    async def _root(
        self, room: Room, query: ThreadsQuery, sight: Sight, row: RelationRow, ignored: frozenset[UserId]
    ) -> HistoryItem | None:
        """The root of a thread whose newest event this is; None where it is not for this page."""
        if query.start is not None:
            newer = await self._store.load_relations(
                room.room_key,
                [row.target],
                rel_type=THREAD,
                after=query.start,
                upto=_END,
                limit=MAX_CHILDREN,
                backward=True,
            )
            if any(one.sender not in ignored for one in newer):
                return None  # it was on a page before this one
        try:
            item = await self._visible(room, sight, row.target)
        except Refused:
            return None
        if child_of(item.event.content) is not None:
            return None  # spec: threading: what is about another event is no root
        taking_part = item.event.sender == query.viewer or not query.participated
        if not taking_part and not await self._took_part(room, query.viewer, [row.target]):
            return None
        if item.event.sender in ignored:
            return replace(item, event=redact(item.event))
        return item

    async def _all_about(self, room: Room, event_id: EventId) -> list[EventId]:
        """An event and what is about it, and about that, as far as DEPTH goes."""
        targets, level = [event_id], [event_id]
        for _ in range(DEPTH - 1):
            rows = await self._store.load_relations(
                room.room_key, level, after=room.oldest, upto=_END, limit=MAX_TARGETS, backward=True
            )
            stored = await self._store.load_events([row.event_key for row in rows])
            level = [one.event_id for one in stored.values() if one.event_id not in targets]
            targets += level[: MAX_TARGETS - len(targets)]
            if not level or len(targets) >= MAX_TARGETS:
                break
        return targets

    async def _visible(self, room: Room, sight: Sight, event_id: EventId) -> HistoryItem:
        stored = await self._store.load_event(event_id)
        if stored is None or stored.room_key != room.room_key or stored.position is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        await sight.reach(stored.place)
        if not sight.may_see(stored.place):
            raise Refused(Refusal.NO_SUCH_EVENT)
        return await self._item(room, stored)

    # -- for _Look

    async def load(self, keys: Sequence[int]) -> Mapping[int, StoredEvent]:
        return await self._store.load_events(keys)

    async def children(self, room: Room, target: EventId, rel_type: str, limit: int) -> Sequence[RelationRow]:
        return await self._store.load_relations(
            room.room_key, [target], rel_type=rel_type, after=room.oldest, upto=_END, limit=limit, backward=True
        )

    async def item(self, room: Room, stored: StoredEvent) -> HistoryItem:
        return await self._item(room, stored)


class _Look:
    """One reader's look at children of events of one room."""

    def __init__(
        self, of: Relating, room: Room, viewer: UserId, sight: Sight, ignored: frozenset[UserId]
    ) -> None:
        self._of = of
        self._room = room
        self._viewer = viewer
        self._sight = sight
        self._ignored = ignored

    async def items(self, rows: Sequence[RelationRow]) -> dict[int, HistoryItem]:
        """Those that may be seen, by their keys."""
        kept = []
        for row in rows:
            if row.sender in self._ignored:
                continue
            await self._sight.reach(row.position)
            if self._sight.may_see(row.position):
                kept.append(row.event_key)
        stored = await self._of.load(kept) if kept else {}
        return {key: await self._of.item(self._room, one) for key, one in stored.items()}

    async def bundle(self, item: HistoryItem, count: RelationCount, taken_part: bool) -> Bundle | None:
        if count.rel_type == REPLACE:
            newest = await self._replacement(item)
            return None if newest is None else Bundle(replacement=newest)
        if count.rel_type == REFERENCE:
            rows = await self._of.children(self._room, count.target, REFERENCE, MAX_REFERENCES)
            shown = await self.items(rows)
            ids = [shown[row.event_key].event.event_id for row in reversed(rows) if row.event_key in shown]
            return Bundle(references=tuple(ids)) if ids else None
        return await self._thread(item, count, taken_part)

    async def _thread(self, item: HistoryItem, count: RelationCount, taken_part: bool) -> Bundle | None:
        number, latest = count.count, await self._latest(count)
        if not self._sight.sees_all_from(item.position):
            rows = await self._of.children(self._room, count.target, THREAD, MAX_CHILDREN)
            shown = await self.items(rows)
            number = len(shown)
            latest = next((shown[row.event_key] for row in rows if row.event_key in shown), None)
        if latest is None or not number:
            return None
        own = await self._of.bundles(self._room, self._viewer, [latest])
        participated = taken_part or item.event.sender == self._viewer
        return Bundle(thread=Thread(latest, own.get(latest.event.event_id), number, participated))

    async def _latest(self, count: RelationCount) -> HistoryItem | None:
        stored = (await self._of.load([count.latest_key])).get(count.latest_key)
        return None if stored is None else await self._of.item(self._room, stored)

    async def _replacement(self, item: HistoryItem) -> Event | None:
        """The newest valid edit. spec: event-replacements "Validity of replacement events"."""
        original = item.event
        related = child_of(original.content)
        if item.redacted_because is not None or (related is not None and related[0] == REPLACE):
            return None
        rows = await self._of.children(self._room, original.event_id, REPLACE, MAX_EDITS)
        mine = [row for row in rows if row.sender == original.sender and row.type == original.type]
        edits = [found.event for found in (await self.items(mine)).values()]
        valid = [edit for edit in edits if edit.type == "m.room.encrypted" or "m.new_content" in edit.content]
        return max(valid, key=lambda edit: (edit.origin_server_ts, edit.event_id), default=None)


def _together(one: Bundle, other: Bundle) -> Bundle:
    return Bundle(
        one.replacement if other.replacement is None else other.replacement,
        one.references or other.references,
        one.thread if other.thread is None else other.thread,
    )
