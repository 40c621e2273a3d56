"""Links by which somebody ends letters about what is unread, logged in or not: they are in every such letter.

Nothing of them is stored: a link is good for as long as there is its pusher, and does nothing else.
spec: RFC8058 3.1: the link itself is opaque, and enough
"""

import base64
import hmac
from collections.abc import Callable
from urllib.parse import urlencode

from tripoint.accounts.pushers import EMAIL, Pusher, Pushers
from tripoint.core.ids import UserId
from tripoint.core.oauth.metadata import LEAVE_MAIL


class Leaving:
    """`secret`: 32 bytes of this server's own; `base`: where its pages are, without a slash at the end."""

    def __init__(self, pushers: Pushers, secret: bytes, base: Callable[[], str]) -> None:
        self._pushers = pushers
        self._secret = secret
        self._base = base

    def url(self, pusher: Pusher) -> str:
        """The link for a pusher's letters."""
        query = urlencode({"user": pusher.user_id, "token": self._token(pusher)})
        return f"{self._base()}{LEAVE_MAIL}?{query}"

    def find(self, user: str, token: str) -> Pusher | None:
        """The pusher that a link is about; None where it is gone, or the link is not ours."""
        for pusher in self._pushers.of(UserId(user)):
            if pusher.kind == EMAIL and hmac.compare_digest(self._token(pusher).encode(), token.encode()):
                return pusher
        return None

    async def leave(self, pusher: Pusher) -> None:
        """Write no more such letters. SERVER_BUSY."""
        await self._pushers.delete(pusher.key)

    def _token(self, pusher: Pusher) -> str:
        names = (b"leave", pusher.user_id.encode(), pusher.app_id.encode(), pusher.pushkey.encode())
        made = hmac.digest(self._secret, b"\0".join(names), "sha256")
        return base64.urlsafe_b64encode(made[:24]).decode()
