"""Bans from the whole server: whom one is about, and which of many somebody meets. Pure: the time is an argument.

Three kinds, by the names that IRC has for them: a K-line bans an account or a guest from somewhere (`name@where`), a
D-line an address or a network, an X-line a real name. A ban of an address, a network or a whole name is found by
it, however many there are; the rest is tried one by one.
spec: docs/mapping.md 9.4, 18.4.  Read next: tripoint/accounts/server_bans.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from msgspec import Struct

from tripoint.core.addresses import parse_address
from tripoint.core.glob import glob_expression

# docs/mapping.md 9.3: with fewer, a mask meets nearly everybody.
MIN_LITERALS: Final = 3
MAX_MASK_CHARACTERS: Final = 200
# Larger networks are whole countries: such a ban is a slip of the finger.
MIN_PREFIX: Final = {4: 8, 6: 16}
_WILD: Final = frozenset("*?")

Network = IPv4Network | IPv6Network


class BanKind(Enum):
    """The letter is that of STATS."""

    KLINE = "k"
    DLINE = "d"
    XLINE = "x"


class ServerBan(Struct, frozen=True):
    """One ban. `mask` is in the form that `parse_ban` gives; `setter` is who set it, a user id; times are in ms."""

    kind: BanKind
    mask: str
    reason: str
    setter: str
    created_ts_ms: int
    expires_ts_ms: int | None = None

    def holds(self, now_ms: int) -> bool:
        """Whether it is not over."""
        return self.expires_ts_ms is None or now_ms < self.expires_ts_ms


class Visitor(NamedTuple):
    """Somebody as far as is known: `names` of an account or a guest, `hosts` that are shown of a guest, a real name."""

    address: str
    names: Sequence[str] = ()
    hosts: Sequence[str] = ()
    realname: str | None = None


class BanRefused(Exception):
    """A mask that cannot be; `reason` says why, for the person who wrote it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_ban(kind: BanKind, text: str) -> str:
    """The form in which a ban is kept. Raises BanRefused."""
    if not text or len(text) > MAX_MASK_CHARACTERS or not text.isprintable():
        raise BanRefused("That is no mask")
    if kind is BanKind.DLINE:
        network = as_network(text)
        if network is None:
            raise BanRefused("A D-line is of an address or a network, like 192.0.2.1 or 2001:db8::/32")
        return _named(_checked(network))
    if kind is BanKind.XLINE:
        _check_literals(text)
        return text
    name, at, where = text.partition("@")
    if not at or not name or not where or " " in text or "!" in text:
        raise BanRefused("A K-line is of name@host; the host can be an address, a network, or *")
    network = as_network(where)
    if network is None:
        _check_literals(name + where)
        return f"{name.lower()}@{where.lower()}"
    return f"{name.lower()}@{_named(_checked(network))}"


def as_network(text: str) -> Network | None:
    """An address or a network, an IPv4 one where it is only mapped into IPv6; None for what is neither."""
    try:
        network = ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((mapped, network.prefixlen - 96), strict=False)
    return network


def _checked(network: Network) -> Network:
    least = MIN_PREFIX[network.version]
    if network.prefixlen < least:
        raise BanRefused(f"That is too large a network: /{least} is the largest")
    return network


def _named(network: Network) -> str:
    """An address stands without its /32 or /128."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _check_literals(text: str) -> None:
    if sum(1 for char in text if char not in "*?.@") < MIN_LITERALS:
        raise BanRefused(f"A mask needs at least {MIN_LITERALS} characters that are not * or ?")


def parse_duration(text: str) -> int | None:
    """``30``, ``30m``, ``12h``, ``1d12h``, ``2w`` in seconds (a plain number is minutes); None for what is no duration.

    0 is for ever.
    """
    if text.isascii() and text.isdigit() and len(text) <= 7:
        return int(text) * 60
    found = _DURATION.fullmatch(text.lower())
    if not text or found is None:
        return None
    return sum(int(number or 0) * unit for number, unit in zip(found.groups(), _UNITS, strict=True))


_DURATION: Final = re.compile("".join(rf"(?:(\d{{1,5}}){unit})?" for unit in "wdhms"), re.ASCII)
_UNITS: Final = (604_800, 86_400, 3600, 60, 1)


class BanIndex:
    """Many bans, and which of them somebody meets."""

    def __init__(self, bans: Iterable[ServerBan] = ()) -> None:
        self._bans: dict[tuple[BanKind, str], ServerBan] = {}
        self._lines = {kind: _Networks() for kind in (BanKind.KLINE, BanKind.DLINE)}
        self._names: dict[str, ServerBan] = {}
        self._globs: dict[tuple[BanKind, str], _Glob] = {}
        for ban in bans:
            self.put(ban)

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[ServerBan]:
        return iter(self._bans.values())

    def get(self, kind: BanKind, mask: str) -> ServerBan | None:
        """The ban with this mask."""
        return self._bans.get((kind, mask))

    def put(self, ban: ServerBan) -> None:
        """A ban more, or in the place of the one with its mask."""
        self.drop(ban.kind, ban.mask)
        self._bans[ban.kind, ban.mask] = ban
        name, _, where = ban.mask.partition("@")
        network = as_network(ban.mask if ban.kind is BanKind.DLINE else where)
        if ban.kind is not BanKind.XLINE and network is not None:
            self._lines[ban.kind].put(network, ban)
        elif ban.kind is BanKind.KLINE and where == "*" and not _WILD & set(name):
            self._names[name] = ban
        else:
            self._globs[ban.kind, ban.mask] = _Glob(ban)

    def drop(self, kind: BanKind, mask: str) -> ServerBan | None:
        """Take a ban off; None if there is no such."""
        ban = self._bans.pop((kind, mask), None)
        if ban is None:
            return None
        if self._globs.pop((kind, mask), None) is None:
            name, _, where = mask.partition("@")
            network = as_network(mask if kind is BanKind.DLINE else where)
            if network is None:
                del self._names[name]
            else:
                self._lines[kind].drop(network, mask)
        return ban

    def of_address(self, address: str, now_ms: int) -> ServerBan | None:
        """The D-line that an address meets."""
        return next((ban for ban in self._lines[BanKind.DLINE].meeting(address) if ban.holds(now_ms)), None)

    def of_visitor(self, who: Visitor, now_ms: int) -> ServerBan | None:
        """The ban of any kind that somebody meets."""
        return self.of_address(who.address, now_ms) or next(
            (ban for ban in self._meeting(who) if ban.holds(now_ms)), None
        )

    def _meeting(self, who: Visitor) -> Iterator[ServerBan]:
        names = [name.lower() for name in who.names]
        for ban in self._lines[BanKind.KLINE].meeting(who.address):
            mask = ban.mask.partition("@")[0]
            if mask == "*" or any(_meets(mask, name) for name in names):
                yield ban
        for name in names:
            if name in self._names:
                yield self._names[name]
        if self._globs:
            for glob in self._globs.values():
                if glob.meets(who, names):
                    yield glob.ban


class _Networks:
    """Bans by network: looked up once for every length of prefix that there is."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], dict[int, dict[str, ServerBan]]] = {}

    def put(self, network: Network, ban: ServerBan) -> None:
        """`ban` is about this network."""
        of_length = self._found.setdefault((network.version, network.prefixlen), {})
        of_length.setdefault(int(network.network_address), {})[ban.mask] = ban

    def drop(self, network: Network, mask: str) -> None:
        """The ban with this mask is no more."""
        length = (network.version, network.prefixlen)
        number = int(network.network_address)
        del self._found[length][number][mask]
        if not self._found[length][number]:
            del self._found[length][number]
        if not self._found[length]:
            del self._found[length]

    def meeting(self, address: str) -> Iterator[ServerBan]:
        """The bans of networks that hold this address."""
        if not self._found:
            return
        parsed = parse_address(address)
        if parsed is None:
            return
        number, bits = int(parsed), parsed.max_prefixlen
        for (version, length), of_length in self._found.items():
            if version == parsed.version:
                yield from of_length.get(number >> (bits - length) << (bits - length), {}).values()


class _Glob:
    """A ban that has to be tried."""

    def __init__(self, ban: ServerBan) -> None:
        self.ban = ban
        name, _, where = ban.mask.partition("@")
        self._name = _expression(name if ban.kind is BanKind.KLINE else ban.mask)
        self._where = None if ban.kind is not BanKind.KLINE or where == "*" else _expression(where)

    def meets(self, who: Visitor, names: Sequence[str]) -> bool:
        """Whether it is about them."""
        if self.ban.kind is BanKind.XLINE:
            return who.realname is not None and self._name.match(who.realname) is not None
        if not any(self._name.match(name) for name in names):
            return False
        return self._where is None or any(self._where.match(host) for host in (_plain(who.address), *who.hosts))


def _plain(address: str) -> str:
    parsed = parse_address(address)
    return address if parsed is None else str(parsed)


def _expression(glob: str) -> re.Pattern[str]:
    return re.compile(glob_expression(glob), re.IGNORECASE | re.DOTALL)


def _meets(glob: str, name: str) -> bool:
    return re.match(glob_expression(glob), name, re.DOTALL) is not None

