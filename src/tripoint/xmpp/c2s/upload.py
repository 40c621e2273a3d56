"""Uploads: slots for files, and addresses of uploaded files that are sent as messages.

The bytes go over HTTP (media/web.py). spec: XEP-0363; docs/mapping.md 12.4, 12.5.
"""

from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.media_types import clean_filename
from tripoint.core.relations import Relation
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.xmpp.files import addresses_in, caption_beside
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.messages import file_content
from tripoint.xmpp.refusals import Problem, problem_of
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, UPLOAD_NS
from tripoint.xmpp.wire import Element, escape_attribute

# spec: XEP-0363 8: around 300 s, since nobody waits between asking for a slot and using it.
SLOT_MS: Final = 300_000
IDENTITY: Final = "<identity category='store' type='file' name='HTTP File Upload'/>"


@iq("get", UPLOAD_NS, "request", at=(At.SERVER,), spec="XEP-0363 4", feature=UPLOAD_NS)
async def request_slot(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Two addresses for a file: where it is put, and where it is then."""
    links, uploads = session.doors.media.links, session.doors.media.uploads
    if links.upload_url is None:
        raise Problem("service-unavailable", "This server does not know the address at which it could take files")
    request = stanza.first()
    assert request is not None  # dispatch has found it by its name
    filename, size = clean_filename(request.get("filename")), request.get("size") or ""
    if filename is None:
        raise Problem("bad-request", "A slot is for a file with a name")
    if not (size.isascii() and size.isdigit() and len(size) < 16 and int(size)):
        raise Problem("bad-request", "A slot is for a file with a size, in bytes")
    try:
        pending = await uploads.create(
            session.user_id,
            type=request.get("content-type"),
            filename=filename,
            size=int(size),
            lasts_ms=SLOT_MS,
        )
    except MediaRefused as refused:
        raise _refusal(session, refused) from refused
    get = await links.upload_link(pending.mxc, filename)
    put = links.slot_url(pending.mxc, filename)
    return (
        f"<slot xmlns='{UPLOAD_NS}'><put url='{escape_attribute(put)}'/><get url='{escape_attribute(get)}'/></slot>"
    )


def _refusal(session: XmppSession, refused: MediaRefused) -> Problem:
    """spec: XEP-0363 6, examples 11 and 12"""
    problem, extra = problem_of(refused), ""
    if refused.refusal is MediaRefusal.TOO_LARGE:
        most = f"<max-file-size>{session.doors.media.uploads.limit_bytes}</max-file-size>"
        extra = f"<file-too-large xmlns='{UPLOAD_NS}'>{most}</file-too-large>"
    elif refused.retry_after_ms is not None:
        again = timestamp(session.doors.now_ms() + refused.retry_after_ms)
        extra = f"<retry xmlns='{UPLOAD_NS}' stamp='{again}'/>"
    return Problem(problem.condition, problem.text, problem.kind, extra=extra)


def limit_form(limit_bytes: int) -> str:
    """How large a file may be, for disco#info. spec: XEP-0363 3"""
    return (
        f"<x xmlns='{DATA_FORMS_NS}' type='result'>"
        f"<field var='FORM_TYPE' type='hidden'><value>{UPLOAD_NS}</value></field>"
        f"<field var='max-file-size'><value>{limit_bytes}</value></field></x>"
    )


def link_in(session: XmppSession, stanza: Element) -> str | None:
    """The address of a file of this server that a message is, or has beside it."""
    links = session.doors.media.links
    return next((one for one in addresses_in(stanza) if links.is_link(one)), None)


async def pasted(session: XmppSession, stanza: Element, relation: Relation) -> JsonObject | None:
    """The content of a message that is a file: its body, or what stands beside it, is the address to which its writer
    uploaded one. Addresses of other places, aesgcm: among them, stay text. docs/mapping.md 12.4, 12.6"""
    address = link_in(session, stanza)
    file = None if address is None else await session.doors.media.received.content(address, session.user_id)
    if address is None or file is None:
        return None
    return file_content(stanza, file, caption_beside(stanza, address), relation)
