"""Users that stand for people of other XMPP servers: one for each, and back again. docs/mapping.md 1.7"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import InvalidId, ServerName, UserId, parse_user_id
from tripoint.core.stand_ins import stand_in_address, stand_in_id

SERVER = ServerName("example.org")


@pytest.mark.parametrize(
    ("bare", "user_id"),
    [
        ("bob@other.org", "@_xmpp_bob=40other.org:example.org"),
        ("a_b@other.org", "@_xmpp_a__b=40other.org:example.org"),
        ("é@bücher.example", "@_xmpp_=c3=a9=40b=c3=bccher.example:example.org"),
        ("x=y@other.org", "@_xmpp_x=3dy=40other.org:example.org"),
        ("Bob@other.org", "@_xmpp__bob=40other.org:example.org"),
    ],
)
def test_names(bare: str, user_id: str) -> None:
    assert stand_in_id(bare, SERVER) == user_id
    assert stand_in_address(UserId(user_id), SERVER) == bare


@given(st.text(min_size=1, max_size=40).filter(lambda text: not {"@", "/"} & set(text)))
def test_there_and_back(local: str) -> None:
    try:
        bare = f"{local}@other.org"
        user_id = stand_in_id(bare, SERVER)
    except (InvalidId, UnicodeEncodeError):
        return  # too long, or no text
    assert parse_user_id(user_id) == user_id
    assert stand_in_address(user_id, SERVER) == bare


@pytest.mark.parametrize(
    "user_id",
    [
        "@alice:example.org",
        "@_xmpp_bob=40other.org:elsewhere.example",
        "@_xmpp_bob:example.org",
        "@_xmpp_bob=4:example.org",
        "@_xmpp_=ff=40other.org:example.org",
        "@_xmpp_:example.org",
        "@xmpp_bob=40other.org:example.org",
    ],
)
def test_everybody_else(user_id: str) -> None:
    assert stand_in_address(UserId(user_id), SERVER) is None


def test_an_address_that_is_too_long() -> None:
    with pytest.raises(InvalidId):
        stand_in_id("é" * 100 + "@other.org", SERVER)
