"""What some messages say to clients that know only text: polls, places, extensible events. Pure.

spec: Matrix client-server-api m.location; MSC3381 (polls) and MSC1767 (extensible events), by the names that clients in
the field send, before and after their proposals: m.poll.start and org.matrix.msc3381.poll.start; docs/mapping.md 10.11,
10.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event
from tripoint.core.json_view import object_at, text_at

_UNSTABLE: Final = "org.matrix.msc3381."
POLL_STARTS: Final = ("m.poll.start", f"{_UNSTABLE}poll.start")
POLL_ENDS: Final = ("m.poll.end", f"{_UNSTABLE}poll.end")
_POLLS: Final = ("m.poll", *POLL_STARTS)
_TEXTS: Final = ("m.text", "org.matrix.msc1767.text")
# Types that say something; a sticker has a body.
SPOKEN_TYPES: Final = frozenset({"m.room.message", "m.sticker", *POLL_STARTS, *POLL_ENDS})
# These may carry a body, and say nothing with it.
_DEEDS: Final = frozenset(
    {"m.reaction", "m.room.encrypted", "m.room.redaction", "m.poll.response", f"{_UNSTABLE}poll.response"}
)
_KNOWN: Final = frozenset({"m.text", "m.notice", "m.emote", "m.image", "m.file", "m.audio", "m.video"})
MAX_ANSWERS: Final = 20


@dataclass(frozen=True, slots=True)
class Poll:
    """A question and its answers: (id, words)."""

    question: str
    answers: tuple[tuple[str, str], ...]
    stable: bool

    @property
    def words(self) -> str:
        """The question, and a numbered line for each answer."""
        return "\n".join([self.question, *(f"{n}. {text}" for n, (_, text) in enumerate(self.answers, 1))])


def is_spoken(event: Event) -> bool:
    """Whether an event says something: a message, or one of a type that nobody here knows, with a body."""
    if event.type in SPOKEN_TYPES:
        return event.state_key is None
    return event.state_key is None and event.type not in _DEEDS and isinstance(event.content.get("body"), str)


def poll_in(content: JsonObject) -> Poll | None:
    """The poll that an event begins; None where it begins none that can be read."""
    key = next((key for key in _POLLS if isinstance(content.get(key), dict)), None)
    if key is None:
        return None
    asked = object_at(content, key)
    question = _text(asked.get("question"))
    answers = []
    listed = asked.get("answers")
    for answer in (listed if isinstance(listed, list) else [])[:MAX_ANSWERS]:
        if isinstance(answer, dict):
            answer_id, words = text_at(answer, "m.id") or text_at(answer, "id"), _text(answer)
            if answer_id and words:
                answers.append((answer_id, words))
    return Poll(question, tuple(answers), key == "m.poll") if question and answers else None


def vote_content(poll: Poll, event_id: str, answer_id: str) -> tuple[str, JsonObject]:
    """(type, content) of the event that votes for one answer, in the form in which the poll was begun."""
    relates_to: JsonObject = {"rel_type": "m.reference", "event_id": event_id}
    if poll.stable:
        return "m.poll.response", {"m.relates_to": relates_to, "m.selections": [answer_id]}
    response = f"{_UNSTABLE}poll.response"
    return response, {"m.relates_to": relates_to, response: {"answers": [answer_id]}}


def in_words(content: JsonObject) -> JsonObject:
    """The content as a text message says it, where it is one that only some clients know; else as it is."""
    msgtype = text_at(content, "msgtype")
    if msgtype in _KNOWN:
        return content
    body = text_at(content, "body")
    if msgtype == "m.location":
        place = text_at(content, "geo_uri")
        if place is not None and place not in (body or ""):
            return {**content, "body": f"{body}\n{place}" if body else place}
    elif msgtype is None:
        poll = poll_in(content)
        words = poll.words if poll is not None else body or _text(content)
        if words and words != body:
            return {**content, "body": words}
    return content


def _text(value: Json) -> str | None:
    """The plain text of an extensible event: a string, or a list of representations."""
    if not isinstance(value, dict):
        return None
    for key in _TEXTS:
        text = value.get(key)
        if isinstance(text, list):
            plain = (one for one in text if isinstance(one, dict) and text_at(one, "mimetype") in (None, "text/plain"))
            text = next((one.get("body") for one in plain), None)
        if isinstance(text, str) and text:
            return text
    return text_at(value, "body") or None
