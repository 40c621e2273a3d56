"""Connections are counted by where they come from; background work ends with the server."""

import asyncio

from tests.support.middle import run
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
