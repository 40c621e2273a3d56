"""Names of profile fields, and what is kept of their values."""

import pytest

from tripoint.core.profile import is_profile_key, profile_bytes, read_profile, stored_value


@pytest.mark.parametrize("key", ["displayname", "avatar_url", "m.tz", "org.example.some-thing_2", "a" * 255])
def test_keys(key: str) -> None:
    assert is_profile_key(key)


@pytest.mark.parametrize("key", ["", "A", "1a", ".a", "a b", "a\n", "ä", "a/b", "a" * 256])
def test_what_is_no_key(key: str) -> None:
    assert not is_profile_key(key)


def test_values_come_back_as_they_were() -> None:
    profile = {"displayname": "Al \"x\"", "m.tz": "Europe/Berlin", "org.example": [{"a": 1, "b": None}], "org.text": ""}
    stored = {key: stored_value(key, value) for key, value in profile.items()}
    assert stored["displayname"] == 'Al "x"' and stored["m.tz"] == '"Europe/Berlin"'
    assert read_profile(stored) == profile
    assert profile_bytes({"m.tz": '"ä"'}) == 4 + 4
