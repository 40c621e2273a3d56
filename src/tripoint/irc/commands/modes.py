"""MODE: what a channel's modes are, and the ones that can be set.

Ranks (q a o h v) are grants of standing; t, m and R, i, s are state of the room.  All ranks of one MODE are one
event or none (docs/mapping.md 7.1).  The lists (b e I) are in tripoint/irc/masks.py.
spec: RFC2812 3.1.5, 3.2.3; Modern IRC "MODE message"; docs/mapping.md 7, 8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at
from tripoint.core.power import GrantRefused, PowerLevels, Rank, change_ranks, op_is_owner
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.masks import change_list, show_list
from tripoint.irc.projection import RANK_OF_MODE, TEXT_RULES_OF_MODE, channel_args, channel_flags, invite_only
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_MODES
from tripoint.irc.user_modes import user_mode
from tripoint.irc.wire import Line
from tripoint.rooms.commands import Secret, SendState, SetListed, SetPassword, SetRanks
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import (
    LIMITS,
    MAX_LIMIT,
    TEXT_RULES,
    TLS_ONLY,
    limit_content,
    member_limit,
    text_rule,
    tls_only,
)

LIST_MODES = "beI"
WITH_ARGUMENT = "qaohvk" + LIST_MODES


class Change(Struct, frozen=True):
    """One letter of a MODE command."""

    on: bool
    letter: str
    arg: str | None


def parse_changes(words: tuple[str, ...]) -> list[Change]:
    """``+o-v a b`` as changes in order, at most MAX_MODES. A missing argument is None.  Pure."""
    changes: list[Change] = []
    args = list(words[1:])
    on = True
    for letter in words[0] if words else "":
        if letter in "+-":
            on = letter == "+"
            continue
        takes = letter in WITH_ARGUMENT or (letter == "l" and on)
        changes.append(Change(on, letter, args.pop(0) if takes and args else None))
        if len(changes) == MAX_MODES:
            break
    return changes


@command("MODE", min_params=1, spec="RFC2812 3.1.5, 3.2.3")
async def mode(session: IrcSession, line: Line) -> None:
    """MODE <channel|nick> [<modes> [<argument>...]]."""
    target = line.params[0]
    if not target.startswith("#"):
        user_mode(session, line)
        return
    channel = session.network.channels.named(target)
    if channel is None or channel.room_id not in session.channels:
        room = await session.reader.room(await session.room_named(target))
        channel = Channel(room, session.names, direct=False)
    changes = parse_changes(line.params[1:])
    if not changes:
        _show_modes(session, channel)
        return
    if all(change.letter in LIST_MODES and change.arg is None for change in changes):
        for letter in dict.fromkeys(change.letter for change in changes):
            show_list(session, channel, letter)
        return
    await apply_changes(session, await session.channel_named(target), changes)


def _show_modes(session: IrcSession, channel: Channel) -> None:
    room = channel.room
    args = channel_args(room) if room.membership(session.user_id) == "join" else {}
    modes = channel_flags(room) + "".join(args)
    session.numeric(n.RPL_CHANNELMODEIS, channel.name, f"+{modes}", *args.values())
    session.numeric(n.RPL_CREATIONTIME, channel.name, str(room.created_ts_ms // 1000))


async def apply_changes(session: IrcSession, channel: Channel, changes: list[Change]) -> None:
    """Ranks and levels first, as one event; then the rest in the order in which it was asked for."""
    ranks: list[Change] = []
    levels: list[Change] = []
    rest: list[tuple[Change, Setter]] = []
    for change in changes:
        if change.letter in RANK_OF_MODE:
            ranks.append(change)
        elif change.letter in "tm":
            levels.append(change)
        elif change.letter in _SETTERS:
            rest.append((change, _SETTERS[change.letter]))
        else:
            session.numeric(n.ERR_UNKNOWNMODE, change.letter, "is unknown mode char to me")
    wishes = await _wishes(session, channel, ranks)
    if levels:
        await _write_levels(session, channel, wishes, levels)
    elif wishes:
        _warn_owner_level(session, channel, wishes)
        await session.do(
            SetRanks(
                actor=session.user_id,
                room_id=channel.room_id,
                ranks=tuple(wishes.items()),
                origin=session.origin(),
            )
        )
    for change, setter in rest:
        await setter(session, channel, change)


async def _wishes(session: IrcSession, channel: Channel, changes: list[Change]) -> dict[UserId, Rank]:
    """The rank that each user shall have in the end.  spec: docs/mapping.md 7.2

    ``-x`` of the shown rank takes it away; of any other it does nothing, and that is said.
    """
    wishes: dict[UserId, Rank] = {}
    not_held: list[tuple[Change, UserId]] = []
    if any(change.arg is None for change in changes):
        session.numeric(n.ERR_NEEDMOREPARAMS, "MODE", "Not enough parameters")
    for change in changes:
        if change.arg is None:
            continue
        user_id = await session.network.find_user(change.arg)
        if user_id is None:
            session.numeric(n.ERR_NOSUCHNICK, echo(change.arg), Refusal.NO_SUCH_USER.value)
            continue
        if user_id not in channel.room.joined():
            text = Refusal.TARGET_NOT_JOINED.value
            session.numeric(n.ERR_USERNOTINCHANNEL, echo(change.arg), channel.name, text)
            continue
        rank = RANK_OF_MODE[change.letter]
        present = wishes.get(user_id) or channel.room.rank(user_id)
        if change.on:
            # "+qo" as it is announced: the lower letter does not take the higher one back.
            if not (user_id in wishes and present.above(rank)):
                wishes[user_id] = rank
        elif present is rank or (rank is Rank.OP and user_id in wishes) or _is_shown_as_owner(channel, present, rank):
            wishes[user_id] = Rank.PLAIN
        else:
            not_held.append((change, user_id))
    for change, user_id in not_held:
        # "-oq" as it is announced: the higher letter took it away.
        if user_id not in wishes:
            text = f"They do not have +{change.letter}"
            session.standard("NOTE", "MODE", "NOT_HELD", channel.name, echo(change.arg or ""), text=text)
    return wishes


def _is_shown_as_owner(channel: Channel, present: Rank, taken: Rank) -> bool:
    """-q of an op who is shown as an owner.  spec: docs/mapping.md 7.10"""
    return present is Rank.OP and taken is Rank.OWNER and op_is_owner(channel.room.power)


def _warn_owner_level(session: IrcSession, channel: Channel, wishes: Mapping[UserId, Rank]) -> None:
    """spec: docs/mapping.md 7.10"""
    if Rank.OP in wishes.values() and op_is_owner(channel.room.power):
        text = "This room has no operators below owner: +o gives +q here"
        session.standard("WARN", "MODE", "OWNER_LEVEL", channel.name, text=text)


async def _write_levels(
    session: IrcSession, channel: Channel, wishes: Mapping[UserId, Rank], changes: list[Change]
) -> None:
    """+t and +m live in the same event as the ranks.  spec: docs/mapping.md 7.1, 8.2, 8.3"""
    power = channel.room.power
    try:
        content = dict(change_ranks(power, session.user_id, wishes))
    except GrantRefused as refused:
        raise IrcRefused(n.ERR_CHANOPRIVSNEEDED, channel.name, refused.reason) from None
    for change in changes:
        if change.letter == "m":
            _moderate(content, change.on)
        else:
            _protect_topic(content, power, change.on)
    if content == power.content:
        return
    await _send_state(session, channel, "m.room.power_levels", content)


def _moderate(content: JsonObject, on: bool) -> None:
    level = 1 if on else 0
    content["events_default"] = level
    events = object_at(content, "events")
    if "m.room.message" in events:
        content["events"] = {**events, "m.room.message": level}


def _protect_topic(content: JsonObject, power: PowerLevels, on: bool) -> None:
    level = max(50, power.state_default) if on else power.users_default
    content["events"] = {**object_at(content, "events"), "m.room.topic": level}


async def _send_state(session: IrcSession, channel: Channel, kind: str, content: JsonObject) -> None:
    await session.do(
        SendState(
            actor=session.user_id,
            room_id=channel.room_id,
            type=kind,
            state_key="",
            content=content,
            origin=session.origin(),
        )
    )


async def _invite_only(session: IrcSession, channel: Channel, change: Change) -> None:
    """+i and -i.  spec: docs/mapping.md 8.4; a restricted room is not opened by a single -i."""
    rule = channel.room.join_rule
    if change.on == invite_only(channel.room):
        return
    if not change.on and rule != "invite":
        key = f"-i {channel.room_id}"
        if not session.confirms(key):
            text = f"This room's join rule is {rule}; send MODE {channel.name} -i again to open it to all"
            session.standard("WARN", "MODE", "CONFIRM", channel.name, text=text)
            return
    await _send_state(session, channel, "m.room.join_rules", {"join_rule": "invite" if change.on else "public"})


async def _no_guests(session: IrcSession, channel: Channel, change: Change) -> None:
    """+R: guests may not join.  spec: docs/mapping.md 8.7"""
    access = "forbidden" if change.on else "can_join"
    if channel.room.guest_access != access:
        await _send_state(session, channel, "m.room.guest_access", {"guest_access": access})


async def _secret(session: IrcSession, channel: Channel, change: Change) -> None:
    """+s: not in the directory.  spec: docs/mapping.md 6.2"""
    if channel.room.listed == change.on:
        await session.do(
            SetListed(
                actor=session.user_id,
                room_id=channel.room_id,
                listed=not change.on,
                origin=session.origin(),
            )
        )


async def _no_external(session: IrcSession, channel: Channel, change: Change) -> None:
    """+n is fixed.  spec: docs/mapping.md 8.8"""
    if not change.on:
        raise IrcRefused(n.ERR_UNKNOWNMODE, "n", f"is always set on {channel.name}")


async def _mask(session: IrcSession, channel: Channel, change: Change) -> None:
    """+b, +e and +I.  spec: docs/mapping.md 9"""
    await change_list(session, channel, change.letter, change.arg, on=change.on)


async def _key(session: IrcSession, channel: Channel, change: Change) -> None:
    """+k and -k.  spec: docs/mapping.md 8.5; what the key is goes nowhere but to the room service"""
    if change.on and not change.arg:
        raise IrcRefused(n.ERR_INVALIDMODEPARAM, channel.name, "k", "*", "A key is needed")
    password = Secret(change.arg) if change.on and change.arg else None
    had_one = "k" in channel.args
    try:
        await session.do(
            SetPassword(
                actor=session.user_id, room_id=channel.room_id, password=password, origin=session.origin()
            )
        )
    except Refused as refused:
        if refused.refusal is not Refusal.BAD_CONTENT:
            raise
        raise IrcRefused(n.ERR_INVALIDMODEPARAM, channel.name, "k", "*", refused.text) from None
    if password is not None and had_one:
        # Nothing in the room says that it is another one, so nobody is told but who did it.
        session.standard("NOTE", "MODE", "KEY_CHANGED", channel.name, text="The key of this channel is another one now")


async def _limit(session: IrcSession, channel: Channel, change: Change) -> None:
    """+l and -l.  spec: docs/mapping.md 8.6"""
    limit = None
    if change.on:
        word = change.arg or ""
        limit = int(word) if word.isascii() and word.isdecimal() and len(word) < 8 else 0
        if not 0 < limit <= MAX_LIMIT:
            text = f"A limit is a number from 1 to {MAX_LIMIT}"
            raise IrcRefused(n.ERR_INVALIDMODEPARAM, channel.name, "l", echo(word), text)
    if member_limit(channel.room) != limit:
        await _send_state(session, channel, LIMITS, limit_content(limit))


async def _tls_only(session: IrcSession, channel: Channel, change: Change) -> None:
    """+S and -S.  spec: docs/mapping.md 8.10"""
    if change.on and not session.secure:
        raise IrcRefused(n.ERR_INVALIDMODEPARAM, channel.name, "S", "*", "Your own connection is without TLS")
    if tls_only(channel.room) is not change.on:
        await _send_state(session, channel, TLS_ONLY, {"required": True} if change.on else {})


async def _text_rule(session: IrcSession, channel: Channel, change: Change) -> None:
    """+C and +c.  spec: docs/mapping.md 8.19"""
    rule, state = TEXT_RULES_OF_MODE[change.letter], channel.room.state
    if text_rule(state, rule) is not change.on:
        event = state.get((TEXT_RULES, ""))
        content: JsonObject = {} if event is None else dict(event.content)
        await _send_state(session, channel, TEXT_RULES, {**content, rule: change.on})


Setter = Callable[[IrcSession, Channel, Change], Awaitable[None]]

_SETTERS: Mapping[str, Setter] = {
    **dict.fromkeys(LIST_MODES, _mask),
    "i": _invite_only,
    "n": _no_external,
    "R": _no_guests,
    "k": _key,
    "l": _limit,
    "S": _tls_only,
    **dict.fromkeys("sp", _secret),  # docs/mapping.md 8.9: +p is +s
    **dict.fromkeys(TEXT_RULES_OF_MODE, _text_rule),
}
