"""What front ends hold of files: values and protocols. The code is uploads.py, library.py, thumbnails.py."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from tripoint.core.attachment import Attachment
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import EventId, UserId
from tripoint.core.listings import MediaQuery, MediaUse, MediaUseQuery
from tripoint.core.mxc import Mxc
from tripoint.media.files import OpenFile


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
        self,
        user_id: UserId,
        *,
        type: str | None = None,
        filename: str | None = None,
        size: int = 0,
        lasts_ms: int = 86_400_000,
    ) -> Pending:
        """A name for a file that comes later, within `lasts_ms`. With a `size`, exactly so much has to come."""

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


class FileLinks(Protocol):
    """Addresses of files for people without a token (docs/mapping.md 12.2)."""

    def url(self, event_id: EventId, attachment: Attachment) -> str | None:
        """The address of a file in an event, for whoever is shown the event. None where there is none."""

    def text_url(self, event_id: EventId) -> str | None:
        """The address of the whole text of a message, for whoever is shown a part of it."""

    def profile_url(self, user_id: UserId, mxc: Mxc) -> str | None:
        """The address of the picture of a local user's profile. None where there is none."""

    @property
    def upload_url(self) -> str | None:
        """Where files are uploaded by HTTP POST; None where this server does not know its own address."""

    def slot_url(self, mxc: Mxc, filename: str | None) -> str:
        """Where the file for a name that was created is put by HTTP PUT."""

    async def upload_link(self, mxc: Mxc, filename: str | None) -> str:
        """The address of an uploaded file for its uploader. Raises MediaRefused(SERVER_BUSY)."""

    def is_link(self, text: str) -> bool:
        """Whether a text is exactly an address as this server gives them out."""


class PreviewService(Protocol):
    """Previews of links. Raises MediaRefused."""

    @property
    def is_on(self) -> bool: ...
    async def preview(self, user_id: UserId, url: str, *, ts_ms: int | None, language: str) -> JsonObject:
        """What is at a link, as Open Graph and Matrix name it; empty where nothing is said. `ts_ms`: of when, if that
        can still be had; `language`: of who reads it, "" where that is not known. BAD_LINK, NO_PREVIEW,
        TOO_MANY_PREVIEWS, SERVER_BUSY."""


class Received(Protocol):
    """What people paste: addresses that become files in messages."""

    async def content(self, url: str, user_id: UserId) -> JsonObject | None:
        """The content of the message that is the file which a user uploaded to this address; None for any other."""

    async def thumbnail(self, url: str, user_id: UserId) -> str | None:
        """The mxc: name of what a user uploaded to this address, to be a small picture of something else."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What an administrator sees of a file. `uploader` None: another server's; times in ms."""

    mxc: Mxc
    type: str
    filename: str | None
    size: int
    uploader: UserId | None
    created_ts_ms: int
    used_ts_ms: int
    quarantined: bool
    quarantined_by: UserId | None
    protected: bool


class UploadAccess(Protocol):
    """What lets somebody who is logged in elsewhere upload files by HTTP (docs/mapping.md 12.3)."""

    def make(self, user_id: UserId) -> str:
        """A token for this user that is good for some minutes."""


class MediaAdministration(Protocol):
    """What administrators see of files and do to them (desk.py). Raises MediaRefused(SERVER_BUSY)."""

    async def find(self, mxc: Mxc) -> StoredFile | None: ...
    async def of_user(self, query: MediaQuery) -> tuple[Sequence[StoredFile], int]:
        """A page, and how many there are on all pages."""

    async def quarantine(self, names: Iterable[Mxc], *, by: UserId) -> int:
        """Give files out to nobody any more; how many that were and are not protected."""

    async def quarantine_of_user(self, user_id: UserId, *, by: UserId) -> int:
        """The same of all that somebody has uploaded."""

    async def release(self, mxc: Mxc) -> bool:
        """Give a file out again; False where there is no such file."""

    async def protect(self, mxc: Mxc, *, on: bool) -> bool:
        """It goes along with nothing that is quarantined or deleted as a whole, or does again. False: no such file."""

    async def delete(self, mxc: Mxc) -> bool:
        """False where there is no such file."""

    async def delete_unused(
        self, *, local: bool, before_ms: int, larger_than: int = 0, pictures: bool = False
    ) -> Sequence[Mxc]:
        """Delete what nobody asked for since a time; which they were."""

    async def use(self, query: MediaUseQuery) -> tuple[Sequence[MediaUse], int]:
        """Who has uploaded how much."""


@dataclass(frozen=True, slots=True)
class Media:
    """All of it, as a front end is given it."""

    uploads: UploadService
    library: FileLibrary
    thumbnails: ThumbnailService
    links: FileLinks
    received: Received
    desk: MediaAdministration
    upload_access: UploadAccess
    previews: PreviewService


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
    """The server that the file is of says that there is none, or (`not_yet`) that it has not come yet."""

    def __init__(self, *, not_yet: bool = False) -> None:
        super().__init__("not yet" if not_yet else "not found")
        self.not_yet = not_yet
