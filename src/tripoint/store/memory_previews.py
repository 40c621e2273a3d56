"""Previews of links in memory; a part of memory.MemoryStore."""

from collections.abc import Sequence

from tripoint.store.preview_store import PutPreview


class PreviewsInMemory:
    """store.preview_store.PreviewStore in a dictionary."""

    def __init__(self) -> None:
        self.previews: dict[tuple[str, str], PutPreview] = {}

    async def load_preview(self, url: str, language: str) -> PutPreview | None:
        return self.previews.get((url, language))

    async def load_old_previews(self, expired_ms: int, limit: int) -> Sequence[PutPreview]:
        old = [one for one in self.previews.values() if one.expires_ts_ms < expired_ms]
        return sorted(old, key=lambda one: (one.expires_ts_ms, one.url, one.language))[:limit]

    async def count_previews(self) -> int:
        return len(self.previews)
