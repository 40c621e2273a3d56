"""What HTTP handlers are given and what they answer: our own small request and response.

Read next: http_front.py, which serves them. spec: RFC9110; Matrix client-server "API standards"
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol
from urllib.parse import unquote_plus

from tripoint.net.http_body import BodyStream, Pieces

Header = tuple[bytes, bytes]

# Query parameters of one request, and how long a value is of which the meaning is remembered.
MAX_FIELDS, _SHORT = 100, 2_000


class Request:
    """One request. `path` is still percent-encoded; `address` is the client's, behind trusted proxies too;
    `secure` says that it came over TLS, to us or to a trusted proxy. `stream` is the body where the front was told to
    hand it over in pieces; `body` is empty then. `can_switch`: its HTTP is 1.1, which lets a
    client ask for another protocol. A handler sets `waits` when what the request changes is done and it waits for
    something to answer: it is cancelled when the connection goes, as those of GET always are."""

    __slots__ = (
        *("_headers", "_query", "_query_string", "address", "body"),
        *("can_switch", "method", "path", "secure", "stream", "waits"),
    )

    def __init__(
        self,
        method: str,
        path: str,
        query_string: bytes,
        headers: Sequence[Header],
        body: bytes,
        address: str,
        secure: bool = False,
        stream: BodyStream | None = None,
        can_switch: bool = False,
    ) -> None:
        self.waits = False
        self.secure = secure
        self.can_switch = can_switch
        self.stream = stream
        self.method = method
        self.path = path
        self.body = body
        self.address = address
        self._headers = headers
        self._query_string = query_string
        self._query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        """The first header of this lower-case name."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    def headers(self, name: bytes) -> list[str]:
        """All headers of this lower-case name, in order."""
        return [value.decode("latin-1") for key, value in self._headers if key == name]

    def all_headers(self) -> Sequence[Header]:
        """Every header, with lower-case names, in order."""
        return self._headers

    @property
    def query_string(self) -> bytes:
        """The query as it came."""
        return self._query_string

    @property
    def target(self) -> str:
        """Path and query as they stood in the request."""
        return f"{self.path}?{self._query_string.decode('latin-1')}" if self._query_string else self.path

    def query(self, name: str) -> str | None:
        """The first query parameter of this name."""
        values = self.queries().get(name)
        return values[0] if values else None

    def queries(self) -> Mapping[str, list[str]]:
        """All query parameters. None where there are more than MAX_FIELDS: nothing needs so many."""
        if self._query is None:
            self._query = {}
            fields = self._query_string.decode("latin-1").split("&")
            if len(fields) > MAX_FIELDS:
                return self._query
            for field in fields:
                if field:
                    key, _, value = field.partition("=")
                    self._query.setdefault(_unquoted(key), []).append(_unquoted(value))
        return self._query


def _unquoted(text: str) -> str:
    """spec: URL Standard 5.1, application/x-www-form-urlencoded parsing"""
    if "%" not in text and "+" not in text:
        return text
    return _unquoted_short(text) if len(text) <= _SHORT else unquote_plus(text)


# Clients repeat their filters and room ids in each request.
_unquoted_short = lru_cache(1024)(unquote_plus)


class Response:
    """Status, headers and the whole body, or its `pieces`. content-length is added."""

    __slots__ = ("body", "headers", "pieces", "status")

    def __init__(
        self, status: int, body: bytes = b"", headers: Sequence[Header] = (), *, pieces: Pieces | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.pieces = pieces

    @property
    def length(self) -> int:
        return len(self.body) if self.pieces is None else self.pieces.length


class Successor(Protocol):
    """What an HTTP connection is handed over to: an asyncio.Protocol that tells when its connection is lost."""

    on_lost: Callable[[], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...


class SwitchProtocols(Response):
    """101: the connection is another protocol's from here on. spec: RFC9110 7.8, 15.2.2

    `headers` are all there are but the date. Only for a request that asked for it, over HTTP/1.1.
    """

    __slots__ = ("successor",)

    def __init__(self, headers: Sequence[Header], successor: Successor) -> None:
        super().__init__(101, b"", headers)
        self.successor = successor


Handler = Callable[[Request], Awaitable[Response]]
