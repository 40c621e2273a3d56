"""A server whose files lie in a bucket: what people upload, see and delete; and what they are told while it is away.

spec: Matrix client-server-api content-repo; docs/decisions/s3.md
"""

import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from msgspec.structs import replace as changed
from PIL import Image

from tests.matrix.client import Client, Server, matrix
from tests.media.stores import SECRET, s3, s3_address
from tests.media.test_files import objects
from tests.support.media import body_of
from tests.support.middle import make_config, run
from tripoint.config.options import Config, MediaS3
from tripoint.core.mxc import parse_mxc
from tripoint.net.http import Response

__all__ = ["s3", "s3_address"]


def with_bucket(address: str) -> Config:
    bucket = MediaS3("files", address, "us-east-1", "", "AK", SECRET)
    return replace(make_config(), media_s3=bucket)


def on_server(address: str, work: Callable[[Server, Client], Awaitable[None]]) -> None:
    async def wrapped() -> None:
        async with matrix(with_bucket(address)) as server:
            await work(server, await server.register("alice"))
            assert list(server.media.disk.side_path().parent.iterdir()) == []

    run(wrapped, timeout_s=120)


async def upload(client: Client, data: bytes, kind: str = "text/plain") -> Response:
    return await client.server.request(
        "POST", "/_matrix/media/v3/upload", raw=data, token=client.token, headers=((b"content-type", kind.encode()),)
    )


async def get(client: Client, uri: str, what: str = "download", *headers: tuple[bytes, bytes], **query: str) -> Any:
    path = f"/_matrix/client/v1/media/{what}/{uri.removeprefix('mxc://')}"
    return await client.server.request("GET", path, token=client.token, headers=headers, parameters=query)


def picture(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.effect_noise((width, height), 50).convert("RGB").save(data, "PNG")
    return data.getvalue()


def test_a_file_goes_up_and_comes_down(s3: str) -> None:
    async def work(server: Server, alice: Client) -> None:
        data = bytes(range(256)) * 100
        uri = orjson.loads((await upload(alice, data)).body)["content_uri"]
        response = await get(alice, uri)
        assert response.status == 200 and await body_of(response) == data
        response = await get(alice, uri, "download", (b"range", b"bytes=100-199"))
        assert response.status == 206 and await body_of(response) == data[100:200]
        assert objects(s3).count("<Key>") == 1
        assert await server.media.ports.desk.delete(parse_mxc(uri))
        assert objects(s3).count("<Key>") == 0
        assert (await get(alice, uri)).status == 404

    on_server(s3, work)


def test_thumbnails_are_made_of_what_lies_far_away(s3: str) -> None:
    async def work(server: Server, alice: Client) -> None:
        uri = orjson.loads((await upload(alice, picture(900, 700), "image/png")).body)["content_uri"]
        for _ in range(2):
            response = await get(alice, uri, "thumbnail", width="90", height="90", method="crop")
            assert response.status == 200, response.body
            assert Image.open(io.BytesIO(await body_of(response))).size == (96, 96)

    on_server(s3, work)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "away"])
def test_while_the_store_is_away_nothing_is_acknowledged(s3: str, address: str) -> None:
    async def work(server: Server, alice: Client) -> None:
        response = await upload(alice, b"tea")
        if address == "away":
            assert response.status == 200
            uri = orjson.loads(response.body)["content_uri"]
            server.media.files._options = replace_endpoint(server.media.files._options)  # type: ignore[attr-defined]
            server.media.files._store = None  # type: ignore[attr-defined]
            response = await get(alice, uri)
        answer = orjson.loads(response.body)
        assert (response.status, answer["errcode"]) == (503, "M_UNKNOWN")
        assert SECRET.encode() not in response.body
        if address != "away":
            assert await server.party.middle.store.load_contents("", 10) == []

    on_server(s3 if address == "away" else address, work)


def replace_endpoint(options: Any) -> Any:
    return changed(options, endpoint="http://127.0.0.1:1")
