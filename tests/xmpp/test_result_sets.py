"""Pages of lists that are here whole.  spec: XEP-0059 2"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.result_sets import Stretch, stretch_of
from tripoint.xmpp.tables import RSM_NS
from tripoint.xmpp.wire import Element

IDS = [f"i{number}" for number in range(10)]


def rsm(**fields: str) -> Element:
    return Element("set", RSM_NS, {}, [Element(name, RSM_NS, {}, [text]) for name, text in fields.items()])


def page(**fields: str) -> Stretch:
    return stretch_of(IDS, rsm(**fields), usual=4, most=6)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ({}, 0, 4),
        ({"max": "2"}, 0, 2),
        ({"max": "100"}, 0, 6),  # no more than the list gives at once
        ({"max": "2", "after": "i3"}, 4, 6),
        ({"after": "i9"}, 10, 10),
        ({"max": "2", "before": ""}, 8, 10),  # 2.5: the last page
        ({"max": "3", "before": "i2"}, 0, 2),
        ({"max": "3", "index": "8"}, 8, 10),  # 2.6
        ({"index": "100"}, 10, 10),
        ({"max": "0"}, 0, 0),  # 2.7: how many there are
    ],
)
def test_the_part_that_is_asked_for(asked: dict[str, str], start: int, stop: int) -> None:
    found = page(**asked)
    assert (found.start, found.stop, found.total) == (start, stop, 10)


def test_what_goes_with_it() -> None:
    assert stretch_of(IDS, None, usual=4, most=6).xml() == (
        "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>i0</first><last>i3</last><count>10</count></set>"
    )
    assert page(max="0").xml() == "<set xmlns='http://jabber.org/protocol/rsm'><count>10</count></set>"


def test_what_is_not_there() -> None:
    for asked in ({"after": "gone"}, {"before": "gone"}, {"max": "many"}, {"index": "-1"}):
        with pytest.raises(Problem):
            page(**asked)
    # A list that is ordered by its ids goes on where the id would be.
    ordered = ["a", "c", "e"]
    places = {"b": 1, "d": 2, "z": 3}
    for named, start in places.items():
        found = stretch_of(ordered, rsm(after=named), usual=9, most=9, missing=places.__getitem__)
        assert found.start == start
    assert stretch_of(ordered, rsm(before="d"), usual=9, most=9, missing=places.__getitem__)[:2] == (0, 2)


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=30), st.integers(1, 7))
def test_page_after_page_is_the_list_in_both_directions(ids: list[str], size: int) -> None:
    forward: list[str] = []
    found = stretch_of(ids, rsm(max=str(size)), usual=5, most=9)
    while found.stop > found.start:
        forward += ids[found.start : found.stop]
        found = stretch_of(ids, rsm(max=str(size), after=found.last), usual=5, most=9)
    assert forward == ids
    backward: list[str] = []
    found = stretch_of(ids, rsm(max=str(size), before=""), usual=5, most=9)
    while found.stop > found.start:
        backward = ids[found.start : found.stop] + backward
        found = stretch_of(ids, rsm(max=str(size), before=found.first), usual=5, most=9)
    assert backward == ids
