"""Bytes and names of files stay in step, whoever comes in between. See media/shelf.py."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.middle import run
from tests.support.slow_store import SlowStore
from tripoint.core.ids import ServerName, UserId
from tripoint.media.disk import Disk
from tripoint.media.files import FileTooLarge, Incoming
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.media.shelf import Shelf
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutMedia

HERE, ALICE = ServerName("example.org"), UserId("@alice:example.org")


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


def row(media_id: str, incoming: Incoming) -> PutMedia:
    return PutMedia(HERE, media_id, incoming.content, "text/plain", None, incoming.size, ALICE, 0, 0)


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def opened(folder: Path, store: MemoryStore) -> tuple[Disk, Shelf]:
    disk = Disk(folder)
    disk.start()
    return disk, Shelf(store, Stream(store, 0), disk)


def test_bytes_go_with_their_last_name(tmp_path: Path) -> None:
    async def work() -> None:
        store = MemoryStore()
        disk, shelf = opened(tmp_path, store)
        one, two = await disk.receive(pieces(b"sa", b"me"), 10), await disk.receive(pieces(b"same"), 10)
        await shelf.keep(one, row("a", one))
        await shelf.keep(two, row("b", two))
        path = disk.path(one.content)
        await shelf.drop(row("a", one))
        assert path.read_bytes() == b"same"
        await shelf.drop(row("b", two))
        assert not path.exists()
        assert list((tmp_path / "coming").iterdir()) == []
        await disk.close()

    run(work)


def test_a_name_that_cannot_be_stored_leaves_no_bytes(tmp_path: Path) -> None:
    async def work() -> None:
        store = MemoryStore()
        disk, shelf = opened(tmp_path, store)
        incoming = await disk.receive(pieces(b"x"), 10)
        store.fail_next(StoreError("disk full"))
        with pytest.raises(MediaRefused) as refused:
            await shelf.keep(incoming, row("a", incoming))
        assert refused.value.refusal is MediaRefusal.SERVER_BUSY
        assert not disk.path(incoming.content).exists()
        await disk.close()

    run(work)


@pytest.mark.parametrize("turns", range(12))
def test_the_same_bytes_come_while_they_are_taken_away(tmp_path: Path, turns: int) -> None:
    """However far the taking away has come: a name that is there has its bytes."""

    async def work() -> None:
        store = SlowStore()
        store.before = store.after = 3
        disk, shelf = opened(tmp_path, store)
        first, again = await disk.receive(pieces(b"same"), 10), await disk.receive(pieces(b"same"), 10)
        await shelf.keep(first, row("a", first))
        dropping = asyncio.create_task(shelf.drop(row("a", first)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await shelf.keep(again, row("b", again))
        await dropping
        assert disk.path(first.content).read_bytes() == b"same"
        await shelf.drop(row("b", again))
        assert not disk.path(first.content).exists()
        await disk.close()

    run(work)


class SlowToRemove(Disk):
    """Taking away takes a while, as in a store far away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.removing, self.go_on = asyncio.Event(), asyncio.Event()
        self.fails = False

    async def remove(self, content: str) -> None:
        self.removing.set()
        await self.go_on.wait()
        if self.fails:
            raise OSError("the store is away")
        await super().remove(content)


def test_who_brings_the_same_bytes_waits_until_they_are_gone(tmp_path: Path) -> None:
    async def work() -> None:
        store = MemoryStore()
        disk = SlowToRemove(tmp_path)
        disk.start()
        shelf = Shelf(store, Stream(store, 0), disk)
        first, again = await disk.receive(pieces(b"same"), 10), await disk.receive(pieces(b"same"), 10)
        await shelf.keep(first, row("a", first))
        dropping = asyncio.create_task(shelf.drop(row("a", first)))
        await disk.removing.wait()
        keeping = asyncio.create_task(shelf.keep(again, row("b", again)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert again.path.exists() and not keeping.done()
        disk.go_on.set()
        await asyncio.gather(dropping, keeping)
        assert disk.path(first.content).read_bytes() == b"same"
        # What cannot be taken away stays, and the name is gone all the same.
        disk.fails = True
        await shelf.drop(row("b", again))
        assert disk.path(first.content).exists() and await store.load_media(HERE, "b") is None
        await disk.close()

    run(work)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        disk, _ = opened(tmp_path, MemoryStore())

        async def broken() -> AsyncIterator[bytes]:
            yield b"half"
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            await disk.receive(broken(), 10)
        with pytest.raises(FileTooLarge):
            await disk.receive(pieces(b"x" * 11), 10)
        await disk.close()

    run(work)
    assert files(tmp_path) == []


def test_a_start_throws_away_what_was_half_there(tmp_path: Path) -> None:
    async def work() -> None:
        disk, shelf = opened(tmp_path, MemoryStore())
        whole = await disk.receive(pieces(b"whole"), 10)
        await shelf.keep(whole, row("a", whole))
        (tmp_path / "coming" / "half").write_bytes(b"ha")
        await disk.close()
        again = Disk(tmp_path)
        again.start()
        await again.close()

    run(work)
    assert files(tmp_path) == [b"whole"]


def test_an_open_file_can_be_read_to_its_end_when_its_name_is_gone(tmp_path: Path) -> None:
    async def work() -> None:
        disk, shelf = opened(tmp_path, MemoryStore())
        data = bytes(1000) * 500
        incoming = await disk.receive(pieces(data), len(data))
        await shelf.keep(incoming, row("a", incoming))
        file = await disk.open(incoming.content)
        assert file is not None and file.length == len(data)
        read = bytearray()
        async for piece in file:
            read += piece
            if len(read) == len(piece):
                await shelf.drop(replace(row("a", incoming)))
        file.close()
        file.close()
        assert read == data
        assert await disk.open(incoming.content) is None
        await disk.close()

    run(work)
