"""Tokens with which one file after the other is uploaded by HTTP for a few minutes, for who is logged in elsewhere.

They are made and read without being kept: who it is and until when stands in them, and this server's mark below it.
spec: IRCv3 filehost, "FILEHOST TOKEN"; docs/mapping.md 12.3.  Read next: web.py.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable
from typing import Final

from tripoint.core.ids import UserId

LIFETIME_MS: Final = 5 * 60_000
_MARK_BYTES: Final = 16


class UploadTokens:
    """`secret`: 32 bytes of this server's own; a token is good at any of its starts."""

    def __init__(self, secret: bytes, now_ms: Callable[[], int]) -> None:
        self._key = hmac.digest(secret, b"upload tokens", "sha256")
        self._now_ms = now_ms

    def make(self, user_id: UserId) -> str:
        """A token for this user, good for LIFETIME_MS."""
        told = f"{self._now_ms() + LIFETIME_MS} {user_id}".encode()
        return urlsafe_b64encode(self._mark(told) + told).decode().rstrip("=")

    def owner(self, token: str) -> UserId | None:
        """Whose token it is; None for what was never one, or is one no more."""
        try:
            read = urlsafe_b64decode(token.encode("ascii") + b"==")
        except (UnicodeEncodeError, Error):
            return None
        mark, told = read[:_MARK_BYTES], read[_MARK_BYTES:]
        if not hmac.compare_digest(mark, self._mark(told)):
            return None
        until_ms, _, user_id = told.decode().partition(" ")
        return UserId(user_id) if self._now_ms() < int(until_ms) else None

    def _mark(self, told: bytes) -> bytes:
        return hmac.digest(self._key, told, "sha256")[:_MARK_BYTES]
