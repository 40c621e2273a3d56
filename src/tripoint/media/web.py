"""The pages of files: what capability URLs lead to, and uploads for IRC and XMPP clients.

    GET  /m/LINK/NAME          a file in a message (docs/mapping.md 12.2), or its text (10.8)
    POST /upload               IRC's FILEHOST: Basic or Bearer, answers 201 with Location (12.3)
    OPTIONS of these           what may be asked of them, for pages of other origins too
    PUT  /upload/ID/KEY/NAME   an XMPP slot (XEP-0363 4)

Every address answers "not found" alike, whatever is behind it.
spec: IRCv3 filehost, soju.im/FILEHOST, XEP-0363 7, RFC9110 14
"""

import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import ServerName, UserId
from tripoint.core.media_types import content_disposition, disposition_filename
from tripoint.core.mxc import make_mxc
from tripoint.media.links import PATH, UPLOAD_PATH, LinkedText, Links
from tripoint.media.ports import FileLibrary
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.upload_tokens import UploadTokens
from tripoint.media.uploads import Uploads
from tripoint.net.http import Header, Request, Response
from tripoint.net.http_body import parse_range, whole

# How long a page waits for a file that is announced and has not come.
_WAIT_MS: Final = 5_000
_SAFE: Final[tuple[Header, ...]] = (
    (b"content-security-policy", b"sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex, nofollow, noarchive"),
    (b"referrer-policy", b"no-referrer"),
    # XMPP clients in browsers fetch and put from pages of other origins.
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Location"),
)
STATUSES: Final[dict[MediaRefusal, int]] = {
    MediaRefusal.TOO_LARGE: 413,
    MediaRefusal.QUOTA: 507,
    MediaRefusal.TOO_MANY_PENDING: 429,
    MediaRefusal.GUEST: 403,
    MediaRefusal.NOT_FOUND: 404,
    MediaRefusal.NOT_YET_UPLOADED: 404,
    MediaRefusal.ALREADY_UPLOADED: 409,
    MediaRefusal.NOT_YOURS: 403,
    MediaRefusal.NOT_ANNOUNCED: 400,
    MediaRefusal.NO_THUMBNAIL: 400,
    MediaRefusal.IMAGE_TOO_LARGE: 413,
    MediaRefusal.REMOTE_TOO_LARGE: 502,
    MediaRefusal.REMOTE_FAILED: 502,
    MediaRefusal.BAD_LINK: 400,
    MediaRefusal.NO_PREVIEW: 502,
    MediaRefusal.TOO_MANY_PREVIEWS: 429,
    MediaRefusal.SERVER_BUSY: 503,
}
# spec: RFC9110 11.6.1, RFC6750 3, IRCv3 filehost: what a client may show instead.
_CHALLENGES: tuple[Header, ...] = (
    (b"www-authenticate", b'Bearer realm="tripoint"'),
    (b"www-authenticate", b'Basic realm="tripoint", charset="UTF-8"'),
)
_LOGIN: Final[dict[AccountRefusal, int]] = {AccountRefusal.RATE_LIMITED: 429, AccountRefusal.SERVER_BUSY: 503}


class MediaPages:
    """`password_allowed`: whether a password may be taken from this request (TLS, or this machine)."""

    def __init__(
        self,
        server: ServerName,
        links: Links,
        library: FileLibrary,
        uploads: Uploads,
        tokens: UploadTokens,
        accounts: AccountService,
        password_allowed: Callable[[Request], bool],
    ) -> None:
        self._server = server
        self._links = links
        self._library = library
        self._uploads = uploads
        self._tokens = tokens
        self._accounts = accounts
        self._password_allowed = password_allowed

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None for an address that is no file's."""
        path, method = request.path, request.method
        try:
            if path.startswith(PATH):
                return await self._file(request) if method in ("GET", "HEAD") else _other(method, "GET, HEAD")
            if path == UPLOAD_PATH:
                return await self._upload(request) if method == "POST" else _other(method, "POST")
            if path.startswith(UPLOAD_PATH + "/"):
                return await self._slot(request) if method == "PUT" else _other(method, "PUT")
        except MediaRefused as refused:
            return _plain(STATUSES[refused.refusal], refused.text)
        return None

    def too_large(self, request: Request) -> Response | None:
        """The answer to a body that is too large, for an address of files."""
        if not request.path.startswith(UPLOAD_PATH):
            return None
        return _plain(413, f"{MediaRefusal.TOO_LARGE.value}: at most {self._uploads.limit_bytes} bytes")

    async def _file(self, request: Request) -> Response:
        link, _, _ = request.path.removeprefix(PATH).partition("/")
        target = await self._links.target(link)
        if target is None:
            return _plain(404, MediaRefusal.NOT_FOUND.value)
        if isinstance(target, LinkedText):
            return _plain(200, target.text)
        file = await self._library.find(target.mxc, wait_ms=_WAIT_MS)
        tag = f'"{file.content[:32]}"'
        # Asked again every time: what was redacted must not come from a cache.
        kept: tuple[Header, ...] = ((b"cache-control", b"private, no-cache"), (b"etag", tag.encode()))
        if request.header(b"if-none-match") == tag:
            return Response(304, headers=(*kept, *_SAFE))
        try:
            part = parse_range(request.header(b"range"), file.size)
        except ValueError:
            return Response(416, headers=((b"content-range", b"bytes */%d" % file.size), *_SAFE))
        headers: tuple[Header, ...] = (
            (b"content-type", file.type.encode("ascii")),
            (b"content-disposition", content_disposition(file.type, target.filename).encode("ascii")),
            (b"accept-ranges", b"bytes"),
            *kept,
            *_SAFE,
        )
        opened = await self._library.open(file, part)
        if part is None:
            return Response(200, headers=headers, pieces=opened)
        span = b"bytes %d-%d/%d" % (part[0], part[0] + part[1] - 1, file.size)
        return Response(206, headers=(*headers, (b"content-range", span)), pieces=opened)

    async def _upload(self, request: Request) -> Response:
        try:
            user_id = await self._user(request)
        except AccountRefused as refused:
            status = _LOGIN.get(refused.refusal, 401)
            return _plain(status, refused.text, _CHALLENGES if status == 401 else ())
        file = await self._uploads.upload(
            user_id,
            whole(request.body) if request.stream is None else request.stream,
            declared=len(request.body) if request.stream is None else request.stream.declared,
            type=request.header(b"content-type"),
            filename=disposition_filename(request.header(b"content-disposition")),
        )
        url = await self._links.upload_link(file.mxc, file.filename)
        return _plain(201, url, ((b"location", url.encode("ascii")),))

    async def _user(self, request: Request) -> UserId:
        """Who uploads. Raises AccountRefused."""
        scheme, _, value = (request.header(b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            # spec: IRCv3 filehost: a token of FILEHOST TOKEN; soju.im/FILEHOST: one that logs in
            user_id = self._tokens.owner(value.strip())
            if user_id is not None:
                return (await self._accounts.check_open(user_id, address=request.address)).user_id
            return (await self._accounts.owner_of_token(value.strip())).account.user_id
        if scheme.lower() != "basic":
            raise AccountRefused(AccountRefusal.WRONG_CREDENTIALS, "Log in with your account to upload files")
        if not self._password_allowed(request):
            raise AccountRefused(AccountRefusal.TLS_REQUIRED)
        try:
            name, colon, password = b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name, colon, password = "", "", ""
        if not colon:
            raise AccountRefused(AccountRefusal.WRONG_CREDENTIALS)
        return (await self._accounts.check_login(name.lower(), password, address=request.address)).account.user_id

    async def _slot(self, request: Request) -> Response:
        media_id, _, rest = request.path.removeprefix(UPLOAD_PATH + "/").partition("/")
        key, _, _ = rest.partition("/")
        try:
            mxc = make_mxc(self._server, unquote(media_id))
        except ValueError:
            return _plain(404, MediaRefusal.NOT_FOUND.value)
        owner = None
        if self._links.is_slot(mxc, key):
            owner = await self._uploads.owner(mxc, request.header(b"content-type"))
        if owner is None:
            return _plain(404, MediaRefusal.NOT_FOUND.value)
        # spec: XEP-0363 7: the size and the type are those that the slot was asked for.
        await self._uploads.upload_to(
            owner,
            mxc,
            whole(request.body) if request.stream is None else request.stream,
            declared=len(request.body) if request.stream is None else request.stream.declared,
        )
        return _plain(201, "Thank you")


def _other(method: str, allowed: str) -> Response:
    """The answer to another method than these: 204 to OPTIONS, with which browsers ask for pages of other origins."""
    allow: Header = (b"allow", f"OPTIONS, {allowed}".encode())
    if method != "OPTIONS":
        return _plain(405, f"Only {allowed}", (allow,))
    return Response(
        204,
        headers=(
            allow,
            (b"access-control-allow-methods", f"OPTIONS, {allowed}".encode()),
            (b"access-control-allow-headers", b"Authorization, Content-Type, Content-Disposition, Range"),
            (b"access-control-max-age", b"86400"),
            *_SAFE,
        ),
    )


def _plain(status: int, text: str, more: tuple[Header, ...] = ()) -> Response:
    headers = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *more, *_SAFE)
    return Response(status, text.encode() + b"\n", headers)
