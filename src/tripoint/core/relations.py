"""How one message refers to others: what it answers, and the thread that it stands in. Pure.

spec: Matrix client-server rich-replies, threading; docs/mapping.md 11.6-11.8. Edits are message.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at, text_at

_RELATES_TO: Final = "m.relates_to"
_THREAD: Final = "m.thread"


@dataclass(frozen=True, slots=True)
class Relation:
    """`reply`: the event that is answered. `thread`: the root of the thread.

    `falling_back`: the reply is there for clients that know no threads alone. spec: threading "Fallback for unthreaded
    clients"
    """

    reply: str | None = None
    thread: str | None = None
    falling_back: bool = False

    @property
    def answers(self) -> str | None:
        """The event that is answered in earnest."""
        return None if self.falling_back else self.reply

    def content(self) -> JsonObject:
        """The m.relates_to of a message."""
        relates_to: JsonObject = {}
        if self.thread is not None:
            relates_to |= {"rel_type": _THREAD, "event_id": self.thread, "is_falling_back": self.falling_back}
        if self.reply is not None:
            relates_to["m.in_reply_to"] = {"event_id": self.reply}
        return relates_to


NOTHING: Final = Relation()


def relation_in(content: JsonObject) -> Relation:
    """What a message refers to; NOTHING for most."""
    if _RELATES_TO not in content:
        return NOTHING
    relates_to = object_at(content, _RELATES_TO)
    thread = text_at(relates_to, "event_id") if text_at(relates_to, "rel_type") == _THREAD else None
    reply = text_at(object_at(relates_to, "m.in_reply_to"), "event_id")
    falling_back = thread is not None and relates_to.get("is_falling_back") is True
    return Relation(reply or None, thread or None, falling_back)


def child_of(content: JsonObject) -> tuple[str, str] | None:
    """(rel_type, event id) of the event that this one is about, in the sense of relation types: answers have none.

    spec: client-server "Forming relationships between events"
    """
    if _RELATES_TO not in content:
        return None
    relates_to = object_at(content, _RELATES_TO)
    rel_type, event_id = text_at(relates_to, "rel_type"), text_at(relates_to, "event_id")
    return (rel_type, event_id) if rel_type and event_id else None
