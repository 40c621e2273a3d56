"""What can be asked of an account's nodes: publish, retract, read; create, configure, purge and delete.

Writing is the owner's, and theirs whom the owner lets (service.check_may_publish). Whoever may see the owner's presence
need not subscribe: subscriptions are automatic (XEP-0163 4.1). Who does it nevertheless, or may read without seeing the
presence, hears whatever his client says of its interests. Nodes inside nodes are not there.
spec: XEP-0060 5.6, 6.1, 6.2, 6.5, 7, 8.1-8.5, 8.8; XEP-0059; XEP-0163 3, 5. Read next: service.py, settings.py.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.core.ids import UserId
from tripoint.core.nodes import MAX_ITEMS, Access, NodeConfig, NodeItem, Subscription
from tripoint.xmpp.archives import MAX_PAGE_BYTES
from tripoint.xmpp.forms import form_fields
from tripoint.xmpp.jid import Jid, parse_user_jid
from tripoint.xmpp.pep.affiliations import all_affiliations, own_affiliations, set_affiliations
from tripoint.xmpp.pep.notify import item_xml
from tripoint.xmpp.pep.service import HIDDEN
from tripoint.xmpp.pep.settings import config_form, read_settings
from tripoint.xmpp.pep.vcard4 import take_card4
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.result_sets import part_of, stretch_of
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, PUBSUB_ERRORS_NS, PUBSUB_NS, PUBSUB_OWNER_NS, RSM_NS, VCARD4_NODE
from tripoint.xmpp.wire import Element, escape_attribute, render

# spec: XEP-0060 10, XEP-0163 6.1
_FEATURES: Final = (
    *("access-open", "access-presence", "access-roster", "access-whitelist", "auto-create", "auto-subscribe"),
    *("config-node", "config-node-max", "create-and-configure", "create-nodes", "delete-items", "delete-nodes"),
    *("filtered-notifications", "item-ids", "last-published", "manage-subscriptions", "member-affiliation"),
    *("meta-data", "modify-affiliations", "outcast-affiliation", "persistent-items", "publish", "publish-options"),
    *("publish-only-affiliation", "publisher-affiliation", "purge-nodes", "retract-items", "retrieve-affiliations"),
    *("retrieve-default", "retrieve-items", "retrieve-subscriptions", "rsm", "subscribe"),
)
for _feature in _FEATURES:
    declare_feature(f"{PUBSUB_NS}#{_feature}", at=(At.ACCOUNT,), spec="XEP-0060 10")

MAX_URI: Final = 1000
# No namespace is called so: payloads say theirs themselves.
_NOWHERE: Final = " "

Request = Callable[[XmppSession, Element, Element, UserId], Awaitable[str]]


@iq("get set", PUBSUB_NS, "pubsub", at=(At.ACCOUNT, At.USER), feature=PUBSUB_NS, spec="XEP-0060 6, 7, 8.1")
async def pubsub(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Read somebody's nodes; write one's own."""
    return await _answer(session, stanza, jid, _REQUESTS)


@iq("get set", PUBSUB_OWNER_NS, "pubsub", at=(At.ACCOUNT, At.USER), spec="XEP-0060 8.2-8.5")
async def pubsub_owner(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """See and change how one's own nodes are set up."""
    return await _answer(session, stanza, jid, _OWNER_REQUESTS)


async def _answer(
    session: XmppSession, stanza: Element, jid: Jid, requests: dict[tuple[str, str], tuple[Request, bool]]
) -> str:
    envelope = stanza.first()
    request = None if envelope is None else envelope.first()
    if envelope is None or request is None:
        raise Problem("bad-request", "Say what is to be done")
    found = requests.get((stanza.get("type") or "", request.name))
    if found is None:
        raise _unsupported(_UNSUPPORTED.get(request.name, request.name))
    handle, owners_alone = found
    owner = parse_user_jid(jid, session.doors.domains)
    if owner is None or not await session.doors.accounts.is_local_user(owner):
        raise Problem("service-unavailable", "This is not offered here")
    if owners_alone and owner != session.user_id:
        raise Problem("forbidden", "Only who owns the account may do this")
    return await handle(session, envelope, request, owner)


# -- reading


async def _items(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 6.5"""
    node = _node(request)
    pep = session.pep
    config = await pep.config(owner, node)
    await pep.check_may_read(owner, config, session)
    wanted = [item.get("id") or "" for item in _elements(request, "item")]
    if wanted:
        # What is not there is left out. spec: XEP-0060 6.5.9.12
        named = [await pep.item(owner, node, item_id) for item_id in wanted[:MAX_ITEMS]]
        found = [item for item in named if item is not None]
    else:
        # The oldest first, as they were published. spec: XEP-0060 6.5.3
        found = list(await pep.items(owner, node, _limit(request)))[::-1]
    rsm = envelope.child("set", RSM_NS)
    found, ends = _paged(found, rsm)
    inside = "".join([item_xml(item, by=config.names_publishers) for item in found])
    return _enveloped(f"<items node='{escape_attribute(node)}'>{inside}</items>{ends}")


def _paged(items: list[NodeItem], rsm: Element | None) -> tuple[list[NodeItem], str]:
    """The page that is asked for; of what is too much for one stanza, the newest, and where these lie.

    spec: XEP-0060 6.5.4, XEP-0059
    """
    ids = [item.item_id for item in items]
    asked = stretch_of(ids, rsm, usual=len(ids), most=len(ids))
    backward = rsm is None or rsm.child("before", RSM_NS) is not None
    places = list(range(asked.start, asked.stop))
    used = 0
    kept: list[int] = []
    for place in reversed(places) if backward else places:
        used += len(items[place].payload.encode())
        if kept and used > MAX_PAGE_BYTES:
            break
        kept.append(place)
    if rsm is None and len(kept) == len(items):
        return items, ""
    start, stop = (min(kept), max(kept) + 1) if kept else (asked.start, asked.start)
    return items[start:stop], part_of(ids, start, stop).xml()


def _limit(request: Element) -> int:
    """spec: XEP-0060 6.5.7"""
    text = request.get("max_items")
    if text is None:
        return MAX_ITEMS
    if not text.isdecimal() or not text.isascii() or int(text[:9]) == 0:
        raise Problem("bad-request", "max_items is a number above 0")
    return min(int(text[:9]), MAX_ITEMS)


# -- subscribing


async def _subscribe(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 6.1"""
    node = _node(request)
    config = await session.pep.config(owner, node)
    await session.pep.check_may_read(owner, config, session)
    if config.access is Access.WHITELIST and session.pep.live(node) is not None:
        raise _unsupported("subscribe")
    if envelope.child("options", PUBSUB_NS) is not None:
        # spec: XEP-0060 6.3.4.6
        raise _unsupported("subscription-options")
    subscription = _subscription(session, node, request)
    if subscription.jid not in (session.bare, session.full):
        raise _bad("invalid-jid", "Subscribe your account or this client")
    await session.pep.stored.subscribe(owner, subscription)
    await session.pep.show_last(session, owner, frozenset((node,)), asked=True)
    return _enveloped(_subscribed(subscription))


async def _unsubscribe(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 6.2"""
    await session.pep.stored.unsubscribe(owner, _subscription(session, _node(request), request))
    return ""


async def _subscriptions(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """One's own, at all nodes of the account or at one. spec: XEP-0060 5.6"""
    node = request.get("node")
    mine = [
        one
        for one in await session.pep.stored.subscriptions(owner)
        if one.subscriber == session.user_id and node in (None, one.node)
    ]
    at = "" if node is None else f" node='{escape_attribute(node)}'"
    return _enveloped(f"<subscriptions{at}>{''.join(map(_subscribed, mine))}</subscriptions>")


async def _subscribers(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """Everybody who has subscribed, for the owner. spec: XEP-0060 8.8.1"""
    node = _node(request)
    await session.pep.config(owner, node)
    listed = "".join(
        [
            f"<subscription jid='{escape_attribute(one.jid)}' subscription='subscribed'/>"
            for one in await session.pep.stored.subscriptions(owner)
            if one.node == node
        ]
    )
    return _owner_enveloped(f"<subscriptions node='{escape_attribute(node)}'>{listed}</subscriptions>")


async def _set_subscribers(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """The owner subscribes people of this server, or ends their subscriptions; they hear of it. spec: XEP-0060 8.8.2"""
    node = _node(request)
    config = await session.pep.config(owner, node)
    present = {one.jid: one for one in await session.pep.stored.subscriptions(owner) if one.node == node}
    changes: list[tuple[Subscription, str]] = []
    for element in _elements(request, "subscription"):
        state, jid = element.get("subscription"), element.get("jid") or ""
        if state is None:
            continue  # spec: XEP-0060 8.8.2.1: it stays as it is
        who = session.users.user_of(jid.partition("/")[0])
        if state not in ("none", "subscribed"):
            raise Problem("not-acceptable", "A subscription is there, or it is not")
        if state == "none":
            if jid in present:
                changes.append((present[jid], state))
        elif who is None or not await session.doors.accounts.is_local_user(who):
            raise Problem("not-acceptable", "People of this server alone can be subscribed")
        elif config.access is Access.WHITELIST and session.pep.live(node) is not None:
            raise _unsupported("subscribe")
        elif jid not in present:
            changes.append((Subscription(node, jid, who), state))
    for subscription, state in changes:
        change = session.pep.stored.subscribe if state == "subscribed" else session.pep.stored.unsubscribe
        await change(owner, subscription)
        session.pep.notifier.tell_subscriber(owner, subscription, state)
    return ""


def _subscription(session: XmppSession, node: str, request: Element) -> Subscription:
    """spec: XEP-0060 6.1.3.1: nobody subscribes anybody else"""
    jid = request.get("jid") or ""
    if jid.partition("/")[0] != session.bare:
        raise _bad("invalid-jid", "Subscribe your own address")
    return Subscription(node, jid, session.user_id)


def _subscribed(subscription: Subscription) -> str:
    node, jid = escape_attribute(subscription.node), escape_attribute(subscription.jid)
    return f"<subscription node='{node}' jid='{jid}' subscription='subscribed'/>"


# -- publishing


async def _publish(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 7.1, 7.1.5"""
    node = _node(request)
    items = _elements(request, "item")
    if not items:
        raise _bad("item-required", "Say what is to be published")
    if len(items) > 1:
        raise _bad("max-items-exceeded", "One item is published at a time here", "not-allowed")
    payloads = list(items[0].elements())
    if len(payloads) != 1:
        # spec: XEP-0060 7.1.3.6
        detail = "payload-required" if not payloads else "invalid-payload"
        raise _bad(detail, "An item holds exactly one element")
    item_id = items[0].get("id") or None
    options = envelope.child("publish-options", PUBSUB_NS)
    wanted = _settings(options, known_only=True)
    live = session.pep.live(node)
    if owner != session.user_id:
        # Nodes are made by their owners alone.
        await session.pep.check_may_publish(owner, node, await session.pep.config(owner, node), session)
        if item_id is not None:
            await _check_wrote(session, owner, node, item_id)
    if live is not None:
        if not _fits(live.config, wanted):
            raise NodeRefused(NodeRefusal.PRECONDITION)
        item_id = await live.publish(session, item_id, payloads[0])
    else:
        item_id = item_id or secrets.token_urlsafe(12)
        payload = render(payloads[0], _NOWHERE).decode()
        item = NodeItem(item_id, payload, session.full, 0)
        await session.pep.stored.publish(owner, _own(node), item, wanted=wanted)
        if node == VCARD4_NODE:
            await take_card4(session, payloads[0])
    published = f"<item id='{escape_attribute(item_id)}'/>"
    return _enveloped(f"<publish node='{escape_attribute(node)}'>{published}</publish>")


async def _retract(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 7.2"""
    node = _node(request)
    items = _elements(request, "item")
    if len(items) != 1 or not items[0].get("id"):
        raise _bad("item-required", "Say which item is to be taken away")
    item_id = items[0].get("id") or ""
    live = session.pep.live(node)
    if owner != session.user_id:
        await session.pep.check_may_publish(owner, node, await session.pep.config(owner, node), session)
        await _check_wrote(session, owner, node, item_id)
    if live is not None:
        await live.retract(session, item_id)
    else:
        notify = request.get("notify") in ("1", "true")
        await session.pep.stored.retract(owner, _own(node), item_id, notify=notify)
    return ""


async def _check_wrote(session: XmppSession, owner: UserId, node: str, item_id: str) -> None:
    """Publishers put others' items in no other place, and take none away but their own. spec: XEP-0060 4.1, 7.2.3.1"""
    item = await session.pep.stored.item(owner, node, item_id)
    if item is not None and item.publisher.partition("/")[0] != session.bare:
        raise Problem("forbidden", "Somebody else has published this item")


# -- nodes


async def _create(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.1; a node without a name gets one (instant nodes are not offered)"""
    node = _own(request.get("node") or "")
    if not node:
        raise _bad("nodeid-required", "Say how the node is to be called", "not-acceptable")
    if session.pep.live(node) is not None:
        raise NodeRefused(NodeRefusal.NODE_EXISTS)
    wanted = _settings(envelope.child("configure", PUBSUB_NS), known_only=False)
    await session.pep.stored.create(owner, node, _applied(NodeConfig(), wanted))
    return ""


async def _configuration(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.2.1"""
    node = _node(request)
    form = config_form(await session.pep.config(owner, node))
    return _owner_enveloped(f"<configure node='{escape_attribute(node)}'>{form}</configure>")


async def _configure(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.2.4, 8.2.5; a form that is cancelled changes nothing"""
    node = _node(request)
    config = await session.pep.config(owner, node)
    form = request.child("x", DATA_FORMS_NS)
    if form is None:
        raise Problem("bad-request", "The form is missing")
    if form.get("type") == "cancel":
        return ""
    wanted = _settings(request, known_only=False)
    if session.pep.live(node) is None:
        await session.pep.stored.configure(owner, node, wanted)
    elif not _fits(config, wanted):
        raise Problem("not-acceptable", "What this node shows is everywhere the same; it cannot be set up otherwise")
    return ""


async def _default(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.3"""
    return _owner_enveloped(f"<default>{config_form(NodeConfig())}</default>")


async def _delete(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.4"""
    redirect = request.child("redirect", PUBSUB_OWNER_NS)
    uri = "" if redirect is None else (redirect.get("uri") or "")[:MAX_URI]
    await session.pep.stored.delete(owner, _stored(session, _node(request)), uri)
    return ""


async def _purge(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.5"""
    await session.pep.stored.purge(owner, _stored(session, _node(request)))
    return ""


# -- affiliations


async def _own_affiliations(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 5.7"""
    return _enveloped(await own_affiliations(session, owner, request.get("node")))


async def _affiliations(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.9.1"""
    node = _node(request)
    return _owner_enveloped(all_affiliations(node, await session.pep.config(owner, node), session.bare))


async def _affiliate(session: XmppSession, envelope: Element, request: Element, owner: UserId) -> str:
    """spec: XEP-0060 8.9.2"""
    await set_affiliations(session, owner, _node(request), request)
    return ""


# What is asked, and whether only the owner may.
_REQUESTS: Final[dict[tuple[str, str], tuple[Request, bool]]] = {
    ("get", "items"): (_items, False),
    ("set", "publish"): (_publish, False),
    ("set", "retract"): (_retract, False),
    ("set", "create"): (_create, True),
    ("set", "subscribe"): (_subscribe, False),
    ("set", "unsubscribe"): (_unsubscribe, False),
    ("get", "subscriptions"): (_subscriptions, False),
    ("get", "affiliations"): (_own_affiliations, False),
}
_OWNER_REQUESTS: Final[dict[tuple[str, str], tuple[Request, bool]]] = {
    ("get", "configure"): (_configuration, True),
    ("set", "configure"): (_configure, True),
    ("get", "default"): (_default, True),
    ("set", "delete"): (_delete, True),
    ("set", "purge"): (_purge, True),
    ("get", "subscriptions"): (_subscribers, True),
    ("set", "subscriptions"): (_set_subscribers, True),
    ("get", "affiliations"): (_affiliations, True),
    ("set", "affiliations"): (_affiliate, True),
}
# What the feature is called that a request would need. spec: XEP-0060 6.1.3.10 and its kin
_UNSUPPORTED: Final = {
    "default": "subscription-options",
    "options": "subscription-options",
}


# -- parts


def _node(request: Element) -> str:
    node = request.get("node")
    if not node:
        raise _bad("nodeid-required", "Say which node is meant")
    return node


def _own(node: str) -> str:
    """A name that a client may give to a node."""
    if node in HIDDEN:
        raise Problem("not-allowed", "A node cannot have this name here")
    return node


def _stored(session: XmppSession, node: str) -> str:
    """A node that can be emptied: one that is a view stands for more than its items."""
    if session.pep.live(node) is not None:
        raise Problem("not-allowed", "This node shows what is so; take its items away one by one")
    if node in HIDDEN:
        raise NodeRefused(NodeRefusal.NO_SUCH_NODE)
    return node


def _settings(element: Element | None, *, known_only: bool) -> dict[str, object]:
    """The settings in the form inside an element."""
    form = None if element is None else element.child("x", DATA_FORMS_NS)
    return {} if form is None else read_settings(form_fields(form), known_only=known_only)


def _applied(config: NodeConfig, wanted: dict[str, object]) -> NodeConfig:
    return replace(config, **wanted)


def _fits(config: NodeConfig, wanted: dict[str, object]) -> bool:
    """Whether a node that is a view has these settings. How many items it has is not for a client to say: some ask for
    numbers of their own (COMPAT: clients from before `max`). A node that everybody reads serves who wants contacts to
    read it (COMPAT: clients ask so for names and avatars, which Matrix shows to everybody)."""
    asked = {**wanted, "max_items": config.max_items}
    if config.access is Access.OPEN and asked.get("access") is Access.PRESENCE:
        del asked["access"]
    return _applied(config, asked) == config


def _elements(request: Element, name: str) -> list[Element]:
    return [child for child in request.elements() if (child.name, child.namespace) == (name, request.namespace)]


def _enveloped(xml: str) -> str:
    return f"<pubsub xmlns='{PUBSUB_NS}'>{xml}</pubsub>"


def _owner_enveloped(xml: str) -> str:
    return f"<pubsub xmlns='{PUBSUB_OWNER_NS}'>{xml}</pubsub>"


def _unsupported(feature: str) -> Problem:
    detail = f"<unsupported xmlns='{PUBSUB_ERRORS_NS}' feature='{escape_attribute(feature)}'/>"
    return Problem("feature-not-implemented", "This is not offered here", extra=detail)


def _bad(detail: str, text: str, condition: str = "bad-request") -> Problem:
    return Problem(condition, text, extra=f"<{detail} xmlns='{PUBSUB_ERRORS_NS}'/>")
