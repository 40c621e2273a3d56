"""What people say: m.room.message content to PRIVMSG and NOTICE, and back.

spec: docs/mapping.md 2.10, 10.0-10.9, 11.6, 12.1; CTCP "ACTION".  Codes and splitting are formatting.py's and
splitting.py's; rich text is core's.  Read next: tripoint/irc/richtext.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from tripoint.core.attachment import attachment_in
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId
from tripoint.core.in_words import in_words
from tripoint.core.json_view import object_at, text_at
from tripoint.core.message import Mentions as MentionList
from tripoint.core.message import MessageKind, edit_in, message_content, view_message
from tripoint.core.message_profile import profile_name, without_fallback
from tripoint.core.relations import NOTHING, Relation, relation_in
from tripoint.core.richtext import RoomPill
from tripoint.core.vendor import IRC_VENDOR, V
from tripoint.irc.cuts import CUTS_KEY, cut_marks, cuts_in
from tripoint.irc.formatting import RESET, has_codes, strip_codes
from tripoint.irc.lead import NO_LEAD, Lead
from tripoint.irc.multiline import pieces
from tripoint.irc.names import channel_of_alias, short_hash
from tripoint.irc.projection import Names
from tripoint.irc.render import Batch, is_tag_key, one_line, safe_client_tags
from tripoint.irc.richtext import Mentions, from_irc, mentioned, to_irc
from tripoint.irc.splitting import split_message
from tripoint.irc.wire import MAX_BODY_BYTES

MESSAGE: Final = "m.room.message"
MAX_CLIENT_TAG_BYTES: Final = 8192
_TAGS_KEY: Final = f"{V}.irc.tags"

_ACTION: Final = "\x01ACTION "
_NOT_IN_A_NICK: Final = re.compile(r"[\s\0-\x1f\x7f!+%@&#$:'\"?*,.~]+")
_MAX_RELAY_NICK: Final = 64
# Tags with a meaning of their own in the middle; all others are kept as they are (MAPPING 10.0).
EDIT_CAPABILITY: Final = f"{IRC_VENDOR}/edit"
EDIT_TAG: Final = f"+{EDIT_CAPABILITY}"
THREAD_TAG: Final = f"+{IRC_VENDOR}/thread"
_MAPPED_TAGS: Final = frozenset({EDIT_TAG, THREAD_TAG})
# These too, where they name what is there to be answered; else they are as all others (MAPPING 11.13).
REPLY_TAGS: Final = frozenset({"+reply", "+draft/reply"})
# What somebody does while he says something; of what was said before nobody needs to know it.
TYPING_TAGS: Final = frozenset({"+typing", "+draft/typing"})


# --- out -----------------------------------------------------------------------------------------------


def spoken_lines(names: Names, event: Event, mask: str, target: str, lead: Lead = NO_LEAD) -> list[str]:
    """The line bodies of one message, split where it is long; [] if it says nothing."""
    return content_lines(names, event.event_id, event.content, mask, target, lead)


def content_lines(
    names: Names, event_id: EventId, content: JsonObject, mask: str, target: str, lead: Lead = NO_LEAD
) -> list[str]:
    """As `spoken_lines`, of the content of a message; `event_id` is of the event that has it."""
    spoken = _spoken(names, event_id, content, mask, target)
    return [] if spoken is None else _lines(names, event_id, spoken, lead)


def relayed_lines(names: Names, event: Event, target: str) -> list[str] | None:
    """A message that goes under a name of its own, for clients with relaymsg: from that name. None for others.

    spec: RELAYMSG extension; docs/mapping.md 10.14. No nick holds a `/`, so it is nobody else's.
    """
    edit = edit_in(event.content)
    name = profile_name(event.content if edit is None else edit[1])
    if name is None:
        return None
    nick = relay_nick(name)
    nick = nick if "/" in nick else f"{nick}/{names.nick(event.sender)}"
    mask = f"{nick}!{'@'.join(names.username_and_host(event.sender))}"
    spoken = _spoken(names, event.event_id, event.content, mask, target, relayed=True)
    return None if spoken is None else _lines(names, event.event_id, spoken, NO_LEAD)


def relay_nick(name: str) -> str:
    """A name without what cannot stand in a nick. spec: RELAYMSG extension, abuse prevention"""
    return _NOT_IN_A_NICK.sub("-", name).strip("-/")[:_MAX_RELAY_NICK] or "somebody"


def _lines(names: Names, event_id: EventId, spoken: _Spoken, lead: Lead) -> list[str]:
    text, cuts = lead.before(spoken.text, emote=spoken.emote), spoken.cuts
    if cuts:
        cuts = _moved(cuts, len(text) - len(spoken.text))
    lines = split_message(text, spoken.budget, lambda: names.files.text_url(event_id), cuts)
    if spoken.emote:
        return [f"{spoken.head}{_ACTION}{line}\x01" for line in lines]
    return [spoken.head + line for line in lines]


def batch_of(names: Names, event: Event, mask: str, target: str) -> Batch | None:
    """A message of several lines as one, for clients with multiline; None if it has one, or too many.

    spec: IRCv3 multiline; docs/mapping.md 10.7
    """
    spoken = _spoken(names, event.event_id, event.content, mask, target)
    if spoken is None:
        return None
    text, cuts = spoken.text, spoken.cuts
    if spoken.emote:
        text, cuts = f"{_ACTION}{text}\x01", _moved(cuts, len(_ACTION))
    found = pieces(text, spoken.budget, cuts)
    return None if found is None else Batch(f"m{short_hash(event.event_id, 12)}", mask, target, spoken.head, found)


class _Spoken(NamedTuple):
    """What a message says: `head` is a line up to its text, which has room for `budget` bytes.

    `cuts`: indices in the text where its writer has cut long lines.
    """

    head: str
    text: str
    budget: int
    emote: bool
    cuts: tuple[int, ...] = ()


def _spoken(
    names: Names, event_id: EventId, content: JsonObject, mask: str, target: str, *, relayed: bool = False
) -> _Spoken | None:
    """`relayed`: `mask` has the name that the message goes under already."""
    edit = edit_in(content)
    if edit is not None:
        content = edit[1]
    kind = text_at(content, "msgtype")
    text = text_of(names, event_id, content)
    if not text:
        return None
    words = text
    if not relayed and (name := profile_name(content)) is not None:
        # spec: docs/mapping.md 10.14
        text = f"<{one_line(name)}> {text}"
    if edit is not None:
        # spec: docs/mapping.md 11.1
        text = f"* {text}"
    cuts: tuple[int, ...] = ()
    if CUTS_KEY in content:
        cuts = _moved(cuts_in(words, content[CUTS_KEY]), len(text) - len(words))
    # What the server itself says is a notice (docs/mapping.md 10.13).
    command = "NOTICE" if kind == "m.notice" or mask == names.server else "PRIVMSG"
    head = f":{mask} {command} {target} :"
    emote = kind == "m.emote"
    budget = MAX_BODY_BYTES - len(head.encode("utf-8", "replace")) - (len(_ACTION) + 1 if emote else 0)
    # NUL has no place on a wire, and a leading \x01 would make a CTCP of what was said elsewhere.
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").lstrip("\x01")
    return _Spoken(head, text, budget, emote, cuts) if text.strip("\n") else None


def _moved(cuts: tuple[int, ...], by: int) -> tuple[int, ...]:
    """Cuts of a text before which something is put."""
    return tuple(cut + by for cut in cuts) if by else cuts


def text_of(names: Names, event_id: EventId, content: JsonObject) -> str:
    """What a message says, with codes, in one or more lines."""
    if (name := profile_name(content)) is not None:
        content = without_fallback(content, name)
    content = in_words(content)
    attachment = attachment_in(content) if "url" in content or "file" in content else None
    if attachment is None:
        return _words_of(names, content)
    # spec: docs/mapping.md 12.1, 12.6
    url = names.files.url(event_id, attachment)
    line = attachment.described if url is None else f"{attachment.described} {url}"
    return f"{line}\n{_words_of(names, content)}" if attachment.has_caption else line


def _words_of(names: Names, content: JsonObject) -> str:
    """The text of a message, or the caption of a file."""
    if "formatted_body" not in content and "m.relates_to" not in content:
        return text_at(content, "body") or ""
    view = view_message(content)
    return (
        ""
        if view is None
        else to_irc(view.text, lambda user_id, _: names.nick(user_id), lambda pill: _pill(names, pill))
    )


def _pill(names: Names, pill: RoomPill) -> str:
    """A room in a text: its channel name where it is an alias that IRC can carry, else the writer's words."""
    if pill.room.startswith("#"):
        return channel_of_alias(pill.room, names.server) or pill.text
    return pill.text


def client_tags_of(content: JsonObject) -> tuple[tuple[str, str], ...]:
    """Client-only tags of a message: the reply, and what its IRC sender had put on it."""
    if "m.relates_to" not in content and _TAGS_KEY not in content:
        return ()
    tags: list[tuple[str, str]] = []
    edit = edit_in(content)
    if edit is not None:
        # spec: docs/mapping.md 11.1
        tags += [(EDIT_TAG, edit[0]), ("+reply", edit[0]), ("+draft/reply", edit[0])]
        content = edit[1]
    relation = relation_in(content)
    if relation.thread and " " not in relation.thread:
        tags.append((THREAD_TAG, relation.thread))
    reply = relation.reply or relation.thread
    if reply and " " not in reply:
        # spec: docs/mapping.md 0: ratified client tags are sent unprefixed and with draft/.
        tags += [("+reply", reply), ("+draft/reply", reply)]
    mapped = _MAPPED_TAGS | REPLY_TAGS if reply else _MAPPED_TAGS
    for key, value in object_at(content, _TAGS_KEY).items():
        if isinstance(value, str) and key not in mapped:
            tags.append((key, value))
    return safe_client_tags(tags)


# --- in ------------------------------------------------------------------------------------------------


class TagsTooLarge(ValueError):
    """More client-only tags than are kept with a message (MAPPING 10.0)."""


def content_of(
    command: str,
    text: str,
    tags: Mapping[str, str],
    mentions: Mentions,
    relation: Relation = NOTHING,
    file: JsonObject | None = None,
    cuts: tuple[int, ...] = (),
) -> JsonObject:
    """m.room.message content of a PRIVMSG or NOTICE. Raises TagsTooLarge.

    `mentions` tells who in the room has a nick (MAPPING 2.10); `relation` is what the tags refer to; `file` is the
    content of the file that the text is the address of; `cuts` where the writer has cut long lines of the text.
    """
    marks = cut_marks(text, cuts, len(_ACTION) if text.startswith(_ACTION) else 0) if cuts else []
    kind = MessageKind.NOTICE if command == "NOTICE" else MessageKind.TEXT
    if text.startswith(_ACTION):
        kind, text = MessageKind.EMOTE, text[len(_ACTION) :].removesuffix("\x01")
    content: JsonObject
    if "\n" in text and has_codes(text):
        text = text.replace("\n", f"{RESET}\n")  # codes hold to the end of a line
    coded = has_codes(text)
    found = mentioned(strip_codes(text) if coded else text, mentions) if file is None else []
    if file is not None:
        content = dict(file)
    elif coded or found:
        users = tuple(dict.fromkeys(user for _, _, user in found))
        content = message_content(kind, from_irc(text, found), MentionList(users))
    else:
        # An empty m.mentions says that nobody is meant: without it clients would search the text for names.
        content = {"msgtype": kind.value, "body": text, "m.mentions": {}}
    if marks and file is None:
        content[CUTS_KEY] = marks
    if relation is not NOTHING:
        content["m.relates_to"] = relation.content()
    if tags:
        mapped = _MAPPED_TAGS if relation is NOTHING else _MAPPED_TAGS | REPLY_TAGS
        _take_tags(content, tags, mapped)
    return content


def _take_tags(content: JsonObject, tags: Mapping[str, str], mapped: frozenset[str]) -> None:
    kept: JsonObject = {
        key: value for key, value in tags.items() if key.startswith("+") and key not in mapped and is_tag_key(key)
    }
    if kept:
        size = sum(len(key) + len(value.encode()) for key, value in kept.items() if isinstance(value, str))
        if size > MAX_CLIENT_TAG_BYTES:
            raise TagsTooLarge
        content[_TAGS_KEY] = kept


def reply_target(tags: Mapping[str, str]) -> str | None:
    """The event that +reply or +draft/reply names, if it can be one."""
    return _event_named(tags.get("+reply") or tags.get("+draft/reply"))


def thread_target(tags: Mapping[str, str]) -> str | None:
    """The root of the thread that is named, if it can be one."""
    return _event_named(tags.get(THREAD_TAG))


def _event_named(word: str | None) -> str | None:
    return word if word and word.startswith("$") and len(word.encode()) <= 255 else None
