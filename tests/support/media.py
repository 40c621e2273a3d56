"""Media for tests: on a throw-away folder, with links that begin with ORIGIN."""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.middle import SECRET, Party
from tripoint.config.options import Config
from tripoint.net.http import Request, Response
from tripoint.runtime.media import MediaParts, build_media
from tripoint.runtime.middle import Middle

ORIGIN = "https://files.example.org"


@asynccontextmanager
async def files(config: Config, p: Party) -> AsyncIterator[MediaParts]:
    """Media beside a party."""
    async with beside(config, p.middle, p.clock.ms) as media:
        yield media


@asynccontextmanager
async def beside(config: Config, middle: Middle, now_ms: Callable[[], int]) -> AsyncIterator[MediaParts]:
    """Media beside a middle."""
    with tempfile.TemporaryDirectory() as folder:
        media = build_media(config, middle, Path(folder), secret=SECRET, now_ms=now_ms)
        media.links.origin = ORIGIN
        try:
            yield media
        finally:
            await media.close()


async def body_of(response: Response) -> bytes:
    """The whole body of an answer."""
    if response.pieces is None:
        return response.body
    try:
        data = b"".join([piece async for piece in response.pieces])
        assert len(data) == response.pieces.length
        return data
    finally:
        response.pieces.close()


async def fetch(media: MediaParts, url: str, *headers: tuple[bytes, bytes], method: str = "GET") -> Response:
    """Ask for an address that was given out."""
    assert url.startswith(ORIGIN), url
    response = await media.pages.handle(Request(method, url.removeprefix(ORIGIN), b"", headers, b"", "192.0.2.1", True))
    assert response is not None, "not an address of files"
    return response


async def send(media: MediaParts, method: str, url: str, data: bytes, *headers: tuple[bytes, bytes]) -> Response:
    """Post or put a body to an address that was given out."""
    path = url.removeprefix(ORIGIN)
    response = await media.pages.handle(Request(method, path, b"", headers, data, "192.0.2.1", True))
    assert response is not None, "not an address of files"
    return response
