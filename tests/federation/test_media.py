"""Files between servers: two tripoints, and servers that give them in other ways, or badly.

spec: Matrix server-server-api "Content Repository", getContent, getContentThumbnail
"""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image

from tests.federation.servers import Islands, Table, islands, server
from tests.support.media import body_of
from tests.support.middle import run
from tripoint.config.options import Media
from tripoint.core.mxc import parse_mxc
from tripoint.matrix import listener
from tripoint.matrix.client.media import MediaEndpoints
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.federation.client import make_target
from tripoint.matrix.federation.media import FileServingEndpoints
from tripoint.matrix.registry import Call
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.net.http import Request, Response
from tripoint.runtime.app import App

A, B = "a.example", "b.example"
DATA = bytes(range(256)) * 4000


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(app: App, data: bytes, **named: Any) -> str:
    """Upload on a server; the mxc name."""
    accounts = app.middle.accounts
    if await accounts.account(accounts.user_id("ann")) is None:
        await accounts.add_account("ann", "correct horse", admin=False)
    return str((await app.media.uploads.upload(accounts.user_id("ann"), pieces(data), **named)).mxc)


async def token(app: App) -> str:
    accounts = app.middle.accounts
    opened = await accounts.log_in(
        await accounts.add_account("bea", "correct horse", admin=False), protocol="matrix", tokens=True
    )
    assert opened.access_token is not None
    return opened.access_token


async def get(app: App, path: str, access: str) -> tuple[int, dict[str, str], bytes]:
    path, _, query = path.partition("?")
    headers = ((b"authorization", f"Bearer {access}".encode()),)
    response = await app.matrix.listener.handle(Request("GET", path, query.encode(), headers, b"", "127.0.0.1"))
    found = {name.decode(): value.decode() for name, value in response.headers}
    return response.status, found, await body_of(response)


def on_two(
    tmp_path: Path, test: Callable[[Islands, App, App], Awaitable[None]], media: Media | None = None
) -> None:
    async def work() -> None:
        start = None if media is None else {B: {"media": media}}
        async with islands(tmp_path, A, B, start=start) as made:
            await test(made, made.apps[A], made.apps[B])

    run(work)


def test_a_file_of_another_server_and_once_it_is_here(tmp_path: Path) -> None:
    async def test(made: Islands, a: App, b: App) -> None:
        uri = await put(a, DATA, type="video/mp4", filename="thé.mp4")
        access = await token(b)
        path = f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}"
        # However many ask at a time, it is fetched once.
        answers = await asyncio.gather(*(get(b, path, access) for _ in range(5)))
        for status, headers, body in answers:
            assert (status, body) == (200, DATA)
            assert headers["content-type"] == "video/mp4"
            assert headers["content-disposition"] == "inline; filename=\"th_.mp4\"; filename*=utf-8''th%C3%A9.mp4"
        await made.stop(A)
        assert (await get(b, path, access))[2] == DATA

    on_two(tmp_path, test)


def test_thumbnails_are_made_here_and_given_to_servers(tmp_path: Path) -> None:
    async def test(made: Islands, a: App, b: App) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (900, 900), (1, 200, 3)).save(picture, "PNG")
        uri = parse_mxc(await put(a, picture.getvalue(), type="image/png"))
        path = f"/_matrix/client/v1/media/thumbnail/{A}/{uri.media_id}?width=96&height=96&method=crop"
        status, _, small = await get(b, path, await token(b))
        with Image.open(io.BytesIO(small)) as image:
            assert (status, image.size) == (200, (96, 96))
        # As a server may ask for it, in two parts.
        query = {"width": "96", "height": "96", "method": "crop"}
        target = make_target("_matrix", "federation", "v1", "media", "thumbnail", uri.media_id, query=query)
        async with b.federation.trust.client.open(server(A), target, timeout_s=10) as answer:
            whole = (await answer.whole(A, 100_000)).body
        assert answer.status == 200 and answer.headers["content-type"].startswith("multipart/mixed; boundary=")
        assert whole.count(b"Content-Type: image/jpeg\r\nContent-Disposition: inline\r\n\r\n") == 1
        assert small in whole

    on_two(tmp_path, test)


def test_what_is_not_there_and_what_is_not_given_on(tmp_path: Path) -> None:
    async def test(made: Islands, a: App, b: App) -> None:
        access = await token(b)
        start = "/_matrix/client/v1/media/download"
        for path, status, errcode in (
            (f"{A}/nothing", 404, "M_NOT_FOUND"),
            ("nowhere.example/abc", 502, "M_UNKNOWN"),
        ):
            found, _, body = await get(b, f"{start}/{path}", access)
            assert (found, orjson.loads(body)["errcode"]) == (status, errcode)
        # A server is asked for its own files alone.
        await put(b, b"ours")
        ask = make_target("_matrix", "federation", "v1", "media", "download", "nothing")
        async with a.federation.trust.client.open(server(B), ask, timeout_s=10) as answer:
            assert answer.status == 404
            assert orjson.loads((await answer.whole(B, 1000)).body)["errcode"] == "M_NOT_FOUND"

    on_two(tmp_path, test)


def test_a_file_that_is_too_large_here(tmp_path: Path) -> None:
    async def test(made: Islands, a: App, b: App) -> None:
        uri = await put(a, DATA)
        status, _, body = await get(
            b, f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}", await token(b)
        )
        assert (status, orjson.loads(body)["errcode"]) == (502, "M_TOO_LARGE")
        assert os.listdir(tmp_path / B / "media" / "coming") == []

    on_two(tmp_path, test, Media(remote_file_bytes=100_000))


def test_the_oldest_files_of_others_go_first(tmp_path: Path) -> None:
    async def test(made: Islands, a: App, b: App) -> None:
        names = [parse_mxc(await put(a, bytes([number]) * 1000)) for number in range(3)]
        for name in names:
            await b.media.library.find(name)
        own = await put(b, b"x" * 5000)
        await b.media.library.sweep()
        here = [await b.middle.store.load_media(name.server, name.media_id) is not None for name in names]
        assert sum(here) == 2
        assert await b.middle.store.load_cached_bytes(server(B)) == 2000
        await b.media.library.find(parse_mxc(own))
        # Bytes that somebody took away are noticed, and fetched again with the next question.
        kept = await b.media.library.find(names[here.index(True)])
        await b.media.disk.remove(kept.content)
        with pytest.raises(MediaRefused):
            await b.media.library.open(kept)
        opened = await b.media.library.open(await b.media.library.find(kept.mxc))
        assert opened.length == 1000
        opened.close()
        # What is gone is fetched again.
        assert (await b.media.library.find(names[here.index(False)])).size == 1000

    on_two(tmp_path, test, Media(cache_bytes=2500))


class OddServer:
    """Gives files in the way that `kind` says, in the place of a server's own endpoints."""

    def __init__(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self.elsewhere = ""
        self.asked: list[str] = []
        odd = self

        async def download(endpoints: FileServingEndpoints, call: Call) -> Response:
            return odd._download()

        async def old(endpoints: MediaEndpoints, call: Call) -> Response:
            odd.asked.append(f"old {call.query('allow_remote')}")
            return Response(200, b"from of old", ((b"content-type", b"text/plain"),))

        download.__dict__.update(FileServingEndpoints.download.__dict__)
        old.__dict__.update(MediaEndpoints.old_download.__dict__)
        monkeypatch.setattr(FileServingEndpoints, "download", download)
        monkeypatch.setattr(MediaEndpoints, "old_download", old)
        # The deprecated address is on the port for clients; here other servers find it on theirs.
        monkeypatch.setattr(listener, "FEDERATION_PATHS", (*listener.FEDERATION_PATHS, "/_matrix/media/"))

    def _download(self) -> Response:
        self.asked.append(self.kind)
        part = b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=odd.txt\r\n\r\nhello"
        bodies = {
            "fine": b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n" + part + b"\r\n--b--\r\n",
            "redirect": b"--b\r\n\r\n{}\r\n--b\r\nLocation: " + self.elsewhere.encode() + b"\r\n\r\n\r\n--b--\r\n",
            "plain http": b"--b\r\n\r\n{}\r\n--b\r\nLocation: http://127.0.0.1:1/x\r\n\r\n\r\n--b--\r\n",
            "short": b"--b\r\n\r\n{}\r\n--b\r\n" + part,
            "no file": b"--b\r\n\r\n{}\r\n--b--\r\n",
        }
        if self.kind in bodies:
            return Response(200, bodies[self.kind], ((b"content-type", b"multipart/mixed; boundary=b"),))
        if self.kind == "not multipart":
            return Response(200, b"hello", ((b"content-type", b"text/plain"),))
        if self.kind == "not yet":
            raise MatrixError(504, "M_NOT_YET_UPLOADED", "later")
        if self.kind == "old":
            raise MatrixError(404, "M_UNRECOGNIZED", "what?")
        assert self.kind == "broken"
        return Response(500, b"<html>")


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("fine", b"hello"),
        ("redirect", b'{"server"'),
        ("old", b"from of old"),
        ("plain http", MediaRefusal.REMOTE_FAILED),
        ("short", MediaRefusal.REMOTE_FAILED),
        ("no file", MediaRefusal.REMOTE_FAILED),
        ("not multipart", MediaRefusal.REMOTE_FAILED),
        ("broken", MediaRefusal.REMOTE_FAILED),
        ("not yet", MediaRefusal.NOT_YET_UPLOADED),
    ],
)
def test_how_other_servers_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, found: bytes | MediaRefusal
) -> None:
    odd = OddServer(kind, monkeypatch)

    async def here(table: Table, name: str) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(Table, "addresses", here)

    async def test(made: Islands, a: App, b: App) -> None:
        odd.elsewhere = f"https://{A}:{made.table.ports[A]}/_matrix/federation/v1/version"
        mxc = parse_mxc(f"mxc://{A}/abc")
        if isinstance(found, MediaRefusal):
            with pytest.raises(MediaRefused) as refused:
                await b.media.library.find(mxc)
            assert refused.value.refusal is found
            # It is not asked again at once; what is only late may be.
            with pytest.raises(MediaRefused):
                await b.media.library.find(mxc)
            assert len(odd.asked) == (2 if kind == "not yet" else 1)
            assert os.listdir(tmp_path / B / "media" / "coming") == []
            return
        file = await b.media.library.find(mxc)
        opened = await b.media.library.open(file)
        assert b"".join([piece async for piece in opened]).startswith(found)
        opened.close()
        if kind == "fine":
            assert (file.type, file.filename) == ("text/plain", "odd.txt")
        if kind == "old":
            assert odd.asked == ["old", "old false"]

    on_two(tmp_path, test)
