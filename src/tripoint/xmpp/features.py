"""What a client is offered: before it has logged in, and after. Pure.

spec: RFC6120 4.3.2, 5.3.1, 6.3.3, 7.4; XEP-0077 5, XEP-0440 2, XEP-0388 2.1, XEP-0198 2, XEP-0352 4.1, XEP-0478 3.1,
RFC6121 2.6.1 (versions of rosters), 3.4.1 (pre-approval). When which is sent is connection.py's.
"""

from dataclasses import dataclass
from functools import lru_cache

from tripoint.accounts.sasl import token_mechanisms
from tripoint.xmpp.sasl_profiles import authentication_feature
from tripoint.xmpp.tables import (
    BIND_NS,
    CHANNEL_BINDING_NS,
    CSI_NS,
    LIMITS_NS,
    PRE_APPROVAL_NS,
    PREAUTH_FEATURE_NS,
    REGISTER_FEATURE_NS,
    ROSTER_VERSIONS_NS,
    SASL_NS,
    SESSION_NS,
    SM_NS,
    TLS_NS,
)
from tripoint.xmpp.wire import MAX_STANZA_BYTES, MAX_STANZA_BYTES_UNAUTHENTICATED


@dataclass(frozen=True, slots=True)
class Policy:
    """What this listener offers. `require_tls`: nothing but TLS is offered before TLS is on.

    `registration`: whether accounts can be made before login, at least with a token (XEP-0077).
    """

    domain: str
    starttls: bool
    require_tls: bool
    registration: bool
    scram_sha1: bool = True
    anonymous: bool = False
    migrating: bool = False
    stanza_bytes: int = MAX_STANZA_BYTES
    idle_s: float = 240.0  # after so long a silence a client is asked whether it is there


# The same few for all clients.
@lru_cache(maxsize=64)
def login_features(
    policy: Policy, mechanisms: tuple[str, ...], *, starttls: bool, secure: bool, bindings: tuple[str, ...]
) -> str:
    """What there is before the login. `bindings`: the channel binding types that the connection has."""
    parts = [f"<starttls xmlns='{TLS_NS}'/>"] if starttls else []
    offered = "".join(f"<mechanism>{name}</mechanism>" for name in mechanisms)
    parts.append(f"<mechanisms xmlns='{SASL_NS}'>{offered}</mechanisms>")
    if secure:
        # spec: XEP-0388 3: never without TLS
        parts.append(authentication_feature(mechanisms, token_mechanisms(bindings)))
    if bindings:
        listed = "".join(f"<channel-binding type='{binding}'/>" for binding in bindings)
        parts.append(f"<sasl-channel-binding xmlns='{CHANNEL_BINDING_NS}'>{listed}</sasl-channel-binding>")
    if policy.registration:
        # spec: XEP-0077 5, XEP-0445 3
        parts.append(f"<register xmlns='{PREAUTH_FEATURE_NS}'/><register xmlns='{REGISTER_FEATURE_NS}'/>")
    limit = f"<max-bytes>{MAX_STANZA_BYTES_UNAUTHENTICATED}</max-bytes>"
    parts.append(f"<limits xmlns='{LIMITS_NS}'>{limit}</limits>")
    return "".join(parts)


@lru_cache(maxsize=64)
def session_features(policy: Policy, *, bound: bool) -> str:
    """What there is for whoever is logged in; `bound`: with a resource already."""
    bind = f"<bind xmlns='{BIND_NS}'/><session xmlns='{SESSION_NS}'><optional/></session>"
    return (
        f"{'' if bound else bind}<sub xmlns='{PRE_APPROVAL_NS}'/>"
        f"<sm xmlns='{SM_NS}'/>"
        f"<csi xmlns='{CSI_NS}'/>"
        f"<ver xmlns='{ROSTER_VERSIONS_NS}'/>"
        f"<limits xmlns='{LIMITS_NS}'><max-bytes>{policy.stanza_bytes}</max-bytes>"
        f"<idle-seconds>{policy.idle_s:.0f}</idle-seconds></limits>"
    )
