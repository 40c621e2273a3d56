"""ChanServ: what a channel is and who owns it; settings that have no mode of their own.

Nothing is kept here: each command asks the middle for what Matrix and XMPP clients ask by events and forms.
spec: docs/mapping.md 4.8, 4.9, 7.7, 8.14-8.18, 9.2-9.5, 9.10, 18, 23.1.
"""

from __future__ import annotations

import re

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import EventId, RoomId, ServerName, UserId, server_of
from tripoint.core.json_view import object_at, text_at
from tripoint.core.power import Rank, rank_of
from tripoint.irc.channel import Channel
from tripoint.irc.commands.channels import NO_NAME, create_channel
from tripoint.irc.events import ban_mask
from tripoint.irc.projection import channel_args, channel_flags
from tripoint.irc.render import server_time
from tripoint.irc.services import Request, service_command
from tripoint.irc.spaces import tell_children
from tripoint.rooms.commands import (
    CloseRoom,
    FollowList,
    KeepRoom,
    Leave,
    MaskList,
    SendState,
    SetLevels,
    SetRanks,
    UpgradeRoom,
)
from tripoint.rooms.foreigners import lets_foreigners_in
from tripoint.rooms.masks import listed_masks, texts_of
from tripoint.rooms.policy_lists import lists_of
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import FOREIGN, MAX_SLOW_S, SLOW, foreign_content, slow_content, slow_mode_s
from tripoint.rooms.spaces import CHILD, is_space

_VISIBILITIES = ("world_readable", "shared", "invited", "joined")
# An owner of a room that has no creators with power of their own; docs/mapping.md 7.
OWNER_LEVEL = 100
# spec: Matrix appendices "Canonical JSON"
MAX_LEVEL = 2**53 - 1
MAX_LINES = 50
MAX_VIA = 3


async def _room(request: Request) -> RoomView:
    """The room that a request names, as far as the asker may know of it."""
    return await _visible(request, request.word(0))


async def _visible(request: Request, word: str) -> RoomView:
    session = request.session
    room = await session.reader.room(await session.room_named(word))
    inside = room.membership(session.user_id) in ("join", "invite")
    if not inside and not room.listed and room.join_rule != "public":
        raise Refused(Refusal.NO_SUCH_ROOM)
    return room


async def _inside(request: Request) -> Channel:
    """The channel that a request names, for who is in it. Raises IrcRefused."""
    return await request.session.channel_named(request.word(0))


async def _user(request: Request, word: str) -> UserId:
    return await request.session.user_named(word)


@service_command("ChanServ", "SPACE", "LIST <space> | ADD|DEL <space> <channel>: what is in a space", min_words=2)
async def space(request: Request) -> None:
    """SPACE: what is in a space.  spec: docs/mapping.md 22.1"""
    session, what = request.session, request.word(0).upper()
    if what not in ("LIST", "ADD", "DEL") or (what != "LIST" and len(request.words) < 3):
        request.say("SPACE LIST <space>, SPACE ADD <space> <channel>, or SPACE DEL <space> <channel>")
        return
    holder = await _visible(request, request.word(1))
    if not is_space(holder):
        request.say(f"{request.word(1)} is no space")
        return
    if what == "LIST":
        await tell_children(session, holder, request.say)
        return
    child = await session.room_named(request.word(2))
    content: JsonObject = {} if what == "DEL" else {"via": [*(await session.reader.ways_to(child))[:MAX_VIA]]}
    await session.do(
        SendState(actor=session.user_id, room_id=holder.room_id, type=CHILD, state_key=child, content=content)
    )
    request.say(f"{request.word(2)} is {'in' if what == 'ADD' else 'not in'} {request.word(1)} now")


@service_command("ChanServ", "INFO", "<channel>: what it is, who owns it, what its modes do not show", min_words=1)
async def info(request: Request) -> None:
    """INFO <channel>."""
    room, names = await _room(request), request.session.names
    args = channel_args(room)
    say = request.say
    say(f"{names.channel(room)}: {room.name or 'no name'}; {room.joined_count()} members; id {room.room_id}")
    say(f"Topic: {room.topic}" if room.topic else "No topic is set")
    owners = [user_id for user_id in room.joined() if room.rank(user_id) is Rank.OWNER]
    say("Owners: " + (", ".join(names.nick(user_id) for user_id in owners[:MAX_LINES]) or "nobody who is here"))
    say(f"Modes: +{channel_flags(room)}{''.join(args)}; who enters: {room.join_rule}; version {room.version.id}")
    say(f"History: {room.history_visibility}")
    slow = slow_mode_s(room)
    if slow:
        say(f"Slow mode: {slow} seconds between two messages")
    if lets_foreigners_in(room, ServerName(request.session.names.server)):
        say("People of other XMPP servers may enter")
    waiting = [user_id for user_id, member in room.members().items() if member.membership == "knock"]
    if waiting and room.membership(request.session.user_id) == "join":
        say("Asking to enter: " + ", ".join(names.nick(user_id) for user_id in waiting[:MAX_LINES]))
    _tell_lagging(request, room)
    _tell_levels(request, room)


def _tell_lagging(request: Request, room: RoomView) -> None:
    """Servers that do not hear what is said now.  spec: docs/mapping.md 21.1"""
    lagging = sorted(request.session.reader.lagging(room).items(), key=lambda entry: entry[1])
    for server, since_ms in lagging[:MAX_LINES]:
        request.say(f"{server} does not answer since {server_time(since_ms)}: what is said here waits for it")


def _tell_levels(request: Request, room: RoomView) -> None:
    """Rights that no mode shows.  spec: docs/mapping.md 7.9"""
    power = room.power
    request.say(
        f"Levels: invite {power.invite:g}, kick {power.kick:g}, ban {power.ban:g}, redact {power.redact:g}, "
        f"state {power.state_default:g}, speak {power.event('m.room.message', is_state=False):g}"
    )
    levels = object_at(power.content, "events")
    if levels:
        told = ", ".join(f"{kind} {level}" for kind, level in sorted(levels.items()) if isinstance(level, int))
        request.say(f"By event: {told}")


@service_command("ChanServ", "OP", "<channel> [<nick>]: give operator status", min_words=1)
async def op(request: Request) -> None:
    """OP <channel> [<nick>]."""
    await _set_rank(request, Rank.OP)


@service_command("ChanServ", "DEOP", "<channel> [<nick>]: take every status away", min_words=1)
async def deop(request: Request) -> None:
    """DEOP <channel> [<nick>]."""
    await _set_rank(request, Rank.PLAIN)


async def _set_rank(request: Request, rank: Rank) -> None:
    session, channel = request.session, await _inside(request)
    user_id = await _user(request, request.word(1)) if request.word(1) else session.user_id
    await session.do(SetRanks(actor=session.user_id, room_id=channel.room_id, ranks=((user_id, rank),)))
    request.say("Done")


@service_command("ChanServ", "LEVEL", "<channel> <nick> [<level>]: show or set an exact power level", min_words=2)
async def level(request: Request) -> None:
    """LEVEL <channel> <nick> [<level>].  spec: docs/mapping.md 7.7"""
    session, channel = request.session, await _inside(request)
    user_id = await _user(request, request.word(1))
    if request.word(2):
        number = _level(request.word(2))
        if number is None:
            request.say(f"A power level is a whole number between -{MAX_LEVEL} and {MAX_LEVEL}")
            return
        await session.do(SetLevels(actor=session.user_id, room_id=channel.room_id, levels=((user_id, number),)))
    shown = channel.room.power.user(user_id)
    text = "made this room: no number is above theirs" if shown == float("inf") else f"has power level {shown:.0f}"
    request.say(f"{session.names.nick(user_id)} {text}")


def _level(word: str) -> int | None:
    """A power level, as events can have it (canonical JSON); None for what is none."""
    number = int(word) if re.fullmatch(r"[+-]?\d{1,16}", word, re.ASCII) else MAX_LEVEL + 1
    return number if -MAX_LEVEL <= number <= MAX_LEVEL else None


@service_command("ChanServ", "SET", "<channel> HISTORY|SLOW|FOREIGN <value>: who reads; pace; who enters", min_words=3)
async def set_(request: Request) -> None:
    """SET <channel> HISTORY <visibility>; SET <channel> SLOW <seconds>; SET <channel> FOREIGN xmpp|off.

    spec: docs/mapping.md 8.14, 8.18, 23.1"""
    session, channel = request.session, await _inside(request)
    what, value = request.word(1).upper(), request.word(2).lower()
    if what == "HISTORY":
        if value not in _VISIBILITIES:
            request.say(f"HISTORY is one of {', '.join(_VISIBILITIES)}")
            return
        kind, content = "m.room.history_visibility", _visibility(value)
    elif what == "SLOW":
        if not (value.isascii() and value.isdecimal() and len(value) < 7 and int(value) <= MAX_SLOW_S):
            request.say(f"SLOW is a number of seconds up to {MAX_SLOW_S}, or 0")
            return
        kind, content = SLOW, slow_content(int(value))
    elif what == "FOREIGN":
        if value not in ("xmpp", "off"):
            request.say("FOREIGN is xmpp, which lets people of other XMPP servers in, or off")
            return
        kind, content = FOREIGN, foreign_content(value == "xmpp")
    else:
        request.say("HISTORY, SLOW and FOREIGN can be set")
        return
    await session.do(
        SendState(actor=session.user_id, room_id=channel.room_id, type=kind, state_key="", content=content)
    )
    request.say(f"{what} of {channel.name} is now {value}")


def _visibility(value: str) -> JsonObject:
    return {"history_visibility": value}


@service_command("ChanServ", "MASKS", "<channel>: all lists of masks", min_words=1)
async def masks(request: Request) -> None:
    """MASKS <channel>."""
    room, names = (await _inside(request)).room, request.session.names
    lines = [
        f"b {ban_mask(names, user_id)} by {names.nick(member.event.sender)}"
        for user_id, member in room.members().items()
        if member.membership == "ban"
    ]
    for letter, which in (("b", MaskList.BAN), ("e", MaskList.EXEMPT), ("I", MaskList.INVITE)):
        lines += [f"{letter} {one.mask} by {names.nick(one.sender)}" for one in listed_masks(room, which)]
    for line in lines[:MAX_LINES]:
        request.say(line)
    request.say(f"End of masks ({len(lines)})")


@service_command("ChanServ", "PINS", "<channel>: pinned messages", min_words=1)
async def pins(request: Request) -> None:
    """PINS <channel>.  spec: docs/mapping.md 8.16"""
    session, room = request.session, (await _inside(request)).room
    shown = 0
    for event_id in texts_of(room.state.get(("m.room.pinned_events", "")), "pinned")[-MAX_LINES:]:
        try:
            item = await session.reader.event(room.room_id, EventId(event_id), session.user_id)
        except Refused:
            continue
        if item.redacted_because is None:
            text = (text_at(item.event.content, "body") or "").partition("\n")[0]
            request.say(f"<{session.names.nick(item.event.sender)}> {text}")
            shown += 1
    request.say(f"End of pinned messages ({shown})")


@service_command("ChanServ", "WHOIS", "<channel> <nick>: what somebody is called there, and may do", min_words=2)
async def whois(request: Request) -> None:
    """WHOIS <channel> <nick>.  spec: docs/mapping.md 2.5"""
    session, room = request.session, (await _inside(request)).room
    user_id = await _user(request, request.word(1))
    member = room.member(user_id)
    if member is None or member.membership != "join":
        raise Refused(Refusal.TARGET_NOT_JOINED)
    rank = rank_of(room.power, user_id, "join")
    name = member.displayname or session.names.nick(user_id)
    request.say(f"{session.names.nick(user_id)} is {user_id}, called {name} in this channel; rank: {rank.value}")


@service_command(
    "ChanServ", "SUBSCRIBE", "<channel> [<list>]: keep out whom a policy list is about, or say which", min_words=1
)
async def subscribe(request: Request) -> None:
    """SUBSCRIBE <channel> [<list>].  spec: docs/mapping.md 9.14"""
    session, channel = request.session, await _inside(request)
    if not request.word(1):
        lists = lists_of(channel.room)
        for list_id in lists:
            room = session.reader.peek(list_id)
            request.say(f"{list_id if room is None else session.names.channel(room)}")
        request.say(f"{channel.name} follows {len(lists)} policy {'list' if len(lists) == 1 else 'lists'}")
        return
    list_id = await session.room_named(request.word(1))
    await session.do(FollowList(actor=session.user_id, room_id=channel.room_id, list_id=list_id))
    request.say(f"{channel.name} follows {request.word(1)} now, in your name")


@service_command("ChanServ", "UNSUBSCRIBE", "<channel> <list>: follow a policy list no more", min_words=2)
async def unsubscribe(request: Request) -> None:
    """UNSUBSCRIBE <channel> <list>.  spec: docs/mapping.md 9.14"""
    session, channel = request.session, await _inside(request)
    list_id = await session.room_named(request.word(1))
    await session.do(FollowList(actor=session.user_id, room_id=channel.room_id, list_id=list_id, on=False))
    request.say(f"{channel.name} does not follow {request.word(1)} any more")


@service_command("ChanServ", "CREATE", "<channel> [LOCALONLY]: make it, for this server alone", min_words=1)
async def create(request: Request) -> None:
    """CREATE <channel> [LOCALONLY].  spec: docs/mapping.md 8.15"""
    session = request.session
    if session.account.guest:
        raise Refused(Refusal.GUESTS_FORBIDDEN)
    local_only = request.word(1).upper() == "LOCALONLY"
    if request.word(1) and not local_only:
        request.say("LOCALONLY is all that can be said of it")
        return
    alias = session.network.alias_named(request.word(0))
    if alias is None:
        request.say(NO_NAME)
        return
    if server_of(alias) != session.names.server:
        request.say(f"A channel of another server is made there; here it is named #name, of {session.names.server}")
        return
    await create_channel(session, request.word(0), federate=not local_only)
    request.say(f"{request.word(0)} is made" + (", for users of this server alone" if local_only else ""))


@service_command("ChanServ", "REGISTER", "<channel>: keep a guest's channel, as its owner", min_words=1)
async def register(request: Request) -> None:
    """REGISTER <channel>.  spec: docs/mapping.md 4.8"""
    session, channel = request.session, await _inside(request)
    await session.do(KeepRoom(actor=session.user_id, room_id=channel.room_id))
    request.say(f"{channel.name} stays from now on, and you are its owner")


@service_command("ChanServ", "DECLINE", "<channel>: give an invitation back, or a knock up", min_words=1)
async def decline(request: Request) -> None:
    """DECLINE <channel>.  spec: docs/mapping.md 9.10"""
    session = request.session
    room_id: RoomId = await session.room_named(request.word(0))
    if (await session.reader.memberships(session.user_id)).get(room_id) not in ("invite", "knock"):
        request.say("You are not invited to that channel")
        return
    await session.do(Leave(actor=session.user_id, room_id=room_id))
    request.say("Done")


@service_command("ChanServ", "DROP", "<channel> [<reason>]: close a channel for good", min_words=1)
async def drop(request: Request) -> None:
    """DROP <channel> [<reason>], twice.  spec: docs/mapping.md 4.9"""
    session, channel = request.session, await _inside(request)
    name = channel.name
    if rank_of(channel.room.power, session.user_id, "join") is not Rank.OWNER:
        raise Refused(Refusal.POWER_TOO_LOW, "Only an owner closes a room")
    if not session.confirms(f"drop {channel.room_id}"):
        request.say(f"This puts everybody out of {name} and closes it for good; say it again within a minute")
        return
    reason = request.rest.partition(" ")[2].strip() or None
    await session.do(CloseRoom(actor=session.user_id, room_id=channel.room_id, reason=reason))
    request.say(f"{name} is closed")


@service_command("ChanServ", "TRANSFER", "<channel> <nick>: hand your channel over", min_words=2)
async def transfer(request: Request) -> None:
    """TRANSFER <channel> <nick>: they become owner, you an ordinary member, in one event.

    A creator of version 12 has his power from the room itself: the room is replaced by one that the other has made,
    and everybody goes there (docs/mapping.md 18, 21.4). That is asked for twice.
    """
    session, channel = request.session, await _inside(request)
    user_id = await _user(request, request.word(1))
    power = channel.room.power
    if user_id not in channel.room.joined():
        raise Refused(Refusal.TARGET_NOT_JOINED)
    own = power.user(session.user_id)
    if user_id == session.user_id and own >= OWNER_LEVEL:
        request.say(f"{channel.name} is yours already")
        return
    if session.user_id in power.creators:
        await _transfer_by_upgrade(request, channel, user_id)
        return
    level = max(OWNER_LEVEL, int(own))
    await session.do(
        SetLevels(
            actor=session.user_id, room_id=channel.room_id, levels=((user_id, level), (session.user_id, None))
        )
    )
    request.say(f"{channel.name} is now {session.names.nick(user_id)}'s")


async def _transfer_by_upgrade(request: Request, channel: Channel, user_id: UserId) -> None:
    session, name = request.session, channel.name
    nick = session.names.nick(user_id)
    if server_of(user_id) != session.names.server:
        text = "A maker's rights go to somebody with an account here alone; give +q instead"
        raise Refused(Refusal.NOT_SUPPORTED, text)
    if not session.confirms(f"transfer {channel.room_id} {user_id}"):
        request.say(
            f"You made this room: {nick} has to make a new one in its place, and everybody moves there. "
            "Say it again within a minute"
        )
        return
    # Other makers stay what they are.
    others = tuple(UserId(one) for one in sorted(channel.room.power.creators - {session.user_id, user_id}))
    await session.do(
        UpgradeRoom(actor=session.user_id, room_id=channel.room_id, owner=user_id, creators=others)
    )
    request.say(f"{name} is now {nick}'s")

