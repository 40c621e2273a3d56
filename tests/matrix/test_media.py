"""Uploads, downloads, thumbnails, and every way in which they are refused.

spec: Matrix client-server-api content-repo
"""

import asyncio
import hashlib
import io
import signal
import zlib
from typing import Any

import orjson
import pytest
from PIL import Image

from tests.matrix.client import Client, matrix
from tests.support.media import body_of
from tests.support.middle import Clock, make_config, run
from tripoint.config.options import Config, Media
from tripoint.core.mxc import parse_mxc
from tripoint.media.library import LAPSED_MS
from tripoint.media.uploads import MAX_PENDING, PENDING_MS
from tripoint.net.http import Response

MEDIA = "/_matrix/media/v3"
NEW = "/_matrix/client/v1/media"


def with_media(**options: int) -> Config:
    config = make_config()
    return Config(server=config.server, accounts=config.accounts, limits=config.limits, media=Media(**options))


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    made = io.BytesIO()
    Image.new(mode, (width, height), (200, 30, 30, 128)[: len(mode)]).save(made, kind)
    return made.getvalue()


def headers_of(response: Response) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in response.headers}


async def error_of(response: Response) -> tuple[int, str]:
    return response.status, orjson.loads(await body_of(response))["errcode"]


async def upload(me: Client, data: bytes, kind: str = "image/png", **query: str) -> str:
    response = await me.server.request(
        "POST", f"{MEDIA}/upload", raw=data, token=me.token, headers=((b"content-type", kind.encode()),), **query
    )
    assert response.status == 200, response.body
    uri: str = orjson.loads(response.body)["content_uri"]
    return uri


def name_of(uri: str) -> str:
    return uri.removeprefix("mxc://")


async def get(me: Client, path: str, *headers: tuple[bytes, bytes], **query: str) -> Response:
    return await me.server.request("GET", f"{NEW}/{path}", token=me.token, headers=headers, parameters=query)


def test_what_was_uploaded_comes_back_with_its_name_and_type() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            data = picture(10, 10)
            uri = await upload(alice, data, filename="tea pot.png")
            assert uri.startswith("mxc://example.org/")
            response = await get(bob, f"download/{name_of(uri)}")
            headers = headers_of(response)
            assert (response.status, await body_of(response)) == (200, data)
            assert headers["content-type"] == "image/png"
            assert headers["content-disposition"] == 'inline; filename="tea pot.png"'
            assert headers["content-security-policy"].startswith("sandbox;")
            assert headers["cross-origin-resource-policy"] == "cross-origin"
            assert headers["x-content-type-options"] == "nosniff"
            # Another name may be asked for.
            response = await get(bob, f"download/{name_of(uri)}/th%C3%A9.png")
            assert headers_of(response)["content-disposition"].endswith("filename*=utf-8''th%C3%A9.png")
            await body_of(response)

    run(work)


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/pdf", "nonsense", "text/html\r\nx: y"])
def test_what_a_browser_would_run_is_not_shown_in_place(kind: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, b"<script>", kind)
            response = await get(alice, f"download/{name_of(uri)}")
            headers = headers_of(response)
            assert headers["content-disposition"] == "attachment"
            assert headers["content-type"] in (kind, "application/octet-stream")
            await body_of(response)

    run(work)


def test_the_same_bytes_are_kept_once_and_have_a_name_each() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            one, two = await upload(alice, b"same"), await upload(bob, b"same")
            assert one != two
            path = server.media.disk.path(hashlib.sha256(b"same").hexdigest())
            assert path.read_bytes() == b"same"
            assert path.stat().st_mode & 0o077 == 0
            assert len(list(path.parent.parent.rglob("*"))) == 2, "the folder and the one file"

    run(work)


def test_parts_of_a_file() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            data = bytes(range(256)) * 2000
            uri = await upload(alice, data, "video/mp4")
            response = await get(alice, f"download/{name_of(uri)}", (b"range", b"bytes=1000-300999"))
            assert response.status == 206
            assert headers_of(response)["content-range"] == f"bytes 1000-300999/{len(data)}"
            assert await body_of(response) == data[1000:301000]
            response = await get(alice, f"download/{name_of(uri)}", (b"range", b"bytes=9999999-"))
            assert (response.status, headers_of(response)["content-range"]) == (416, f"bytes */{len(data)}")

    run(work)


def test_what_uploads_are_refused() -> None:
    async def work() -> None:
        async with matrix(with_media(upload_bytes=10_000, account_bytes=15_000)) as server:
            alice = await server.register("alice")
            limit = await get(alice, "config")
            assert orjson.loads(limit.body) == {"m.upload.size": 10_000}

            async def post(data: bytes, token: str | None = alice.token) -> tuple[int, str]:
                return await error_of(await server.request("POST", f"{MEDIA}/upload", raw=data, token=token))

            assert await post(b"x" * 10_001) == (413, "M_TOO_LARGE")
            assert await post(b"x", token=None) == (401, "M_MISSING_TOKEN")
            assert await post(b"x", token="wrong") == (401, "M_UNKNOWN_TOKEN")
            await upload(alice, b"x" * 10_000)
            assert await post(b"x" * 5001) == (403, "M_FORBIDDEN")
            await upload(alice, b"x" * 5000)
            # Nothing of what was refused is left.
            assert list(server.media.disk.side_path().parent.iterdir()) == []

    run(work)


def test_what_downloads_are_refused() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, b"x")
            for path in (
                "download/example.org/nothing",
                "download/example.org/..%2Fsecret",
                "download/bad name/abc",
                # This server asks no others where it does not federate.
                "download/there.example/abc",
            ):
                assert await error_of(await get(alice, path)) == (404, "M_NOT_FOUND"), path
            response = await server.request("GET", f"{NEW}/download/{name_of(uri)}")
            assert await error_of(response) == (401, "M_MISSING_TOKEN")
            # Without a token nothing is had, even of what is there.
            for old in ("download", "thumbnail"):
                size = {"width": "32", "height": "32"}
                response = await server.request("GET", f"{MEDIA}/{old}/{name_of(uri)}", parameters=size)
                assert await error_of(response) == (404, "M_NOT_FOUND")
            # Clients that show their token at the old address have it.
            response = await server.request("GET", f"{MEDIA}/download/{name_of(uri)}/", token=alice.token)
            assert await body_of(response) == b"x"

    run(work)


async def created(me: Client) -> dict[str, Any]:
    response = await me.server.request("POST", "/_matrix/media/v1/create", {}, token=me.token)
    assert response.status == 200, response.body
    body: dict[str, Any] = orjson.loads(response.body)
    return body


async def put(me: Client, uri: str, data: bytes) -> Response:
    return await me.server.request("PUT", f"{MEDIA}/upload/{name_of(uri)}", raw=data, token=me.token)


def test_a_name_before_its_file() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            made = await created(alice)
            uri = made["content_uri"]
            assert made["unused_expires_at"] == server.party.clock.ms() + PENDING_MS
            response = await get(bob, f"download/{name_of(uri)}", timeout_ms="0")
            assert await error_of(response) == (504, "M_NOT_YET_UPLOADED")
            assert await error_of(await put(bob, uri, b"mine")) == (403, "M_FORBIDDEN")
            # Who waits hears of it at once.
            waiting = asyncio.create_task(get(bob, f"download/{name_of(uri)}", timeout_ms="20000"))
            for _ in range(5):
                await asyncio.sleep(0)
            assert (await put(alice, uri, b"hello")).status == 200
            assert await body_of(await asyncio.wait_for(waiting, 5)) == b"hello"
            assert await error_of(await put(alice, uri, b"again")) == (409, "M_CANNOT_OVERWRITE_MEDIA")
            assert await error_of(await put(alice, "mxc://example.org/never", b"x")) == (404, "M_NOT_FOUND")
            assert await error_of(await put(alice, "mxc://there.example/abc", b"x")) == (404, "M_NOT_FOUND")

    run(work)


def test_a_name_lapses_and_is_forgotten() -> None:
    async def work() -> None:
        clock = Clock()
        async with matrix(clock=clock) as server:
            alice = await server.register("alice")
            uri = (await created(alice))["content_uri"]
            clock.now += PENDING_MS / 1000 + 1
            assert await error_of(await put(alice, uri, b"late")) == (404, "M_NOT_FOUND")
            assert await error_of(await get(alice, f"download/{name_of(uri)}")) == (404, "M_NOT_FOUND")
            clock.now += LAPSED_MS / 1000
            await server.media.library.sweep()
            assert await server.party.middle.store.load_media(*name_of(uri).split("/")) is None  # type: ignore[arg-type]

    run(work)


def test_names_that_wait_are_limited() -> None:
    async def work() -> None:
        clock = Clock()
        async with matrix(clock=clock) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            for _ in range(MAX_PENDING):
                await created(alice)
            response = await server.request("POST", "/_matrix/media/v1/create", {}, token=alice.token)
            assert orjson.loads(response.body)["retry_after_ms"] == PENDING_MS
            assert await error_of(response) == (429, "M_LIMIT_EXCEEDED")
            await created(bob)
            clock.now += PENDING_MS / 1000 + 1
            await created(alice)

    run(work)


async def thumbnail(me: Client, uri: str, width: int, height: int, **query: str) -> Response:
    return await get(me, f"thumbnail/{name_of(uri)}", width=str(width), height=str(height), **query)


@pytest.mark.parametrize(
    ("asked", "method", "size"),
    [
        ((30, 30), "crop", (32, 32)),
        ((33, 20), "crop", (96, 96)),
        ((96, 96), "scale", (96, 48)),
        ((300, 200), "scale", (320, 160)),
        ((640, 480), "crop", (640, 480)),
        ((801, 10), "scale", (1000, 500)),
    ],
)
def test_thumbnails(asked: tuple[int, int], method: str, size: tuple[int, int]) -> None:
    """spec: "Thumbnails": at least what was asked for, in the sizes that servers should have."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, picture(1000, 500, "JPEG"), "image/jpeg")
            response = await thumbnail(alice, uri, *asked, method=method)
            assert response.status == 200
            assert headers_of(response)["content-disposition"].startswith('inline; filename="thumbnail.')
            with Image.open(io.BytesIO(await body_of(response))) as image:
                assert image.size == size

    run(work)


def test_a_thumbnail_keeps_what_is_transparent_and_is_made_once() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, picture(500, 500, "PNG", "RGBA"))
            response = await thumbnail(alice, uri, 96, 96)
            assert headers_of(response)["content-type"] == "image/png"
            first = await body_of(response)
            with Image.open(io.BytesIO(first)) as image:
                assert (image.mode, image.size) == ("RGBA", (96, 96))
            worker = server.media.thumbnails._worker
            await worker.close()
            worker.do = None  # type: ignore[method-assign,assignment]  # whoever asks it now fails
            assert await body_of(await thumbnail(alice, uri, 96, 96)) == first

    run(work)


def test_a_small_picture_is_its_own_thumbnail() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            data = picture(20, 20, "GIF")
            uri = await upload(alice, data, "image/gif")
            assert await body_of(await thumbnail(alice, uri, 96, 96)) == data
            assert await body_of(await thumbnail(alice, uri, 96, 96)) == data

    run(work)


def bomb() -> bytes:
    """A picture of 20000 x 20000 pixels in some hundred bytes, as its head says it."""
    made = bytearray(picture(1, 1))
    made[16:24] = (20_000).to_bytes(4, "big") * 2
    made[29:33] = zlib.crc32(bytes(made[12:29])).to_bytes(4, "big")
    return bytes(made)


def test_what_thumbnails_are_refused() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            whole = picture(500, 500, "JPEG")
            for data, kind, error in (
                (b"not a picture at all", "image/png", (400, "M_UNKNOWN")),
                (b"%PDF-1.4", "application/pdf", (400, "M_UNKNOWN")),
                (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", (400, "M_UNKNOWN")),
                (whole[: len(whole) // 2], "image/jpeg", (400, "M_UNKNOWN")),
                (bomb(), "image/png", (413, "M_TOO_LARGE")),
            ):
                uri = await upload(alice, data, kind)
                assert await error_of(await thumbnail(alice, uri, 96, 96)) == error, kind
            uri = await upload(alice, whole, "image/jpeg")
            for query, code in (
                ({"width": "96"}, "M_MISSING_PARAM"),
                ({"width": "-1", "height": "96"}, "M_INVALID_PARAM"),
                ({"width": "0", "height": "96"}, "M_INVALID_PARAM"),
                ({"width": "9.5", "height": "96"}, "M_INVALID_PARAM"),
                ({"width": "96", "height": "96", "method": "stretch"}, "M_INVALID_PARAM"),
            ):
                response = await get(alice, f"thumbnail/{name_of(uri)}", **query)
                assert await error_of(response) == (400, code)
            # And the worker is as good as before.
            response = await thumbnail(alice, uri, 96, 96)
            assert response.status == 200
            await body_of(response)

    run(work)


def test_guests_do_not_upload() -> None:
    async def work() -> None:
        async with matrix() as server:
            accounts = server.party.middle.accounts
            guest = await accounts.create_guest("visitor", address="127.0.0.1")
            opened = await accounts.log_in(guest, protocol="matrix", tokens=True)
            response = await server.request("POST", f"{MEDIA}/upload", raw=b"x", token=opened.access_token)
            assert await error_of(response) == (403, "M_GUEST_ACCESS_FORBIDDEN")

    run(work)


def test_a_full_disk_is_told_and_keeps_nothing() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            folder = server.media.disk.side_path().parent
            folder.rmdir()
            response = await server.request("POST", f"{MEDIA}/upload", raw=b"x", token=alice.token)
            assert await error_of(response) == (503, "M_UNKNOWN")
            folder.mkdir()
            await upload(alice, b"x")

    run(work)


def test_a_quarantined_file_is_not_there() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, b"bad")
            assert await server.media.shelf.quarantine(parse_mxc(uri))
            assert await error_of(await get(alice, f"download/{name_of(uri)}")) == (404, "M_NOT_FOUND")

    run(work)


def test_a_room_full_of_clients_has_a_thumbnail_made_once() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, picture(500, 500))
            worker = server.media.thumbnails._worker
            jobs: list[dict[str, Any]] = []
            do = worker.do

            async def counted(job: dict[str, Any]) -> dict[str, Any]:
                jobs.append(job)
                return await do(job)

            worker.do = counted  # type: ignore[method-assign]
            answers = await asyncio.gather(*(thumbnail(alice, uri, 96, 96) for _ in range(50)))
            assert len({await body_of(answer) for answer in answers}) == 1
            assert len(jobs) == 1

    run(work)


def test_a_worker_that_dies_or_hangs_costs_one_thumbnail(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            one, two = await upload(alice, picture(500, 500)), await upload(alice, picture(501, 500))
            await body_of(await thumbnail(alice, one, 32, 32))
            process = server.media.thumbnails._worker._process
            assert process is not None
            process.kill()
            await process.wait()
            await body_of(await thumbnail(alice, one, 96, 96))
            await body_of(await thumbnail(alice, two, 32, 32))
            process = server.media.thumbnails._worker._process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(server.media.thumbnails._worker, "_job_s", 0.3)
            assert await error_of(await thumbnail(alice, two, 96, 96)) == (400, "M_UNKNOWN")
            monkeypatch.setattr(server.media.thumbnails._worker, "_job_s", 20.0)
            await body_of(await thumbnail(alice, two, 96, 96))
            assert process.returncode is not None, "the one that hung is killed"

    run(work)


def test_a_file_whose_bytes_are_lost_is_not_forgotten() -> None:

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            uri = await upload(alice, b"here")
            await server.media.disk.remove(hashlib.sha256(b"here").hexdigest())
            assert await error_of(await get(alice, f"download/{name_of(uri)}")) == (404, "M_NOT_FOUND")
            assert await server.party.middle.store.load_media(*name_of(uri).split("/"))  # type: ignore[arg-type]

    run(work)
