"""Masks: the two spellings, what is refused, who is met.  spec: docs/mapping.md 9.1-9.5"""

import pytest

from tripoint.core.ids import ServerName, UserId
from tripoint.core.masks import MaskRefused, Matcher, mask_of_entity, parse_mask, server_glob_meets


@pytest.mark.parametrize(
    ("text", "full", "entity", "server"),
    [
        ("*bot*!*@*", "*bot*!*@*", "@*bot*:*", None),
        ("*bot*", "*bot*!*@*", "@*bot*:*", None),
        ("*!spam*@*", "*!spam*@*", "@spam*:*", None),
        ("spam*!spam*@*", "spam*!spam*@*", "@spam*:*", None),
        ("*!*@Remote.org", "*!*@remote.org", "@*:remote.org", "remote.org"),
        ("*@*.remote.org", "*!*@*.remote.org", "@*:*.remote.org", "*.remote.org"),
        ("spam*:remote.org!*@*", "spam*!*@remote.org", "@spam*:remote.org", None),
        ("*!*@1a2b.guest.example.org", "*!*@1a2b.guest.example.org", "@*:1a2b.guest.example.org", None),
    ],
)
def test_masks(text: str, full: str, entity: str, server: str | None) -> None:
    mask = parse_mask(text)
    assert (mask.text, mask.entity) == (full, entity)
    if server is not None:
        assert mask.server == server
    # Its own full form means the same.
    assert parse_mask(mask.text) == mask


@pytest.mark.parametrize(
    "text",
    ["*!*@*", "*", "a*!*@*", "ab!*@*", "*!*@10.0.0.1", "*!*@10.0.*", "*!*@10.0.0.0/8", "*!*@2001:db8::1", "*!*@[::1]"],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(MaskRefused):
        parse_mask(text)


@pytest.mark.parametrize("text", ["abc!def@*", "abc:one.org!*@two.org", "x" * 300, "abc\x01def", "abc!*@(x)"])
def test_what_says_nothing(text: str) -> None:
    with pytest.raises(MaskRefused):
        parse_mask(text)


def test_who_is_met() -> None:
    matcher = Matcher([parse_mask("*bot*").entity, parse_mask("*!*@remote.org").entity])
    assert matcher.meets(UserId("@MyBot9:example.org"))
    assert matcher.meets(UserId("@alice:remote.org"))
    assert not matcher.meets(UserId("@alice:example.org"))
    assert matcher.meets(UserId("@guest-1:example.org"), "@robot:aa.guest.example.org")
    assert not Matcher([]).meets(UserId("@alice:example.org"))


def test_shown() -> None:
    assert mask_of_entity("@spam*:*") == "*!spam*@*"
    assert parse_mask(mask_of_entity("@spam*:remote.org")).entity == "@spam*:remote.org"


def test_servers() -> None:
    assert server_glob_meets("*.org", ServerName("example.org:8448"))
    assert not server_glob_meets("*.org", ServerName("example.net"))
