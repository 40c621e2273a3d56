"""Service discovery on the server, on accounts and on other users.

spec: XEP-0030 3, 4; RFC6121 11 (what strangers learn). What is advertised comes from the registry. Rooms and the
MUC service are in muc/discovery.py.
"""

from typing import Final

from tripoint.core.ids import UserId
from tripoint.xmpp import adhoc
from tripoint.xmpp.c2s import upload
from tripoint.xmpp.jid import Jid, parse_user_jid
from tripoint.xmpp.pep.settings import meta_data_form
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, features_at, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import ADHOC_NS, DISCO_INFO_NS, DISCO_ITEMS_NS, PUBSUB_NS, UPLOAD_NS
from tripoint.xmpp.wire import Element, escape_attribute

_ACCOUNT: Final = "<identity category='account' type='registered'/><identity category='pubsub' type='pep'/>"

declare_feature(DISCO_INFO_NS, at=(At.SERVER, At.ACCOUNT, At.ROOMS, At.ROOM), spec="XEP-0030 3.1")
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
    if node and (about := adhoc.node_info(At.SERVER, node)) is not None:
        return about
    refuse_nodes(stanza)
    media = session.doors.media
    identities = identity("server", "im", "tripoint")
    if media.links.upload_url is None:
        return info(At.SERVER, identities, without=(UPLOAD_NS,))
    return info(At.SERVER, identities + upload.IDENTITY, forms=upload.limit_form(media.uploads.limit_bytes))


@iq("get", DISCO_ITEMS_NS, at=(At.SERVER,), spec="XEP-0030 4.1")
async def server_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The services of this server: its rooms, and the users of other Matrix servers; or its commands."""
    query = stanza.first()
    if query is not None and query.get("node") == ADHOC_NS:
        return adhoc.list_of(At.SERVER, jid)
    refuse_nodes(stanza)
    domains = session.doors.domains
    services = ((domains.rooms, "Rooms"), (domains.gateway, "Users of other Matrix servers"))
    items = "".join([f"<item jid='{escape_attribute(jid)}' name='{name}'/>" for jid, name in services])
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}</query>"


@iq("get", DISCO_INFO_NS, at=(At.ACCOUNT,), spec="XEP-0030 3.1")
async def account_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """One's own account, or a node of what it publishes."""
    if node := _node(stanza):
        return await _node_info(session, session.user_id, node)
    return info(At.ACCOUNT, _ACCOUNT)


@iq("get", DISCO_ITEMS_NS, at=(At.ACCOUNT,), spec="XEP-0030 4.1")
async def account_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """One's own available resources and nodes, or the items of a node."""
    if node := _node(stanza):
        return await _node_items(session, session.user_id, node)
    user = session.user
    sessions = [] if user is None else user.available()
    items = "".join([f"<item jid='{escape_attribute(other.full)}'/>" for other in sessions])
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}{await _nodes(session, session.user_id)}</query>"


@iq("get", DISCO_INFO_NS, at=(At.USER,), spec="XEP-0030 3.1, RFC6121 11")
async def user_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Another account: answered for those who share presence, else as if there were nobody. Or one of its nodes."""
    target = parse_user_jid(jid, session.doors.domains)
    if target is not None and await session.doors.accounts.is_local_user(target):
        if node := _node(stanza):
            return await _node_info(session, target, node)
        if await _sees(session, target):
            return info(At.USER, _ACCOUNT, (DISCO_INFO_NS,))
    raise Problem("service-unavailable", "This is not offered here")


@iq("get", DISCO_ITEMS_NS, at=(At.USER,), spec="XEP-0030 4.1, XEP-0163 6.2, RFC6121 11")
async def user_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The nodes of another account that one may read, or what is in one of them."""
    target = parse_user_jid(jid, session.doors.domains)
    if target is not None and await session.doors.accounts.is_local_user(target):
        if node := _node(stanza):
            return await _node_items(session, target, node)
        items = await _nodes(session, target)
        if items or await _sees(session, target):
            return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}</query>"
    raise Problem("service-unavailable", "This is not offered here")


async def _sees(session: XmppSession, target: UserId) -> bool:
    """Whether `target` lets the asking account see its presence."""
    theirs = (await session.users.roster_of(target)).get(session.bare)
    return theirs is not None and theirs.subscription in ("from", "both")


# -- nodes


def _node(stanza: Element) -> str:
    query = stanza.first()
    return "" if query is None else query.get("node") or ""


async def _nodes(session: XmppSession, owner: UserId) -> str:
    """The nodes that may be read. spec: XEP-0163 6.2, XEP-0060 5.2"""
    jid = escape_attribute(session.users.jid_of(owner))
    found = await session.pep.nodes(owner)
    readable = [node for node, config in found.items() if await session.pep.may_read(owner, config, session)]
    return "".join([f"<item jid='{jid}' node='{escape_attribute(node)}'/>" for node in sorted(readable)])


async def _node_info(session: XmppSession, owner: UserId, node: str) -> str:
    """spec: XEP-0060 5.3, 5.4"""
    config = await session.pep.config(owner, node)
    await session.pep.check_may_read(owner, config, session)
    features = "".join([f"<feature var='{feature}'/>" for feature in (DISCO_INFO_NS, DISCO_ITEMS_NS, PUBSUB_NS)])
    form = meta_data_form(config, session.users.jid_of(owner))
    head = f"<query xmlns='{DISCO_INFO_NS}' node='{escape_attribute(node)}'>"
    return f"{head}{identity('pubsub', 'leaf')}{features}{form}</query>"


async def _node_items(session: XmppSession, owner: UserId, node: str) -> str:
    """spec: XEP-0060 5.5"""
    config = await session.pep.config(owner, node)
    await session.pep.check_may_read(owner, config, session)
    jid = escape_attribute(session.users.jid_of(owner))
    items = (await session.pep.items(owner, node))[::-1]
    listed = "".join([f"<item jid='{jid}' name='{escape_attribute(item.item_id)}'/>" for item in items])
    return f"<query xmlns='{DISCO_ITEMS_NS}' node='{escape_attribute(node)}'>{listed}</query>"
