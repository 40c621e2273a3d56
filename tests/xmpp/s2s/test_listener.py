"""One connection of another server: how much it may send, and how long it may be silent."""

import asyncio
from collections.abc import Callable

from tests.xmpp.s2s.test_streams import TERMS, TLS, header
from tripoint.config.options import Limits
from tripoint.net.connections import Connections
from tripoint.net.tls_transport import TlsLayer
from tripoint.xmpp.s2s.actions import Ask
from tripoint.xmpp.s2s.intake import BACKLOG, Receiving, Traffic
from tripoint.xmpp.s2s.listener import IDLE_S, PROOF_S, IncomingLink, Listener
from tripoint.xmpp.s2s.pairs import Terms
from tripoint.xmpp.s2s.wire import Wire
from tripoint.xmpp.wire import Element


class NoTls:
    """Nobody gets as far as a handshake."""

    def layer(
        self, make: Callable[[], asyncio.BaseProtocol], deadline_s: float, before: asyncio.BaseProtocol
    ) -> TlsLayer:
        raise NotImplementedError


class FakeWire(Wire):
    """Remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True
        self.connection_lost(None)

    def reads(self, on: bool) -> None:
        self.reading = on


class Bench:
    """A listener, its clock, and what came of stanzas and questions."""

    def __init__(self, *, per_s: float = 0, per_address: int = 0, terms: Terms = TERMS) -> None:
        self.now = 1000.0
        self.delivered: list[Element] = []
        self.breaks = ""  # the id of the stanza that a bug meets
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer: bool | None = True
        traffic = Traffic(5, per_s, per_address)
        connections: Connections[IncomingLink] = Connections(clock_s=lambda: self.now)
        receiving = Receiving(traffic, self._deliver, self._ask, lambda: self.now)
        self.listener = Listener(terms, NoTls(), receiving, connections, lambda: "id")

    async def _deliver(self, stanza: Element) -> None:
        await self.gate.wait()
        if self.breaks and stanza.get("id") == self.breaks:
            raise RuntimeError("a bug")
        self.delivered.append(stanza)

    async def _ask(self, ask: Ask) -> bool | None:
        return self.answer

    def connect(self, *, secure: bool = True) -> FakeWire:
        wire = FakeWire()
        IncomingLink(self.listener, wire, "192.0.2.1", secure=secure).begin()
        return wire

    async def proved(self) -> FakeWire:
        wire = self.connect()
        wire.hear(header())
        wire.hear(b"<db:result from='sender.example' to='target.example'>key</db:result>")
        await self.listener.settled()
        assert b"type='valid'" in wire.written
        return wire


STANZA = b"<message from='a@sender.example' to='b@target.example' id='%d'/>"


def test_who_sends_faster_than_it_is_handled_is_read_no_further() -> None:
    async def work() -> None:
        bench = Bench()
        wire = await bench.proved()
        bench.gate.clear()
        wire.hear(b"".join(STANZA % number for number in range(BACKLOG - 1)))
        assert wire.reading
        wire.hear(STANZA % BACKLOG + STANZA % BACKLOG)
        assert not wire.reading
        bench.gate.set()
        await bench.listener.settled()
        assert wire.reading
        assert [one.get("id") for one in bench.delivered][:3] == ["0", "1", "2"]
        assert len(bench.delivered) == BACKLOG + 1

    asyncio.run(asyncio.wait_for(work(), 20))


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    """docs/mapping.md 24"""

    async def work() -> None:
        bench = Bench(per_s=100)
        wire = await bench.proved()
        began = asyncio.get_running_loop().time()
        wire.hear(b"".join(STANZA % number for number in range(15)))
        await bench.listener.settled()
        # Five at once; the clock of the test stands still, so each after that owes more than the one before.
        assert asyncio.get_running_loop().time() - began >= 0.1
        assert len(bench.delivered) == 15

    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_large_room_comes_at_once() -> None:
    """Two thousand others who are in it, with the defaults of the configuration."""
    limits = Limits()
    traffic = Traffic.of_servers(limits.xmpp_stanzas_burst, limits.xmpp_stanzas_per_s, 10)
    assert traffic.stanzas_burst >= 2000 and traffic.stanzas_per_s >= 500
    assert Traffic.of_servers(0, 0, 0) == Traffic(0, 0, 0)


def test_a_bug_costs_one_stanza() -> None:
    async def work() -> None:
        bench = Bench()
        wire = await bench.proved()
        bench.breaks = "0"
        wire.hear(STANZA % 0 + STANZA % 1)
        await bench.listener.settled()
        assert [one.get("id") for one in bench.delivered] == ["1"]
        assert not wire.closed

    asyncio.run(asyncio.wait_for(work(), 20))


def test_who_proves_nothing_and_who_is_silent() -> None:
    """spec: RFC6120 4.9.3.4, 4.4"""

    async def work() -> None:
        bench = Bench()
        proved, other = await bench.proved(), bench.connect(secure=False)
        other.hear(header())
        bench.now += PROOF_S + 1
        bench.listener.sweep()
        assert other.closed and b"<connection-timeout " in other.written
        assert not proved.closed
        bench.now += IDLE_S
        bench.listener.sweep()
        assert proved.closed and proved.written.endswith(b"</stream:stream>")
        assert len(bench.listener.connections) == 0

    asyncio.run(asyncio.wait_for(work(), 20))


def test_so_many_connections_from_one_address() -> None:
    async def work() -> None:
        bench = Bench(per_address=2)
        wires = [bench.connect() for _ in range(3)]
        assert [wire.closed for wire in wires] == [False, False, True]
        assert b"<policy-violation " in wires[2].written
        await bench.listener.close()
        assert all(b"<system-shutdown " in wire.written for wire in wires[:2])

    asyncio.run(asyncio.wait_for(work(), 20))


def test_nobody_comes_from_where_a_ban_is() -> None:
    """docs/mapping.md 9.4"""

    async def work() -> None:
        bench = Bench()
        before = await bench.proved()
        bench.listener.banned = lambda address: "You are banned" if address == "192.0.2.1" else None
        after = bench.connect()
        bench.listener.sweep()
        for wire in (before, after):
            assert wire.closed and b"You are banned" in wire.written

    asyncio.run(asyncio.wait_for(work(), 20))


def test_bytes_in_the_clear_are_not_heard_after_proceed() -> None:
    """spec: RFC6120 5.4.3.3"""

    async def work() -> None:
        bench = Bench()
        wire = bench.connect(secure=False)
        wire.hear(header())
        written = len(wire.written)
        started: list[Callable[[], None]] = []

        wire.serve_tls = lambda tls, deadline_s, on: started.append(on)  # type: ignore[method-assign]
        wire.hear(f"<starttls {TLS}/>".encode() + header())
        wire.hear(header())
        assert wire.written[written:] == f"<proceed {TLS}/>".encode()
        started[0]()
        wire.hear(header())
        assert wire.written.count(b"<stream:features>") == 2

    asyncio.run(asyncio.wait_for(work(), 20))
