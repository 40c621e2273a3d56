"""Reactions as XMPP has them, the whole set that somebody has on a message, and as Matrix has them, an event for each.

spec: XEP-0444 3, 4; docs/mapping.md 11.4, 11.5, 11.12. Only the newest hundred reactions of a person are looked at.
Read next: muc/reactions.py (rooms), c2s/relations.py (between two).
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.json_view import object_at, text_at
from tripoint.rooms.commands import Redact, SendEvent
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.ports import RoomReader
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession, origin_of
from tripoint.xmpp.tables import HINTS_NS, REACTIONS_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

REACTION: Final = "m.reaction"
_LOOKED_AT: Final = 100
# More on one message than anybody means; each is an event.
MAX_REACTIONS: Final = 20
MAX_KEY_BYTES: Final = 100


def wanted_reactions(element: Element) -> list[str]:
    """The set in a <reactions/>, each once. Raises Problem for what no reaction is here."""
    wanted = list(
        dict.fromkeys(
            key
            for child in element.elements()
            if child.name == "reaction" and child.namespace == REACTIONS_NS and (key := child.text.strip())
        )
    )
    if len(wanted) > MAX_REACTIONS or any(len(key.encode()) > MAX_KEY_BYTES for key in wanted):
        raise Problem("policy-violation", f"A message has at most {MAX_REACTIONS} short reactions of one person")
    if any(is_word(key) for key in wanted):
        raise Problem("not-acceptable", "A reaction is an emoji here")
    return wanted


async def set_reactions(
    session: XmppSession, stanza: Element, room_id: RoomId, target: EventId, wanted: list[str]
) -> None:
    """From now on the session's user has these reactions on a message, and no others. Raises Refused.

    The last of the events that it takes is the one that `stanza` is known as.
    """
    actor = session.user_id
    commands: list[Redact | SendEvent] = []
    present = (await reactions_of(session.doors.reader, room_id, session.user_id)).get(target, {})
    for key, event_id in present.items():
        if key not in wanted and not is_word(key):  # what XMPP is not shown it does not take away
            commands.append(Redact(actor=actor, room_id=room_id, event_id=event_id))
    for key in wanted:
        if key not in present:
            relation: JsonObject = {"rel_type": "m.annotation", "event_id": target, "key": key}
            content: JsonObject = {"m.relates_to": relation}
            commands.append(SendEvent(actor=actor, room_id=room_id, type=REACTION, content=content))
    if commands:
        commands[-1] = replace(commands[-1], origin=origin_of(session, stanza))
    for command in commands:
        await session.doors.rooms.do(command)


async def reactions_of(reader: RoomReader, room_id: RoomId, user_id: UserId) -> dict[str, dict[str, EventId]]:
    """The reactions of somebody: message -> key -> event, oldest first. Raises Refused."""
    page = await reader.history(
        HistoryQuery(
            room_id=room_id,
            viewer=user_id,
            direction=Direction.BACKWARD,
            types=(REACTION,),
            senders=(user_id,),
            limit=_LOOKED_AT,
            only_here=True,
        )
    )
    found: dict[str, dict[str, EventId]] = {}
    for item in reversed(page.items):
        about = reacted_to(item.event)
        if about is not None and item.redacted_because is None:
            found.setdefault(about[0], {}).setdefault(about[1], item.event.event_id)
    return found


def reacted_to(event: Event) -> tuple[str, str] | None:
    """(event id, key) of a reaction; None for one that was taken back or makes no sense."""
    relation = object_at(event.content, "m.relates_to")
    target, key = text_at(relation, "event_id"), text_at(relation, "key")
    if text_at(relation, "rel_type") != "m.annotation" or not target or not key:
        return None
    return target, key


def reactions_xml(its_id: str, keys: Iterable[str]) -> str:
    """The whole set that somebody has on the message with this id."""
    shown = "".join([f"<reaction>{escape_text(key)}</reaction>" for key in keys if not is_word(key)])
    named = escape_attribute(its_id)
    return f"<reactions xmlns='{REACTIONS_NS}' id='{named}'>{shown}</reactions><store xmlns='{HINTS_NS}'/>"


def is_word(key: str) -> bool:
    """docs/mapping.md 11.5: what is no emoji is not shown on XMPP. spec: XEP-0444 3: clients show emoji alone."""
    return key.isascii()
