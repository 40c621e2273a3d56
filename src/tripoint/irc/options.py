"""What an operator can set about IRC. runtime fills this from the configuration; times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from tripoint.core.token_bucket import Rate
from tripoint.irc.operators import Operator
from tripoint.irc.webirc import Gateway
from tripoint.net.connections import NO_RATE


@dataclass(frozen=True, slots=True)
class IrcOptions:
    """Limits and texts. `network` empty: the server name; a rate of 0, or a count of 0: no limit."""

    network: str = ""
    motd: str = ""
    sendq_bytes: int = 4 * 1024 * 1024
    ping_interval_s: float = 120.0
    ping_timeout_s: float = 60.0
    registration_timeout_s: float = 60.0
    commands_burst: float = 60.0
    commands_per_s: float = 20.0
    connections_per_address: int = 100
    connections_per_network: int = 0
    connection_rate: Rate = NO_RATE
    autojoin: int = 150
    guests: bool = True  # whether somebody without an account gets in
    vapid: str = ""  # the public key by which push servers know this one
    plaintext_passwords: bool = True
    migrating: bool = False
    admin: tuple[str, ...] = ()
    icon_url: str = ""
    operators: tuple[Operator, ...] = ()
    hostnames: bool = False
    ident: bool = False
    dnsbl: tuple[str, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    # How long clients are to come over TLS alone (IRCv3 sts), 0: for no longer; None: nothing is said of it.
    sts_duration_s: int | None = None
    sts_port: int = 0
