"""What a user has set about a channel for himself alone, as keys of its metadata: `soju.im/muted`, `soju.im/pinned`.

Muted is the account's push rule about the room, pinned its tag m.favourite: the same as on Matrix and XMPP. Nobody else
sees them.
docs/mapping.md 22.3.  Read next: metadata.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from tripoint.accounts.ports import AccountService
from tripoint.accounts.tags import FAVOURITE, TAG
from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import object_at
from tripoint.core.push_levels import RoomLevel, room_levels, set_room_level
from tripoint.core.push_rules import ACCOUNT_DATA as PUSH_RULES
from tripoint.core.push_rules import PushRules, read_rules
from tripoint.rooms.changes import AccountDataChanged

MUTED: Final = "soju.im/muted"
PINNED: Final = "soju.im/pinned"
SETTINGS: Final = frozenset({MUTED, PINNED})
ON: Final = "1"
# Values that a client may set.
VALUES: Final = {"1": True, "true": True, "0": False, "false": False}
_KNOWN_USERS: Final = 10_000
_MAX_TAGS: Final = 100

Changes = list[tuple[RoomId, str, str]]


class RoomSettings:
    """Reads and writes them, and tells what a change of account data comes to."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts
        # Rooms that a user had muted when somebody last looked: only what became otherwise is told.
        self._muted: OrderedDict[UserId, frozenset[str]] = OrderedDict()

    async def of(self, user_id: UserId, room_id: RoomId) -> Mapping[str, str]:
        """The keys that are set."""
        muted = self._remember(user_id, await self._accounts.push_rules.of(user_id))
        found = {MUTED: ON} if room_id in muted else {}
        if FAVOURITE in await self._accounts.tags.of(user_id, room_id):
            found[PINNED] = ON
        return found

    async def set(self, user_id: UserId, room_id: RoomId, key: str, on: bool) -> None:
        """Raises AccountRefused; TooManyRules where no rule has room any more."""
        if key == MUTED:
            await self._accounts.push_rules.change(user_id, lambda rules: _muted(rules, room_id, on))
        elif on:
            await self._accounts.tags.put(user_id, room_id, FAVOURITE, {}, limit=_MAX_TAGS)
        else:
            await self._accounts.tags.delete(user_id, room_id, FAVOURITE)

    def changed(self, change: AccountDataChanged) -> Changes:
        """(room, key, value) of what is otherwise now; an empty value: not set any more."""
        if change.type == TAG and change.room_id is not None:
            pinned = FAVOURITE in object_at(change.content, "tags")
            return [(change.room_id, PINNED, ON if pinned else "")]
        if change.type != PUSH_RULES or change.user_id not in self._muted:
            return []
        before = self._muted[change.user_id]
        after = self._remember(change.user_id, read_rules(change.user_id, change.content))
        return [(RoomId(room_id), MUTED, ON if room_id in after else "") for room_id in sorted(before ^ after)]

    def _remember(self, user_id: UserId, rules: PushRules) -> frozenset[str]:
        levels = room_levels(rules)
        muted = frozenset(room_id for room_id, level in levels.items() if level is RoomLevel.NEVER)
        self._muted[user_id] = muted
        self._muted.move_to_end(user_id)
        if len(self._muted) > _KNOWN_USERS:
            self._muted.popitem(last=False)
        return muted


def _muted(rules: PushRules, room_id: RoomId, on: bool) -> PushRules:
    if on:
        return set_room_level(rules, room_id, RoomLevel.NEVER)
    muted = room_levels(rules).get(room_id) is RoomLevel.NEVER
    return set_room_level(rules, room_id, None) if muted else rules
