"""Nicks and channel names.  spec: docs/mapping.md 1.5, 2.2, 2.4, 3.1-3.5"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.irc.names import (
    alias_of_channel,
    channel_of_alias,
    foreign_user,
    is_channel,
    is_nick,
    nick_of,
    room_slug,
    slug,
)
from tripoint.irc.tables import fold
from tripoint.irc.wire import build_line

SERVER = "example.org"


@pytest.mark.parametrize(
    ("user_id", "displayname", "nick"),
    [
        ("@alice:example.org", "", "alice"),
        ("@a.b_c-d:example.org", "x", "a.b_c-d"),
        ("@bob:remote.org", "", "bob:remote.org"),
        ("@bob:remote.org", "Bob", "bob:remote.org"),
        ("@b/o=b:remote.org", "", "b/o=b:remote.org"),
    ],
)
def test_literal_nicks(user_id: str, displayname: str, nick: str) -> None:
    assert nick_of(user_id, SERVER, displayname) == nick


@pytest.mark.parametrize(
    ("user_id", "displayname", "start", "end"),
    [
        ("@0day:example.org", "", "0day~", ":example.org"),  # an imported account (1.3)
        ("@Bob:remote.org", "", "bob~", ":remote.org"),
        ("@bob:remote.org:8448", "", "bob~", ":remote.org-8448"),
        ("@bob:[::1]", "", "bob~", ":---1-"),
        ("@b b\r\nQUIT:remote.org", "", "b-b-quit~", ":remote.org"),
        ("@irc_freenode_somebody_x:remote.org", "Some Body", "some-body~", ":remote.org"),
        ("@x1234:remote.org", "Jürgen", "jurgen~", ":remote.org"),
        ("@1234:remote.org", "👩", "1234~", ":remote.org"),
        ("@~!:remote.org", "", "user~", ":remote.org"),
    ],
)
def test_slug_nicks(user_id: str, displayname: str, start: str, end: str) -> None:
    nick = nick_of(user_id, SERVER, displayname)
    assert nick.startswith(start)
    assert nick.endswith(end)
    assert len(nick) == len(start) + 4 + len(end)


def test_two_users_with_one_slug_differ() -> None:
    assert nick_of("@Bob:remote.org", SERVER) != nick_of("@bOb:remote.org", SERVER)


def test_a_name_too_long_for_nicklen_is_a_slug() -> None:
    assert "~" in nick_of("@" + "ab" * 10 + ":" + "c" * 60 + ".org", SERVER)


@given(st.text(max_size=60), st.text(max_size=40), st.text(max_size=20))
def test_any_remote_name_is_a_safe_nick(localpart: str, server: str, displayname: str) -> None:
    nick = nick_of(f"@{localpart}:{server}", SERVER, displayname)
    build_line("KICK", "#t", nick, "bye", source=f"{nick}!{nick}@x")
    assert nick.isascii()
    assert not any(c in nick for c in " ,*?!@#\r\n\0")


@pytest.mark.parametrize("word", ["alice", "a.b", "[a]", "a`", "_", "{x}", "A-1"])
def test_nicks(word: str) -> None:
    assert is_nick(word)


@pytest.mark.parametrize("word", ["", "1a", "a b", "a:b", "a|b", "a~b", "#a", "a@b", "a!b", "é", "-a", "a" * 65, "a,b"])
def test_no_nicks(word: str) -> None:
    assert not is_nick(word)


@pytest.mark.parametrize(
    ("alias", "channel"),
    [
        ("#tea:example.org", "#tea"),
        ("#tea:remote.org", "#tea:remote.org"),
        ("#tea:remote.org:8448", "#tea:remote.org:8448"),
        ("#té:example.org", "#té"),
        ("#a b:example.org", None),
        ("#a,b:example.org", None),
        ("#a\x07:example.org", None),
        ("#~a-b:example.org", None),
        ("#" + "a" * 300 + ":example.org", None),
        ("#:example.org", None),
    ],
)
def test_channel_of_alias(alias: str, channel: str | None) -> None:
    assert channel_of_alias(alias, SERVER) == channel
    if channel is not None:
        assert alias_of_channel(channel, SERVER) == alias


@pytest.mark.parametrize("word", ["tea", "#", "#~tea-abcdef", "#tea:", "#:x", "&tea", "#a b", "#\x02a"])
def test_no_alias(word: str) -> None:
    assert alias_of_channel(word, SERVER) is None


def test_rooms_without_alias() -> None:
    one = room_slug("!abc", "The Tea Room")
    assert one.startswith("#~the-tea-room-")
    assert one != room_slug("!abd", "The Tea Room")
    assert room_slug("!abc", "", ("Alice", "Bob")).startswith("#~alice+bob-")
    assert room_slug("!abc", "👩").startswith("#~room-")


@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.text(max_size=30), max_size=4))
def test_any_slug_is_a_channel(room_id: str, name: str, members: list[str]) -> None:
    assert is_channel(room_slug(room_id, name, tuple(members)))


@pytest.mark.parametrize(("one", "two"), [("Tea", "tea"), ("{}|^", "{}|^"), ("É", "É"), ("ÉA", "Éa")])
def test_casemapping_is_ascii(one: str, two: str) -> None:
    assert fold(one) == two


def test_slug_is_plain() -> None:
    assert slug("Ünï  cödé!!") == "uni-code"


def test_people_of_other_xmpp_servers() -> None:
    """MAPPING 1.7"""
    user_id = f"@_xmpp_bob=40other.org:{SERVER}"
    assert nick_of(user_id, SERVER) == "bob|other.org"
    assert foreign_user("Bob|other.org", SERVER) == user_id
    # What no nick can hold is a slug, and so is a name that is too long.
    assert "~" in nick_of(f"@_xmpp_b=c3=b6b=40other.org:{SERVER}", SERVER)
    assert "~" in nick_of(f"@_xmpp_bob=40{'x' * 60}.{'y' * 60}.org:{SERVER}", SERVER)
    for word in ("bob", "|other.org", "bob|", "b!b|other.org", "bob|other.org|x"):
        assert foreign_user(word, SERVER) is None
