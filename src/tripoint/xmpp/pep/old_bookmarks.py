"""Bookmarks as clients before XEP-0402 keep them: one list, in private storage or in one item of a node.

Both are views of the same bookmarks (bookmarks.py). A list that a client writes is compared with what there is: what is
new or different is done, and a room is left only where the list had it when this client last got it: what came in
meanwhile from elsewhere is not what somebody took out.
spec: XEP-0048 3, XEP-0411 3, XEP-0402 5.3. Read next: private.py.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tripoint.accounts.refusals import AccountRefused, NodeRefused
from tripoint.core.ids import UserId
from tripoint.core.nodes import MAX_ITEMS, Access, NodeConfig, NodeItem, SendLast
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.jid import InvalidJid, parse_jid
from tripoint.xmpp.pep.conference import Conference, read_conference
from tripoint.xmpp.pep.notify import published
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.tables import BOOKMARKS_CONVERSION_NS, OLD_BOOKMARKS_NS, PRIVATE_NS
from tripoint.xmpp.wire import Element, parse_fragment, render

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.pep.bookmarks import Bookmarks
    from tripoint.xmpp.pep.service import Pep
    from tripoint.xmpp.session import XmppSession

declare_feature(BOOKMARKS_CONVERSION_NS, at=(At.ACCOUNT,), spec="XEP-0411 2")

# What a request can raise that its client is told.
_REFUSALS: Final = (Problem, Refused, NodeRefused, AccountRefused)
_ITEM: Final = "current"
# The name under which addresses of web pages are kept in private storage, where no client can ask for it.
_PAGES: Final = f"{{{OLD_BOOKMARKS_NS}}}url"
PRIVATE_CONFIG: Final = NodeConfig(access=Access.WHITELIST, max_items=MAX_ITEMS, send_last=SendLast.NEVER)


class OldBookmarks:
    """The node that holds all bookmarks as one item. See pep.service.LiveNode."""

    name = OLD_BOOKMARKS_NS
    config = NodeConfig(access=Access.WHITELIST, max_items=1, send_last=SendLast.ON_SUB_AND_PRESENCE)

    def __init__(self, users: "Users", bookmarks: "Bookmarks", pep: "Pep") -> None:
        self._users = users
        self._bookmarks = bookmarks
        self._pep = pep

    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """See LiveNode."""
        listed = await self._bookmarks.all(user_id)
        for session in self._hearing(user_id):
            session.bookmarks_seen = frozenset(listed)
        return [NodeItem(_ITEM, _storage(listed, await self._pages(user_id)), self._users.jid_of(user_id), 0)]

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None:
        """See LiveNode."""
        return (await self.items(user_id, 1))[0] if item_id == _ITEM else None

    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """A whole new list."""
        await self.replace(session, payload)
        return _ITEM

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """Not all at once."""
        raise Problem("not-allowed", "Take bookmarks away one by one")

    async def tell(self, user_id: UserId) -> None:
        """Something of the list changed."""
        if self._pep.notifier.hears(user_id, OLD_BOOKMARKS_NS):
            items = tuple(await self.items(user_id, 1))
            self._pep.notifier.tell_owner(user_id, OLD_BOOKMARKS_NS, published(OLD_BOOKMARKS_NS, items))

    def _hearing(self, user_id: UserId) -> "list[XmppSession]":
        user = self._users.live(user_id)
        return [] if user is None else [s for s in user.sessions.values() if OLD_BOOKMARKS_NS in s.wants]

    async def listed(self, session: "XmppSession") -> str:
        """The list for one client, which may take something out of it."""
        found = await self._bookmarks.all(session.user_id)
        session.bookmarks_seen = frozenset(found)
        return _storage(found, await self._pages(session.user_id))

    async def _pages(self, user_id: UserId) -> str:
        """The addresses of web pages, which are kept as they were written. spec: XEP-0048 2.2"""
        kept = await self._pep.stored.item(user_id, PRIVATE_NS, _PAGES)
        (storage,) = parse_fragment(kept.payload) if kept is not None else (Element("none", ""),)
        return "".join([render(child, OLD_BOOKMARKS_NS).decode() for child in storage.elements()])

    async def _keep_pages(self, session: "XmppSession", storage: Element) -> None:
        pages = [child for child in storage.elements() if (child.name, child.namespace) == ("url", OLD_BOOKMARKS_NS)]
        stored, user_id = self._pep.stored, session.user_id
        if pages:
            payload = render(Element("storage", OLD_BOOKMARKS_NS, {}, pages), " ").decode()
            item = NodeItem(_PAGES, payload, session.full, 0)
            await stored.publish(user_id, PRIVATE_NS, item, default=PRIVATE_CONFIG)
        elif await stored.item(user_id, PRIVATE_NS, _PAGES) is not None:
            await stored.retract(user_id, PRIVATE_NS, _PAGES)

    async def replace(self, session: "XmppSession", storage: Element) -> None:
        """Make the bookmarks those of a list. What is refused of it does not keep the rest from being done."""
        wanted = _read(storage)
        await self._keep_pages(session, storage)
        present = await self._bookmarks.all(session.user_id)
        problem: Exception | None = None
        for jid, wish in wanted.items():
            now = present.get(jid)
            if now is not None and _same(now, wish):
                continue
            kept = wish if now is None else _with_extensions(wish, now)
            try:
                await self._bookmarks.put(session, parse_jid(jid), kept)
            except _REFUSALS as refused:
                problem = problem or refused
        for jid in present:
            if jid not in wanted and jid in session.bookmarks_seen:
                try:
                    await self._bookmarks.retract(session, jid)
                except _REFUSALS as refused:
                    problem = problem or refused
        session.bookmarks_seen = frozenset(wanted)
        if problem is not None:
            raise problem


def _storage(listed: dict[str, Conference], pages: str) -> str:
    inside = "".join([conference.old_xml(jid) for jid, conference in listed.items()])
    return f"<storage xmlns='{OLD_BOOKMARKS_NS}'>{inside}{pages}</storage>"


def _read(storage: Element) -> dict[str, Conference]:
    if (storage.name, storage.namespace) != ("storage", OLD_BOOKMARKS_NS):
        raise Problem("bad-request", "This is no list of bookmarks")
    found: dict[str, Conference] = {}
    for child in storage.elements():
        if (child.name, child.namespace) != ("conference", OLD_BOOKMARKS_NS):
            continue
        try:
            jid = parse_jid(child.get("jid") or "").bare
        except InvalidJid:
            raise Problem("jid-malformed", "A bookmark's address is not valid") from None
        if not jid.local:
            raise Problem("bad-request", "A bookmark is of a room")
        found[str(jid)] = read_conference(child)
    return found


def _same(one: Conference, other: Conference) -> bool:
    """Whether two bookmarks say the same in a list."""
    return one.old_xml("") == other.old_xml("")


def _with_extensions(wish: Conference, now: Conference) -> Conference:
    return Conference(wish.name, wish.autojoin, wish.nick, wish.password, now.extensions)
