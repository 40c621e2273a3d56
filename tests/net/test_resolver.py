"""Server names to addresses: a table of the specification's steps.

spec: Matrix server-server-api resolving-server-names
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import run
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.net.resolver import MAX_TARGETS, Route, SrvRecord, Target, order_srv, resolve


class Table:
    """Look-ups in a table. A value of None stands for a look-up that gets no answer. `asked` is what was asked."""

    def __init__(
        self,
        addresses: Mapping[str, Sequence[str] | None] | None = None,
        srv: Mapping[str, Sequence[SrvRecord] | None] | None = None,
        well_known: Mapping[str, str] | None = None,
    ) -> None:
        self._addresses = addresses or {}
        self._srv = srv or {}
        self._well_known = well_known or {}
        self.asked: list[str] = []

    async def addresses(self, name: str) -> Sequence[str]:
        self.asked.append(f"addresses {name}")
        return self._found(self._addresses.get(name, ()), name)

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        self.asked.append(f"srv {name}")
        found = self._srv.get(name, ())
        if found is None:
            raise RemoteFailed(name, "no answer")
        return found

    async def well_known(self, hostname: str) -> ServerName | None:
        self.asked.append(f"well-known {hostname}")
        found = self._well_known.get(hostname)
        return None if found is None else ServerName(found)

    @staticmethod
    def _found(found: Sequence[str] | None, name: str) -> Sequence[str]:
        if found is None:
            raise RemoteFailed(name, "no answer")
        return found


def route(server: str, table: Table) -> Route:
    return run(lambda: resolve(ServerName(server), table, lambda: 0.5))


ADDRESSES = {
    "example.org": ("2a00::1", "1.0.0.1"),
    "delegated.example.net": ("1.0.0.2",),
    "one.srv.example": ("1.0.0.3",),
    "two.srv.example": ("1.0.0.4",),
}
FED, OLD = "_matrix-fed._tcp.", "_matrix._tcp."
ONE, TWO = SrvRecord(10, 0, 4433, "one.srv.example"), SrvRecord(20, 0, 4434, "two.srv.example")
NOT_THERE = SrvRecord(0, 0, 0, "")

# server, .well-known, SRV -> addresses, Host header, name in the certificate
STEPS: dict[str, tuple[str, dict[str, str], dict[str, Sequence[SrvRecord]], list[tuple[str, int]], str, str]] = {
    "1: IPv4": ("1.2.3.4", {}, {}, [("1.2.3.4", 8448)], "1.2.3.4", "1.2.3.4"),
    "1: IPv4 with port": ("1.2.3.4:99", {}, {}, [("1.2.3.4", 99)], "1.2.3.4:99", "1.2.3.4"),
    "1: IPv6": ("[2a00::9]", {}, {}, [("2a00::9", 8448)], "[2a00::9]", "2a00::9"),
    "1: IPv6 with port": ("[2a00::9]:99", {}, {}, [("2a00::9", 99)], "[2a00::9]:99", "2a00::9"),
    "2: name with port": (
        "example.org:99",
        {"example.org": "delegated.example.net"},
        {FED + "example.org": [ONE]},
        [("2a00::1", 99), ("1.0.0.1", 99)],
        "example.org:99",
        "example.org",
    ),
    "3.1: to an IPv4": ("example.org", {"example.org": "1.2.3.4"}, {}, [("1.2.3.4", 8448)], "1.2.3.4", "1.2.3.4"),
    "3.1: to an IPv6 with port": (
        "example.org",
        {"example.org": "[2a00::9]:99"},
        {},
        [("2a00::9", 99)],
        "[2a00::9]:99",
        "2a00::9",
    ),
    "3.2: to a name with port": (
        "example.org",
        {"example.org": "delegated.example.net:443"},
        {FED + "delegated.example.net": [ONE]},
        [("1.0.0.2", 443)],
        "delegated.example.net:443",
        "delegated.example.net",
    ),
    "3.3: to a name with SRV": (
        "example.org",
        {"example.org": "delegated.example.net"},
        {FED + "delegated.example.net": [TWO, ONE], OLD + "delegated.example.net": [TWO]},
        [("1.0.0.3", 4433), ("1.0.0.4", 4434)],
        "delegated.example.net",
        "delegated.example.net",
    ),
    "3.4: to a name with the deprecated SRV": (
        "example.org",
        {"example.org": "delegated.example.net"},
        {OLD + "delegated.example.net": [TWO], FED + "example.org": [ONE]},
        [("1.0.0.4", 4434)],
        "delegated.example.net",
        "delegated.example.net",
    ),
    "3.5: to a bare name": (
        "example.org",
        {"example.org": "delegated.example.net"},
        {FED + "example.org": [ONE]},
        [("1.0.0.2", 8448)],
        "delegated.example.net",
        "delegated.example.net",
    ),
    "4: SRV": (
        "example.org",
        {},
        {FED + "example.org": [ONE], OLD + "example.org": [TWO]},
        [("1.0.0.3", 4433)],
        "example.org",
        "example.org",
    ),
    "5: the deprecated SRV": (
        "example.org",
        {},
        {OLD + "example.org": [TWO]},
        [("1.0.0.4", 4434)],
        "example.org",
        "example.org",
    ),
    "6: port 8448": (
        "example.org",
        {},
        {},
        [("2a00::1", 8448), ("1.0.0.1", 8448)],
        "example.org",
        "example.org",
    ),
    "a delegation is not followed twice": (
        "example.org",
        {"example.org": "delegated.example.net", "delegated.example.net": "two.srv.example"},
        {},
        [("1.0.0.2", 8448)],
        "delegated.example.net",
        "delegated.example.net",
    ),
    "SRV targets without an address are passed over": (
        "example.org",
        {},
        {FED + "example.org": [SrvRecord(0, 0, 1, "gone.srv.example"), ONE]},
        [("1.0.0.3", 4433)],
        "example.org",
        "example.org",
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_each_step(case: str) -> None:
    server, well_known, srv, targets, host, tls_name = STEPS[case]
    found = route(server, Table(ADDRESSES, srv, well_known))
    assert found == Route(tuple(Target(*one) for one in targets), host, tls_name)


def test_what_is_asked_and_in_which_order() -> None:
    table = Table(ADDRESSES)
    route("example.org", table)
    assert table.asked == [
        "well-known example.org",
        "srv _matrix-fed._tcp.example.org",
        "srv _matrix._tcp.example.org",
        "addresses example.org",
    ]
    for server, asked in (("1.2.3.4", []), ("[::1]:5", []), ("example.org:99", ["addresses example.org"])):
        table = Table(ADDRESSES)
        route(server, table)
        assert table.asked == asked


FAILURES: dict[str, tuple[str, Table]] = {
    "no address": ("nobody.example", Table()),
    "no answer for addresses": ("example.org:99", Table({"example.org": None})),
    # Where the records cannot be looked up, 8448 of the name itself might be a stranger.
    "no answer for SRV": ("example.org", Table(ADDRESSES, {FED + "example.org": None})),
    "SRV says that there is no such service": ("example.org", Table(ADDRESSES, {FED + "example.org": [NOT_THERE]})),
    "no such port": ("[2a00::9]:99999", Table()),
    "port 0": ("example.org:0", Table(ADDRESSES)),
    "delegated to no such port": ("example.org", Table(ADDRESSES, {}, {"example.org": "[2a00::9]:65536"})),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures_name_the_server(case: str) -> None:
    server, table = FAILURES[case]
    with pytest.raises(RemoteFailed) as failed:
        route(server, table)
    assert failed.value.host == server


def test_the_number_of_addresses_is_bounded() -> None:
    many = [f"1.0.{n >> 8}.{n & 255}" for n in range(1000)]
    assert len(route("example.org:1", Table({"example.org": many})).targets) == MAX_TARGETS
    records = [SrvRecord(n, 0, 1, f"s{n}.example") for n in range(1000)]
    table = Table({}, {FED + "example.org": records})
    with pytest.raises(RemoteFailed):
        route("example.org", table)
    assert len(table.asked) <= MAX_TARGETS + 2


RECORDS = st.lists(
    st.builds(SrvRecord, st.integers(0, 3), st.integers(0, 65535), st.integers(1, 65535), st.text("ab", min_size=1)),
    max_size=8,
)


@given(RECORDS, st.integers())
def test_srv_order_keeps_every_record_and_goes_by_priority(records: list[SrvRecord], seed: int) -> None:
    ordered = order_srv(records, Random(seed).random)
    assert Counter(ordered) == Counter(records)
    priorities = [record.priority for record in ordered]
    assert priorities == sorted(priorities)


def test_srv_order_shares_by_weight() -> None:
    """spec: RFC2782: the chance of a record is its weight's part of the sum."""
    light, heavy, none = SrvRecord(1, 10, 1, "a"), SrvRecord(1, 30, 1, "b"), SrvRecord(1, 0, 1, "c")
    random = Random(7).random
    first = Counter(order_srv([light, heavy, none], random)[0].target for _ in range(4000))
    assert 800 < first["a"] < 1200
    assert 2800 < first["b"] < 3200
    assert first["c"] < 40
