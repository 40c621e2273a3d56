"""Messages to rooms and to occupants: talk, subjects, private messages, invitations and their refusal.

spec: XEP-0045 7.4, 7.5, 7.8.2, 8.1; docs/mapping.md 8.1, 9.9, 9.10, 10, 11, 15.6.
Everybody, the sender too, sees a message when it is committed: view.py.
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.message import call_everybody
from tripoint.core.sealed import BARE
from tripoint.rooms.commands import Leave, Origin, PassOn, SendEvent, SetTopic, SetTyping
from tripoint.xmpp.blocked import is_blocked_by
from tripoint.xmpp.c2s.carbons import copy_sent, is_copied
from tripoint.xmpp.c2s.direct import Route
from tripoint.xmpp.c2s.relating import relate
from tripoint.xmpp.c2s.upload import link_in, pasted
from tripoint.xmpp.corrections import corrected
from tripoint.xmpp.fastening import retracting
from tripoint.xmpp.files import shared_in
from tripoint.xmpp.heard import is_heard
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.links import link_rooms
from tripoint.xmpp.markers import displayed_in
from tripoint.xmpp.messages import MAX_PAYLOAD_BYTES, THREAD_KEY, content_of, text_of
from tripoint.xmpp.muc.calling import mentions_allowed
from tripoint.xmpp.muc.events import subject_again
from tripoint.xmpp.muc.explicit import (
    ASSOCIATIONS,
    CHANNEL,
    MAX_MENTIONS,
    NOBODY,
    ROLE_GROUPS,
    STAFF_GROUPS,
    add_called,
    called_in,
)
from tripoint.xmpp.muc.markers import displayed
from tripoint.xmpp.muc.mentions import link_mentions
from tripoint.xmpp.muc.reactions import react
from tripoint.xmpp.muc.registering import approve, is_approval
from tripoint.xmpp.muc.retraction import retract
from tripoint.xmpp.muc.view import MucView, Occupant, Visit
from tripoint.xmpp.muc.voice import is_voice_form, voice_form
from tripoint.xmpp.payloads import bare_content, is_kept, payload_of
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, message
from tripoint.xmpp.render import room_message
from tripoint.xmpp.replies import relation_of
from tripoint.xmpp.router import stamped
from tripoint.xmpp.session import XmppSession, origin_of
from tripoint.xmpp.stanza_facts import facts_of_stanza
from tripoint.xmpp.tables import (
    CHAT_STATES_NS,
    CLIENT_NS,
    MENTIONS_NS,
    MUC_NS,
    MUC_STABLE_ID_NS,
    MUC_USER_NS,
    OCCUPANT_ID_NS,
    OOB_NS,
    REACTIONS_NS,
    REPLY_NS,
    STANZA_ID_NS,
)
from tripoint.xmpp.wire import Element, render

declare_feature(MUC_NS, at=(At.ROOMS, At.ROOM), spec="XEP-0045 6.2")
declare_feature(STANZA_ID_NS, at=(At.ROOM,), spec="XEP-0359 4")
declare_feature(MUC_STABLE_ID_NS, at=(At.ROOMS, At.ROOM), spec="XEP-0045 16.3: the id of a message comes back")
declare_feature(MENTIONS_NS, at=(At.ROOM,), spec="XEP-0513 2")
declare_feature(ASSOCIATIONS, at=(At.ROOM,), spec="XEP-0513 3.2.2")
declare_feature(CHANNEL, at=(At.ROOM,), spec="XEP-0513 3.2")
declare_feature(OCCUPANT_ID_NS, at=(At.ROOMS, At.ROOM), spec="XEP-0421 4")
declare_feature(REPLY_NS, at=(At.ROOM,), spec="XEP-0461 2")

_TYPING_MS = 30_000
# spec: XEP-0085 5.1
_STATES = frozenset({"active", "composing", "gone", "inactive", "paused"})
# What rooms alone say in a private message.
_OF_ROOMS = frozenset({MUC_USER_NS, OCCUPANT_ID_NS})


@message("groupchat", at=(At.ROOM,), spec="XEP-0045 7.4, 8.1", feature="")
async def to_room(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """Something said to everybody, or a new subject."""
    visit = await session.muc.visiting(session, jid)
    element = retracting(stanza)
    if element is not None:
        await retract(session, visit, stanza, element)
        return
    reactions = stanza.child("reactions", REACTIONS_NS)
    if reactions is not None:
        # spec: XEP-0444 3.1, XEP-0428: a body beside them is for those who know no reactions
        await react(session, visit, stanza, reactions)
        return
    marked = displayed_in(stanza)
    if marked is not None:
        await displayed(session, visit, stanza, marked)
        return
    subject = stanza.child_text("subject", CLIENT_NS)
    has_body = stanza.child("body", CLIENT_NS) is not None
    # spec: XEP-0045 8.1: a subject change has no <body/> and no <thread/>
    if subject is not None and not has_body and stanza.child("thread", CLIENT_NS) is None:
        await _set_subject(session, visit, stanza, subject)
    elif has_body or stanza.child("x", OOB_NS) is not None or shared_in(stanza):
        await _say(session, visit, stanza)
    else:
        await _without_text(session, visit, stanza)


async def _say(session: XmppSession, visit: Visit, stanza: Element) -> None:
    view = visit.view
    relation = await relation_of(session, view.room.room_id, stanza)
    files = await pasted(session, stanza, relation)
    content = files[0] if files else None
    if content is None:
        said = text_of(stanza, relation)
        if said is None:
            await _without_text(session, visit, stanza)
            return
        kind, text = said
        text = link_rooms(link_mentions(text, view.known_names()), view.doors.domains)
        content = content_of(stanza, kind, text, relation)
    called = called_in(stanza)
    if len(called.occupant_ids) + len(called.jids) > mentions_allowed(view.room):
        # spec: XEP-0513 3.6: of more than that, none counts
        called = NOBODY
    may_call = view.room.power.may_call_everybody(session.user_id)
    if may_call:
        call_everybody(content)
    if called != NOBODY:
        groups = called.groups if may_call else called.groups & STAFF_GROUPS
        people = _people(view, called.occupant_ids, called.jids) + _grouped(view, groups, active=called.active)
        quiet = _people(view, called.quiet, called.quiet)
        add_called(content, people, everybody=may_call and called.everybody, quiet=quiet)
    content |= facts_of_stanza(stanza).content()
    content = await corrected(session, view.room.room_id, stanza, content)
    visit.pasted = link_in(session, stanza)
    try:
        await session.doors.rooms.do(_saying(session, view, origin_of(session, stanza), content))
        for more in files[1:]:
            # spec: XEP-0447 4.2: several files; here each is a message
            await session.doors.rooms.do(_saying(session, view, Origin(session.id), more))
    finally:
        visit.pasted = None


def _saying(session: XmppSession, view: MucView, origin: Origin, content: JsonObject) -> SendEvent:
    return SendEvent(
        actor=session.user_id, origin=origin, room_id=view.room.room_id, type="m.room.message", content=content
    )


def _people(view: MucView, occupant_ids: tuple[str, ...], jids: tuple[str, ...]) -> list[UserId]:
    """Those in the room whom a stanza names by their occupant ids or addresses."""
    found = [view.with_occupant_id(one) for one in occupant_ids]
    for text in jids:
        try:
            jid = parse_jid(text)
        except InvalidJid:
            continue
        if str(jid.bare) == view.jid:
            who = view.with_nick(jid.resource)
            found.append(None if who is None else who.user_id)
        else:
            user_id = parse_any_user_jid(jid, view.doors.domains)
            found.append(user_id if user_id in view.occupants else None)
    return [user_id for user_id in found if user_id is not None]


def _grouped(view: MucView, groups: frozenset[str], *, active: bool) -> list[UserId]:
    """Those in the room who have one of these roles or affiliations: so many as may be named. With `active`, those who
    are online. spec: XEP-0513 3.2.2, 3.5.1"""
    roles = {ROLE_GROUPS[group] for group in groups if group in ROLE_GROUPS}
    presence = view.doors.reader.presence
    found = [
        who.user_id
        for who in view.occupants.values()
        if ("channel" in groups or who.standing.role in roles or who.standing.affiliation in groups)
        and not (active and presence(who.user_id).presence != "online")
    ]
    return found[:MAX_MENTIONS]


async def _set_subject(session: XmppSession, visit: Visit, stanza: Element, subject: str) -> None:
    done = await session.doors.rooms.do(
        SetTopic(
            actor=session.user_id,
            origin=origin_of(session, stanza),
            room_id=visit.view.room.room_id,
            topic=subject,
        )
    )
    if not done.created and done.event_id is not None:
        # It is his already: the others have heard it, and he hears that it is so.
        session.send_shared(subject_again(visit, subject, stanza.get("id"), done.event_id))


async def _without_text(session: XmppSession, visit: Visit, stanza: Element) -> None:
    """Chat states are typing (docs/mapping.md 13.1); anything else is kept, or told to who is there (10.0)."""
    states = (child for child in stanza.elements() if child.namespace == CHAT_STATES_NS)
    state = next((child for child in states if child.name in _STATES), None)
    if state is None:
        await _bare(session, visit, stanza)
        return
    said = visit.view.states_said
    said[session.user_id] = (origin_of(session, stanza).token, state.name)
    try:
        await session.doors.rooms.do(
            SetTyping(
                actor=session.user_id,
                room_id=visit.view.room.room_id,
                typing=state.name == "composing",
                timeout_ms=_TYPING_MS,
            )
        )
    finally:
        said.pop(session.user_id, None)


async def _bare(session: XmppSession, visit: Visit, stanza: Element) -> None:
    """A message for clients of XMPP alone. spec: XEP-0045 7.4; XEP-0334 4; docs/mapping.md 10.0"""
    view = visit.view
    payload = payload_of(stanza)
    if not payload:
        raise Problem("bad-request", "There is nothing in this message")
    if is_kept(stanza):
        room_id = view.room.room_id
        content = bare_content(stanza, await relation_of(session, room_id, stanza))
        content |= facts_of_stanza(stanza).content()
        content = await corrected(session, room_id, stanza, content, BARE)
        origin = origin_of(session, stanza)
        await session.doors.rooms.do(
            SendEvent(actor=session.user_id, origin=origin, room_id=room_id, type=BARE, content=content)
        )
        return
    if len(payload.encode()) > MAX_PAYLOAD_BYTES:
        raise Problem("policy-violation", "The message carries more than 8 KiB")
    token = origin_of(session, stanza).token
    await session.doors.rooms.do(
        PassOn(actor=session.user_id, room_id=view.room.room_id, payload=payload, token=token)
    )


@message("groupchat", at=(At.OCCUPANT,), spec="XEP-0045 7.5")
async def groupchat_to_occupant(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """spec: XEP-0045 7.5: the service MUST refuse this."""
    raise Problem("bad-request", "A message of type groupchat goes to the room, not to one of its occupants")


@message("chat", "normal", at=(At.OCCUPANT,), spec="XEP-0045 7.5")
async def private_message(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To one occupant: kept in the direct room of the two, delivered from the occupant's address.

    docs/mapping.md 15.6
    """
    visit = await session.muc.visiting(session, jid)
    view = visit.view
    who = view.with_nick(jid.resource)
    if who is None:
        raise Problem("item-not-found", "Nobody has that nick in this room")
    if is_blocked_by(session, who.user_id) or view.has_blocked(who.user_id, visit.occupant):
        # spec: XEP-0191 3.3
        raise Problem("service-unavailable", "There is nobody who takes this")
    if await relate(session, stanza, who.user_id):
        return
    said = text_of(stanza)
    if said is None and not is_kept(stanza):
        # chat states and the like: for whoever is there
        if is_heard(session):
            _pass_on(visit, who, stanza)
        return
    abroad = any(other.session.foreign for other in who.visits)
    if abroad and session.foreign:
        # Neither of the two is of this server: it is kept where they are.
        _pass_on(visit, who, stanza)
        return
    route = Route(
        from_=visit.occupant.jid,
        inside=f"<x xmlns='{MUC_USER_NS}'/>" + visit.occupant.id_xml,
        only=frozenset(other.session.id for other in who.visits),
        to=stanza.get("to") if abroad else None,
        at=tuple(other.session.full for other in who.visits) if abroad else (),
    )
    await session.direct.send(session, stanza, said, who.user_id, route)


def _pass_on(visit: Visit, who: Occupant, stanza: Element) -> None:
    """To every session of an occupant; nothing is kept here. spec: XEP-0045 7.5"""
    inside = "".join([render(child).decode() for child in stanza.elements() if child.namespace not in _OF_ROOMS])
    x = f"<x xmlns='{MUC_USER_NS}'/>" + visit.occupant.id_xml
    shared = room_message(visit.occupant.jid, inside + x, stanza.get("id"), kind=stanza.get("type") or "normal")
    for other in who.visits:
        other.session.send_shared(shared)


@message("normal", "chat", at=(At.ROOM,), spec="XEP-0045 7.8.2")
async def to_room_itself(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """A mediated invitation, the refusal of one, the answer about somebody who knocked, a request for voice."""
    x = stanza.child("x", MUC_USER_NS)
    invites = [] if x is None else [e for e in x.elements() if (e.name, e.namespace) == ("invite", MUC_USER_NS)]
    decline = None if x is None else x.child("decline", MUC_USER_NS)
    if invites:
        await _invite(session, jid, invites)
        if is_copied(stanza):
            copy_sent(session, stamped(stanza, session.full))
    elif decline is not None:
        await _decline(session, jid, decline)
    elif is_approval(stanza):
        await approve(session, stanza, jid)
    elif is_voice_form(stanza):
        await voice_form(session, stanza, jid)
    else:
        # spec: XEP-0045 17.2 (1)
        raise Problem("bad-request", "A message to everybody in a room is of type groupchat")


async def _invite(session: XmppSession, jid: Jid, invites: list[Element]) -> None:
    room = await session.muc.room_for(session, jid)
    targets: list[tuple[UserId, str | None, JsonObject]] = []
    for invite in invites:
        try:
            target = parse_any_user_jid(parse_jid(invite.get("to") or "").bare, session.doors.domains)
        except InvalidJid:
            raise Problem("jid-malformed", "The address of the invited is not valid") from None
        if target is None:
            raise Problem("item-not-found", "There is no such user here")
        targets.append((target, invite.child_text("reason", MUC_USER_NS) or None, _continuing(invite)))
    for target, reason, content in targets:
        await session.muc.invite(session, room, target, reason, content)


def _continuing(invite: Element) -> JsonObject:
    """That a talk of two goes on in the room, and in which thread it was. spec: XEP-0045 7.9"""
    found = invite.child("continue", MUC_USER_NS)
    return {} if found is None else {THREAD_KEY: (found.get("thread") or "")[:MAX_PAYLOAD_BYTES]}


async def _decline(session: XmppSession, jid: Jid, decline: Element) -> None:
    """docs/mapping.md 9.10: the invitation is given back; members hear of it from the room."""
    room = await session.muc.room_for(session, jid)
    if room.membership(session.user_id) != "invite":
        raise Problem("item-not-found", "You have no invitation to this room that you could decline")
    reason = decline.child_text("reason", MUC_USER_NS) or None
    await session.doors.rooms.do(Leave(actor=session.user_id, room_id=room.room_id, reason=reason))
