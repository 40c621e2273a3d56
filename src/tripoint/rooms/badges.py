"""How much somebody has not read in all rooms together, for the badges of clients that are told by push.

Counted once for each user who is told anything, then room by room as something happens there: a push to somebody in
hundreds of rooms looks at one of them.
spec: Matrix push-gateway-api, `counts`; docs/decisions/push.md
"""

import asyncio
from collections import OrderedDict
from typing import Final

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused
from tripoint.rooms.unread import MARKS, Unreads
from tripoint.store.interface import MembershipRow, RoomStore

CACHED_USERS: Final = 10_000


class _Badge:
    """One user's: what is unread in rooms where anything is, and the rooms to look at again."""

    __slots__ = ("counts", "lock", "touched")

    def __init__(self) -> None:
        self.counts: dict[RoomId, int] | None = None
        self.touched: set[RoomId] = set()
        self.lock = asyncio.Lock()


class Badges:
    """touch() and forget() tell of what changes; total() counts."""

    def __init__(self, rooms: LoadedRooms, store: RoomStore, unreads: Unreads) -> None:
        self._rooms = rooms
        self._store = store
        self._unreads = unreads
        self._badges: OrderedDict[UserId, _Badge] = OrderedDict()

    def touch(self, user_id: UserId, room_id: RoomId) -> None:
        """Something happened to a user in a room, or in a room that he is in."""
        badge = self._badges.get(user_id)
        if badge is not None:
            badge.touched.add(room_id)

    def forget(self, user_id: UserId) -> None:
        """All may be otherwise: the user has other rules."""
        self._badges.pop(user_id, None)

    async def total(self, user_id: UserId) -> int:
        """How many messages a user has not read."""
        badge = self._badges.setdefault(user_id, _Badge())
        self._badges.move_to_end(user_id)
        if len(self._badges) > CACHED_USERS:
            self._badges.popitem(last=False)
        async with badge.lock:
            if badge.counts is None:
                badge.counts = await self._everywhere(user_id)
            while badge.touched:
                room_id = badge.touched.pop()
                count = await self._in(user_id, room_id)
                badge.counts.pop(room_id, None)
                if count:
                    badge.counts[room_id] = count
            return sum(badge.counts.values())

    async def _everywhere(self, user_id: UserId) -> dict[RoomId, int]:
        counts: dict[RoomId, int] = {}
        for row in await self._store.load_memberships(user_id):
            if row.membership == "join" and not await self._has_read_all(user_id, row):
                count = await self._in(user_id, row.room_id)
                if count:
                    counts[row.room_id] = count
            await asyncio.sleep(0)
        return counts

    async def _has_read_all(self, user_id: UserId, row: MembershipRow) -> bool:
        """Whether a receipt stands on the newest event: then the room need not be loaded to know it."""
        last = await self._store.load_last_position(row.room_key)
        for receipt in await self._store.load_own_receipts(row.room_key, user_id):
            if receipt.kind in MARKS and not receipt.thread_id:
                stored = await self._store.load_event(receipt.event_id)
                if stored is not None and stored.position == last:
                    return True
        return False

    async def _in(self, user_id: UserId, room_id: RoomId) -> int:
        try:
            room = await self._rooms.get(room_id)
            if room.membership(user_id) != "join":
                return 0
            return (await self._unreads.of(room_id, user_id)).together().notifications
        except Refused:
            return 0  # it was closed meanwhile
