"""Uploads: slots for files, and addresses of uploaded files that are sent as messages.

The bytes go over HTTP (media/web.py). spec: XEP-0363; docs/mapping.md 12.4, 12.5.
"""

from dataclasses import replace
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.file_facts import MAX_HASHES, SHA_256, facts_in
from tripoint.core.json_view import object_at
from tripoint.core.media_types import clean_filename
from tripoint.core.relations import Relation
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.xmpp.files import addresses_in, caption_beside, facts_of, has_encrypted, shared_in
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.messages import file_content
from tripoint.xmpp.refusals import Problem, problem_of
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, HASH_NAMES, HASHES_NS, UPLOAD_NS
from tripoint.xmpp.wire import Element, escape_attribute

# spec: XEP-0363 8: around 300 s, since nobody waits between asking for a slot and using it.
SLOT_MS: Final = 300_000
# Files in one message.
MAX_FILES: Final = 20
PURPOSE_NS: Final = "urn:xmpp:http:upload:purpose:0"
declare_feature(PURPOSE_NS + "#message", at=(At.SERVER,), spec="XEP-0363 5.1")
declare_feature(HASHES_NS, at=(At.SERVER,), spec="XEP-0300 5")
declare_feature(HASH_NAMES + SHA_256, at=(At.SERVER,), spec="XEP-0300 5")

IDENTITY: Final = "<identity category='store' type='file' name='HTTP File Upload'/>"


@iq("get", UPLOAD_NS, "request", at=(At.SERVER,), spec="XEP-0363 4", feature=UPLOAD_NS)
async def request_slot(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Two addresses for a file: where it is put, and where it is then."""
    links, uploads = session.doors.media.links, session.doors.media.uploads
    if links.upload_url is None:
        raise Problem("service-unavailable", "This server does not know the address at which it could take files")
    request = stanza.first()
    assert request is not None  # dispatch has found it by its name
    for purpose in request.elements():
        if purpose.namespace == PURPOSE_NS and purpose.name != "message":
            # How long files are kept is one rule for all: what asks for more or less must not be told that it is so.
            raise Problem("feature-not-implemented", f"Files are kept for messages here, not for {purpose.name}")
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


async def pasted(session: XmppSession, stanza: Element, relation: Relation) -> list[JsonObject]:
    """The contents of a message that is a file, or of several messages where it shares several: its body, or what
    stands beside it, is the address to which its writer uploaded one. None where it is none: addresses of other places,
    aesgcm: among them, stay text. spec: XEP-0447 4.2; docs/mapping.md 12.4, 12.6"""
    address = link_in(session, stanza)
    if address is None or has_encrypted(stanza):
        return []
    links = session.doors.media.links
    shared = [(address, one) for address, one in shared_in(stanza) if links.is_link(address)][:MAX_FILES]
    if len(shared) < 2:
        shared = [(address, shared[0][1] if shared else stanza)]
    found = []
    for one, sharing in shared:
        file = await session.doors.media.received.content(one, session.user_id)
        if file is None:
            return []
        found.append(await _with_facts(session, file, sharing))
    caption = caption_beside(stanza, [one for one, _ in shared])
    return [file_content(stanza, file, "" if number else caption, relation) for number, file in enumerate(found)]


async def _with_facts(session: XmppSession, file: JsonObject, sharing: Element) -> JsonObject:
    """A file with what its writer says of it; what this server has found out itself it knows better."""
    said, sizes, previews = facts_of(sharing)
    known, info, kept = facts_in(file), dict(object_at(file, "info")), []
    for preview in previews:
        mxc = await session.doors.media.received.thumbnail(preview.uri, session.user_id)
        if mxc is None:
            kept.append(preview)
        else:
            about = {"mimetype": preview.type, "w": preview.width, "h": preview.height}
            info["thumbnail_url"] = mxc
            info["thumbnail_info"] = {key: value for key, value in about.items() if value is not None}
    hashes = dict(known.hashes)
    hashes |= {algorithm: digest for algorithm, digest in said.hashes if algorithm not in hashes}
    facts = replace(said, hashes=tuple(hashes.items())[:MAX_HASHES], previews=tuple(kept))
    return file | {"info": {**sizes, **info}} | facts.content()
