"""Asking to be let in, and letting in: registration with a room is a knock; also the way to end a membership.

Who may invite gets a form for everybody who knocks, at once or when he enters; allowed means invited, denied means
that the knock is taken back. Both are done by whoever comes first, on any protocol.
spec: XEP-0045 7.10, 9.9, 16.5.1; XEP-0077 3.2; docs/mapping.md 4.4, 9.11.
"""

from tripoint.core.ids import UserId
from tripoint.core.json_view import text_at
from tripoint.rooms.commands import Invite, Kick, Knock, Leave
from tripoint.rooms.ports import Member, RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.adhoc import field, one
from tripoint.xmpp.forms import boolean, form_fields, submitted
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.muc.nicks import check_nick, set_nick
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.render import Shared, room_message
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, MUC_REGISTER, REGISTER_NS
from tripoint.xmpp.wire import Element, escape_text

declare_feature(MUC_REGISTER, at=(At.ROOM,), spec="XEP-0045 16.3")

_KNOCKING = frozenset({"knock", "knock_restricted"})
_REASON = "muc#register_reason"
_ALLOW = "muc#register_allow"
_NICK = "muc#register_roomnick"
_WHO = "muc#jid"
# Who enters is shown this many that wait; a room with more has somebody who is not asked by form.
MAX_SHOWN = 20


def _hidden() -> str:
    return f"<field type='hidden' var='FORM_TYPE'><value>{MUC_REGISTER}</value></field>"


@iq("get", REGISTER_NS, at=(At.ROOM,), feature=REGISTER_NS, spec="XEP-0045 7.10")
async def registration(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A member is registered with his nick; to a room that takes knocks there is a form."""
    room = await session.muc.room_for(session, jid)
    if room.membership(session.user_id) == "join":
        nick = await _nick_in(session, room)
        return f"<query xmlns='{REGISTER_NS}'><registered/><username>{escape_text(nick)}</username></query>"
    if room.join_rule not in _KNOCKING:
        raise Problem("not-allowed", "Enter the room to become a member")
    text = "The room's moderators will be asked whether you may enter."
    form = (
        f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>Asking to enter</title><instructions>{text}</instructions>"
        + _hidden()
        + field(_NICK, "text-single", "How you want to be called there")
        + field(_REASON, "text-single", "Why you want to enter")
        + "</x>"
    )
    return f"<query xmlns='{REGISTER_NS}'><instructions>{text}</instructions>{form}</query>"


async def _nick_in(session: XmppSession, room: RoomView) -> str:
    async with session.muc.looking(room) as view:
        return view.nicks.nick(session.user_id) or ""


@iq("set", REGISTER_NS, at=(At.ROOM,), spec="XEP-0045 7.10, XEP-0077 3.2, docs/mapping.md 4.4, 9.11")
async def register(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A form: knock; of a member, who has his nick by being one, another nick. <remove/>: leave for good, or take the
    knock back."""
    room = await session.muc.room_for(session, jid)
    query = stanza.first()
    assert query is not None  # the router has looked
    if query.child("remove", REGISTER_NS) is not None:
        await session.doors.rooms.do(Leave(actor=session.user_id, room_id=room.room_id))
        return ""
    member = room.membership(session.user_id) == "join"
    if not member and room.join_rule not in _KNOCKING:
        raise Problem("not-allowed", "Enter the room to become a member")
    fields = submitted(query.child("x", DATA_FORMS_NS), MUC_REGISTER)
    nick = one(fields, _NICK)
    if nick:
        async with session.muc.looking(room) as view:
            if nick != view.nicks.nick(session.user_id):
                await check_nick(session, view, nick)
                if member:
                    await set_nick(session, room, nick)
    if not member:
        reason = one(fields, _REASON) or None
        await session.doors.rooms.do(
            Knock(actor=session.user_id, room_id=room.room_id, reason=reason, nick=nick or None)
        )
    return ""


# -- letting in


def may_let_in(room: RoomView, user_id: UserId) -> bool:
    """Whether somebody is asked about those who knock."""
    power = room.power
    return room.membership(user_id) == "join" and power.user(user_id) >= power.invite


def tell_knock(view: MucView, knocker: Member) -> None:
    """Ask everybody who is there and may let in. spec: XEP-0045 9.9"""
    asked = [visit for visit in view.visits() if visit.waiting is None and may_let_in(view.room, visit.session.user_id)]
    if asked:
        form = _approval(view, knocker)
        for visit in asked:
            visit.session.send_shared(form)


def show_knocks(view: MucView, visit: Visit) -> None:
    """Ask somebody who enters about those who knocked before."""
    if visit.session.visits.get(view.jid) is not visit or not may_let_in(view.room, visit.session.user_id):
        return
    waiting = [member for member in view.room.members().values() if member.membership == "knock"]
    for knocker in waiting[:MAX_SHOWN]:
        visit.session.send_shared(_approval(view, knocker))


def _approval(view: MucView, knocker: Member) -> Shared:
    text = "To let this person in, tick the box and send the form. Without the tick they are turned away."
    form = (
        f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>Somebody asks to enter</title>"
        f"<instructions>{text}</instructions>"
        + _hidden()
        + field(_WHO, "jid-single", "Who asks", view.bare_jid(knocker.user_id))
        + field(_NICK, "text-single", "Name", knocker.displayname or "")
        + field(_REASON, "text-single", "Why", text_at(knocker.event.content, "reason") or "")
        + field(_ALLOW, "boolean", "Let them in", "0")
        + "</x>"
    )
    return room_message(view.jid, form, knocker.event.event_id, kind="normal")


def is_approval(stanza: Element) -> bool:
    """Whether a message to a room is a filled-in form about somebody who knocked."""
    form = stanza.child("x", DATA_FORMS_NS)
    return form is not None and one(form_fields(form), "FORM_TYPE") == MUC_REGISTER


async def approve(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """Invite whom the form lets in, turn away whom it does not. Cancelling leaves him waiting."""
    room = await session.muc.room_for(session, jid)
    form = stanza.child("x", DATA_FORMS_NS)
    assert form is not None  # is_approval has looked
    if form.get("type") == "cancel":
        return
    fields = submitted(form, MUC_REGISTER)
    allowed = boolean(fields, _ALLOW)
    if allowed is None:
        raise Problem("not-acceptable", "The form says whether they are let in")
    user_id = _knocker(session, room, one(fields, _WHO))
    actor, room_id = session.user_id, room.room_id
    if room.membership(user_id) != "knock":
        raise Refused(Refusal.TARGET_NOT_JOINED, "They do not ask to enter any more")
    if allowed:
        await session.doors.rooms.do(Invite(actor=actor, room_id=room_id, target=user_id))
    else:
        await session.doors.rooms.do(Kick(actor=actor, room_id=room_id, target=user_id))


def _knocker(session: XmppSession, room: RoomView, address: str) -> UserId:
    try:
        user_id = parse_any_user_jid(parse_jid(address).bare, session.doors.domains)
    except InvalidJid:
        raise Problem("jid-malformed", "The form does not say who is let in") from None
    if user_id is not None:
        return user_id
    found = (one for one in room.members() if session.users.jid_of(one) == address)
    user_id = next(found, None)
    if user_id is None:
        raise Problem("item-not-found", "There is no such user")
    return user_id
