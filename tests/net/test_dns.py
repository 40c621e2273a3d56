"""Look-ups against a DNS server of the test's own, over UDP on loopback."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.support.middle import run
from tripoint.core.errors import RemoteFailed
from tripoint.net import dns as our_dns
from tripoint.net.dns import Dns
from tripoint.net.resolver import SrvRecord

ZONE = {
    ("both.example.", "AAAA"): ["2a00::1", "2a00::2", "2a00::3"],
    ("both.example.", "A"): ["1.0.0.1"],
    ("four.example.", "A"): ["1.0.0.2", "1.0.0.3"],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["Gate.Example."],
    (f"{'.'.join('1' + '0' * 23)}.8.b.d.0.1.0.0.2.ip6.arpa.", "PTR"): ["six.example."],
    ("1.2.0.192.bad.example.", "A"): ["127.0.0.2"],
    ("4.2.0.192.bad.example.", "A"): ["127.255.255.254"],
    ("2.2.0.192.bad.example.", "A"): ["192.0.2.200"],
    (f"{'.'.join('1' + '0' * 23)}.8.b.d.0.1.0.0.2.bad.example.", "A"): ["127.0.0.4"],
    ("_matrix-fed._tcp.both.example.", "SRV"): ["10 5 8443 Target.Example.", "20 0 1 ."],
}
ALIASES = {"alias.example.": "four.example.", "loop.example.": "loop.example."}


class Server(asyncio.DatagramProtocol):
    """Answers from ZONE; names that begin with silent or broken get no answer. `asked`: every question."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.zone: Mapping[tuple[str, str], list[str]] = ZONE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: asyncio's own datagram transport is no subclass of DatagramTransport.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name.startswith("silent."):
            return
        if name.startswith("broken."):
            response.set_rcode(dns.rcode.SERVFAIL)
        owner = question.name.to_text()
        if name in ALIASES:
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", ALIASES[name]))
            name = owner = ALIASES[name]
        records = self.zone.get((name, kind))
        if records:
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *records))
        elif not any(known == name for known, _ in self.zone) and name not in ALIASES:
            response.set_rcode(dns.rcode.NXDOMAIN if response.rcode() == dns.rcode.NOERROR else response.rcode())
        self.transport.sendto(response.to_wire(), address)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, Dns]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        yield server, Dns([("127.0.0.1", transport.get_extra_info("sockname")[1])])
    finally:
        transport.close()


def test_addresses_of_both_families_in_turns() -> None:
    async def work() -> None:
        async with serving() as (_, client):
            # The order within a family is chance: name servers turn it round.
            found = await client.addresses("both.example")
            assert found[1] == "1.0.0.1"
            assert sorted(found) == ["1.0.0.1", "2a00::1", "2a00::2", "2a00::3"]
            assert sorted(await client.addresses("four.example.")) == ["1.0.0.2", "1.0.0.3"]

    run(work)


def test_aliases_are_followed() -> None:
    async def work() -> None:
        async with serving() as (_, client):
            assert sorted(await client.addresses("alias.example")) == ["1.0.0.2", "1.0.0.3"]

    run(work)


def test_srv_records() -> None:
    async def work() -> None:
        async with serving() as (_, client):
            found = await client.srv("_matrix-fed._tcp.both.example")
            assert sorted(found, key=lambda record: record.priority) == [
                SrvRecord(10, 5, 8443, "Target.Example"),
                SrvRecord(20, 0, 1, ""),
            ]
            assert await client.srv("_matrix-fed._tcp.four.example") == []

    run(work)


@pytest.mark.parametrize("name", ["nobody.example", "127.1", "0x7f000001", "2130706433", "a..b", "x" * 64, "a." * 200])
def test_names_that_do_not_exist_have_no_addresses(name: str) -> None:
    async def work() -> None:
        async with serving() as (_, client):
            assert await client.addresses(name) == []
            assert await client.srv(name) == []

    run(work)


def test_localhost_is_this_machine_without_asking() -> None:
    async def work() -> None:
        async with serving() as (server, client):
            assert await client.addresses("LocalHost.") == ("127.0.0.1", "::1")
            assert server.asked == []

    run(work)


def test_no_answer_is_told_from_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_dns, "LIFETIME_S", 0.3)

    async def work() -> None:
        async with serving() as (_, client):
            for name in ("broken.example", "silent.example"):
                with pytest.raises(RemoteFailed):
                    await client.addresses(name)
                with pytest.raises(RemoteFailed):
                    await client.srv(name)
            with pytest.raises(RemoteFailed):
                await client.addresses("loop.example")

    run(work)


def test_answers_are_kept() -> None:
    async def work() -> None:
        async with serving() as (server, client):
            for _ in range(5):
                await client.addresses("both.example")
            assert len(server.asked) == 2

    run(work)


def test_an_unusable_resolv_conf_is_a_failure_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def missing(self: object, filename: object = None) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", missing)

    async def work() -> None:
        with pytest.raises(RemoteFailed):
            await Dns().addresses("both.example")

    run(work)


def test_names_of_addresses_and_lists_of_bad_ones() -> None:
    async def work() -> None:
        async with serving() as (_, client):
            assert await client.names_of("192.0.2.1") == ["Gate.Example"]
            assert await client.names_of("2001:db8::1") == ["six.example"]
            assert await client.names_of("192.0.2.9") == []
            assert await client.listed("192.0.2.1", "bad.example")
            assert await client.listed("2001:db8::1", "bad.example")
            # Who answers everything with his own address keeps no list.
            assert not await client.listed("192.0.2.2", "bad.example")
            assert not await client.listed("192.0.2.3", "bad.example")
            assert not await client.listed("192.0.2.4", "bad.example")
            assert not await client.listed("192.0.2.1", "a" * 64 + ".example")

    run(work)
