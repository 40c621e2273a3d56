"""What a message of IRC or XMPP answers, and what is known of it to those who show it.

spec: docs/mapping.md 11.6-11.8, 11.12, 11.13. Live rendering never waits, so it finds what is among the newest
events of a room, which are in memory.
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.message import edit_in
from tripoint.core.relations import NOTHING, Relation, relation_in
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refusal, Refused


async def answering(
    reader: RoomReader, room_id: RoomId, viewer: UserId, *, reply: str | None = None, thread: str | None = None
) -> Relation:
    """The relation of a message that names what it answers, or the root of a thread, or both.

    Whoever answers a message of a thread is in that thread (11.8). What cannot be found is left out (11.13).
    """
    target = None if reply is None else await _event(reader, room_id, reply, viewer)
    root = None if thread is None else await _event(reader, room_id, thread, viewer)
    answered = None if target is None else _edited_or_itself(target)
    above = NOTHING if target is None else relation_in(target.content)
    root_id = above.thread
    if root is not None:
        # spec: threading: a thread cannot begin in a thread.
        root_id = relation_in(root.content).thread or _edited_or_itself(root)
    if root_id is None:
        return NOTHING if answered is None else Relation(answered)
    if answered is None or answered == root_id:
        newest = _newest_of_thread(await reader.room(room_id), root_id)
        return Relation(newest or root_id, root_id, falling_back=True)
    return Relation(answered, root_id)


def _edited_or_itself(event: Event) -> str:
    edit = edit_in(event.content)
    return event.event_id if edit is None else edit[0]


def _newest_of_thread(room: RoomView, root_id: str) -> str | None:
    for item in reversed(room.recent):
        if relation_in(item.event.content).thread == root_id:
            return item.event.event_id
    return None


async def _event(reader: RoomReader, room_id: RoomId, event_id: str, viewer: UserId) -> Event | None:
    try:
        return (await reader.event(room_id, EventId(event_id), viewer)).event
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        return None


def recent_item(room: RoomView, event_id: str) -> tuple[HistoryItem, int] | None:
    """An event among the newest ones, and how many came after it."""
    for age, item in enumerate(reversed(room.recent)):
        if item.event.event_id == event_id:
            return item, age
    return None


def content_now(room: RoomView, target: str) -> tuple[HistoryItem, JsonObject] | None:
    """A recent message and what it says after its edits; None if it is not recent, or gone."""
    found = recent_item(room, target)
    if found is None or found[0].redacted_because is not None:
        return None
    item = found[0]
    for later in reversed(room.recent):
        edit = edit_in(later.event.content)
        if edit is not None and edit[0] == target and later.event.sender == item.event.sender:
            return item, edit[1]
    return item, item.event.content
