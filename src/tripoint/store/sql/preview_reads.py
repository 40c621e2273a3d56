"""Previews of links on SQLite: how they are read and written; a part of sqlite.SqliteStore."""

from collections.abc import Callable, Sequence
from typing import Any

from tripoint.store.preview_store import PutPreview

Row = tuple[object, ...]

_PREVIEW = "SELECT url, language, content, media_id, fetched_ts_ms, expires_ts_ms FROM url_previews "

PUT: dict[type, tuple[str, Callable[[Any], Row]]] = {
    PutPreview: (
        "INSERT OR REPLACE INTO url_previews (url, language, content, media_id, fetched_ts_ms, expires_ts_ms)"
        " VALUES (?,?,?,?,?,?)",
        lambda w: (w.url, w.language, w.content, w.media_id, w.fetched_ts_ms, w.expires_ts_ms),
    ),
}

DELETE: dict[type, tuple[str, str, Callable[[Any], Row]]] = {
    PutPreview: (
        "content",
        "DELETE FROM url_previews WHERE url = ? AND language = ?",
        lambda w: (w.url, w.language),
    ),
}


class PreviewReads:
    """Abstract: queries go through _all and _one, which the store that is made of this defines."""

    def _all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        raise NotImplementedError

    async def load_preview(self, url: str, language: str) -> PutPreview | None:
        row = self._one(_PREVIEW + "WHERE url = ? AND language = ?", url, language)
        return None if row is None else PutPreview(*row)

    async def load_old_previews(self, expired_ms: int, limit: int) -> Sequence[PutPreview]:
        where = "WHERE expires_ts_ms < ? ORDER BY expires_ts_ms, url, language LIMIT ?"
        return [PutPreview(*row) for row in self._all(_PREVIEW + where, expired_ms, limit)]

    async def count_previews(self) -> int:
        row = self._one("SELECT count(*) FROM url_previews")
        return 0 if row is None else int(row[0])
