"""Typing, receipts and presence in a sync.

Typing and presence have a counter of their own (tokens.py); receipts have positions in the stream.
spec: Matrix client-server modules typing_notifications, receipts, presence
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import orjson

from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.changes import PresenceChanged, ReceiptMoved, TypingChanged
from tripoint.rooms.ports import Presence, Receipt, RoomReader

# Rooms whose receipts stay in memory; those of the others are read when they are asked for.
CACHED_ROOMS = 10_000

_ReceiptKey = tuple[UserId, str, str | None]


class Ephemera:
    """What syncs say of things that are not events. `started_at`: the stream's position at the start."""

    def __init__(self, reader: RoomReader, clock_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._clock_ms = clock_ms
        self.counter = 0
        self.presence_at = 0  # the counter when somebody's presence changed last
        self._started_at = reader.stream_position().of()
        self._typing: dict[RoomId, int] = {}
        self._receipts: dict[RoomId, OrderedDict[_ReceiptKey, Receipt]] = {}
        self._receipt_at: dict[RoomId, int] = {}
        self._presence: dict[UserId, int] = {}

    def typing_changed(self, change: TypingChanged) -> None:
        self.counter += 1
        self._typing.pop(change.room_id, None)
        self._typing[change.room_id] = self.counter

    def presence_changed(self, change: PresenceChanged) -> None:
        self.counter += 1
        self._presence.pop(change.user_id, None)
        self._presence[change.user_id] = self.presence_at = self.counter

    def receipt_moved(self, change: ReceiptMoved) -> None:
        self._receipt_at.pop(change.room_id, None)
        self._receipt_at[change.room_id] = change.position
        receipts = self._receipts.get(change.room_id)
        if receipts is None:
            return
        key = (change.user_id, change.kind, change.thread_id)
        receipts.pop(key, None)
        receipts[key] = Receipt(
            change.user_id, change.event_id, change.kind, change.thread_id, change.ts_ms, change.position
        )

    def changed(self, room_id: RoomId, position: int, counter: int) -> bool:
        """Whether of_room() may have something to say since this position of the stream and this counter."""
        if self._typing.get(room_id, 0) > counter:
            return True
        return self._receipt_at.get(room_id, self._started_at) > position

    async def of_room(
        self, room_id: RoomId, user_id: UserId, since: SyncToken | None, wanted: SyncFilter
    ) -> tuple[list[bytes], bytes | None]:
        """(ephemeral events, the user's own m.fully_read as account data)."""
        events = []
        typing_at = self._typing.get(room_id, 0)
        if typing_at > (since.ephemeral if since is not None else 0) and wanted.ephemeral.wants_type("m.typing"):
            typing = self.typing_in(room_id, user_id)
            if typing or since is not None:
                events.append(typing_event(typing))
        marker = None
        position = since.position if since is not None else 0
        if since is None or self._receipt_at.get(room_id, self._started_at) > position:
            found = await self.receipts_in(room_id, user_id, position)
            if wanted.ephemeral.wants_type("m.receipt"):
                events.extend(receipt_events(found, user_id))
            marker = marker_event(found, user_id)
        return events, marker

    def changed_rooms(self, position: int, counter: int, most: int) -> set[RoomId] | None:
        """Rooms of which changed() would be true; None where more than so many would have to be looked at.

        Only of a position since the start of this process.
        """
        found = set[RoomId]()
        for numbered, number in ((self._typing, counter), (self._receipt_at, position)):
            some = newer(numbered, number, most)
            if some is None:
                return None
            found.update(some)
        return found

    def typing_since(self, counter: int) -> list[RoomId]:
        """Rooms where somebody began or stopped to type after this."""
        return newer(self._typing, counter) or []

    def typing_in(self, room_id: RoomId, user_id: UserId) -> list[UserId]:
        """Who is typing, as far as a user is to hear of it."""
        return sorted(u for u in self._reader.typing(room_id) if not self._reader.blocks(user_id, u))

    def receipts_since(self, position: int) -> list[RoomId]:
        """Rooms where a receipt or marker of somebody moved after this position; since the start of this process."""
        return newer(self._receipt_at, position) or []

    def receipt_at(self, room_id: RoomId) -> int:
        """Where in the stream a receipt moved last in a room; 0 where none did since the start of this process."""
        return self._receipt_at.get(room_id, 0)

    async def receipts_in(self, room_id: RoomId, user_id: UserId, position: int) -> list[Receipt]:
        """The receipts of a room that moved after a position, but for those of people that a user has blocked."""
        receipts = await self._of_room(room_id)
        return [
            receipt
            for receipt in receipts.values()
            if receipt.position > position and not self._reader.blocks(user_id, receipt.user_id)
        ]

    async def _of_room(self, room_id: RoomId) -> OrderedDict[_ReceiptKey, Receipt]:
        receipts = self._receipts.get(room_id)
        while receipts is None:
            at = self._receipt_at.get(room_id)
            loaded = await self._reader.receipts(room_id)
            if self._receipt_at.get(room_id) != at:
                continue  # one moved while the others were being read
            receipts = OrderedDict(((r.user_id, r.kind, r.thread_id), r) for r in loaded)
            self._receipts[room_id] = receipts
            if len(self._receipts) > CACHED_ROOMS:
                del self._receipts[next(iter(self._receipts))]
        return receipts

    def presence(self, user_id: UserId, since: SyncToken | None, wanted: SyncFilter) -> list[bytes]:
        """Presence of people in the same rooms that changed since."""
        after = since.ephemeral if since is not None else 0
        newest = next(reversed(self._presence), None)
        # Asked in every answer, and nearly always nothing has happened: that is found out before filters are looked at.
        if newest is None or self._presence[newest] <= after or not wanted.presence.wants_type("m.presence"):
            return []
        events = []
        for other in reversed(self._presence):
            if self._presence[other] <= after:
                break
            if not wanted.presence.wants_sender(other) or self._reader.blocks(user_id, other):
                continue
            if other == user_id or self._reader.shares_room(user_id, other):
                events.append(self._presence_event(other))
        return events

    def _presence_event(self, user_id: UserId) -> bytes:
        return presence_event(user_id, self._reader.presence(user_id), self._clock_ms())


def presence_event(user_id: UserId, presence: Presence, now_ms: int) -> bytes:
    """spec: m.presence"""
    content: dict[str, object] = {
        "presence": presence.presence,
        "last_active_ago": max(0, now_ms - presence.last_active_ts_ms),
        "currently_active": presence.presence == "online",
    }
    if presence.status_msg is not None:
        content["status_msg"] = presence.status_msg
    return orjson.dumps({"type": "m.presence", "sender": user_id, "content": content})


def newer(numbered: dict[RoomId, int], number: int, most: int | None = None) -> list[RoomId] | None:
    """Those with a greater number, where the greatest are last; None where they are more than `most`."""
    found: list[RoomId] = []
    for room_id in reversed(numbered):
        if numbered[room_id] <= number:
            break
        if len(found) == most:
            return None
        found.append(room_id)
    return found


def typing_event(typing: Sequence[UserId], room_id: RoomId | None = None) -> bytes:
    """spec: m.typing. `room_id` where it does not stand among a room's."""
    return _in_room("m.typing", {"user_ids": typing}, room_id)


def receipt_events(receipts: Sequence[Receipt], user_id: UserId, room_id: RoomId | None = None) -> list[bytes]:
    """m.receipt events that tell these to a user; nearly always one. `room_id` as above."""
    contents = _receipt_contents(receipts, user_id)
    return [_in_room("m.receipt", content, room_id) for content in contents]


def _in_room(type_: str, content: object, room_id: RoomId | None) -> bytes:
    named = {} if room_id is None else {"room_id": room_id}
    return orjson.dumps({"type": type_, **named, "content": content})


def marker_event(receipts: Sequence[Receipt], user_id: UserId) -> bytes | None:
    """m.fully_read as account data, if a user's own is among these."""
    for receipt in receipts:
        if receipt.kind == "m.fully_read" and receipt.user_id == user_id:
            return orjson.dumps({"type": "m.fully_read", "content": {"event_id": receipt.event_id}})
    return None


_ReceiptContent = dict[str, dict[str, dict[str, object]]]


def _receipt_contents(receipts: Sequence[Receipt], user_id: UserId) -> list[_ReceiptContent]:
    """spec: m.receipt. Private receipts are for their owner alone.

    An m.receipt has room for one receipt of a kind per user and event: where a user's receipts of several
    threads are on the same event, the others go into a second one.
    """
    contents: list[_ReceiptContent] = []
    for receipt in receipts:
        if receipt.kind == "m.fully_read" or (receipt.kind == "m.read.private" and receipt.user_id != user_id):
            continue
        data: dict[str, object] = {"ts": receipt.ts_ms}
        if receipt.thread_id is not None:
            data["thread_id"] = receipt.thread_id
        for content in contents:
            users = content.setdefault(receipt.event_id, {}).setdefault(receipt.kind, {})
            if receipt.user_id not in users:
                users[receipt.user_id] = data
                break
        else:
            contents.append({receipt.event_id: {receipt.kind: {receipt.user_id: data}}})
    return contents
