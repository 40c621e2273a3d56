"""Sticky events that soft-failed are looked at again when their senders come or go.

Servers may see a kick and what was said at the same time in another order, and not all find the same allowed. Once they
agree on who is in the room they are to agree on what is sticky there: a message that would be allowed now is shown now.
One that was shown stays so. spec: MSC4354 "Soft-failure checks MUST be re-evaluated"
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.sticky import sticky_until_ms
from tripoint.rooms.changes import EventCommitted, RoomChange, StateReset
from tripoint.rooms.refusals import Refused
from tripoint.store.interface import RoomStore

log = structlog.get_logger()

MEMBER = "m.room.member"
# What is remembered to have failed, of all rooms: the oldest make room.
MAX_FAILED = 10_000


class Unfailing:
    """Hears of all rooms (`room_changed`), and of what soft-fails (`failed`). `again` looks at an event (accept.py)."""

    def __init__(
        self,
        store: RoomStore,
        again: Callable[[RoomId, EventId], Awaitable[bool]],
        now_ms: Callable[[], int],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._store = store
        self._again = again
        self._now_ms = now_ms
        self._report = report
        # (room, sender, event) -> until when; in the order in which they came.
        self._failed: dict[tuple[RoomId, UserId, EventId], int] = {}
        self._of: dict[tuple[RoomId, UserId], dict[EventId, None]] = {}
        self._todo: dict[tuple[RoomId, UserId], None] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take in what is on disk."""
        for row in await self._store.load_sticky(self._now_ms()):
            if row.position is None:
                self._keep(row.room_id, row.sender, row.event_id, row.until_ms)

    def failed(self, room_id: RoomId, event: Event) -> None:
        """An event soft-failed by what the room is now."""
        if event.sticky_ms is not None:
            until_ms = sticky_until_ms(event.sticky_ms, event.origin_server_ts, self._now_ms())
            self._keep(room_id, event.sender, event.event_id, until_ms)

    def room_changed(self, change: RoomChange) -> None:
        if not self._failed:
            return
        if isinstance(change, EventCommitted) and change.event.type == MEMBER:
            self._moved(change.room_id, change.event)
        elif isinstance(change, StateReset):
            for before, after in change.changed:
                self._moved(change.room_id, after or before)

    async def close(self) -> None:
        """What is not done is found again by the next change after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _keep(self, room_id: RoomId, sender: UserId, event_id: EventId, until_ms: int) -> None:
        now_ms = self._now_ms()
        for (old_room, old_sender, old_event), over_ms in list(self._failed.items()):
            if over_ms > now_ms and len(self._failed) < MAX_FAILED:
                break
            self._drop(old_room, old_sender, old_event)
        if until_ms > now_ms:
            self._failed[room_id, sender, event_id] = until_ms
            self._of.setdefault((room_id, sender), {})[event_id] = None

    def _drop(self, room_id: RoomId, sender: UserId, event_id: EventId) -> None:
        self._failed.pop((room_id, sender, event_id), None)
        events = self._of.get((room_id, sender), {})
        events.pop(event_id, None)
        if not events:
            self._of.pop((room_id, sender), None)

    def _moved(self, room_id: RoomId, event: Event | None) -> None:
        if event is None or event.type != MEMBER or event.state_key is None:
            return
        key = (room_id, UserId(event.state_key))
        if key in self._of:
            self._todo[key] = None
            if self._task is None or self._task.done():
                self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while self._todo:
            key = next(iter(self._todo))
            del self._todo[key]
            for event_id in list(self._of.get(key, ())):
                # It may have been dropped while another one was looked at.
                if self._failed.get((*key, event_id), 0) <= self._now_ms():
                    self._drop(*key, event_id)
                    continue
                try:
                    shown = await self._again(key[0], event_id)
                except Refused as refused:
                    # A disk that is full, a room that is gone: the next change finds it.
                    log.warning("sticky.not_looked_at", room_id=key[0], refusal=refused.refusal.name)
                    break
                except Exception as error:  # the others go on; the bug is told
                    self._report("sticky.unfailing", error)
                    break
                if shown:
                    self._drop(*key, event_id)
