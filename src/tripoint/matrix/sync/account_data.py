"""Account data in a sync: what somebody keeps, for all rooms and for one; and what of it is new.

spec: Matrix client-server-api "Client Config"; push rules are account data too ("Push Rules: API")
"""

from collections.abc import Mapping, Sequence

import orjson

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import RoomId, UserId
from tripoint.core.push_rules import ACCOUNT_DATA as PUSH_RULES
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.changes import AccountDataChanged

# (type, the event as bytes)
Entry = tuple[str, bytes]


class AccountDataNews:
    """`started_at`: the position at which this process began to hear of changes."""

    def __init__(self, accounts: AccountService, started_at: int) -> None:
        self._accounts = accounts
        self._started_at = started_at
        self._changed_at: dict[UserId, int] = {}

    def changed(self, change: AccountDataChanged) -> None:
        self._changed_at[change.user_id] = change.position

    async def of_room(self, user_id: UserId, room_id: RoomId) -> Sequence[Entry]:
        """All that a user keeps for a room."""
        data = await self._accounts.all_account_data(user_id)
        return [
            (type_, orjson.dumps({"type": type_, "content": content}))
            for (where, type_), content in data.items()
            if where == room_id
        ]

    def is_quiet(self, user_id: UserId, since: SyncToken | None) -> bool:
        """Whether nothing is new, as far as that is known from memory."""
        return since is not None and since.position >= self._changed_at.get(user_id, self._started_at)

    async def since(self, user_id: UserId, since: SyncToken | None) -> Mapping[RoomId | None, list[Entry]]:
        """What is new, by room (None: for all rooms); everything where `since` is None."""
        if self.is_quiet(user_id, since):
            return {}
        position = since.position if since is not None else 0
        found: dict[RoomId | None, list[Entry]] = {}
        data = await self._accounts.all_account_data(user_id, since=position)
        for (room_id, type_), content in data.items():
            if (room_id, type_) == (None, PUSH_RULES):
                continue
            entry = orjson.dumps({"type": type_, "content": content})
            found.setdefault(room_id, []).append((type_, entry))
        if since is None or (None, PUSH_RULES) in data:
            # What is stored may be of a time when the server had other rules of its own.
            rules = (await self._accounts.push_rules.of(user_id)).content()
            entry = orjson.dumps({"type": PUSH_RULES, "content": rules})
            found.setdefault(None, []).append((PUSH_RULES, entry))
        return found
