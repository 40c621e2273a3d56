"""What an operator can set about XMPP. runtime fills this from the configuration; times are in seconds."""

from dataclasses import dataclass

from tripoint.core.token_bucket import Rate
from tripoint.core.turn import NO_SERVERS, TurnServers
from tripoint.net.connections import NO_RATE
from tripoint.xmpp.wire import MAX_STANZA_BYTES


@dataclass(frozen=True, slots=True)
class XmppOptions:
    """Limits. A rate of 0, or a count of 0: no limit. `plaintext_passwords`: logins without TLS from this
    machine itself."""

    sendq_bytes: int = 4 * 1024 * 1024
    stanza_bytes: int = MAX_STANZA_BYTES
    login_timeout_s: float = 60.0
    # A client that has said nothing for so long is asked; one that does not answer is gone.
    ping_interval_s: float = 240.0
    ping_timeout_s: float = 120.0
    tls_handshake_timeout_s: float = 20.0
    stanzas_burst: float = 200.0
    stanzas_per_s: float = 50.0
    connections_per_address: int = 100
    # XEP-0198: how long a session waits for its client to come back, and how much is kept for it. Five minutes are a
    # tunnel or a change of networks; what is longer away finds everything in the archives.
    resume_s: float = 300.0
    unacked_stanzas: int = 2000
    unacked_bytes: int = 1024 * 1024
    connections_per_network: int = 0
    connection_rate: Rate = NO_RATE
    scram_sha1: bool = True
    guests: bool = False  # SASL ANONYMOUS
    migrating: bool = False
    # Who runs the server: what for, and a URI (XEP-0157).
    contacts: tuple[tuple[str, str], ...] = ()
    # Where clients look when this server does not answer (XEP-0455).
    status_addresses: tuple[str, ...] = ()
    turn: TurnServers = NO_SERVERS
    # What pushes say of a message: fields of urn:xmpp:push:summary (XEP-0357 7).
    push_summary: tuple[str, ...] = ("message-count",)
    plaintext_passwords: bool = True
