"""Both places where files may lie, held to media/files.py by the same tests; and what is the bucket's own."""

import asyncio
import hashlib
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.media.stores import SECRET, bucket_options, in_bucket, on_disk, s3, s3_address
from tests.support.middle import run
from tripoint.media.bucket import PART_BYTES, Bucket, StoreFailed
from tripoint.media.files import Files, FileTooLarge, Incoming
from tripoint.media.moving import Moved, difference, move
from tripoint.store.memory import MemoryStore
from tripoint.store.writes import PutMedia

__all__ = ["s3", "s3_address"]
OnFiles = Callable[[Callable[[Files], Coroutine[Any, Any, None]]], None]


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


async def put(files: Files, data: bytes) -> str:
    incoming = await files.receive(pieces(data), len(data))
    await files.place(incoming)
    return incoming.content


async def read(files: Files, content: str, part: tuple[int, int] | None = None) -> bytes | None:
    opened = await files.open(content, part)
    if opened is None:
        return None
    try:
        data = b"".join([piece async for piece in opened])
        assert len(data) == opened.length
        return data
    finally:
        opened.close()


async def listed(files: Files) -> set[tuple[str, int]]:
    return {entry async for entry in files.listing()}


def left(folder: Path) -> list[Path]:
    """What lies at the side."""
    return list((folder / "coming").iterdir())


@pytest.fixture(params=["disk", "bucket"])
def on_files(request: pytest.FixtureRequest, tmp_path: Path) -> OnFiles:
    def go(test: Callable[[Files], Coroutine[Any, Any, None]]) -> None:
        async def work() -> None:
            address = request.getfixturevalue("s3") if request.param == "bucket" else ""
            files: Files = in_bucket(address, tmp_path) if address else on_disk(tmp_path)
            try:
                await test(files)
            finally:
                await files.close()

        run(work, timeout_s=60)
        assert left(tmp_path) == []

    return go


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5])
def test_what_is_put_comes_back(on_files: OnFiles, size: int) -> None:
    async def test(files: Files) -> None:
        data = hashlib.shake_128(b"tea").digest(size)
        content = await put(files, data)
        assert content == hashlib.sha256(data).hexdigest()
        assert await read(files, content) == data
        async with files.at_hand(content) as path:
            assert path.read_bytes() == data
        assert await listed(files) == {(content, size)}

    on_files(test)


def test_parts_of_a_file(on_files: OnFiles) -> None:
    async def test(files: Files) -> None:
        data = bytes(range(256)) * 2000
        content = await put(files, data)
        for first, length in ((0, 1), (255, 300_000), (len(data) - 1, 1), (0, len(data))):
            assert await read(files, content, (first, length)) == data[first : first + length]

    on_files(test)


def test_the_same_bytes_are_there_once_and_gone_at_once(on_files: OnFiles) -> None:
    async def test(files: Files) -> None:
        content = await put(files, b"same")
        assert await put(files, b"same") == content
        other = await put(files, b"other")
        assert await listed(files) == {(content, 4), (other, 5)}
        await files.remove(content)
        await files.remove(content)
        assert await read(files, content) is None
        assert await listed(files) == {(other, 5)}
        with pytest.raises(OSError):
            async with files.at_hand(content) as path:
                path.read_bytes()

    on_files(test)


def test_what_breaks_off_or_is_too_large_leaves_nothing(on_files: OnFiles) -> None:
    async def test(files: Files) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"half"
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            await files.receive(broken(), 10)
        with pytest.raises(FileTooLarge):
            await files.receive(pieces(b"x" * 11), 10)
        await files.discard(await files.receive(pieces(b"unwanted"), 10))
        assert await listed(files) == set()

    on_files(test)


def test_many_at_a_time(on_files: OnFiles) -> None:
    async def test(files: Files) -> None:
        texts = [str(number).encode() * 1000 for number in range(40)]
        contents = await asyncio.gather(*(put(files, text) for text in texts))
        assert await asyncio.gather(*(read(files, content) for content in contents)) == texts
        assert len(await listed(files)) == 40

    on_files(test)


# -- moving


def test_all_is_carried_over_and_back(tmp_path: Path, s3: str) -> None:
    async def work() -> None:
        disk, bucket = on_disk(tmp_path), in_bucket(s3, tmp_path)
        contents = [await put(disk, str(number).encode()) for number in range(5)]
        told: list[Moved] = []
        assert await move(disk, bucket, keep=True, told=told.append) == Moved(5, 5)
        assert len(told) == 5 and await listed(disk) == await listed(bucket)
        assert await move(disk, bucket, keep=False, told=told.append) == Moved(5, 5)
        assert await listed(disk) == set() and len(await listed(bucket)) == 5
        assert await move(bucket, disk, keep=False, told=told.append) == Moved(5, 5)
        assert await read(disk, contents[0]) == b"0" and await listed(bucket) == set()
        # A file whose bytes have rotted is not carried on as if it were whole.
        disk.path(contents[0]).write_bytes(b"X")
        with pytest.raises(OSError, match=contents[0]):
            await move(disk, bucket, keep=False, told=told.append)
        assert contents[0] not in {content for content, _ in await listed(bucket)}
        await bucket.close()

    run(work, timeout_s=60)


def test_what_does_not_fit_together_is_found(on_files: OnFiles) -> None:
    async def test(files: Files) -> None:
        store = MemoryStore()
        here, nameless = await put(files, b"here"), await put(files, b"nameless")
        rows = [
            PutMedia("example.org", name, content, "text/plain", None, 4, None, 0, 0)  # type: ignore[arg-type]
            for name, content in (("a", here), ("b", here), ("c", "ff" * 32))
        ]
        store.submit(rows, lambda error: None)
        await asyncio.sleep(0)
        found = await difference(files, store)
        assert (found.nameless, found.missing) == (((nameless, 8),), ("ff" * 32,))

    on_files(test)


# -- what is the bucket's own


def objects(s3: str) -> str:
    with urllib.request.urlopen(f"{s3}/files?list-type=2", timeout=10) as answer:
        return str(answer.read().decode())


def test_objects_have_names_below_the_prefix(tmp_path: Path, s3: str) -> None:
    async def work() -> None:
        bucket = in_bucket(s3, tmp_path)
        content = await put(bucket, b"tea")
        assert f"<Key>tea/content/{content[:2]}/{content}</Key>" in objects(s3)
        other = in_bucket(s3, tmp_path, prefix="")
        assert await listed(other) == set()
        await bucket.close()

    run(work)


@pytest.mark.parametrize("changes", [{"bucket": "nowhere"}, {"endpoint": "http://127.0.0.1:1"}])
def test_a_store_that_is_away_or_refuses(tmp_path: Path, s3: str, changes: dict[str, str]) -> None:
    """Nothing is acknowledged, nothing is left, and no secret is told."""

    async def work() -> None:
        bucket = in_bucket(s3, tmp_path, **changes)
        incoming = await bucket.receive(pieces(b"tea"), 10)
        asked: list[Callable[[], Any]] = [
            lambda: bucket.place(incoming),
            lambda: bucket.remove("ab" * 32),
            lambda: listed(bucket),
            bucket.check,
        ]
        asked.append(lambda: bucket.open("ab" * 32))
        for ask in asked:
            with pytest.raises(StoreFailed) as raised:
                await ask()
            assert SECRET not in str(raised.value) and SECRET not in repr(raised.value.__cause__)
            assert "\n" not in str(raised.value)
        assert len(left(tmp_path)) == 1
        await bucket.discard(incoming)
        await bucket.close()

    run(work, timeout_s=120)


def test_what_names_a_bucket_says_no_secret() -> None:
    assert SECRET not in repr(bucket_options("http://127.0.0.1:1"))


class Liar:
    """A store that promises more than it sends, or says nothing."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer)
            await writer.drain()
            if not self._answer:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def with_liar(answer: bytes, tmp_path: Path, work: Callable[[Bucket], Coroutine[Any, Any, None]]) -> None:
    async def wrapped() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(Liar(answer).handle, sock=sock)
        bucket = in_bucket(f"http://127.0.0.1:{sock.getsockname()[1]}", tmp_path)
        async with server:
            await work(bucket)
            await bucket.close()

    run(wrapped, timeout_s=120)


def test_an_answer_that_breaks_off_is_no_file(tmp_path: Path) -> None:
    async def work(bucket: Bucket) -> None:
        opened = await bucket.open("ab" * 32)
        assert opened is not None and opened.length == 100_000
        with pytest.raises(StoreFailed):
            async for _ in opened:
                pass

    dated = b"last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\netag: x\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n" + dated + b"\r\n"
    with_liar(head + b"only so much", tmp_path, work)


def test_a_store_that_says_nothing_is_waited_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tripoint.media.bucket.ANSWER_S", 0.2)

    async def work(bucket: Bucket) -> None:
        with pytest.raises(StoreFailed, match="did not answer"):
            await bucket.open("ab" * 32)

    with_liar(b"", tmp_path, work)


def test_what_was_sent_is_looked_at(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes a file and has another is found out before anything is acknowledged."""

    async def work() -> None:
        bucket = in_bucket(s3, tmp_path)
        incoming = await bucket.receive(pieces(b"tea"), 10)
        with pytest.raises(StoreFailed, match="another file"):
            await bucket.place(Incoming(incoming.path, incoming.content, 4))
        await bucket.discard(incoming)
        await bucket.close()

    run(work)
