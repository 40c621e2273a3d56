"""When what many are to hear is said (DESIGN's rule: wakes may be debounced under load, never when idle)."""

import asyncio
from collections.abc import Callable

from tripoint.fanout.delivery import Flusher, Outbox
from tripoint.fanout.holding import FEW, HOLD_S, Pace

MANY = FEW + 1


class Timer:
    def __init__(self, when_s: float, callback: Callable[[], None]) -> None:
        self.when_s = when_s
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """A loop whose turns and clock the test moves."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []
        self.now_s = 0.0

    def call_soon(self, callback: Callable[[], None], /) -> object:
        self.soon.append(callback)
        return None

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        timer = Timer(self.now_s + delay, callback)
        self.timers.append(timer)
        return timer  # type: ignore[return-value]  # its cancel() is all that is used

    def turn(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        for timer in self.timers:
            if timer.when_s <= self.now_s and timer.callback is not None:
                self.soon.append(timer.callback)
                timer.cancel()
        callbacks, self.soon = self.soon, []
        for callback in callbacks:
            callback()


class Wire:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Server:
    """Some connections, and a disk that is busy or not."""

    def __init__(self, connections: int) -> None:
        self.busy = False
        self.loop = Loop()
        self.pace = Pace(self.loop, lambda: self.busy)
        flusher = Flusher(self.pace)
        self.wires = [Wire() for _ in range(connections)]
        self.outboxes = [Outbox(wire, flusher, 1000, lambda: None) for wire in self.wires]

    def say(self, line: bytes) -> None:
        for outbox in self.outboxes:
            outbox.send(line)

    def settle(self) -> None:
        self.busy = False
        self.pace.settled()

    def all_have(self, *written: bytes) -> bool:
        return all(wire.written == list(written) for wire in self.wires)


def test_nothing_waits_on_an_idle_server() -> None:
    server = Server(MANY)
    server.say(b"tea\n")
    server.say(b"now\n")
    assert server.all_have()
    server.loop.turn()
    assert server.all_have(b"tea\nnow\n")


def test_many_get_what_is_being_committed_in_one_piece() -> None:
    server = Server(MANY)
    server.busy = True
    server.say(b"tea\n")
    server.loop.turn()
    assert server.all_have()
    server.say(b"now\n")
    server.settle()
    server.loop.turn()
    assert server.all_have(b"tea\nnow\n")
    # The timer that was to bound the waiting has nothing left to do, and the next line waits for nothing.
    server.loop.turn(HOLD_S)
    server.say(b"really\n")
    server.loop.turn()
    assert server.all_have(b"tea\nnow\n", b"really\n")


def test_a_disk_that_stays_busy_holds_up_nobody_for_long() -> None:
    server = Server(MANY)
    server.busy = True
    server.say(b"tea\n")
    server.loop.turn()
    server.loop.turn(HOLD_S / 2)
    assert server.all_have()
    server.loop.turn(HOLD_S / 2)
    assert server.all_have(b"tea\n")
    server.say(b"now\n")
    server.loop.turn()
    server.loop.turn(HOLD_S)
    assert server.all_have(b"tea\n", b"now\n")


def test_what_concerns_few_is_said_at_once() -> None:
    server = Server(FEW)
    server.busy = True
    server.say(b"tea\n")
    server.loop.turn()
    assert server.all_have(b"tea\n")


def test_settling_twice_in_a_turn_says_all_once() -> None:
    server = Server(MANY)
    server.busy = True
    server.say(b"tea\n")
    server.loop.turn()
    server.settle()
    server.busy = True
    server.settle()
    server.loop.turn()
    server.loop.turn(HOLD_S)
    assert server.all_have(b"tea\n")
