"""Rendezvous: where a new device and one that is logged in meet, after one has scanned the other's QR code.

Two interfaces to such places (core/rendezvous.py): the one of MSC4388, and the one of MSC4108 as of 2024, with ETags,
which clients of today speak. Logging in is OAuth's device authorization grant, so both are there where OAuth is.
spec: MSC4388; MSC4108 of September 2024 "Insecure rendezvous session"
"""

import re
import secrets
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

import orjson

from tripoint.accounts.oauth.service import Authorization
from tripoint.core.addresses import network_of
from tripoint.core.canonical_json import JsonObject
from tripoint.core.rendezvous import MAX_BYTES, Meeting, Meetings, NoRoom, Overtaken
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.matrix.errors import ETAG_CORS, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Header, Response

NEW: Final = "/_matrix/client/unstable/io.element.msc4388/rendezvous"
OLD: Final = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"
FEATURE: Final = "org.matrix.msc4108"
# New places, and everything else (devices look every second or so), by network.
MAKING: Final = Rate(10, 0.2)
LOOKING: Final = Rate(100, 10)
# What is said of too many requests, now and in 2024.
BUSY, BUSY_OF_2024 = "M_LIMIT_EXCEEDED", "M_UNKNOWN"
# spec: RFC9110 8.8.3: a strong entity tag
_ETAG: Final = re.compile(r'"([A-Za-z0-9_-]{1,100})"\Z')


class RendezvousEndpoints:
    def __init__(self, oauth: Authorization, now_ms: Callable[[], int]) -> None:
        self._oauth = oauth
        self._now_ms = now_ms
        self._meetings = Meetings()
        self._made = TokenBuckets(MAKING)
        self._looked = TokenBuckets(LOOKING)

    # -- MSC4388

    @endpoint("GET", NEW, auth=Auth.OPTIONAL)
    async def discover(self, call: Call) -> Response:
        """spec: "Discover if the rendezvous API is available" """
        self._check(call, self._looked)
        return json_response({"create_available": _may_make(call)})

    @endpoint("POST", NEW, auth=Auth.OPTIONAL)
    async def make(self, call: Call) -> Response:
        """For users of this server: "this should be the default"."""
        self._check(call, self._made)
        if not _may_make(call):
            raise MatrixError(403, "M_FORBIDDEN", "A rendezvous is made by somebody who is logged in")
        data = _data(call.json())
        name, meeting = self._open(call, "new", data)
        return json_response(
            {"id": name, "sequence_token": meeting.token, "expires_in_ms": meeting.until_ms - self._now_ms()}
        )

    @endpoint("GET", f"{NEW}/{{rendezvousId}}", auth=Auth.NONE)
    async def read(self, call: Call) -> Response:
        self._check(call, self._looked)
        _check_no_page(call)
        meeting = self._find(call, "new")
        return json_response(
            {
                "data": meeting.data.decode(),
                "sequence_token": meeting.token,
                "expires_in_ms": meeting.until_ms - self._now_ms(),
            }
        )

    @endpoint("PUT", f"{NEW}/{{rendezvousId}}", auth=Auth.NONE)
    async def write(self, call: Call) -> Response:
        self._check(call, self._looked)
        body = call.json()
        token = body.get("sequence_token")
        if not isinstance(token, str):
            raise missing("sequence_token")
        data, name = _data(body), call.path["rendezvousId"]
        try:
            meeting = self._meetings.write("new", name, token, data, self._now_ms(), again=True)
        except Overtaken:
            code = "IO_ELEMENT_MSC4388_CONCURRENT_WRITE"
            raise MatrixError(409, code, "The other device has written meanwhile") from None
        if meeting is None:
            raise _gone()
        return json_response({"sequence_token": meeting.token})

    @endpoint("DELETE", f"{NEW}/{{rendezvousId}}", auth=Auth.NONE)
    async def cancel(self, call: Call) -> Response:
        self._check(call, self._looked)
        if not self._meetings.close("new", call.path["rendezvousId"], self._now_ms()):
            raise _gone()
        return json_response({})

    # -- MSC4108 of 2024

    @endpoint("POST", OLD, auth=Auth.NONE)
    async def make_by_etag(self, call: Call) -> Response:
        """COMPAT: Element X and Element Web of 2024 to 2026. "These API endpoints do not require authentication"."""
        self._check(call, self._made, BUSY_OF_2024)
        name, meeting = self._open(call, "old", _plain(call), BUSY_OF_2024)
        where = orjson.dumps({"url": f"{self._oauth.base}{OLD}/{name}"})
        return Response(201, where, ((b"content-type", b"application/json"), *_headers(meeting)))

    @endpoint("GET", f"{OLD}/{{rendezvousId}}", auth=Auth.NONE)
    async def read_by_etag(self, call: Call) -> Response:
        self._check(call, self._looked, BUSY_OF_2024)
        _check_no_page(call)
        meeting = self._find(call, "old")
        if call.request.header(b"if-none-match") == f'"{meeting.token}"':
            return Response(304, b"", _headers(meeting))
        kind = (b"content-type", b"text/plain")
        return Response(200, meeting.data, (kind, (b"x-content-type-options", b"nosniff"), *_headers(meeting)))

    @endpoint("PUT", f"{OLD}/{{rendezvousId}}", auth=Auth.NONE)
    async def write_by_etag(self, call: Call) -> Response:
        self._check(call, self._looked, BUSY_OF_2024)
        given = call.request.header(b"if-match")
        if given is None:
            raise missing("If-Match")
        etag = _ETAG.match(given.strip())
        if etag is None:
            raise invalid("If-Match is one strong ETag")
        data, name = _plain(call), call.path["rendezvousId"]
        try:
            meeting = self._meetings.write("old", name, etag[1], data, self._now_ms(), again=False)
        except Overtaken as overtaken:
            # spec: "the existing M_UNKNOWN code should be used instead, with the new code" beside it
            more = {"org.matrix.msc4108.errcode": "M_CONCURRENT_WRITE"}
            error = MatrixError(412, "M_UNKNOWN", "The other device has written meanwhile", **more).response()
            kind = (b"content-type", b"application/json")
            return Response(412, error.body, (kind, *_headers(overtaken.now)))
        if meeting is None:
            raise _gone()
        return Response(202, b"", _headers(meeting))

    @endpoint("DELETE", f"{OLD}/{{rendezvousId}}", auth=Auth.NONE)
    async def cancel_by_etag(self, call: Call) -> Response:
        self._check(call, self._looked, BUSY_OF_2024)
        if not self._meetings.close("old", call.path["rendezvousId"], self._now_ms()):
            raise _gone()
        return Response(204, b"", ETAG_CORS)

    # -- both

    def _check(self, call: Call, pace: TokenBuckets, busy: str = BUSY) -> None:
        """M_UNRECOGNIZED where this is not there; `busy`: the errcode for too many requests."""
        if not self._oauth.is_on:
            raise MatrixError(404, "M_UNRECOGNIZED", "This server has no rendezvous: see server.public_url")
        wait_s = pace.take(network_of(call.request.address), self._now_ms() / 1000)
        if wait_s > 0:
            raise _too_many(busy, int(wait_s * 1000) + 1)

    def _open(self, call: Call, api: str, data: bytes, busy: str = BUSY) -> tuple[str, Meeting]:
        name = secrets.token_urlsafe(24)
        try:
            return name, self._meetings.open(api, name, data, network_of(call.request.address), self._now_ms())
        except NoRoom as full:
            raise _too_many(busy, full.retry_after_ms) from None

    def _find(self, call: Call, api: str) -> Meeting:
        found = self._meetings.find(api, call.path["rendezvousId"], self._now_ms())
        if found is None:
            raise _gone()
        return found


def _may_make(call: Call) -> bool:
    caller = call.maybe_caller
    return caller is not None and not caller.account.guest


def _check_no_page(call: Call) -> None:
    """spec: MSC4388 "Unsafe content": nobody is led here by a link."""
    request = call.request
    if request.header(b"sec-fetch-mode") == "navigate" or request.header(b"sec-fetch-dest") == "document":
        raise MatrixError(403, "M_FORBIDDEN", "This is no page")


def _data(body: JsonObject) -> bytes:
    data = body.get("data")
    if data is None:
        raise missing("data")
    if not isinstance(data, str):
        raise bad_json("data must be a text")
    try:
        return _fitting(data.encode())
    except UnicodeEncodeError:
        raise bad_json("data must be a text") from None


def _plain(call: Call) -> bytes:
    kind = call.request.header(b"content-type")
    if kind is None:
        raise missing("Content-Type")
    if kind.partition(";")[0].strip().lower() != "text/plain":
        raise invalid("Content-Type must be text/plain")
    return _fitting(call.request.body)


def _fitting(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise MatrixError(413, "M_TOO_LARGE", f"There is room for {MAX_BYTES} bytes")
    return data


def _headers(meeting: Meeting) -> tuple[Header, ...]:
    """spec: "Common HTTP response headers" """
    return (
        (b"etag", f'"{meeting.token}"'.encode()),
        (b"expires", formatdate(meeting.until_ms / 1000, usegmt=True).encode()),
        (b"last-modified", formatdate(meeting.changed_ms / 1000, usegmt=True).encode()),
        (b"cache-control", b"no-store"),
        (b"pragma", b"no-cache"),
        *ETAG_CORS,
    )


def _gone() -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", "There is no such rendezvous; it may have expired")


def _too_many(errcode: str, retry_after_ms: int) -> MatrixError:
    return MatrixError(429, errcode, "Too many requests; try again later", retry_after_ms=retry_after_ms)
