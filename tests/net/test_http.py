"""The HTTP front over real sockets: what HTTP/1.1 asks of a server, and what peers may not do to it.

spec: RFC9110 6.6.1, 9.3.2, 10.1.1, 15.5.14; RFC6585 5 (431)
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.middle import run
from tripoint.net import http_connection
from tripoint.net.http import Request, Response
from tripoint.net.http_connection import KEEP_ALIVE_S, MAX_HEAD_BYTES, READ_S, REQUEST_S, HttpConnection
from tripoint.net.http_front import HttpFront
from tripoint.net.listen import bind

PATIENCE_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A front with one handler, and what happened to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seen: list[Request] = []
        self.reported: list[BaseException] = []
        self.cancelled = asyncio.Event()
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.worked = asyncio.Event()
        self.port = 0
        self.front = HttpFront(
            self.handle,
            body_limit=1000,
            too_large=lambda request: Response(413, b"too large"),
            failed=lambda request: Response(500, b"failed"),
            report=lambda where, error: self.reported.append(error),
            proxies=("127.0.0.1",),
            max_connections=50,
            monotonic=self.clock,
        )

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        if request.path == "/bug":
            raise RuntimeError("a bug")
        if request.path == "/work":
            self.waiting.set()
            try:
                await self.go_on.wait()
                self.worked.set()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request.path == "/wait":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return Response(200, request.path.encode() + b" " + request.body, ((b"content-type", b"text/plain"),))


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    sock = bind("127.0.0.1", 0)
    made.port = sock.getsockname()[1]
    await made.front.listen(sock)
    try:
        yield made
    finally:
        await made.front.close(0.1)


async def exchange(made: Site, data: bytes, *, until: bytes | None = None) -> bytes:
    """Send bytes and read until the server closes, or until something came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
    writer.write(data)
    try:
        if until is not None:
            return await asyncio.wait_for(reader.readuntil(until), PATIENCE_S)
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()


def on_site(test: Callable[[Site], Awaitable[None]]) -> None:
    async def work() -> None:
        async with site() as made:
            await test(made)

    run(work)


def test_requests_are_answered_in_order_on_one_connection() -> None:
    async def test(made: Site) -> None:
        answer = await exchange(
            made,
            b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n"
            b"POST /two HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
            b"GET /three?a=1&a=2&b=%C3%A9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        assert [part.split(b"\r\n\r\n")[1][:10] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"/one ",
            b"/two hi",
            b"/three ",
        ]
        assert made.seen[2].queries() == {"a": ["1", "2"], "b": ["é"]}
        assert answer.count(b"date: ") == 3
        assert answer.count(b"connection: close") == 1

    on_site(test)


def test_head_has_no_body_but_its_length() -> None:
    async def test(made: Site) -> None:
        answer = await exchange(made, b"HEAD /abc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b"content-length: 5\r\n" in answer

    on_site(test)


def test_a_body_in_chunks_and_after_100_continue() -> None:
    async def test(made: Site) -> None:
        answer = await exchange(
            made,
            b"POST /c HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n"
            b"connection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
        assert answer.endswith(b"/c abcde")

    on_site(test)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n",
        b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n" * 1
        + b"200\r\n" + b"x" * 512 + b"\r\n",
    ],
)
def test_a_body_over_the_limit_is_refused_unread(request_bytes: bytes) -> None:
    async def test(made: Site) -> None:
        answer = await exchange(made, request_bytes)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"too large")
        assert made.seen == []

    on_site(test)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /a HTTP/1.1\r\ncontent-length: abc\r\n\r\n", b"400"),
        (b"GET /a HTTP/1.1\r\nx: " + b"y" * (MAX_HEAD_BYTES + 10), b"431"),
        (b"GET /" + b"a" * (MAX_HEAD_BYTES + 10), b"431"),
    ],
)
def test_what_is_not_http_ends_the_connection(data: bytes, status: bytes) -> None:
    async def test(made: Site) -> None:
        answer = await exchange(made, data)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert made.seen == []
        assert not made.reported

    on_site(test)


def test_a_bug_is_one_polite_answer_and_one_report() -> None:
    async def test(made: Site) -> None:
        answer = await exchange(
            made,
            b"GET /bug HTTP/1.1\r\nhost: x\r\n\r\nGET /after HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        assert b"HTTP/1.1 500 Internal Server Error" in answer and b"failed" in answer
        assert answer.endswith(b"/after ")
        assert [str(error) for error in made.reported] == ["a bug"]

    on_site(test)


def test_work_goes_on_without_its_connection() -> None:
    async def test(made: Site) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"PUT /work HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        await asyncio.wait_for(made.waiting.wait(), PATIENCE_S)
        (connection,) = made.front.connections
        connection.abort()
        for _ in range(1000):
            if not made.front.connections:
                break
            await asyncio.sleep(0)
        assert not made.front.connections and not made.cancelled.is_set()
        made.go_on.set()
        await asyncio.wait_for(made.worked.wait(), PATIENCE_S)

    on_site(test)


def test_a_wait_ends_with_its_connection() -> None:
    async def test(made: Site) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(made.waiting.wait(), PATIENCE_S)
        writer.close()
        await asyncio.wait_for(made.cancelled.wait(), PATIENCE_S)
        assert not made.front.tasks

    on_site(test)


def test_deadlines_close_who_says_nothing_but_not_who_waits() -> None:
    async def test(made: Site) -> None:
        silent, _silent_writer = await asyncio.open_connection("127.0.0.1", made.port)
        half, half_writer = await asyncio.open_connection("127.0.0.1", made.port)
        half_writer.write(b"GET /half HTTP/1.1\r\nhos")
        waiter, waiter_writer = await asyncio.open_connection("127.0.0.1", made.port)
        waiter_writer.write(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", made.port)
        idle_writer.write(b"GET /idle HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(idle.readuntil(b"/idle "), PATIENCE_S)
        await asyncio.wait_for(made.waiting.wait(), PATIENCE_S)
        made.clock.now += READ_S + 1
        made.front.sweep()
        for reader in (silent, half):
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), PATIENCE_S)
        assert len(made.front.connections) == 2
        made.clock.now += KEEP_ALIVE_S
        made.front.sweep()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(idle.readexactly(1), PATIENCE_S)
        assert len(made.front.connections) == 1
        assert not waiter.at_eof()
        waiter_writer.close()

    on_site(test)


def test_too_many_connections_are_turned_away() -> None:
    async def test(made: Site) -> None:
        kept = [await asyncio.open_connection("127.0.0.1", made.port) for _ in range(50)]
        assert (await exchange(made, b"")).startswith(b"HTTP/1.1 503 ")
        for _, writer in kept:
            writer.close()

    on_site(test)


def test_the_address_is_the_nearest_one_that_is_no_proxy() -> None:
    async def test(made: Site) -> None:
        await exchange(
            made,
            b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6, 203.0.113.7, 127.0.0.1\r\n"
            b"connection: close\r\n\r\n",
        )
        await exchange(made, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert [request.address for request in made.seen] == ["203.0.113.7", "127.0.0.1"]
        assert [request.secure for request in made.seen] == [False, False]
        head = b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n"
        await exchange(made, head)
        assert made.seen[-1].secure
        assert not made.front.is_secure("198.51.100.1", [(b"x-forwarded-proto", b"https")], False)

    on_site(test)


class Gathered(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.data = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


STREAM = (
    b"GET /one HTTP/1.1\r\nhost: x\r\n\r\nPOST /two HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
    b"POST /three HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
)


async def _feed(chunks: list[bytes]) -> tuple[Site, Gathered]:
    made = Site()
    connection = made.front.connection()
    transport = Gathered()
    connection.connection_made(transport)
    for chunk in chunks:
        connection.data_received(chunk)
        if made.front.tasks:
            await asyncio.wait(made.front.tasks)
    await made.front.close(0)
    return made, transport


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_chunking_gives_the_same_requests(cuts: list[int]) -> None:
    points = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(points)]
    made, transport = asyncio.run(_feed(chunks))
    assert [(r.method, r.path, r.body) for r in made.seen] == [
        ("GET", "/one", b""),
        ("POST", "/two", b"hello"),
        ("POST", "/three", b"abc"),
    ]
    assert transport.data.count(b"HTTP/1.1 200 OK") == 3


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_gives_an_error_or_nothing(chunks: list[bytes]) -> None:
    made, transport = asyncio.run(_feed(chunks))
    assert not made.reported
    assert transport.data == b"" or transport.data.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("head", [b"PUT /x", b"PUT /x HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n"])
def test_a_request_that_drips_in_has_a_deadline_for_all_of_it(head: bytes) -> None:
    async def test(made: Site) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(head)
        pieces = 0
        while pieces == 0 or made.front.connections:
            before = taken(made)
            writer.write(b"x")
            for _ in range(1000):
                if taken(made) != before:
                    break
                await asyncio.sleep(0.001)
            pieces += 1
            made.clock.now += READ_S / 2
            made.front.sweep()
            await asyncio.sleep(0.001)
        assert 2 <= pieces <= REQUEST_S / (READ_S / 2) + 1
        assert made.front.buffered == 0 and made.seen == []
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()

    on_site(test)


def taken(made: Site) -> int:
    """Bytes that have arrived of requests that are not complete."""
    return sum(one._body_bytes + one._head_bytes for one in made.front.connections)


def test_bodies_that_are_on_their_way_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(made: Site) -> None:
        monkeypatch.setattr(http_connection, "MAX_BUFFERED_BYTES", 1200)
        _, first = await asyncio.open_connection("127.0.0.1", made.port)
        first.write(b"PUT /x HTTP/1.1\r\nhost: x\r\ncontent-length: 901\r\n\r\n" + b"a" * 900)
        for _ in range(200):
            if made.front.buffered == 900:
                break
            await asyncio.sleep(0.001)
        whole = b"PUT /y HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n" + b"b" * 900
        assert (await exchange(made, whole)).startswith(b"HTTP/1.1 413 ")
        first.close()
        for _ in range(200):
            if not made.front.buffered:
                break
            await asyncio.sleep(0.001)
        assert b"200 OK" in await exchange(made, whole.replace(b"host", b"connection: close\r\nhost"))
        assert made.front.buffered == 0

    on_site(test)


def test_some_addresses_take_longer_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(made: Site) -> None:
        monkeypatch.setattr(made.front, "_larger", ((b"/send/", 5000),))
        tail = b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3000\r\n\r\n" + b"a" * 3000
        assert b"200 OK" in await exchange(made, b"PUT /send/1" + tail)
        assert b" 413 " in await exchange(made, b"PUT /other/1" + tail)
        assert b" 413 " in await exchange(made, b"PUT /send/1" + tail.replace(b"3000", b"5001"))

    on_site(test)


HEADS = (b"host: x\r\nauthorization: Bearer a\r\n\r\n", b"host: x\r\nconnection: keep-alive\r\n\r\n")
PIECES = [
    *(b"GET %s HTTP/1.1\r\n%s" % (path, head) for path in (b"/one", b"/two?a=1") for head in HEADS),
    b"GET /one HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n",
    b"GET /one HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"GET /one HTTP/1.0\r\n" + HEADS[0],
    b"GET /a b HTTP/1.1\r\n" + HEADS[0],
    b"GET /one HTTP/1.1\r\nx: y\r\n" + HEADS[0],
    b"POST /one HTTP/1.1\r\n" + HEADS[0],
    b"GET /two HTTP/1.1\r\n",
    *HEADS,
    b"\r\n",
    b"hi",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_headers_that_come_again_are_read_as_if_they_were_new(chunks: list[bytes]) -> None:
    """What is remembered of the last request changes nothing, whatever comes."""

    async def both() -> None:
        with pytest.MonkeyPatch.context() as patch:
            made, sent = await _feed(chunks)
            patch.setattr(HttpConnection, "_keep_head", lambda self, data: None)
            parsed, said = await _feed(chunks)
        fields = [
            [(r.method, r.target, list(r.all_headers()), r.body, r.can_switch) for r in one.seen]
            for one in (made, parsed)
        ]
        assert fields[0] == fields[1]
        assert _undated(sent.data) == _undated(said.data)
        assert sent.closed == said.closed

    asyncio.run(both())


def _undated(data: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*", b"", data)


def test_headers_that_come_again_are_not_parsed_again() -> None:
    async def work() -> None:
        made = Site()
        connection = made.front.connection()
        connection.connection_made(Gathered())
        for path in (b"/one", b"/two?a=1", b"/three"):
            connection.data_received(b"GET %s HTTP/1.1\r\n%s" % (path, HEADS[0]))
            await asyncio.wait(made.front.tasks)
        assert [request.target for request in made.seen] == ["/one", "/two?a=1", "/three"]
        assert made.seen[0].all_headers() is made.seen[2].all_headers()
        await made.front.close(0)

    asyncio.run(work())
