"""All bytes of files at once: from one place to another, and held against the names that stand for them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from tripoint.media.files import Files
from tripoint.store.interface import MediaStore

_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Moved:
    """How many files, and how many bytes of them were carried."""

    files: int
    bytes: int


async def move(source: Files, target: Files, *, keep: bool, told: Callable[[Moved], None]) -> Moved:
    """Carry over what is in `source`; what `target` has is not carried again. Each is whole there before it goes here,
    and with `keep` it stays. `told` hears of each. Raises OSError: what was carried until then is."""
    moved = Moved(0, 0)
    async for content, size in source.listing():
        opened = await source.open(content)
        if opened is None:
            continue  # it was taken away meanwhile
        try:
            incoming = await target.receive(opened, size)
        finally:
            opened.close()
        if incoming.content != content:
            await target.discard(incoming)
            raise OSError(f"The bytes of {content} are not what their name says; take the file away and begin again")
        await target.place(incoming)
        if not keep:
            await source.remove(content)
        moved = Moved(moved.files + 1, moved.bytes + size)
        told(moved)
    return moved


@dataclass(frozen=True, slots=True)
class Difference:
    """`nameless`: (hash, size) of bytes for which no name stands. `missing`: hashes that names stand for."""

    nameless: tuple[tuple[str, int], ...]
    missing: tuple[str, ...]


async def difference(files: Files, store: MediaStore) -> Difference:
    """What does not fit together. While a server runs, what comes in at the moment seems nameless.

    Raises OSError, StoreError.
    """
    there = {content: size async for content, size in files.listing()}
    nameless = dict(there)
    missing = []
    async for content in _contents(store):
        if content in there:
            nameless.pop(content, None)
        else:
            missing.append(content)
    return Difference(tuple(sorted(nameless.items())), tuple(missing))


async def _contents(store: MediaStore) -> AsyncIterator[str]:
    after = ""
    while page := await store.load_contents(after, _AT_ONCE):
        for content in page:
            yield content
        after = page[-1]
