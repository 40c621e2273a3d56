"""The HTTP front: our own small request and response, whoever parses the bytes.

Handlers know Request and Response alone. uvicorn's protocol drives them today, embedded in our loop without
its server; anything that can make a Request may take its place. Bodies are bounded while they are read.
spec: RFC9110; Matrix client-server "API standards"
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

Header = tuple[bytes, bytes]

# Long polls are held for 30 s and more by the handler; this is the pause between requests on a connection.
KEEP_ALIVE_S = 120
# Headers of a request altogether; access tokens and cookies fit many times.
MAX_HEAD_BYTES = 65_536


class Request:
    """One request. `path` is still percent-encoded; `address` is the client's, behind trusted proxies too."""

    __slots__ = ("_headers", "_query", "_query_string", "address", "body", "method", "path")

    def __init__(
        self,
        method: str,
        path: str,
        query_string: bytes,
        headers: Sequence[Header],
        body: bytes,
        address: str,
    ) -> None:
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

    def query(self, name: str) -> str | None:
        """The first query parameter of this name."""
        values = self.queries().get(name)
        return values[0] if values else None

    def queries(self) -> Mapping[str, list[str]]:
        """All query parameters. At most 100: nothing needs more."""
        if self._query is None:
            self._query = {}
            text = self._query_string.decode("latin-1")
            try:
                pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="replace")
            except ValueError:
                pairs = []
            for key, value in pairs:
                self._query.setdefault(key, []).append(value)
        return self._query


class Response:
    """Status, headers and the whole body. content-length is added."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Sequence[Header] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = headers


Handler = Callable[[Request], Awaitable[Response]]
TOO_LARGE = Callable[[Request], Response]


class HttpFront:
    """Serves one handler on any number of sockets.

    `too_large` answers a request whose body is over `body_limit`; `failed` answers when the handler raised,
    after `report` heard of it. `proxies` are the addresses whose X-Forwarded-For is believed.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        body_limit: int,
        too_large: TOO_LARGE,
        failed: Callable[[Request], Response],
        report: Callable[[str, BaseException], None],
        proxies: Sequence[str] = (),
        max_concurrent: int | None = None,
    ) -> None:
        self._handler = handler
        self._body_limit = body_limit
        self._too_large = too_large
        self._failed = failed
        self._report = report
        self._proxies = frozenset(proxies)
        self._config = uvicorn.Config(
            self._asgi,
            interface="asgi3",
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            limit_concurrency=max_concurrent,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket) -> None:
        """Serve on a bound socket."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._protocol, sock=sock, backlog=1024)
        self._servers.append(server)

    def _protocol(self) -> asyncio.Protocol:
        return HttpToolsProtocol(config=self._config, server_state=self._state, app_state={})

    async def close(self, grace_s: float) -> None:
        """Stop accepting, let running requests finish for `grace_s`, then close what is left."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = list(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in list(self._state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.close()

    # `Any`: ASGI's own untyped dictionaries end here.
    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers: list[Header] = scope["headers"]
        method: str = scope["method"]
        body: bytes | None = b""
        if method not in ("GET", "HEAD", "OPTIONS"):
            body = await self._read_body(headers, receive)
        client = scope["client"]
        request = Request(
            method,
            scope["raw_path"].decode("latin-1"),
            scope["query_string"],
            headers,
            body or b"",
            self._address(client[0] if client else "", headers),
        )
        if body is None:
            response = self._too_large(request)
        else:
            try:
                response = await self._handler(request)
            except Exception as error:  # a bug: one polite answer, one report
                self._report("http.handler", error)
                response = self._failed(request)
        length = str(len(response.body)).encode()
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [*response.headers, (b"content-length", length)],
            }
        )
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})

    async def _read_body(self, headers: Sequence[Header], receive: Any) -> bytes | None:
        """The body; None if it is over the limit (what is too large is not read)."""
        for key, value in headers:
            if key == b"content-length" and int(value) > self._body_limit:
                return None
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"".join(parts)
            part = message.get("body", b"")
            size += len(part)
            if size > self._body_limit:
                return None
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _address(self, peer: str, headers: Sequence[Header]) -> str:
        """The client's address: the nearest one that no trusted proxy has."""
        if peer not in self._proxies:
            return peer
        for key, value in headers:
            if key == b"x-forwarded-for":
                for hop in reversed(value.decode("latin-1").split(",")):
                    if hop.strip() not in self._proxies:
                        return hop.strip()
        return peer
