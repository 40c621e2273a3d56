"""Replies and threads: which message a stanza answers, and how an answer looks to XMPP clients.

spec: XEP-0461 3, 4; XEP-0428 2; XEP-0426 (positions count code points); XEP-0201; docs/mapping.md 11.6-11.8, 11.13.
What is answered is quoted in the body for clients that know no replies, where it is among the newest messages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.message import edit_in, view_message
from tripoint.core.relations import NOTHING, Relation, relation_in
from tripoint.core.richtext import to_plain
from tripoint.rooms.answers import answering, recent_item
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CLIENT_NS, FALLBACK_NS, REPLY_NS
from tripoint.xmpp.wire import Element, escape_attribute

Find = Callable[[str], HistoryItem | None]

_QUOTED_LINES: Final = 4
_QUOTED_CHARS: Final = 300
MAX_ID: Final = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """The message that another answers, as its readers know it. `quoted` stands before the body, "" for nothing."""

    its_id: str
    to: str | None = None
    quoted: str = ""

    def xml(self) -> str:
        """<reply/>, and which part of the body repeats what is answered."""
        to = "" if self.to is None else f" to='{escape_attribute(self.to)}'"
        reply = f"<reply xmlns='{REPLY_NS}'{to} id='{escape_attribute(self.its_id)}'/>"
        if not self.quoted:
            return reply
        where = f"<body start='0' end='{len(self.quoted)}'/>"
        return f"{reply}<fallback xmlns='{FALLBACK_NS}' for='{REPLY_NS}'>{where}</fallback>"


# -- in


async def relation_of(
    session: XmppSession, room_id: RoomId, stanza: Element, token_of: tuple[UserId, ...] = ()
) -> Relation:
    """What a stanza answers and the thread it stands in, as far as the room knows them. Raises Problem.

    Between two people a message is named by its `id`, which one of `token_of` gave it. spec: XEP-0461 4.1
    """
    element = stanza.child("reply", REPLY_NS)
    named = None if element is None else element.get("id")
    thread = stanza.child_text("thread", CLIENT_NS)
    if thread is not None and not thread.startswith("$"):
        thread = None  # a client's own; kept as it is
    if not named and not thread:
        return NOTHING
    if len(named or "") > MAX_ID or len(thread or "") > MAX_ID:
        raise Problem("policy-violation", "The id of a message is shorter than that")
    reader = session.doors.reader
    for user_id in token_of if named else ():
        found = await reader.event_by_token(room_id, user_id, named or "")
        if found is not None:
            named = found
            break
    return await answering(reader, room_id, session.user_id, reply=named or None, thread=thread)


def without_fallback(stanza: Element, text: str) -> str:
    """The body without the part that repeats what is answered. spec: XEP-0428 2.2, XEP-0461 3.1"""
    for fallback in stanza.elements():
        if (fallback.name, fallback.namespace, fallback.get("for")) != ("fallback", FALLBACK_NS, REPLY_NS):
            continue
        region = fallback.child("body", FALLBACK_NS)
        if region is None:
            continue
        start, end = _number(region.get("start")), _number(region.get("end"))
        if start is not None and end is not None and start < end <= len(text):
            return (text[:start] + text[end:]).strip("\n") or text
    return text


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 8 else None


# -- out


def answer_of(
    content: JsonObject,
    find: Find,
    who: Callable[[Event], tuple[str, str | None]],
    *,
    by_event: bool,
) -> Answer | None:
    """What a message answers in earnest. `find` gives a message by its event id, `who` its writer's address and,
    where there are several, his name. `by_event`: messages are named by stanza-id, as in rooms, and not by `id`.
    """
    named = relation_in(content).answers
    if named is None:
        return None
    item = find(named)
    if item is None:
        return Answer(named)
    its_id = named if by_event else item.token or named
    to, nick = who(item.event)
    quoted = "" if item.redacted_because is not None else _quoted(item.event.content, nick)
    return Answer(its_id, to, quoted)


def among_recent(room: RoomView | None) -> Find:
    """Finds messages among the newest ones of a room."""

    def find(event_id: str) -> HistoryItem | None:
        found = None if room is None else recent_item(room, event_id)
        return None if found is None else found[0]

    return find


def _quoted(content: JsonObject, nick: str | None) -> str:
    edit = edit_in(content)
    view = view_message(content if edit is None else edit[1])
    if view is None:
        return ""
    text = to_plain(view.text).strip("\n")
    lines = text[:_QUOTED_CHARS].split("\n")
    cut = len(text) > _QUOTED_CHARS or len(lines) > _QUOTED_LINES
    lines = lines[:_QUOTED_LINES]
    if cut:
        lines[-1] += " …"
    if nick is not None:
        lines[0] = f"{nick}: {lines[0]}"
    return "".join([f"> {line}\n" for line in lines])
