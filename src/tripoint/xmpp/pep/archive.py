"""The archive of a node: its items in the order in which they were published, in pages.

It holds what the node keeps, and an item's id is its id there too: what is taken back, or put in the place of another,
is in no archive. Who may read the node may ask.
spec: XEP-0442 3; XEP-0313 4; XEP-0059 2.  Read next: tripoint/xmpp/archives.py.
"""

from tripoint.core.ids import EventId, UserId
from tripoint.core.nodes import NodeConfig, NodeItem
from tripoint.rooms.paging import Gathered
from tripoint.xmpp.archive_query import ArchiveQuery, read_query
from tripoint.xmpp.archives import Archived, cut_to, send_page
from tripoint.xmpp.jid import user_jid
from tripoint.xmpp.pep.notify import published
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CLIENT_NS
from tripoint.xmpp.wire import Element, escape_attribute


async def node_archive(session: XmppSession, stanza: Element, owner: UserId, node: str) -> str:
    """The items of one page, each in a stanza, and then where the page begins and ends."""
    config = await session.pep.config(owner, node)
    await session.pep.check_may_read(owner, config, session)
    asked = read_query(stanza)
    if asked.with_jid is not None or asked.says is not None:
        raise Problem("feature-not-implemented", "Items of a node are asked for by their times and ids alone")
    items = list(await session.pep.items(owner, node))[::-1]
    archive = user_jid(owner, session.doors.domains)
    found = [_archived(archive, node, config, place, item) for place, item in enumerate(items)]
    page, whole = _page(found, asked)
    return send_page(session, archive, asked, page, whole)


def _archived(archive: str, node: str, config: NodeConfig, place: int, item: NodeItem) -> Archived:
    inside = published(node, (item,), by=config.names_publishers)
    xml = f"<message xmlns='{CLIENT_NS}' from='{escape_attribute(archive)}' type='headline'>{inside}</message>"
    return Archived(place, EventId(item.item_id), item.ts_ms, xml)


def _page(items: list[Archived], asked: ArchiveQuery) -> tuple[Gathered[Archived], list[Archived]]:
    """The page, and everything that fits the request, of which it is a part (XEP-0059 2.6)."""
    places = {one.event_id: one.position for one in items}

    def place(item_id: EventId | None, otherwise: int) -> int:
        if item_id is None:
            return otherwise
        if item_id not in places:
            # spec: XEP-0313 4.3.2, XEP-0059 2.2
            raise Problem("item-not-found", "There is no such item in this archive")
        return places[item_id]

    low, high = place(asked.after_id, -1), place(asked.before_id, len(items))
    for item_id in asked.ids:
        place(item_id, 0)
    fitting = [
        one
        for one in items
        if low < one.position < high
        and (not asked.ids or one.event_id in asked.ids)
        and (asked.start_ts_ms is None or one.ts_ms >= asked.start_ts_ms)
        and (asked.end_ts_ms is None or one.ts_ms <= asked.end_ts_ms)
    ]
    after, before = place(asked.after, -1), place(asked.before, len(items))
    wanted = [one for one in fitting if after < one.position < before]
    return cut_to(wanted, asked.limit, backward=asked.backward), fitting


def node_of(stanza: Element) -> str | None:
    """The node that a request names."""
    query = stanza.first()
    return None if query is None else query.get("node") or None
