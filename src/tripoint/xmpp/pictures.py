"""Pictures of people and rooms as XMPP shows them: small ones as they are, of large ones a thumbnail.

A picture is named by the hash of its bytes, so what a client has published comes back under the name that it gave.
spec: XEP-0084 3, 4; XEP-0153 3; docs/mapping.md 8.12, 17.1, 17.2. Read next: pep/avatars.py, muc/vcard.py.
"""

import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from tripoint.core.ids import InvalidId, UserId
from tripoint.core.media_types import bare_type
from tripoint.core.mxc import Mxc, parse_mxc
from tripoint.media.files import OpenFile
from tripoint.media.ports import Media
from tripoint.media.refusals import MediaRefused
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import VCARD_NS
from tripoint.xmpp.wire import Element

# What goes into a stanza as it is: in base64 this is what a node takes of one item.
MAX_BYTES: Final = 96 * 1024
_THUMBNAIL: Final = 96
# Pictures that are in memory, by their names; people online have some hundred of them.
_REMEMBERED: Final = 200
# Names of pictures, which presence in rooms has for everybody there.
_NAMED: Final = 50_000
# How many are asked for at once beside what somebody waits for.
_LEARNING: Final = 20
# How a picture begins. What it is called by who sends it says less.
_BEGINNINGS: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, slots=True)
class Picture:
    """`id`: SHA-1 of the bytes, in hex. `side`: width and height in pixels, where they are known."""

    id: str
    type: str
    data: bytes
    side: int | None = None

    @property
    def base64(self) -> str:
        """The bytes as XML carries them."""
        return base64.b64encode(self.data).decode()

    def photo(self) -> Element:
        """The picture in a vCard. spec: XEP-0153 3.1"""
        type_ = Element("TYPE", VCARD_NS, {}, [self.type])
        return Element("PHOTO", VCARD_NS, {}, [type_, Element("BINVAL", VCARD_NS, {}, [self.base64])])


def kind_of(data: bytes) -> str | None:
    """The type of a picture by its first bytes; None for what is none that is shown here."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), None)


def picture_of(text: str) -> Picture:
    """A picture that a client sent in base64. Problem for what is none, or too large."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad-request", "The picture is not well-formed base64") from None
    if len(data) > MAX_BYTES:
        raise Problem("not-acceptable", f"A picture has at most {MAX_BYTES} bytes")
    kind = kind_of(data)
    if kind is None:
        raise Problem("not-acceptable", "Pictures are PNG, JPEG, GIF or WebP here")
    return Picture(hashlib.sha1(data).hexdigest(), kind, data)


def photo_in(card: Element) -> Picture | None:
    """The picture in a vCard; None where there is none. Problem for one that is not well-formed. spec: XEP-0153 3.1"""
    photo = card.child("PHOTO", VCARD_NS)
    text = None if photo is None else photo.child_text("BINVAL", VCARD_NS)
    return picture_of(text) if text and text.strip() else None


class Pictures:
    """Pictures by the mxc:// names of their files."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._known: OrderedDict[str, Picture] = OrderedDict()
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._learning: set[str] = set()

    def known_id(self, mxc: str | None) -> str | None:
        """The name of a picture that has been looked at."""
        return None if mxc is None else self._ids.get(mxc)

    async def of(self, mxc: str | None) -> Picture | None:
        """The picture of this name; None for none, and for what is no picture or cannot be had.

        May wait for another server, and for the thumbnail to be made.
        """
        if mxc is None:
            return None
        known = self._known.get(mxc)
        if known is None:
            try:
                known = await self._load(parse_mxc(mxc))
            except (InvalidId, MediaRefused):
                known = None
            if known is None:
                return None
            self._known[mxc] = known
            self._ids[mxc] = known.id
            if len(self._ids) > _NAMED:
                self._ids.popitem(last=False)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(mxc)
        return known

    async def learn(self, mxc: str) -> None:
        """Look at a picture that may take a while to be had, so that it is known later."""
        if mxc not in self._learning and len(self._learning) < _LEARNING:
            self._learning.add(mxc)
            try:
                await self.of(mxc)
            finally:
                self._learning.discard(mxc)

    async def keep(self, user_id: UserId, picture: Picture) -> str:
        """Keep a picture that a user sent; its mxc:// name. Raises MediaRefused."""

        async def pieces() -> AsyncIterator[bytes]:
            yield picture.data

        size = len(picture.data)
        name = f"avatar.{picture.type.partition('/')[2]}"
        uploads = self._media.uploads
        file = await uploads.upload(user_id, pieces(), declared=size, type=picture.type, filename=name)
        return str(file.mxc)

    async def _load(self, mxc: Mxc) -> Picture | None:
        file = await self._media.library.find(mxc)
        made = None
        if file.size > MAX_BYTES:
            made = await self._media.thumbnails.thumbnail(file, _THUMBNAIL, _THUMBNAIL, crop=True)
        if made is None and file.size > MAX_BYTES:
            return None
        opened, _ = made if made is not None else (await self._media.library.open(file), bare_type(file.type))
        data = await _read(opened)
        kind = kind_of(data)
        if kind is None or len(data) > MAX_BYTES:
            return None
        return Picture(hashlib.sha1(data).hexdigest(), kind, data, None if made is None else _THUMBNAIL)


async def _read(opened: OpenFile) -> bytes:
    try:
        return b"".join([piece async for piece in opened])
    finally:
        opened.close()
