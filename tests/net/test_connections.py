"""Connections are counted by where they come from; background work ends with the server."""

import asyncio

from tests.support.middle import run
from tripoint.core.token_bucket import Rate
from tripoint.net.connections import Background, Connections


def test_a_network_counts_as_one_address() -> None:
    connections: Connections[str] = Connections()
    assert connections.admit("a", "2001:db8::1", 2) is None
    assert connections.admit("b", "2001:db8::2", 2) is None
    assert connections.admit("c", "2001:db8::3", 2) == "Too many connections from your address"
    assert connections.admit("d", "192.0.2.1", 2) is None
    assert connections.admit("e", "192.0.2.1", 0) is None
    assert len(connections) == 5
    assert connections.gone("c")
    assert not connections.gone("c")
    assert connections.gone("a")
    assert connections.admit("f", "2001:db8::4", 2) is None
    connections.closing = True
    assert connections.admit("g", "192.0.2.9", 2) == "The server is shutting down"
    assert set(connections.all()) == {"b", "d", "e", "f", "g"}


def test_background_work_is_waited_for_and_a_bug_in_it_stays_its_own() -> None:
    async def work() -> None:
        background = Background("test")
        done: list[str] = []

        async def fine() -> None:
            await asyncio.sleep(0)
            done.append("fine")

        async def begins_more() -> None:
            background.spawn(fine())

        async def broken() -> None:
            raise RuntimeError("a bug")

        for begun in (fine(), begins_more(), broken()):
            background.spawn(begun)
        await background.finish()
        assert done == ["fine", "fine"]

    run(work)


def test_what_is_late_is_cancelled() -> None:
    async def work() -> None:
        background = Background("test")
        cancelled = asyncio.Event()

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        background.spawn(forever())
        await asyncio.sleep(0)
        await background.finish(0.01)
        assert cancelled.is_set()

    run(work)


def test_the_network_around_an_address_has_its_own_limit() -> None:
    connections: Connections[str] = Connections()
    for number in range(3):
        assert connections.admit(f"a{number}", f"192.0.2.{number}", 2, network_limit=3) is None
    assert connections.admit("b", "192.0.2.77", 2, network_limit=3) == "Too many connections from your network"
    assert connections.gone("b")
    assert connections.admit("c", "192.0.3.1", 2, network_limit=3) is None
    assert connections.admit("d", "2001:db8:0:1::1", 2, network_limit=1) is None
    assert connections.admit("e", "2001:db8:0:2::1", 2, network_limit=1) == "Too many connections from your network"
    assert connections.admit("f", "2001:db8:1:2::1", 2, network_limit=1) is None
    for number in range(3):
        assert connections.admit(f"l{number}", f"127.0.0.{number}", 2, network_limit=1) is None
    for name in connections.all():
        assert connections.gone(name)
    assert not connections._counts


def test_who_connects_too_often_waits() -> None:
    now = 0.0
    connections: Connections[int] = Connections(Rate(2, 0.5), lambda: now)
    assert [connections.admit(number, "192.0.2.1", 0) is None for number in range(3)] == [True, True, False]
    assert connections.admit(10, "192.0.2.2", 0) is None
    assert [connections.admit(20 + number, "127.0.0.1", 0) for number in range(5)] == [None] * 5
    now = 2.0
    assert connections.admit(3, "192.0.2.1", 0) is None
    assert connections.admit(4, "192.0.2.1", 0) == "You connect too often; wait a while"
    connections.change_rate(Rate(0, 0))
    assert connections.admit(5, "192.0.2.1", 0) is None
