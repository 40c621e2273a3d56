"""What is behind a link, fetched: a page's words, a picture, what a site says of a page by oEmbed; no more than needed.

Everything goes through the one door for outgoing requests, which asks the address policy about every connection, behind
redirects too. What a page is, is found out in a process of its own (page_worker.py).
spec: Matrix client-server-api GET /media/preview_url
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
from msgspec import Struct

from tripoint.core.errors import RemoteFailed
from tripoint.core.media_types import bare_type
from tripoint.media.disk import Disk
from tripoint.media.files import FileTooLarge, Incoming
from tripoint.media.open_graph import MAX_URL, PAGE_BYTES, clean, urljoin_or
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.side_process import SideProcess
from tripoint.media.thumbnails import IMAGE_TYPES
from tripoint.net.outbound import OpenAnswer

# One request, redirects and body included; somebody looks at an empty place meanwhile.
FETCH_S: Final = 15.0
IMAGE_BYTES: Final = 10_485_760
OEMBED_BYTES: Final = 65_536
PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
# The names of oEmbed, and those of Open Graph.
_OEMBED: Final = {"title": "og:title", "provider_name": "og:site_name", "author_name": "og:description"}
_ACCEPT: Final = "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.1"
_HOST_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-[]:")


class OpenUrl(Protocol):
    """net.outbound.Outbound.open_url."""

    def __call__(
        self, url: str, *, timeout_s: float, headers: Mapping[str, str] = ..., plain: bool = ...
    ) -> AbstractAsyncContextManager[OpenAnswer]: ...


class Found(Struct, frozen=True):
    """What is at a link: texts by the names of Open Graph, and a picture. `image`: its address, or its bytes where the
    link is a picture itself."""

    tags: Mapping[str, str]
    image: "str | Picture | None" = None


class Picture(Struct, frozen=True):
    """A picture that is on disk, at a side."""

    incoming: Incoming
    type: str


class Sites:
    """Fetches. Raises MediaRefused(NO_PREVIEW) and RemoteFailed."""

    def __init__(self, disk: Disk, worker: SideProcess, open_url: OpenUrl) -> None:
        self._disk = disk
        self._worker = worker
        self._open = open_url

    async def look(self, url: str, language: str) -> Found:
        """What is there, for readers of a language ("" where nothing is known of it)."""
        headers = {"Accept": _ACCEPT}
        if language:
            headers["Accept-Language"] = f"{language}, *;q=0.5"
        async with self._open(url, timeout_s=FETCH_S, headers=headers, plain=True) as answer:
            kind = _usable(url, answer)
            if kind in IMAGE_TYPES:
                return Found({}, Picture(await self._receive(answer), kind))
            if kind not in PAGES:
                return Found({})
            data, where = await _beginning(answer, PAGE_BYTES), answer.url
            charset = _charset(answer.headers.get("content-type", ""))
        told = await self._read(data, charset, where)
        tags: dict[str, str] = dict(told["tags"])
        image: str | None = told["image"]
        if told["oembed"] is not None and (image is None or not {"og:title", "og:description"} <= tags.keys()):
            more = await self._oembed(told["oembed"], headers)
            tags = {**more.tags, **tags}
            image = image or (more.image if isinstance(more.image, str) else None)
        return Found(tags, image)

    async def picture(self, url: str) -> Picture | None:
        """A picture that a page names; None where it is none, too large, or cannot be had."""
        try:
            async with self._open(url, timeout_s=FETCH_S, headers={"Accept": "image/*"}, plain=True) as answer:
                kind = _usable(url, answer)
                return Picture(await self._receive(answer), kind) if kind in IMAGE_TYPES else None
        except (RemoteFailed, MediaRefused):
            return None

    async def _receive(self, answer: OpenAnswer) -> Incoming:
        try:
            return await self._disk.receive(answer.pieces, IMAGE_BYTES)
        except FileTooLarge:
            raise MediaRefused(MediaRefusal.NO_PREVIEW, "The picture is too large") from None
        except OSError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error

    async def _read(self, data: bytes, charset: str | None, url: str) -> dict[str, Any]:
        path = self._disk.side_path()
        try:
            await self._disk.off_loop(lambda: path.write_bytes(data))
            told = await self._worker.do({"source": str(path), "charset": charset, "url": url})
        except OSError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        finally:
            await self._disk.off_loop(lambda: path.unlink(missing_ok=True))
        if "error" in told:
            raise MediaRefused(MediaRefusal.NO_PREVIEW)
        return told

    async def _oembed(self, url: str, headers: Mapping[str, str]) -> Found:
        """What a site says of one of its pages. Its markup is not wanted; nothing depends on it."""
        headers = {**headers, "Accept": "application/json"}
        try:
            async with self._open(url, timeout_s=FETCH_S, headers=headers, plain=True) as answer:
                _usable(url, answer)
                told = orjson.loads((await answer.whole(url, OEMBED_BYTES)).body)
        except (RemoteFailed, MediaRefused, orjson.JSONDecodeError):
            return Found({})
        if not isinstance(told, dict):
            return Found({})
        tags = {}
        for theirs, name in _OEMBED.items():
            value = told.get(theirs)
            if isinstance(value, str) and (text := clean(value, 500)):
                tags[name] = text
        image = told.get("url") if told.get("type") == "photo" else told.get("thumbnail_url")
        return Found(tags, urljoin_or(url, image) if isinstance(image, str) else None)


def _usable(url: str, answer: OpenAnswer) -> str:
    """The type of an answer, in lower case without parameters. RemoteFailed for one that is no answer to a GET, or that
    is compressed though nobody asked for it: what is small on the wire could be anything."""
    if answer.status != 200:
        raise RemoteFailed(urlsplit(url).hostname or url, f"it answers {answer.status}")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise RemoteFailed(urlsplit(url).hostname or url, "it answers in an encoding that was not asked for")
    return bare_type(answer.headers.get("content-type", "")).lower()


async def _beginning(answer: OpenAnswer, limit_bytes: int) -> bytes:
    """So much of a body: a page without an end begins like any other."""
    data = bytearray()
    pieces: AsyncIterator[bytes] = answer.pieces
    async for piece in pieces:
        data += piece
        if len(data) >= limit_bytes:
            break
    return bytes(data[:limit_bytes])


def _charset(content_type: str) -> str | None:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'")[:40] or None
    return None


def link_of(text: str, is_blocked: Callable[[str], bool]) -> str:
    """A link as it is fetched and kept: in ASCII, without the part behind "#". MediaRefused(BAD_LINK)."""
    refused = MediaRefused(MediaRefusal.BAD_LINK)
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        raise refused from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or not set(host) <= _HOST_CHARS:
        raise refused
    if is_blocked(host):
        raise refused
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    path, query = (quote(part, safe="/%:@!$&'()*+,;=?~-._[]") for part in (parts.path or "/", parts.query))
    url = urlunsplit((parts.scheme, netloc, path, query, ""))
    if len(url) > MAX_URL:
        raise refused
    return url
