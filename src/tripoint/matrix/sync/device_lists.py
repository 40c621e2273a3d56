"""Whose devices a client has to look at again: device_lists of /sync, and GET /keys/changes.

`changed` are users whose keys changed and who share a room, and those with whom an encrypted room is shared that was
not; `left` are those with whom none is shared any more. Both are worked out from what changed since a position: the
log of changed devices, which is on disk, and the memberships of the user's own rooms. A user for whom nothing of this
moved costs two comparisons. spec: Matrix client-server-api e2e-extensions-to-sync, GET /keys/changes
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from tripoint.accounts.device_changes import DeviceChangeLog
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.rooms.changes import DeviceListChanged, EventCommitted, RoomChange, StateReset
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refused

# Changed users, comings and goings of one room, and local users that are remembered; what is older is read.
MAX_CHANGED: Final = 20_000
MAX_MOVES: Final = 200
MAX_MARKED: Final = 100_000
PAGE: Final = 1_000

# (position, who came or went; None: anybody)
_Move = tuple[int, UserId | None]


class DeviceLists:
    """Hears of all changes of rooms and users. `server` is this server's name."""

    def __init__(self, server: ServerName, reader: RoomReader, log: DeviceChangeLog) -> None:
        self._server = server
        self._reader = reader
        self._log = log
        self._started_at = reader.stream_position().of()
        # Newest last: who changed, for whom, and when. Complete after position `_floor`.
        self._changed: OrderedDict[tuple[UserId, UserId | None], int] = OrderedDict()
        self._floor = self._started_at
        self._newest = self._started_at
        # Local users, and when somebody came into or left an encrypted room of theirs.
        self._moved_at: dict[UserId, int] = {}
        self._moves: dict[RoomId, deque[_Move]] = {}
        self._moved_floor = self._started_at

    # -- changes

    def user_changed(self, change: DeviceListChanged) -> None:
        key = (change.user_id, change.viewer)
        self._changed.pop(key, None)
        self._changed[key] = self._newest = change.position
        if len(self._changed) > MAX_CHANGED:
            self._floor = self._changed.popitem(last=False)[1]

    async def prepare(self, user_id: UserId) -> None:
        """Keys of a user are about to change: have the user's rooms at hand, so that who waits there hears at once."""
        await self._reader.memberships(user_id)

    def room_changed(self, change: RoomChange) -> None:
        if isinstance(change, EventCommitted):
            if _is_move(change.event, change.replaced):
                self._move(change.room_id, change.position, [_target(change.event)])
        elif isinstance(change, StateReset):
            targets = [_target(after or before) for before, after in change.changed if _is_reset(before, after)]
            if change.completes:
                targets = [None]
            if targets:
                self._move(change.room_id, change.position, targets)

    def _move(self, room_id: RoomId, position: int, targets: Iterable[UserId | None]) -> None:
        room = self._reader.peek(room_id)
        if room is None or not room.encrypted:
            return
        moves = self._moves.setdefault(room_id, deque(maxlen=MAX_MOVES))
        for target in targets:
            moves.append((position, target))
            if target is not None and server_of(target) == self._server:
                self._moved_at[target] = position
        for user_id in room.joined():
            if server_of(user_id) == self._server:
                self._moved_at[user_id] = position
        if len(self._moved_at) > MAX_MARKED or len(self._moves) > MAX_MARKED:
            # What was is found out from the rooms themselves.
            self._moved_at.clear()
            self._moves.clear()
            self._moved_floor = position

    # -- answers

    def may_have_moved(self, user_id: UserId, position: int) -> bool:
        """Whether since() may have something to say."""
        return self._newest > position or self._moved_at.get(user_id, self._moved_floor) > position

    async def since(self, user_id: UserId, position: int) -> tuple[list[UserId], list[UserId]]:
        """(changed, left) for a user since a position."""
        changed = await self._with_other_keys(user_id, position)
        left: set[UserId] = set()
        if self._moved_at.get(user_id, self._moved_floor) > position:
            came, went = await self._moved(user_id, position)
            changed |= came
            gone = went - came
            left = gone - await self._reader.sharing(user_id, gone, encrypted=True)
        return sorted(changed - left), sorted(left)

    async def _with_other_keys(self, user_id: UserId, position: int) -> set[UserId]:
        if self._newest <= position:
            return set()
        found: set[UserId] = set()
        candidates: set[UserId] = set()
        for other, viewer in await self._changes(position):
            if viewer is None and other != user_id:
                candidates.add(other)
            elif viewer in (None, user_id):
                found.add(other)
        return found | await self._reader.sharing(user_id, candidates - found)

    async def _changes(self, position: int) -> list[tuple[UserId, UserId | None]]:
        """Who changed since a position, and for whom alone."""
        found: list[tuple[UserId, UserId | None]] = []
        if position >= self._floor:
            for key in reversed(self._changed):
                if self._changed[key] <= position:
                    break
                found.append(key)
            return found
        while page := await self._log.load_device_changes(position, PAGE):
            found += [(row.user_id, UserId(row.viewer) if row.viewer else None) for row in page]
            position = page[-1].position
            if len(page) < PAGE:
                break
            await asyncio.sleep(0)
        return found

    async def _moved(self, user_id: UserId, position: int) -> tuple[set[UserId], set[UserId]]:
        """Who came into encrypted rooms of the user, or is met there since the user came; who left, or was left."""
        came: set[UserId] = set()
        went: set[UserId] = set()
        for room_id, (membership, moved) in list((await self._reader.membership_positions(user_id)).items()):
            try:
                if membership == "join":
                    room = await self._reader.room(room_id)
                    if room.encrypted and _newest(room) > position:
                        await self._of_room(room, user_id, position, moved, came, went)
                elif moved > position and await self._was_inside(room_id, user_id, position):
                    state = await self._reader.readable_state(room_id, user_id, moved)
                    if ("m.room.encryption", "") in state:
                        went.update(UserId(key) for (_, key), event in state.items() if _joins(event))
            except Refused:
                continue  # it ended just now, or cannot be looked at any more
        came.discard(user_id)
        went.discard(user_id)
        return came, went

    async def _of_room(
        self, room: RoomView, user_id: UserId, position: int, moved: int, came: set[UserId], went: set[UserId]
    ) -> None:
        joined = room.joined()
        whole = room.state_positions.get(("m.room.encryption", ""), 0) > position
        if not whole and moved > position:
            whole = not await self._was_inside(room.room_id, user_id, position)
        targets = set(joined) if whole else self._targets(room, position)
        for target in targets:
            (came if target in joined else went).add(target)

    def _targets(self, room: RoomView, position: int) -> set[UserId]:
        """Who came or went in a room since a position."""
        moves = self._moves.get(room.room_id, deque())
        known_from = moves[0][0] if len(moves) == MAX_MOVES else self._moved_floor
        if position < known_from:
            return {
                UserId(key)
                for (type_, key), at in room.state_positions.items()
                if type_ == "m.room.member" and at > position
            }
        found: set[UserId] = set()
        for at, target in reversed(moves):
            if at <= position:
                break
            if target is None:
                return set(room.joined())
            found.add(target)
        return found

    async def _was_inside(self, room_id: RoomId, user_id: UserId, position: int) -> bool:
        then = "leave"
        for at, membership in await self._reader.own_memberships(room_id, user_id):
            if at <= position:
                then = membership
        return then == "join"


def _newest(room: RoomView) -> int:
    return max(room.last_position, room.reset_position, room.completed_position)


def _is_move(event: Event | None, before: Event | None) -> bool:
    """Whether an event makes two people share an encrypted room, or stop doing so."""
    if event is None:
        return False
    if event.type == "m.room.encryption":
        return event.state_key == "" and before is None
    return event.type == "m.room.member" and _joins(event) != _joins(before)


def _is_reset(before: Event | None, after: Event | None) -> bool:
    """As _is_move, of what a resolution has done."""
    return _is_move(after, before) if after is not None else _joins(before)


def _target(event: Event | None) -> UserId | None:
    """Who came or went; None: encryption concerns everybody."""
    return UserId(event.state_key) if event is not None and event.state_key else None


def _joins(event: Event | None) -> bool:
    return event is not None and event.type == "m.room.member" and event.content.get("membership") == "join"
