"""Files in messages: what the content of an event says of one, and the content that says it. Pure.

spec: Matrix client-server-api instant-messaging (m.image, m.file, m.audio, m.video), stickers; docs/mapping.md 12.1.
Where `filename` is set and `body` is something else, `body` is a caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.file_facts import NO_FACTS, FileFacts, facts_in, number_in
from tripoint.core.ids import InvalidId
from tripoint.core.json_view import object_at, text_at
from tripoint.core.media_types import UNKNOWN_TYPE, bare_type, clean_filename, clean_type, readable_size
from tripoint.core.message import edit_in
from tripoint.core.mxc import Mxc, parse_mxc

_MSGTYPES: Final = frozenset({"m.image", "m.file", "m.audio", "m.video"})


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture of a file, which is a file itself."""

    mxc: Mxc
    type: str | None = None
    width: int | None = None
    height: int | None = None

    def as_file(self) -> Attachment:
        """It, as a file to link to."""
        return Attachment(self.mxc, False, "thumbnail", has_caption=False, type=self.type)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message. `mxc` None: it is encrypted, or its name is none. What is not known is None."""

    mxc: Mxc | None
    encrypted: bool
    filename: str
    has_caption: bool
    type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    facts: FileFacts = NO_FACTS
    thumbnail: Thumbnail | None = None

    @property
    def described(self) -> str:
        """``tea.png (image/png, 1.3 MiB)``: the file in words."""
        if self.encrypted:
            return "[encrypted file]"
        facts = [self.type or "", "" if self.size is None else readable_size(self.size)]
        known = ", ".join(fact for fact in facts if fact)
        return f"{self.filename} ({known})" if known else self.filename


def attachment_in(content: JsonObject) -> Attachment | None:
    """The file that a message or a sticker is; of an edit, the one of its new content. None for other messages."""
    edit = edit_in(content)
    if edit is not None:
        content = edit[1]
    encrypted = isinstance(content.get("file"), dict)
    url = text_at(content, "url")
    msgtype = text_at(content, "msgtype")
    if (url is None and not encrypted) or (msgtype is not None and msgtype not in _MSGTYPES):
        return None
    body, named = text_at(content, "body") or "", text_at(content, "filename")
    info = object_at(content, "info")
    kind = text_at(info, "mimetype")
    return Attachment(
        None if encrypted else _mxc(url or ""),
        encrypted,
        clean_filename(named or body) or "file",
        has_caption=named is not None and body not in ("", named),
        type=None if kind is None or clean_type(kind) == UNKNOWN_TYPE else bare_type(clean_type(kind)),
        size=number_in(info, "size"),
        width=number_in(info, "w"),
        height=number_in(info, "h"),
        duration_ms=number_in(info, "duration"),
        facts=facts_in(content),
        thumbnail=None if encrypted else _thumbnail(info),
    )


def attachment_content(
    mxc: Mxc,
    filename: str | None,
    kind: str,
    size: int,
    dimensions: tuple[int, int] | None = None,
    facts: FileFacts = NO_FACTS,
) -> JsonObject:
    """The content of the m.room.message that is this file. Nobody is mentioned by it."""
    kind = bare_type(kind)
    family = kind.partition("/")[0]
    msgtype = f"m.{family}" if family in ("image", "audio", "video") else "m.file"
    name = filename or "file"
    info: JsonObject = {"mimetype": kind, "size": size}
    if dimensions is not None:
        info["w"], info["h"] = dimensions
    content: JsonObject = {"msgtype": msgtype, "body": name, "filename": name, "url": str(mxc), "info": info}
    content["m.mentions"] = {}
    return content | facts.content()


def _thumbnail(info: JsonObject) -> Thumbnail | None:
    mxc, about = _mxc(text_at(info, "thumbnail_url") or ""), object_at(info, "thumbnail_info")
    if mxc is None:
        return None
    kind = text_at(about, "mimetype")
    known = None if kind is None or clean_type(kind) == UNKNOWN_TYPE else bare_type(clean_type(kind))
    return Thumbnail(mxc, known, number_in(about, "w"), number_in(about, "h"))


def _mxc(url: str) -> Mxc | None:
    try:
        return parse_mxc(url)
    except InvalidId:
        return None
