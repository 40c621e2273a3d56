"""Contacts of other servers whose clients want to hear of what accounts here publish.

Their presence says what they want, as that of clients here does; a hash that is not known is asked for, of the client
itself, in the name of the account. Remembered is who is there now, for each account that lets them see its presence: a
process that starts anew learns it with their next presence.
spec: XEP-0163 4.3.2-4.3.4; XEP-0115 5.4, 6.2; docs/mapping.md 15.8. Read next: notify.py, capabilities.py.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import UserId
from tripoint.xmpp.caps import Caps, caps_in
from tripoint.xmpp.pep.capabilities import Capabilities
from tripoint.xmpp.questions import Questions
from tripoint.xmpp.tables import DISCO_INFO_NS
from tripoint.xmpp.wire import Element, escape_attribute

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.session import Doors, XmppSession

# Clients of contacts, each some kilobytes; who comes when there are so many reads nodes, and is not told.
MAX_CLIENTS: Final = 5000

ShowLast = Callable[["XmppSession", UserId, frozenset[str]], Awaitable[None]]


class ContactsAbroad:
    """Who is there. `show_last` sends the newest items of nodes."""

    def __init__(
        self,
        doors: "Doors",
        users: "Users",
        questions: Questions,
        capabilities: Capabilities,
        show_last: ShowLast,
    ) -> None:
        self._doors = doors
        self._users = users
        self._questions = questions
        self._capabilities = capabilities
        self._show_last = show_last
        # By account and full address: a session that stands for the client, and knows what it wants.
        self._there: dict[UserId, dict[str, XmppSession]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def heard(self, client: "XmppSession", presence: Element, owner: UserId) -> None:
        """Available presence of a client of another server, for an account here."""
        caps = caps_in(presence)
        known = self._there.get(owner, {}).get(client.full)
        if caps is not None and (known is None or known.caps != caps):
            self._doors.spawn(self._learn(client, caps, owner))

    def gone(self, owner: UserId, full: str) -> None:
        """It is there no more, or takes nothing."""
        there = self._there.get(owner)
        if there is not None and there.pop(full, None) is not None:
            self._count -= 1
            if not there:
                del self._there[owner]

    async def wanting(self, owner: UserId, node: str) -> "list[XmppSession]":
        """Those that want to hear of a node, and may see the presence of its owner."""
        found = [one for one in self._there.get(owner, {}).values() if node in one.wants]
        return [one for one in found if await self._sees(owner, one)]

    async def _learn(self, client: "XmppSession", caps: Caps, owner: UserId) -> None:
        if not await self._sees(owner, client):
            return
        if self._count >= MAX_CLIENTS and client.full not in self._there.get(owner, {}):
            return
        there = self._there.setdefault(owner, {})
        self._count += client.full not in there
        client.caps = caps
        there[client.full] = client
        wanted = self._capabilities.wanted(caps)
        if wanted is None:
            query = await self._asked(client, caps, owner)
            wanted = frozenset() if query is None else self._capabilities.learn(caps, query)
        client.wants = wanted
        if wanted and self._there.get(owner, {}).get(client.full) is client:
            await self._show_last(client, owner, wanted)

    async def _asked(self, client: "XmppSession", caps: Caps, owner: UserId) -> Element | None:
        # Whom it lets see its presence its server lets ask. spec: RFC6121 8.5.3.1
        asker, server = self._users.jid_of(owner), self._doors.domains.server
        node = escape_attribute(f"{caps.node}#{caps.ver}")
        xml = f"<query xmlns='{DISCO_INFO_NS}' node='{node}'/>"
        answer = await self._questions.ask("get", asker, client.jid, xml, server)
        return None if answer is None or answer.get("type") != "result" else answer.child("query", DISCO_INFO_NS)

    async def _sees(self, owner: UserId, client: "XmppSession") -> bool:
        item = (await self._users.roster_of(owner)).get(client.bare)
        return item is not None and item.subscription in ("from", "both")
