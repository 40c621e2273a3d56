"""Server-side key backups: versions, the keys in them, which of two keys for a session stays.

Keys are written to the newest version alone. A version's etag moves with every change of its keys.
spec: Matrix client-server-api server-side-key-backups. The rule which key is better is core/key_backup.py.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.key_backup import is_better
from tripoint.store.device_store import BackupStore
from tripoint.store.device_writes import DropBackedUpKeys, PutBackedUpKey, PutKeyBackup
from tripoint.store.interface import StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import Write

# Some 600 MB. A client of ten years has some 100,000.
MAX_KEYS: Final = 1_000_000
# Keys that are read at a time, or looked at before others run in between.
PAGE: Final = 500
PER_TURN: Final = 100

# room -> session -> key
Keys = Mapping[str, Mapping[str, JsonObject]]


class Backup(Struct, frozen=True):
    """A version as clients are told of it."""

    version: str
    algorithm: str
    auth_data: JsonObject
    count: int
    etag: str


class Updated(Struct, frozen=True):
    """What a change of keys comes to. spec: RoomKeysUpdateResponse"""

    count: int
    etag: str


class KeyBackups:
    """Raises KeyRefused; what it returned is on disk. One change of a user's backups at a time."""

    def __init__(self, store: BackupStore, stream: Stream) -> None:
        self._store = store
        self._stream = stream
        self._turn = InTurn()
        # How many keys the current version has, while it is being filled.
        self._counts: dict[tuple[UserId, int], int] = {}

    # -- versions

    async def create(self, user_id: UserId, algorithm: str, auth_data: JsonObject) -> str:
        async with self._turn(user_id):
            rows = await self._store.load_key_backups(user_id)
            version = rows[-1].version + 1 if rows else 1
            await self._commit([PutKeyBackup(user_id, version, algorithm, orjson.dumps(auth_data), 0)])
        return str(version)

    async def get(self, user_id: UserId, version: str | None = None) -> Backup:
        """A version; without `version` the current one. NO_SUCH_BACKUP."""
        row = await self._row(user_id, version)
        count = await self._count(user_id, row.version)
        return Backup(str(row.version), row.algorithm, orjson.loads(row.auth_data), count, str(row.etag))

    async def change(self, user_id: UserId, version: str, algorithm: str, auth_data: JsonObject) -> None:
        """New auth_data for a version. NO_SUCH_BACKUP, OTHER_BACKUP."""
        async with self._turn(user_id):
            row = await self._row(user_id, version)
            if algorithm != row.algorithm:
                raise KeyRefused(KeyRefusal.OTHER_BACKUP, "Algorithm does not match")
            await self._commit([replace(row, auth_data=orjson.dumps(auth_data))])

    async def delete(self, user_id: UserId, version: str) -> None:
        """A version and its keys go. NO_SUCH_BACKUP unless it is, or was, there."""
        async with self._turn(user_id):
            rows = {str(row.version): row for row in await self._store.load_key_backups(user_id)}
            row = rows.get(version)
            if row is None:
                raise KeyRefused(KeyRefusal.NO_SUCH_BACKUP)
            if not row.deleted:
                gone = replace(row, deleted=True, auth_data=b"{}")
                await self._commit([gone, DropBackedUpKeys(user_id, row.version, None)])
                self._counts.pop((user_id, row.version), None)

    async def _row(self, user_id: UserId, version: str | None) -> PutKeyBackup:
        for row in reversed(await self._store.load_key_backups(user_id)):
            if not row.deleted and version in (None, str(row.version)):
                return row
        raise KeyRefused(KeyRefusal.NO_SUCH_BACKUP)

    async def _current(self, user_id: UserId, version: str) -> PutKeyBackup:
        """The version into which keys may be written. spec: "Must be the current backup" """
        row = await self._row(user_id, None)
        if str(row.version) != version:
            raise KeyRefused(KeyRefusal.WRONG_BACKUP, current=str(row.version))
        return row

    async def _count(self, user_id: UserId, version: int) -> int:
        count = self._counts.get((user_id, version))
        return await self._store.count_backed_up_keys(user_id, version) if count is None else count

    # -- keys

    async def put(self, user_id: UserId, version: str, keys: Keys) -> Updated:
        """Add keys; of two for the same session the better one stays. NO_SUCH_BACKUP, WRONG_BACKUP, BACKUP_FULL."""
        async with self._turn(user_id):
            row = await self._current(user_id, version)
            count = await self._count(user_id, row.version)
            writes: list[Write] = []
            number = 0
            for room_id, sessions in keys.items():
                for session_id, key in sessions.items():
                    number += 1
                    if number % PER_TURN == 0:
                        await asyncio.sleep(0)
                    known = await self._store.load_backed_up_key(user_id, row.version, room_id, session_id)
                    if known is not None and not is_better(key, orjson.loads(known.data or b"{}")):
                        continue
                    count += 1 if known is None else 0
                    writes.append(PutBackedUpKey(user_id, row.version, room_id, session_id, orjson.dumps(key)))
            if count > MAX_KEYS:
                raise KeyRefused(KeyRefusal.BACKUP_FULL)
            return await self._update(row, writes, count)

    async def get_key(self, user_id: UserId, version: str, room_id: str, session_id: str) -> bytes:
        """The key of one session, as JSON. NO_SUCH_BACKUP, NO_SUCH_KEY."""
        row = await self._row(user_id, version)
        found = await self._store.load_backed_up_key(user_id, row.version, room_id, session_id)
        if found is None or found.data is None:
            raise KeyRefused(KeyRefusal.NO_SUCH_KEY)
        return found.data

    async def find(self, user_id: UserId, version: str, room_id: str | None = None) -> dict[str, list[bytes]]:
        """Keys of a version, of all rooms or of one: by room, `"session":key` as JSON. NO_SUCH_BACKUP.

        A backup may hold hundreds of thousands: others run in between.
        """
        row = await self._row(user_id, version)
        found: dict[str, list[bytes]] = {}
        after = ("", "")
        while page := await self._store.load_backed_up_keys(
            user_id, row.version, room_id=room_id, after=after, limit=PAGE
        ):
            for key in page:
                assert key.data is not None, "a key without data is not stored"
                found.setdefault(key.room_id, []).append(orjson.dumps(key.session_id) + b":" + key.data)
            after = (page[-1].room_id, page[-1].session_id)
            if len(page) < PAGE:
                break
            await asyncio.sleep(0)
        return found

    async def remove(
        self, user_id: UserId, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> Updated:
        """Take keys away, all of them, those of a room or of one session. NO_SUCH_BACKUP, WRONG_BACKUP."""
        async with self._turn(user_id):
            row = await self._current(user_id, version)
            write: Write = DropBackedUpKeys(user_id, row.version, room_id)
            if room_id is not None and session_id is not None:
                known = await self._store.load_backed_up_key(user_id, row.version, room_id, session_id)
                gone = 0 if known is None else 1
                write = PutBackedUpKey(user_id, row.version, room_id, session_id, None)
            else:
                gone = await self._store.count_backed_up_keys(user_id, row.version, room_id)
            count = await self._count(user_id, row.version)
            return await self._update(row, [write] if gone else [], count - gone)

    async def _update(self, row: PutKeyBackup, writes: list[Write], count: int) -> Updated:
        etag = row.etag
        if writes:
            etag += 1
            await self._commit([*writes, replace(row, etag=etag)])
            if len(self._counts) > 10_000:
                self._counts.clear()
            self._counts[row.user_id, row.version] = count
        return Updated(count, str(etag))

    def forget(self, user_id: UserId) -> None:
        """The account is closed."""
        for key in [key for key in self._counts if key[0] == user_id]:
            del self._counts[key]

    async def _commit(self, writes: list[Write]) -> None:
        try:
            await self._stream.commit(writes)
        except StoreError as error:
            raise KeyRefused(KeyRefusal.BUSY) from error
