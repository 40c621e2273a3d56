"""Learning about rooms: the service, one room, its occupants, one's own nick; pings.

spec: XEP-0045 6, 7.12, XEP-0030, XEP-0128 (room information form), XEP-0410; docs/mapping.md 4.6, 6.3. The list
of rooms is in listing.py.
"""

from tripoint.core.ids import RoomAlias, RoomId
from tripoint.core.message import edit_in
from tripoint.core.power import moderated
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import asks_password, slow_mode_s
from tripoint.rooms.spaces import children_of, is_space, may_look_from
from tripoint.xmpp import adhoc
from tripoint.xmpp.c2s.discovery import identity, info, refuse_nodes
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.muc.calling import calling_fields
from tripoint.xmpp.muc.enter import MAX_HISTORY
from tripoint.xmpp.muc.vcard import avatar_of
from tripoint.xmpp.muc.view import Occupant
from tripoint.xmpp.projection import is_public, room_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.render import HATS_HASH
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import (
    ADHOC_NS,
    DATA_FORMS_NS,
    DISCO_INFO_NS,
    DISCO_ITEMS_NS,
    HATS_NS,
    MUC_ROOMINFO,
    MUC_SELF_PING_NS,
    PING_NS,
)
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

declare_feature(MUC_ROOMINFO, at=(At.ROOM,), spec="XEP-0045 16.3")
declare_feature(HATS_NS, at=(At.ROOM,), spec="XEP-0317 2")
declare_feature(MUC_SELF_PING_NS, at=(At.ROOM,), spec="XEP-0410 3.3")

_SLOW_MODE = "muc#roominfo_slow_mode_duration"
_NICK_NODE = "x-roomuser-item"
_TRAFFIC_NODE = "http://jabber.org/protocol/muc#traffic"
_AVATAR_HASH = "muc#roominfo_avatarhash"
_ACTIVITY = "{urn:xmpp:muc-activity}message-activity"
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


# -- the service


@iq("get", DISCO_INFO_NS, at=(At.ROOMS,), spec="XEP-0045 6.2")
async def service_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A place with rooms."""
    refuse_nodes(stanza)
    return info(At.ROOMS, identity("conference", "text", "Rooms"))


# -- a room


@iq("get", DISCO_INFO_NS, at=(At.ROOM,), spec="XEP-0045 6.4")
async def room_info(session: XmppSession, stanza: Element, jid: Jid) -> str | None:
    """What a room is like; also the nick that is reserved for the one who asks (XEP-0045 7.12)."""
    named = await session.muc.elsewhere(session, jid)
    if named is not None and named.startswith("#"):
        refuse_nodes(stanza)
        session.later(stanza, _info_elsewhere(session, RoomAlias(named)))
        return None
    room = await session.muc.room_for(session, jid)
    query = stanza.first()
    node = None if query is None else query.get("node")
    if node == _NICK_NODE:
        return await _reserved_nick(session, room)
    if node == _TRAFFIC_NODE:
        # spec: XEP-0045 18.1.1: the answer where every namespace goes through
        raise Problem("service-unavailable", "This room lets all extensions through")
    if node and (about := adhoc.node_info(session, At.ROOM, node)) is not None:
        return about
    refuse_nodes(stanza)
    name = room.name or jid.local
    form = _info_form(room, session.doors.now_ms(), await _avatar_hash(session, room))
    return info(At.ROOM, identity("conference", "text", name), _kinds(room), form)


async def _info_elsewhere(session: XmppSession, alias: RoomAlias) -> str:
    """A room that this server is not in: that there is one is all that can be said. docs/mapping.md 3.2"""
    if await session.doors.reader.resolve_alias(alias) is None:
        raise Problem("item-not-found", "There is no such room")
    kinds = ("muc_persistent", "muc_nonanonymous", "muc_unsecured")
    return info(At.ROOM, identity("conference", "text", alias), kinds)


def _kinds(room: RoomView) -> tuple[str, ...]:
    """spec: XEP-0045 16.3: the room's types as features"""
    return (
        "muc_persistent",
        "muc_nonanonymous",
        "muc_passwordprotected" if asks_password(room.state) else "muc_unsecured",
        "muc_open" if is_public(room) else "muc_membersonly",
        "muc_moderated" if moderated(room.power) else "muc_unmoderated",
        "muc_public" if room.listed else "muc_hidden",
    )


async def _avatar_hash(session: XmppSession, room: RoomView) -> str | None:
    """The hash of the room's picture; one of another server is named when it has been seen here. spec: XEP-0486 3.3"""
    mxc, pictures = avatar_of(room), session.doors.pictures
    if mxc is None:
        return None
    if mxc.startswith(f"mxc://{session.doors.domains.server}/"):
        await pictures.of(mxc)
    elif pictures.known_id(mxc) is None:
        session.doors.spawn(pictures.learn(mxc))
    return pictures.known_id(mxc)


def _info_form(room: RoomView, now_ms: int, avatar_hash: str | None) -> str:
    """spec: XEP-0045 16.5.4"""
    power = room.power
    anybody = power.event("m.room.topic", is_state=True) <= power.users_default
    fields = [
        ("muc#roominfo_description", room.topic or ""),
        ("muc#roominfo_subject", room.topic or ""),
        ("muc#roominfo_subjectmod", "1" if anybody else "0"),
        ("muc#roominfo_occupants", str(room.joined_count())),
        ("muc#maxhistoryfetch", str(MAX_HISTORY)),
        ("hats#hash", HATS_HASH),
        *calling_fields(room),
    ]
    if avatar_hash is not None:
        fields.append((_AVATAR_HASH, avatar_hash))
    if room.listed and room.join_rule == "public":
        # spec: XEP-0502 9: of rooms alone that anybody finds and enters
        fields.append((_ACTIVITY, f"{messages_per_hour(room, now_ms):.2f}"))
    # spec: XEP-0500 5.2: this field has to have a type
    slow = f"<field var='{_SLOW_MODE}' type='text-single'><value>{slow_mode_s(room)}</value></field>"
    listed = "".join([f"<field var='{var}'><value>{escape_text(value)}</value></field>" for var, value in fields])
    return (
        f"<x xmlns='{DATA_FORMS_NS}' type='result'><field var='FORM_TYPE' type='hidden'>"
        f"<value>{MUC_ROOMINFO}</value></field>{slow}{listed}</x>"
    )


def messages_per_hour(room: RoomView, now_ms: int) -> float:
    """How much is said, by what is in memory: the last day, or less where more was said than that.

    spec: XEP-0502 4, 5: messages with a text, without corrections
    """
    recent = [item.event for item in room.recent]
    since_ms = now_ms - _DAY_MS
    if recent and room.recent_from:
        since_ms = max(since_ms, recent[0].origin_server_ts)
    said = [
        event
        for event in recent
        if event.type == "m.room.message" and event.origin_server_ts >= since_ms and edit_in(event.content) is None
    ]
    return len(said) * _HOUR_MS / max(now_ms - since_ms, _HOUR_MS)


async def _reserved_nick(session: XmppSession, room: RoomView) -> str:
    """spec: XEP-0045 7.12: a member's nick is his; nobody else has one reserved."""
    nick = None
    if room.membership(session.user_id) == "join":
        async with session.muc.looking(room) as view:
            nick = view.nicks.nick(session.user_id)
    inside = "" if nick is None else f"<identity category='conference' type='text' name='{escape_attribute(nick)}'/>"
    return f"<query xmlns='{DISCO_INFO_NS}' node='{_NICK_NODE}'>{inside}</query>"


@iq("get", DISCO_ITEMS_NS, at=(At.ROOM,), spec="XEP-0045 6.5")
async def room_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The occupants, for those who are inside, for others an empty list; or the room's commands."""
    query = stanza.first()
    if query is not None and query.get("node") == ADHOC_NS:
        return adhoc.list_of(session, At.ROOM, jid)
    refuse_nodes(stanza)
    room = await session.muc.room_for(session, jid)
    if is_space(room):
        return await _space_items(session, room)
    view = session.muc.view(room.room_id, str(jid))
    items = ""
    if view is not None and room.membership(session.user_id) == "join":
        items = "".join(
            [f"<item jid='{escape_attribute(who.jid)}'/>" for who in view.occupants.values() if not who.hidden]
        )
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}</query>"


async def _space_items(session: XmppSession, space: RoomView) -> str:
    """The rooms in a space that the asker may know of. docs/mapping.md 22.1"""
    items = ""
    for event in children_of(space, suggested_only=False):
        try:
            room = await session.doors.reader.room(RoomId(event.state_key or ""))
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            continue
        if room.is_here(session.doors.domains.server) and may_look_from(space, room, session.user_id):
            name = room.name or room.canonical_alias or room.room_id
            jid = room_jid(room, session.doors.domains)
            items += f"<item jid='{escape_attribute(jid)}' name='{escape_attribute(name)}'/>"
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}</query>"


# -- an occupant


@iq("get", PING_NS, "ping", at=(At.OCCUPANT,), spec="XEP-0410 3.3")
async def ping_occupant(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """One's own address: am I still in? Anybody else's: the room answers for them (docs/mapping.md 4.6).

    spec: XEP-0410 3.3: not-acceptable says "you are not in the room".
    """
    visit = session.muc.visit(session, jid)
    if visit.view.with_nick(jid.resource) is None:
        raise Problem("item-not-found", "Nobody has that nick in this room")
    return ""


@iq("get", DISCO_INFO_NS, at=(At.OCCUPANT,), spec="XEP-0045 6.6")
async def occupant_info(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The room answers for its occupants."""
    who = _look_at_occupant(session, jid)
    refuse_nodes(stanza)
    bot = session.doors.accounts.app_services.is_bot(who.user_id)
    return info(At.OCCUPANT, identity("client", "bot" if bot else "pc"), (DISCO_INFO_NS, PING_NS))


@iq("get", DISCO_ITEMS_NS, at=(At.OCCUPANT,), spec="XEP-0045 6.6")
async def occupant_items(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Nothing: which rooms they are in is for their clients to tell (XEP-0045 6.7), by their own addresses."""
    _look_at_occupant(session, jid)
    query = stanza.first()
    node = None if query is None else query.get("node")
    at = f" node='{escape_attribute(node)}'" if node else ""
    return f"<query xmlns='{DISCO_ITEMS_NS}'{at}/>"


def _look_at_occupant(session: XmppSession, jid: Jid) -> Occupant:
    """spec: XEP-0045 6.6: whoever is outside MUST be told bad-request"""
    visit = session.visits.get(str(jid.bare))
    if visit is None:
        raise Problem("bad-request", "Only who is in the room asks about those who are")
    who = visit.view.with_nick(jid.resource)
    if who is None:
        raise Problem("item-not-found", "Nobody has that nick in this room")
    return who
