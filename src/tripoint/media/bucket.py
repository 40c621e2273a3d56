"""Bytes of files in a bucket of an S3-compatible store, for servers whose disk is small or is not theirs to keep.

What comes is written to the disk first (disk.py), because the hash of all of it is its name; then it goes up, in parts
where it is larger than PART_BYTES, and what the store has already is not sent again. What is asked for comes down piece
by piece, no faster than it is read. Thumbnails stay on the disk: they can be made again.

Signatures, parts, repeats after errors that pass: obstore, which is Apache Arrow's object_store. docs/decisions/s3.md
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec import Struct

from tripoint.media.disk import Disk
from tripoint.media.files import Incoming, OpenFile

if TYPE_CHECKING:
    from obstore import BytesStream, ObjectMeta
    from obstore.store import ClientConfig, S3Store

log = structlog.get_logger("tripoint.media")

# spec: of S3: parts of a multipart upload have 5 MiB at least.
PART_BYTES: Final = 8 * 1024 * 1024
# Parts of one file on their way, each in memory.
PARTS_AT_ONCE: Final = 3
# Files that go up at a time; others wait on the disk.
UPLOADS_AT_ONCE: Final = 8
CONNECT_S: Final = 5.0
# Without a byte from the store for so long it does not answer.
SILENT_S: Final = 30.0
# For what has no body; and what a slow line may take for a file of some size.
ANSWER_S: Final = 60.0
SLOWEST_BYTES_PER_S: Final = 100_000
_CHUNK: Final = 131_072
_FOLDER: Final = "content/"


class StoreFailed(OSError):
    """The store is away, refuses, or answered what cannot be. The text is for operators: no secret is in it."""


class BucketOptions(Struct, frozen=True):
    """Where the bucket is, and as whom it is spoken to. `endpoint` "": AWS, by the region. `authorities`: PEM files of
    certificate authorities besides those that everybody trusts."""

    bucket: str
    endpoint: str
    region: str
    prefix: str
    access_key_id: str
    secret_access_key: str
    authorities: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<bucket {self.bucket} at {self.endpoint or self.region}>"


class Bucket:
    """media.files.Files. `side`: where files come in; it is started, and closed with this."""

    def __init__(self, options: BucketOptions, side: Disk) -> None:
        self._options = options
        self._side = side
        self._store: S3Store | None = None
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def check(self) -> None:
        """Whether the bucket can be read. Raises StoreFailed, which says why not."""
        await self._do("list", self._first(), ANSWER_S)

    async def close(self) -> None:
        await self._side.close()

    # -- media.files.Files

    async def receive(self, pieces: AsyncIterable[bytes], limit_bytes: int) -> Incoming:
        return await self._side.receive(pieces, limit_bytes)

    async def discard(self, incoming: Incoming) -> None:
        await self._side.discard(incoming)

    async def place(self, incoming: Incoming) -> None:
        import obstore

        key = self._key(incoming.content)
        async with self._uploads:
            if await self._size(key) != incoming.size:
                limit_s = ANSWER_S + incoming.size / SLOWEST_BYTES_PER_S
                put = obstore.put_async(
                    self._client(), key, incoming.path, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
                )
                await self._do("put", put, limit_s)
                if await self._size(key) != incoming.size:
                    raise StoreFailed(f"{self._options!r} has another file than the one that was sent")
        await self._side.discard(incoming)

    async def open(self, content: str, part: tuple[int, int] | None = None) -> OpenFile | None:
        import obstore

        key = self._key(content)
        if part is not None and part[1] == 0:
            part = None
        wanted: Any = {} if part is None else {"range": (part[0], part[0] + part[1])}
        try:
            found = await self._do("get", obstore.get_async(self._client(), key, options=wanted), ANSWER_S)
        except FileNotFoundError:
            return None
        first, end = found.range
        return _Coming(self, found.stream(min_chunk_size=_CHUNK), end - first)

    async def remove(self, content: str) -> None:
        import obstore

        self._side.forget_thumbnails(content)
        try:
            await self._do("delete", obstore.delete_async(self._client(), self._key(content)), ANSWER_S)
        except FileNotFoundError:
            pass  # stores say so, or do not

    @asynccontextmanager
    async def at_hand(self, content: str) -> AsyncIterator[Path]:
        opened = await self.open(content)
        if opened is None:
            raise FileNotFoundError(content)
        incoming = await self._side.receive(opened, opened.length)
        try:
            yield incoming.path
        finally:
            await self._side.discard(incoming)

    async def listing(self) -> AsyncIterator[tuple[str, int]]:
        import obstore

        pages = obstore.list(self._client(), prefix=self._options.prefix + _FOLDER, chunk_size=1000).__aiter__()
        while True:
            try:
                page = await self._do("list", pages.__anext__(), ANSWER_S)
            except StopAsyncIteration:
                return
            for one in page:
                yield one["path"].rpartition("/")[2], one["size"]

    # -- the store

    def _key(self, content: str) -> str:
        return f"{self._options.prefix}{_FOLDER}{content[:2]}/{content}"

    async def _size(self, key: str) -> int | None:
        """How large what lies there is; None: nothing does."""
        import obstore

        try:
            found: ObjectMeta = await self._do("head", obstore.head_async(self._client(), key), ANSWER_S)
            return found["size"]
        except FileNotFoundError:
            return None

    async def _first(self) -> None:
        async for _ in self.listing():
            return

    async def _do(self, what: str, asked: Any, limit_s: float) -> Any:
        """What the store answers. FileNotFoundError, StoreFailed."""
        from obstore.exceptions import BaseError, NotFoundError

        try:
            async with asyncio.timeout(limit_s):
                return await asked
        except (NotFoundError, FileNotFoundError) as error:
            # A bucket that is not there is no reason to believe that a file is gone.
            if what in ("put", "list") or "NoSuchBucket" in str(error):
                raise StoreFailed(f"{self._options!r} is not there ({what})") from error
            raise FileNotFoundError(what) from error
        except TimeoutError as error:
            raise StoreFailed(f"{self._options!r} did not answer in {limit_s:.0f} s ({what})") from error
        except (BaseError, OSError) as error:
            if isinstance(error, StoreFailed):
                raise
            raise StoreFailed(f"{self._options!r}: {what}: {_reason(error)}") from error

    def _client(self) -> "S3Store":
        """Made at the first use: a server without a bucket never loads it."""
        if self._store is None:
            from obstore.store import S3Store

            options = self._options
            where: dict[str, Any] = {"endpoint": options.endpoint} if options.endpoint else {}
            trusted = b"\n".join(Path(path).read_bytes() for path in options.authorities)
            client: ClientConfig = {
                "allow_http": options.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "read_timeout": timedelta(seconds=SILENT_S),
                # A client that reads slowly makes an answer long; what is silent is noticed by itself.
                "timeout": timedelta(hours=24),
            }
            if trusted:
                client["root_certificate"] = trusted
            self._store = S3Store(
                options.bucket,
                region=options.region,
                access_key_id=options.access_key_id,
                secret_access_key=options.secret_access_key,
                checksum_algorithm="SHA256",
                virtual_hosted_style_request=False,
                client_options=client,
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=SILENT_S)},
                **where,
            )
        return self._store

    async def next_piece(self, pieces: "BytesStream") -> bytes:
        """What of a file comes next. StopAsyncIteration, StoreFailed."""
        return bytes(await self._do("read", pieces.__anext__(), SILENT_S + ANSWER_S))


class _Coming:
    """A file on its way from the store."""

    def __init__(self, bucket: Bucket, pieces: "BytesStream", length: int) -> None:
        self.length = length
        self._bucket = bucket
        self._pieces: BytesStream | None = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.length
        while left > 0 and self._pieces is not None:
            try:
                data = await self._bucket.next_piece(self._pieces)
            except StopAsyncIteration:
                raise StoreFailed("the store sent less than it had said") from None
            left -= len(data)
            yield data

    def close(self) -> None:
        self._pieces = None


def _reason(error: BaseException) -> str:
    """The first line of what the library says: the rest is for those who write it."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
