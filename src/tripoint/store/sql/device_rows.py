"""Writes of devices, messages and backups to statements and rows. Joined to the others in rows.py."""

from collections.abc import Callable
from typing import Any

from tripoint.store.device_writes import (
    DropBackedUpKeys,
    DropDeviceKeys,
    DropOutgoingMessages,
    DropRemoteDevices,
    DropToDevice,
    DropUserKeys,
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
    PutSeenMessage,
    PutToDevice,
    TrimClaimedKeys,
    TrimSeenMessages,
)

Row = tuple[object, ...]

# Tables whose rows go with a device, under these names of the owner and the device.
_OF_DEVICE = (
    ("device_keys", "user_id", "device_id"),
    ("one_time_keys", "user_id", "device_id"),
    ("fallback_keys", "user_id", "device_id"),
    ("to_device", "user_id", "device_id"),
    ("key_signatures", "user_id", "key_id"),
    ("dehydrated_devices", "user_id", "device_id"),
)
# Tables whose rows go with an account, by the column that names it.
OF_ACCOUNT = (
    ("device_keys", "user_id"),
    ("one_time_keys", "user_id"),
    ("fallback_keys", "user_id"),
    ("to_device", "user_id"),
    ("cross_signing_keys", "user_id"),
    ("key_signatures", "user_id"),
    ("key_signatures", "signer"),
    ("key_backups", "user_id"),
    ("backed_up_keys", "user_id"),
    ("dehydrated_devices", "user_id"),
)


def _insert(table: str, *fields: str, verb: str = "INSERT OR REPLACE") -> tuple[str, Callable[[Any], Row]]:
    """A statement that puts the named fields of a write into columns of the same names."""
    marks = ",".join("?" * len(fields))
    return (
        f"{verb} INTO {table} ({', '.join(fields)}) VALUES ({marks})",
        lambda w: tuple(getattr(w, field) for field in fields),
    )


def _fields(kind: type) -> tuple[str, ...]:
    names: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]  # every kind is a Struct
    return names


# Kind of write -> (statement, row). What deletes up to a position never meets what is put in the same transaction.
PUT: dict[type, tuple[str, Callable[[Any], Row]]] = {
    PutDeviceKeys: _insert("device_keys", *_fields(PutDeviceKeys)),
    PutOneTimeKey: _insert("one_time_keys", *_fields(PutOneTimeKey)),
    TrimClaimedKeys: (
        "DELETE FROM one_time_keys WHERE user_id = ?1 AND device_id = ?2 AND algorithm = ?3 AND claimed = 1"
        " AND key_id NOT IN (SELECT key_id FROM one_time_keys WHERE user_id = ?1 AND device_id = ?2"
        "  AND algorithm = ?3 AND claimed = 1 ORDER BY position DESC, key_id DESC LIMIT ?4)",
        lambda w: (w.user_id, w.device_id, w.algorithm, w.keep),
    ),
    PutFallbackKey: _insert("fallback_keys", *_fields(PutFallbackKey)),
    PutCrossSigningKey: _insert("cross_signing_keys", *_fields(PutCrossSigningKey)),
    PutKeySignature: _insert("key_signatures", *_fields(PutKeySignature)),
    PutDeviceChange: _insert("device_changes", *_fields(PutDeviceChange)),
    PutToDevice: _insert("to_device", *_fields(PutToDevice)),
    DropToDevice: (
        "DELETE FROM to_device WHERE user_id = ? AND device_id = ? AND position <= ?",
        lambda w: (w.user_id, w.device_id, w.upto),
    ),
    PutOutgoingMessage: _insert("outgoing_messages", *_fields(PutOutgoingMessage)),
    DropOutgoingMessages: (
        "DELETE FROM outgoing_messages WHERE server = ? AND position <= ?",
        lambda w: (w.server, w.upto),
    ),
    PutSeenMessage: _insert("seen_messages", *_fields(PutSeenMessage)),
    TrimSeenMessages: ("DELETE FROM seen_messages WHERE ts_ms < ?", lambda w: (w.before_ms,)),
    PutRemoteDeviceList: _insert("remote_device_lists", *_fields(PutRemoteDeviceList)),
    PutRemoteDevice: _insert("remote_devices", *_fields(PutRemoteDevice)),
    PutKeyBackup: _insert("key_backups", *_fields(PutKeyBackup)),
    PutBackedUpKey: _insert("backed_up_keys", *_fields(PutBackedUpKey)),
    PutDehydratedDevice: _insert("dehydrated_devices", *_fields(PutDehydratedDevice)),
}

# Kind of write -> (the field that is None to delete, statement, row).
DELETE: dict[type, tuple[str, str, Callable[[Any], Row]]] = {
    PutCrossSigningKey: (
        "key",
        "DELETE FROM cross_signing_keys WHERE user_id = ? AND usage = ?",
        lambda w: (w.user_id, w.usage),
    ),
    PutRemoteDeviceList: (
        "stream_id",
        "DELETE FROM remote_device_lists WHERE user_id = ?",
        lambda w: (w.user_id,),
    ),
    PutRemoteDevice: (
        "keys",
        "DELETE FROM remote_devices WHERE user_id = ? AND device_id = ?",
        lambda w: (w.user_id, w.device_id),
    ),
    PutBackedUpKey: (
        "data",
        "DELETE FROM backed_up_keys WHERE user_id = ? AND version = ? AND room_id = ? AND session_id = ?",
        lambda w: (w.user_id, w.version, w.room_id, w.session_id),
    ),
    PutDehydratedDevice: (
        "device_id",
        "DELETE FROM dehydrated_devices WHERE user_id = ?",
        lambda w: (w.user_id,),
    ),
}


def drops(write: Any) -> list[tuple[str, Row]] | None:
    """The statements of a write that clears several rows or tables; None for any other."""
    if isinstance(write, DropDeviceKeys):
        found: list[tuple[str, Row]] = [
            (f"DELETE FROM {table} WHERE {owner} = ? AND {device} = ?", (write.user_id, write.device_id))
            for table, owner, device in _OF_DEVICE
        ]
        return [*found, ("DELETE FROM seen_messages WHERE scope = ?", (f"{write.user_id} {write.device_id}",))]
    if isinstance(write, DropUserKeys):
        return [(f"DELETE FROM {table} WHERE {column} = ?", (write.user_id,)) for table, column in OF_ACCOUNT]
    if isinstance(write, DropRemoteDevices):
        return [
            ("DELETE FROM remote_devices WHERE user_id = ?", (write.user_id,)),
            ("DELETE FROM cross_signing_keys WHERE user_id = ?", (write.user_id,)),
        ]
    if isinstance(write, DropBackedUpKeys):
        where, row = "user_id = ? AND version = ?", (write.user_id, write.version)
        if write.room_id is None:
            return [(f"DELETE FROM backed_up_keys WHERE {where}", row)]
        return [(f"DELETE FROM backed_up_keys WHERE {where} AND room_id = ?", (*row, write.room_id))]
    return None
