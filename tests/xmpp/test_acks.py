"""The counters of stream management: exact modulo 2^32, bounded, right for any order of acks.

spec: XEP-0198 4, 5, 6, 13
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.xmpp.acks import WRAP, HandledTooMuch, Unacked, failed, parse_boolean, parse_count


def filled(count: int, *, start: int = 0, max_stanzas: int = 100, max_bytes: int = 10_000) -> Unacked:
    """Stanzas `1`, `2`, ... were sent behind `start` that are acknowledged."""
    unacked = Unacked(max_stanzas, max_bytes)
    unacked.sent = unacked.acked = start
    for number in range(count):
        unacked.add(b"%d" % (number + 1), number + 1)
    return unacked


def numbers(unacked: Unacked) -> list[int]:
    return [int(kept.data) for kept in unacked.kept()]


@pytest.mark.parametrize("start", [0, 7, WRAP - 3, WRAP - 1])
def test_an_ack_takes_what_was_handled(start: int) -> None:
    unacked = filled(5, start=start)
    unacked.acknowledge((start + 2) % WRAP)
    assert (numbers(unacked), unacked.outstanding) == ([3, 4, 5], 3)
    # Again, and an older one: true once, and nothing new.
    unacked.acknowledge((start + 2) % WRAP)
    unacked.acknowledge((start + 1) % WRAP)
    assert numbers(unacked) == [3, 4, 5]
    unacked.acknowledge((start + 5) % WRAP)
    assert (numbers(unacked), unacked.outstanding) == ([], 0)
    assert unacked.sent == (start + 5) % WRAP


@pytest.mark.parametrize("start", [0, WRAP - 3])
def test_more_than_was_sent_is_an_error(start: int) -> None:
    unacked = filled(5, start=start)
    for h in (start + 6, start + 100, start + WRAP // 2 - 1):
        with pytest.raises(HandledTooMuch) as caught:
            unacked.acknowledge(h % WRAP)
        assert (caught.value.h, caught.value.sent) == (h % WRAP, (start + 5) % WRAP)
        with pytest.raises(HandledTooMuch):
            unacked.can_go_on_from(h % WRAP)
    assert numbers(unacked) == [1, 2, 3, 4, 5]


def test_the_oldest_are_given_up_for_want_of_room() -> None:
    unacked = filled(5, max_stanzas=3)
    assert (numbers(unacked), unacked.outstanding, unacked.given_up) == ([3, 4, 5], 5, 1)
    assert [unacked.can_go_on_from(h) for h in range(6)] == [False, False, True, True, True, True]
    unacked.acknowledge(1)
    assert (numbers(unacked), unacked.given_up) == ([3, 4, 5], 1)
    unacked.acknowledge(3)
    assert (numbers(unacked), unacked.given_up) == ([4, 5], None)
    heavy = Unacked(100, 10)
    for size in (4, 4, 4, 11):
        heavy.add(bytes(size), size)
    assert (heavy.kept(), heavy.outstanding) == ([], 4)
    assert heavy.can_go_on_from(4) and not heavy.can_go_on_from(3)


def test_nobody_goes_on_from_before_what_he_acknowledged() -> None:
    unacked = filled(5)
    unacked.acknowledge(3)
    assert not unacked.can_go_on_from(2)
    assert unacked.can_go_on_from(3)


STEPS = st.lists(st.one_of(st.just("send"), st.integers(0, 40)), max_size=60)


@given(STEPS, st.integers(0, WRAP - 1), st.integers(1, 8))
def test_it_is_a_plain_list_with_an_end(steps: list[str | int], start: int, room: int) -> None:
    """Against a model that keeps everything and counts without wrapping."""
    unacked = filled(0, start=start, max_stanzas=room)
    sent = acked = 0
    for step in steps:
        if step == "send":
            sent += 1
            unacked.add(b"%d" % sent, sent)
        else:
            h = int(step)
            if h > sent:
                with pytest.raises(HandledTooMuch):
                    unacked.acknowledge((start + h) % WRAP)
            else:
                unacked.acknowledge((start + h) % WRAP)
                acked = max(acked, h)
        kept = list(range(acked + 1, sent + 1))[-room:]
        assert numbers(unacked) == kept
        assert unacked.outstanding == sent - acked
        lost = [n for n in range(acked + 1, sent + 1) if n not in kept]
        assert (unacked.given_up is None) is (not lost)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("0", 0), ("7", 7), (" 7 ", 7), ("+7", 7), ("0000000007", 7), ("4294967295", WRAP - 1)),
        *((None, None), ("", None), ("-1", None), ("4294967296", None), ("1e3", None), ("٣", None), ("9" * 5000, None)),
    ],
)
def test_counts(text: str | None, count: int | None) -> None:
    assert parse_count(text) == count


def test_booleans() -> None:
    assert [parse_boolean(text) for text in ("true", "1", " true ")] == [True] * 3
    assert [parse_boolean(text) for text in (None, "", "false", "0", "TRUE", "yes")] == [False] * 6


def test_failures() -> None:
    condition = b"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
    assert failed("item-not-found", 5) == b"<failed xmlns='urn:xmpp:sm:3' h='5'>" + condition + b"</failed>"
