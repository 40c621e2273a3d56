"""What clients want to hear of: their presence names a hash of their features, and each hash is asked about once.

What is asked goes out as an IQ from the account's bare address; nothing waits for the answer. An answer that does not
hash to what was promised counts for the session that gave it, and for nobody else.
spec: XEP-0115 5.4, 6; XEP-0060 9.2. Read next: tripoint/xmpp/caps.py.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tripoint.xmpp.caps import Caps, can_check, caps_in, is_as_promised, understood, wanted_nodes
from tripoint.xmpp.tables import DISCO_INFO_NS
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession

# Versions of clients; one has some hundred bytes.
_REMEMBERED: Final = 5000

# Called when what a session wants is known, with what it wanted before.
Wants = Callable[["XmppSession", frozenset[str]], None]


class Capabilities:
    """What is known of clients' features in this process; lost ones are asked for again."""

    def __init__(self, wants: Wants) -> None:
        self._wants = wants
        # By hash and version: the nodes that are wanted, and what of messages is shown.
        self._known: OrderedDict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = OrderedDict()
        self._count = 0

    def heard(self, session: "XmppSession", presence: Element) -> None:
        """Available presence of a client. One without <c/> says nothing new."""
        caps = caps_in(presence)
        if caps is None or (caps == session.caps and session.wants):
            return
        session.caps = caps
        known = self._known.get((caps.hash or "", caps.ver))
        if known is not None:
            session.caps_query = None
            self._set(session, *known)
        else:
            self._ask(session, caps)

    def wanted(self, caps: Caps) -> frozenset[str] | None:
        """The nodes that clients with this hash want to hear of; None: they have not been asked."""
        known = self._known.get((caps.hash or "", caps.ver))
        return None if known is None else known[0]

    def learn(self, caps: Caps, query: Element) -> frozenset[str]:
        """What a disco#info result says of that; it counts for others too where it hashes to what was promised."""
        wanted, shows = wanted_nodes(query), understood(query)
        if can_check(caps) and is_as_promised(query, caps):
            self._known[caps.hash or "", caps.ver] = (wanted, shows)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return wanted

    def answered(self, session: "XmppSession", iq: Element) -> None:
        """The answer to what was asked last, or to something else."""
        caps = session.caps
        if session.caps_query is None or iq.get("id") != session.caps_query or caps is None:
            return
        session.caps_query = None
        query = iq.child("query", DISCO_INFO_NS)
        if iq.get("type") != "result" or query is None:
            return
        self._set(session, self.learn(caps, query), understood(query))

    def _set(self, session: "XmppSession", wanted: frozenset[str], shows: frozenset[str]) -> None:
        before, session.wants = session.wants, wanted
        session.shows = shows
        self._wants(session, before)

    def _ask(self, session: "XmppSession", caps: Caps) -> None:
        self._count += 1
        session.caps_query = f"caps-{self._count}"
        head = f"<iq type='get' from='{escape_attribute(session.bare)}' id='{session.caps_query}'"
        node = escape_attribute(f"{caps.node}#{caps.ver}")
        session.send(head.encode() + session.to + f"><query xmlns='{DISCO_INFO_NS}' node='{node}'/></iq>".encode())
