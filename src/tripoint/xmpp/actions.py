"""What the state machine of a client's stream has its driver do, and asks it. Pure.

The machine is connection.py, the driver stream.py.
"""

from dataclasses import dataclass

from tripoint.accounts.sasl import (
    Anonymous,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    HashedToken,
    NeedCredentials,
)
from tripoint.xmpp.sasl_profiles import BindRequest, UserAgent
from tripoint.xmpp.wire import Element


@dataclass(frozen=True, slots=True)
class Send:
    """One stream header, element or closing tag to write: over a WebSocket, a message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write out what is waiting, then begin the TLS handshake as server; then call tls_started()."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """SCRAM proved that the peer knows the password of `name`: admit with admitted() or refused().

    `app`: the device whose app password it was.
    """

    name: str
    app: str = ""


@dataclass(frozen=True, slots=True)
class WrongPassword:
    """A SCRAM proof did not fit: for whoever counts failures. The peer has been answered."""

    name: str


@dataclass(frozen=True, slots=True)
class Registration:
    """An IQ with jabber:iq:register before login, or with a token for it (XEP-0445); answer with
    registration_answered()."""

    iq: Element


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind a resource (None: any) and answer with bound() or bind_refused(). `request`: it comes with the login."""

    resource: str | None
    request: BindRequest | None = None
    user_agent: UserAgent | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with the session `previd`, whose client has handled `h`; answer with resumed() or resume_refused()."""

    previd: str
    h: int


@dataclass(frozen=True, slots=True)
class Close:
    """Write out what is waiting and close the TCP connection."""


Action = (
    Send
    | StartTls
    | NeedCredentials
    | CheckPassword
    | CheckCertificate
    | CheckToken
    | HashedToken
    | Anonymous
    | Authenticated
    | WrongPassword
    | Registration
    | Bind
    | Resume
    | Close
    | Element
)
