"""Canonical JSON: the one encoding of a value over which hashes and signatures are made.

spec: Matrix appendices canonical-json. `encode` is the strict form (room versions 6 and later, and everything
that we sign ourselves); `encode_lenient` takes what room versions 3 to 5 let through (floats, large integers)
and writes it as the specification's sample code, Python's json.dumps, does.
orjson's OPT_SORT_KEYS sorts by UTF-8 bytes, which is the order of code points, as the specification asks.
Read next: json_view.py for reading values that nobody has checked; signing.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from tripoint.core.errors import PeerError

if TYPE_CHECKING:
    Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
else:
    # msgspec reads annotations when a Struct is made, and knows no type that contains itself.
    Json: TypeAlias = Any

JsonObject: TypeAlias = dict[str, Json]

MAX_SAFE_INTEGER: Final = 2**53 - 1
# What orjson encodes. Deeper than any real event; peers stop between 128 (serde) and some 1,000 (CPython).
MAX_DEPTH: Final = 250

_OPTIONS: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    # JSON types only: a dataclass, datetime or str subclass in an event would be a bug of ours.
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


class CanonicalJsonError(PeerError):
    """The value, or the text, has no canonical form: a float, an integer out of range, a lone surrogate, a
    key that is no string, NaN, too deep, not JSON at all."""


def encode(value: Json) -> bytes:
    """Canonical bytes of a JSON value. Raise CanonicalJsonError for what the strict form does not allow."""
    check_no_floats(value)
    return encode_checked(value)


def encode_checked(value: Json) -> bytes:
    """As `encode`, for a value in which check_no_floats found nothing: a float would get through here."""
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise CanonicalJsonError(str(error)) from None


def check_no_floats(value: object, _depth: int = MAX_DEPTH) -> None:
    """Raise CanonicalJsonError if there is a float anywhere. orjson has no option that refuses them.

    The specification wants integers without exponent or fraction; 1.0 is refused as 1.5 is.
    """
    values: Iterable[object]
    if isinstance(value, dict):
        values = value.values()
    elif isinstance(value, (list, tuple)):  # orjson writes a tuple as an array
        values = value
    elif isinstance(value, float):
        raise CanonicalJsonError("a number is not an integer")
    else:
        return
    if _depth == 0:
        raise CanonicalJsonError("too deeply nested")
    for item in values:
        # Only containers and floats are worth a call.
        kind = type(item)
        if kind is dict or kind is list or kind is float or kind is tuple:
            check_no_floats(item, _depth - 1)


def decode(data: bytes) -> Json:
    """The value of a JSON text; floats and large integers are decoded, to be refused by `encode`.

    Integers beyond 64 bits come back as floats. Where an object names a key twice the last one counts, as
    with all other Matrix servers that we know: hashes are made over the value, so a reader who takes the
    other one finds a wrong hash. Raise CanonicalJsonError for what is not JSON, lone surrogates, or over
    1,024 levels.
    """
    try:
        value: Json = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CanonicalJsonError(str(error)) from None
    return value


def decode_object(data: bytes) -> JsonObject:
    """As `decode`; raise CanonicalJsonError if the value is not an object."""
    value = decode(data)
    if type(value) is not dict:
        raise CanonicalJsonError("not a JSON object")
    return value


def encode_lenient(value: Json) -> bytes:
    """Canonical bytes for room versions 1 to 5, whose events may hold floats and integers of any size.

    Numbers are written as Python's json.dumps writes them (1e10 becomes 10000000000.0): the specification
    gives its encoding by that call, and the servers of the time used it. NaN, infinities, lone surrogates,
    keys that are no strings and nesting over MAX_DEPTH raise CanonicalJsonError.
    """
    try:
        check_no_floats(value)
        return encode_checked(value)
    except CanonicalJsonError:
        pass
    _check_lenient(value, MAX_DEPTH)
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CanonicalJsonError(_without_value(error)) from None


def decode_lenient(data: bytes) -> Json:
    """As `decode`, but integers keep every digit, however many (up to 4,300: what CPython converts in bounded
    time). For events of room versions 1 to 5."""
    value = decode(data)
    if not _has_float(value):
        return value
    try:
        exact: Json = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise CanonicalJsonError("a number cannot be read") from None
    return exact


def canonicalise(text: bytes) -> bytes:
    """The canonical form of a JSON text whose numbers have integer values, however they are written.

    `{"b": 1e10}` becomes `{"b":10000000000}`, the specification's last example. Not for events: there a
    number written so makes the event invalid.
    """
    decode(text)
    try:
        value: Json = json.loads(text, parse_float=_integral, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise CanonicalJsonError("a number has no canonical form") from None
    return encode(value)


def _integral(digits: str) -> int:
    number = float(digits)
    if not math.isfinite(number) or number != math.floor(number) or abs(number) > MAX_SAFE_INTEGER:
        raise ValueError("not an integer")
    return int(number)


def _refuse_constant(name: str) -> float:
    raise ValueError("NaN and infinities are not JSON")


def _has_float(value: Json) -> bool:
    try:
        check_no_floats(value)
    except CanonicalJsonError:
        return True
    return False


def _check_lenient(value: object, depth: int) -> None:
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise CanonicalJsonError("a key is not a string")
    elif not isinstance(value, list):
        if value is not None and type(value) not in _SCALARS:
            raise CanonicalJsonError("not a JSON value")
        return
    if depth == 0:
        raise CanonicalJsonError("too deeply nested")
    for item in value.values() if isinstance(value, dict) else value:
        _check_lenient(item, depth - 1)


_SCALARS: Final = frozenset((bool, int, float, str))


def _without_value(error: Exception) -> str:
    # The text of a UnicodeEncodeError shows the string, which may be somebody's message.
    return type(error).__name__
