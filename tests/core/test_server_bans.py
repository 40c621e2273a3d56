"""Bans from the server: what can be written, and who meets what. spec: docs/mapping.md 9.4"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.server_bans import BanIndex, BanKind, BanRefused, ServerBan, Visitor, parse_ban, parse_duration

K, D, X = BanKind.KLINE, BanKind.DLINE, BanKind.XLINE


def ban(kind: BanKind, text: str, expires: int | None = None) -> ServerBan:
    return ServerBan(kind, parse_ban(kind, text), "why", "@op:example.org", 0, expires)


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        (D, "192.0.2.7", "192.0.2.7"),
        (D, "192.0.2.7/24", "192.0.2.0/24"),
        (D, "192.0.2.7/32", "192.0.2.7"),
        (D, "2001:DB8::1/32", "2001:db8::/32"),
        (D, "[2001:db8::1]", "2001:db8::1"),
        (D, "::ffff:192.0.2.7", "192.0.2.7"),
        (D, "::ffff:192.0.2.0/120", "192.0.2.0/24"),
        (K, "Eve@*", "eve@*"),
        (K, "*@192.0.2.7/25", "*@192.0.2.0/25"),
        (K, "bot*@192.0.2.7", "bot*@192.0.2.7"),
        (K, "*@192.0.2.*", "*@192.0.2.*"),
        (K, "*@abcdef.guest.example.org", "*@abcdef.guest.example.org"),
        (X, "Buy * now", "Buy * now"),
    ],
)
def test_masks_have_one_form(kind: BanKind, text: str, kept: str) -> None:
    assert parse_ban(kind, text) == kept
    assert parse_ban(kind, kept) == kept


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((D, text) for text in ("", "*", "host.example", "192.0.2.*", "10.0.0.0/7", "2000::/3", "a@192.0.2.1")),
        *((K, text) for text in ("", "eve", "*@*", "@", "a@", "@a", "??*@*", "a!b@c", "a b@c", "*@0.0.0.0/0")),
        (K, "x" * 200 + "@*"),
        *((X, text) for text in ("", "*", "**??ab", "a\x02bc")),
    ],
)
def test_what_is_no_mask(kind: BanKind, text: str) -> None:
    with pytest.raises(BanRefused):
        parse_ban(kind, text)


ALICE = Visitor("192.0.2.7", ("alice",))
GUEST = Visitor("2001:db8::9", ("guest-7", "Gus"), ("abc.guest.example.org",), "Cheap pills now")


@pytest.mark.parametrize(
    ("kind", "text", "who", "met"),
    [
        (D, "192.0.2.0/24", ALICE, True),
        (D, "192.0.3.0/24", ALICE, False),
        (D, "192.0.2.7", Visitor("::ffff:192.0.2.7"), True),
        (D, "2001:db8::/64", GUEST, True),
        (D, "2001:db8::/64", ALICE, False),
        (D, "192.0.2.7", Visitor("local"), False),
        (K, "alice@*", ALICE, True),
        (K, "ALICE@*", Visitor("local", ("Alice",)), True),
        (K, "alice@*", GUEST, False),
        (K, "alice@192.0.2.0/24", ALICE, True),
        (K, "alice@192.0.2.0/24", Visitor("192.0.2.9", ("bob",)), False),
        (K, "*@192.0.2.0/24", Visitor("192.0.2.9"), True),
        (K, "al?c*@192.0.2.*", ALICE, True),
        (K, "al?c*@192.0.3.*", ALICE, False),
        (K, "gus@*", GUEST, True),
        (K, "*@abc.guest.*", GUEST, True),
        (K, "*@abd.guest.*", GUEST, False),
        (X, "*PILLS*", GUEST, True),
        (X, "*pills*", ALICE, False),
    ],
)
def test_who_meets_what(kind: BanKind, text: str, who: Visitor, met: bool) -> None:
    found = ban(kind, text)
    index = BanIndex((found,))
    assert index.of_visitor(who, 0) == (found if met else None)
    assert (index.of_address(who.address, 0) is not None) == (met and kind is D)
    assert index.drop(kind, found.mask) == found
    assert index.of_visitor(who, 0) is None
    assert index.drop(kind, found.mask) is None
    assert len(index) == 0


def test_a_ban_ends_and_another_of_its_kind_still_holds() -> None:
    index = BanIndex((ban(D, "192.0.2.7", expires=10), ban(D, "192.0.2.0/24", expires=20)))
    assert index.of_address("192.0.2.7", 9) is not None
    later = index.of_address("192.0.2.7", 15)
    assert later is not None and later.mask == "192.0.2.0/24"
    assert index.of_address("192.0.2.7", 20) is None


def test_the_same_mask_twice_is_one_ban() -> None:
    index = BanIndex((ban(K, "eve@*", expires=5), ban(K, "EVE@*")))
    assert len(index) == 1
    assert index.of_visitor(Visitor("", ("eve",)), 100) is not None


@given(st.lists(st.ip_addresses(v=4).map(str), max_size=20, unique=True), st.ip_addresses(v=4).map(str))
def test_the_index_finds_what_looking_at_all_of_them_finds(addresses: list[str], visitor: str) -> None:
    bans = [ban(D, f"{address}/{8 + at}") for at, address in enumerate(addresses)]
    found = BanIndex(bans).of_address(visitor, 0)
    alone = [one for one in bans if BanIndex((one,)).of_address(visitor, 0) is not None]
    assert (found in alone) if alone else found is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("30", 1800), ("0", 0), ("45s", 45), ("90m", 5400), ("12h", 43_200), ("1d12h", 129_600), ("2W", 1_209_600)),
        *(("", None), ("h", None), ("1h1d", None), ("1x", None), ("-5", None), ("99999999", None), ("eve@*", None)),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds
