"""Media, wired: disk, names, thumbnails; and the sweep that forgets what has had its time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from tripoint.config.load import server_name
from tripoint.config.options import Config
from tripoint.core.addresses import is_loopback
from tripoint.media.bucket import Bucket, BucketOptions
from tripoint.media.desk import MediaDesk
from tripoint.media.disk import Disk
from tripoint.media.files import Files
from tripoint.media.library import CacheLimits, Library
from tripoint.media.links import Links
from tripoint.media.ports import Media
from tripoint.media.previews import Previews
from tripoint.media.received import ReceivedLinks
from tripoint.media.refusals import MediaRefusal
from tripoint.media.shelf import Shelf
from tripoint.media.side_process import SideProcess
from tripoint.media.sites import OpenUrl, Sites
from tripoint.media.thumbnails import Thumbnails, image_worker
from tripoint.media.upload_tokens import UploadTokens
from tripoint.media.uploads import UploadLimits, Uploads
from tripoint.media.web import MediaPages
from tripoint.net.http import Request
from tripoint.runtime.middle import Middle

log = structlog.get_logger("tripoint.media")

# Files of other servers that are asked for go on being sent while the older are thrown out: an hour is often enough.
SWEEP_S = 3600.0
# What reading one page may take, which is some hundredths of a second unless somebody means harm.
PAGE_S = 5.0


@dataclass(frozen=True, slots=True)
class MediaParts:
    """What the app starts and stops of it. `ports` is what front ends are given."""

    disk: Disk
    files: Files
    shelf: Shelf
    uploads: Uploads
    library: Library
    thumbnails: Thumbnails
    links: Links
    pages: MediaPages
    previews: Previews
    sites: SideProcess
    ports: Media

    async def check(self) -> None:
        """Tell the operator where files cannot be reached; everything else goes on."""
        if isinstance(self.files, Bucket):
            try:
                await self.files.check()
            except OSError as error:
                log.error("media.bucket_not_reached", error=str(error))

    def connect(self, config: Config, open_url: OpenUrl) -> None:
        """Where links are fetched from: previews can be made from now on, if the configuration says so."""
        self.previews.sites = Sites(self.disk, self.sites, open_url) if config.media.url_previews else None

    async def close(self) -> None:
        """Give up what is being fetched and made. The listeners take nothing any more."""
        await self.previews.close()
        await self.sites.close()
        await self.library.close()
        await self.thumbnails.close()
        await self.files.close()

    def reload(self, config: Config) -> None:
        """Take up changed limits; the largest upload is built into the HTTP front."""
        self.uploads.limits = UploadLimits(self.uploads.limits.file_bytes, config.media.account_bytes)
        self.library.limits = _cache_limits(config)
        self.previews.blocked = config.media.preview_blocked


def build_media(
    config: Config, middle: Middle, folder: Path, *, secret: bytes, now_ms: Callable[[], int]
) -> MediaParts:
    """Wire it on a folder of its own. Raises OSError where the folder cannot be used.

    `secret`: 32 bytes of this server's own, the same at every start.
    """
    server = server_name(config)
    disk = Disk(folder)
    disk.start()
    files = files_of(config, disk)
    shelf = Shelf(middle.store, middle.stream, files)
    uploads = Uploads(server, middle.store, shelf, files, _upload_limits(config), middle.accounts.is_guest, now_ms)
    library = Library(server, middle.store, shelf, files, _cache_limits(config), now_ms)
    uploads.arrived = library.arrived
    thumbnails = Thumbnails(files, disk, image_worker())
    links = Links(server, middle.store, middle.stream, secret, origin(config))
    plaintext = config.listen.plaintext_passwords

    def password_allowed(request: Request) -> bool:
        return request.secure or (plaintext and is_loopback(request.address))

    tokens = UploadTokens(secret, now_ms)
    pages = MediaPages(server, links, library, uploads, tokens, middle.accounts, password_allowed)
    received = ReceivedLinks(links, library, thumbnails)
    desk = MediaDesk(server, middle.store, shelf, library)
    previews = Previews(
        server,
        middle.store,
        middle.stream,
        shelf,
        thumbnails.measure,
        config.media.preview_blocked,
        now_ms,
    )
    sites = SideProcess("tripoint.media.page_worker", PAGE_S, MediaRefusal.NO_PREVIEW)
    ports = Media(uploads, library, thumbnails, links, received, desk, tokens, previews)
    return MediaParts(disk, files, shelf, uploads, library, thumbnails, links, pages, previews, sites, ports)


def files_of(config: Config, disk: Disk) -> Files:
    """Where bytes lie by the configuration."""
    s3 = config.media_s3
    if not s3.bucket:
        return disk
    options = BucketOptions(
        s3.bucket,
        s3.endpoint,
        s3.region,
        s3.prefix,
        s3.access_key_id,
        s3.secret_access_key,
        config.tls.extra_authorities,
    )
    return Bucket(options, disk)


def origin(config: Config) -> str:
    """Where links to files begin, "" where nobody has said it."""
    return (config.media.public_url or config.server.public_url).rstrip("/")


def _upload_limits(config: Config) -> UploadLimits:
    return UploadLimits(config.media.upload_bytes, config.media.account_bytes)


def _cache_limits(config: Config) -> CacheLimits:
    media = config.media
    return CacheLimits(
        media.remote_file_bytes, media.cache_bytes, media.local_life_s * 1000, media.remote_life_s * 1000
    )
