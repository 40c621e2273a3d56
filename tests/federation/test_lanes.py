"""One destination, without a network: what waits, what is missed, what is written down.

spec: Matrix server-server-api "Transactions"
"""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.canonical_json import encode
from tripoint.core.ids import ServerName
from tripoint.matrix.federation import lanes
from tripoint.matrix.federation.lanes import (
    FIRST_WAIT_MS,
    LONGEST_WAIT_MS,
    MAX_EDUS,
    MAX_PDUS,
    MAX_PENDING,
    RECENT_MS,
    RECENT_WAIT_MS,
    Edu,
    Failing,
    Lane,
    next_failing,
)
from tripoint.rooms.outbox import DestinationRow, MissedRow, Outgoing, UnansweredRow

FAR = ServerName("far.example")


def entry(position: int, room_key: int = 1, size: int = 20) -> Outgoing:
    return Outgoing(position, room_key, b'{"x":"%s"}' % (b"a" * size), (FAR,))


def receipt(position: int, room_key: int = 1) -> Edu:
    return Edu("m.receipt", {"n": position}, room_key, position)


def test_waits_grow_to_minutes_and_later_to_an_hour() -> None:
    failing: Failing | None = None
    now_ms, waits = 1_000_000, []
    for _ in range(60):
        failing = next_failing(failing, now_ms, 0.5)
        waits.append(failing.retry_at_ms - now_ms)
        now_ms = failing.retry_at_ms
    assert waits[0] == FIRST_WAIT_MS and waits == sorted(waits)
    first = 1_000_000
    at = first
    for wait in waits:
        if at - first < RECENT_MS:
            assert wait <= RECENT_WAIT_MS
        at += wait
    assert waits[-1] == LONGEST_WAIT_MS
    # Those of many servers are spread.
    assert next_failing(failing, now_ms, 0.0).retry_at_ms - now_ms < LONGEST_WAIT_MS * 0.8
    assert next_failing(failing, now_ms, 1.0).retry_at_ms - now_ms > LONGEST_WAIT_MS * 1.2


def test_a_transaction_holds_so_much_and_is_canonical() -> None:
    lane = Lane(FAR)
    for position in range(1, 121):
        lane.add(entry(position))
    for number in range(MAX_EDUS + 50):
        lane.add_edu(("m.typing", str(number)), Edu("m.typing", {"n": number}))
    sizes = []
    while lane.has_work:
        parcel = lane.pack()
        body = parcel.seal("x-1", ServerName("here.example"), 5)
        assert encode(orjson.loads(body)) == body
        sizes.append((len(parcel.pdus), len(parcel.edus)))
        lane.arrived()
    assert sizes == [(50, 100), (50, 0), (20, 0)]
    assert lane.position == 120


def test_large_events_make_short_transactions() -> None:
    lane = Lane(FAR)
    for position in range(1, 102):
        lane.add(entry(position, size=65_000))
    while lane.has_work:
        parcel = lane.pack()
        assert 0 < len(parcel.seal("x-1", FAR, 5)) < lanes.MAX_BODY_BYTES + 10_000
        lane.arrived()
    assert lane.position == 101


def test_what_waits_is_bounded_and_the_rest_is_missed() -> None:
    lane = Lane(FAR)
    for position in range(1, 10 * MAX_PENDING):
        lane.add(entry(position, room_key=position % 3))
    assert len(lane.pending) <= MAX_PENDING and set(lane.missed) <= {0, 1, 2}
    assert lane.missed == {1: 1, 2: 2, 0: 3}
    lane.failed(1000, 0.5)
    for position in range(10 * MAX_PENDING, 20 * MAX_PENDING):
        lane.add(entry(position, room_key=position % 3))
        lane.add_edu(("m.typing", str(position)), Edu("m.typing", {}))
        lane.add_edu(("m.receipt", str(position)), receipt(position, 7))
    assert not lane.pending and not lane.edus
    assert lane.missed == {1: 1, 2: 2, 0: 3, 7: 10 * MAX_PENDING}


def test_a_transaction_that_fails_is_missed_with_what_waited() -> None:
    lane = Lane(FAR)
    lane.add(entry(5, room_key=1))
    lane.add_edu(("r",), receipt(6, 2))
    lane.add_edu(("t",), Edu("m.typing", {}))
    lane.pack()
    lane.add(entry(7, room_key=3))
    lane.add(entry(8, room_key=1))
    lane.failed(1000, 0.5)
    assert lane.missed == {1: 5, 2: 6, 3: 7} and lane.parcel is None
    lane.pack()
    rooms = []
    while (missed := lane.next_missed()) is not None:
        rooms.append(missed)
        assert lane.add_missed([b"{}"], [])
    assert sorted(rooms) == [(1, 5), (2, 6), (3, 7)]
    # What happens in such a room meanwhile is said when the transaction has arrived.
    lane.failing = None
    lane.add(entry(9, room_key=1))
    assert [e.position for e in lane.pending] == [9]
    lane.failed(2000, 0.5)
    assert lane.missed == {1: 5, 2: 6, 3: 7}


def test_rooms_that_do_not_fit_go_with_the_next() -> None:
    lane = Lane(FAR)
    for room_key in range(200):
        lane.restore_missed(room_key, 1)
    transactions = 0
    while lane.has_work:
        parcel = lane.pack()
        while (missed := lane.next_missed()) is not None:
            if not lane.add_missed([b"{}"] * 7, [receipt(1)] * 3):
                lane.leave_missed(missed[0])
                break
        assert 0 < len(parcel.pdus) <= MAX_PDUS and len(parcel.edus) <= MAX_EDUS
        lane.arrived()
        transactions += 1
    assert transactions == 29


def test_only_what_differs_from_the_floor_is_written_down() -> None:
    lane = Lane(FAR)
    lane.add(entry(5))
    assert lane.first_position() == 5
    lane.pack()
    assert lane.first_position() == 5
    lane.arrived()
    assert lane.first_position() is None
    assert lane.rows(5) == ([], [], []) and lane.is_settled(5)
    # Others hold the floor back.
    assert lane.rows(3) == ([DestinationRow(FAR, 5, 0, 0, 0)], [], []) and not lane.is_settled(3)
    assert lane.rows(3) == ([], [], [])
    assert lane.rows(5) == ([DestinationRow(FAR, None, 0, 0, 0)], [], []) and lane.is_settled(5)
    lane.add(entry(6))
    lane.pack()
    lane.failed(1000, 0.5)
    destinations, missed, _ = lane.rows(6)
    assert destinations == [DestinationRow(FAR, 5, 1000, 1000 + FIRST_WAIT_MS, FIRST_WAIT_MS)]
    assert missed == [MissedRow(FAR, 1, 6)]
    # On its way it stays written down; a store that failed is asked again.
    lane.pack()
    lane.next_missed()
    lane.rows_lost(missed, [])
    assert lane.rows(6)[1] == [MissedRow(FAR, 1, 6)]
    lane.add_missed([b"{}"], [])
    lane.failing = None
    lane.arrived()
    assert lane.rows(6) == ([DestinationRow(FAR, None, 0, 0, 0)], [MissedRow(FAR, 1, None)], [])
    assert lane.is_settled(6)


HERE = ServerName("here.example")


def test_one_that_was_not_acknowledged_comes_again_as_it_was() -> None:
    """spec: "must wait and retry for a 200 OK response before sending a transaction with a different txnId"."""
    lane = Lane(FAR)
    for at in (5, 6):
        lane.add(entry(at, room_key=at))
    lane.add_edu(("r",), receipt(7, 7))
    lane.add_edu(("t",), Edu("m.typing", {}))
    lane.pack().seal("x-1", HERE, 99)
    lane.add(entry(8, room_key=6))
    lane.failed(1000, 0.5)
    lane.add(entry(9, room_key=7))
    # Were it never to arrive, this would be missed.
    assert lane.missed == {5: 5, 6: 6, 7: 7} and lane.first_position() is None
    kept = lane.unanswered
    assert kept is not None and kept.txn_id == "x-1" and kept.body is not None
    body = orjson.loads(kept.body)
    # Nobody types for minutes.
    assert len(body["pdus"]) == 2 and [edu["edu_type"] for edu in body["edus"]] == ["m.receipt"]
    assert body["origin_server_ts"] == 99 and encode(body) == kept.body
    # Written down, it takes no memory; it fails again, and stays the same.
    row = UnansweredRow(FAR, "x-1", kept.body)
    assert lane.rows(9)[2] == [row] and lane.rows(9)[2] == []
    lane.rows_written([row])
    lane.failed(2000, 0.5)
    assert lane.unanswered is kept and kept.body is None and lane.has_work
    # It arrives: what it did not hold is missed.
    lane.failing = None
    lane.arrived_at_last()
    assert lane.missed == {6: 8, 7: 9}
    _, missed, unanswered = lane.rows(9)
    assert sorted(missed, key=lambda m: m.room_key) == [
        MissedRow(FAR, 5, None), MissedRow(FAR, 6, 8), MissedRow(FAR, 7, 9)
    ]  # fmt: skip
    assert unanswered == [UnansweredRow(FAR, None, b"")]


def test_a_room_that_lacks_more_than_the_transaction_held_stays_missed() -> None:
    lane = Lane(FAR)
    lane.restore_missed(1, 3)
    lane.add_edu(("r",), receipt(7, 1))
    lane.pack().seal("x-1", HERE, 99)
    lane.failed(1000, 0.5)
    lane.failing = None
    lane.arrived_at_last()
    assert lane.missed == {1: 3}


def test_nothing_is_kept_of_what_is_not_worth_saying_later() -> None:
    lane = Lane(FAR)
    lane.add_edu(("t",), Edu("m.typing", {}))
    lane.pack().seal("x-1", HERE, 99)
    lane.failed(1000, 0.5)
    assert lane.unanswered is None and not lane.has_work


def test_one_that_could_not_be_written_down_is_due_again_and_a_given_up_one_forgotten() -> None:
    lane = Lane(FAR)
    lane.add(entry(5))
    lane.pack().seal("x-1", HERE, 99)
    lane.hold()
    _, missed, unanswered = lane.rows(5)
    assert unanswered and lane.first_position() is None
    lane.rows_lost(missed, unanswered)
    assert lane.rows(5)[1:] == (missed, unanswered)
    lane.give_up()
    assert lane.rows(5)[2] == [UnansweredRow(FAR, None, b"")] and lane.missed == {1: 5}


STEPS = st.tuples(st.sampled_from(("add", "edu", "pack", "again", "arrived", "failed", "given up")), st.integers(0, 3))


@given(st.lists(STEPS, max_size=60))
def test_nothing_is_ever_neither_acknowledged_nor_waiting_nor_missed(steps: list[tuple[str, int]]) -> None:
    """The promise of the floor: whatever is above it waits, is on its way, was acknowledged or is written down."""
    lane, position, unsaid = Lane(FAR), 0, {}
    on_the_way: dict[int, int] = {}
    held: dict[int, int] = {}
    for step, room_key in steps:
        if step in ("add", "edu"):
            position += 1
            unsaid[position] = room_key
            if step == "add":
                lane.add(entry(position, room_key))
            else:
                lane.add_edu(("r", str(position)), receipt(position, room_key))
        elif step == "again" and lane.unanswered is not None:
            lane.failing = None
            lane.arrived_at_last()
            for done in held:
                unsaid.pop(done, None)
        elif step == "given up":
            lane.give_up()
        elif step == "pack" and lane.parcel is None and lane.unanswered is None:
            parcel = lane.pack()
            while lane.next_missed() is not None:
                lane.add_missed([b"{}"], [])
            on_the_way = {e.position: e.room_key for e in parcel.entries}
            on_the_way |= {e.position: e.room_key for e in parcel.edus if e.position is not None}
            on_the_way |= {p: room for p, room in unsaid.items() if p >= parcel.rooms.get(room, 10**9)}
            parcel.seal("x", HERE, 1)
        elif step == "arrived" and lane.parcel is not None:
            lane.failing = None
            lane.arrived()
            for done in on_the_way:
                unsaid.pop(done, None)
        elif step == "failed" and lane.parcel is not None:
            lane.failed(1000, 0.5)
            held = dict(on_the_way) if lane.unanswered is not None else {}
        first = lane.first_position()
        for at, room in unsaid.items():
            rooms = dict(lane.missed)
            if lane.parcel is not None:
                for key, since in lane.parcel.rooms.items():
                    rooms[key] = min(since, rooms.get(key, since))
            assert (first is not None and at >= first) or at >= rooms.get(room, 10**9)


def test_what_was_missed_long_ago_does_not_hold_the_floor_back() -> None:
    """It is written down: were the floor to go back for it, the next start would read the log of days again."""
    lane = Lane(FAR)
    lane.restore_missed(1, 5)
    lane.add(entry(900, room_key=2))
    lane.pack()
    assert lane.next_missed() == (1, 5)
    assert lane.add_missed([b"{}"], [receipt(7), receipt(8)])
    assert lane.first_position() == 900
    lane.failed(1000, 0.5)
    assert lane.missed == {1: 5, 2: 900} and lane.first_position() is None


@pytest.mark.parametrize("edus", [0, 150])
def test_receipts_of_a_missed_room_are_cut_to_the_newest(edus: int) -> None:
    lane = Lane(FAR)
    lane.restore_missed(1, 1)
    parcel = lane.pack()
    assert lane.next_missed() == (1, 1)
    assert lane.add_missed([], [receipt(number) for number in range(edus)])
    assert len(parcel.edus) == min(edus, MAX_EDUS)
    assert [edu.content["n"] for edu in parcel.edus] == list(range(max(0, edus - MAX_EDUS), edus))


def direct(lane: Lane, queue: list[int]) -> list[int]:
    """Take what there is place for of the messages to devices that wait (Sender does it so); their positions."""
    limit, _ = lane.direct_room()
    lane.has_direct = False
    taken = [position for position in queue if position > lane.direct_upto][:limit]
    lane.has_direct = len(taken) == limit
    if taken:
        lane.add_direct([Edu("m.direct_to_device", {"n": n}) for n in taken], taken[-1])
    return taken


DIRECT = st.sampled_from(("queue", "queue", "pack", "again", "arrived", "failed", "refused"))


@given(st.lists(DIRECT, max_size=80), st.sets(st.integers(1, 12), max_size=2))
def test_messages_to_devices_arrive_in_order_and_those_that_are_never_taken_are_alone_lost(
    steps: list[str], poison: set[int]
) -> None:
    lane, position = Lane(FAR), 0
    queue: list[int] = []
    arrived: list[int] = []
    dropped: list[int] = []
    on_the_way: list[int] = []
    held: list[int] = []
    for step in [*steps, *(["again", "pack", "refused", "arrived"] * 60)]:
        if step == "queue":
            position += 1
            queue.append(position)
            lane.has_direct = True
        elif step == "pack" and lane.parcel is None and lane.unanswered is None and lane.has_direct:
            lane.pack()
            on_the_way = direct(lane, queue)
            assert lane.parcel is not None
            lane.parcel.seal("x", HERE, 1)
        elif step == "arrived" and lane.parcel is not None and not poison.intersection(on_the_way):
            lane.failing = None
            lane.arrived()
            arrived += on_the_way
        elif step == "failed" and lane.parcel is not None:
            lane.failed(1000, 0.5)
            held = on_the_way
        elif step == "again" and lane.unanswered is not None and not poison.intersection(held):
            lane.failing = None
            lane.arrived_at_last()
            arrived += held
        elif step == "refused" and poison.intersection(on_the_way if lane.parcel is not None else held):
            if lane.parcel is not None:
                lane.failed(1000, 0.5)
            elif lane.unanswered is None:
                continue
            held = []
            if lost := lane.give_up():
                dropped.append(lost)
        if lane.unanswered is None and lane.parcel is None:
            # Whatever has neither arrived nor was dropped goes with one of the next.
            assert lane.has_direct or not [one for one in queue if one > lane.direct_upto]
    assert arrived == sorted(set(arrived)) and dropped == sorted(poison.intersection(queue))
    assert sorted([*arrived, *dropped]) == queue and not lane.has_work


def test_changes_of_a_device_are_missed_until_they_are_told_and_the_newest_alone() -> None:
    lane = Lane(FAR)
    lane.lack_device(5)
    lane.lack_device(7)
    lane.lack_device(9, replaced=5)
    assert lane.has_work and lane.missed == {-7: 7, -9: 9}
    assert {(row.room_key, row.since) for row in lane.rows(10)[1]} == {(-5, None), (-7, 7), (-9, 9)}
    lane.pack()
    assert lane.next_missed() == (-7, 7) and lane.add_missed([], [Edu("m.device_list_update", {})])
    # While it is on its way the device changes once more.
    lane.lack_device(11, replaced=7)
    assert lane.next_missed() == (-9, 9) and lane.add_missed([], [])
    assert lane.parcel is not None
    lane.parcel.seal("x", HERE, 1)
    lane.arrived()
    assert lane.missed == {-11: 11}
