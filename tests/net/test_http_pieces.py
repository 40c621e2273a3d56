"""Bodies in pieces over real sockets: uploads that are read while they come, files that are sent while they are read.

spec: RFC9110 10.1.1, 14
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.middle import run
from tripoint.net.http import Request, Response
from tripoint.net.http_body import HIGH_BYTES, BodyStream, BodyTooLarge, ClientGone, parse_range
from tripoint.net.http_connection import LINGER_S, READ_S
from tripoint.net.http_front import HttpFront
from tripoint.net.listen import bind

PATIENCE_S = 5.0
LIMIT = 30_000_000


class Hundreds:
    """An answer of `length` bytes that breaks off after `upto`."""

    def __init__(self, length: int, upto: int | None = None) -> None:
        self.length = length
        self.closed = 0
        self.sent = 0
        self._upto = length if upto is None else upto

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.sent < self._upto:
            size = min(65_536, self._upto - self.sent)
            self.sent += size
            yield b"x" * size
            await asyncio.sleep(0)

    def close(self) -> None:
        self.closed += 1


class Site:
    def __init__(self) -> None:
        self.now = 0.0
        self.reported: list[BaseException] = []
        self.outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.go_on = asyncio.Event()
        self.reading = asyncio.Event()
        self.pieces = Hundreds(0)
        self.port = 0
        self.front = HttpFront(
            self.handle,
            body_limit=1000,
            streamed={b"/up": LIMIT},
            too_large=lambda request: Response(413, b"too large"),
            failed=lambda request: Response(500, b"failed"),
            report=lambda where, error: self.reported.append(error),
            monotonic=lambda: self.now,
        )

    async def handle(self, request: Request) -> Response:
        if request.path == "/down":
            return Response(200, headers=((b"x", b"y"),), pieces=self.pieces)
        if request.path == "/up/no":
            return Response(401, b"who are you?")
        if request.path == "/up/slow":
            await self.go_on.wait()
        assert request.stream is not None and request.body == b""
        size = 0
        try:
            async for piece in request.stream:
                self.reading.set()
                size += len(piece)
        except (ClientGone, BodyTooLarge) as error:
            self.outcome.set_result(error)
            raise
        if not self.outcome.done():
            self.outcome.set_result(size)
        return Response(200, b"%d of %s" % (size, str(request.stream.declared).encode()))


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


def on_site(test: Callable[[Site], Awaitable[None]]) -> None:
    async def work() -> None:
        async with site() as made:
            await test(made)

    run(work)


async def opened(made: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", made.port)


async def exchange(made: Site, *data: bytes) -> bytes:
    reader, writer = await opened(made)
    for piece in data:
        writer.write(piece)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()


def post(path: bytes, length: int, *more: bytes) -> bytes:
    head = b"POST " + path + b" HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % length
    return head + b"".join(line + b"\r\n" for line in more) + b"\r\n"


def test_an_upload_and_what_comes_behind_it_on_the_connection() -> None:
    async def test(made: Site) -> None:
        answer = await exchange(
            made,
            post(b"/up", 1_000_000),
            b"a" * 1_000_000,
            b"POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            post(b"/up", 0, b"connection: close"),
        )
        assert [part.split(b"\r\n\r\n")[1][:15] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"1000000 of 1000",
            b"5 of None",
            b"0 of 0",
        ]

    on_site(test)


def test_an_upload_nobody_reads_waits_in_the_sender() -> None:
    async def test(made: Site) -> None:
        reader, writer = await opened(made)
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(post(b"/up/slow", LIMIT) + b"a" * LIMIT)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        (connection,) = made.front.connections
        assert connection.deadline == float("inf"), "the client is not to blame"
        made.go_on.set()
        await asyncio.wait_for(writer.drain(), PATIENCE_S)
        assert b"30000000 of 30000000" in await asyncio.wait_for(reader.readuntil(b"of 30000000"), PATIENCE_S)
        writer.close()

    on_site(test)


def test_a_stream_holds_no_more_than_its_high_mark_and_a_piece() -> None:
    async def work() -> None:
        calls: list[str] = []
        stream = BodyStream(
            10 * HIGH_BYTES,
            None,
            started=lambda: calls.append("started"),
            full=lambda: calls.append("full"),
            drained=lambda: calls.append("drained"),
        )
        for _ in range(5):
            stream.feed(b"x" * (HIGH_BYTES // 4))
        assert calls == ["full"] and stream.is_full
        stream.end()
        assert sum([len(piece) async for piece in stream]) == 5 * (HIGH_BYTES // 4)
        assert calls == ["full", "started", "drained"]

    run(work)


def test_a_declared_length_over_the_limit_is_answered_before_the_body() -> None:
    async def test(made: Site) -> None:
        reader, writer = await opened(made)
        writer.write(post(b"/up", LIMIT + 1))
        assert (await asyncio.wait_for(reader.readuntil(b"too large"), PATIENCE_S)).startswith(b"HTTP/1.1 413 ")
        writer.close()

    on_site(test)


def test_a_body_that_turns_out_too_large() -> None:
    async def test(made: Site) -> None:
        reader, writer = await opened(made)
        writer.write(b"POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n" % (LIMIT + 1) + b"a" * (LIMIT + 1) + b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"too large"), PATIENCE_S)
        assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer
        assert isinstance(await made.outcome, BodyTooLarge)
        assert made.reported == []
        writer.close()

    on_site(test)


def test_an_answer_before_the_end_of_the_body_can_be_read_by_its_sender() -> None:
    """A connection that is closed with unread bytes is reset, and the answer with it."""

    async def test(made: Site) -> None:
        reader, writer = await opened(made)
        writer.write(post(b"/up/no", LIMIT))
        for _ in range(40):
            writer.write(b"a" * 50_000)
            await asyncio.wait_for(writer.drain(), PATIENCE_S)
        # All of the answer, and its end; the client still sends.
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close" in answer
        assert answer.endswith(b"who are you?")
        made.now += LINGER_S + 1
        made.front.sweep()
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                writer.write(b"a" * 50_000)
                await asyncio.wait_for(writer.drain(), PATIENCE_S)
        writer.close()

    on_site(test)


def test_an_answer_before_the_end_of_the_body_ends_the_connection_with_the_body() -> None:
    async def test(made: Site) -> None:
        reader, writer = await opened(made)
        writer.write(post(b"/up/no", 10) + b"hello")
        await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.write(b"world" + post(b"/up", 5) + b"again")
        for _ in range(500):
            if not made.front.connections:
                break
            await asyncio.sleep(0.01)
        assert not made.front.connections
        assert not made.outcome.done(), "nothing behind it is read"
        writer.close()

    on_site(test)


def test_100_continue_comes_when_the_body_is_wanted_and_not_before() -> None:
    async def test(made: Site) -> None:
        refused = await opened(made)
        refused[1].write(post(b"/up/no", 5, b"expect: 100-continue"))
        assert (await refused[0].readuntil(b"who are you?")).startswith(b"HTTP/1.1 401 ")
        refused[1].close()
        reader, writer = await opened(made)
        writer.write(post(b"/up", 5, b"expect: 100-continue"))
        await asyncio.wait_for(reader.readuntil(b"100 Continue\r\n\r\n"), PATIENCE_S)
        writer.write(b"hello")
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"5 of 5"), PATIENCE_S)
        writer.close()

    on_site(test)


def test_a_client_that_goes_away_in_the_middle() -> None:
    async def test(made: Site) -> None:
        _, writer = await opened(made)
        writer.write(post(b"/up", 100) + b"half")
        await asyncio.wait_for(made.reading.wait(), PATIENCE_S)
        writer.close()
        assert isinstance(await asyncio.wait_for(made.outcome, PATIENCE_S), ClientGone)
        assert made.reported == []

    on_site(test)


def test_a_client_that_stops_in_the_middle() -> None:
    async def test(made: Site) -> None:
        _, writer = await opened(made)
        writer.write(post(b"/up", 100) + b"half")
        await asyncio.wait_for(made.reading.wait(), PATIENCE_S)
        made.now += READ_S + 1
        made.front.sweep()
        assert isinstance(await asyncio.wait_for(made.outcome, PATIENCE_S), ClientGone)
        writer.close()

    on_site(test)


def test_a_file_is_sent_no_faster_than_it_is_taken() -> None:
    async def test(made: Site) -> None:
        made.pieces = Hundreds(60_000_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port, limit=65_536)
        writer.write(b"GET /down HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert b"content-length: 60000000\r\n" in head
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert made.pieces.sent < 40_000_000
        size = 0
        while piece := await asyncio.wait_for(reader.read(1_000_000), PATIENCE_S):
            size += len(piece)
        assert size == 60_000_000
        assert made.pieces.closed == 1
        writer.close()

    on_site(test)


def test_a_file_whose_reader_goes_away_is_closed() -> None:
    async def test(made: Site) -> None:
        made.pieces = Hundreds(60_000_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port, limit=65_536)
        writer.write(b"GET /down HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        writer.transport.abort()
        for _ in range(500):
            if made.pieces.closed:
                break
            await asyncio.sleep(0.01)
        assert made.pieces.closed == 1 and made.pieces.sent < 60_000_000
        assert made.reported == []

    on_site(test)


def test_a_file_that_is_shorter_than_promised_breaks_the_connection() -> None:
    async def test(made: Site) -> None:
        made.pieces = Hundreds(100_000, upto=70_000)
        reader, writer = await opened(made)
        writer.write(b"GET /down HTTP/1.1\r\nhost: x\r\n\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            await asyncio.wait_for(reader.readexactly(100_000), PATIENCE_S)
        writer.close()

    on_site(test)


def test_head_of_a_file_has_its_length_alone() -> None:
    async def test(made: Site) -> None:
        made.pieces = Hundreds(100_000)
        answer = await exchange(made, b"HEAD /down HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"content-length: 100000\r\n" in answer and answer.endswith(b"\r\n\r\n")
        assert (made.pieces.sent, made.pieces.closed) == (0, 1)

    on_site(test)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-", (500, 500)),
        ("bytes=-100", (900, 100)),
        ("bytes=-2000", (0, 1000)),
        ("bytes=999-5000", (999, 1)),
        ("BYTES = 1-1", (1, 1)),
        ("bytes=0-1,5-6", None),
        ("bytes=5-1", None),
        ("bytes=a-", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=99999999999999999999-", None),
    ],
)
def test_ranges(header: str | None, found: tuple[int, int] | None) -> None:
    assert parse_range(header, 1000) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=1000-", 1000), ("bytes=-0", 1000), ("bytes=0-", 0)])
def test_ranges_outside(header: str, size: int) -> None:
    with pytest.raises(ValueError):
        parse_range(header, size)
