"""What front ends hold of files: values and protocols. The code is uploads.py, library.py, thumbnails.py."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from tripoint.core.ids import UserId
from tripoint.core.mxc import Mxc
from tripoint.media.disk import OpenFile


@dataclass(frozen=True, slots=True)
class File:
    """A file that is here. `content`: SHA-256 of its bytes, in hex; `type`: as core.media_types.clean_type gives it."""

    mxc: Mxc
    content: str
    type: str
    filename: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A name for a file that has not come. `size` and `type` are what was announced; a size of 0: nothing was."""

    mxc: Mxc
    expires_ts_ms: int
    type: str
    filename: str | None
    size: int


class UploadService(Protocol):
    """Files coming in. Raises MediaRefused; what it returned is on disk."""

    @property
    def limit_bytes(self) -> int: ...
    async def upload(
        self,
        user_id: UserId,
        pieces: AsyncIterable[bytes],
        *,
        declared: int | None = None,
        type: str | None = None,
        filename: str | None = None,
    ) -> File:
        """Keep a file. `declared`: how long it is, if that is known before it comes."""

    async def create(
        self, user_id: UserId, *, type: str | None = None, filename: str | None = None, size: int = 0
    ) -> Pending:
        """A name for a file that comes later. With a `size`, exactly so much has to come."""

    async def upload_to(
        self,
        user_id: UserId,
        mxc: Mxc,
        pieces: AsyncIterable[bytes],
        *,
        declared: int | None = None,
        type: str | None = None,
        filename: str | None = None,
    ) -> File:
        """The file for a name that create() gave to this user. What is not said here is as it was announced."""


class FileLibrary(Protocol):
    """Files that are here, or can be had. Raises MediaRefused."""

    async def find(self, mxc: Mxc, *, wait_ms: int = 0, fetch: bool = True) -> File:
        """A file by its name. Waits for up to `wait_ms` for one that is announced. With `fetch`, another server's is
        fetched and kept."""

    async def open(self, file: File, part: tuple[int, int] | None = None) -> OpenFile: ...


class ThumbnailService(Protocol):
    """Small pictures of large ones. Raises MediaRefused."""

    async def thumbnail(self, file: File, width: int, height: int, *, crop: bool) -> tuple[OpenFile, str] | None:
        """A picture at least so large, or cut to that shape, and its type; None where the file itself is the best."""


@dataclass(frozen=True, slots=True)
class Media:
    """All of it, as a front end is given it."""

    uploads: UploadService
    library: FileLibrary
    thumbnails: ThumbnailService


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as another server gives it."""

    pieces: AsyncIterator[bytes]
    type: str
    filename: str | None


class RemoteMedia(Protocol):
    """Other servers' files (matrix/federation/media.py)."""

    def fetch(self, mxc: Mxc) -> AbstractAsyncContextManager[RemoteFile]:
        """Ask the server of a file for it. Raises RemoteFailed, and NoSuchFile where the server says that there is
        none; while the pieces are read too."""


class NoSuchFile(Exception):
    """The server that the file is of says that there is none."""
