"""The display name of an account as the nickname that it publishes: one name on all protocols.

It is public, as Matrix profiles are.  spec: XEP-0172 3, 4.3; docs/mapping.md 2.3. Read next: c2s/vcard.py.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.core.ids import UserId
from tripoint.core.nodes import Access, NodeConfig, NodeItem
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import ProfileChanged, UserChange
from tripoint.rooms.commands import SetProfile
from tripoint.xmpp.pep.notify import Notifier, published
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import NICK_NS, PUBSUB_ERRORS_NS
from tripoint.xmpp.wire import Element, escape_text

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.session import Doors, XmppSession

_ITEM: Final = "current"


class Nick:
    """The node of nicknames, of all accounts. See pep.service.LiveNode."""

    name = NICK_NS
    config = NodeConfig(access=Access.OPEN)

    def __init__(self, doors: "Doors", users: "Users", notifier: Notifier, hub: Hub) -> None:
        self._doors = doors
        self._users = users
        self._notifier = notifier
        hub.watch_users(self._user_changed)

    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """See LiveNode."""
        name = (await self._doors.reader.profile(user_id)).get("displayname")
        return [] if name is None else [self._item(user_id, name)]

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None:
        """See LiveNode."""
        found = await self.items(user_id, 1)
        return found[0] if found and item_id == _ITEM else None

    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """Be called so everywhere; by the localpart again, where the nickname is empty."""
        if (payload.name, payload.namespace) != ("nick", NICK_NS):
            extra = f"<invalid-payload xmlns='{PUBSUB_ERRORS_NS}'/>"
            raise Problem("bad-request", "This is no nickname", extra=extra)
        await self._set(session, payload.text.strip() or None)
        return _ITEM

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """Have no name of one's own any more."""
        if await self.item(session.user_id, item_id) is None:
            raise NodeRefused(NodeRefusal.NO_SUCH_ITEM)
        await self._set(session, None)

    async def _set(self, session: "XmppSession", name: str | None) -> None:
        await self._doors.rooms.do(SetProfile(actor=session.user_id, field="displayname", value=name))

    def _item(self, user_id: UserId, name: str) -> NodeItem:
        payload = f"<nick xmlns='{NICK_NS}'>{escape_text(name)}</nick>"
        return NodeItem(_ITEM, payload, self._users.jid_of(user_id), 0)

    def _user_changed(self, change: UserChange) -> None:
        """See fanout.hub."""
        if isinstance(change, ProfileChanged) and change.field == "displayname":
            name = change.value if isinstance(change.value, str) else ""
            xml = published(NICK_NS, (self._item(change.user_id, name),))
            self._doors.spawn(self._notifier.tell(change.user_id, NICK_NS, self.config, xml))
