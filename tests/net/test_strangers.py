"""What the DNS says of who connects: bounded, confirmed, and silent where it does not know."""

import asyncio
from collections.abc import Sequence

from tests.support.middle import run
from tripoint.core.errors import RemoteFailed
from tripoint.net import strangers
from tripoint.net.strangers import UNKNOWN, Known, Strangers

PTR = {"8.8.4.4": ["Gate.Example.net"], "8.8.4.5": ["liar.example.net"], "8.8.4.6": ["bad name", "gate.example.net"]}
FORWARD = {"Gate.Example.net": ["8.8.4.4"], "gate.example.net": ["8.8.4.6"], "liar.example.net": ["8.8.8.8"]}
LISTED = {("8.8.4.4", "two.example"), ("8.8.4.8", "two.example")}


class Table:
    """A DNS; what is asked of `slow` never answers, of `broken` fails; nor does anybody say what 8.8.4.8 is called."""

    def __init__(self) -> None:
        self.asked = 0

    async def addresses(self, name: str) -> Sequence[str]:
        return FORWARD.get(name, [])

    async def names_of(self, address: str) -> Sequence[str]:
        self.asked += 1
        if address == "8.8.4.8":
            await asyncio.Event().wait()
        return PTR.get(address, [])

    async def listed(self, address: str, zone: str) -> bool:
        self.asked += 1
        if zone == "slow":
            await asyncio.Event().wait()
        if zone == "broken":
            raise RemoteFailed(zone, "no answer")
        return (address, zone) in LISTED


def test_names_count_where_they_lead_back() -> None:
    async def work() -> None:
        known = Strangers(Table(), hostnames=True)
        assert await known.look_up("8.8.4.4") == Known("gate.example.net")
        assert await known.look_up("8.8.4.5") == UNKNOWN
        assert await known.look_up("8.8.4.6") == Known("gate.example.net")
        assert await known.look_up("8.8.4.7") == UNKNOWN

    run(work)


def test_lists() -> None:
    async def work() -> None:
        known = Strangers(Table(), ("one.example", "broken", "two.example"))
        assert await known.look_up("8.8.4.4") == Known(None, "two.example")
        assert await known.look_up("8.8.4.5") == UNKNOWN
        known.change((), hostnames=True)
        assert await known.look_up("8.8.4.4") == Known("gate.example.net", None)

    run(work)


def test_what_nobody_knows_is_not_asked() -> None:
    async def work() -> None:
        table = Table()
        known = Strangers(table, ("two.example",), hostnames=True)
        for address in ("127.0.0.1", "10.0.0.1", "::1", "fe80::1%eth0", "2001:db8::1", "local", ""):
            assert await known.look_up(address) == UNKNOWN
        silent = Strangers(table)
        assert not silent.asks
        assert await silent.look_up("8.8.4.4") == UNKNOWN
        assert table.asked == 0

    run(work)


def test_a_flood_is_not_passed_on_to_the_dns() -> None:
    async def work() -> None:
        table = Table()
        known = Strangers(table, ("slow",))
        waiting = [asyncio.ensure_future(known.look_up("8.8.4.4")) for _ in range(strangers.MAX_RUNNING)]
        await asyncio.sleep(0)
        assert await known.look_up("8.8.4.4") == UNKNOWN
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        known.change(("two.example",), hostnames=False)
        assert await known.look_up("8.8.4.4") == Known(None, "two.example")

    run(work)


def test_nobody_waits_for_long() -> None:
    async def work() -> None:
        before, strangers.LOOK_UP_S = strangers.LOOK_UP_S, 0.01  # type: ignore[misc]
        try:
            assert await Strangers(Table(), ("slow",)).look_up("8.8.4.4") == UNKNOWN
            # What one does not answer, who has the say over his own address, does not hide what another says of it.
            both = Strangers(Table(), ("slow", "two.example"), hostnames=True)
            assert await both.look_up("8.8.4.8") == Known(None, "two.example")
            assert await both.look_up("8.8.4.4") == Known("gate.example.net", "two.example")
        finally:
            strangers.LOOK_UP_S = before  # type: ignore[misc]

    run(work)
