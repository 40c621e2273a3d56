"""Pages of a list that is here whole: which part is asked for, and where it lies. Pure.

Archives, which are not here whole, have their own reading of it (archive_query.py).
spec: XEP-0059 2.1-2.7.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import RSM_NS
from tripoint.xmpp.wire import Element, escape_text


class Stretch(NamedTuple):
    """The part of a list from `start` up to `stop`; `first` and `last`: the ids at its ends, "" of an empty one."""

    start: int
    stop: int
    total: int
    first: str
    last: str

    def xml(self) -> str:
        """The <set/> that goes with the part. spec: XEP-0059 2.6"""
        ends = ""
        if self.stop > self.start:
            ends = f"<first index='{self.start}'>{escape_text(self.first)}</first><last>{escape_text(self.last)}</last>"
        return f"<set xmlns='{RSM_NS}'>{ends}<count>{self.total}</count></set>"


def stretch_of(
    ids: Sequence[str], rsm: Element | None, *, usual: int, most: int, missing: Callable[[str], int] | None = None
) -> Stretch:
    """The part that a <set/> asks for; without one, the first `usual`. At most `most`, however many are asked for.

    `missing(id)`: before which place an id would stand that is not in the list; without it, Problem. spec: XEP-0059
    2.1-2.4
    """
    size, start = usual, 0
    if rsm is not None:
        text = rsm.child_text("max", RSM_NS)
        size = usual if text is None else min(number_in(text), most)
        after, before, index = (rsm.child_text(name, RSM_NS) for name in ("after", "before", "index"))
        if index is not None:
            start = min(number_in(index), len(ids))
        elif after:
            start = _place(ids, after, missing)
            start += start < len(ids) and ids[start] == after
        elif before is not None:
            end = _place(ids, before, missing) if before else len(ids)
            return part_of(ids, max(end - size, 0), end)
    return part_of(ids, start, min(start + size, len(ids)))


def part_of(ids: Sequence[str], start: int, stop: int) -> Stretch:
    """A stretch of the list between two places."""
    first, last = (ids[start], ids[stop - 1]) if stop > start else ("", "")
    return Stretch(start, stop, len(ids), first, last)


def _place(ids: Sequence[str], named: str, missing: Callable[[str], int] | None) -> int:
    try:
        return ids.index(named)
    except ValueError:
        if missing is None:
            raise Problem("item-not-found", "That is not in the list any more") from None
        return missing(named)


def number_in(text: str) -> int:
    """A number that a client writes; Problem for anything else."""
    digits = text.strip()
    if not digits.isdecimal() or not digits.isascii():
        raise Problem("bad-request", f"'{text[:20]}' is not a number")
    return int(digits[:9])
