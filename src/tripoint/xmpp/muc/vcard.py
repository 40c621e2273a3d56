"""Pictures of rooms and of occupants, in the cards of their addresses.

A room's picture is m.room.avatar: whoever may set that sets it here too. An occupant's is that of his member event, so
it is the one of this room where he has one.  spec: XEP-0486 3, XEP-0153 4.3; docs/mapping.md 8.12, 17.2.
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import text_at
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.commands import SendState
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.muc.view import Visit
from tripoint.xmpp.pictures import photo_in
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.session import XmppSession, origin_of
from tripoint.xmpp.tables import VCARD_NS
from tripoint.xmpp.vcards import card_of
from tripoint.xmpp.wire import Element, render

declare_feature(VCARD_NS, at=(At.ROOMS,), spec="XEP-0486 3.1")

AVATAR = "m.room.avatar"
# A picture of 96 KiB, as clients make them, and words.
MAX_CARD_BYTES = 200_000


def avatar_of(room: RoomView) -> str | None:
    """The mxc:// name of a room's picture."""
    event = room.state.get((AVATAR, ""))
    return None if event is None else text_at(event.content, "url")


@iq("get", VCARD_NS, "vCard", at=(At.ROOM,), feature=VCARD_NS, spec="XEP-0486 3.4")
async def get_room_card(session: XmppSession, stanza: Element, jid: Jid) -> str | None:
    """The room's picture; an empty card without one."""
    room = await session.muc.room_for(session, jid)
    session.later(stanza, _card(session, {}, avatar_of(room)))
    return None


@iq("set", VCARD_NS, "vCard", at=(At.ROOM,), spec="XEP-0486 3.2")
async def set_room_card(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Give the room a picture, or take it away with a card that has none. What else is in the card is not kept."""
    room = await session.muc.room_for(session, jid)
    card = stanza.first()
    assert card is not None  # the router has looked
    picture = photo_in(card)
    content: JsonObject = {}
    if picture is not None:
        mxc = await session.doors.pictures.keep(session.user_id, picture)
        content = {"url": mxc, "info": {"mimetype": picture.type, "size": len(picture.data)}}
    elif avatar_of(room) is None:
        return ""
    await session.doors.rooms.do(
        SendState(
            actor=session.user_id,
            origin=origin_of(session, stanza),
            room_id=room.room_id,
            type=AVATAR,
            state_key="",
            content=content,
        )
    )
    return ""


@iq("get", VCARD_NS, "vCard", at=(At.OCCUPANT,), feature=VCARD_NS, spec="XEP-0054 3.3, XEP-0153 4.3")
async def get_occupant_card(session: XmppSession, stanza: Element, jid: Jid) -> str | None:
    """Name and picture of somebody in the room, as they are there."""
    visit = session.muc.visit(session, jid)
    who = visit.view.with_nick(jid.resource)
    member = None if who is None else visit.view.room.member(who.user_id)
    if who is None or member is None:
        raise Problem("item-not-found", "Nobody has that nick in this room")
    profile: JsonObject = {} if member.displayname is None else {"displayname": member.displayname}
    address = stand_in_address(who.user_id, session.doors.domains.server)
    if address is not None:
        session.later(stanza, _card_abroad(session, visit, address, profile))
    else:
        session.later(stanza, _card(session, profile, member.avatar_url))
    return None


async def _card_abroad(session: XmppSession, visit: Visit, address: str, profile: JsonObject) -> str:
    """Of somebody of another server: as that gives it, or else how they are called here."""
    card = await session.muc.questions.card(visit.occupant.jid, address)
    xml = b"" if card is None else render(card)
    return xml.decode() if 0 < len(xml) <= MAX_CARD_BYTES else await _card(session, profile, None)


async def _card(session: XmppSession, profile: JsonObject, mxc: str | None) -> str:
    picture = await session.doors.pictures.of(mxc)
    return render(card_of(None, profile, None if picture is None else picture.photo())).decode()
