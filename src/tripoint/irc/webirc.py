"""WEBIRC: a gateway of web clients says who its user is, before anything else.

The host that it names is not used: hosts of guests are made of addresses, and nobody else's address is shown.
spec: IRCv3 webirc.  Read next: tripoint/irc/listener.py.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from tripoint.accounts.ports import AccountService
from tripoint.core.addresses import parse_address
from tripoint.core.server_bans import as_network
from tripoint.irc.wire import Line


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who may send WEBIRC. `networks` are CIDR or addresses, `hash` is of its password (core/password_hash.py)."""

    name: str
    networks: tuple[str, ...]
    hash: str


class WebUser(Struct, frozen=True):
    """Whom a gateway speaks for. `secure`: his connection to it is over TLS."""

    gateway: str
    address: str
    secure: bool


class Unbelieved(Exception):
    """WEBIRC is not believed; the text is for the gateway, whose connection is closed."""


class Gateways:
    """Judges WEBIRC. A password that was right is known again at once: a gateway may connect often."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}  # hash -> what the right password gives under our key

    async def user(self, gateways: Sequence[Gateway], address: str, line: Line) -> WebUser:
        """Whom a gateway at `address` speaks for. Raises Unbelieved."""
        # spec: webirc "Format": WEBIRC password gateway hostname ip [:options]
        if len(line.params) < 4:
            raise Unbelieved("WEBIRC needs a password, a gateway, a host and an address")
        gateway = gateway_at(gateways, address)
        if gateway is None:
            raise Unbelieved("WEBIRC is not allowed from your address")
        if not await self._is_right(gateway, line.params[0]):
            raise Unbelieved("Invalid WebIRC password")
        client = parse_address(line.params[3])
        if client is None:
            raise Unbelieved("WEBIRC names no address")
        options = {word.partition("=")[0] for word in " ".join(line.params[4:]).split()}
        return WebUser(gateway.name, str(client), "secure" in options)

    async def _is_right(self, gateway: Gateway, password: str) -> bool:
        mark = hmac.digest(self._key, password.encode(), hashlib.sha256)
        known = self._right.get(gateway.hash)
        if known is not None and hmac.compare_digest(known, mark):
            return True
        if not await self._accounts.is_secret(gateway.hash, password):
            return False
        self._right[gateway.hash] = mark
        return True


def gateway_at(gateways: Sequence[Gateway], address: str) -> Gateway | None:
    """The gateway that connects from here."""
    parsed = parse_address(address) if gateways else None
    if parsed is None:
        return None
    for gateway in gateways:
        for text in gateway.networks:
            network = as_network(text)
            if network is not None and parsed in network:
                return gateway
    return None
