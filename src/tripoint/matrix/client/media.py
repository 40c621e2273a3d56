"""Uploading, downloading and thumbnails. spec: Matrix client-server-api content-repo

The deprecated addresses that ask for no token are frozen, as the specification has it: what is uploaded here is newer
than the freeze, so nothing is found there. Whoever shows a token has the file all the same.
"""

import re
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import InvalidId, ServerName
from tripoint.core.media_types import bare_type, clean_filename, content_disposition
from tripoint.core.mxc import Mxc, make_mxc
from tripoint.matrix.errors import CORS, MatrixError, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.media.ports import Media
from tripoint.net.http import Header, Response
from tripoint.net.http_body import parse_range, whole

# spec: "When serving content": the recommended policy, and what goes with it.
SAFE_HEADERS: tuple[Header, ...] = (
    (
        b"content-security-policy",
        b"sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; "
        b"object-src 'self';",
    ),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
# The bytes behind a name never change. Private: a shared cache would hand them to who has no token.
_CACHED: Header = (b"cache-control", b"private, max-age=86400, immutable")
# The language that somebody reads best, without its regions: sites have few of them, and each is a preview of its own.
_LANGUAGE: Final = re.compile(r"\s*([A-Za-z]{2,3})(?![A-Za-z])")
# spec: timeout_ms: the default.
DEFAULT_WAIT_MS = 20_000


class MediaEndpoints:
    def __init__(self, media: Media, server: ServerName) -> None:
        self._uploads = media.uploads
        self._library = media.library
        self._thumbnails = media.thumbnails
        self._previews = media.previews
        self._server = server

    # -- in

    @endpoint("POST", "/_matrix/media/v3/upload")
    async def upload(self, call: Call) -> Response:
        """spec: uploadContent"""
        request = call.request
        stream = request.stream
        file = await self._uploads.upload(
            call.user_id,
            whole(request.body) if stream is None else stream,
            declared=len(request.body) if stream is None else stream.declared,
            type=request.header(b"content-type"),
            filename=call.query("filename"),
        )
        return json_response({"content_uri": str(file.mxc)})

    @endpoint("POST", "/_matrix/media/v1/create")
    async def create(self, call: Call) -> Response:
        """spec: createContent"""
        pending = await self._uploads.create(call.user_id)
        return json_response({"content_uri": str(pending.mxc), "unused_expires_at": pending.expires_ts_ms})

    @endpoint("PUT", "/_matrix/media/v3/upload/{serverName}/{mediaId}")
    async def upload_to(self, call: Call) -> Response:
        """spec: uploadContentToMXC"""
        request = call.request
        stream = request.stream
        await self._uploads.upload_to(
            call.user_id,
            _mxc(call),
            whole(request.body) if stream is None else stream,
            declared=len(request.body) if stream is None else stream.declared,
            type=request.header(b"content-type"),
            filename=call.query("filename"),
        )
        return json_response({})

    @endpoint("GET", "/_matrix/client/v1/media/config", "/_matrix/media/v3/config")
    async def config(self, call: Call) -> Response:
        """spec: getConfigAuthed"""
        body: JsonObject = {"m.upload.size": self._uploads.limit_bytes}
        return json_response(body)

    @endpoint("GET", "/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url")
    async def preview(self, call: Call) -> Response:
        """spec: getUrlPreviewAuthed; the other address is deprecated, and asks for a token too"""
        if not self._previews.is_on:
            raise MatrixError(404, "M_UNRECOGNIZED", "This server makes no previews of links")
        url = call.query("url")
        if not url:
            raise missing("url")
        language = _LANGUAGE.match(call.request.header(b"accept-language") or "")
        told = await self._previews.preview(
            call.user_id,
            url,
            ts_ms=call.number("ts"),
            language="" if language is None else language[1].lower(),
        )
        return json_response(told)

    # -- out

    @endpoint(
        "GET",
        "/_matrix/client/v1/media/download/{serverName}/{mediaId}",
        "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
        guests=True,
    )
    async def download(self, call: Call) -> Response:
        """spec: getContentAuthed, getContentOverrideNameAuthed"""
        return await self._download(call, fetch=True)

    async def _download(self, call: Call, *, fetch: bool) -> Response:
        file = await self._library.find(_mxc(call), wait_ms=wait_ms(call), fetch=fetch)
        named = clean_filename(call.path.get("fileName")) or file.filename
        try:
            part = parse_range(call.request.header(b"range"), file.size)
        except ValueError:
            total = b"bytes */%d" % file.size
            return Response(416, b"", (*CORS, (b"content-range", total)))
        opened = await self._library.open(file, part)
        headers = file_headers(file.type, content_disposition(file.type, named))
        if part is None:
            return Response(200, headers=headers, pieces=opened)
        span = b"bytes %d-%d/%d" % (part[0], part[0] + part[1] - 1, file.size)
        return Response(206, headers=(*headers, (b"content-range", span)), pieces=opened)

    @endpoint("GET", "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", guests=True)
    async def thumbnail(self, call: Call) -> Response:
        """spec: getContentThumbnailAuthed"""
        return await self._thumbnail(call, fetch=True)

    async def _thumbnail(self, call: Call, *, fetch: bool) -> Response:
        width, height, crop = wanted_size(call)
        file = await self._library.find(_mxc(call), wait_ms=wait_ms(call), fetch=fetch)
        made = await self._thumbnails.thumbnail(file, width, height, crop=crop)
        pieces, content_type = (await self._library.open(file), file.type) if made is None else made
        return Response(200, headers=thumbnail_headers(content_type), pieces=pieces)

    @endpoint(
        "GET",
        "/_matrix/media/v3/download/{serverName}/{mediaId}",
        "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
        auth=Auth.OPTIONAL,
    )
    async def old_download(self, call: Call) -> Response:
        """COMPAT: matrix-nio 0.26 asks here, with its token; getContent knows none."""
        return await self._download(call, fetch=_from_of_old(call))

    @endpoint("GET", "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", auth=Auth.OPTIONAL)
    async def old_thumbnail(self, call: Call) -> Response:
        """As old_download."""
        return await self._thumbnail(call, fetch=_from_of_old(call))


def _from_of_old(call: Call) -> bool:
    """Whether another server's file may be fetched for a deprecated request; M_NOT_FOUND for one without a token.

    spec: content-repo "By Matrix 1.12, servers SHOULD freeze the deprecated, unauthenticated, endpoints"
    """
    _mxc(call)
    if call.maybe_caller is None:
        raise MatrixError(404, "M_NOT_FOUND", "Files are had from /_matrix/client/v1/media, with an access token")
    return call.query("allow_remote") != "false"


def _mxc(call: Call) -> Mxc:
    """The file of a path. What is no name of a file is the name of none."""
    try:
        return make_mxc(call.path["serverName"], call.path["mediaId"])
    except InvalidId as error:
        raise MatrixError(404, "M_NOT_FOUND", f"There is no such file: {error}") from None


def wait_ms(call: Call) -> int:
    """How long a caller wants to wait for a file that has not come."""
    wanted = call.number("timeout_ms")
    return DEFAULT_WAIT_MS if wanted is None else wanted


def wanted_size(call: Call) -> tuple[int, int, bool]:
    """(width, height, cut to that shape) of a thumbnail."""
    width, height = call.number("width"), call.number("height")
    if width is None or height is None:
        raise missing("width" if width is None else "height")
    if width == 0 or height == 0:
        raise invalid("width and height are at least 1")
    method = call.query("method") or "scale"
    if method not in ("scale", "crop"):
        raise invalid("method is crop or scale")
    return width, height, method == "crop"


def file_headers(content_type: str, disposition: str) -> tuple[Header, ...]:
    return (
        (b"content-type", content_type.encode("ascii")),
        (b"content-disposition", disposition.encode("ascii")),
        (b"accept-ranges", b"bytes"),
        _CACHED,
        *SAFE_HEADERS,
        *CORS,
    )


def thumbnail_headers(content_type: str) -> tuple[Header, ...]:
    """spec: getContentThumbnailAuthed: inline, with a name."""
    suffix = bare_type(content_type).rpartition("/")[2]
    return file_headers(content_type, f'inline; filename="thumbnail.{suffix}"')


