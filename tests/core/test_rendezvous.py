"""Places where two devices meet. spec: MSC4388 "The send mechanism", "Expiry" """

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.rendezvous import LIFE_MS, MAX_OF_NETWORK, MAX_PLACES, Meetings, NoRoom, Overtaken


def test_what_is_written_is_seen_by_who_writes_next() -> None:
    meetings = Meetings()
    first = meetings.open("new", "place", b"hello", "net", 0)
    assert first == meetings.find("new", "place", 1) and first.until_ms == LIFE_MS
    assert re.fullmatch("[A-Za-z0-9_-]{1,255}", first.token)
    second = meetings.write("new", "place", first.token, b"hi", 5, again=True)
    assert second is not None and (second.data, second.until_ms, second.changed_ms) == (b"hi", LIFE_MS, 5)
    # The same words once more are something new, where they were seen.
    third = meetings.write("new", "place", second.token, b"hi", 6, again=True)
    assert third is not None and third.token != second.token
    # Whoever did not hear that it was written writes it again, and nothing happens.
    assert meetings.write("new", "place", second.token, b"hi", 7, again=True) == third
    with pytest.raises(Overtaken) as overtaken:
        meetings.write("new", "place", second.token, b"hi", 7, again=False)
    assert overtaken.value.now == third
    with pytest.raises(Overtaken):
        meetings.write("new", "place", first.token, b"other", 7, again=True)
    # One interface does not see the places of the other.
    assert meetings.find("old", "place", 7) is None and not meetings.close("old", "place", 7)
    assert meetings.close("new", "place", 7) and not meetings.close("new", "place", 7)
    assert meetings.write("new", "place", third.token, b"x", 7, again=True) is None


def test_a_place_ends_by_itself() -> None:
    meetings = Meetings()
    meetings.open("new", "one", b"", "net", 0)
    meetings.open("new", "two", b"", "net", 1000)
    meetings.write("new", "one", meetings.find("new", "one", 5).token, b"x", 5, again=True)  # type: ignore[union-attr]
    assert meetings.find("new", "one", LIFE_MS - 1) is not None
    assert meetings.find("new", "one", LIFE_MS) is None
    assert len(meetings) == 1
    assert meetings.find("new", "two", LIFE_MS) is not None


def test_there_are_so_many() -> None:
    meetings = Meetings()
    for number in range(MAX_OF_NETWORK):
        meetings.open("new", f"a{number}", b"", "net", number)
    with pytest.raises(NoRoom) as full:
        meetings.open("new", "more", b"", "net", 500)
    assert full.value.retry_after_ms == LIFE_MS - 500
    meetings.close("new", "a3", 500)
    meetings.open("new", "more", b"", "net", 500)
    for number in range(MAX_PLACES - MAX_OF_NETWORK):
        meetings.open("new", f"b{number}", b"", f"net{number}", 500)
    with pytest.raises(NoRoom):
        meetings.open("new", "last", b"", "other", 500)
    assert len(meetings) == MAX_PLACES
    meetings.open("new", "last", b"", "other", LIFE_MS + 500)
    assert len(meetings) == 1


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=3)), max_size=20))
def test_no_two_texts_have_one_token(writes: list[tuple[str, bytes]]) -> None:
    meetings = Meetings()
    tokens = {name: [meetings.open("new", name, b"", "net", 0).token] for name in ("a", "b")}
    for name, data in writes:
        written = meetings.write("new", name, tokens[name][-1], data, 1, again=True)
        assert written is not None
        tokens[name].append(written.token)
    every = [token for found in tokens.values() for token in found]
    assert len(every) == len(set(every))
