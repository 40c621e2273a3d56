"""Service discovery on accounts: one's own, others', and the nodes of both.

spec: XEP-0030 3, 4; XEP-0060 5.2-5.5; XEP-0163 6; XEP-0462 3 (nodes of some types); RFC6121 11 (what strangers learn).
"""

from collections.abc import Callable
from typing import Final

from tripoint.core.ids import UserId
from tripoint.xmpp.c2s.discovery import identity, info
from tripoint.xmpp.forms import submitted
from tripoint.xmpp.jid import Jid, parse_user_jid
from tripoint.xmpp.pep.settings import meta_data_form
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, DISCO_INFO_NS, DISCO_ITEMS_NS, MAM_NS, PUBSUB_FILTER_NS, PUBSUB_NS
from tripoint.xmpp.wire import Element, escape_attribute

declare_feature(PUBSUB_FILTER_NS, at=(At.ACCOUNT,), spec="XEP-0462 3.1: what a request for items may hold")

_ACCOUNT: Final = identity("account", "registered") + identity("pubsub", "pep")


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
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}{await _nodes(session, session.user_id, stanza)}</query>"


@iq("get", DISCO_INFO_NS, at=(At.USER,), spec="XEP-0030 3.1, RFC6121 11")
async def user_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Another account: answered for those who share presence, else as if there were nobody. Or one of its nodes."""
    target = parse_user_jid(jid, session.doors.domains)
    if target is not None and await session.doors.accounts.is_local_user(target):
        if node := _node(stanza):
            return await _node_info(session, target, node)
        if session.doors.accounts.app_services.is_bot(target):
            # docs/mapping.md 1.12: what it is is for everybody to know
            return info(At.USER, _ACCOUNT + identity("client", "bot"), (DISCO_INFO_NS,))
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
        items = await _nodes(session, target, stanza)
        return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}</query>"
    if _node(stanza):
        raise Problem("service-unavailable", "This is not offered here")
    # spec: XEP-0030 8 (2): as of an account that has nothing to show
    return f"<query xmlns='{DISCO_ITEMS_NS}'/>"


async def _sees(session: XmppSession, target: UserId) -> bool:
    """Whether `target` lets the asking account see its presence."""
    theirs = (await session.users.roster_of(target)).get(session.bare)
    return theirs is not None and theirs.subscription in ("from", "both")


# -- nodes


def _node(stanza: Element) -> str:
    query = stanza.first()
    return "" if query is None else query.get("node") or ""


async def _nodes(session: XmppSession, owner: UserId, stanza: Element) -> str:
    """The nodes that may be read, of the types that are asked for. spec: XEP-0163 6.2, XEP-0060 5.2, XEP-0462 3.2"""
    jid = escape_attribute(session.users.jid_of(owner))
    wanted = _wanted_types(stanza)
    found = {node: config for node, config in (await session.pep.nodes(owner)).items() if wanted(config.type)}
    readable = [node for node, config in found.items() if await session.pep.may_read(owner, config, session)]
    return "".join([f"<item jid='{jid}' node='{escape_attribute(node)}'/>" for node in sorted(readable)])


def _wanted_types(stanza: Element) -> Callable[[str], bool]:
    """Whether nodes of a type ("": of none) are asked for. Raises Problem. spec: XEP-0462 3.2"""
    query = stanza.first()
    asked = None if query is None else query.child("filter", PUBSUB_FILTER_NS)
    if asked is None:
        return lambda kind: True
    fields = submitted(asked.child("x", DATA_FORMS_NS), PUBSUB_FILTER_NS)
    included, excluded = fields.get("included-types"), fields.get("excluded-types")
    if included is not None and excluded is not None:
        raise Problem("bad-request", "Say which types are wanted, or which are not")
    if included is not None:
        return lambda kind: kind in included
    return lambda kind: kind not in (excluded or ())


async def _node_info(session: XmppSession, owner: UserId, node: str) -> str:
    """spec: XEP-0060 5.3, 5.4"""
    config = await session.pep.config(owner, node)
    await session.pep.check_may_read(owner, config, session)
    offered = (DISCO_INFO_NS, DISCO_ITEMS_NS, PUBSUB_NS, MAM_NS)
    features = "".join([f"<feature var='{feature}'/>" for feature in offered])
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
