"""Capability URLs: how a file in a message is reached by whoever was shown the message, without a token.

A link belongs to one file in one event, and leads somewhere as long as that event does: it is not redacted, somebody
of this server is in its room, the file is not quarantined; or to the picture of a profile, as long as it is that. A
message that is too long for IRC has a link to its text, on the same terms. Whoever uploads a file by XMPP or IRC gets a
link of his own, which goes with the first message with the file that is redacted.
spec: docs/mapping.md 10.8, 12.2-12.4, 17.1, 27.7. Read next: web.py.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import structlog

from tripoint.core.attachment import Attachment, attachment_in
from tripoint.core.canonical_json import JsonObject, decode_lenient
from tripoint.core.errors import PeerError
from tripoint.core.ids import EventId, ServerName, UserId
from tripoint.core.media_types import clean_filename
from tripoint.core.message import edit_in, view_message
from tripoint.core.mxc import Mxc, make_mxc
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.store.interface import MediaStore, StoredEvent, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import FLAG_REDACTED, PutMediaLink

log = structlog.get_logger("tripoint.media")

PATH: Final = "/m/"
UPLOAD_PATH: Final = "/upload"
_LINK: Final = re.compile(r"[A-Za-z0-9_-]{22}\Z")
# A name in an address longer than this is left out: a line of IRC has to hold the address.
_MAX_NAME: Final = 100
# Links whose rows are known to be there; more are asked of the store again.
_REMEMBERED: Final = 20_000
# How many messages with a file are looked at for one that is redacted.
_MAX_SUBJECTS: Final = 1000


# The name under which a text is found.
_TEXT_NAME: Final = "message.txt"


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """What a link leads to: a file, and what it is called."""

    mxc: Mxc
    filename: str


@dataclass(frozen=True, slots=True)
class LinkedText:
    """What a link leads to: the text of a message."""

    text: str


class Links:
    """media.ports.FileLinks. `origin` ("https://files.example.org") is set when it is known; "" gives no links out.

    `secret`: 32 bytes of this server's own; a link is 128 bits of it, the file's name and the event's, so that it is
    the same whenever the event is shown, and no one else can make it.
    """

    def __init__(self, server: ServerName, store: MediaStore, stream: Stream, secret: bytes, origin: str) -> None:
        self.origin = origin
        self._server = server
        self._store = store
        self._stream = stream
        self._key = hmac.digest(secret, b"media links", "sha256")
        # What was given out lately: a client may ask before the row is on disk.
        self._lately: dict[str, PutMediaLink] = {}

    # -- giving out

    def url(self, event_id: EventId, attachment: Attachment) -> str | None:
        """The link to a file in an event; None where there is none."""
        if not self.origin or attachment.mxc is None:
            return None
        mxc, name = attachment.mxc, attachment.filename
        link = self._link(mxc, event_id)
        return self._given(PutMediaLink(link, mxc.server, mxc.media_id, event_id, name))

    def text_url(self, event_id: EventId) -> str | None:
        """The link to the text of a message; None where there is none."""
        if not self.origin:
            return None
        # A file has an id; a text has none.
        return self._given(PutMediaLink(self._code(f"text {event_id}"), self._server, "", event_id, _TEXT_NAME))

    def profile_url(self, user_id: UserId, mxc: Mxc) -> str | None:
        """The link to the picture of a local user's profile, as long as it is that; None where there is none."""
        if not self.origin:
            return None
        return self._given(PutMediaLink(self._link(mxc, user_id), mxc.server, mxc.media_id, user_id, "avatar"))

    @property
    def upload_url(self) -> str | None:
        """Where files are uploaded by HTTP POST."""
        return f"{self.origin}{UPLOAD_PATH}" if self.origin else None

    async def upload_link(self, mxc: Mxc, filename: str | None) -> str:
        link = self._link(mxc, "")
        try:
            await self._stream.commit([PutMediaLink(link, mxc.server, mxc.media_id, "", filename or "file")])
        except StoreError as error:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from error
        return self._address(link, filename or "file")

    def slot_url(self, mxc: Mxc, filename: str | None) -> str:
        """Where the file for a name of this server is put by HTTP PUT."""
        name = _name_in_url(filename or "file")
        return f"{self.origin}{UPLOAD_PATH}/{mxc.media_id}/{self._slot(mxc)}/{name}"

    def is_slot(self, mxc: Mxc, key: str) -> bool:
        return hmac.compare_digest(self._slot(mxc).encode(), key.encode("utf-8", "replace"))

    def _given(self, row: PutMediaLink) -> str:
        if row.link not in self._lately:
            while len(self._lately) >= _REMEMBERED:
                del self._lately[next(iter(self._lately))]
            self._lately[row.link] = row
            self._stream.submit([row], self._noted(row.link))
        return self._address(row.link, row.filename)

    def _noted(self, link: str) -> Callable[[StoreError | None], None]:
        def done(error: StoreError | None) -> None:
            if error is not None:
                # It leads nowhere until the event is shown again; then it is written again.
                self._lately.pop(link, None)
                log.warning("media.link_not_stored", error=str(error))

        return done

    def _link(self, mxc: Mxc, subject: str) -> str:
        return self._code(f"{mxc} {subject}")

    def _slot(self, mxc: Mxc) -> str:
        return self._code(f"put {mxc}")

    def _code(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
        return urlsafe_b64encode(digest[:16]).decode().rstrip("=")

    def _address(self, link: str, filename: str) -> str:
        return f"{self.origin}{PATH}{link}/{_name_in_url(filename)}"

    # -- taking back

    def is_link(self, text: str) -> bool:
        """Whether a text is exactly an address that this server gives out. Cheap: asked of every message."""
        return bool(self.origin) and text.startswith(f"{self.origin}{PATH}") and self._id_in(text) is not None

    def _id_in(self, url: str) -> str | None:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        link, slash, name = parts.path.removeprefix(urlsplit(self.origin).path).removeprefix(PATH).partition("/")
        plain = slash and name and "/" not in name and not parts.query and not parts.fragment
        return link if plain and " " not in url and _LINK.match(link) else None

    async def upload_of(self, url: str, user_id: UserId) -> Mxc | None:
        """The file that a user uploaded and got this address for; None for any other address."""
        link = self._id_in(url) if self.is_link(url) else None
        row = None if link is None else await self._store.load_media_link(link)
        if row is None or row.server is None or row.subject:
            return None
        media = await self._store.load_media(row.server, row.media_id)
        return make_mxc(row.server, row.media_id) if media is not None and media.uploader == user_id else None

    async def target(self, link: str) -> LinkedFile | LinkedText | None:
        """What a link leads to now; None where it leads nowhere any more."""
        row = self._lately.get(link)
        if row is None and _LINK.match(link):
            row = await self._store.load_media_link(link)
        if row is None or row.server is None:
            return None
        if not row.media_id:
            content = await self._shown(EventId(row.subject))
            view = None if content is None else view_message(content)
            return None if view is None else LinkedText(view.body)
        mxc = make_mxc(row.server, row.media_id)
        return LinkedFile(mxc, row.filename) if await self._holds(row.subject, mxc) else None

    async def _holds(self, subject: str, mxc: Mxc) -> bool:
        """Whether what a link was given out for is still so: an event, a user's profile, or an upload ("")."""
        if not subject:
            return await self._upload_holds(mxc)
        if subject.startswith("@"):
            return (await self._store.load_profile(UserId(subject))).get("avatar_url") == str(mxc)
        content = await self._shown(EventId(subject))
        attachment = None if content is None else attachment_in(content)
        thumbnail = None if attachment is None else attachment.thumbnail
        return attachment is not None and mxc in (attachment.mxc, None if thumbnail is None else thumbnail.mxc)

    async def _shown(self, event_id: EventId) -> JsonObject | None:
        """The content of an event (of an edit, the new one), as long as it is there for somebody of this server."""
        event = await self._store.load_event(event_id)
        if event is None or event.position is None or event.flags & FLAG_REDACTED:
            return None
        if not await self._store.has_local_member(event.room_key):
            return None
        content = _content(event)
        edit = edit_in(content)
        if edit is None:
            return content
        return None if await self._is_redacted(EventId(edit[0])) else edit[1]

    async def _upload_holds(self, mxc: Mxc) -> bool:
        """Whether no message with an uploaded file was redacted."""
        for row in (await self._store.load_media_links(mxc.server, mxc.media_id))[:_MAX_SUBJECTS]:
            if row.subject.startswith("$") and await self._is_redacted(EventId(row.subject)):
                return False
        return True

    async def _is_redacted(self, event_id: EventId) -> bool:
        event = await self._store.load_event(event_id)
        return event is not None and bool(event.flags & FLAG_REDACTED)


def _content(event: StoredEvent) -> JsonObject:
    try:
        value = decode_lenient(event.json)
    except PeerError:
        return {}
    content = value.get("content") if isinstance(value, dict) else None
    return content if isinstance(content, dict) else {}


def _name_in_url(filename: str) -> str:
    """The last part of an address: the name of the file, or its ending where it is long."""
    name = quote(clean_filename(filename) or "file", safe="")
    if len(name) <= _MAX_NAME:
        return name
    _, dot, ending = filename.rpartition(".")
    return f"file.{ending}" if dot and ending.isascii() and ending.isalnum() and len(ending) <= 10 else "file"
