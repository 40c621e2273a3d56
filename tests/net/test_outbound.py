"""Outgoing requests against good and hostile servers, over TLS on loopback.

spec: Matrix server-server-api tls, resolving-server-names, authentication
"""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.net.https import Certificate, answer, https_server, make_certificate
from tests.support.middle import run
from tripoint.core.errors import RemoteFailed
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.outbound import Answer, Outbound, check_url, client_context
from tripoint.net.resolver import Route, Target

LOOPBACK = ("127.0.0.0/8", "::1/128")
NAMES = {"good.example": ["127.0.0.1"], "other.example": ["127.0.0.1"], "nowhere.example": []}


async def addresses(name: str) -> Sequence[str]:
    return NAMES[name]


@asynccontextmanager
async def outbound(*trusted: Certificate, networks: Sequence[str] = LOOPBACK) -> AsyncIterator[Outbound]:
    context = client_context([str(certificate.path) for certificate in trusted])
    made = Outbound(AddressPolicy(networks), addresses, context, "tripoint/test")
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def good(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "good.example")


async def ask(client: Outbound, route: Route, target: str = "/x", *, timeout_s: float = 10.0, **how: int) -> Answer:
    limit_bytes = how.get("limit_bytes", 1000)
    return await client.request(
        "good.example", route, "GET", target, headers={}, limit_bytes=limit_bytes, timeout_s=timeout_s
    )


def to(port: int, name: str = "good.example", address: str = "127.0.0.1") -> Route:
    return Route((Target(address, port),), name, name)


async def failure(client: Outbound, route: Route, **how: float) -> str:
    """Why a request failed; it must name the server."""
    with pytest.raises(RemoteFailed) as failed:
        await ask(client, route, timeout_s=how.get("timeout_s", 10.0), limit_bytes=int(how.get("limit_bytes", 1000)))
    assert failed.value.host == "good.example"
    return failed.value.reason


def test_host_header_target_and_name_are_those_of_the_route(good: Certificate) -> None:
    async def work() -> None:
        async with https_server(good, answer(b'{"a":1}', "200 OK", "X-One: 1")) as server, outbound(good) as client:
            route = Route((Target("127.0.0.1", server.port),), "good.example:1234", "good.example")
            target = "/_matrix/x/%21room%3Aserver/a%2Fb?c=%26&d=a+b&c=2"
            found = await ask(client, route, target)
            assert (found.status, found.body, found.headers["x-one"]) == (200, b'{"a":1}', "1")
            lines = server.heads[0].decode().split("\r\n")
            # The target goes out byte for byte: the signature covers it.
            assert lines[0] == f"GET {target} HTTP/1.1"
            assert [line for line in lines if line.lower().startswith("host:")] == ["Host: good.example:1234"]
            assert "User-Agent: tripoint/test" in lines

    run(work)


def test_a_certificate_for_another_name_or_of_nobody_is_refused_and_nothing_is_sent(
    tmp_path: Path, good: Certificate
) -> None:
    async def work() -> None:
        other = make_certificate(tmp_path, "other.example")
        async with outbound(other) as client:
            async with https_server(other, answer()) as server:
                assert "certificate" in await failure(client, to(server.port))
                assert server.heads == []
            async with https_server(good, answer()) as server:
                assert "certificate" in await failure(client, to(server.port))
                assert server.heads == []

    run(work)


def test_certificates_for_ip_addresses(tmp_path: Path) -> None:
    """spec: step 1: "The target server must present a valid certificate for the IP address"."""

    async def work() -> None:
        certificate = make_certificate(tmp_path, "127.0.0.1")
        async with outbound(certificate) as client, https_server(certificate, answer()) as server:
            assert (await ask(client, to(server.port, "127.0.0.1"))).status == 200
            assert "certificate" in await failure(client, to(server.port, "127.0.0.2"))

    run(work)


def test_a_connection_is_not_used_for_another_name(tmp_path: Path) -> None:
    """Two names at one address: what was proven for one is not proven for the other."""

    async def work() -> None:
        certificate = make_certificate(tmp_path, "good.example")
        async with outbound(certificate) as client, https_server(certificate, answer()) as server:
            assert (await ask(client, to(server.port))).status == 200
            assert (await ask(client, to(server.port))).status == 200
            assert server.connections == 1
            assert "certificate" in await failure(client, to(server.port, "other.example"))
            assert len(server.heads) == 2

    run(work)


def test_private_addresses_are_refused_unless_configured(good: Certificate) -> None:
    async def work() -> None:
        async with https_server(good, answer()) as server, outbound(good, networks=()) as client:
            for address in ("127.0.0.1", "::ffff:127.0.0.1", "::1", "64:ff9b::7f00:1"):
                assert "public address" in await failure(client, to(server.port, address=address))
            with pytest.raises(RemoteFailed, match="public address"):
                await client.get(f"https://good.example:{server.port}/", limit_bytes=100, timeout_s=5)
            with pytest.raises(RemoteFailed, match="public address"):
                await client.get(f"https://127.0.0.1:{server.port}/", limit_bytes=100, timeout_s=5)
            assert server.connections == 0

    run(work)


def test_the_next_address_is_tried_when_nothing_was_sent(tmp_path: Path, good: Certificate) -> None:
    async def work() -> None:
        other = make_certificate(tmp_path, "other.example")
        async with (
            https_server(good, answer()) as server,
            https_server(other, answer()) as wrong,
            outbound(good, other) as client,
        ):
            targets = (Target("10.0.0.1", 1), Target("127.0.0.1", 1), Target("127.0.0.1", wrong.port))
            route = Route((*targets, Target("127.0.0.1", server.port)), "good.example", "good.example")
            assert (await ask(client, route)).status == 200
            assert wrong.heads == []

    run(work)


def test_a_request_that_was_sent_is_not_sent_elsewhere(good: Certificate) -> None:
    async def hang_up(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def work() -> None:
        async with https_server(good, hang_up) as bad, https_server(good, answer()) as server, outbound(good) as client:
            route = Route(tuple(Target("127.0.0.1", s.port) for s in (bad, server)), "good.example", "good.example")
            with pytest.raises(RemoteFailed):
                await client.request(
                    "good.example", route, "POST", "/x", headers={}, body=b"{}", limit_bytes=10, timeout_s=5
                )
            assert server.heads == []

    run(work)


def test_large_answers_are_cut_off(good: Certificate) -> None:
    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    async def work() -> None:
        async with https_server(good, endless) as server, outbound(good) as client:
            assert "over 20000 bytes" in await failure(client, to(server.port), limit_bytes=20_000)
        async with https_server(good, answer(b"x" * 20_001)) as server, outbound(good) as client:
            assert "over 20000 bytes" in await failure(client, to(server.port), limit_bytes=20_000)
        async with https_server(good, answer(b"x" * 20_000)) as server, outbound(good) as client:
            assert len((await ask(client, to(server.port), limit_bytes=20_000)).body) == 20_000

    run(work)


def test_a_small_answer_does_not_become_a_large_one(good: Certificate) -> None:
    async def work() -> None:
        bomb = gzip.compress(bytes(10_000_000))
        async with (
            https_server(good, answer(bomb, "200 OK", "Content-Encoding: gzip")) as server,
            outbound(good) as client,
        ):
            found = await ask(client, to(server.port), limit_bytes=len(bomb))
            assert found.body == bomb
            assert b"Accept-Encoding: identity" in server.heads[0]

    run(work)


def test_slow_servers_meet_the_deadline(good: Certificate) -> None:
    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async def work() -> None:
        for speak in (silent, drip):
            async with https_server(good, speak) as server, outbound(good) as client:
                assert "within 0.3 s" in await failure(client, to(server.port), timeout_s=0.3)
        # A server that takes connections and says nothing, not even TLS.
        mute = await asyncio.start_server(lambda reader, writer: asyncio.sleep(5), "127.0.0.1", 0)
        async with outbound(good) as client:
            port = mute.sockets[0].getsockname()[1]
            assert "within 0.3 s" in await failure(client, to(port), timeout_s=0.3)
        mute.close()

    run(work)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(50_000)),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n\x01\x02",
    ],
)
def test_garbage_is_a_failure_of_the_server(good: Certificate, garbage: bytes) -> None:
    async def speak(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await writer.drain()
        writer.close()

    async def work() -> None:
        async with https_server(good, speak) as server, outbound(good) as client:
            try:
                found = await ask(client, to(server.port), timeout_s=5)
            except RemoteFailed as failed:
                assert failed.host == "good.example"
            else:
                # 50,000 headers or 101 may be read; nothing else may.
                assert found.status == 101 or b"x49999" in garbage

    run(work)


def test_redirects_are_followed_few_and_checked(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "good.example", "other.example")

    async def work() -> None:
        at: list[int] = []

        async def speak(head: bytes, writer: asyncio.StreamWriter) -> None:
            path = head.split(b" ")[1].decode()
            where = {
                "/other": f"https://other.example:{at[0]}/end",
                "/relative": "end",
                "/http": "http://good.example/end",
                "/file": "file:///etc/passwd",
                "/literal": "https://10.0.0.1/end",
                "/mapped": "https://[::ffff:10.0.0.1]/end",
                "/user": f"https://a:b@good.example:{at[0]}/end",
                "/odd": "https://[",
                "/loop": "/loop",
            }.get(path)
            if path.startswith("/count"):
                where = f"/count{int(path[6:]) + 1}"
            if where is None:
                await answer(b"the end")(head, writer)
            else:
                await answer(b"", "302 Found", f"Location: {where}")(head, writer)

        async with (
            https_server(certificate, speak) as server,
            outbound(certificate, networks=("127.0.0.0/8",)) as client,
        ):
            at.append(server.port)

            async def get(path: str) -> Answer:
                return await client.get(f"https://good.example:{server.port}{path}", limit_bytes=100, timeout_s=5)

            assert (await get("/other")).body == b"the end"
            assert (await get("/relative")).body == b"the end"
            for path in ("/http", "/file", "/literal", "/mapped", "/user", "/odd", "/loop", "/count0"):
                with pytest.raises(RemoteFailed) as failed:
                    await get(path)
                assert failed.value.host == "good.example"
            assert sum(b"GET /count" in head for head in server.heads) <= 7

    run(work)


def test_names_without_addresses() -> None:
    async def work() -> None:
        async with outbound() as client:
            with pytest.raises(RemoteFailed, match="no address"):
                await client.get("https://nowhere.example/", limit_bytes=100, timeout_s=5)

    run(work)


@pytest.mark.parametrize(
    "url", ["http://a/", "https:///x", "https://a@b/", "https://a:99999/", "https://a/\r\nX: y", "ftp://a/", "", "a b"]
)
def test_urls_that_are_not_fetched(url: str) -> None:
    with pytest.raises(RemoteFailed):
        check_url("good.example", url)


def test_the_environment_s_proxies_are_not_used(good: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")

    async def work() -> None:
        async with https_server(good, answer()) as server, outbound(good) as client:
            assert (await ask(client, to(server.port))).status == 200

    run(work)
