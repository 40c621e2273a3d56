"""Reading JSON that nobody has checked: a value of the wanted type, or nothing.

Contents of events are what another server wrote. Each function gives the member's value if it has the type
asked for, else the default; none raises. A boolean is never an integer here.
"""

from __future__ import annotations

from tripoint.core.canonical_json import Json, JsonObject


def text_at(obj: JsonObject, key: str) -> str | None:
    """The string under `key`, or None."""
    value = obj.get(key)
    return value if type(value) is str else None


def int_at(obj: JsonObject, key: str) -> int | None:
    """The integer under `key`, or None (also for true, false and 1.0)."""
    value = obj.get(key)
    return value if type(value) is int else None


def object_at(obj: JsonObject, key: str) -> JsonObject:
    """The object under `key`, or an empty one."""
    value = obj.get(key)
    return value if type(value) is dict else {}


def list_at(obj: JsonObject, key: str) -> list[Json]:
    """The list under `key`, or an empty one."""
    value = obj.get(key)
    return value if type(value) is list else []


def texts_at(obj: JsonObject, key: str) -> list[str]:
    """The strings in the list under `key`; other members of the list are left out."""
    return [item for item in list_at(obj, key) if type(item) is str]
