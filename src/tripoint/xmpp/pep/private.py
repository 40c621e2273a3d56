"""Private XML storage: what a client keeps for itself on the server, by the name and namespace of an element.

Kept among the account's nodes, under a name that no client can ask for. Bookmarks are not kept there: they are a view.
spec: XEP-0049 2, XEP-0411 3. Read next: old_bookmarks.py.
"""

from typing import Final

from tripoint.core.nodes import NodeItem
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.pep.old_bookmarks import PRIVATE_CONFIG
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import OLD_BOOKMARKS_NS, PRIVATE_NS
from tripoint.xmpp.wire import Element, render

# Clients send these without an address, which is the account; the server, who says that it can, takes them too.
_AT: Final = (At.ACCOUNT, At.SERVER)


@iq("get", PRIVATE_NS, at=_AT, feature=PRIVATE_NS, spec="XEP-0049 2")
async def get_private(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What is kept under this name; the empty element where nothing is."""
    wanted = _element(stanza)
    if _is_bookmarks(wanted):
        kept = await session.pep.old_bookmarks.listed(session)
    else:
        item = await session.pep.stored.item(session.user_id, PRIVATE_NS, _key(wanted))
        kept = render(Element(wanted.name, wanted.namespace, {}, []), " ").decode() if item is None else item.payload
    return f"<query xmlns='{PRIVATE_NS}'>{kept}</query>"


@iq("set", PRIVATE_NS, at=_AT, spec="XEP-0049 2")
async def set_private(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Keep this under its name, in the place of what was there."""
    wanted = _element(stanza)
    if _is_bookmarks(wanted):
        await session.pep.old_bookmarks.replace(session, wanted)
        return ""
    item = NodeItem(_key(wanted), render(wanted, " ").decode(), session.full, 0)
    await session.pep.stored.publish(session.user_id, PRIVATE_NS, item, default=PRIVATE_CONFIG)
    return ""


def _element(stanza: Element) -> Element:
    """The one element inside; reserved namespaces are refused. spec: XEP-0049 2"""
    query = stanza.first()
    elements = [] if query is None else list(query.elements())
    if len(elements) != 1:
        raise Problem("bad-request", "Name one element")
    namespace = elements[0].namespace
    if namespace.startswith(("jabber:", "http://jabber.org/")) or namespace == "vcard-temp":
        raise Problem("not-acceptable", "This namespace is reserved")
    return elements[0]


def _key(element: Element) -> str:
    return f"{{{element.namespace}}}{element.name}"


def _is_bookmarks(element: Element) -> bool:
    return (element.name, element.namespace) == ("storage", OLD_BOOKMARKS_NS)
