"""muc#admin: who is what in a room, and changing it: kicks, bans, roles, affiliations.

spec: XEP-0045 8.2-8.5, 9; docs/mapping.md 7.1-7.5, 9.1, 9.7. What an item means in ranks is decided here; whether
it may be done is the room's business. All ranks of one request are one power_levels event.
"""

from dataclasses import dataclass

from tripoint.core.ids import UserId
from tripoint.core.masks import mask_of_server
from tripoint.core.power import Rank, moderated
from tripoint.rooms.commands import Ban, Command, Invite, Kick, MaskList, SetMask, SetRanks, Unban
from tripoint.rooms.masks import ACL, texts_of
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.projection import Standing, is_public, standing_in
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.render import item
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import AFFILIATIONS, MUC_ADMIN_NS, ROLES
from tripoint.xmpp.wire import Element, escape_attribute

MAX_ITEMS = 100
_HALFOP_KICK_LEVEL = 25  # docs/mapping.md 7: halfop is level 25, so it means something only where that may kick
_MAY_SEE_BANS = Rank.PLAIN  # above this


@dataclass(frozen=True, slots=True)
class Wish:
    """One <item/> of a request: who, and the affiliation or role he is to have."""

    user_id: UserId
    affiliation: str | None
    role: str | None
    reason: str | None


def _items(stanza: Element) -> list[Element]:
    query = stanza.first()
    found = [] if query is None else [e for e in query.elements() if (e.name, e.namespace) == ("item", MUC_ADMIN_NS)]
    if not found or len(found) > MAX_ITEMS:
        raise Problem("bad-request", f"A request holds 1 to {MAX_ITEMS} items")
    return found


# -- reading


@iq("get", MUC_ADMIN_NS, at=(At.ROOM,), spec="XEP-0045 9.2, 9.5, 9.8, 10.5, 10.8")
async def list_users(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The users of one affiliation, or the occupants of one role."""
    visit = session.muc.visit(session, jid)
    asked = _items(stanza)[0]
    affiliation, role = asked.get("affiliation"), asked.get("role")
    if affiliation in AFFILIATIONS and affiliation != "none":
        xml = _with_affiliation(session, visit.view.room, affiliation)
    elif role in ROLES and role != "none":
        xml = "".join(
            [
                item(who.standing, jid=session.users.jid_of(who.user_id), nick=who.nick)
                for who in visit.view.occupants.values()
                if who.standing.role == role
            ]
        )
    else:
        raise Problem("bad-request", "Ask for one affiliation or one role")
    return f"<query xmlns='{MUC_ADMIN_NS}'>{xml}</query>"


def _with_affiliation(session: XmppSession, room: RoomView, affiliation: str) -> str:
    found: list[str] = []
    if affiliation == "outcast" and not room.rank(session.user_id).above(_MAY_SEE_BANS):
        raise Problem("forbidden", "Only those who may ban see who is banned")
    for user_id, member in room.members().items():
        if member.membership in ("join", "ban"):
            standing = standing_in(room, user_id)
        elif member.membership == "invite" and not is_public(room):
            # docs/mapping.md 7.5: whoever is invited to a members-only room is on its list of members.
            standing = Standing("member", "none")
        else:
            continue
        if standing.affiliation == affiliation:
            reason = member.event.content.get("reason") if affiliation == "outcast" else None
            listed = Standing(standing.affiliation, "none")
            found.append(
                item(
                    listed,
                    jid=session.users.jid_of(user_id),
                    reason=reason if isinstance(reason, str) else None,
                ).replace(" role='none'", "", 1)
            )
    if affiliation == "outcast":
        found += [
            f"<item affiliation='outcast' jid='{escape_attribute(host)}'/>"
            for host in texts_of(room.state.get((ACL, "")), "deny")
            if not set(host) & set("*?")
        ]
    return "".join(found)


# -- changing


@iq("set", MUC_ADMIN_NS, at=(At.ROOM,), spec="XEP-0045 8.2-8.5, 9.1-9.8, 10.3-10.8")
async def change_users(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Kick, ban, grant and revoke. Nothing is done unless every item can be read."""
    view = session.muc.visit(session, jid).view
    items = _items(stanza)
    servers = [server for element in items if (server := _server(session, element)) is not None]
    wishes = [_read(session, view, element) for element in items if _server(session, element) is None]
    ranks: dict[UserId, Rank] = {}
    commands: list[Command] = [
        SetMask(actor=session.user_id, room_id=view.room.room_id, list=MaskList.BAN, mask=mask_of_server(host), on=on)
        for host, on in servers
    ]
    for wish in wishes:
        _plan(session, view.room, wish, ranks, commands)
    if ranks:
        await session.doors.rooms.do(
            SetRanks(actor=session.user_id, room_id=view.room.room_id, ranks=tuple(ranks.items()))
        )
    for command in commands:
        if isinstance(command, Invite):
            await session.muc.invite(session, view.room, command.target, command.reason)
        else:
            await session.doors.rooms.do(command)
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


def _read(session: XmppSession, view: MucView, element: Element) -> Wish:
    affiliation, role = element.get("affiliation"), element.get("role")
    if (affiliation is None) == (role is None):
        raise Problem("bad-request", "An item changes either an affiliation or a role")
    if (affiliation or role) not in (AFFILIATIONS if role is None else ROLES):
        raise Problem("bad-request", "There is no such affiliation or role")
    reason = element.child_text("reason", MUC_ADMIN_NS) or None
    return Wish(_whom(session, view, element), affiliation, role, reason)


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


def _plan(session: XmppSession, room: RoomView, wish: Wish, ranks: dict[UserId, Rank], commands: list[Command]) -> None:
    """What a wish becomes. docs/mapping.md 7.4 (roles), 7.5 (affiliations)"""
    user_id, actor, room_id = wish.user_id, session.user_id, room.room_id
    membership = room.membership(user_id)
    if wish.role == "none":
        commands.append(Kick(actor=actor, room_id=room_id, target=user_id, reason=wish.reason))
    elif wish.role is not None:
        ranks[user_id] = rank_of_role(room, user_id, wish.role)
    elif wish.affiliation == "outcast":
        commands.append(Ban(actor=actor, room_id=room_id, target=user_id, reason=wish.reason))
    elif wish.affiliation == "owner":
        ranks[user_id] = Rank.OWNER
    elif wish.affiliation == "admin":
        ranks[user_id] = Rank.OP
    elif wish.affiliation == "member":
        _plan_member(session, room, wish, ranks, commands)
    elif membership == "ban":
        commands.append(Unban(actor=actor, room_id=room_id, target=user_id, reason=wish.reason))
    else:
        if membership == "join" and room.rank(user_id) is not Rank.PLAIN:
            ranks[user_id] = Rank.PLAIN
        if not is_public(room) and membership in ("join", "invite"):
            commands.append(Kick(actor=actor, room_id=room_id, target=user_id, reason=wish.reason))


def _plan_member(
    session: XmppSession, room: RoomView, wish: Wish, ranks: dict[UserId, Rank], commands: list[Command]
) -> None:
    user_id = wish.user_id
    membership = room.membership(user_id)
    if is_public(room):
        if membership not in ("join", "invite"):
            raise Problem("not-allowed", "In a room that is open to all, only those inside can be made members")
        ranks[user_id] = Rank.VOICE
    elif membership == "join":
        ranks[user_id] = Rank.PLAIN
    elif membership != "invite":
        commands.append(Invite(actor=session.user_id, room_id=room.room_id, target=user_id, reason=wish.reason))


def rank_of_role(room: RoomView, user_id: UserId, role: str) -> Rank:
    """docs/mapping.md 7.4: a role is for a visit in XEP-0045; here it lasts."""
    levels = room.power
    if role == "moderator":
        return Rank.HALFOP if levels.kick <= _HALFOP_KICK_LEVEL else Rank.OP
    if role == "visitor":
        return Rank.MUTED
    if moderated(levels) and not room.rank(user_id).above(Rank.VOICE):
        return Rank.VOICE
    return Rank.PLAIN
