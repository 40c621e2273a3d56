"""Dialback keys: a domain proves its name by what its authoritative server answers. Pure.

spec: XEP-0220 (the exchange), XEP-0185 3 (how keys are made: nothing needs to be kept between the two streams).
"""

import hashlib
import hmac
from typing import Final

SERVER_NS: Final = "jabber:server"
DIALBACK_NS: Final = "jabber:server:dialback"
DIALBACK_FEATURE_NS: Final = "urn:xmpp:features:dialback"


def dialback_key(secret: bytes, receiving: str, originating: str, stream_id: str) -> str:
    """The key that `originating` shows to `receiving` in the stream of this id. spec: XEP-0185 3"""
    digest = hashlib.sha256(secret).hexdigest().encode()
    return hmac.digest(digest, f"{receiving} {originating} {stream_id}".encode(), "sha256").hex()


def is_dialback_key(given: str, secret: bytes, receiving: str, originating: str, stream_id: str) -> bool:
    """Whether we made this key."""
    made = dialback_key(secret, receiving, originating, stream_id)
    return hmac.compare_digest(given.strip().encode("utf-8", "surrogatepass"), made.encode())
