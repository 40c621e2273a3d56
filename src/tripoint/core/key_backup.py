"""Keys in a backup: their shape, and which of two for the same session is kept. Pure.

spec: Matrix client-server-api server-side-key-backups, definitions/key_backup_data
"""

from __future__ import annotations

from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError

MAX_SAFE: Final = 2**53 - 1


class BadBackup(PeerError):
    """No key for a backup."""


def read_backed_up_key(value: object) -> JsonObject:
    """A key as clients upload it; only what the specification names is kept. Raises BadBackup."""
    if not isinstance(value, dict):
        raise BadBackup("a key for a backup is an object")
    data = value.get("session_data")
    if not isinstance(data, dict):
        raise BadBackup("session_data must be an object")
    verified = value.get("is_verified")
    if not isinstance(verified, bool):
        raise BadBackup("is_verified must be true or false")
    return {
        "first_message_index": _count(value, "first_message_index"),
        "forwarded_count": _count(value, "forwarded_count"),
        "is_verified": verified,
        "session_data": data,
    }


def is_better(new: JsonObject, old: JsonObject) -> bool:
    """Whether `new` takes the place of `old`; an equal one does not.

    spec: the one with is_verified; of two alike the lower first_message_index, then the lower forwarded_count.
    """
    return _rank(new) < _rank(old)


def _rank(key: JsonObject) -> tuple[bool, int, int]:
    return not key.get("is_verified"), _number(key, "first_message_index"), _number(key, "forwarded_count")


def _number(key: JsonObject, name: str) -> int:
    value = key.get(name)
    return value if type(value) is int else MAX_SAFE


def _count(value: JsonObject, name: str) -> int:
    number = value.get(name)
    if type(number) is not int or not 0 <= number <= MAX_SAFE:
        raise BadBackup(f"{name} must be a number")
    return number
