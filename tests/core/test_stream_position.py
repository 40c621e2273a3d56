"""Stream positions: what is given out is understood again, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.stream_position import BadPosition, StreamPosition, parse_stream_position


@given(st.dictionaries(st.integers(1, 10**9 - 1), st.integers(0, 10**18 - 1), min_size=1, max_size=8))
def test_there_and_back(numbers: dict[int, int]) -> None:
    position = StreamPosition(tuple(sorted(numbers.items())))
    assert parse_stream_position(position.text()) == position
    for writer, number in numbers.items():
        assert position.of(writer) == number


def test_a_writer_that_is_not_named_stands_at_the_beginning() -> None:
    assert StreamPosition.at(5).of(2) == 0
    assert StreamPosition.at(5).of() == 5
    assert StreamPosition.at(5).text() == "1-5"


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-1.1-2", "1-1.", "a-1", "1-1 ", "1-1\n", "1-" + "9" * 30])
def test_other_texts(text: str) -> None:
    with pytest.raises(BadPosition):
        parse_stream_position(text)


@given(st.text(max_size=40))
def test_garbage(text: str) -> None:
    try:
        parse_stream_position(text)
    except BadPosition:
        pass
