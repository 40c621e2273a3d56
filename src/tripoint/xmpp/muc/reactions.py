"""Reactions in a room. XMPP says the whole set that somebody has on a message, Matrix one event for each.

spec: XEP-0444 3, 4; docs/mapping.md 11.4, 11.5, 11.12. Only the newest hundred reactions of a person are looked at.
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, UserId
from tripoint.core.json_view import object_at, text_at
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import Redact, SendEvent
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import room_message, stanza_id
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import HINTS_NS, REACTIONS_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

REACTION = "m.reaction"
_LOOKED_AT = 100
# More on one message than anybody means; each is an event.
MAX_REACTIONS = 20
MAX_KEY_BYTES = 100


async def react(session: XmppSession, visit: Visit, element: Element) -> None:
    """A message with <reactions/>: the set that the sender has from now on. Raises Problem, Refused."""
    room_id = visit.view.room.room_id
    wanted = list(
        dict.fromkeys(
            key
            for child in element.elements()
            if child.name == "reaction" and child.namespace == REACTIONS_NS and (key := child.text.strip())
        )
    )
    if len(wanted) > MAX_REACTIONS or any(len(key.encode()) > MAX_KEY_BYTES for key in wanted):
        raise Problem("policy-violation", f"A message has at most {MAX_REACTIONS} short reactions of one person")
    if any(_is_word(key) for key in wanted):
        raise Problem("not-acceptable", "A reaction is an emoji here")
    try:
        about = await session.doors.reader.event(room_id, EventId(element.get("id") or ""), session.user_id)
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        raise Problem("item-not-found", "There is no such message") from refused
    target = about.event.event_id
    present = await reactions_of(session.doors, visit.view, session.user_id, target)
    for key, event_id in present.items():
        if key not in wanted and not _is_word(key):  # what XMPP is not shown it does not take away
            await session.doors.rooms.do(Redact(actor=session.user_id, room_id=room_id, event_id=event_id))
    for key in wanted:
        if key not in present:
            relation: JsonObject = {"rel_type": "m.annotation", "event_id": target, "key": key}
            content: JsonObject = {"m.relates_to": relation}
            await session.doors.rooms.do(
                SendEvent(actor=session.user_id, room_id=room_id, type=REACTION, content=content)
            )


async def reactions_of(doors: Doors, view: MucView, user_id: UserId, target: str) -> dict[str, EventId]:
    """The reactions that somebody has on a message, oldest first, with their events."""
    page = await doors.reader.history(
        HistoryQuery(
            room_id=view.room.room_id,
            viewer=user_id,
            direction=Direction.BACKWARD,
            types=(REACTION,),
            senders=(user_id,),
            limit=_LOOKED_AT,
        )
    )
    found: dict[str, EventId] = {}
    for item in reversed(page.items):
        about = reacted_to(item.event)
        if about is not None and about[0] == target and item.redacted_because is None:
            found.setdefault(about[1], item.event.event_id)
    return found


def reacted_to(event: Event) -> tuple[str, str] | None:
    """(event id, key) of a reaction; None for one that was taken back or makes no sense."""
    relation = object_at(event.content, "m.relates_to")
    target, key = text_at(relation, "event_id"), text_at(relation, "key")
    if text_at(relation, "rel_type") != "m.annotation" or not target or not key:
        return None
    return target, key


def tell_reaction(view: MucView, change: EventCommitted) -> None:
    """One reaction more, or with `redacted` one less: the whole set is told when it is looked up."""
    about = reacted_to(change.redacted if change.redacted is not None else change.event)
    if about is not None and not _is_word(about[1]):
        writer = change.event.sender if change.redacted is None else change.redacted.sender
        view.doors.spawn(_tell(view, writer, about[0], change.event.event_id))


async def _tell(view: MucView, user_id: UserId, target: str, event_id: EventId) -> None:
    try:
        present = await reactions_of(view.doors, view, user_id, target)
    except Refused:
        return  # he is gone, and so is what he may see
    if view.is_empty or view.room.membership(user_id) != "join":
        return
    who = view.appear(user_id)
    shown = "".join([f"<reaction>{escape_text(key)}</reaction>" for key in present if not _is_word(key)])
    xml = (
        f"<reactions xmlns='{REACTIONS_NS}' id='{escape_attribute(target)}'>{shown}</reactions>"
        f"<store xmlns='{HINTS_NS}'/>" + stanza_id(view.jid, event_id) + who.id_xml
    )
    view.tell(room_message(who.jid, xml, event_id))


def _is_word(key: str) -> bool:
    """docs/mapping.md 11.5: what is no emoji is not shown on XMPP. spec: XEP-0444 3: clients show emoji alone."""
    return key.isascii()
