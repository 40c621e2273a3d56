"""What accounts publish, as XMPP clients meet it: stored nodes and nodes that are views, and who may read them.

A node is what a client put there (accounts/nodes.py) or a live view of what the middle knows anyway (LiveNode): then
nothing is stored twice, and what comes from other protocols is told like what a client published.
spec: XEP-0163, XEP-0060 4.5, XEP-0223. Read next: requests.py (what can be asked), notify.py (who hears).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tripoint.accounts.nodes import Nodes
from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.core.ids import UserId
from tripoint.core.nodes import MAX_ITEMS, Access, NodeConfig, NodeItem, Publishers, SendLast
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import NodeChanged, UserChange
from tripoint.xmpp.pep.affiliations import OUTCAST, PUBLISH_ONLY, PUBLISHERS, READERS, affiliation_of
from tripoint.xmpp.pep.avatars import Avatars
from tripoint.xmpp.pep.bookmarks import Bookmarks
from tripoint.xmpp.pep.capabilities import Capabilities
from tripoint.xmpp.pep.contacts_abroad import ContactsAbroad
from tripoint.xmpp.pep.displayed import Displayed
from tripoint.xmpp.pep.nick import Nick
from tripoint.xmpp.pep.notify import Notifier, changed, last_item, reply_to
from tripoint.xmpp.pep.old_bookmarks import OldBookmarks
from tripoint.xmpp.pep.vcard4 import shown_card4
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import BOOKMARKS_NS, OLD_BOOKMARKS_NS, PRIVATE_NS, PUBSUB_ERRORS_NS, VCARD4_NODE, VCARD_NS
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.direct import DirectMessages
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.muc.service import Muc
    from tripoint.xmpp.session import Doors, XmppSession

# Nodes that are kept for other uses and are nobody's to see (private.py, c2s/vcard.py).
HIDDEN: Final = frozenset({PRIVATE_NS, VCARD_NS})
# How many contacts' nodes are looked up before other work gets its turn.
_AT_ONCE: Final = 20


class LiveNode(Protocol):
    """A node that every account has, whose items are made of something else."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> NodeConfig: ...
    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """The newest items, the newest first."""

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None: ...
    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """Do what the item means; its id. Whoever has to hear of it hears by the change that comes of it."""

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """Undo what the item stands for. NodeRefused(NO_SUCH_ITEM)."""


class Pep:
    """All nodes of this server's accounts."""

    def __init__(
        self, doors: "Doors", users: "Users", muc: "Muc", direct: "DirectMessages", nodes: Nodes, hub: Hub
    ) -> None:
        self.stored = nodes
        self.notifier = Notifier(doors, users, nodes.subscriptions, self.may_read)
        self.capabilities = Capabilities(self._wants)
        self.contacts_abroad = ContactsAbroad(doors, users, muc.questions, self.capabilities, self.show_last)
        if doors.abroad is not None:
            self.notifier.abroad = self.contacts_abroad
        self._doors = doors
        self._users = users
        self._live: dict[str, LiveNode] = {}
        self.bookmarks = Bookmarks(doors, users, muc, direct, self, hub)
        self.old_bookmarks = OldBookmarks(users, self.bookmarks, self)
        self.displayed = Displayed(doors, users, muc, direct, self.bookmarks, self.notifier, hub)
        self.nick = Nick(doors, users, self.notifier, hub)
        self.avatars = Avatars(doors, users, nodes, self.notifier, doors.pictures, hub)
        views: tuple[LiveNode, ...] = (self.bookmarks, self.old_bookmarks, self.displayed, self.nick)
        for live in (*views, self.avatars.metadata, self.avatars.data):
            self._live[live.name] = live
        hub.watch_users(self._user_changed)

    async def start(self) -> None:
        """Load what is needed before the first connection."""
        await self.bookmarks.start()

    def began(self, session: "XmppSession") -> None:
        """A session was bound."""
        self.avatars.began(session)

    def ended(self, session: "XmppSession") -> None:
        """A session is gone."""
        if self._users.live(session.user_id) is None:
            self.bookmarks.ended(session.user_id)
            self.displayed.ended(session.user_id)

    def live(self, node: str) -> LiveNode | None:
        """The view of this name."""
        return self._live.get(node)

    # -- reading

    async def nodes(self, user_id: UserId) -> Mapping[str, NodeConfig]:
        """All nodes of an account."""
        stored = await self.stored.nodes(user_id)
        found = {node: config for node, config in stored.items() if node not in HIDDEN}
        return {**found, **{node: live.config for node, live in self._live.items()}}

    async def config(self, user_id: UserId, node: str) -> NodeConfig:
        """The settings of a node. NodeRefused(NO_SUCH_NODE)."""
        live = self._live.get(node)
        found = live.config if live is not None else await self.stored.node(user_id, node)
        if found is None or node in HIDDEN:
            raise NodeRefused(NodeRefusal.NO_SUCH_NODE)
        return found

    async def items(self, user_id: UserId, node: str, limit: int = MAX_ITEMS) -> Sequence[NodeItem]:
        """The newest items, the newest first."""
        live = self._live.get(node)
        if live is not None:
            return await live.items(user_id, limit)
        found = await self.stored.items(user_id, node, limit)
        return found if node != VCARD4_NODE else [await shown_card4(self._doors, user_id, item) for item in found]

    async def item(self, user_id: UserId, node: str, item_id: str) -> NodeItem | None:
        """One item."""
        live = self._live.get(node)
        if live is not None:
            return await live.item(user_id, item_id)
        found = await self.stored.item(user_id, node, item_id)
        return found if found is None or node != VCARD4_NODE else await shown_card4(self._doors, user_id, found)

    async def may_read(self, owner: UserId, config: NodeConfig, viewer: "XmppSession") -> bool:
        """Whether somebody may read a node. spec: XEP-0060 4.5"""
        if viewer.user_id == owner:
            return True
        blocks = self._doors.reader.blocks
        affiliation = affiliation_of(config, viewer.bare)
        if affiliation == OUTCAST or blocks(owner, viewer.user_id):
            return False
        if affiliation in READERS:
            return True
        if config.access is Access.WHITELIST or affiliation == PUBLISH_ONLY:
            return False
        if config.access is Access.OPEN:
            return True
        item = (await self._users.roster_of(owner)).get(viewer.bare)
        if item is None:
            return False
        if config.access is Access.ROSTER:
            return not set(item.groups).isdisjoint(config.groups)
        return item.subscription in ("from", "both")

    async def check_may_read(self, owner: UserId, config: NodeConfig, viewer: "XmppSession") -> None:
        """Problem unless somebody may read a node. spec: XEP-0060 6.5.9.6-6.5.9.8"""
        if await self.may_read(owner, config, viewer):
            return
        if affiliation_of(config, viewer.bare) in (OUTCAST, PUBLISH_ONLY):
            raise Problem("forbidden", "Its owner does not let you read this")
        if config.access is Access.PRESENCE:
            raise _closed("not-authorized", "presence-subscription-required", "Only who may see its owner's presence")
        if config.access is Access.ROSTER:
            raise _closed("not-authorized", "not-in-roster-group", "Only some of its owner's contacts")
        raise _closed("not-allowed", "closed-node", "Only those on its owner's list")

    async def check_may_publish(self, owner: UserId, node: str, config: NodeConfig, writer: "XmppSession") -> None:
        """Problem unless somebody else may publish at a node. spec: XEP-0060 4.1, 7.1.3.1"""
        affiliation, who = affiliation_of(config, writer.bare), config.publishers
        # What is a view, or the account's own card, is of the owner alone.
        theirs = node not in self._live and node != VCARD4_NODE
        allowed = affiliation in PUBLISHERS or who is Publishers.OPEN
        if theirs and not allowed and who is Publishers.SUBSCRIBERS:
            present = await self.stored.subscriptions(owner)
            allowed = any(one.node == node and one.subscriber == writer.user_id for one in present)
        blocked = affiliation == OUTCAST or self._doors.reader.blocks(owner, writer.user_id)
        if not theirs or not allowed or blocked:
            raise Problem("forbidden", "Its owner does not let you publish here")

    # -- telling

    def hears_bookmarks(self, user_id: UserId) -> bool:
        """Whether a client is here that wants to hear of bookmarks, in one form or the other."""
        return self.notifier.hears(user_id, BOOKMARKS_NS) or self.notifier.hears(user_id, OLD_BOOKMARKS_NS)

    def bookmarks_told(self, user_id: UserId) -> None:
        """A bookmark changed: the list of all has changed too."""
        if self.notifier.hears(user_id, OLD_BOOKMARKS_NS):
            self._doors.spawn(self.old_bookmarks.tell(user_id))

    def _user_changed(self, change: UserChange) -> None:
        """See fanout.hub."""
        if isinstance(change, NodeChanged) and change.node not in self._live and change.node not in HIDDEN:
            xml = changed(change)
            if xml:
                by = reply_to(change.published)
                gone = change.subscribers if change.deleted else None
                self._doors.spawn(self.notifier.tell(change.user_id, change.node, change.config, xml, by, gone))

    def _wants(self, session: "XmppSession", before: frozenset[str]) -> None:
        """It is known what a client wants to hear of: it gets the newest items. spec: XEP-0163 4.3.4"""
        news = session.wants - before
        if news:
            self._doors.spawn(self._show_all(session, news))

    async def _show_all(self, session: "XmppSession", wanted: frozenset[str]) -> None:
        await self.show_last(session, session.user_id, wanted)
        roster = session.user.roster if session.user is not None else {}
        seen = [bare for bare, item in roster.items() if item.subscription in ("to", "both")]
        for number, bare in enumerate(seen):
            owner = self._users.user_of(bare)
            if owner is not None and await self._doors.accounts.is_local_user(owner):
                await self.show_last(session, owner, wanted)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def show_last(
        self, session: "XmppSession", owner: UserId, wanted: frozenset[str], *, asked: bool = False
    ) -> None:
        """The newest item of each of these nodes, as far as `session` may see it. `asked`: it has just subscribed."""
        when = (SendLast.ON_SUB, SendLast.ON_SUB_AND_PRESENCE) if asked else (SendLast.ON_SUB_AND_PRESENCE,)
        for node, config in (await self.nodes(owner)).items():
            if node not in wanted or config.send_last not in when or session.closed:
                continue
            if await self.may_read(owner, config, session):
                found = await self.items(owner, node, 1)
                if found:
                    xml = last_item(node, config, found[0], self._doors.domains.server)
                    by = reply_to(found[:1]) if await self._sees(session, owner) else ""
                    self.notifier.send(session, owner, xml + by)

    async def _sees(self, session: "XmppSession", owner: UserId) -> bool:
        """Whether somebody sees the presence of `owner`."""
        if session.user_id == owner:
            return True
        item = (await self._users.roster_of(owner)).get(session.bare)
        return item is not None and item.subscription in ("from", "both")


def _closed(condition: str, detail: str, who: str) -> Problem:
    return Problem(condition, f"{who} may read this", extra=f"<{detail} xmlns='{PUBSUB_ERRORS_NS}'/>")
