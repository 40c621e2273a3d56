"""Nicks, standing and occupant ids. spec: docs/mapping.md 2.6, 7, 8.13"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.core.power import Rank
from tripoint.xmpp.jid import Jid, parse_jid
from tripoint.xmpp.projection import (
    Nicks,
    Standing,
    are_alike,
    clean_nick,
    handle_of,
    is_valid_nick,
    occupant_id,
    standing_of,
)

SERVER = ServerName("example.org")


def user(name: str) -> UserId:
    return UserId(f"@{name}:example.org")


def nicks(remembered=None, accounts=()) -> Nicks:
    def account_like(name: str) -> UserId | None:
        return next((user(one) for one in accounts if are_alike(one, name)), None)

    return Nicks(SERVER, remembered or {}, lambda user_id, nick: None, account_like)


@pytest.mark.parametrize(
    ("rank", "public", "standing"),
    [
        (Rank.OWNER, True, Standing("owner", "moderator")),
        (Rank.ADMIN, True, Standing("admin", "moderator", "admin")),
        (Rank.OP, True, Standing("admin", "moderator")),
        (Rank.HALFOP, True, Standing("member", "moderator", "halfop")),
        (Rank.VOICE, True, Standing("member", "participant")),
        (Rank.PLAIN, True, Standing("none", "participant")),
        (Rank.PLAIN, False, Standing("member", "participant")),
        (Rank.UNVOICED, True, Standing("none", "visitor")),
        (Rank.MUTED, False, Standing("member", "visitor")),
        (Rank.BANNED, True, Standing("outcast", "none")),
    ],
)
def test_standing(rank, public, standing):
    assert standing_of(rank, public=public) == standing


def test_every_rank_has_a_standing():
    for rank in Rank:
        standing_of(rank, public=True)


@pytest.mark.parametrize("nick", ["alice", "Alice in Wonderland", "Ålice", "爱丽丝", "🐈", "a/b", "x@y"])
def test_valid_nicks(nick):
    assert is_valid_nick(nick)
    assert str(parse_jid(f"room@rooms.example.org/{nick}")) == f"room@rooms.example.org/{nick}"


@pytest.mark.parametrize(
    "nick", ["", " a", "a ", "a\nb", "a\x00", "a\u202eb", "a\u200bb", "ﬁ", "x" * 251, "\ud800", "a\u2028b"]
)
def test_invalid_nicks(nick):
    assert not is_valid_nick(nick)


def test_first_come_first_kept():
    table = nicks()
    assert table.assign(user("ann"), "Kim") == "Kim"
    assert table.assign(user("bob"), "Kim") == "Kim (bob)"
    assert table.assign(user("cy"), "KIm") == "KIm (cy)"  # looks like klm, is kim
    assert table.assign(user("dan"), "ann") == "ann (dan)"  # her handle is hers
    # the first leaves; nobody else is renamed, the next may have it
    table.release(user("ann"))
    assert table.nick(user("bob")) == "Kim (bob)"
    assert table.assign(user("eve"), "Kim") == "Kim"


def test_bad_names_are_cleaned_or_replaced():
    table = nicks()
    assert table.assign(user("ann"), "A\u202enn\n") == "Ann"
    assert table.assign(user("bob"), "\u200b\u202e") == "bob"
    assert table.assign(user("cat"), "❤️") == "❤"
    assert table.assign(user("dan"), None) == "dan"
    assert table.assign(user("eve"), "x" * 1000).startswith("xxx")


def test_a_name_that_was_told_apart_stays_so_after_a_restart():
    remembered = {user("ann"): "Kim (ann)", user("bob"): "Kim"}
    table = nicks(remembered)
    assert table.assign(user("ann"), "Kim") == "Kim (ann)"
    assert table.assign(user("bob"), "Kim") == "Kim"
    assert table.assign(user("ann"), "Annabel") == "Annabel"


def test_remote_handles_are_safe():
    assert handle_of(UserId("@bob:remote.org"), SERVER) == "bob:remote.org"
    evil = handle_of(UserId("@b\r\nQUIT\u202e:remote.org"), SERVER)
    assert is_valid_nick(evil) and "~" in evil


def test_occupant_ids_differ_by_room_and_stay():
    one, other = RoomId("!a"), RoomId("!b")
    first = occupant_id(b"secret", one, user("ann"))
    assert first == occupant_id(b"secret", one, user("ann")) and len(first) == 64
    assert first != occupant_id(b"secret", other, user("ann"))
    assert first != occupant_id(b"secret", one, user("bob"))
    assert first != occupant_id(b"other", one, user("ann"))


@given(st.text(max_size=40))
def test_clean_nicks_are_valid_or_empty(name):
    cleaned = clean_nick(name)
    assert cleaned == "" or is_valid_nick(cleaned)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["Kim", "kim", "KlM", "a", "b", "", "🐈", None])),
        max_size=12,
    )
)
def test_nicks_stay_unique_and_valid(steps):
    table = nicks()
    for name, displayname in steps:
        nick = table.assign(user(name), displayname)
        assert is_valid_nick(nick)
        assert parse_jid(f"r@rooms.example.org/{nick}") == Jid("r", "rooms.example.org", nick)
    held = [table.nick(user(name)) for name in "abcdef" if table.nick(user(name))]
    assert len(held) == len(set(held))


def test_nobody_is_called_like_an_account_that_is_not_here() -> None:
    """docs/mapping.md 2.6: "is not another local account's localpart"; the first holder keeps it."""
    mallory = UserId("@mallory:evil.example")
    handle = handle_of(mallory, SERVER)
    room = nicks(accounts=("alice",))
    for wish in ("alice", "Alice", "\u0430lice", "a1ice"):
        assert room.assign(mallory, wish) == f"{wish} ({handle})", wish
        assert room.former(UserId("@trudy:evil.example"), wish) == handle_of(UserId("@trudy:evil.example"), SERVER)
    assert room.assign(user("bob"), "Alice") == "Alice (bob)"
    assert room.assign(user("alice"), "Alice") == "Alice"
    # Who was called so before there was such an account stays so.
    room = nicks({"@mallory:evil.example": "Alice"}, accounts=("alice",))
    assert room.assign(mallory, "Alice") == "Alice"
    assert room.assign(mallory, "Mal") == "Mal"
