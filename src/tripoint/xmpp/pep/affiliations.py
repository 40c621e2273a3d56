"""Who is affiliated with a node: its owner, those who may read it or publish there whatever it says of others, and who
may do neither.

Members and publishers are the list of a node with the access model `whitelist`. Nodes that are views of something else
have their owner alone.
spec: XEP-0060 4.1, 5.7, 8.9. Read next: requests.py.
"""

from typing import TYPE_CHECKING, Final

from tripoint.core.ids import UserId
from tripoint.core.nodes import MAX_AFFILIATIONS, NodeConfig
from tripoint.xmpp.jid import InvalidJid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import PUBSUB_OWNER_NS
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession

MEMBER: Final = "member"
OUTCAST: Final = "outcast"
PUBLISHER: Final = "publisher"
PUBLISH_ONLY: Final = "publish-only"
# spec: XEP-0060 4.1, table 1
READERS: Final = frozenset({MEMBER, PUBLISHER})
PUBLISHERS: Final = frozenset({PUBLISHER, PUBLISH_ONLY})
_GIVEN: Final = (MEMBER, OUTCAST, PUBLISHER, PUBLISH_ONLY)


def affiliation_of(config: NodeConfig, bare: str) -> str:
    """That of somebody who does not own the node."""
    return dict(config.affiliations).get(bare, "none")


async def own_affiliations(session: "XmppSession", owner: UserId, node: str | None) -> str:
    """The asker's, with one node or with all; those of an owner are his nodes. spec: XEP-0060 5.7"""
    if node is None:
        nodes = await session.pep.nodes(owner)
    else:
        nodes = {node: await session.pep.config(owner, node)}
    found = ""
    for name, config in sorted(nodes.items()):
        kind = "owner" if owner == session.user_id else affiliation_of(config, session.bare)
        if kind != "none":
            found += f"<affiliation node='{escape_attribute(name)}' affiliation='{kind}'/>"
    at = "" if node is None else f" node='{escape_attribute(node)}'"
    return f"<affiliations{at}>{found}</affiliations>"


def all_affiliations(node: str, config: NodeConfig, owner: str) -> str:
    """Everybody's, for the owner. spec: XEP-0060 8.9.1"""
    listed = (("owner", owner), *((kind, bare) for bare, kind in config.affiliations))
    inside = "".join(f"<affiliation jid='{escape_attribute(bare)}' affiliation='{kind}'/>" for kind, bare in listed)
    return f"<affiliations node='{escape_attribute(node)}'>{inside}</affiliations>"


def changed_affiliations(config: NodeConfig, request: Element, owner: str) -> tuple[tuple[str, str], ...]:
    """All of them after a request, which names those that change. Raises Problem. spec: XEP-0060 8.9.2"""
    after = dict(config.affiliations)
    for element in request.elements():
        if (element.name, element.namespace) != ("affiliation", PUBSUB_OWNER_NS) or element.get("affiliation") is None:
            continue
        kind = element.get("affiliation") or ""
        try:
            bare = str(parse_jid(element.get("jid") or "").bare)
        except InvalidJid:
            raise Problem("jid-malformed", "An address to affiliate is not valid") from None
        if kind not in (*_GIVEN, "none", "owner"):
            raise Problem("bad-request", "There is no such affiliation")
        if (bare == owner) != (kind == "owner"):
            # spec: XEP-0060 8.9.2.4
            raise Problem("not-acceptable", "A node of an account has one owner, which is the account")
        after.pop(bare, None)
        if kind in _GIVEN:
            after[bare] = kind
    if len(after) > MAX_AFFILIATIONS:
        raise Problem("policy-violation", f"A node has up to {MAX_AFFILIATIONS} affiliations")
    return tuple(after.items())


async def set_affiliations(session: "XmppSession", owner: UserId, node: str, request: Element) -> None:
    """Change those of a node. NodeRefused, Problem."""
    config = await session.pep.config(owner, node)
    affiliations = changed_affiliations(config, request, session.bare)
    if session.pep.live(node) is not None:
        if affiliations != config.affiliations:
            raise Problem("not-allowed", "This node shows what is so, to those who may know it")
        return
    await session.pep.stored.configure(owner, node, {"affiliations": affiliations})
