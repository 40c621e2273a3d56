"""What was found at links: a cache, and the one part of the store that may be lost.

As in interface.py: absent is None or empty, never an exception; tests/contract holds every store to it.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class PutPreview(Struct, frozen=True):
    """What is at a URL, for readers of a language. `content` None deletes it; `media_id`: the picture's, which goes
    with it."""

    url: str
    language: str
    content: bytes | None
    media_id: str | None = None
    fetched_ts_ms: int = 0
    expires_ts_ms: int = 0


class PreviewStore(Protocol):
    """Previews of links."""

    async def load_preview(self, url: str, language: str) -> PutPreview | None:
        """Those that expired too, as long as they are there."""

    async def load_old_previews(self, expired_ms: int, limit: int) -> Sequence[PutPreview]:
        """Those that expire before a time, the first to do so first."""

    async def count_previews(self) -> int: ...
