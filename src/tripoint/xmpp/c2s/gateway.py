"""The service under which users of other Matrix servers have an address outside rooms: ``matrix.<server>``.

spec: XEP-0030 3, 4; docs/mapping.md 1.5. Messages to its users are in direct.py. It has no presence to give: who
asks for a subscription gets service-unavailable, and so does every request to one of its users.
"""

from tripoint.xmpp.c2s.discovery import identity, info, refuse_nodes
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DISCO_INFO_NS, DISCO_ITEMS_NS
from tripoint.xmpp.wire import Element


@iq("get", DISCO_INFO_NS, at=(At.GATEWAY,), feature=DISCO_INFO_NS, spec="XEP-0030 3.1")
async def gateway_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """No registered type of gateway is meant; nothing is bridged either."""
    refuse_nodes(stanza)
    return info(At.GATEWAY, identity("component", "generic", "Users of other Matrix servers"))


@iq("get", DISCO_ITEMS_NS, at=(At.GATEWAY,), feature=DISCO_ITEMS_NS, spec="XEP-0030 4.1")
async def gateway_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Nobody lists the users of other servers."""
    refuse_nodes(stanza)
    return f"<query xmlns='{DISCO_ITEMS_NS}'/>"
