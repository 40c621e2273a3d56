"""When letters about what is unread are written."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.digest import DELAY_MS, FIRST_MS, FORGET_MS, LONGEST_MS, MAX_ROOMS, MAX_WAITING, Digest, Waiting
from tripoint.core.ids import RoomId

TEA, CAKE = RoomId("!tea:x"), RoomId("!cake:x")
MINUTE = 60_000


def at(position: int, since_ms: int, room: RoomId = TEA) -> Waiting:
    return Waiting(position, room, since_ms)


def test_the_first_letter_waits_for_who_is_at_a_screen() -> None:
    digest = Digest().add(at(1, 1000)).add(at(2, 5 * MINUTE))
    assert digest.due_ms() == 1000 + DELAY_MS
    # What is read meanwhile does not count.
    assert digest.without([at(1, 1000)]).due_ms() == 5 * MINUTE + DELAY_MS
    assert digest.without(digest.waiting).due_ms() is None


def test_the_next_letters_about_a_room_come_later_and_later() -> None:
    now = DELAY_MS
    digest = Digest().add(at(1, 0)).written(now)
    assert digest.waiting == () and digest.due_ms() is None
    digest = digest.add(at(2, now + 1))
    assert digest.due_ms() == now + 1 + DELAY_MS
    now = now + 1 + DELAY_MS
    digest = digest.written(now).add(at(3, now + MINUTE))
    assert digest.due_ms() == now + LONGEST_MS == now + FIRST_MS * 144
    # Another room is not put off, and takes along what waits there.
    digest = digest.add(at(4, now + 2 * MINUTE, CAKE))
    assert digest.due_ms() == now + 2 * MINUTE + DELAY_MS
    now = now + 2 * MINUTE + DELAY_MS
    digest = digest.written(now)
    assert digest.pauses[TEA].wait_ms == LONGEST_MS and digest.pauses[CAKE].wait_ms == FIRST_MS


def test_who_reads_is_written_to_as_at_first() -> None:
    digest = Digest().add(at(1, 0)).written(DELAY_MS).add(at(2, DELAY_MS)).written(2 * DELAY_MS)
    later = at(3, 2 * DELAY_MS + 1)
    assert digest.add(later).due_ms() == 2 * DELAY_MS + LONGEST_MS
    assert digest.read(CAKE) is digest
    assert digest.read(TEA).add(later).due_ms() == later.since_ms + DELAY_MS


def test_a_room_that_was_quiet_is_as_new() -> None:
    digest = Digest().add(at(1, 0)).written(DELAY_MS)
    quiet = at(2, DELAY_MS + FORGET_MS + 1)
    assert digest.add(quiet).due_ms() == quiet.since_ms + DELAY_MS
    assert digest.add(quiet).written(quiet.since_ms + DELAY_MS).pauses[TEA].wait_ms == FIRST_MS


def test_everything_is_bounded() -> None:
    digest = Digest()
    for number in range(MAX_WAITING + 5):
        digest = digest.add(at(number, 0, RoomId(f"!{number}:x")))
    assert len(digest.waiting) == MAX_WAITING and digest.waiting[0].position == 5
    for turn in range(8):
        for number in range(MAX_WAITING):
            digest = digest.add(at(turn * MAX_WAITING + number, turn, RoomId(f"!{turn}-{number}:x")))
        digest = digest.written(turn)
    assert len(digest.pauses) == MAX_ROOMS
    assert msgspec.json.decode(msgspec.json.encode(digest), type=Digest) == digest


places = st.builds(at, st.integers(1, 50), st.integers(0, 10**9), st.sampled_from([TEA, CAKE]))


@given(st.lists(places, max_size=20))
def test_events_wait_in_their_order_whatever_order_they_come_in(found: list[Waiting]) -> None:
    digest = Digest()
    for place in found:
        digest = digest.add(place)
    assert [(one.position, one.room_id) for one in digest.waiting] == sorted(
        {(one.position, one.room_id) for one in found}
    )
    due = digest.due_ms()
    assert (due is None) == (not found)
    assert due is None or all(due <= one.since_ms + DELAY_MS for one in digest.waiting)
