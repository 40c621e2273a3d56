"""Push rules of accounts: kept as account data m.push_rules, changed one after the other.

spec: Matrix client-server module push; what rules are is core/push_rules.py's.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from tripoint.accounts.data import AccountData
from tripoint.accounts.in_turn import InTurn
from tripoint.core.ids import RoomId, UserId
from tripoint.core.push_changes import TooManyRules
from tripoint.core.push_levels import carry_room
from tripoint.core.push_rules import ACCOUNT_DATA, PushRules, read_rules

log = structlog.get_logger()

CACHED_USERS: Final = 10_000


class AccountPushRules:
    """The rules of every local user, those asked for lately in memory."""

    def __init__(self, data: AccountData) -> None:
        self._data = data
        self._cached: OrderedDict[UserId, PushRules] = OrderedDict()
        self._in_turn = InTurn()

    def forget(self, user_id: UserId) -> None:
        """The account is gone, or its account data was written by somebody else."""
        self._cached.pop(user_id, None)

    async def of(self, user_id: UserId) -> PushRules:
        """A user's rules; the same object as long as they do not change and stay in memory."""
        found = self._cached.get(user_id)
        if found is None:
            async with self._in_turn(user_id):
                found = self._cached.get(user_id)
                if found is None:
                    found = read_rules(user_id, await self._data.get(user_id, None, ACCOUNT_DATA))
                    self._keep(user_id, found)
        else:
            self._cached.move_to_end(user_id)
        return found

    async def change(self, user_id: UserId, change: Callable[[PushRules], PushRules]) -> None:
        """Write what `change` makes of a user's rules; what it raises goes on to the caller. SERVER_BUSY."""
        async with self._in_turn(user_id):
            before = self._cached.get(user_id)
            if before is None:
                before = read_rules(user_id, await self._data.get(user_id, None, ACCOUNT_DATA))
            after = change(before)
            if after is not before:
                await self._data.set(
                    user_id, None, ACCOUNT_DATA, after.content(), on_commit=lambda: self._keep(user_id, after)
                )

    async def keep_along(self, user_id: UserId, old: RoomId, new: RoomId) -> None:
        """A room was replaced: the rule about it holds for the new one too."""
        try:
            await self.change(user_id, lambda rules: carry_room(rules, old, new))
        except TooManyRules:
            log.info("push_rules.full", user_id=user_id)  # the new room is as loud as any other

    def _keep(self, user_id: UserId, rules: PushRules) -> None:
        self._cached[user_id] = rules
        if len(self._cached) > CACHED_USERS:
            self._cached.popitem(last=False)
