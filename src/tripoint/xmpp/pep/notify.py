"""Telling what was published: who hears of a change, and what it looks like.

The owner's own resources and the contacts who may see the owner's presence hear of it, where their clients have said
that they want to (XEP-0163 4), and who subscribed. What is told is not kept for anybody: who comes later gets the
newest item.
spec: XEP-0060 7.1.2.1, 7.2.2.1, 8.4.2, 8.5.2; XEP-0163 4.3. Read next: capabilities.py.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tripoint.accounts.ports import RosterItem
from tripoint.core.ids import UserId
from tripoint.core.nodes import Access, NodeConfig, NodeItem, Subscription
from tripoint.rooms.changes import NodeChanged
from tripoint.xmpp.pep.affiliations import READERS, affiliation_of
from tripoint.xmpp.render import delay
from tripoint.xmpp.tables import ADDRESS_NS, PUBSUB_EVENT_NS
from tripoint.xmpp.wire import escape_attribute

# The id of what goes to other servers: an answer to it is no answer to anything that somebody has written.
NOTIFICATION: Final = "pep"

Subscriptions = Callable[[UserId], Awaitable[Sequence[Subscription]]]
MayRead = Callable[[UserId, NodeConfig, "XmppSession"], Awaitable[bool]]

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.users import LiveUser, Users
    from tripoint.xmpp.pep.contacts_abroad import ContactsAbroad
    from tripoint.xmpp.session import Doors, XmppSession


def item_xml(item: NodeItem, *, payload: bool = True, by: bool = False) -> str:
    """An <item/>; its payload says its own namespace. `by`: it says who has published it. spec: XEP-0060 7.1.2.3"""
    head = f"<item id='{escape_attribute(item.item_id)}'"
    if by:
        head += f" publisher='{escape_attribute(item.publisher.partition('/')[0])}'"
    return f"{head}>{item.payload}</item>" if payload else f"{head}/>"


def published(node: str, items: tuple[NodeItem, ...], *, payload: bool = True, by: bool = False) -> str:
    """spec: XEP-0060 7.1.2.1-7.1.2.3"""
    return _items(node, "".join([item_xml(item, payload=payload, by=by) for item in items]))


def retracted(node: str, item_ids: tuple[str, ...]) -> str:
    """spec: XEP-0060 7.2.2.1"""
    return _items(node, "".join([f"<retract id='{escape_attribute(item_id)}'/>" for item_id in item_ids]))


def changed(change: NodeChanged) -> str:
    """The inside of the notification of a change; empty where the node is not set to tell."""
    node, config = change.node, change.config
    if change.deleted:
        if not config.notify_delete:
            return ""
        head = f"<delete node='{escape_attribute(node)}'"
        to = f"<redirect uri='{escape_attribute(change.redirect)}'/>" if change.redirect else ""
        return _event(f"{head}>{to}</delete>" if to else f"{head}/>")
    if change.purged:
        return _event(f"<purge node='{escape_attribute(node)}'/>") if config.notify_retract else ""
    if change.retracted:
        return retracted(node, change.retracted) if config.notify_retract else ""
    return published(node, change.published, payload=config.deliver_payloads, by=config.names_publishers)


def last_item(node: str, config: NodeConfig, item: NodeItem, server: str) -> str:
    """The newest item, for who has just come, and since when it is there if that is known. spec: XEP-0163 4.3.4"""
    xml = published(node, (item,), by=config.names_publishers)
    return xml + (delay(server, item.ts_ms) if item.ts_ms else "")


def reply_to(items: Sequence[NodeItem]) -> str:
    """Which of the owner's clients published. spec: XEP-0163 4.3.1 (3), XEP-0033 4.7"""
    by = items[-1].publisher if items else ""
    if "/" not in by:
        return ""
    return f"<addresses xmlns='{ADDRESS_NS}'><address type='replyto' jid='{escape_attribute(by)}'/></addresses>"


def subscription_changed(node: str, jid: str, state: str) -> str:
    """That the owner of a node has subscribed somebody, or ended that. spec: XEP-0060 8.8.4"""
    node, jid = escape_attribute(node), escape_attribute(jid)
    return _event(f"<subscription node='{node}' jid='{jid}' subscription='{state}'/>")


def _items(node: str, inside: str) -> str:
    return _event(f"<items node='{escape_attribute(node)}'>{inside}</items>")


def _event(inside: str) -> str:
    return f"<event xmlns='{PUBSUB_EVENT_NS}'>{inside}</event>"


class Notifier:
    """Sends notifications to the sessions of this process."""

    def __init__(self, doors: "Doors", users: "Users", subscriptions: Subscriptions, may_read: MayRead) -> None:
        self._doors = doors
        self._users = users
        self._subscriptions = subscriptions
        self._may_read = may_read
        # Contacts of other servers, where there are any.
        self.abroad: ContactsAbroad | None = None

    async def tell(
        self,
        owner: UserId,
        node: str,
        config: NodeConfig,
        xml: str,
        by: str = "",
        subscribers: Sequence[Subscription] | None = None,
    ) -> None:
        """Tell everybody who may hear of a node and wants to; `xml` is the inside of the message, `by` what stands
        behind it for those who may see which of the owner's clients published (reply_to). `subscribers`: of a node that
        is gone, those that it had."""
        sessions = self._own(owner, node)
        sessions += self._contacts(owner, node, config, await self._users.roster_of(owner))
        self._send(sessions, owner, xml + by)
        if self.abroad is not None:
            wanting = await self.abroad.wanting(owner, node)
            self._send([one for one in wanting if await self._may_read(owner, config, one)], owner, xml + by)
        # Once each, however often somebody subscribed.
        others = dict.fromkeys(await self._subscribers(owner, node, config, subscribers))
        self._send([one for one in others if one not in sessions], owner, xml)

    async def _subscribers(
        self, owner: UserId, node: str, config: NodeConfig, known: Sequence[Subscription] | None
    ) -> "list[XmppSession]":
        """Who asked to hear of it, whatever his client says of its interests. spec: XEP-0163 4, XEP-0060 6.1"""
        found: list[XmppSession] = []
        for one in await self._subscriptions(owner) if known is None else known:
            user = self._users.live(one.subscriber) if one.node == node else None
            for session in () if user is None else user.available():
                if one.jid in (session.bare, session.full) and await self._may_read(owner, config, session):
                    found.append(session)
        return found

    def tell_owner(self, owner: UserId, node: str, xml: str) -> None:
        """Tell the owner's own clients that want to hear of a node."""
        self._send(self._own(owner, node), owner, xml)

    def tell_subscriber(self, owner: UserId, subscription: Subscription, state: str) -> None:
        """Tell somebody that the owner of a node has subscribed them, or ended that. spec: XEP-0060 8.8.4"""
        user = self._users.live(subscription.subscriber)
        xml = subscription_changed(subscription.node, subscription.jid, state)
        told = () if user is None else user.available()
        self._send([one for one in told if subscription.jid in (one.bare, one.full)], owner, xml)

    def send(self, session: "XmppSession", owner: UserId, xml: str) -> None:
        """Tell one session."""
        self._send([session], owner, xml)

    def hears(self, owner: UserId, node: str) -> bool:
        """Whether a client of the owner is here that wants to hear of a node."""
        return bool(self._own(owner, node))

    def _send(self, sessions: "list[XmppSession]", owner: UserId, xml: str) -> None:
        # spec: XEP-0163 4.3.1: from the bare address, to full ones
        head = f"<message from='{escape_attribute(self._users.jid_of(owner))}' type='headline'".encode()
        tail = f">{xml}</message>".encode()
        marked = f" id='{NOTIFICATION}'{tail.decode()}".encode()
        for session in sessions:
            session.send(head + session.to + (marked if session.foreign else tail))

    def _own(self, owner: UserId, node: str) -> "list[XmppSession]":
        user = self._users.live(owner)
        return [] if user is None else _wanting(user, node)

    def _contacts(
        self, owner: UserId, node: str, config: NodeConfig, roster: Mapping[str, RosterItem]
    ) -> "list[XmppSession]":
        found: list[XmppSession] = []
        blocks = self._doors.reader.blocks
        for bare, item in roster.items():
            if item.subscription not in ("from", "both"):
                continue
            if not _is_for(config, bare, item):
                continue
            contact = self._users.by_bare(bare)
            if contact is None or blocks(owner, contact.user_id) or blocks(contact.user_id, owner):
                continue
            found += _wanting(contact, node)
        return found


def _is_for(config: NodeConfig, bare: str, item: RosterItem) -> bool:
    """Whether a contact who sees the owner's presence may read a node. spec: XEP-0060 4.1, 4.5"""
    affiliation = affiliation_of(config, bare)
    if affiliation != "none" or config.access is Access.WHITELIST:
        return affiliation in READERS
    return config.access is not Access.ROSTER or not set(item.groups).isdisjoint(config.groups)


def _wanting(user: "LiveUser", node: str) -> "list[XmppSession]":
    return [session for session in user.available() if node in session.wants]
