"""Files between servers: giving ours, and fetching theirs.

spec: Matrix server-server-api "Content Repository", getContent, getContentThumbnail
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tripoint.core.canonical_json import decode_lenient
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import InvalidId, ServerName
from tripoint.core.media_types import content_disposition, disposition_filename
from tripoint.core.mxc import Mxc, make_mxc
from tripoint.matrix.client.media import wait_ms, wanted_size
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.federation.client import FederationClient, make_target
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.media.ports import Media, NoSuchFile, RemoteFile
from tripoint.net.http import Response
from tripoint.net.http_body import Pieces
from tripoint.net.multipart import MultipartReader, boundary_of
from tripoint.net.outbound import OpenAnswer, Outbound

# A file as large as may be fetched, on a line of 3 Mbit/s. Others wait for their turn behind it (media/library.py).
FETCH_S: Final = 300.0
# What an error says fits in this.
_ERROR_BYTES: Final = 16_384
# How long the other server is asked to wait for a file that is announced.
_WAIT_MS: Final = 20_000


class FileServingEndpoints:
    """`server` is this server's name; files of others are not given on."""

    def __init__(self, media: Media, server: ServerName) -> None:
        self._library = media.library
        self._thumbnails = media.thumbnails
        self._server = server

    @endpoint("GET", "/_matrix/federation/v1/media/download/{mediaId}", auth=Auth.SERVER)
    async def download(self, call: Call) -> Response:
        """spec: getContent"""
        file = await self._library.find(self._ours(call), wait_ms=wait_ms(call))
        opened = await self._library.open(file)
        return _two_parts(opened, file.type, content_disposition(file.type, file.filename))

    @endpoint("GET", "/_matrix/federation/v1/media/thumbnail/{mediaId}", auth=Auth.SERVER)
    async def thumbnail(self, call: Call) -> Response:
        """spec: getContentThumbnail"""
        width, height, crop = wanted_size(call)
        file = await self._library.find(self._ours(call), wait_ms=wait_ms(call))
        made = await self._thumbnails.thumbnail(file, width, height, crop=crop)
        opened, content_type = (await self._library.open(file), file.type) if made is None else made
        return _two_parts(opened, content_type, content_disposition(content_type, None))

    def _ours(self, call: Call) -> Mxc:
        try:
            return make_mxc(self._server, call.path["mediaId"])
        except InvalidId as error:
            raise MatrixError(404, "M_NOT_FOUND", f"There is no such file: {error}") from None


class _Framed:
    """Pieces with something before and behind them."""

    def __init__(self, before: bytes, inside: Pieces, behind: bytes) -> None:
        self._before = before
        self._inside = inside
        self._behind = behind
        self.length = len(before) + inside.length + len(behind)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._before
        async for piece in self._inside:
            yield piece
        yield self._behind

    def close(self) -> None:
        self._inside.close()


def _two_parts(opened: Pieces, content_type: str, disposition: str) -> Response:
    """spec: getContent: facts, of which there are none yet, then the file. The boundary is in no file: it is random."""
    boundary = secrets.token_hex(16)
    before = (
        f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n"
        f"Content-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n\r\n"
    )
    framed = _Framed(before.encode("ascii"), opened, f"\r\n--{boundary}--\r\n".encode())
    return Response(200, headers=((b"content-type", f"multipart/mixed; boundary={boundary}".encode()),), pieces=framed)


class FileFetcher:
    """media.ports.RemoteMedia over federation."""

    def __init__(self, client: FederationClient, outbound: Outbound) -> None:
        self._client = client
        self._outbound = outbound

    @asynccontextmanager
    async def fetch(self, mxc: Mxc) -> AsyncIterator[RemoteFile]:
        target = make_target(
            "_matrix", "federation", "v1", "media", "download", mxc.media_id, query={"timeout_ms": str(_WAIT_MS)}
        )
        async with AsyncExitStack() as stack:
            answer = await stack.enter_async_context(self._client.open(mxc.server, target, timeout_s=FETCH_S))
            if answer.status == 200:
                yield await self._from_parts(stack, mxc.server, answer)
                return
            errcode = await _errcode(mxc.server, answer)
            if errcode != "M_UNRECOGNIZED" or answer.status not in (404, 405):
                raise _meaning(mxc.server, answer.status, errcode)
        # spec: "Content Repository": servers that know the deprecated address alone.
        old = make_target(
            "_matrix", "media", "v3", "download", mxc.server, mxc.media_id, query={"allow_remote": "false"}
        )
        async with self._client.open(mxc.server, old, signed=False, timeout_s=FETCH_S) as answer:
            if answer.status != 200:
                raise _meaning(mxc.server, answer.status, await _errcode(mxc.server, answer))
            yield _file(answer.headers, answer.pieces)

    async def _from_parts(self, stack: AsyncExitStack, server: ServerName, answer: OpenAnswer) -> RemoteFile:
        """The file of an answer in two parts, or where it says that the file is."""
        try:
            reader = MultipartReader(boundary_of(answer.headers.get("content-type", "")))
            first = b""
            while reader.headers is None:
                first = reader.feed(await _next(server, answer.pieces))
        except PeerError as error:
            raise RemoteFailed(server, f"its answer is no file: {error}") from None
        location = reader.headers.get("location")
        if location is None:
            return _file(reader.headers, _rest(server, reader, first, answer.pieces))
        # spec: getContent: the address may hold for a short time, so it is not kept.
        elsewhere = await stack.enter_async_context(self._outbound.open_url(location, timeout_s=FETCH_S))
        if elsewhere.status != 200:
            raise RemoteFailed(server, f"the address that it gave for the file answers {elsewhere.status}")
        return _file(elsewhere.headers, elsewhere.pieces)


def _file(headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> RemoteFile:
    return RemoteFile(
        pieces, headers.get("content-type", ""), disposition_filename(headers.get("content-disposition"))
    )


async def _next(server: ServerName, pieces: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise RemoteFailed(server, "its answer ends before the file") from None


async def _rest(
    server: ServerName, reader: MultipartReader, first: bytes, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    if first:
        yield first
    try:
        async for piece in pieces:
            body = reader.feed(piece)
            if body:
                yield body
            if reader.done:
                return
        reader.end()
    except PeerError as error:
        raise RemoteFailed(server, f"its answer breaks off: {error}") from None


async def _errcode(server: ServerName, answer: OpenAnswer) -> str:
    """The errcode of an error, "" where it has none."""
    try:
        said = decode_lenient((await answer.whole(server, _ERROR_BYTES)).body)
    except PeerError:
        return ""
    errcode = said.get("errcode") if isinstance(said, dict) else None
    return errcode if isinstance(errcode, str) else ""


def _meaning(server: ServerName, status: int, errcode: str) -> Exception:
    if errcode == "M_NOT_YET_UPLOADED":
        return NoSuchFile(not_yet=True)
    if status == 404 and errcode in ("M_NOT_FOUND", "M_UNRECOGNIZED"):
        return NoSuchFile()
    return RemoteFailed(server, f"it answered {status} {errcode}".strip())
