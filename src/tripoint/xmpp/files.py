"""Files in messages, as XMPP has them: an address, and what is known of what lies there. Pure.

The body is the address and nothing else: that is how most clients know a file. Beside it stands the same for those
who read more. spec: XEP-0066 4, XEP-0447 3.1, XEP-0446 2, XEP-0103; docs/mapping.md 12.1, 12.6.
"""

from collections.abc import Callable

from tripoint.core.attachment import Attachment
from tripoint.core.media_types import INLINE_TYPES
from tripoint.xmpp.render import body
from tripoint.xmpp.tables import CLIENT_NS, FALLBACK_NS, FILE_METADATA_NS, OOB_NS, SFS_NS, URL_DATA_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

UrlOf = Callable[[Attachment], str | None]


def file_inside(attachment: Attachment, url: str | None, caption: str = "") -> str:
    """What stands inside a message that is a file; with `caption` in the body before the address."""
    before = f"{caption}\n" if caption else ""
    if url is None:
        return body(before + attachment.described, unstyled=True)
    address = escape_text(url)
    # spec: XEP-0428 3: which part of the body is for clients that know no better
    part = f" start='{len(before)}' end='{len(before) + len(url)}'" if before else ""
    return (
        body(before + url, unstyled=True)
        + f"<x xmlns='{OOB_NS}'><url>{address}</url></x>"
        + _sharing(attachment, url)
        + f"<fallback xmlns='{FALLBACK_NS}' for='{SFS_NS}'><body{part}/></fallback>"
    )


def _sharing(attachment: Attachment, url: str) -> str:
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
    disposition = "inline" if attachment.type in INLINE_TYPES else "attachment"
    return (
        f"<file-sharing xmlns='{SFS_NS}' disposition='{disposition}'>"
        f"<file xmlns='{FILE_METADATA_NS}'>{facts}</file>"
        f"<sources><url-data xmlns='{URL_DATA_NS}' target='{escape_attribute(url)}'/></sources></file-sharing>"
    )


def addresses_in(stanza: Element) -> list[str]:
    """Addresses that a message may be: all of its body, or what stands beside it."""
    found = [(stanza.child_text("body", CLIENT_NS) or "").strip()]
    x = stanza.child("x", OOB_NS)
    if x is not None:
        found.append((x.child_text("url", OOB_NS) or "").strip())
    sharing = stanza.child("file-sharing", SFS_NS)
    sources = None if sharing is None else sharing.child("sources", SFS_NS)
    for source in () if sources is None else sources.elements():
        if (source.name, source.namespace) == ("url-data", URL_DATA_NS):
            found.append((source.get("target") or "").strip())
    return found


def caption_beside(stanza: Element, address: str) -> str:
    """What a message says besides this address."""
    return (stanza.child_text("body", CLIENT_NS) or "").replace(address, "").strip()
