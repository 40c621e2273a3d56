"""Previews of links, of good sites and of those that mean harm, over real HTTP on loopback.

spec: Matrix client-server-api GET /media/preview_url
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from tests.matrix.client import Client, Server, matrix
from tests.matrix.test_media import NEW, picture
from tests.net.https import Certificate, https_server, make_certificate
from tests.support.media import body_of
from tests.support.middle import run
from tripoint.config.options import Config, Media
from tripoint.core.mxc import parse_mxc
from tripoint.media import previews as limits
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.sites import link_of
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.outbound import Outbound, client_context

ON = Config(media=Media(url_previews=True))
Write = Callable[[asyncio.StreamWriter], Awaitable[None]]
PAGE = (
    b"<title>Tea</title><meta property=og:site_name content='The tea house'>"
    b"<meta property=og:description content='How to make it'><meta property=og:image content='/cup.png'>"
)


def say(body: bytes, kind: str = "text/html; charset=utf-8", status: str = "200 OK", *headers: str) -> Write:
    async def write(writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{line}\r\n" for line in headers)
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return write


def send_to(where: str) -> Write:
    return say(b"", "text/html", "302 Found", f"location: {where}")


async def endless(writer: asyncio.StreamWriter) -> None:
    """A page that never ends, in chunks."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n")
    first = b"<title>endless</title>"
    writer.write(b"%x\r\n%s\r\n" % (len(first), first))
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


class Site:
    """A web site. `paths`: what it answers; `heads`: what it was asked."""

    def __init__(self, server: Server, base: str, paths: dict[str, Write], heads: list[bytes]) -> None:
        self.server = server
        self.base = base
        self.paths = paths
        self.heads = heads

    @property
    def asked(self) -> list[str]:
        return [head.split()[1].decode() for head in self.heads]

    async def preview(self, who: Client, url: str, *, language: str | None = None, **query: str) -> tuple[int, Any]:
        headers = () if language is None else ((b"accept-language", language.encode()),)
        url = url if "://" in url else self.base + url
        response = await self.server.request(
            "GET", f"{NEW}/preview_url", token=who.token, headers=headers, parameters={"url": url, **query}
        )
        return response.status, orjson.loads(response.body)


async def addresses(name: str) -> Sequence[str]:
    return {"site.example": ["127.0.0.2"], "inside.example": ["127.0.0.1"]}.get(name, [])


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "site.example")


@asynccontextmanager
async def site(certificate: Certificate, **paths: Write) -> AsyncIterator[Site]:
    """A site at 127.0.0.2, which alone may be connected to, and a server that makes previews of it."""
    found = {f"/{name.replace('__', '.')}": write for name, write in paths.items()}

    async def speak(head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split()[1].decode().partition("?")[0]
        await found.get(path, say(b"gone", "text/plain", "404 Not Found"))(writer)

    context = client_context([str(certificate.path)])
    outbound = Outbound(AddressPolicy(("127.0.0.2/32",)), addresses, context, "tripoint/test")
    try:
        async with https_server(certificate, speak, host="127.0.0.2") as running, matrix() as server:
            server.media.connect(ON, outbound.open_url)
            yield Site(server, f"https://site.example:{running.port}", found, running.heads)
    finally:
        await outbound.close()


def test_a_page_with_a_picture(certificate: Certificate) -> None:
    async def work() -> None:
        cup = picture(40, 30)
        async with site(certificate, tea=say(PAGE), cup__png=say(cup, "image/png")) as tea:
            alice = await tea.server.register("alice")
            status, told = await tea.preview(alice, "/tea#steep")
            assert status == 200, told
            image = told.pop("og:image")
            assert told == {
                "og:title": "Tea",
                "og:site_name": "The tea house",
                "og:description": "How to make it",
                "og:image:type": "image/png",
                "og:image:width": 40,
                "og:image:height": 30,
                "matrix:image:size": len(cup),
            }
            mxc = parse_mxc(image)
            assert mxc.server == "example.org"
            path = f"{NEW}/download/{mxc.server}/{mxc.media_id}"
            assert await body_of(await tea.server.request("GET", path, token=alice.token)) == cup
            # The deprecated address is the same thing; a token is needed at both.
            old = "/_matrix/media/v3/preview_url"
            response = await tea.server.request("GET", old, token=alice.token, parameters={"url": tea.base + "/tea"})
            assert orjson.loads(response.body) == {**told, "og:image": image}
            assert (await tea.server.request("GET", old, parameters={"url": tea.base})).status == 401
            assert tea.asked == ["/tea", "/cup.png"]
            assert b"user-agent: tripoint/test" in tea.heads[0].lower() and b"cookie" not in tea.heads[0].lower()

    run(work)


def test_a_page_without_tls_and_one_that_has_moved(certificate: Certificate) -> None:
    async def work() -> None:
        async with site(certificate, new=say(PAGE), cup__png=say(picture(4, 4), "image/png")) as tea:
            alice = await tea.server.register("alice")

            async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                await send_to(tea.base + "/new")(writer)
                writer.close()

            plain = await asyncio.start_server(old, "127.0.0.2", 0)
            try:
                url = f"http://site.example:{plain.sockets[0].getsockname()[1]}/old"
                status, told = await tea.preview(alice, url)
                # What the page names by itself is beside where it is now.
                assert (status, told["og:title"], told["og:image:width"]) == (200, "Tea", 4)
                assert tea.asked == ["/new", "/cup.png"]
            finally:
                plain.close()

    run(work)


def test_a_link_is_fetched_once_for_everybody(certificate: Certificate) -> None:
    async def work() -> None:
        async with site(certificate, tea=say(PAGE), cup__png=say(picture(4, 4), "image/png")) as tea:
            people = [await tea.server.register(name) for name in ("alice", "bob", "carol")]
            answers = await asyncio.gather(*(tea.preview(who, "/tea") for who in people))
            assert [status for status, _ in answers] == [200, 200, 200] and tea.asked == ["/tea", "/cup.png"]
            # Who reads another language sees another page; regions make no difference.
            for language in ("de-AT, en;q=0.5", "de", "DE;q=0.9"):
                await tea.preview(people[0], "/tea", language=language)
            assert len(tea.asked) == 4 and b"accept-language: de, *;q=0.5" in tea.heads[2].lower()
            # After an hour it is fetched anew, unless somebody asks for what was then.
            then = tea.server.party.clock.ms() + 1000
            tea.server.party.clock.now += 3600
            tea.paths["/tea"] = say(b"<title>Coffee</title>")
            assert (await tea.preview(people[0], "/tea", ts=str(then)))[1]["og:title"] == "Tea"
            old = await tea.preview(people[0], "/tea")
            assert old == (200, {"og:title": "Coffee"})
            # The picture of the old one is gone with it.
            assert await tea.server.party.middle.store.count_previews() == 2
            rows = list(tea.server.party.middle.store.media.values())  # type: ignore[attr-defined]
            assert len(rows) == 1

    run(work)


def test_what_is_kept_is_thrown_away_with_its_pictures(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        cup = say(picture(4, 4), "image/png")
        async with site(certificate, one=say(PAGE), two=say(PAGE), three=say(PAGE), cup__png=cup) as tea:
            alice, store = await tea.server.register("alice"), tea.server.party.middle.store
            for path in ("/one", "/two", "/three"):
                await tea.preview(alice, path)
                tea.server.party.clock.now += 60
            media = store.media  # type: ignore[attr-defined]
            assert (await store.count_previews(), len(media)) == (3, 3)
            monkeypatch.setattr(limits, "MAX_PREVIEWS", 2)
            await tea.server.media.previews.sweep()
            assert (await store.count_previews(), len(media)) == (2, 2)
            assert await store.load_preview(tea.base + "/one", "") is None
            # What an administrator holds on to stays.
            kept = parse_mxc((await tea.preview(alice, "/two"))[1]["og:image"])
            await tea.server.media.shelf.quarantine(kept)
            assert "og:image" not in (await tea.preview(alice, "/two"))[1]
            tea.server.party.clock.now += 8 * 86_400
            await tea.server.media.previews.sweep()
            assert (await store.count_previews(), list(media)) == (0, [(kept.server, kept.media_id)])

    run(work)


def test_pictures_files_and_oembed(certificate: Certificate) -> None:
    async def work() -> None:
        link = b"<link rel=alternate type=application/json+oembed href='/embed'>"
        film = {"title": "A film", "provider_name": "Films", "thumbnail_url": "/still.png", "html": "<b>"}
        embed = orjson.dumps(film)
        async with site(
            certificate,
            cup__png=say(picture(8, 6), "image/png"),
            film=say(link),
            embed=say(embed, "application/json"),
            still__png=say(picture(5, 5), "image/png"),
            paper=say(b"%PDF", "application/pdf"),
            broken=say(PAGE),
            fake=say(b"<meta property=og:image content='/text.png'><title>fake</title>"),
            text__png=say(b"no picture", "image/png"),
            lost=say(b"<meta property=og:image content='/nowhere.png'><title>lost</title>"),
            wrong=say(b"<meta property=og:image content='/paper'><title>wrong</title>"),
        ) as tea:
            alice = await tea.server.register("alice")
            status, told = await tea.preview(alice, "/cup.png")
            assert (status, told["og:image:width"], told["og:image:height"]) == (200, 8, 6) and "og:title" not in told
            status, told = await tea.preview(alice, "/film")
            assert (told["og:title"], told["og:site_name"], told["og:image:width"]) == ("A film", "Films", 5)
            assert await tea.preview(alice, "/paper") == (200, {})
            for name in ("fake", "lost", "wrong"):
                assert await tea.preview(alice, f"/{name}") == (200, {"og:title": name})
            assert len(tea.server.party.middle.store.media) == 2  # type: ignore[attr-defined]

    run(work)


def test_sites_that_mean_harm(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr("tripoint.media.sites.FETCH_S", 1.0)
        inside = "https://inside.example/"
        bomb = gzip.compress(b"<title>" + b"x" * 10_000_000)
        async with site(
            certificate,
            endless=endless,
            silent=silent,
            metas=say(b"<meta property=og:title content=many>" * 100_000),
            deep=say(b"<title>deep</title>" + b"<div>" * 200_000),
            loopback=send_to("http://127.0.0.1/"),
            clouds=send_to("http://169.254.169.254/latest/meta-data/"),
            inside=send_to(inside),
            number=send_to("http://0x7f000001/"),
            mapped=send_to("http://[::ffff:127.0.0.1]/"),
            file=send_to("file:///etc/passwd"),
            circle=send_to("/circle"),
            bomb=say(bomb, "text/html", "200 OK", "content-encoding: gzip"),
            error=say(b"<title>no</title>", "text/html", "500 Oh"),
            huge__png=endless,
            big=say(b"<title>big</title><meta property=og:image content='/endless.png'>"),
            peek=say(b"<title>peek</title><meta property=og:image content='http://127.0.0.1/a.png'>"),
            endless__png=endless,
        ) as tea:
            alice = await tea.server.register("alice")
            assert await tea.preview(alice, "/endless") == (200, {"og:title": "endless"})
            assert await tea.preview(alice, "/metas") == (200, {"og:title": "many"})
            assert await tea.preview(alice, "/deep") == (200, {"og:title": "deep"})
            assert await tea.preview(alice, "/big") == (200, {"og:title": "big"})
            # The picture of a page is behind the same door.
            assert await tea.preview(alice, "/peek") == (200, {"og:title": "peek"})
            paths = ("silent", "loopback", "clouds", "inside", "number", "mapped", "file", "circle", "bomb", "error")
            for path in (*paths, "gone"):
                status, answer = await tea.preview(alice, f"/{path}")
                assert (status, answer["errcode"]) == (502, "M_UNKNOWN"), path
                assert answer["error"] == "No preview can be made of what is there"
            for url in (inside, "http://127.0.0.1:1/", "http://nowhere.example/"):
                assert (await tea.preview(alice, url))[0] == 502
            assert await tea.server.party.middle.store.count_previews() == 5

    run(work, timeout_s=60)


def test_a_page_that_takes_too_long_is_given_up(certificate: Certificate) -> None:
    """And the next one is read all the same."""

    async def work() -> None:
        slow = b"<a " + b" ".join(b"a%d=1" % number for number in range(100_000)) + b">"
        async with site(certificate, slow=say(slow), tea=say(b"<title>Tea")) as tea:
            alice = await tea.server.register("alice")
            tea.server.media.sites._job_s = 1.0
            assert (await tea.preview(alice, "/slow"))[0] == 502
            assert (await tea.preview(alice, "/tea"))[0] == 200

    run(work)


def test_a_link_that_failed_is_not_tried_again_at_once(certificate: Certificate) -> None:
    async def work() -> None:
        async with site(certificate) as tea:
            alice = await tea.server.register("alice")
            for _ in range(3):
                assert (await tea.preview(alice, "/later"))[0] == 502
            assert tea.asked == ["/later"]
            tea.paths["/later"] = say(b"<title>there</title>")
            tea.server.party.clock.now += 300
            assert await tea.preview(alice, "/later") == (200, {"og:title": "there"})

    run(work)


def test_somebody_who_asks_for_many(certificate: Certificate) -> None:
    async def work() -> None:
        async with site(certificate, tea=say(b"<title>Tea</title>")) as tea:
            alice, bob = await tea.server.register("alice"), await tea.server.register("bob")
            for number in range(30):
                assert (await tea.preview(alice, f"/tea?{number}"))[0] == 200
            status, answer = await tea.preview(alice, "/tea?more")
            assert (status, answer["errcode"], answer["retry_after_ms"]) == (429, "M_LIMIT_EXCEEDED", 2001)
            # What is kept costs nothing, and others are not kept from asking.
            assert (await tea.preview(alice, "/tea?7"))[0] == 200
            assert (await tea.preview(bob, "/tea?more"))[0] == 200
            tea.server.party.clock.now += 3
            assert (await tea.preview(alice, "/tea?other"))[0] == 200

    run(work)


def test_what_is_no_link(certificate: Certificate) -> None:
    async def work() -> None:
        async with site(certificate) as tea:
            alice = await tea.server.register("alice")
            tea.server.media.previews.blocked = ("blocked.example", "bücher.example")
            for url in (
                *("file:///etc/passwd", "ftp://site.example/", "javascript://x", "https:///x", "https://a b/"),
                *("https://user:pw@site.example/", "https://site.example:99999/", "http://[::1", "https://a_b.example/"),
                *("https://blocked.example/", "http://www.Blocked.example/x", "https://site.example/" + "x" * 2100),
            ):
                status, answer = await tea.preview(alice, url)
                assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM"), url
            response = await tea.server.request("GET", f"{NEW}/preview_url", token=alice.token)
            assert orjson.loads(response.body)["errcode"] == "M_MISSING_PARAM"
            assert (await tea.preview(alice, "https://site.example/", ts="now"))[0] == 400
            assert tea.asked == []

    run(work)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("HTTPS://Site.Example", "https://site.example/"),
        ("https://site.example/a b?c=d e#f", "https://site.example/a%20b?c=d%20e"),
        ("https://bücher.example/ü?ö", "https://xn--bcher-kva.example/%C3%BC?%C3%B6"),
        ("http://[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("https://site.example/a%2Fb?c=%26", "https://site.example/a%2Fb?c=%26"),
    ],
)
def test_a_link_has_one_form(text: str, link: str) -> None:
    assert link_of(text, lambda host: False) == link
    with pytest.raises(MediaRefused) as refused:
        link_of(text, lambda host: True)
    assert refused.value.refusal is MediaRefusal.BAD_LINK


def test_previews_are_off_unless_they_are_switched_on(certificate: Certificate) -> None:
    async def work() -> None:
        async with site(certificate, tea=say(PAGE)) as tea:
            alice = await tea.server.register("alice")
            tea.server.media.connect(Config(), tea.server.media.previews.sites._open)  # type: ignore[union-attr]
            status, answer = await tea.preview(alice, "/tea")
            assert (status, answer["errcode"]) == (404, "M_UNRECOGNIZED") and tea.asked == []

    run(work)


def test_what_people_link_to_is_not_logged(certificate: Certificate) -> None:
    async def work() -> None:
        with structlog.testing.capture_logs() as logged:
            async with site(certificate, tea=say(PAGE)) as tea:
                alice = await tea.server.register("alice")
                await tea.preview(alice, "/tea?secret")
                await tea.preview(alice, "/gone?secret")
        assert "secret" not in str(logged)

    run(work)
