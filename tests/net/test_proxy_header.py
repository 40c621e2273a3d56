"""PROXY headers as tables, and read from sockets: what follows them is left where it is.

spec: the PROXY protocol 2.1, 2.2 (haproxy.org)
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import run
from tripoint.net.listen import bind
from tripoint.net.proxied import ProxiedListener, Proxies
from tripoint.net.proxy_header import SIGNATURE, BadHeader, Source, parse_v1, parse_v2, v2_length
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

V4 = bytes((192, 0, 2, 1, 198, 51, 100, 9)) + (5000).to_bytes(2, "big") + (6667).to_bytes(2, "big")
V6 = bytes.fromhex("20010db8000000000000000000000001") * 2 + b"\x13\x88\x1a\x0b"
TLS_SAID = b"\x20\x00\x05\x01\0\0\0\0"


def v2(body: bytes, command: int = 1, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((0x20 | command, family)) + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("line", "source"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.9 5000 6667\r\n", Source("192.0.2.1")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 6667\r\n", Source("2001:db8::1")),
        (b"PROXY UNKNOWN\r\n", Source(None)),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Source(None)),
    ],
)
def test_lines_of_version_1(line: bytes, source: Source) -> None:
    assert parse_v1(line) == source


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.9 5000 6667\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 5000\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 5000 6667 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 5000 66667\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 -1 6667\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 +1 6667\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 5_0 6667\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 5000 6667\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.9 5000 6667\r\n",
        b"PROXY TCP4 192.0.2.\xe9 198.51.100.9 5000 6667\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 5000 6667\n",
        b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
        b"NICK gus\r\n",
    ],
)
def test_what_is_no_line_of_version_1(line: bytes) -> None:
    with pytest.raises(BadHeader):
        parse_v1(line)


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (v2(V4), Source("192.0.2.1")),
        (v2(V6, family=0x21), Source("2001:db8::1")),
        (v2(bytes(10) + b"\xff\xff" + V4[:4] + V6[:16] + V6[32:], family=0x21), Source("192.0.2.1")),
        (v2(V4, command=0), Source(None)),
        (v2(b"", command=0, family=0), Source(None)),
        (v2(b"", family=0), Source(None)),
        (v2(bytes(216), family=0x31), Source(None)),
        (v2(V4 + b"\x01\x00\x02h2" + TLS_SAID), Source("192.0.2.1", secure=True)),
        (v2(V4 + b"\x20\x00\x05\x00\0\0\0\0"), Source("192.0.2.1", secure=False)),
        (v2(V4 + b"\x04\x00\x00"), Source("192.0.2.1")),
    ],
)
def test_headers_of_version_2(header: bytes, source: Source) -> None:
    assert v2_length(header[:16]) == len(header) - 16
    assert parse_v2(header[:16], header[16:]) == source


@pytest.mark.parametrize(
    "header",
    [
        v2(V4)[:-1],
        v2(V4[:-1]),
        v2(V4, command=2),
        v2(V4 + b"\x20\x00\x05\x01"),
        v2(V6, family=0x21)[:20],
        SIGNATURE + b"\x11\x11\x00\x0c" + V4,
        b"\r\n" + SIGNATURE,
        v2(bytes(5000)),
    ],
)
def test_what_is_no_header_of_version_2(header: bytes) -> None:
    with pytest.raises(BadHeader):
        v2_length(header[:16])
        parse_v2(header[:16], header[16:])


@given(st.binary(max_size=200))
def test_garbage_is_a_bad_header_or_a_source(data: bytes) -> None:
    with contextlib.suppress(BadHeader):
        parse_v1(data)
    with contextlib.suppress(BadHeader):
        parse_v2(SIGNATURE + data[:4], data[4:])


class Echo(asyncio.Protocol):
    """Says whom it takes its client for, then what it says."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        self._transport = transport
        transport.write(f"{self._source.address} {self._source.secure}\n".encode())

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def listening(
    proxies: tuple[str, ...], make: Callable[[Source], asyncio.Protocol] = Echo
) -> AsyncIterator[int]:
    sock = bind("127.0.0.1", 0)
    listener = ProxiedListener(sock, Proxies(proxies), make)
    listener.start()
    try:
        yield sock.getsockname()[1]
    finally:
        await listener.close()


HEADERS = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.9 5000 6667\r\n", b"192.0.2.1 False\n"),
    (v2(V4 + TLS_SAID), b"192.0.2.1 True\n"),
    (v2(b"", command=0, family=0), b"None False\n"),
]


@pytest.mark.parametrize(("header", "said"), HEADERS)
def test_what_follows_a_header_is_the_clients(header: bytes, said: bytes) -> None:
    async def work() -> None:
        async with listening(("127.0.0.0/8",)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(header + b"NICK gus\r\n")
            assert await reader.readline() == said
            assert await reader.readline() == b"NICK gus\r\n"
            writer.close()
            # Byte by byte it is the same header.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for at in range(len(header)):
                writer.write(header[at : at + 1])
                await asyncio.sleep(0)
            assert await reader.readline() == said
            writer.close()

    run(work)


@pytest.mark.parametrize("data", [b"NICK gus\r\nUSER gus 0 * :gus\r\n", b"PROXY " + b"x" * 200, v2(V4, command=5)])
def test_a_proxy_without_a_header_is_closed(data: bytes) -> None:
    async def work() -> None:
        async with listening(("127.0.0.1",)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()

    run(work)


def test_others_than_proxies_are_served_as_they_are() -> None:
    async def work() -> None:
        async with listening(("192.0.2.0/24",)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readline() == b"None False\n"
            writer.write(b"PROXY UNKNOWN\r\n")
            assert await reader.readline() == b"PROXY UNKNOWN\r\n"
            writer.close()

    run(work)


def test_the_header_comes_before_tls(tmp_path: Path) -> None:
    async def work() -> None:
        certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
        make_self_signed(["localhost"], certificate, key)
        trust = ssl.create_default_context(cafile=str(certificate))
        tls = ClientTls(ServerTls(certificate, key))
        async with listening(("127.0.0.1",), lambda source: tls.layer(partial(Echo, source))) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEADERS[0][0])
            await writer.drain()
            await writer.start_tls(trust, server_hostname="localhost")
            assert await reader.readline() == b"192.0.2.1 False\n"
            writer.close()

    run(work)
