"""Where files may lie, for tests: a folder, and a bucket of a store over loopback that nobody here wrote (moto)."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tripoint.media.bucket import Bucket, BucketOptions
from tripoint.media.disk import Disk

SECRET = "s3cret/that+is=long"


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a store with a bucket named `files`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{address}/files", method="PUT"), timeout=10).close()
        yield address
    finally:
        server.stop()


def bucket_options(address: str, **changes: str) -> BucketOptions:
    fields = {"bucket": "files", "endpoint": address, "region": "us-east-1", "prefix": "tea/"}
    return BucketOptions(**{**fields, "access_key_id": "AK", "secret_access_key": SECRET, **changes})


def on_disk(folder: Path) -> Disk:
    disk = Disk(folder)
    disk.start()
    return disk


def in_bucket(address: str, folder: Path, **changes: str) -> Bucket:
    return Bucket(bucket_options(address, **changes), on_disk(folder))


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(s3_address: str) -> str:
    """The store, with nothing in it."""
    urllib.request.urlopen(
        urllib.request.Request(f"{s3_address}/moto-api/reset", method="POST"), timeout=10
    ).close()
    urllib.request.urlopen(urllib.request.Request(f"{s3_address}/files", method="PUT"), timeout=10).close()
    return s3_address
