"""muc#owner: configuring a room, opening one that was just made, closing it.

spec: XEP-0045 10.1, 10.2, 10.9; docs/mapping.md 4.3, 4.9. What the form holds is config.py.
"""

from tripoint.rooms.commands import CloseRoom, Leave, Secret, SendState, SetPassword, UnlockRoom, UpgradeRoom
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.forms import submitted
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid
from tripoint.xmpp.muc.config import Changes, changes_of, configuration_form
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, MUC_OWNER_NS, MUC_ROOMCONFIG
from tripoint.xmpp.wire import Element

declare_feature(MUC_ROOMCONFIG, at=(At.ROOM,), spec="XEP-0045 16.3")


@iq("get", MUC_OWNER_NS, at=(At.ROOM,), spec="XEP-0045 10.1.3, 10.2")
async def configuration(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The form with the room as it is."""
    room = await _owned(session, jid)
    return f"<query xmlns='{MUC_OWNER_NS}'>{configuration_form(session, room)}</query>"


@iq("set", MUC_OWNER_NS, at=(At.ROOM,), spec="XEP-0045 10.1.2, 10.1.3, 10.2, 10.9")
async def configure(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Submit or cancel. An empty form opens a new room with its defaults (an instant room)."""
    query = stanza.first()
    assert query is not None  # the router has looked
    destroy = query.child("destroy", MUC_OWNER_NS)
    if destroy is not None:
        await _destroy(session, await _owned(session, jid, "Only an owner closes a room"), destroy)
        return ""
    room = await _owned(session, jid)
    form = query.child("x", DATA_FORMS_NS)
    if form is None or form.get("type") not in ("submit", "cancel"):
        raise Problem("bad-request", "A form of type submit or cancel is expected")
    if form.get("type") == "cancel":
        # spec: XEP-0045 10.1.3: who cancels the first configuration does not want the room: it ends (events.py)
        if room.locked:
            await session.doors.rooms.do(Leave(actor=session.user_id, room_id=room.room_id))
        return ""
    fields = submitted(form, MUC_ROOMCONFIG)
    changes = await changes_of(session, room, fields)
    if changes.federates is not None:
        room = await _made_anew(session, room, changes.federates)
        changes = await changes_of(session, room, fields)
    if room.locked:
        await _open(session, room, changes)
    for command in changes.commands:
        await session.doors.rooms.do(command)
    await changes.ranks.carry_out(session, room)
    return ""


async def _made_anew(session: XmppSession, room: RoomView, federates: bool) -> RoomView:
    """The room with other servers let in, or not: its first event says so, so a new one takes its place unopened.

    docs/mapping.md 8.15. The one that nobody was let into goes with its last member.
    """
    actor = session.user_id
    done = await session.doors.rooms.do(UpgradeRoom(actor=actor, room_id=room.room_id, federate=federates))
    assert done.room_id is not None  # UpgradeRoom always names the room
    await session.doors.rooms.do(Leave(actor=actor, room_id=room.room_id))
    return await session.doors.reader.room(done.room_id)


async def _open(session: XmppSession, room: RoomView, changes: Changes) -> None:
    """The room opens with the rule that the form asks for: it is never public in between."""
    rules = [c for c in changes.commands if isinstance(c, SendState) and c.type == "m.room.join_rules"]
    rule = rules[0].content.get("join_rule") if rules else None
    if any(isinstance(c, SetPassword) and c.password is not None for c in changes.commands):
        rule = "invite"
    changes.commands = [c for c in changes.commands if c not in rules]
    join_rule = rule if isinstance(rule, str) else None
    await session.doors.rooms.do(UnlockRoom(actor=session.user_id, room_id=room.room_id, join_rule=join_rule))


async def _destroy(session: XmppSession, room: RoomView, destroy: Element) -> None:
    """spec: XEP-0045 10.9; docs/mapping.md 4.9. What the occupants are told comes with the change."""
    reason, address = destroy.child_text("reason", MUC_OWNER_NS) or None, destroy.get("jid")
    replacement = venue = None
    password = destroy.child_text("password", MUC_OWNER_NS) if address else None
    if address:
        try:
            jid = parse_jid(address)
        except InvalidJid:
            raise Problem("jid-malformed", "The address of the other room is not valid") from None
        if jid.domain != session.doors.domains.rooms:
            venue = str(jid)  # a room of another service: its members are told, and that is all
        else:
            replacement = await session.muc.find(session, jid)
            if replacement == room.room_id:
                raise Problem("not-acceptable", "Another room takes the place of this one")
            # One that is not there yet may be made by who comes first.
            venue = str(jid) if replacement is None else None
    await session.doors.rooms.do(
        CloseRoom(
            actor=session.user_id,
            room_id=room.room_id,
            reason=reason,
            replacement=replacement,
            venue=venue,
            venue_password=Secret(password) if password else None,
        )
    )


async def _owned(session: XmppSession, jid: Jid, otherwise: str = "Only owners configure a room") -> RoomView:
    room = await session.muc.room_for(session, jid)
    if room.rank(session.user_id).value != "owner" or room.membership(session.user_id) != "join":
        # spec: XEP-0045 10.2
        raise Problem("forbidden", otherwise)
    return room
