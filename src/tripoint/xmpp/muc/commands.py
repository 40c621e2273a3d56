"""Commands of a room that XEP-0045 has no words for: its masks, exact power levels, pinned messages, leaving.

spec: XEP-0050; docs/mapping.md 4.4, 7.7, 8.16, 9.2, 9.3, 9.5. What may be done is the room's business.
"""

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.json_view import text_at
from tripoint.core.vendor import NS
from tripoint.rooms.commands import Leave, MaskList, SetLevels, SetMask
from tripoint.rooms.masks import listed_masks, texts_of
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.adhoc import Ask, Fields, Told, adhoc, field, one
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid, parse_user_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At
from tripoint.xmpp.session import XmppSession

MASKS_NODE = NS + "#masks"
LEVEL_NODE = NS + "#level"
PINS_NODE = NS + "#pins"
LEAVE_NODE = NS + "#leave"
# More are no pins but a list of everything.
MAX_PINS_SHOWN = 50
_ACTIONS = (("list", "Show the lists"), ("add", "Add a mask"), ("remove", "Take a mask off"))
_LISTS = ((MaskList.BAN, "Banned"), (MaskList.EXEMPT, "Exempt from bans"), (MaskList.INVITE, "Needs no invitation"))


def _inside(session: XmppSession, room: RoomView) -> None:
    if room.membership(session.user_id) != "join":
        raise Problem("not-acceptable", "You are not in this room")


@adhoc(MASKS_NODE, "Masks: bans, exceptions, invitations", at=At.ROOM, spec="docs/mapping.md 9.3")
async def masks(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """Show the lists of masks, put one on, take one off."""
    room = await session.muc.room_for(session, jid)
    _inside(session, room)
    if fields is None:
        lists = [(which.value, label) for which, label in _LISTS]
        return Ask(
            "Masks of the room",
            field("action", "list-single", "What to do", "list", _ACTIONS)
            + field("list", "list-single", "On which list", "ban", lists)
            + field("mask", "text-single", "Mask (nick!user@host)"),
        )
    action = one(fields, "action") or "list"
    if action == "list":
        columns = (("list", "List"), ("mask", "Mask"), ("by", "Set by"))
        rows = [
            (which.value, entry.mask, session.users.jid_of(entry.sender))
            for which, _ in _LISTS
            for entry in listed_masks(room, which)
        ]
        return Told("" if rows else "There are no masks", "Masks of the room", columns, rows)
    mask, which = one(fields, "mask"), _list_named(one(fields, "list") or "ban")
    if action not in ("add", "remove") or not mask:
        raise Problem("bad-request", "A mask is needed, and whether to add or remove it")
    await session.doors.rooms.do(
        SetMask(actor=session.user_id, room_id=room.room_id, list=which, mask=mask, on=action == "add")
    )
    return Told("Done")


def _list_named(name: str) -> MaskList:
    try:
        return MaskList(name)
    except ValueError:
        raise Problem("bad-request", "There is no such list") from None


@adhoc(LEVEL_NODE, "Power levels", at=At.ROOM, spec="docs/mapping.md 7.7")
async def level(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """Show or set the exact power level of somebody."""
    room = await session.muc.room_for(session, jid)
    _inside(session, room)
    if fields is None:
        return Ask(
            "Power levels",
            field("jid", "jid-single", "Whose", session.bare, required=True)
            + field("level", "text-single", "New level (a number; empty to see it)"),
        )
    user_id = _user(session, room, one(fields, "jid"))
    wish = one(fields, "level")
    if wish:
        try:
            number = int(wish)
        except ValueError:
            raise Problem("not-acceptable", "A power level is a whole number") from None
        await session.doors.rooms.do(
            SetLevels(actor=session.user_id, room_id=room.room_id, levels=((user_id, number),))
        )
    shown = room.power.user(user_id)
    text = "made this room: no number is above theirs" if shown == float("inf") else f"has power level {shown:g}"
    return Told(f"{session.users.jid_of(user_id)} {text}")


def _user(session: XmppSession, room: RoomView, address: str) -> UserId:
    """Whom an address in a form means: a user's, or that of somebody in the room."""
    try:
        jid = parse_jid(address)
    except InvalidJid:
        raise Problem("jid-malformed", "The address is not valid") from None
    user_id = parse_user_jid(jid.bare, session.doors.domains)
    if user_id is None:
        # docs/mapping.md 1.5: an address that cannot be read back is looked up among the members
        user_id = next((one for one in room.members() if session.users.jid_of(one) == address), None)
    if user_id is None:
        raise Problem("item-not-found", "There is no such user")
    return user_id


@adhoc(PINS_NODE, "Pinned messages", at=At.ROOM, spec="docs/mapping.md 8.16")
async def pins(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """The messages that are pinned in the room."""
    room = await session.muc.room_for(session, jid)
    _inside(session, room)
    rows = []
    for event_id in texts_of(room.state.get(("m.room.pinned_events", "")), "pinned")[-MAX_PINS_SHOWN:]:
        event = await _visible(session, room.room_id, EventId(event_id))
        if event is not None:
            text = text_at(event.content, "body") or ""
            rows.append((event_id, session.users.jid_of(event.sender), text))
    columns = (("id", "Id"), ("from", "From"), ("body", "Message"))
    return Told("" if rows else "Nothing is pinned here", "Pinned messages", columns, rows)


async def _visible(session: XmppSession, room_id: RoomId, event_id: EventId) -> Event | None:
    try:
        item = await session.doors.reader.event(room_id, event_id, session.user_id)
    except Refused:
        return None
    return None if item.redacted_because is not None else item.event


@adhoc(LEAVE_NODE, "Leave for good", at=At.ROOM, spec="docs/mapping.md 4.4")
async def leave(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """End one's own membership, not only the visit."""
    room = await session.muc.room_for(session, jid)
    await session.doors.rooms.do(Leave(actor=session.user_id, room_id=room.room_id))
    return Told("You are no longer a member of this room")
