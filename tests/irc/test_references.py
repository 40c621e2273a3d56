"""References into a history, and any garbage in their place.  spec: IRCv3 chathistory, server-time"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.errors import PeerError
from tripoint.irc.references import UnknownReferenceType, parse_limit, parse_reference, parse_time
from tripoint.irc.render import server_time
from tripoint.rooms.history import ByEvent, ByTime


@pytest.mark.parametrize(
    ("word", "ts_ms"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2019-01-04T14:33:26.123Z", 1546612406123),
        ("2019-01-04T14:33:26Z", 1546612406000),
        ("2019-01-04T14:33:26.1239Z", 1546612406123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
    ],
)
def test_times(word: str, ts_ms: int) -> None:
    assert parse_time(word) == ts_ms
    assert parse_reference(f"timestamp={word}") == ByTime(ts_ms)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "*",
        "timestamp",
        "timestamp=",
        "timestamp=2019-01-04",
        "timestamp=2019-01-04T14:33:26.123",
        "timestamp=2019-01-04T14:33:26+01:00",
        "timestamp=2019-02-30T14:33:26.123Z",
        "timestamp=2019-01-04T25:33:26.123Z",
        "timestamp=2019-01-04T14:33:60.123Z",
        "timestamp=0000-01-04T14:33:26.123Z",
        "timestamp=\u0662019-01-04T14:33:26.123Z",
        "msgid=",
        "msgid",
        "msgid=" + "x" * 256,
    ],
)
def test_what_is_no_reference(word: str) -> None:
    with pytest.raises(PeerError) as refused:
        parse_reference(word)
    assert not isinstance(refused.value, UnknownReferenceType)


def test_a_msgid_is_taken_as_it_stands() -> None:
    assert parse_reference("msgid=$a=b") == ByEvent("$a=b")
    with pytest.raises(UnknownReferenceType):
        parse_reference("line=12")


@given(st.integers(0, 253402300799999))
def test_a_time_comes_back(ts_ms: int) -> None:
    """What a server-time tag said can be asked for."""
    assert parse_time(server_time(ts_ms)) == ts_ms


@given(st.text() | st.text("timestamp=msgid0123456789-:.TZ*$"))
def test_garbage_is_refused_with_words(word: str) -> None:
    for parse in (parse_reference, parse_time, lambda w: parse_limit(w, 100)):
        try:
            parse(word)
        except PeerError as error:
            assert str(error)


@pytest.mark.parametrize(("word", "limit"), [("1", 1), ("007", 7), ("100", 100), ("101", 100), ("999999999", 100)])
def test_limits(word: str, limit: int) -> None:
    assert parse_limit(word, 100) == limit


@pytest.mark.parametrize("word", ["", "0", "00", "-1", "+1", "1.5", "1e3", "\u0661", "9999999999", "x"])
def test_what_is_no_limit(word: str) -> None:
    with pytest.raises(PeerError):
        parse_limit(word, 100)
