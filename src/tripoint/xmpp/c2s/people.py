"""Finding people by a part of their name.

spec: XEP-0055 2, 3. Who is found is the same as in Matrix' user directory (rooms/user_directory.py): those who share
a room with the one who asks, and those in public rooms. What there is to search by is what people call themselves.
"""

from tripoint.rooms.ports import FoundUser
from tripoint.xmpp.forms import form_fields
from tripoint.xmpp.jid import Jid, user_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, SEARCH_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

MAX_FOUND = 50
MAX_TERM = 255

_WHAT = "Look for people who share a room with you or are in a public one, by a part of their name or address."
_FIELDS = (
    f"<query xmlns='{SEARCH_NS}'><instructions>{_WHAT}</instructions><nick/>"
    f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>People</title><instructions>{_WHAT}</instructions>"
    f"<field type='hidden' var='FORM_TYPE'><value>{SEARCH_NS}</value></field>"
    "<field type='text-single' label='Name' var='nick'><required/></field></x></query>"
)


@iq("get", SEARCH_NS, at=(At.SERVER,), spec="XEP-0055 2", feature=SEARCH_NS)
async def fields(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What may be asked, as elements and as a form."""
    return _FIELDS


@iq("set", SEARCH_NS, at=(At.SERVER,), spec="XEP-0055 2, 3")
async def search(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Those found, in the manner of the question: a form is answered with a form."""
    query = stanza.child("query", SEARCH_NS)
    assert query is not None, "dispatched by it"
    form = query.child("x", DATA_FORMS_NS)
    if form is None:
        term = query.child_text("nick", SEARCH_NS) or ""
    else:
        values = form_fields(form)
        if form.get("type") != "submit" or values.get("FORM_TYPE") != [SEARCH_NS]:
            raise Problem("bad-request", f"A form of type submit for {SEARCH_NS} is expected")
        term = " ".join(values.get("nick", ()))
    if not term.strip() or len(term) > MAX_TERM:
        raise Problem("not-acceptable", f"Give a part of a name, of at most {MAX_TERM} characters")
    found = await session.doors.reader.find_users(session.user_id, term, MAX_FOUND)
    entries = [(user_jid(one.user_id, session.doors.domains), _name(one)) for one in found.users]
    return _elements(entries) if form is None else _form(entries)


def _name(found: FoundUser) -> str:
    return found.displayname or ""


def _elements(entries: list[tuple[str, str]]) -> str:
    items = "".join(
        [f"<item jid='{escape_attribute(jid)}'><nick>{escape_text(name)}</nick></item>" for jid, name in entries]
    )
    return f"<query xmlns='{SEARCH_NS}'>{items}</query>"


def _form(entries: list[tuple[str, str]]) -> str:
    """spec: XEP-0055 3, XEP-0004 3.4"""
    items = "".join(
        [
            f"<item><field var='jid'><value>{escape_text(jid)}</value></field>"
            f"<field var='nick'><value>{escape_text(name)}</value></field></item>"
            for jid, name in entries
        ]
    )
    return (
        f"<query xmlns='{SEARCH_NS}'><x xmlns='{DATA_FORMS_NS}' type='result'>"
        f"<field type='hidden' var='FORM_TYPE'><value>{SEARCH_NS}</value></field>"
        "<reported><field var='jid' label='Address' type='jid-single'/>"
        f"<field var='nick' label='Name' type='text-single'/></reported>{items}</x></query>"
    )
