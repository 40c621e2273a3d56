"""m.room.message: what a message says, read from its content and written into one.

spec: Matrix client-server-api instant-messaging, user-and-room-mentions, rich-replies; docs/mapping.md 10.1
to 10.3. Files, places and other kinds are OTHER here: their body stands for them until their own views exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import InvalidId, UserId, parse_user_id
from tripoint.core.json_view import object_at, text_at, texts_at
from tripoint.core.richtext import RichText, from_html, from_plain, to_html, to_plain

_HTML: Final = "org.matrix.custom.html"
_MAX_MENTIONS: Final = 100  # read from one message; nobody calls more by name and means it


class MessageKind(Enum):
    """What kind of line a message is."""

    TEXT = "m.text"
    NOTICE = "m.notice"
    EMOTE = "m.emote"
    OTHER = ""


_KINDS: Final = {kind.value: kind for kind in MessageKind if kind is not MessageKind.OTHER}


@dataclass(frozen=True, slots=True)
class Mentions:
    """Whom a message is meant for: m.mentions. spec: user-and-room-mentions"""

    user_ids: tuple[UserId, ...] = ()
    room: bool = False


NOBODY: Final = Mentions()
EVERYBODY: Final = "@room"
_EVERYBODY: Final = re.compile(r"(?<![\w@.])@room(?![\w@-])")


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as its content has it: `body` as sent, `text` the rich form (of the HTML, if there is
    any)."""

    kind: MessageKind
    msgtype: str
    body: str
    text: RichText
    mentions: Mentions


def view_message(content: JsonObject) -> MessageView | None:
    """What this m.room.message content says; None where there is nothing: redacted, or no body at all."""
    body, msgtype = text_at(content, "body"), text_at(content, "msgtype") or ""
    if body is None:
        return None
    html = text_at(content, "formatted_body") if content.get("format") == _HTML else None
    if html is not None:
        text = from_html(html)
    else:
        text = from_plain(without_reply_fallback(body) if _is_reply(content) else body)
    return MessageView(_KINDS.get(msgtype, MessageKind.OTHER), msgtype, body, text, read_mentions(content))


def _is_reply(content: JsonObject) -> bool:
    return "m.in_reply_to" in object_at(content, "m.relates_to")


def without_reply_fallback(body: str) -> str:
    # spec: rich-replies (until v1.12): clients wrote `> <@who:is> what they said` lines and an empty line.
    if not body.startswith("> <@") and not body.startswith("> * <@"):
        return body
    lines = body.split("\n")
    at = 0
    while at < len(lines) and lines[at].startswith("> "):
        at += 1
    if at < len(lines) and not lines[at]:
        at += 1
    return "\n".join(lines[at:])


def read_mentions(content: JsonObject) -> Mentions:
    """m.mentions of any event's content; what is no user id is left out, and of very many the rest."""
    mentions = object_at(content, "m.mentions")
    users: dict[UserId, None] = {}
    for text in texts_at(mentions, "user_ids"):
        if len(users) == _MAX_MENTIONS:
            break
        try:
            users[parse_user_id(text)] = None
        except InvalidId:
            continue
    return Mentions(tuple(users), mentions.get("room") is True)


def call_everybody(content: JsonObject) -> None:
    """Say in m.mentions that everybody is meant, where the text does: a word `@room`. Who may do so is not asked here.

    spec: user-and-room-mentions; docs/mapping.md 2.11
    """
    if _EVERYBODY.search(text_at(content, "body") or ""):
        content["m.mentions"] = {**object_at(content, "m.mentions"), "room": True}


def message_content(kind: MessageKind, text: RichText, mentions: Mentions = NOBODY) -> JsonObject:
    """Content of an m.room.message; formatted only if there is formatting.

    m.mentions is always written: its presence tells clients not to search the text for names. `kind` is not
    OTHER: a file has its own fields.
    """
    if kind is MessageKind.OTHER:
        raise ValueError("only text, notices and emotes are written here")
    content: JsonObject = {"msgtype": kind.value, "body": to_plain(text, spoilers=False)}
    if not text.is_plain:
        content["format"] = _HTML
        content["formatted_body"] = to_html(text)
    named: JsonObject = {}
    if mentions.user_ids:
        named["user_ids"] = list(mentions.user_ids)
    if mentions.room:
        named["room"] = True
    content["m.mentions"] = named
    return content


def edit_in(content: JsonObject) -> tuple[str, JsonObject] | None:
    """(id of the edited event, its new content), where this content is an edit.

    Whether its writer may edit that event is not asked here. spec: client-server "Event replacements"
    """
    relation = object_at(content, "m.relates_to")
    target = text_at(relation, "event_id")
    new = content.get("m.new_content")
    if text_at(relation, "rel_type") != "m.replace" or not target or not isinstance(new, dict):
        return None
    return target, new


def edit_content(target: str, new: JsonObject) -> JsonObject:
    """Content of an m.room.message that edits `target`: the new content, and a fallback with ``* ``.

    spec: client-server "Event replacements": relations of the new content are ignored, so it has none.
    """
    new = {key: value for key, value in new.items() if key != "m.relates_to"}
    content: JsonObject = {"msgtype": new.get("msgtype"), "body": f"* {text_at(new, 'body') or ''}"}
    html = text_at(new, "formatted_body")
    if html is not None:
        content["format"] = _HTML
        content["formatted_body"] = f"* {html}"
    if "m.mentions" in new:
        content["m.mentions"] = new["m.mentions"]
    content["m.new_content"] = new
    content["m.relates_to"] = {"rel_type": "m.replace", "event_id": target}
    return content
