"""The reads of store.device_store on SQLite; a part of sqlite.SqliteStore."""

from collections.abc import Mapping, Sequence
from typing import Any

from tripoint.core.ids import ServerName, UserId
from tripoint.store.device_store import Waiting
from tripoint.store.device_writes import (
    PutBackedUpKey,
    PutCrossSigningKey,
    PutDehydratedDevice,
    PutDeviceChange,
    PutDeviceKeys,
    PutFallbackKey,
    PutKeyBackup,
    PutKeySignature,
    PutOneTimeKey,
    PutOutgoingMessage,
    PutRemoteDevice,
    PutRemoteDeviceList,
    PutToDevice,
)

_OF_DEVICE = "WHERE user_id = ? AND device_id = ? "
_ONE_TIME = "SELECT user_id, device_id, algorithm, key_id, position, key, claimed FROM one_time_keys "
_CHANGE = "SELECT user_id, device_id, viewer, position, previous FROM device_changes "
_BACKED_UP = "SELECT user_id, version, room_id, session_id, data FROM backed_up_keys "
_WAITING = "SELECT count(*), coalesce(sum(length({})), 0), coalesce(min(position), 0), coalesce(max(position), 0) FROM "


class DeviceReads:
    """Abstract: queries go through _all and _one, which the store that is made of this defines."""

    def _all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        raise NotImplementedError

    # -- keys

    async def load_device_keys(self, user_id: UserId) -> Sequence[PutDeviceKeys]:
        query = "SELECT user_id, device_id, keys FROM device_keys WHERE user_id = ? ORDER BY device_id"
        return [PutDeviceKeys(*row) for row in self._all(query, user_id)]

    async def load_one_time_key(
        self, user_id: UserId, device_id: str, algorithm: str, key_id: str
    ) -> PutOneTimeKey | None:
        where = _OF_DEVICE + "AND algorithm = ? AND key_id = ?"
        row = self._one(_ONE_TIME + where, user_id, device_id, algorithm, key_id)
        return None if row is None else _one_time_key(row)

    async def load_unclaimed_keys(
        self, user_id: UserId, device_id: str, algorithm: str, limit: int
    ) -> Sequence[PutOneTimeKey]:
        query = _ONE_TIME + _OF_DEVICE + "AND algorithm = ? AND claimed = 0 ORDER BY position, key_id LIMIT ?"
        return [_one_time_key(row) for row in self._all(query, user_id, device_id, algorithm, limit)]

    async def load_key_counts(self, user_id: UserId, device_id: str) -> Mapping[str, int]:
        query = f"SELECT algorithm, count(*) FROM one_time_keys {_OF_DEVICE} AND claimed = 0 GROUP BY algorithm"
        return {str(algorithm): int(count) for algorithm, count in self._all(query, user_id, device_id)}

    async def load_fallback_keys(self, user_id: UserId, device_id: str) -> Sequence[PutFallbackKey]:
        columns = "user_id, device_id, algorithm, key_id, key, used"
        query = f"SELECT {columns} FROM fallback_keys {_OF_DEVICE} ORDER BY algorithm"
        return [_fallback_key(row) for row in self._all(query, user_id, device_id)]

    async def load_cross_signing_keys(self, user_id: UserId) -> Mapping[str, PutCrossSigningKey]:
        found = self._all("SELECT user_id, usage, key FROM cross_signing_keys WHERE user_id = ?", user_id)
        return {str(row[1]): PutCrossSigningKey(*row) for row in found}

    async def load_key_signatures(self, user_id: UserId) -> Sequence[PutKeySignature]:
        columns = "user_id, key_id, signer, signing_key_id, signature"
        query = f"SELECT {columns} FROM key_signatures WHERE user_id = ? ORDER BY key_id, signer, signing_key_id"
        return [PutKeySignature(*row) for row in self._all(query, user_id)]

    async def load_last_device_change(self, user_id: UserId) -> PutDeviceChange | None:
        where = "WHERE user_id = ? AND viewer = '' AND device_id != '' ORDER BY position DESC LIMIT 1"
        return self._change(where, user_id)

    async def load_device_changes(self, after: int, limit: int) -> Sequence[PutDeviceChange]:
        query = _CHANGE + "WHERE position > ? ORDER BY position LIMIT ?"
        return [PutDeviceChange(*row) for row in self._all(query, after, limit)]

    async def load_device_change(self, position: int) -> PutDeviceChange | None:
        return self._change("WHERE position = ?", position)

    async def load_device_change_of(self, user_id: UserId, device_id: str) -> PutDeviceChange | None:
        return self._change(_OF_DEVICE + "AND viewer = ''", user_id, device_id)

    def _change(self, where: str, *parameters: object) -> PutDeviceChange | None:
        row = self._one(_CHANGE + where, *parameters)
        return None if row is None else PutDeviceChange(*row)

    async def load_dehydrated_device(self, user_id: UserId) -> PutDehydratedDevice | None:
        row = self._one("SELECT user_id, device_id, data FROM dehydrated_devices WHERE user_id = ?", user_id)
        return None if row is None else PutDehydratedDevice(*row)

    # -- other servers' users

    async def load_remote_device_list(self, user_id: UserId) -> PutRemoteDeviceList | None:
        row = self._one("SELECT user_id, stream_id, stale FROM remote_device_lists WHERE user_id = ?", user_id)
        return None if row is None else PutRemoteDeviceList(row[0], row[1], bool(row[2]))

    async def load_remote_devices(self, user_id: UserId) -> Sequence[PutRemoteDevice]:
        query = "SELECT user_id, device_id, keys, display_name FROM remote_devices WHERE user_id = ? ORDER BY device_id"
        return [PutRemoteDevice(*row) for row in self._all(query, user_id)]

    # -- messages

    async def load_to_device(
        self, user_id: UserId, device_id: str, *, after: int, upto: int, limit: int
    ) -> Sequence[PutToDevice]:
        query = (
            f"SELECT user_id, device_id, position, json FROM to_device {_OF_DEVICE}"
            "AND position > ? AND position <= ? ORDER BY position LIMIT ?"
        )
        return [PutToDevice(*row) for row in self._all(query, user_id, device_id, after, upto, limit)]

    async def load_waiting(self, user_id: UserId, device_id: str) -> Waiting:
        row = self._one(_WAITING.format("json") + "to_device " + _OF_DEVICE, user_id, device_id)
        return Waiting() if row is None else Waiting(*row)

    async def load_outgoing_servers(self) -> Sequence[ServerName]:
        found = self._all("SELECT DISTINCT server FROM outgoing_messages ORDER BY server")
        return [ServerName(str(row[0])) for row in found]

    async def load_outgoing_messages(self, server: ServerName, after: int, limit: int) -> Sequence[PutOutgoingMessage]:
        query = (
            "SELECT server, position, content FROM outgoing_messages WHERE server = ? AND position > ?"
            " ORDER BY position LIMIT ?"
        )
        return [PutOutgoingMessage(*row) for row in self._all(query, server, after, limit)]

    async def load_outgoing(self, server: ServerName) -> Waiting:
        row = self._one(_WAITING.format("content") + "outgoing_messages WHERE server = ?", server)
        return Waiting() if row is None else Waiting(*row)

    async def is_seen(self, scope: str, message_id: str) -> bool:
        where = "WHERE scope = ? AND message_id = ?"
        return self._one("SELECT 1 FROM seen_messages " + where, scope, message_id) is not None

    # -- backups

    async def load_key_backups(self, user_id: UserId) -> Sequence[PutKeyBackup]:
        columns = "user_id, version, algorithm, auth_data, etag, deleted"
        query = f"SELECT {columns} FROM key_backups WHERE user_id = ? ORDER BY version"
        return [_backup(row) for row in self._all(query, user_id)]

    async def load_backed_up_key(
        self, user_id: UserId, version: int, room_id: str, session_id: str
    ) -> PutBackedUpKey | None:
        where = "WHERE user_id = ? AND version = ? AND room_id = ? AND session_id = ?"
        row = self._one(_BACKED_UP + where, user_id, version, room_id, session_id)
        return None if row is None else PutBackedUpKey(*row)

    async def load_backed_up_keys(
        self, user_id: UserId, version: int, *, room_id: str | None, after: tuple[str, str], limit: int
    ) -> Sequence[PutBackedUpKey]:
        where = "WHERE user_id = ? AND version = ? AND (room_id, session_id) > (?, ?)"
        parameters: list[object] = [user_id, version, *after]
        if room_id is not None:
            where += " AND room_id = ?"
            parameters.append(room_id)
        order = " ORDER BY room_id, session_id LIMIT ?"
        return [PutBackedUpKey(*row) for row in self._all(_BACKED_UP + where + order, *parameters, limit)]

    async def count_backed_up_keys(self, user_id: UserId, version: int, room_id: str | None = None) -> int:
        where, parameters = "WHERE user_id = ? AND version = ?", [user_id, version]
        if room_id is not None:
            where += " AND room_id = ?"
            parameters.append(room_id)
        row = self._one("SELECT count(*) FROM backed_up_keys " + where, *parameters)
        assert row is not None, "a count is always there"
        return int(row[0])


def _one_time_key(row: tuple[Any, ...]) -> PutOneTimeKey:
    return PutOneTimeKey(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]))


def _fallback_key(row: tuple[Any, ...]) -> PutFallbackKey:
    return PutFallbackKey(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


def _backup(row: tuple[Any, ...]) -> PutKeyBackup:
    return PutKeyBackup(row[0], row[1], row[2], row[3], row[4], bool(row[5]))
