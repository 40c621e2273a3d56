"""The lists of administrators in memory (store.admin_store); a part of memory.MemoryStore."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId
from tripoint.core.listings import AccountQuery, MediaQuery, MediaUse, MediaUseQuery, OldMediaQuery, Page, RoomQuery
from tripoint.store.admin_store import AccountRow
from tripoint.store.interface import StoredEvent
from tripoint.store.writes import PutAccount, PutAlias, PutDevice, PutMedia, PutMembership, PutProfile, PutRoom

# What comes first where the largest is asked for first: as sql/admin_reads.py has it.
_LARGEST_FIRST = ("joined_members", "joined_local_members", "version", "federatable", "state_events")
_TEXTS: Mapping[str, tuple[str, str]] = {
    "canonical_alias": ("m.room.canonical_alias", "alias"),
    "encryption": ("m.room.encryption", "algorithm"),
    "join_rules": ("m.room.join_rules", "join_rule"),
    "guest_access": ("m.room.guest_access", "guest_access"),
    "history_visibility": ("m.room.history_visibility", "history_visibility"),
}


class ListsInMemory:
    """store.admin_store.AdminStore over the dictionaries of memory.MemoryStore."""

    accounts: dict[UserId, PutAccount]
    profiles: dict[tuple[UserId, str], PutProfile]
    devices: dict[tuple[UserId, str], PutDevice]
    rooms: dict[int, PutRoom]
    aliases: dict[RoomAlias, PutAlias]
    memberships: dict[tuple[UserId, int], PutMembership]
    events: dict[int, StoredEvent]
    state_keys: dict[int, tuple[str | None, str | None]]
    media: dict[tuple[ServerName, str], PutMedia]

    async def list_accounts(self, query: AccountQuery) -> tuple[Sequence[AccountRow], int]:
        found = [row for row in map(self._account_row, self.accounts.values()) if _wanted(row, query)]

        def key(row: AccountRow) -> Any:
            account = row.account
            by: dict[str, Any] = {
                "name": account.user_id,
                "displayname": (row.displayname or "").casefold(),
                "avatar_url": row.avatar_url,
                "creation_ts": account.created_ts_ms,
                "last_seen_ts": row.last_seen_ts_ms,
            }
            return by[query.order] if query.order in by else getattr(account, query.order)

        return _page(found, key, lambda row: row.account.user_id, query.page, backward=query.backward)

    def _account_row(self, account: PutAccount) -> AccountRow:
        user_id = account.user_id
        name, avatar = (
            put.value if (put := self.profiles.get((user_id, field))) is not None else None
            for field in ("displayname", "avatar_url")
        )
        seen = [device.last_seen_ts_ms for (owner, _), device in self.devices.items() if owner == user_id]
        return AccountRow(account, name, avatar, max(seen, default=None))

    async def list_rooms(self, query: RoomQuery) -> tuple[Sequence[RoomId], int]:
        found = [row for row in self.rooms.values() if row.extremities and self._is_wanted(row, query)]
        backward = query.backward != (query.order in _LARGEST_FIRST)
        rows, total = _page(
            found, lambda row: self._room_key(row, query.order), lambda row: row.room_id, query.page, backward=backward
        )
        return [row.room_id for row in rows], total

    async def list_rooms_of(self, user_id: UserId) -> Sequence[RoomId]:
        found = []
        for row in self.rooms.values():
            event = self._newest(row).get(("m.room.member", user_id))
            if event is not None and orjson.loads(event.json)["content"].get("membership") == "join":
                found.append(row.room_id)
        return sorted(found)

    async def list_servers(self) -> Sequence[ServerName]:
        people = {state_key for type_, state_key in self.state_keys.values() if type_ == "m.room.member" and state_key}
        return sorted({ServerName(person.partition(":")[2]) for person in people})

    async def list_rooms_of_server(self, server: ServerName) -> Sequence[RoomId]:
        found: set[RoomId] = set()
        for type_, state_key in set(self.state_keys.values()):
            if type_ == "m.room.member" and (state_key or "").partition(":")[2] == server:
                found.update(await self.list_rooms_of(UserId(state_key or "")))
        return sorted(found)

    async def list_media(self, query: MediaQuery) -> tuple[Sequence[PutMedia], int]:
        found = [row for row in self.media.values() if row.uploader == query.uploader and row.content is not None]

        def key(row: PutMedia) -> Any:
            by: dict[str, Any] = {
                "media_id": row.media_id,
                "upload_name": row.filename,
                "created_ts": row.created_ts_ms,
                "last_access_ts": row.used_ts_ms,
                "media_length": row.size,
                "media_type": row.type,
                "quarantined_by": row.quarantined_by,
                "safe_from_quarantine": row.protected,
            }
            return by[query.order]

        return _page(found, key, lambda row: row.media_id, query.page, backward=query.backward)

    async def list_old_media(self, query: OldMediaQuery) -> Sequence[PutMedia]:
        pictures = {put.value for (_, field), put in self.profiles.items() if field == "avatar_url"}
        pictures |= {self._said(row, "m.room.avatar", "url") for row in self.rooms.values()}
        found = [
            row
            for row in self.media.values()
            if (row.server == query.server) == query.local
            and row.content is not None
            and not (row.quarantined or row.protected)
            and row.used_ts_ms < query.before_ms
            and row.size >= query.larger_than
            and (query.pictures or f"mxc://{row.server}/{row.media_id}" not in pictures)
        ]
        found.sort(key=lambda row: (row.used_ts_ms, row.server, row.media_id))
        return found[: query.limit]

    async def list_media_use(self, query: MediaUseQuery) -> tuple[Sequence[MediaUse], int]:
        sizes: dict[UserId, list[int]] = {}
        for row in self.media.values():
            until = query.until_ms is None or row.created_ts_ms <= query.until_ms
            if row.uploader is not None and row.content is not None and row.created_ts_ms >= query.from_ms and until:
                sizes.setdefault(row.uploader, []).append(row.size)
        found = []
        for user_id, own in sizes.items():
            put = self.profiles.get((user_id, "displayname"))
            use = MediaUse(user_id, None if put is None else put.value, len(own), sum(own))
            part = (query.name or "").casefold()
            if any(part in (text or "").casefold() for text in (user_id, use.displayname)):
                found.append(use)
        names = {"media_length": "size", "media_count": "count"}
        return _page(
            found,
            lambda use: getattr(use, names.get(query.order, query.order)),
            lambda use: use.user_id,
            query.page,
            backward=query.backward,
        )

    def _is_wanted(self, row: PutRoom, query: RoomQuery) -> bool:
        if query.public not in (None, row.listed):
            return False
        if query.empty not in (None, not self._local(row)):
            return False
        if query.text is None or query.text == row.room_id:
            return True
        names = [self._said(row, "m.room.name", "name"), self._said(row, "m.room.canonical_alias", "alias")]
        names += [alias for alias, put in self.aliases.items() if put.room_key == row.room_key]
        return any(query.text.casefold() in str(name or "").casefold() for name in names)

    def _room_key(self, row: PutRoom, order: str) -> Any:
        if order in _TEXTS:
            return self._said(row, *_TEXTS[order])
        state = self._newest(row)
        if order == "joined_members":
            members = [event for (type_, _), event in state.items() if type_ == "m.room.member"]
            return sum(orjson.loads(event.json)["content"].get("membership") == "join" for event in members)
        create = state.get(("m.room.create", ""))
        by: dict[str, Callable[[], Any]] = {
            "name": lambda: str(
                self._said(row, "m.room.name", "name")
                or self._said(row, "m.room.canonical_alias", "alias")
                or row.room_id
            ).casefold(),
            "joined_local_members": lambda: self._local(row),
            "version": lambda: row.version,
            "creator": lambda: create and orjson.loads(create.json)["sender"],
            "federatable": lambda: self._said(row, "m.room.create", "m.federate") is not False,
            "public": lambda: row.listed,
            "state_events": lambda: len(state),
        }
        return by[order]()

    def _local(self, row: PutRoom) -> int:
        inside = [put for (_, key), put in self.memberships.items() if key == row.room_key]
        return sum(put.membership == "join" for put in inside)

    def _newest(self, row: PutRoom) -> dict[tuple[str, str], StoredEvent]:
        state: dict[tuple[str, str], StoredEvent] = {}
        own = [event for event in self.events.values() if event.room_key == row.room_key]
        for event in sorted((event for event in own if event.position is not None), key=lambda event: event.place):
            type_, state_key = self.state_keys[event.event_key]
            if type_ is not None and state_key is not None:
                state[type_, state_key] = event
        return state

    def _said(self, row: PutRoom, type_: str, field: str) -> Any:
        event = self._newest(row).get((type_, ""))
        return None if event is None else orjson.loads(event.json)["content"].get(field)


def _wanted(row: AccountRow, query: AccountQuery) -> bool:
    account = row.account
    part, texts = query.user_id, [str(account.user_id)]
    if part is None:
        part, texts = query.name or "", [account.name, row.displayname or ""]
    if not any(part.casefold() in text.casefold() for text in texts):
        return False
    if (account.guest and not query.guests) or (account.locked and not query.locked):
        return False
    return query.deactivated in (None, account.deactivated) and query.admins in (None, account.admin)


T = TypeVar("T")


def _page(
    found: list[T], key: Callable[[T], Any], name: Callable[[T], str], page: Page, *, backward: bool
) -> tuple[list[T], int]:
    """In order, nothing before something; what is the same by name, whichever way."""

    def place(row: T) -> tuple[bool, Any]:
        value = key(row)
        return value is not None, 0 if value is None else value

    found.sort(key=name)
    found.sort(key=place, reverse=backward)
    return found[page.start : page.start + page.limit], len(found)
