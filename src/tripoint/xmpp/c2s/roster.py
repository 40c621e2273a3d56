"""The roster: get, set, remove. Storing and pushing is users.py, which holds the rosters of who is online.

spec: RFC6121 2
"""

from msgspec.structs import replace

from tripoint.accounts.ports import RosterItem
from tripoint.xmpp.c2s.presence import end_subscriptions
from tripoint.xmpp.c2s.users import MAX_ITEMS, render_item, version_of
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import ROSTER_NS
from tripoint.xmpp.wire import Element

MAX_GROUPS = 20
MAX_NAME_BYTES = 1023


@iq("get", ROSTER_NS, at=(At.ACCOUNT,), spec="RFC6121 2.1.3, 2.6; XEP-0237")
async def get_roster(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The whole roster, or nothing for a client that has it as it is; from now on this resource gets pushes."""
    session.interested = True
    roster = await session.users.roster_of(session.user_id)
    query = stanza.first()
    had = None if query is None else query.get("ver")
    ver = ""
    if had is not None:
        session.versions = True
        version = version_of(roster)
        if had == version:
            return ""
        ver = f" ver='{version}'"
    items = "".join([render_item(item) for item in roster.values() if item.shown])
    return f"<query xmlns='{ROSTER_NS}'{ver}>{items}</query>"


@iq("set", ROSTER_NS, at=(At.ACCOUNT,), spec="RFC6121 2.3-2.5")
async def set_roster(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Add, change or remove one item. Subscriptions are changed by presence alone."""
    wished = _read_item(stanza)
    roster = await session.users.roster_of(session.user_id)
    current = roster.get(wished.jid)
    if wished.subscription == "remove":
        if current is None:
            raise Problem("item-not-found", "There is no such contact in your roster")
        await _remove(session, current)
        return ""
    if current is None and len(roster) >= MAX_ITEMS:
        raise Problem("resource-constraint", f"A roster holds at most {MAX_ITEMS} contacts")
    async with session.users.rosters(session.user_id):
        # A subscription may have changed while this waited.
        current = (await session.users.roster_of(session.user_id)).get(wished.jid)
        base = current if current is not None else wished
        item = replace(base, name=wished.name, groups=wished.groups)
        await session.users.put_item(session.user_id, item)
    return ""


@iq("set", ROSTER_NS, at=(At.USER,), spec="RFC6121 2.3.3")
async def set_roster_of_other(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Nobody writes another one's roster."""
    raise Problem("forbidden", "That is somebody else's roster")


async def _remove(session: XmppSession, item: RosterItem) -> None:
    """spec: RFC6121 2.5.2: subscriptions in both directions end with the item."""
    async with session.users.rosters(session.user_id):
        item = (await session.users.roster_of(session.user_id)).get(item.jid, item)
        gone = replace(item, subscription="remove", ask=False, approved=False, groups=(), name=None)
        await session.users.put_item(session.user_id, gone)
    await end_subscriptions(session, item)


def _read_item(stanza: Element) -> RosterItem:
    """spec: RFC6121 2.1.5, 2.3.3: exactly one item; duplicate or too long groups and names are refused."""
    query = stanza.child("query", ROSTER_NS)
    items = [] if query is None else [e for e in query.elements() if (e.name, e.namespace) == ("item", ROSTER_NS)]
    if len(items) != 1:
        raise Problem("bad-request", "A roster set holds exactly one item")
    if items[0].get("jid") is None:
        raise Problem("bad-request", "An item of a roster has an address")
    try:
        jid = parse_jid(items[0].get("jid") or "").bare
    except InvalidJid as error:
        raise Problem("jid-malformed", f"The contact's address is not valid: {error}") from None
    groups = [e.text for e in items[0].elements() if (e.name, e.namespace) == ("group", ROSTER_NS)]
    if len(set(groups)) != len(groups):
        raise Problem("bad-request", "A group is named twice")
    name = items[0].get("name") or ""
    if len(groups) > MAX_GROUPS or any(not group for group in groups):
        raise Problem("not-acceptable", "A contact is in too many groups, or in one without a name")
    if any(len(text.encode()) > MAX_NAME_BYTES for text in (name, *groups)):
        raise Problem("not-acceptable", "A name or group is too long")
    kind = "remove" if items[0].get("subscription") == "remove" else "none"
    return RosterItem(str(jid), name, kind, False, tuple(groups))
