"""What an account keeps: account data, filters, the roster.

spec: Matrix client-server "Client Config", "Filtering"; RFC6121 2
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import orjson

from tripoint.accounts.commit import commit
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.ports import RosterItem
from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, UserId
from tripoint.core.vendor import V
from tripoint.rooms.changes import AccountDataChanged, RosterChanged, UserChange
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutAccountData, PutFilter, PutRosterItem, Write

# The roster as Matrix clients can see it: {"contacts": {JID: {...}}}. docs/mapping.md 13.10
ROSTER: Final = f"{V}.roster"


class AccountData:
    """Account data, filters and rosters, straight from the store."""

    def __init__(self, store: AccountStore, stream: Stream, user_bus: Bus[UserChange]) -> None:
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self._rosters = InTurn()

    async def get(self, user_id: UserId, room_id: RoomId | None, type: str) -> JsonObject | None:
        return (await self.all(user_id, 0)).get((room_id, type))

    async def all(self, user_id: UserId, since: int) -> Mapping[tuple[RoomId | None, str], JsonObject]:
        return {
            (RoomId(row.room_id) if row.room_id else None, row.type): orjson.loads(row.content)
            for row in await self._store.load_account_data(user_id, since)
        }

    async def set(
        self,
        user_id: UserId,
        room_id: RoomId | None,
        type: str,
        content: JsonObject,
        *,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Write it and tell of it. `on_commit` is called when it is on disk, before anybody is told."""
        position = self._stream.next()
        change = AccountDataChanged(position, user_id, room_id, type, content)

        def committed() -> None:
            # Told with the commit: a reader by position who comes between the two would miss it for good.
            on_commit()
            self._user_bus.publish(change)

        row = PutAccountData(user_id, room_id or "", type, orjson.dumps(content), position)
        await commit(self._stream, [row], committed)

    async def add_filter(self, user_id: UserId, definition: JsonObject) -> str:
        """The same definition gets the same id: clients upload theirs at every start."""
        data = orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)
        filter_id = hashlib.sha256(data).hexdigest()[:16]
        if await self._store.load_filter(user_id, filter_id) is None:
            await commit(self._stream, [PutFilter(user_id, filter_id, data)])
        return filter_id

    async def filter(self, user_id: UserId, filter_id: str) -> JsonObject | None:
        data = await self._store.load_filter(user_id, filter_id)
        if data is None:
            return None
        definition: JsonObject = orjson.loads(data)
        return definition

    async def roster(self, user_id: UserId) -> Mapping[str, RosterItem]:
        items = (msgspec.json.decode(data, type=RosterItem) for data in await self._store.load_roster(user_id))
        return {item.jid: item for item in items}

    async def set_roster_item(self, user_id: UserId, item: RosterItem) -> None:
        """Store it, and with it the account data that shows the roster; `remove` drops it."""
        removed = item.subscription == "remove"
        async with self._rosters(user_id):
            roster = dict(await self.roster(user_id))
            former = roster.pop(item.jid, None)
            if not removed:
                roster[item.jid] = item
            writes: list[Write] = [PutRosterItem(user_id, item.jid, None if removed else msgspec.json.encode(item))]
            told: list[UserChange] = [RosterChanged(user_id, item.jid)]
            if item.shown or (former is not None and former.shown):
                position, content = self._stream.next(), _contacts(roster)
                writes.append(PutAccountData(user_id, "", ROSTER, orjson.dumps(content), position))
                told.append(AccountDataChanged(position, user_id, None, ROSTER, content))

            def committed() -> None:
                for change in told:
                    self._user_bus.publish(change)

            await commit(self._stream, writes, committed)


def _contacts(roster: Mapping[str, RosterItem]) -> JsonObject:
    contacts: JsonObject = {}
    for jid, item in roster.items():
        if item.shown:
            contacts[jid] = {"name": item.name or "", "subscription": item.subscription, "groups": list(item.groups)}
    return {"contacts": contacts}
