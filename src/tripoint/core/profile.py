"""Profiles: which fields there are, and how their values are kept. Pure.

Display name and avatar are texts that go into the member events of every room; other fields are any JSON, and stand in
the profile alone.  spec: Matrix client-server-api "Profiles", appendices "Common Namespaced Identifier Grammar"
"""

import re
from collections.abc import Mapping

import orjson

from tripoint.core.canonical_json import Json, JsonObject

# The fields that every room shows, as texts.
SHOWN = ("displayname", "avatar_url")
TIME_ZONE = "m.tz"
MAX_KEY_BYTES = 255
# spec: PUT /profile: the whole profile is under 64 KiB; this leaves room for a name, an avatar and the punctuation.
MAX_PROFILE_BYTES = 60_000
_KEY = re.compile(r"[a-z][a-z0-9_.-]*\Z")


def is_profile_key(key: str) -> bool:
    """Whether a profile may have a field of this name."""
    return len(key.encode()) <= MAX_KEY_BYTES and _KEY.match(key) is not None


def stored_value(key: str, value: Json) -> str:
    """A field's value as it is stored."""
    return value if key in SHOWN and isinstance(value, str) else orjson.dumps(value).decode()


def read_profile(stored: Mapping[str, str]) -> JsonObject:
    """All fields of a profile, by what is stored of it."""
    return {key: value if key in SHOWN else orjson.loads(value) for key, value in stored.items()}


def profile_bytes(stored: Mapping[str, str]) -> int:
    """How large a profile is."""
    return sum(len(key.encode()) + len(value.encode("utf-8", "surrogatepass")) for key, value in stored.items())
