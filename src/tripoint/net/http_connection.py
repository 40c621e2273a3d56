"""One HTTP connection: bytes to requests, one answer after the other, and the few rules of HTTP/1.1 a server must keep.

Requests behind the one that is answered wait. Bodies are held whole, but for uploads and files, which go in pieces
(http_body.py). spec: RFC9110
"""

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from tripoint.net.http import Header, Request, Response, SwitchProtocols
from tripoint.net.http_body import BodyStream, BodyTooLarge, ClientGone, Pieces

if TYPE_CHECKING:
    from tripoint.net.http_front import HttpFront

# A request head altogether: access tokens and cookies fit many times.
MAX_HEAD_BYTES = 65_536
# Requests that may wait behind the one that is being answered, before the socket is not read any more.
MAX_PIPELINED = 8
# Deadlines. A head or the next piece of a body; the pause between two requests; a client that does not read.
READ_S = 30.0
# A whole request, however busily its pieces drip in: 5 MB on a slow line, and nobody's byte a minute.
REQUEST_S = 120.0
# The same for a body that is taken in pieces: a large file on a slow line.
UPLOAD_S = 3600.0
# How long a client may go on sending a body that nobody wants, so that it comes to read why.
LINGER_S = 10.0
KEEP_ALIVE_S = 120.0
WRITE_S = 60.0
# What may come behind a request that wants another protocol, before that is agreed on.
MAX_EARLY_BYTES = 65_536
# Bodies that are on their way, of all connections together. Beyond it the next to grow are turned away.
MAX_BUFFERED_BYTES = 268_435_456

# What a client sends before the headers that it sent with its last request, and how long those may be.
_AGAIN = re.compile(rb"GET (/[!-~]*) HTTP/1\.1\r\n")
_KEPT_HEAD_BYTES = 2_048
# Headers that say more of a request than what it asks for.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"connection", b"te", b"trailer"})

# spec: RFC9110 9.2.1: safe methods.
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class HttpConnection(asyncio.Protocol):
    """One connection: bytes to requests, one answer after the other."""

    def __init__(self, front: "HttpFront") -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._own_tls = False
        self._url = b""
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._body_bytes = self._body_limit = 0
        self._head_bytes = 0
        self._in_head = True
        # The headers of the last request, as they came and as they were read, where it was a GET and nothing else.
        self._kept_head: bytes | None = None
        self._kept_headers: list[Header] = []
        self._too_large = False
        self._stream: BodyStream | None = None  # the body that is coming in, where it is taken in pieces
        self._expects = False  # its client waits for 100 Continue
        self._lingering = False
        self._latest = float("inf")  # when the request that is coming in must be complete
        self._waiting: deque[tuple[Request, bool, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._answering: Request | None = None
        self._last = False
        self._early: bytearray | None = None  # what came behind a request that wants another protocol
        self._crowded = False  # as many requests wait as may
        self._paused = False
        self._writable: asyncio.Future[None] | None = None  # waited for where the client does not read
        self.deadline: float = front.monotonic() + READ_S

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports are no subclasses of asyncio.Transport.
        self._transport = transport = cast(asyncio.Transport, transport)
        front = self._front
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._own_tls = transport.get_extra_info("ssl_object") is not None
        front.connections.add(self)
        front.watch()
        if front.is_full or front.closing:
            transport.write(b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._drop_body()
        for body in (self._stream, *(request.stream for request, _, _ in self._waiting)):
            if body is not None:
                body.fail(ClientGone())
        self._waiting.clear()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ClientGone())
        asked = self._answering
        if self._task is not None and (asked is None or asked.waits or asked.method in _READING):
            # Nobody waits for this answer any more: a long poll ends with its connection. What changes something
            # runs to its end, so that nothing stays half done.
            self._task.cancel()
        # It calls what is here: without it all is freed now, and not once garbage is looked for. Nothing is fed to it
        # any more.
        del self._parser

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._early is not None:
            self._early += data
            if len(self._early) > MAX_EARLY_BYTES:
                self._transport.abort()
            return
        if self._last:
            return
        between = self._in_head and not self._head_bytes
        if between and self._kept_head is not None and self._same_again(data, self._kept_head):
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # What follows is for the other protocol, should the answer switch to it; else nobody reads it.
            self._last = True
            if self._transport is not None and not self._transport.is_closing():
                self._early = bytearray(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(400)
            return
        if between:
            self._keep_head(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431)
        elif not self._lingering and (self._task is None or self._stream is not None):
            self._expect_more()

    def _keep_head(self, data: bytes) -> None:
        """Remember the headers of a GET that came alone and whole: most clients send the same with all of them."""
        if data.startswith(b"GET ") and data.find(b"\r\n\r\n") == len(data) - 4 and not self._head_bytes:
            head = data[data.index(b"\r\n") + 2 :]
            plain = all(name not in _FRAMING or value.lower() == b"keep-alive" for name, value in self._headers)
            if plain and len(head) <= _KEPT_HEAD_BYTES and not self._last:
                self._kept_head, self._kept_headers = head, self._headers

    def _same_again(self, data: bytes, head: bytes) -> bool:
        """Take a GET whose headers are those of the one before, byte for byte, without parsing them once more."""
        if not data.endswith(head):
            return False
        line = _AGAIN.fullmatch(data, 0, len(data) - len(head))
        if line is None or len(data) > MAX_HEAD_BYTES or self._front.stream_limit(line[1]) is not None:
            return False
        path, _, query = line[1].partition(b"?")
        self._take("GET", path, query, self._kept_headers, b"", keep_alive=True, too_large=False, can_switch=True)
        return True

    def _expect_more(self) -> None:
        """The next piece has to come; where the reader of a body is behind, nobody waits for the client."""
        behind = self._stream is not None and self._stream.is_full
        self.deadline = float("inf") if behind else min(self._front.monotonic() + READ_S, self._latest)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.deadline = self._front.monotonic() + WRITE_S
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self.deadline = float("inf") if self._task is not None else self._front.monotonic() + KEEP_ALIVE_S
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- llhttp

    def on_message_begin(self) -> None:
        self._drop_body()
        self._latest = self._front.monotonic() + REQUEST_S
        self._url, self._headers = b"", []
        self._body_bytes, self._too_large, self._in_head = 0, False, True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        streamed = self._front.stream_limit(self._url)
        self._body_limit = self._front.body_limit(self._url) if streamed is None else streamed
        self._expects = False
        declared = None
        for name, value in self._headers:
            if name == b"content-length":
                declared = int(value)
                self._too_large = self._too_large or declared > self._body_limit
            elif name == b"expect" and value.lower() == b"100-continue":
                self._expects = True
        if streamed is not None:
            self._take_in_pieces(streamed, declared)
            return
        if not self._too_large:
            self._continue()
        else:
            # The body is not read: the answer goes out now and the connection ends behind it.
            self._last = True
            self._finish(keep_alive=False)

    def _take_in_pieces(self, limit: int, declared: int | None) -> None:
        """Hand a request over before its body is there."""
        self._latest = self._front.monotonic() + UPLOAD_S
        self._stream = BodyStream(
            limit, declared, started=self._continue, full=self._set_reading, drained=self._set_reading
        )
        if self._too_large:
            self._stream.fail(BodyTooLarge())
        self._finish(keep_alive=self._parser.should_keep_alive())
        self._too_large = False
        self._expect_more()

    def _continue(self) -> None:
        """spec: RFC9110 10.1.1: whoever asked is told to send the body."""
        if self._expects and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects = False

    def _set_reading(self) -> None:
        """Read from the socket, or not, as long as too much waits here already."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        paused = self._crowded or (self._stream is not None and self._stream.is_full)
        if paused != self._paused:
            self._paused = paused
            (transport.pause_reading if paused else transport.resume_reading)()
        if self._stream is not None:
            self._expect_more()

    def on_body(self, body: bytes) -> None:
        if self._lingering:
            return
        if self._stream is not None:
            self._stream.feed(body)
            return
        if self._too_large:
            return
        self._body_bytes += len(body)
        front = self._front
        if self._body_bytes > self._body_limit or front.buffered + len(body) > MAX_BUFFERED_BYTES:
            self._too_large = self._last = True
            self._finish(keep_alive=False)
            return
        front.buffered += len(body)
        self._body.append(body)

    def _drop_body(self) -> None:
        """The body that was coming in is complete, or is not wanted any more."""
        self._front.buffered -= sum(map(len, self._body))
        self._body = []

    def on_message_complete(self) -> None:
        self._in_head = True
        self._latest = float("inf")
        if self._lingering:
            self._last = True
            self._end()
            return
        if self._stream is not None:
            self._stream.end()
            self._stream = None
            if self._task is not None:
                self.deadline = float("inf")
            return
        if not self._too_large:
            self._finish(keep_alive=self._parser.should_keep_alive())

    # -- answering

    def _finish(self, *, keep_alive: bool) -> None:
        """A request is complete (or too large): answer it when it is its turn."""
        path, _, query = self._url.partition(b"?")
        body = b"".join(self._body)
        self._drop_body()
        self._take(
            self._parser.get_method().decode("latin-1"),
            path,
            query,
            self._headers,
            body,
            # Behind such a request the parser stops: what is answered as plain HTTP is the last of its connection.
            keep_alive=keep_alive and not self._parser.should_upgrade(),
            too_large=self._too_large,
            can_switch=self._parser.get_http_version() == "1.1",
        )

    def _take(
        self,
        method: str,
        path: bytes,
        query: bytes,
        headers: list[Header],
        body: bytes,
        *,
        keep_alive: bool,
        too_large: bool,
        can_switch: bool,
    ) -> None:
        front = self._front
        request = Request(
            method,
            path.decode("latin-1"),
            query,
            headers,
            body,
            front.address_of(self._peer, headers),
            front.is_secure(self._peer, headers, self._own_tls),
            self._stream,
            can_switch,
        )
        self._waiting.append((request, keep_alive, too_large))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer())
            self._front.tasks.add(self._task)
            self.deadline = float("inf")
        elif len(self._waiting) > MAX_PIPELINED and not self._crowded:
            self._crowded = True
            self._set_reading()

    async def _answer(self) -> None:
        """Answer what waits, in order."""
        front = self._front
        try:
            while self._waiting:
                request, keep_alive, too_large = self._waiting.popleft()
                self._answering = request
                if too_large:
                    response = front.too_large(request)
                else:
                    try:
                        response = await front.handler(request)
                    except ClientGone:
                        return
                    except BodyTooLarge:
                        response = front.too_large(request)
                    except Exception as error:  # a bug: one polite answer, one report
                        front.report("http.handler", error)
                        response = front.failed(request)
                unread = request.stream is not None and not request.stream.complete
                goes_on = keep_alive and not front.closing and not unread
                try:
                    if not await self._send(request, response, goes_on):
                        if unread:
                            self._linger()
                        else:
                            self._end()
                        return
                finally:
                    if response.pieces is not None:
                        response.pieces.close()
        finally:
            task, self._task = self._task, None
            if task is not None:
                front.tasks.discard(task)
            self.deadline = front.monotonic() + (LINGER_S if self._lingering else KEEP_ALIVE_S)
            self._crowded = False
            self._set_reading()

    def _linger(self) -> None:
        """The answer is out and the body still comes. Closing now would reset the connection under the answer, so what
        comes is thrown away until its end, or for LINGER_S."""
        self._lingering = True
        self._stream = None
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    async def _send(self, request: Request, response: Response, keep_alive: bool) -> bool:
        """Send an answer; whether the connection goes on."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if isinstance(response, SwitchProtocols):
            self._switch(transport, response)
            return False
        parts = [self._front.head(response), self._front.date()]
        if response.status not in (204, 304):
            parts.append(b"content-length: %d\r\n" % response.length)
        parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        if request.method != "HEAD":
            parts.append(response.body)
        transport.write(b"".join(parts))
        if response.pieces is not None and request.method != "HEAD":
            return await self._send_pieces(transport, response.pieces) and keep_alive
        return keep_alive

    def _switch(self, transport: asyncio.Transport, response: SwitchProtocols) -> None:
        """Hand the connection over; it stays among those that the front counts. spec: RFC9110 7.8"""
        front, successor = self._front, response.successor
        early, self._early = self._early, None
        self._transport = None
        front.connections.discard(self)
        if front.closing or early is None:
            transport.abort()
            return
        front.switched += 1
        successor.on_lost = front.release
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in response.headers)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n" + lines + front.date() + b"\r\n")
        transport.set_protocol(cast(asyncio.Protocol, successor))
        successor.connection_made(transport)
        if early:
            successor.data_received(bytes(early))

    async def _send_pieces(self, transport: asyncio.Transport, pieces: Pieces) -> bool:
        """Send a body while it is read, no faster than the client takes it; whether all of it was sent."""
        left = pieces.length
        try:
            async for piece in pieces:
                left -= len(piece)
                transport.write(piece)
                if self._writable is not None:
                    await self._writable
                if transport.is_closing() or left < 0:
                    break
        except ClientGone:
            return False
        except Exception as error:
            self._front.report("http.pieces", error)
        if left == 0:
            return True
        # Its length was promised: a connection that breaks tells the client that this is not all.
        transport.abort()
        return False

    def _refuse(self, status: int) -> None:
        """End a connection that does not speak HTTP as it must."""
        self._last = True
        if self._transport is not None and self._task is None:
            empty = Response(status)
            self._transport.write(self._front.head(empty) + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self._end()

    def _end(self) -> None:
        """Close behind what is written. Not twice: asyncio's TLS of Python 3.11.2 cannot be aborted after that."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def close_when_idle(self) -> None:
        """The server stops: close now, or behind the answer that is being made."""
        if self._task is None:
            self._end()

    def abort(self) -> None:
        """Close at once; what was not sent is lost with the connection."""
        if self._transport is not None:
            self._transport.abort()
