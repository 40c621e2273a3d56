"""Lines that many connections get in common: whatever happens between them, each gets its own, once and in order."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tripoint.fanout.delivery import Flusher
from tripoint.fanout.holding import Pace
from tripoint.irc.hearers import MANY, Hearers
from tripoint.irc.outbox import IrcOutbox

PEOPLE = MANY + 4


class Turn:
    """A loop whose turn ends when it is told so."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None], /) -> object:
        self._soon.append(callback)
        return None

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        raise AssertionError("nothing is being committed")

    def end(self) -> None:
        due, self._soon = self._soon, []
        for callback in due:
            callback()


class Wire:
    def __init__(self) -> None:
        self.data = b""
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.data += data
        self.last = data
        self.writes += 1

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


def scene(people: int = PEOPLE) -> tuple[Turn, list[Wire], list[IrcOutbox]]:
    turn = Turn()
    flusher = Flusher(Pace(turn, lambda: False))
    wires = [Wire() for _ in range(people)]
    return turn, wires, [IrcOutbox(wire, flusher, 1 << 20, lambda: None) for wire in wires]


person = st.integers(0, PEOPLE - 1)
channel = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("say"), channel, st.none() | person),
    st.tuples(st.just("send"), person),
    st.tuples(st.just("join"), channel, person),
    st.tuples(st.just("part"), channel, person),
    st.tuples(st.just("begin"), person),
    st.tuples(st.just("end"), person),
    st.tuples(st.just("flush"), person),
    st.tuples(st.just("close"), person),
    st.tuples(st.just("turn")),
)


@given(st.lists(STEPS, max_size=60))
def test_everybody_gets_what_is_said_to_him_in_order(steps: list[tuple]) -> None:
    turn, wires, boxes = scene()
    channels = [Hearers(boxes[:MANY]), Hearers(boxes)]
    inside = [set(range(MANY)), set(range(PEOPLE))]
    expected: list[list[bytes]] = [[] for _ in boxes]
    labelled: set[int] = set()
    closed: set[int] = set()

    def hears(who: int, line: bytes) -> None:
        if who not in closed:
            expected[who].append(line)

    for number, (what, *args) in enumerate(steps):
        line = b"%d\r\n" % number
        if what == "say":
            where, skip = args
            channels[where].say(line, None if skip is None else boxes[skip])
            for who in inside[where] - {skip}:
                hears(who, line)
        elif what == "send":
            boxes[args[0]].send(line)
            hears(args[0], line)
        elif what == "join":
            channels[args[0]].add(boxes[args[1]])
            inside[args[0]].add(args[1])
        elif what == "part":
            channels[args[0]].discard(boxes[args[1]])
            inside[args[0]].discard(args[1])
        elif what == "begin" and args[0] not in labelled | closed:
            boxes[args[0]].begin("x", "irc.example", "b")
            labelled.add(args[0])
        elif what == "end" and args[0] in labelled:
            boxes[args[0]].end(answered=False)
            labelled.discard(args[0])
        elif what == "flush":
            boxes[args[0]].flush()
        elif what == "close" and args[0] not in labelled:
            boxes[args[0]].close()
            closed.add(args[0])
        elif what == "turn":
            turn.end()
    for who in labelled:
        boxes[who].end(answered=False)
    turn.end()
    for wire, box, lines in zip(wires, boxes, expected, strict=True):
        assert wire.data == b"".join(lines)
        assert box.sent_bytes == len(wire.data)
        assert box.sent == len(lines)
    assert [set(some) for some in channels] == [{boxes[who] for who in some} for some in inside]


def test_what_all_hear_is_joined_once() -> None:
    turn, wires, boxes = scene()
    hearers = Hearers(boxes)
    for line in (b"one\r\n", b"two\r\n", b"three\r\n"):
        hearers.say(line, boxes[0])
    boxes[1].send(b"alone\r\n")
    turn.end()
    assert [wire.data for wire in wires] == [
        b"",
        b"one\r\ntwo\r\nthree\r\nalone\r\n",
        *[b"one\r\ntwo\r\nthree\r\n"] * (PEOPLE - 2),
    ]
    assert {wire.writes for wire in wires[1:]} == {1}
    # What is the same for all is one object.
    assert len({id(wire.last) for wire in wires[2:]}) == 1


def test_a_run_ends_with_the_turn() -> None:
    turn, wires, boxes = scene()
    hearers = Hearers(boxes)
    hearers.say(b"one\r\n")
    turn.end()
    hearers.say(b"two\r\n")
    assert all(wire.data == b"one\r\n" for wire in wires)
    turn.end()
    assert all(wire.data == b"one\r\ntwo\r\n" for wire in wires)
    assert all(wire.writes == 2 for wire in wires)
