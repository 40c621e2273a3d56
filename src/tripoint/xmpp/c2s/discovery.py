"""Service discovery on the server, and what all answers have in common.

spec: XEP-0030 3, 4. What is advertised comes from the registry. Rooms and the MUC service are in muc/discovery.py,
accounts in pep/discovery.py.
"""

from functools import lru_cache
from typing import Final

from tripoint.core.file_facts import SHA_256
from tripoint.xmpp import adhoc
from tripoint.xmpp.c2s import upload
from tripoint.xmpp.caps import verification, verification2
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, features_at, iq
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import (
    ADHOC_NS,
    CAPS2_NS,
    CAPS_NS,
    DATA_FORMS_NS,
    DISCO_INFO_NS,
    DISCO_ITEMS_NS,
    EXTERNAL_NS,
    HASHES_NS,
    OUTAGE_NS,
    SERVER_INFO,
    UPLOAD_NS,
)
from tripoint.xmpp.wire import Element, escape_attribute, escape_text, parse_fragment

# Names the software, as XEP-0115 4 wants it.
CAPS_NODE: Final = "https://tripoint.dev"

declare_feature(DISCO_INFO_NS, at=(At.SERVER, At.ACCOUNT, At.ROOMS, At.ROOM), spec="XEP-0030 3.1")
declare_feature(CAPS_NS, at=(At.SERVER,), spec="XEP-0115 7")
declare_feature(CAPS2_NS, at=(At.SERVER,), spec="XEP-0390 6")
declare_feature(DISCO_ITEMS_NS, at=(At.SERVER, At.ACCOUNT, At.ROOMS, At.ROOM), spec="XEP-0030 4.1")


def info(
    place: At, identities: str, more: tuple[str, ...] = (), forms: str = "", without: tuple[str, ...] = ()
) -> str:
    """A disco#info result: identities, the features of this kind of address, `more` and `without`, then forms."""
    features = sorted({*features_at(place), *more} - {*without})
    listed = "".join([f"<feature var='{escape_attribute(feature)}'/>" for feature in features])
    return f"<query xmlns='{DISCO_INFO_NS}'>{identities}{listed}{forms}</query>"


def identity(category: str, kind: str, name: str = "") -> str:
    named = f" name='{escape_attribute(name)}'" if name else ""
    return f"<identity category='{category}' type='{kind}'{named}/>"


def refuse_nodes(stanza: Element) -> None:
    """There are no nodes here. spec: XEP-0030 3.2"""
    query = stanza.first()
    if query is not None and query.get("node"):
        raise Problem("item-not-found", "There is no such node")


@iq("get", DISCO_INFO_NS, at=(At.SERVER,), spec="XEP-0030 3.1")
async def server_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What this server is and can."""
    query = stanza.first()
    node = None if query is None else query.get("node")
    if node and (about := adhoc.node_info(session, At.SERVER, node)) is not None:
        return about
    about = about_server(session.doors)
    if node in (f"{CAPS_NODE}#{_hashed(about)}", f"{CAPS2_NS}#{SHA_256}.{_hashed2(about)}"):
        # spec: XEP-0115 6.2: the answer names the node
        return about.replace(f"<query xmlns='{DISCO_INFO_NS}'", f"<query xmlns='{DISCO_INFO_NS}' node='{node}'", 1)
    refuse_nodes(stanza)
    return about


def own_caps(doors: Doors) -> str:
    """The <c/> by which clients know what this server can without asking. spec: XEP-0115 6.3, XEP-0390 5.2"""
    ver, digest = _hashed(about_server(doors)), _hashed2(about_server(doors))
    return (
        f"<c xmlns='{CAPS_NS}' hash='sha-1' node='{CAPS_NODE}' ver='{ver}'/>"
        f"<c xmlns='{CAPS2_NS}'><hash xmlns='{HASHES_NS}' algo='{SHA_256}'>{digest}</hash></c>"
    )


@lru_cache(maxsize=8)
def _hashed(about: str) -> str:
    (query,) = parse_fragment(about)
    ver = verification(query, "sha-1")
    assert ver is not None, "what this server says of itself is well-formed"
    return ver


@lru_cache(maxsize=8)
def _hashed2(about: str) -> str:
    (query,) = parse_fragment(about)
    digest = verification2(query)
    assert digest is not None, "what this server says of itself is well-formed"
    return digest


def about_server(doors: Doors) -> str:
    """The disco#info of the server."""
    media = doors.media
    limit_bytes = None if media.links.upload_url is None else media.uploads.limit_bytes
    return _about_server(doors.contacts, doors.status_addresses, bool(doors.turn.servers), limit_bytes)


@lru_cache(maxsize=8)
def _about_server(
    contacts: tuple[tuple[str, str], ...], status: tuple[str, ...], turn: bool, limit_bytes: int | None
) -> str:
    identities = identity("server", "im", "tripoint")
    forms = contact_form(contacts) + status_form(status)
    without = () if turn else (EXTERNAL_NS,)
    if limit_bytes is None:
        return info(At.SERVER, identities, forms=forms, without=(UPLOAD_NS, *without))
    forms = upload.limit_form(limit_bytes) + forms
    return info(At.SERVER, identities + upload.IDENTITY, forms=forms, without=without)


def contact_form(contacts: tuple[tuple[str, str], ...]) -> str:
    """Where those are reached who run the server; nothing where that was not said. spec: XEP-0157 3"""
    if not contacts:
        return ""
    fields = ""
    for kind in sorted({kind for kind, _ in contacts}):
        values = "".join(f"<value>{escape_text(uri)}</value>" for what, uri in contacts if what == kind)
        fields += f"<field var='{kind}-addresses' type='list-multi'>{values}</field>"
    form_type = f"<field var='FORM_TYPE' type='hidden'><value>{SERVER_INFO}</value></field>"
    return f"<x xmlns='{DATA_FORMS_NS}' type='result'>{form_type}{fields}</x>"


def status_form(addresses: tuple[str, ...]) -> str:
    """Where it is said what is the matter when this server does not answer. spec: XEP-0455 2.1"""
    if not addresses:
        return ""
    values = "".join(f"<value>{escape_text(address)}</value>" for address in addresses)
    form_type = f"<field var='FORM_TYPE' type='hidden'><value>{OUTAGE_NS}</value></field>"
    field = f"<field var='external-status-addresses' type='list-multi'>{values}</field>"
    return f"<x xmlns='{DATA_FORMS_NS}' type='result'>{form_type}{field}</x>"


@iq("get", DISCO_ITEMS_NS, at=(At.SERVER,), spec="XEP-0030 4.1")
async def server_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The services of this server: its rooms, the users of other Matrix servers, components; or its commands."""
    query = stanza.first()
    if query is not None and query.get("node") == ADHOC_NS:
        return adhoc.list_of(session, At.SERVER, jid)
    refuse_nodes(stanza)
    domains = session.doors.domains
    own = ((domains.rooms, "Rooms"), (domains.gateway, "Users of other Matrix servers"))
    items = "".join(
        f"<item jid='{escape_attribute(jid)}' name='{escape_attribute(name)}'/>"
        for jid, name in (*own, *session.doors.services)
    )
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}</query>"
