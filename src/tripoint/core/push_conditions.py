"""Conditions of push rules, compiled: from JSON that a client wrote to a question about one event. Pure.

spec: Matrix client-server module push, "Conditions"; appendices "Dot-separated property paths", "Glob-style matching".
A condition that is unknown, or does not have what its kind needs, never holds. Which rule wins is push_rules.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import orjson
from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event
from tripoint.core.glob import glob_expression
from tripoint.core.json_view import text_at
from tripoint.core.levels import PowerLevels
from tripoint.core.sealed import ENCRYPTED, is_sealed

_BODY: Final = "content.body"
# spec: a word boundary is an end of the value, or a character that is none of these.
_WORD: Final = "[A-Za-z0-9_]"
_BOUNDARY: Final = f"(?:(?<!{_WORD})|(?!{_WORD}))"
_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,15})\Z")
_MISSING: Final = object()


class Surroundings(Struct, frozen=True):
    """What an event alone does not tell: the members of its room, the reader's name there, the room's levels."""

    members: int
    display_name: str | None
    levels: PowerLevels


Condition = Callable[[Event, Surroundings], bool]


def never(event: Event, around: Surroundings) -> bool:
    """A condition that does not hold."""
    return False


def compile_condition(condition: Json) -> Condition:
    """A condition of an override or underride rule."""
    return _compile(orjson.dumps(condition)) if isinstance(condition, dict) else never


@lru_cache(maxsize=4096)
def _compile(condition: bytes) -> Condition:
    """Most users have the same ones: they are compiled once for all."""
    parsed: JsonObject = orjson.loads(condition)
    compiler = _COMPILERS.get(text_at(parsed, "kind") or "")
    return never if compiler is None else compiler(parsed)


def says(pattern: str) -> Condition:
    """Whether content.body has words that match, as content rules and event_match on it ask."""
    found = _in_body(pattern)

    def holds(event: Event, around: Surroundings) -> bool:
        body = event.content.get("body")
        return isinstance(body, str) and found(body)

    return holds


def is_from(sender: str) -> Condition:
    return lambda event, around: event.sender == sender


def is_in(room_id: str) -> Condition:
    return lambda event, around: event.room_id == room_id


def parse_path(path: str) -> tuple[str, ...]:
    """The members on the way to a property.

    spec: dots separate; `\\.` is a dot, `\\\\` a backslash, and a backslash before anything else is itself.
    """
    members, member, at = [], "", 0
    while at < len(path):
        char = path[at]
        if char == "\\" and path[at + 1 : at + 2] in (".", "\\"):
            at += 1
            member += path[at]
        elif char == ".":
            members.append(member)
            member = ""
        else:
            member += char
        at += 1
    return (*members, member)


def _property(path: tuple[str, ...]) -> Callable[[Event], object]:
    """What reads a property of an event; _MISSING where it is not there."""
    first, *rest = path
    if first != "content":
        return (lambda event: _MISSING) if rest else (lambda event: _top_level(event, first))
    if len(rest) == 1:
        name = rest[0]
        return lambda event: event.content.get(name, _MISSING)

    def read(event: Event) -> object:
        value: object = event.content
        for member in rest:
            if not isinstance(value, dict) or member not in value:
                return _MISSING
            value = value[member]
        return value

    return read


def _top_level(event: Event, name: str) -> object:
    """A member of the event as clients see it."""
    if name == "state_key":
        return _MISSING if event.state_key is None else event.state_key
    if name == "type":
        return ENCRYPTED if is_sealed(event.type, event.content) else event.type
    if name in ("sender", "room_id", "event_id", "origin_server_ts"):
        value: object = getattr(event, name)
        return value
    return _MISSING


def _event_match(condition: JsonObject) -> Condition:
    key, pattern = text_at(condition, "key"), text_at(condition, "pattern")
    if key is None or pattern is None:
        return never
    if key == _BODY:
        return says(pattern)
    read, matches = _property(parse_path(key)), _whole(pattern)

    def holds(event: Event, around: Surroundings) -> bool:
        value = read(event)
        return isinstance(value, str) and matches(value)

    return holds


def _event_property_is(condition: JsonObject) -> Condition:
    key, wanted = text_at(condition, "key"), condition.get("value", _MISSING)
    if key is None or not _is_simple(wanted):
        return never
    read = _property(parse_path(key))
    return lambda event, around: _same(read(event), wanted)


def _event_property_contains(condition: JsonObject) -> Condition:
    key, wanted = text_at(condition, "key"), condition.get("value", _MISSING)
    if key is None or not _is_simple(wanted):
        return never
    read = _property(parse_path(key))

    def holds(event: Event, around: Surroundings) -> bool:
        values = read(event)
        return isinstance(values, list) and any(_same(value, wanted) for value in values)

    return holds


def _contains_display_name(condition: JsonObject) -> Condition:
    def holds(event: Event, around: Surroundings) -> bool:
        body = event.content.get("body")
        return bool(around.display_name) and isinstance(body, str) and _named(str(around.display_name))(body)

    return holds


def _room_member_count(condition: JsonObject) -> Condition:
    found = _COUNT.match(text_at(condition, "is") or "")
    if found is None:
        return never
    compare, number = _COMPARED[found[1] or "=="], int(found[2])
    return lambda event, around: compare(around.members, number)


def _sender_notification_permission(condition: JsonObject) -> Condition:
    key = text_at(condition, "key")
    if key is None:
        return never
    name = key
    return lambda event, around: around.levels.user(event.sender) >= around.levels.notification(name)


_COMPARED: Final[dict[str, Callable[[int, int], bool]]] = {
    "==": lambda count, number: count == number,
    "<": lambda count, number: count < number,
    ">": lambda count, number: count > number,
    "<=": lambda count, number: count <= number,
    ">=": lambda count, number: count >= number,
}

_COMPILERS: Final[dict[str, Callable[[JsonObject], Condition]]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}


def _is_simple(value: object) -> bool:
    return value is None or isinstance(value, str | int)


def _same(value: object, wanted: object) -> bool:
    """Exactly the same: true is not 1. spec: "do not cast types" """
    return type(value) is type(wanted) and value == wanted


def _whole(pattern: str) -> Callable[[str], bool]:
    if "*" not in pattern and "?" not in pattern:
        plain = pattern.lower()
        return lambda value: value.lower() == plain
    expression = _compiled(glob_expression(pattern))
    return lambda value: expression.match(value) is not None


def _in_body(pattern: str) -> Callable[[str], bool]:
    return _found(_compiled(_body_expression(pattern)))


@lru_cache(maxsize=1024)
def _named(name: str) -> Callable[[str], bool]:
    """Whether a text has a name in it; nothing in a name stands for something else."""
    return _found(_compiled(_BOUNDARY + re.escape(name) + _BOUNDARY))


def _found(expression: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda value: expression.search(value) is not None


def _body_expression(pattern: str) -> str:
    """A glob between two boundaries.

    What stands before a star is found at its first place, and that place is not given up again (atomic groups): for
    globs that finds a match where there is one, and the time that it takes does not grow with the number of stars.
    """
    first, *later = ["".join("." if c == "?" else re.escape(c) for c in part) for part in pattern.split("*")]
    if not later:
        return _BOUNDARY + first + _BOUNDARY
    *middle, last = later
    between = "".join(f"(?>.*?{part})" for part in middle if part)
    return f"\\A(?>.*?{_BOUNDARY}{first}){between}.*?{last}{_BOUNDARY}"


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL | re.IGNORECASE)
