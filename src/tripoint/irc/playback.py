"""What happened in a channel before, besides what was said: the lines of draft/event-playback. Pure.

Each event is shown as it was told when it happened, from itself and what it replaced, whatever the room is now.
spec: IRCv3 chathistory "event-playback"; docs/mapping.md 11.11, 14.1.  Read next: commands/history.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.in_words import SPOKEN_TYPES
from tripoint.core.json_view import object_at, text_at
from tripoint.core.power import rank_of
from tripoint.irc.events import (
    By,
    ban_mask,
    is_msgid,
    kicked_line,
    mask_steps,
    membership,
    mode_line,
    parted_line,
    reaction_to,
    redact_line,
    sender_of,
    step_lines,
    topic_text,
)
from tripoint.irc.projection import Names, as_shown, rank_letters
from tripoint.irc.render import Outgoing, fitted
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.masks import MASKS
from tripoint.rooms.ports import RoomView

CAPABILITY: Final = "draft/event-playback"

_Form = Callable[[Names, RoomView, str, HistoryItem], list[Outgoing]]


def played(names: Names, room: RoomView, target: str, item: HistoryItem, gone: Event | None) -> list[Outgoing]:
    """The lines of one event that says nothing itself. `gone` is what a redaction took away, as it is now."""
    event = item.event
    if event.type == "m.room.redaction":
        # docs/mapping.md 11.11: the message is left out, and that it was taken back is told.
        known = gone is not None and gone.type in SPOKEN_TYPES and is_msgid(gone.event_id)
        return [redact_line(names, event, target, gone.event_id)] if known and gone is not None else []
    if event.type == "m.reaction":
        return reaction_to(names, event, target)
    form = _FORMS.get(event.type)
    return [] if form is None else form(names, room, target, item)


def played_types(*, direct: bool) -> tuple[str, ...]:
    """Which events are asked for: of a conversation of two only what is done to messages."""
    about_messages = ("m.reaction", "m.room.redaction")
    return about_messages if direct else (*about_messages, *_FORMS)


def _member(names: Names, room: RoomView, target: str, item: HistoryItem) -> list[Outgoing]:
    event, by = item.event, sender_of(names, item.event)
    user_id = UserId(event.state_key or "")
    before, now = membership(item.replaced), membership(event)
    out: list[Outgoing] = []
    if (before == "ban") is not (now == "ban"):
        out.append(mode_line(target, by, "+b" if now == "ban" else "-b", [ban_mask(names, user_id)]))
    if now == "join" and before != "join":
        head = f":{names.mask(user_id)} JOIN {target}"
        who = names.who(user_id)
        real = text_at(event.content, "displayname") or names.nick(user_id)
        extended = fitted(f"{head} {who.account or '*'}", real)
        out.append(Outgoing([head], extended=extended, who=who, ts_ms=event.origin_server_ts))
    elif before == "join" and now != "join":
        if event.sender == user_id and now != "ban":
            out.append(parted_line(names, target, event, user_id))
        else:
            reason = text_at(event.content, "reason") or by.mask.partition("!")[0]
            out.append(kicked_line(names, target, by, user_id, reason))
    return out


def _topic(names: Names, room: RoomView, target: str, item: HistoryItem) -> list[Outgoing]:
    by = sender_of(names, item.event)
    text = topic_text(text_at(item.event.content, "topic") or "")
    return [Outgoing([fitted(f":{by.mask} TOPIC {target}", text)], ts_ms=by.ts_ms, who=by.who)]


def _ranks(names: Names, room: RoomView, target: str, item: HistoryItem) -> list[Outgoing]:
    """Ranks of those who are named in the levels, before and now."""
    if item.replaced is None:
        return []  # the room was made so
    before, now = (room.power.with_content(event.content) for event in (item.replaced, item.event))
    steps: list[tuple[str, str, str]] = []
    for name in dict.fromkeys((*object_at(before.content, "users"), *object_at(now.content, "users"))):
        old = rank_letters(as_shown(rank_of(before, name, "join"), before))
        new = rank_letters(as_shown(rank_of(now, name, "join"), now))
        nick = names.nick(UserId(name))
        steps += [("-", letter, nick) for letter in old if letter not in new]
        steps += [("+", letter, nick) for letter in new if letter not in old]
    return step_lines(target, sender_of(names, item.event), steps)


def _invite_only(names: Names, room: RoomView, target: str, item: HistoryItem) -> list[Outgoing]:
    was = item.replaced is not None and text_at(item.replaced.content, "join_rule") != "public"
    now = text_at(item.event.content, "join_rule") != "public"
    if item.replaced is None or was is now:
        return []
    return [mode_line(target, sender_of(names, item.event), "+i" if now else "-i", [])]


def _masks(names: Names, room: RoomView, target: str, item: HistoryItem) -> list[Outgoing]:
    by: By = sender_of(names, item.event)
    return step_lines(target, by, mask_steps(item.replaced, item.event))


_FORMS: Final[dict[str, _Form]] = {
    "m.room.member": _member,
    "m.room.topic": _topic,
    "m.room.power_levels": _ranks,
    "m.room.join_rules": _invite_only,
    MASKS: _masks,
}
