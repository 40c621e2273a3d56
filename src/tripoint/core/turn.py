"""Servers that help calls through firewalls (STUN, TURN), and credentials for them that end by themselves.

The TURN server knows the same secret and checks what was made here; nothing is asked of it or told to it. spec:
draft-uberti-behave-turn-rest-00 2.2, 6 (opaque names), as `use-auth-secret` of coturn has it.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

# stun, turn and their TLS forms, with the ports that are theirs where none is said.
_PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}
_URI = re.compile(
    r"(?P<type>stuns?|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?\Z"
)


class TurnServer(NamedTuple):
    """One address of a server. `type` is stun, stuns, turn or turns, `host` a name or an address without brackets."""

    type: str
    host: str
    port: int
    transport: str

    @property
    def needs_credentials(self) -> bool:
        return self.type in ("turn", "turns")


@dataclass(frozen=True, slots=True)
class TurnServers:
    """What an operator has. `secret` is shared with the TURN servers; `lifetime_s` is how long credentials hold."""

    servers: tuple[TurnServer, ...] = ()
    secret: str = field(default="", repr=False)
    lifetime_s: int = 86_400


NO_SERVERS: Final = TurnServers()


class TurnCredentials(NamedTuple):
    """For one user; they hold until `expires_s`, in seconds since 1970."""

    username: str
    password: str
    expires_s: int


def parse_turn_uri(uri: str) -> TurnServer | None:
    """A server of "turn:turn.example.org:3478?transport=udp" and the like; None where it is no such address."""
    found = _URI.match(uri)
    if found is None:
        return None
    kind = found["type"]
    if kind.startswith("stun") and found["transport"] is not None:
        return None
    port = int(found["port"] or _PORTS[kind])
    transport = found["transport"] or ("tcp" if kind.endswith("s") else "udp")
    host = found["host"].removeprefix("[").removesuffix("]")
    return TurnServer(kind, host, port, transport) if 0 < port < 65_536 else None


def make_credentials(turn: TurnServers, user: str, now_s: int) -> TurnCredentials:
    """Credentials for a user, whose name nobody on the way reads."""
    expires_s = now_s + turn.lifetime_s
    secret = turn.secret.encode()
    opaque = hmac.digest(secret, b"user\0" + user.encode(), "sha256").hex()[:16]
    username = f"{expires_s}:{opaque}"
    password = base64.b64encode(hmac.digest(secret, username.encode(), hashlib.sha1)).decode()
    return TurnCredentials(username, password, expires_s)
