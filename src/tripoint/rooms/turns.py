"""One at a time: whoever changes a room by what another server says waits for its turn in that room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tripoint.core.ids import RoomId


class Turns:
    """A lock for each room, kept while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, room_id: RoomId) -> AsyncIterator[None]:
        """Hold the room; the others come after in the order in which they asked."""
        lock, holders = self._rooms.get(room_id, (None, 0))
        if lock is None:
            lock = asyncio.Lock()
        self._rooms[room_id] = (lock, holders + 1)
        try:
            async with lock:
                yield
        finally:
            lock, holders = self._rooms[room_id]
            if holders == 1:
                del self._rooms[room_id]
            else:
                self._rooms[room_id] = (lock, holders - 1)
