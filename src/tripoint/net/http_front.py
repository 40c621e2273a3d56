"""The HTTP front: any number of sockets for one handler, and what they share.

llhttp (httptools) parses; everything that a peer can grow has a cap and every wait a deadline, which is why
this is not a ready-made server: see docs/decisions/http.md. TLS, HTTP/2 and compression are the reverse proxy's.
spec: RFC9110; Matrix client-server "API standards". Read next: http_connection.py.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus

from tripoint.net.http import Handler, Header, Request, Response
from tripoint.net.http_connection import HttpConnection

# How often deadlines are looked at: one sweep for all connections, no timer for each.
SWEEP_S = 5.0
_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class HttpFront:
    """Serves one handler on any number of sockets.

    `too_large` answers a request whose body is over `body_limit`, or over what `larger` says of addresses that begin
    like this; bodies of those under `streamed` are handed over in pieces, up to their limit. `failed` answers when
    the handler raised, after `report` heard of it. `proxies` are the addresses whose X-Forwarded-For is believed.
    Beyond `max_connections` (0: no limit) new ones are turned away.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        body_limit: int,
        larger: Mapping[bytes, int] | None = None,
        streamed: Mapping[bytes, int] | None = None,
        too_large: Callable[[Request], Response],
        failed: Callable[[Request], Response],
        report: Callable[[str, BaseException], None],
        proxies: Sequence[str] = (),
        max_connections: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.handler = handler
        self._body_limit = body_limit
        self._larger = tuple((larger or {}).items())
        self._streamed = tuple((streamed or {}).items())
        self.too_large = too_large
        self.failed = failed
        self.report = report
        self.monotonic = monotonic
        self.connections: set[HttpConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.switched = 0  # connections that speak another protocol by now; whoever speaks it ends them
        self._proxies = frozenset(proxies)
        self._max_connections = max_connections
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self.buffered = 0  # bytes of bodies that are not complete yet
        self._heads: dict[tuple[int, Sequence[Header]], bytes] = {}
        self._date = b""
        self._date_s = 0

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a bound socket, with TLS where there is a context."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self.connection, sock=sock, ssl=tls, backlog=1024))

    def connection(self) -> "HttpConnection":
        """The protocol of a new connection."""
        return HttpConnection(self)

    def body_limit(self, url: bytes) -> int:
        """How long a body this address takes."""
        for prefix, limit in self._larger:
            if url.startswith(prefix):
                return max(limit, self._body_limit)
        return self._body_limit

    def stream_limit(self, url: bytes) -> int | None:
        """How long a body this address takes in pieces; None: it takes none so."""
        return next((limit for prefix, limit in self._streamed if url.startswith(prefix)), None)

    @property
    def is_full(self) -> bool:
        return 0 < self._max_connections < len(self.connections) + self.switched

    def release(self) -> None:
        """A connection that was handed over is gone."""
        self.switched -= 1

    async def close(self, grace_s: float) -> None:
        """Accept nothing more, let running requests finish for `grace_s`, then close what is left."""
        self.closing = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close_when_idle()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace_s)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def watch(self) -> None:
        """Look at deadlines while there are connections."""
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self.sweep()
        if self.connections and not self.closing:
            self.watch()

    def sweep(self) -> None:
        """Close connections whose deadline has passed."""
        now = self.monotonic()
        for connection in list(self.connections):
            if connection.deadline < now:
                connection.abort()

    def address_of(self, peer: str, headers: Sequence[Header]) -> str:
        """The client's address: the nearest hop that is no trusted proxy."""
        if peer not in self._proxies:
            return peer
        for key, value in headers:
            if key == b"x-forwarded-for":
                for hop in reversed(value.decode("latin-1").split(",")):
                    if hop.strip() not in self._proxies:
                        return hop.strip()
        return peer

    def is_secure(self, peer: str, headers: Sequence[Header], own_tls: bool) -> bool:
        """Whether a request came over TLS: to us, or to the proxy that says so."""
        if own_tls or peer not in self._proxies:
            return own_tls
        return any(key == b"x-forwarded-proto" and value.lower() == b"https" for key, value in headers)

    def head(self, response: Response) -> bytes:
        """Status line and headers, up to the ones that differ from answer to answer."""
        key = (response.status, response.headers)
        made = self._heads.get(key)
        if made is None:
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in response.headers)
            made = _REASONS.get(response.status, b"HTTP/1.1 %d \r\n" % response.status) + lines
            if response.pieces is None and len(self._heads) < 1000:
                self._heads[key] = made
        return made

    def date(self) -> bytes:
        """The Date header, made once a second. spec: RFC9110 6.6.1"""
        now = int(time.time())
        if now != self._date_s:
            self._date_s = now
            self._date = b"date: " + formatdate(now, usegmt=True).encode() + b"\r\n"
        return self._date
