"""What each committed event says to IRC: event in, lines out. Pure translation; nothing is sent from here.

Every event type that has a form on IRC has one function; what has none says nothing (MAPPING 10.12).
spec: docs/mapping.md 4, 7.6, 8, 9, 10, 11; RFC2812 3.2, 3.3.  Read next: tripoint/irc/network.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.in_words import is_spoken
from tripoint.core.json_view import object_at, text_at
from tripoint.core.message import edit_content, edit_in
from tripoint.core.power import Rank
from tripoint.core.relations import NOTHING, relation_in
from tripoint.irc.channel import Channel
from tripoint.irc.lead import NEAR_EVENTS, NO_LEAD, Lead
from tripoint.irc.messages import batch_of, client_tags_of, content_lines, relayed_lines, spoken_lines, text_of
from tripoint.irc.projection import Names, channel_args, channel_flags, muted_users, rank_letters, shown_rank
from tripoint.irc.render import NOBODY, Audience, Outgoing, Who, cut, fitted, one_line, safe_client_tags
from tripoint.irc.tables import KICKLEN, MAX_MODES, TOPICLEN
from tripoint.irc.wire import MAX_BODY_BYTES
from tripoint.rooms.answers import content_now, recent_item
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import MaskList
from tripoint.rooms.masks import ACL, MASKS, mask_differences
from tripoint.rooms.ports import RoomView
from tripoint.rooms.room import USER_RULE
from tripoint.rooms.settings import LIMITS, TEXT_RULES, TLS_ONLY

_TAGS = int(Audience.TAGS)


class By(NamedTuple):
    """Who a line says has done it, and when (ms since 1970)."""

    mask: str
    who: Who
    ts_ms: int


def sender_of(names: Names, event: Event) -> By:
    """The sender of an event."""
    return By(names.mask(event.sender), names.who(event.sender), event.origin_server_ts)


def joined_line(names: Names, channel: Channel, user_id: UserId, ts_ms: int | None) -> Outgoing:
    """JOIN, with account and real name for who has extended-join."""
    member = channel.room.member(user_id)
    displayname = member.displayname if member is not None else None
    names.nick(user_id, displayname)  # where it is given only now it can be made of the display name
    head = f":{names.mask(user_id)} JOIN {channel.name}"
    who = names.who(user_id)
    return Outgoing(
        [head],
        extended=fitted(f"{head} {who.account or '*'}", names.realname_in(user_id, displayname)),
        who=who,
        ts_ms=ts_ms,
    )


def parted_line(names: Names, channel_name: str, event: Event, user_id: UserId) -> Outgoing:
    """PART, with the reason if there is one."""
    return left_line(names, channel_name, user_id, text_at(event.content, "reason"), event.origin_server_ts)


def left_line(names: Names, channel_name: str, user_id: UserId, reason: str | None, ts_ms: int) -> Outgoing:
    """PART of somebody, at a time."""
    head = f":{names.mask(user_id)} PART {channel_name}"
    body = fitted(head, reason) if reason else head
    return Outgoing([body], ts_ms=ts_ms, who=names.who(user_id))


def kicked_line(names: Names, channel_name: str, by: By, user_id: UserId, reason: str) -> Outgoing:
    """KICK."""
    head = f":{by.mask} KICK {channel_name} {names.nick(user_id)}"
    return Outgoing([fitted(head, cut(one_line(reason), KICKLEN))], ts_ms=by.ts_ms, who=by.who)


def ban_mask(names: Names, user_id: UserId) -> str:
    """``~a:account``: how a ban of one user is shown (MAPPING 9.1). A guest has no account but its own name."""
    account = names.account(user_id)
    return f"~a:{account}" if account else f"*!{names.username_and_host(user_id)[0]}@*"


def mode_line(channel_name: str, by: By, modes: str, args: list[str]) -> Outgoing:
    """MODE."""
    words = " ".join([f":{by.mask}", "MODE", channel_name, modes, *args])
    return Outgoing([words], ts_ms=by.ts_ms, who=by.who)


def member_event(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """JOIN, PART, KICK, ban and unban.  spec: docs/mapping.md 4.1, 4.4, 4.11, 9.1, 9.7"""
    return member_lines(channel, change.replaced, change.event, sender_of(channel.names, change.event))


def member_lines(channel: Channel, replaced: Event | None, event: Event | None, by: By) -> list[Outgoing]:
    """A member event took the place of another. `by` is who did what the user did not do himself.

    Of a guest who was told to have quit, leaving is not told again.
    """
    names = channel.names
    some = event or replaced
    assert some is not None
    user_id = UserId(some.state_key or "")
    before, now = membership(replaced), membership(event)
    out: list[Outgoing] = []
    if (before == "ban") is not (now == "ban"):
        out.append(mode_line(channel.name, by, "+b" if now == "ban" else "-b", [ban_mask(names, user_id)]))
    if now == "join" and before != "join":
        if channel.shows(user_id) or channel.room.rank(user_id).above(Rank.PLAIN):
            out += came(channel, user_id, by.ts_ms)
    elif before == "join" and now != "join":
        by_himself = event is not None and event.sender == user_id and now != "ban"
        if not channel.shows(user_id) and not by_himself:
            # Who did it sees that it was done; the others hear who that was.
            out.append(joined_line(names, channel, user_id, by.ts_ms))
            channel.member_came(user_id)
        if channel.shows(user_id) and (user_id not in names.gone or now == "ban"):
            out.append(_went(channel, event, by, user_id))
        channel.member_went(user_id)
    return out


def membership(event: Event | None) -> str:
    """What a member event says; ``leave`` where there is none."""
    return (text_at(event.content, "membership") if event is not None else None) or "leave"


def appearing(channel: Channel, user_id: UserId, ts_ms: int) -> list[Outgoing]:
    """JOIN of a member of a huge room who is not shown yet and does something now.  spec: docs/mapping.md 4.7"""
    if channel.shows(user_id) or user_id not in channel.room.joined():
        return []
    return came(channel, user_id, ts_ms)


def came(channel: Channel, user_id: UserId, ts_ms: int) -> list[Outgoing]:
    """JOIN, and MODE for who comes with a rank."""
    names = channel.names
    out = [joined_line(names, channel, user_id, ts_ms)]
    rank = shown_rank(channel.room, user_id)
    letters = rank_letters(rank)
    if letters:
        channel.ranks[user_id] = rank
        by = By(names.server, NOBODY, ts_ms)
        out.append(mode_line(channel.name, by, f"+{letters}", [names.nick(user_id)] * len(letters)))
    channel.member_came(user_id)
    return out


def _went(channel: Channel, event: Event | None, by: By, user_id: UserId) -> Outgoing:
    """PART of who left by himself, KICK of the others."""
    names = channel.names
    if event is not None and event.sender == user_id and membership(event) != "ban":
        return parted_line(names, channel.name, event, user_id)
    reason = text_at(event.content, "reason") if event is not None else None
    return kicked_line(names, channel.name, by, user_id, reason or by.mask.partition("!")[0])


def topic_event(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """TOPIC.  spec: docs/mapping.md 8.1"""
    return [topic_line(channel, sender_of(channel.names, change.event), text_at(change.event.content, "topic") or "")]


def topic_line(channel: Channel, by: By, topic: str) -> Outgoing:
    """TOPIC, empty where there is none any more."""
    body = fitted(f":{by.mask} TOPIC {channel.name}", topic_text(topic))
    return Outgoing([body], ts_ms=by.ts_ms, who=by.who)


def topic_text(topic: str) -> str:
    """A topic as IRC shows it: one line, at most TOPICLEN bytes."""
    return cut(one_line(topic), TOPICLEN)


def mode_events(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """What changed in ranks and flags since it was last told.  spec: docs/mapping.md 7.6, 8"""
    by = sender_of(channel.names, change.event)
    out: list[Outgoing] = []
    if change.event.type in ("m.room.power_levels", "m.room.create"):
        out += rank_modes(channel, by)
    return out + flag_modes(channel, by)


LETTERS = {MaskList.BAN: "b", MaskList.EXEMPT: "e", MaskList.INVITE: "I"}


def mask_event(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """MODE for what came onto a list of masks, or off it.  spec: docs/mapping.md 9.2, 9.3, 9.5"""
    return mask_lines(channel, change.replaced, change.event, sender_of(channel.names, change.event))


def mask_lines(channel: Channel, before: Event | None, after: Event | None, by: By) -> list[Outgoing]:
    """As `mask_event`, for one event in the place of another."""
    return step_lines(channel.name, by, mask_steps(before, after))


def mask_steps(before: Event | None, after: Event | None) -> list[tuple[str, str, str]]:
    """(sign, letter, mask) of what differs between two lists. What no line can hold is left out."""
    return [
        ("+" if on else "-", LETTERS[which], mask)
        for which, on, mask in mask_differences(before, after)
        if is_mask_shown(mask)
    ]


def is_mask_shown(mask: str) -> bool:
    """Whether a line can hold a mask: it is what any server wrote."""
    return mask.isprintable() and " " not in mask and not mask.startswith(":")


def flag_modes(channel: Channel, by: By) -> list[Outgoing]:
    """MODE for the flags, the key and the limit that are not as they were last told."""
    before, now = (channel.flags, channel.args), (channel_flags(channel.room), channel_args(channel.room))
    if before == now:
        return []
    channel.flags, channel.args = now
    channel.members_changed()  # the symbol in NAMES shows +s
    return flag_line(channel.name, by, before, now)


def flag_line(
    channel_name: str, by: By, before: tuple[str, dict[str, str]], now: tuple[str, dict[str, str]]
) -> list[Outgoing]:
    """MODE from one pair of flags and arguments to another; nothing where they are alike."""
    if before == now:
        return []
    args_before, args_now = before[1], now[1]
    put = [letter for letter, arg in args_now.items() if args_before.get(letter) != arg]
    # spec: RFC2812 3.2.3: taking the key away has a parameter, taking the limit away has none.
    gone = [letter for letter in args_before if letter not in args_now]
    flags = flag_changes(before[0] + "".join(gone), now[0] + "".join(put))
    words = [args_now[letter] for letter in put] + [args_before[letter] for letter in gone if letter == "k"]
    return [mode_line(channel_name, by, flags, words)]


def flag_changes(before: str, now: str) -> str:
    """``+a-b`` between two sets of flags."""
    on = "".join(flag for flag in now if flag not in before)
    off = "".join(flag for flag in before if flag not in now)
    return (f"+{on}" if on else "") + (f"-{off}" if off else "")


def rank_modes(channel: Channel, by: By) -> list[Outgoing]:
    """MODE for the ranks, and the entries of muted users, that are not as they were last told."""
    changed = channel.take_ranks()
    names, power = channel.names, channel.room.power
    muted_before, channel.muted = channel.muted, muted_users(power)
    steps: list[tuple[str, str, str]] = []
    for user_id in sorted(muted_before ^ channel.muted):
        steps.append(("+" if user_id in channel.muted else "-", "b", f"~m:{names.nick(user_id)}"))
    if changed:
        channel.members_changed()
    out = []
    for user_id, (old, new) in changed.items():
        if not channel.shows(user_id) and user_id in channel.room.joined():
            out.append(joined_line(names, channel, user_id, by.ts_ms))
            channel.member_came(user_id)
        nick = names.nick(user_id)
        old_letters, new_letters = rank_letters(old), rank_letters(new)
        steps += [("-", letter, nick) for letter in old_letters if letter not in new_letters]
        steps += [("+", letter, nick) for letter in new_letters if letter not in old_letters]
    return [*out, *step_lines(channel.name, by, steps)]


def step_lines(channel_name: str, by: By, steps: list[tuple[str, str, str]]) -> list[Outgoing]:
    """MODE lines of (sign, letter, argument), as many in one as it holds; what none can hold is left out.

    Masks of other servers, and of clients of other protocols, are as long as somebody likes.
    """
    out = []
    head = len(f":{by.mask} MODE {channel_name} ".encode()) + 2
    steps = [step for step in steps if head + len(step[2].encode("utf-8", "replace")) + 3 <= MAX_BODY_BYTES]
    while steps:
        part: list[tuple[str, str, str]] = []
        size = head
        while steps and len(part) < MAX_MODES and (
            not part or size + len(steps[0][2].encode()) + 3 <= MAX_BODY_BYTES
        ):
            size += len(steps[0][2].encode()) + 3
            part.append(steps.pop(0))
        modes, sign = "", ""
        for step_sign, letter, _ in part:
            modes += letter if step_sign == sign else step_sign + letter
            sign = step_sign
        out.append(mode_line(channel_name, by, modes, [nick for _, _, nick in part]))
    return out


def spoken_event(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """PRIVMSG and NOTICE to the channel.  spec: docs/mapping.md 10, 11"""
    return spoken_to(channel.names, change.event, channel.name, room=channel.room)


def spoken_to(
    names: Names,
    event: Event,
    target: str,
    mask: str | None = None,
    room: RoomView | None = None,
    stamp: str = "",
) -> list[Outgoing]:
    """What a message says to `target`; nothing if it has no text. `mask` is its source, if not the sender's now.

    In `room` is looked for what it answers, for clients without tags. `stamp` stands before the text.
    """
    mask = mask or names.mask(event.sender)
    bodies = spoken_lines(names, event, mask, target, Lead(stamp=stamp) if stamp else NO_LEAD)
    if not bodies:
        return []
    lead = NO_LEAD if room is None else _lead(names, event, room)
    if stamp and lead is not NO_LEAD:
        lead = replace(lead, stamp=stamp)
    relayed, body = relayed_lines(names, event, target), event.content.get("body")
    # One line and a blank one are one line to clients without multiline.
    whole = len(bodies) > 1 or (isinstance(body, str) and "\n" in body)
    return [
        Outgoing(
            bodies,
            batch=batch_of(names, event, mask, target) if whole else None,
            untagged=spoken_lines(names, event, mask, target, lead) if lead is not NO_LEAD else None,
            ts_ms=event.origin_server_ts,
            msgid=event.event_id,
            who=names.who(event.sender),
            client_tags=client_tags_of(event.content),
            relayed=None if relayed is None else (names.nick(event.sender), relayed),
        )
    ]


def _lead(names: Names, event: Event, room: RoomView) -> Lead:
    """What a message refers to, in words.  spec: docs/mapping.md 11.6, 11.7"""
    relation = relation_in(event.content)
    if relation is NOTHING:
        return NO_LEAD
    found = None if relation.answers is None else recent_item(room, relation.answers)
    if found is None:
        return Lead(relation.thread) if relation.thread is not None else NO_LEAD
    item, age = found
    answered = item.event
    if answered.sender == event.sender and age <= NEAR_EVENTS:
        return Lead(relation.thread) if relation.thread is not None else NO_LEAD
    far = age > NEAR_EVENTS and item.redacted_because is None
    quoted = text_of(names, answered.event_id, answered.content) if far else None
    return Lead(relation.thread, names.nick(answered.sender), quoted)


def reaction_event(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """TAGMSG with +draft/react, for clients with message-tags.  spec: docs/mapping.md 11.4"""
    return reaction_to(channel.names, change.event, channel.name)


def reaction_to(names: Names, event: Event, target: str) -> list[Outgoing]:
    """As `reaction_event`, to any target."""
    relation = object_at(event.content, "m.relates_to")
    about, key = text_at(relation, "event_id"), text_at(relation, "key")
    if not about or not key or text_at(relation, "rel_type") != "m.annotation":
        return []
    tags = _about(about, ("+draft/react", key))
    if not tags:
        return []
    return [
        Outgoing(
            [f":{names.mask(event.sender)} TAGMSG {target}"],
            ts_ms=event.origin_server_ts,
            msgid=event.event_id,
            who=names.who(event.sender),
            client_tags=tags,
            requires=_TAGS,
        )
    ]


def _about(event_id: str, what: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Tags that say something of an event; none where they are longer than tags may be: a key can be anything."""
    wanted = (("+reply", event_id), ("+draft/reply", event_id), what)
    tags = safe_client_tags(wanted)
    return tags if len(tags) == len(wanted) else ()


def redaction_event(channel: Channel, change: EventCommitted) -> list[Outgoing]:
    """REDACT, or +draft/unreact where it was a reaction.  spec: docs/mapping.md 11.9, 11.10, 11.12"""
    return redaction_to(channel.names, change, channel.name, channel.room)


def redaction_to(names: Names, change: EventCommitted, target: str, room: RoomView) -> list[Outgoing]:
    """As `redaction_event`, to any target. Who has not asked for REDACT sees nothing, but the text that is back where
    an edit is gone.
    """
    event, gone = change.event, change.redacted
    if gone is None or not is_msgid(gone.event_id):
        return []
    mask, who = names.mask(event.sender), names.who(event.sender)
    if gone.type == "m.reaction":
        relation = object_at(gone.content, "m.relates_to")
        about, key = text_at(relation, "event_id"), text_at(relation, "key")
        tags = _about(about, ("+draft/unreact", key)) if about and key else ()
        if not tags:
            return []
        return [
            Outgoing(
                [f":{mask} TAGMSG {target}"],
                ts_ms=event.origin_server_ts,
                who=who,
                client_tags=tags,
                requires=_TAGS,
            )
        ]
    if not is_spoken(gone):
        return []
    edit = edit_in(gone.content)
    now = None if edit is None else content_now(room, edit[0])
    if now is not None and now[0].event.sender == gone.sender:
        # spec: docs/mapping.md 11.12: the writer says what he said before.
        content = edit_content(now[0].event.event_id, now[1])
        author = names.mask(gone.sender)
        return [
            Outgoing(
                content_lines(names, now[0].event.event_id, content, author, target),
                ts_ms=event.origin_server_ts,
                msgid=event.event_id,
                who=names.who(gone.sender),
                client_tags=client_tags_of(content),
            )
        ]
    return [redact_line(names, event, target, gone.event_id)]


def redact_line(names: Names, event: Event, target: str, msgid: str) -> Outgoing:
    """REDACT, for who has asked for it. `event` is the redaction."""
    reason = text_at(event.content, "reason")
    head = f":{names.mask(event.sender)} REDACT {target} {msgid}"
    return Outgoing(
        [fitted(head, reason) if reason else head],
        ts_ms=event.origin_server_ts,
        who=names.who(event.sender),
        requires=int(Audience.REDACTION),
    )


def is_msgid(event_id: str) -> bool:
    """Whether an id can stand as a word of a line: in old room versions it is whatever its server wrote."""
    return event_id.isascii() and event_id.isprintable() and " " not in event_id


def typing_line(names: Names, user_id: UserId, target: str, *, active: bool) -> Outgoing:
    """+typing.  spec: IRCv3 typing; docs/mapping.md 13.1"""
    state = "active" if active else "done"
    return Outgoing(
        [f":{names.mask(user_id)} TAGMSG {target}"],
        who=names.who(user_id),
        client_tags=(("+typing", state), ("+draft/typing", state)),
        requires=_TAGS,
    )


def rank_shown(rank: Rank) -> bool:
    """Whether a rank has a prefix."""
    return rank in (Rank.OWNER, Rank.ADMIN, Rank.OP, Rank.HALFOP, Rank.VOICE)


EventForm = Callable[[Channel, EventCommitted], list[Outgoing]]

# Which function speaks for which event type; m.room.member has more to it (network.py).
FORMS: Mapping[str, EventForm] = {
    "m.reaction": reaction_event,
    "m.room.redaction": redaction_event,
    "m.room.topic": topic_event,
    "m.room.power_levels": mode_events,
    "m.room.join_rules": mode_events,
    "m.room.guest_access": mode_events,
    USER_RULE: mask_event,
    ACL: mask_event,
    MASKS: mask_event,
    LIMITS: mode_events,
    TEXT_RULES: mode_events,
    TLS_ONLY: mode_events,
}
