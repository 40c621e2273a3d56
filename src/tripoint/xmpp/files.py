"""Files in messages, as XMPP has them: an address, and what is known of what lies there. Pure.

The body is the address and nothing else: that is how most clients know a file. Beside it stands the same for those
who read more. spec: XEP-0066 4, XEP-0447 3.1, 4.2, XEP-0446 2, XEP-0300 3, XEP-0103; docs/mapping.md 12.1, 12.6.
"""

from collections.abc import Callable, Iterable

from tripoint.core.attachment import Attachment
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.file_facts import MAX_TEXT, NO_FACTS, FileFacts, Preview, clean_hashes, clean_previews
from tripoint.core.media_types import INLINE_TYPES
from tripoint.xmpp.dates import parse_date
from tripoint.xmpp.render import body, timestamp
from tripoint.xmpp.tables import (
    CLIENT_NS,
    ENCRYPTED_FILES_NS,
    FALLBACK_NS,
    FILE_METADATA_NS,
    HASHES_NS,
    OOB_NS,
    SFS_NS,
    THUMBS_NS,
    URL_DATA_NS,
)
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

UrlOf = Callable[[Attachment], str | None]


def file_inside(attachment: Attachment, url: str | None, caption: str = "", thumbnail: str | None = None) -> str:
    """What stands inside a message that is a file; with `caption` in the body before the address.

    `thumbnail` is the address of a small picture of it.
    """
    before = f"{caption}\n" if caption else ""
    if url is None:
        return body(before + attachment.described, unstyled=True)
    address = escape_text(url)
    # spec: XEP-0428 3: which part of the body is for clients that know no better
    part = f" start='{len(before)}' end='{len(before) + len(url)}'" if before else ""
    return (
        body(before + url, unstyled=True)
        + f"<x xmlns='{OOB_NS}'><url>{address}</url></x>"
        + _sharing(attachment, url, thumbnail)
        + f"<fallback xmlns='{FALLBACK_NS}' for='{SFS_NS}'><body{part}/></fallback>"
    )


def _sharing(attachment: Attachment, url: str, thumbnail: str | None) -> str:
    facts = f"<name>{escape_text(attachment.filename)}</name>"
    if attachment.type is not None:
        facts = f"<media-type>{escape_text(attachment.type)}</media-type>" + facts
    for name, value in (
        ("size", attachment.size),
        ("width", attachment.width),
        ("height", attachment.height),
        ("length", attachment.duration_ms),
    ):
        if value is not None:
            facts += f"<{name}>{value}</{name}>"
    facts += _known_of(attachment.facts)
    if thumbnail is not None and attachment.thumbnail is not None:
        small = attachment.thumbnail
        facts += _thumbnail(Preview(thumbnail, small.type, small.width, small.height))
    disposition = "inline" if attachment.type in INLINE_TYPES else "attachment"
    return (
        f"<file-sharing xmlns='{SFS_NS}' disposition='{disposition}'>"
        f"<file xmlns='{FILE_METADATA_NS}'>{facts}</file>"
        f"<sources><url-data xmlns='{URL_DATA_NS}' target='{escape_attribute(url)}'/></sources></file-sharing>"
    )


def _known_of(facts: FileFacts) -> str:
    """spec: XEP-0446 2"""
    xml = "".join([f"<hash xmlns='{HASHES_NS}' algo='{name}'>{digest}</hash>" for name, digest in facts.hashes])
    if facts.description is not None:
        xml += f"<desc>{escape_text(facts.description)}</desc>"
    if facts.made is not None and (made := parse_date(facts.made)) is not None:
        xml += f"<date>{timestamp(made)}</date>"
    return xml + "".join([_thumbnail(one) for one in facts.previews])


def _thumbnail(preview: Preview) -> str:
    attributes = "".join(
        [
            f" {name}='{escape_attribute(str(value))}'"
            for name, value in (
                ("uri", preview.uri),
                ("media-type", preview.type),
                ("width", preview.width),
                ("height", preview.height),
            )
            if value is not None
        ]
    )
    return f"<thumbnail xmlns='{THUMBS_NS}'{attributes}/>"


def shared_in(stanza: Element) -> list[tuple[str, Element]]:
    """Every file that a message shares with its address; those whose address comes later are not among them.

    spec: XEP-0447 3.1, 4.2
    """
    found: list[tuple[str, Element]] = []
    for sharing in stanza.elements():
        if (sharing.name, sharing.namespace) == ("file-sharing", SFS_NS):
            found += [(address, sharing) for address in _sources(sharing)[:1]]
    return found


def has_encrypted(stanza: Element) -> bool:
    """Whether a message shares a file that is encrypted: what its address gives is of no use to others.

    spec: XEP-0448 3
    """
    for sharing in stanza.elements():
        sources = sharing.child("sources", SFS_NS) if sharing.name == "file-sharing" else None
        if sources is not None and any(source.namespace == ENCRYPTED_FILES_NS for source in sources.elements()):
            return True
    return False


def _sources(sharing: Element) -> list[str]:
    sources = sharing.child("sources", SFS_NS)
    return [
        (source.get("target") or "").strip()
        for source in (() if sources is None else sources.elements())
        if (source.name, source.namespace) == ("url-data", URL_DATA_NS)
    ]


def facts_of(sharing: Element) -> tuple[FileFacts, JsonObject, list[Preview]]:
    """What a client says of a file: what this server does not know, sizes as Matrix has them, and small pictures."""
    file = sharing.child("file", FILE_METADATA_NS)
    if file is None:
        return NO_FACTS, {}, []
    hashes = [
        (child.get("algo") or "", child.text.strip())
        for child in file.elements()
        if (child.name, child.namespace) == ("hash", HASHES_NS)
    ]
    info: JsonObject = {}
    for name, key in (("width", "w"), ("height", "h"), ("length", "duration")):
        text = (file.child_text(name, FILE_METADATA_NS) or "").strip()
        if text.isascii() and text.isdigit() and len(text) < 12:
            info[key] = int(text)
    previews: list[Json] = [
        {"uri": child.get("uri") or "", "type": child.get("media-type") or "", **_size(child)}
        for child in file.elements()
        if (child.name, child.namespace) == ("thumbnail", THUMBS_NS)
    ]
    facts = FileFacts(
        clean_hashes(hashes),
        (file.child_text("desc", FILE_METADATA_NS) or "").strip()[:MAX_TEXT] or None,
        _made(file),
    )
    return facts, info, list(clean_previews(previews))


def _made(file: Element) -> str | None:
    text = (file.child_text("date", FILE_METADATA_NS) or "").strip()
    return text if len(text) < 64 and parse_date(text) is not None else None


def _size(thumbnail: Element) -> JsonObject:
    found: JsonObject = {}
    for name, key in (("width", "w"), ("height", "h")):
        text = thumbnail.get(name) or ""
        if text.isascii() and text.isdigit() and len(text) < 10:
            found[key] = int(text)
    return found


def addresses_in(stanza: Element) -> list[str]:
    """Addresses that a message may be: all of its body, or what stands beside it."""
    found = [(stanza.child_text("body", CLIENT_NS) or "").strip()]
    x = stanza.child("x", OOB_NS)
    if x is not None:
        found.append((x.child_text("url", OOB_NS) or "").strip())
    for sharing in stanza.elements():
        if (sharing.name, sharing.namespace) == ("file-sharing", SFS_NS):
            found += _sources(sharing)
    return found


def caption_beside(stanza: Element, addresses: Iterable[str]) -> str:
    """What a message says besides these addresses."""
    text = stanza.child_text("body", CLIENT_NS) or ""
    for address in addresses:
        text = text.replace(address, "")
    return text.strip()
