"""Asking for voice in a moderated room, and giving it: forms that go through the room to its moderators.

A request is for the moderators who are here by XMPP now, and is not kept; where there is none, the answer says so.
spec: XEP-0045 7.13, 8.3, 8.6; docs/mapping.md 7.4. Read next: admin.py (what granting voice is).
"""

from tripoint.core.power import Rank
from tripoint.rooms.commands import SetRanks
from tripoint.xmpp.adhoc import field, one
from tripoint.xmpp.forms import boolean, form_fields, submitted
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.muc.plan import rank_of_role
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.render import Shared, room_message
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, MUC_REQUEST
from tripoint.xmpp.wire import Element

declare_feature(DATA_FORMS_NS, at=(At.ROOM,), spec="XEP-0004 6: forms in messages")
declare_feature(MUC_REQUEST, at=(At.ROOM,), spec="XEP-0045 16.3")

_ROLE = "muc#role"
_WHO = "muc#jid"
_NICK = "muc#roomnick"
_ALLOW = "muc#request_allow"


def is_voice_form(stanza: Element) -> bool:
    """Whether a message to a room asks for voice, or answers who did."""
    form = stanza.child("x", DATA_FORMS_NS)
    return form is not None and one(form_fields(form), "FORM_TYPE") == MUC_REQUEST


async def voice_form(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """A request goes to the moderators, an answer of one of them is done."""
    visit = await session.muc.visiting(session, jid)
    form = stanza.child("x", DATA_FORMS_NS)
    assert form is not None  # is_voice_form has looked
    if form.get("type") == "cancel":
        return  # a moderator who skips it
    fields = submitted(form, MUC_REQUEST)
    if _ALLOW in fields:
        await _answer(session, visit.view, fields)
    else:
        _request(visit, fields)


def _request(visit: Visit, fields: dict[str, list[str]]) -> None:
    """spec: XEP-0045 7.13"""
    who = visit.occupant
    if one(fields, _ROLE) not in ("", "participant"):
        raise Problem("feature-not-implemented", "Voice can be asked for, no other role")
    if who.standing.role != "visitor":
        raise Problem("not-acceptable", "You may speak here")
    form = _approval(visit)
    asked = [
        other
        for other in visit.view.visits()
        if other.occupant.standing.role == "moderator" and other.waiting is None
    ]
    if not asked:
        raise Problem("recipient-unavailable", "No moderator is here by XMPP who could let you speak")
    for other in asked:
        other.session.send_shared(form)


def _approval(visit: Visit) -> Shared:
    """spec: XEP-0045 8.6"""
    form = (
        f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>Somebody asks to speak</title>"
        "<instructions>To let this person speak, tick the box and send the form.</instructions>"
        f"<field type='hidden' var='FORM_TYPE'><value>{MUC_REQUEST}</value></field>"
        + field(_ROLE, "list-single", "Role", "participant")
        + field(_WHO, "jid-single", "Who asks", visit.session.full)
        + field(_NICK, "text-single", "Nick", visit.occupant.nick)
        + field(_ALLOW, "boolean", "Let them speak", "0")
        + "</x>"
    )
    return room_message(visit.view.jid, form, kind="normal")


async def _answer(session: XmppSession, view: MucView, fields: dict[str, list[str]]) -> None:
    """Whoever answers needs the power to grant voice: the room decides that. spec: XEP-0045 8.6, 8.3"""
    who = view.with_nick(one(fields, _NICK))
    if who is None:
        raise Problem("item-not-found", "Nobody has that nick in this room")
    if not boolean(fields, _ALLOW):
        return
    room = view.room
    rank = rank_of_role(room, "participant")
    if room.rank(who.user_id) is rank or room.rank(who.user_id).above(Rank.VOICE):
        return  # somebody else was quicker
    await session.doors.rooms.do(SetRanks(actor=session.user_id, room_id=room.room_id, ranks=((who.user_id, rank),)))
