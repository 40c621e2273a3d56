"""muc#admin: changing who is what in a room: kicks, bans, roles, affiliations.

What an item means in ranks is decided here, and what XEP-0045 forbids whatever the levels of the room say; whether it
may be done besides is the room's business. All ranks of one request are one power_levels event. Lists are in rolls.py.
spec: XEP-0045 8.2-8.5, 9, 10.3-10.8; docs/mapping.md 7.1-7.5, 9.1, 9.7.
"""

from tripoint.core.ids import UserId
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.muc.plan import Plan, Wish, add_wish, check_exists, check_wish
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.projection import is_public
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import AFFILIATIONS, MUC_ADMIN_NS, ROLES
from tripoint.xmpp.wire import Element

MAX_ITEMS = 100


def items_of(stanza: Element) -> list[Element]:
    """The items of a request; Problem for none, or too many."""
    query = stanza.first()
    found = [] if query is None else [e for e in query.elements() if (e.name, e.namespace) == ("item", MUC_ADMIN_NS)]
    if not found or len(found) > MAX_ITEMS:
        raise Problem("bad-request", f"A request holds 1 to {MAX_ITEMS} items")
    return found


@iq("set", MUC_ADMIN_NS, at=(At.ROOM,), spec="XEP-0045 8.2-8.5, 9.1-9.8, 10.3-10.8")
async def change_users(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Kick, ban, grant and revoke. Nothing is done unless every item can be."""
    room = await session.muc.room_for(session, jid)
    if room.membership(session.user_id) != "join":
        # spec: XEP-0045 8, 9: whoever is no moderator or admin; those need not have a client in the room
        raise Problem("forbidden", "You are not in this room")
    items = items_of(stanza)
    async with session.muc.looking(room) as view:
        plan = Plan(session.user_id, room.room_id, public=is_public(room))
        for element in items:
            server = _server(session, element)
            if server is not None:
                plan.ban_server(*server)
                continue
            wish = await _read(session, view, element)
            check_wish(room, session.user_id, wish)
            add_wish(room, wish, plan)
        await plan.carry_out(session, room)
    return ""


def _server(session: XmppSession, element: Element) -> tuple[str, bool] | None:
    """A domain as outcast, or not any more: a ban of everybody of a server. docs/mapping.md 9.2"""
    try:
        jid = parse_jid(element.get("jid") or "")
    except InvalidJid:
        return None
    if jid.local or jid.resource:
        return None
    if element.get("affiliation") not in ("outcast", "none"):
        raise Problem("not-allowed", "A whole server can be outcast or none")
    return jid.domain, element.get("affiliation") == "outcast"


async def _read(session: XmppSession, view: MucView, element: Element) -> Wish:
    affiliation, role = element.get("affiliation"), element.get("role")
    if (affiliation is None) == (role is None):
        raise Problem("bad-request", "An item changes either an affiliation or a role")
    if (affiliation or role) not in (AFFILIATIONS if role is None else ROLES):
        raise Problem("bad-request", "There is no such affiliation or role")
    user_id = _whom(session, view, element)
    if role is not None and view.room.membership(user_id) != "join":
        # spec: XEP-0045 5.1: a role is somebody's who is there
        raise Problem("item-not-found", "There is no such person in this room")
    if affiliation in ("owner", "admin", "member"):
        await check_exists(session, user_id)
    return Wish(user_id, affiliation, role, element.child_text("reason", MUC_ADMIN_NS) or None)


def _whom(session: XmppSession, view: MucView, element: Element) -> UserId:
    nick, address = element.get("nick"), element.get("jid")
    if address is not None:
        try:
            user_id = parse_any_user_jid(parse_jid(address).bare, session.doors.domains)
        except InvalidJid:
            raise Problem("jid-malformed", "The address in the item is not valid") from None
        if user_id is None:
            user_id = _with_address(session, view, address)
        if user_id is not None:
            return user_id
    elif nick is not None:
        who = view.with_nick(nick)
        if who is not None:
            return who.user_id
    else:
        raise Problem("bad-request", "An item names somebody by nick or address")
    raise Problem("item-not-found", "There is no such person in this room")


def _with_address(session: XmppSession, view: MucView, address: str) -> UserId | None:
    """Somebody whose address cannot be read back into a user (docs/mapping.md 1.5): looked up among the members."""
    for user_id in view.room.members():
        if session.users.jid_of(user_id) == address:
            return user_id
    return None
