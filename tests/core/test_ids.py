"""Identifier grammars.  spec: Matrix appendices identifier-grammar; docs/mapping.md 1.2, 3.3"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.confusables import skeleton, skeletons
from tripoint.core.errors import PeerError
from tripoint.core.ids import (
    InvalidId,
    ServerName,
    UserId,
    check_new_account_name,
    fold_alias_localpart,
    is_historical,
    make_user_id,
    parse_event_id,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
    server_of,
    split_user_id,
)

HERE = ServerName("example.org")


# The examples of the appendix, "Server Name".
@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "MATRIX.ORG",
    ],
)
def test_server_names_of_the_appendix(name: str) -> None:
    assert parse_server_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ":80", "a b", "a_b", "a:", "a:x", "a:123456", "a:70000", "[::1", "[::1]x", "[::1]:", "[zz]", "[1]", "::1",
     "1.2.3.999", "é.org", "a/b", "a\n", "a:80\n", "a\0b"],
)  # fmt: skip
def test_what_is_no_server_name(name: str) -> None:
    with pytest.raises(InvalidId):
        parse_server_name(name)


@pytest.mark.parametrize(
    "user",
    [
        "@alice:example.org",
        "@:example.org",  # "including other control characters and the empty string"
        "@a\r\nQUIT b:example.org",
        "@Ünï cödé!#$:example.org",
        "@a:[::1]:8448",
        "@" + "a" * 242 + ":example.org",
    ],
)
def test_user_ids_that_servers_must_accept(user: str) -> None:
    assert parse_user_id(user) == user


@pytest.mark.parametrize(
    "user",
    ["", "@", "alice", "@alice", "alice:example.org", "!alice:example.org", "@a:b:c", "@a\0b:example.org",
     "@" + "a" * 243 + ":example.org", "@" + "é" * 122 + ":example.org", "@\ud800:example.org", "@a:"],
)  # fmt: skip
def test_what_is_no_user_id(user: str) -> None:
    with pytest.raises(InvalidId):
        parse_user_id(user)


def test_rooms_aliases_and_events() -> None:
    assert parse_room_id("!abc:example.org") == "!abc:example.org"
    # Room version 12: the hash of the create event, no server.
    hashed = parse_room_id("!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ")
    with pytest.raises(InvalidId):
        server_of(hashed)
    assert server_of(parse_room_alias("#tea room:example.org:80")) == "example.org:80"
    assert parse_event_id("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk")
    for parse, text in (
        (parse_room_id, "!"),
        (parse_room_id, "!:example.org"),
        (parse_room_alias, "#:example.org"),
        (parse_room_alias, "#tea"),
        (parse_event_id, "$"),
        (parse_event_id, "$" + "a" * 255),
    ):
        with pytest.raises(InvalidId):
            parse(text)


def test_splitting() -> None:
    assert split_user_id(UserId("@alice:example.org:8448")) == ("alice", "example.org:8448")
    with pytest.raises(InvalidId):
        make_user_id("a:b", HERE)


@pytest.mark.parametrize(
    ("user", "historical"),
    [("@alice:x", False), ("@Alice!:x", False), ("@:x", True), ("@a b:x", True), ("@é:x", True)],
)
def test_historical_user_ids(user: str, historical: bool) -> None:
    assert is_historical(parse_user_id(user)) is historical


@pytest.mark.parametrize("parse", [parse_user_id, parse_room_id, parse_room_alias, parse_event_id, parse_server_name])
@given(text=st.one_of(st.text(), st.text(alphabet="@!#$:[].a1\0\n", max_size=20)))
def test_parsers_take_it_or_say_so(parse: Callable[[str], str], text: str) -> None:
    try:
        assert parse(text) == text
    except PeerError:
        pass


@pytest.mark.parametrize(
    ("localpart", "folded"),
    [("Tea", "tea"), ("TEA-Room_1", "tea-room_1"), ("ﬁsh", "fish"), ("Ünder", "Ünder"), ("ｔｅａ", "tea")],
)
def test_alias_folding(localpart: str, folded: str) -> None:
    assert fold_alias_localpart(localpart) == folded


@pytest.mark.parametrize(
    "localpart",
    ["", "a b", "a\u00a0b", "a\tb", "a\0", "a:b", "a,b", "a\u200bb", "\u202ea", "\ud800", "\ue000"],
)
def test_aliases_that_no_protocol_could_name(localpart: str) -> None:
    with pytest.raises(InvalidId):
        fold_alias_localpart(localpart)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    try:
        once = fold_alias_localpart(text)
    except InvalidId:
        return
    assert fold_alias_localpart(once) == once


@pytest.mark.parametrize("name", ["alice", "a", "a.b_c-d", "a" * 32, "mila", "ali"])
def test_names_for_new_accounts(name: str) -> None:
    assert check_new_account_name(name, HERE) == f"@{name}:example.org"


@pytest.mark.parametrize(
    "name",
    ["", "Alice", "1alice", "_alice", "a" * 33, "a/b", "a=b", "a+b", "é", "a\n", "nickserv", "admin",
     "chanserv", "r00t", "adrnin"],
)  # fmt: skip
def test_names_that_no_new_account_has(name: str) -> None:
    with pytest.raises(InvalidId):
        check_new_account_name(name, HERE)


def test_names_that_look_taken() -> None:
    taken = {skeleton("alice"), skeleton("modern")}
    for name in ("alice", "a1ice", "rnodern", "modem"):
        with pytest.raises(InvalidId):
            check_new_account_name(name, HERE, taken)
    assert check_new_account_name("alicia", HERE, taken)


@pytest.mark.parametrize(
    ("one", "other"),
    [("paypal", "раураl"), ("paypa1", "paypal"), ("paypaI", "paypal"), ("vvarm", "warrn"), ("ΑΒΕ", "ABE"),
     ("zoe", "zoé"), ("a\u200bb", "ab"), ("ｂｏｂ", "bob"), ("𝐛𝐨𝐛", "bob"), ("h0st", "host")],
)  # fmt: skip
def test_confusable_names(one: str, other: str) -> None:
    # UTS 39 4: X and Y are confusable if and only if skeleton(X) = skeleton(Y).
    assert skeletons(one) & skeletons(other)


@pytest.mark.parametrize(("one", "other"), [("mila", "mlla"), ("ann", "anna"), ("b", "d"), ("rm", "mm")])
def test_names_that_stay_apart(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


def test_case_is_no_disguise() -> None:
    assert skeletons("ALICE") & skeletons("alice")
