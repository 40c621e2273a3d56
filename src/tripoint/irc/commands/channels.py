"""Coming, going and what a channel is called: JOIN, PART, TOPIC, NAMES.

spec: RFC2812 3.2.1, 3.2.2, 3.2.4, 3.2.5; docs/mapping.md 3, 4.1-4.4, 5.1, 8.1, 19.2.
"""

from __future__ import annotations

import asyncio

from tripoint.core.ids import RoomId, server_of
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.entrance import tell_history
from tripoint.irc.markers import CAPABILITY as READ_MARKER
from tripoint.irc.masks import guise
from tripoint.irc.names import is_channel
from tripoint.irc.projection import rank_letters, shown_rank
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.spaces import tell_children
from tripoint.irc.tables import CHANNELLEN, MAX_TARGETS, fold
from tripoint.irc.wire import Line
from tripoint.rooms.commands import CreateRoom, Join, Leave, Secret, SetTopic, Template
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import tls_only
from tripoint.rooms.spaces import is_space
from tripoint.rooms.succession import replacement_of

# Making a room takes one commit; a second of looking every 20 ms outlasts a slow disk.
CREATION_LOOKS = 50
CREATION_LOOK_S = 0.02
NO_NAME = f"That is no name of a channel: it begins with #, has at most {CHANNELLEN} bytes and no control characters"


@command("JOIN", min_params=1, cost=2, spec="RFC2812 3.2.1")
async def join(session: IrcSession, line: Line) -> None:
    """JOIN <channel>{,<channel>} [<key>{,<key>}], or JOIN 0, which parts all."""
    if line.params[0] == "0":
        for channel in list(session.channels.values()):
            if not channel.direct:
                await _leave(session, channel.room_id, channel.name, None)
        return
    session.entering = True
    try:
        keys = dict(zip(line.params[0].split(","), line.param(1).split(","), strict=False))
        for word in _some_targets(line):
            try:
                await _join_one(session, word, keys.get(word) or None)
            except Refused as refused:
                session.refuse(refused, "JOIN", word)
            except IrcRefused as refused:
                session.numeric(refused.numeric, *refused.params)
    finally:
        session.entering = False


async def _join_one(session: IrcSession, word: str, key: str | None) -> None:
    network = session.network
    if not is_channel(word):
        raise IrcRefused(n.ERR_NOSUCHCHANNEL, echo(word), NO_NAME)
    room_id = await _found(session, word)
    alias = network.alias_named(word)
    if room_id is None and alias is not None and server_of(alias) != network.names.server:
        network.joining.begin(session, word, alias)
        return
    if room_id is None and (room_id := await _made(session, word)) is None:
        return
    room = await session.reader.room(room_id)
    if room_id in session.channels:
        name = network.names.channel(room)
        if fold(name) != fold(word):
            session.forwarded(word, name, "You are on that channel already, by its other name")
        return
    if not room.is_here(network.names.server):
        network.joining.begin(session, word, room_id)
        return
    if replacement_of(room) is not None and room.membership(session.user_id) == "join":
        # It leads to a room of which nothing is known here; it may take a while to find out.
        network.spawn(network.moving.go_along(session, room))
        return
    if room.encrypted:
        # spec: docs/mapping.md 19.2; the account can be a member all the same.
        text = "End-to-end encrypted: open it in a Matrix client, or see /msg NickServ HELP E2EE"
        raise Refused(Refusal.ENCRYPTED, text)
    if tls_only(room) and not session.secure:
        raise Refused(Refusal.TLS_NEEDED)
    name = network.names.channel(room)
    if fold(name) != fold(word):
        session.forwarded(word, name)
    if READ_MARKER in session.caps:
        await network.markers.load(session.user_id, room_id)
    done = await session.do(
        Join(
            actor=session.user_id,
            room_id=room_id,
            guise=guise(session),
            password=None if key is None else Secret(key),
            origin=session.origin(),
        )
    )
    if replacement_of(room) is not None and room_id not in session.channels:
        # Another room took its place in this moment: he is in that one, or on his way.
        network.spawn(network.moving.go_along(session, room))
        return
    if is_space(room):
        await tell_children(session, room, session.notice)
        return
    # Where the account was a member already nothing happened, and this session is let in by hand.
    await network.channels.enter(session, room)
    if done.created:
        tell_history(session, room, name)


async def _found(session: IrcSession, word: str) -> RoomId | None:
    """The room of this name, if need be once it is made."""
    under_way = session.network.making.get(fold(word))
    if under_way is not None:
        await asyncio.shield(under_way)
    return await session.network.find_room(word, session.user_id)


async def _made(session: IrcSession, word: str) -> RoomId | None:
    """Make the channel, and be in it (None); or the room that another session made first. One makes it and all who
    ask at the same time wait for that one, or a thousand at once would all try."""
    network, name = session.network, fold(word)
    while name in network.making:
        if (room_id := await _found(session, word)) is not None:
            return room_id
    made = network.making[name] = asyncio.get_running_loop().create_future()
    try:
        await create_channel(session, word)
    except Refused as refused:
        if refused.refusal is not Refusal.ALIAS_TAKEN:
            raise
        return await _made_meanwhile(session, word)
    finally:
        del network.making[name]
        made.set_result(None)
    return None


async def _made_meanwhile(session: IrcSession, word: str) -> RoomId:
    """The room that somebody on another protocol is just making under this name."""
    for _ in range(CREATION_LOOKS):
        room_id = await session.network.find_room(word, session.user_id)
        if room_id is not None:
            return room_id
        await asyncio.sleep(CREATION_LOOK_S)
    raise Refused(Refusal.ALIAS_TAKEN)


async def create_channel(session: IrcSession, word: str, *, federate: bool = True) -> None:
    """JOIN of a local name that is free makes the channel.  spec: docs/mapping.md 4.3, 4.8, 8.15"""
    names = session.names
    alias = names.alias(word)
    if alias is None:
        raise IrcRefused(n.ERR_NOSUCHCHANNEL, echo(word), Refusal.NO_SUCH_ROOM.value)
    localpart = alias[1:].partition(":")[0]
    guest = session.account.guest
    done = await session.do(
        CreateRoom(
            actor=session.user_id,
            origin=session.origin(),
            template=Template.TEMPORARY if guest else Template.CHANNEL,
            alias_localpart=localpart,
            # IRC's habit: a channel is in LIST unless somebody sets +s.
            listed=True,
            creation_content={} if federate else {"m.federate": False},
        )
    )
    assert done.room_id is not None
    channel = session.channels.get(done.room_id)
    if channel is None:
        return
    letters = rank_letters(shown_rank(channel.room, session.user_id))
    if letters:
        words = [channel.name, f"+{letters}", *[session.nick] * (len(letters) - 1), session.nick]
        session.reply("MODE", *words)
    tell_history(session, channel.room, channel.name)


@command("PART", min_params=1, spec="RFC2812 3.2.2")
async def part(session: IrcSession, line: Line) -> None:
    """PART <channel>{,<channel>} [:<reason>]. Leaves the room, on every protocol."""
    for word in _some_targets(line):
        if session.network.joining.part(session, word, line.param(1) or None):
            continue
        try:
            room_id = await session.room_named(word)
            await _leave(session, room_id, word, line.param(1) or None)
        except IrcRefused as refused:
            session.numeric(refused.numeric, *refused.params)


async def _leave(session: IrcSession, room_id: RoomId, word: str, reason: str | None) -> None:
    try:
        await session.do(Leave(actor=session.user_id, room_id=room_id, reason=reason, origin=session.origin()))
    except Refused as refused:
        session.refuse(refused, "PART", word)


@command("TOPIC", min_params=1, spec="RFC2812 3.2.4")
async def topic(session: IrcSession, line: Line) -> None:
    """TOPIC <channel> [:<topic>]. An empty topic takes it away."""
    channel = await session.channel_named(line.params[0])
    if len(line.params) > 1:
        await session.do(
            SetTopic(
                actor=session.user_id,
                room_id=channel.room_id,
                topic=line.params[1],
                origin=session.origin(),
            )
        )
        return
    lines = session.network.channels.topic_lines(session, channel)
    for body in lines:
        session.shown(body, own=True)
    if not lines:
        session.numeric(n.RPL_NOTOPIC, channel.name, "No topic is set")


@command("NAMES", spec="RFC2812 3.2.5")
async def names(session: IrcSession, line: Line) -> None:
    """NAMES <channel>{,<channel>}. Of rooms that one is not in, only those in the directory."""
    if not line.param(0):
        session.numeric(n.RPL_ENDOFNAMES, "*", "End of /NAMES list")
        return
    targets = _targets(line.params[0])
    for word in targets[:MAX_TARGETS]:
        channel = session.network.channels.named(word)
        if channel is None or channel.room_id not in session.channels:
            channel = await _seen_from_outside(session, word)
        if channel is None:
            session.numeric(n.RPL_ENDOFNAMES, echo(word), "End of /NAMES list")
        else:
            session.network.channels.show_names(session, channel)
    if len(targets) > MAX_TARGETS:
        raise IrcRefused(n.ERR_TOOMANYTARGETS, echo(targets[MAX_TARGETS]), "Too many targets")


async def _seen_from_outside(session: IrcSession, word: str) -> Channel | None:
    room_id = await session.network.find_room(word, session.user_id)
    if room_id is None:
        return None
    room = await session.reader.room(room_id)
    inside = room.membership(session.user_id) == "join"
    if not inside and not room.listed:
        return None
    channel = Channel(room, session.names, direct=False)
    channel.take_shown(session.reader, session.network.now_ms())
    return channel


def _some_targets(line: Line) -> list[str]:
    """The channels that JOIN or PART names. Raises IrcRefused(461) where that is none."""
    targets = _targets(line.params[0])
    if not targets:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, line.command, "Not enough parameters")
    return targets


def _targets(word: str) -> list[str]:
    """The names in a comma list, each once, in order."""
    return list(dict.fromkeys(target for target in word.split(",") if target))
