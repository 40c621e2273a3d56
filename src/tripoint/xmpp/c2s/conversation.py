"""What the events of a direct room are between two XMPP users: event in, the inside of a message out.

Messages are named by their `id`: the sender's own where XMPP gave one, else the event id. What somebody took away of
the other's is not told: clients must not believe it. spec: XEP-0308, XEP-0424 3, 5; XEP-0444 3; docs/mapping.md 11, 15.
Read next: direct.py (live), archive.py.
"""

from tripoint.core.event import Event
from tripoint.core.message import edit_in
from tripoint.core.richtext import Mention, RoomPill
from tripoint.rooms.answers import content_now
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.corrections import replacing, replacing_message
from tripoint.xmpp.jid import user_jid
from tripoint.xmpp.messages import caption_of, inside_of, is_words, words_inside
from tripoint.xmpp.payloads import is_said
from tripoint.xmpp.replies import Find, among_recent, answer_of
from tripoint.xmpp.retractions import retract_xml
from tripoint.xmpp.session import Doors

MESSAGE = "m.room.message"


def _naming(pill: Mention | RoomPill) -> str:
    return pill.text


def said(
    doors: Doors, event: Event, room: RoomView | None, find: Find | None = None, *, whole: bool = True
) -> str | None:
    """What a message says; None for nothing. `find` gives what it answers, without it the room's newest events.
    Without `whole`, of a file with a caption the file alone."""

    if is_words(event.content):
        return words_inside(event.content)

    def who(answered: Event) -> tuple[str, None]:
        return user_jid(answered.sender, doors.domains), None

    answer = answer_of(event.content, find or among_recent(room), who, by_event=False)
    inside = inside_of(event.content, _naming, answer, doors.url_of(event.event_id), whole=whole)
    return None if inside is None else inside + replacing(room, event)


def caption(event: Event) -> str | None:
    """The caption of a file, for a message behind it; None without one."""
    return None if is_words(event.content) else caption_of(event.content, _naming)


def taken_back(
    doors: Doors, event: Event, gone: Event, room: RoomView | None, find: Find | None = None
) -> str | None:
    """What a redaction of a message says; `gone` is what it took away, as it was. Of an edit, the text before it."""
    if not is_said(gone) or gone.sender != event.sender:
        return None
    edit = edit_in(gone.content)
    now = None if edit is None or room is None else content_now(room, edit[0])
    former = None
    if now is not None and now[0].event.sender == gone.sender:
        former = inside_of(now[1], _naming, url_of=doors.url_of(now[0].event.event_id))
    if now is not None and former is not None:
        return former + replacing_message(room, now[0].event.event_id, gone.sender)
    item = (find or among_recent(room))(gone.event_id)
    return retract_xml(gone.event_id if item is None else item.token or gone.event_id)
