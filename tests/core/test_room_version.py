"""Room versions: what each changes against the one before.  spec: Matrix rooms/v1 to v12"""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from tests.core.spec_text import spec_file

from tripoint.core.room_version import (
    DEFAULT,
    ROOM_VERSIONS,
    SUPPORTED,
    UnknownRoomVersion,
    get_room_version,
)

# From the introductions and "added-in", "changed-in" marks of each version's page.
CHANGES = {
    "2": {"state_res"},
    "3": {"event_format", "event_id_format", "redaction_in_auth_rules"},
    "4": {"event_id_format"},
    "5": {"enforce_key_validity"},
    "6": {"strict_json", "max_depth", "redaction", "aliases_auth_rule", "notifications_in_auth_rules"},
    "7": {"knock_join"},
    "8": {"restricted_join", "redaction"},
    "9": {"redaction"},
    "10": {"knock_restricted_join", "lenient_power_levels"},
    "11": {"redaction", "creator_in_content", "redacts_in_content"},
    "12": {"state_res", "room_id_is_create_hash", "privileged_creators"},
}


@pytest.mark.parametrize("number", CHANGES)
def test_each_version_changes_what_its_page_says(number: str) -> None:
    version, before = ROOM_VERSIONS[number], ROOM_VERSIONS[str(int(number) - 1)]
    changed = {
        field.name
        for field in fields(version)
        if field.name != "id" and getattr(version, field.name) != getattr(before, field.name)
    }
    assert changed == CHANGES[number]


def test_what_is_supported() -> None:
    assert SUPPORTED == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")
    assert get_room_version(DEFAULT).id == "12"
    for number in ("0", "13", "", "org.example.v1"):
        with pytest.raises(UnknownRoomVersion):
            get_room_version(number)


def _listed_keys(number: str) -> dict[str, set[str]]:
    """The redaction lists of a version's page: "" for the top level, else event type → keys."""
    text = spec_file(f"matrix/spec/content/rooms/v{number}.md")
    start = text.index("strip off any keys")
    section = text[start : text.index("\n#", start)]
    top, _, content = section.partition("The content object")
    found = {"": set(re.findall(r"-   `(\w+)`", top))}
    for item in re.split(r"\n-   ", content)[1:]:
        name, _, keys = " ".join(item.split()).partition(" allow")
        event_type = re.search(r"`(m\.[\w.]+)`", name)
        assert event_type is not None
        found[event_type[1]] = set(re.findall(r"`(\w+)`", keys.partition("Additionally")[0]))
    return found


@pytest.mark.parametrize("number", [str(n) for n in range(1, 13)])
def test_redaction_lists_are_those_of_the_specification(number: str) -> None:
    listed, rules = _listed_keys(number), ROOM_VERSIONS[number].redaction
    assert rules.top_level == listed.pop("")
    if number in ("11", "12"):
        assert listed.pop("m.room.create") == set()  # "allows all keys"
        assert rules.whole_content == {"m.room.create"} and rules.third_party_signed
        assert {k: v for k, v in rules.content_keys.items() if k != "m.room.create"} == listed
    else:
        assert rules.content_keys == listed
        assert not rules.whole_content and not rules.third_party_signed
