"""muc#admin: the lists of a room: who has an affiliation, who has a role.

spec: XEP-0045 5.2.1 (who may ask), 8.5, 9.2, 9.5, 9.8, 10.5, 10.8, 17.4 (5, 6); docs/mapping.md 7.5, 9.2. Rooms are
non-anonymous, so members see who else is what; who is banned is for those who may ban.
"""

from tripoint.core.ids import UserId
from tripoint.core.json_view import text_at
from tripoint.rooms.masks import ACL, texts_of
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.muc.admin import items_of
from tripoint.xmpp.muc.affiliations import known_users
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.projection import affiliation_in, is_public, standing_in
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.render import item
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import AFFILIATIONS, MUC_ADMIN_NS, ROLES
from tripoint.xmpp.wire import Element, escape_attribute, escape_text


@iq("get", MUC_ADMIN_NS, at=(At.ROOM,), spec="XEP-0045 8.5, 9.2, 9.5, 9.8, 10.5, 10.8")
async def list_users(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The users of one affiliation, or the occupants of one role."""
    room = await session.muc.room_for(session, jid)
    asked = items_of(stanza)[0]
    affiliation, role = asked.get("affiliation"), asked.get("role")
    if (affiliation is None) == (role is None):
        raise Problem("bad-request", "Ask for one affiliation or one role")
    if affiliation in AFFILIATIONS and affiliation != "none":
        _check_may_list(room, session.user_id, affiliation)
        async with session.muc.looking(room) as view:
            xml = _with_affiliation(session, view, affiliation)
    elif role in ROLES and role != "none":
        _check_may_list_role(room, session.user_id, role)
        async with session.muc.looking(room) as view:
            xml = _with_role(view, role)
    else:
        raise Problem("bad-request", "There is no list of these")
    return f"<query xmlns='{MUC_ADMIN_NS}'>{xml}</query>"


def _check_may_list(room: RoomView, user_id: UserId, affiliation: str) -> None:
    """spec: XEP-0045 5.2.1, 9.2, 9.5: of a members-only room, who is on its list of members, inside or not yet"""
    membership = room.membership(user_id)
    if membership != "join" and (membership != "invite" or is_public(room)):
        raise Problem("forbidden", "Only members see who is what in this room")
    if affiliation == "outcast" and (membership != "join" or room.power.user(user_id) < room.power.ban):
        raise Problem("forbidden", "Only those who may ban see who is banned")


def _check_may_list_role(room: RoomView, user_id: UserId, role: str) -> None:
    """spec: XEP-0045 8.5 (moderators see who has voice), 9.8 (admins see who is a moderator)"""
    inside = room.membership(user_id) == "join"
    own = standing_in(room, user_id) if inside else None
    if own is None or own.role != "moderator":
        raise Problem("forbidden", "Only moderators see who has which role")
    if role == "moderator" and own.affiliation not in ("owner", "admin"):
        raise Problem("forbidden", "Only admins and owners see the list of moderators")


def _with_role(view: MucView, role: str) -> str:
    """spec: XEP-0045 17.4 (5): nick, role, affiliation, and the full JID"""
    there = [who for who in view.occupants.values() if who.standing.role == role and not who.hidden]
    return "".join([item(who.standing, jid=view.shown_jid(who), nick=who.nick) for who in there])


def _with_affiliation(session: XmppSession, view: MucView, affiliation: str) -> str:
    room = view.room
    found = [
        _listed(session, view, user_id, affiliation)
        for user_id in known_users(room)
        if affiliation_in(room, user_id) == affiliation
    ]
    if affiliation == "outcast":
        found += [
            f"<item affiliation='outcast' jid='{escape_attribute(host)}'/>"
            for host in texts_of(room.state.get((ACL, "")), "deny")
            if not set(host) & set("*?")
        ]
    return "".join(found)


def _listed(session: XmppSession, view: MucView, user_id: UserId, affiliation: str) -> str:
    """spec: XEP-0045 17.4 (6): no role; the bare JID; the nick, which outcasts have none of"""
    who = view.occupants.get(user_id)
    nick = "" if who is None else f" nick='{escape_attribute(who.nick)}'"
    opening = f"<item affiliation='{affiliation}' jid='{escape_attribute(session.users.jid_of(user_id))}'{nick}"
    member = view.room.member(user_id)
    reason = text_at(member.event.content, "reason") if member is not None and affiliation == "outcast" else None
    return f"{opening}><reason>{escape_text(reason)}</reason></item>" if reason else f"{opening}/>"
