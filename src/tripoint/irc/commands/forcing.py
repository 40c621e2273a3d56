"""SAJOIN, SAPART, SAMODE, SATOPIC, SANICK: what operators of the server do to channels and guests.

Rights are a room's own: what changes one is done in the name of a member of this server who may (rooms/forcing.py), and
refused where nobody of this server may. Operators hear of all of it (MODE +s, letter f).
spec: docs/mapping.md 18.4; the commands as other servers have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import RoomId, UserId, server_of
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.commands.modes import apply_changes, parse_changes
from tripoint.irc.names import is_nick
from tripoint.irc.operators import Notice, Privilege
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import FORCING, IrcSession, echo
from tripoint.irc.wire import Line
from tripoint.rooms.commands import Join, Leave, SetTopic
from tripoint.rooms.refusals import Refusal, Refused

log = structlog.get_logger()

_SPEC = "docs/mapping.md 18.4"


@contextmanager
def _forcing() -> Iterator[None]:
    """What is asked of rooms in here is asked by the rights of their members of this server."""
    before = FORCING.set(True)
    try:
        yield
    finally:
        FORCING.reset(before)


def _told(session: IrcSession, line: Line, done: str) -> None:
    """It is written down, other operators hear of it, and who did it is answered."""
    words = " ".join(line.params)
    log.info("irc.forced", command=line.command, by=session.account.name, target=line.params[0])
    session.network.notify(Notice.FORCED, f"{session.mask} used {line.command} {words}")
    session.standard("NOTE", line.command, "DONE", echo(line.params[0]), text=done)


async def _local_user(session: IrcSession, nick: str) -> UserId:
    user_id = await session.user_named(nick)
    if server_of(user_id) != session.names.server:
        raise IrcRefused(n.ERR_NOSUCHNICK, echo(nick), "They are of another server")
    return user_id


async def _room(session: IrcSession, word: str) -> tuple[RoomId, Channel]:
    """A channel by its name, whether the operator is in it or not."""
    room = await session.reader.room(await session.room_named(word))
    return room.room_id, session.channels.get(room.room_id) or Channel(room, session.names, direct=False)


@command("SAJOIN", min_params=2, cost=2, spec=_SPEC, privilege=Privilege.ROOMS)
async def sajoin(session: IrcSession, line: Line) -> None:
    """SAJOIN <nick> <channel>: make somebody of this server join a channel, invited if need be."""
    user_id = await _local_user(session, line.params[0])
    room_id, channel = await _room(session, line.params[1])
    if channel.room.encrypted:
        raise Refused(Refusal.ENCRYPTED)
    if channel.room.membership(user_id) == "join":
        raise IrcRefused(n.ERR_USERONCHANNEL, echo(line.params[0]), channel.name, "is already on channel")
    with _forcing():
        try:
            await session.do(Join(actor=user_id, room_id=room_id, origin=session.origin()))
        except Refused as refused:
            session.refuse(refused, line.command, channel.name, line.params[0])
            return
    _told(session, line, f"They have joined {channel.name}")


@command("SAPART", min_params=2, cost=2, spec=_SPEC, privilege=Privilege.ROOMS)
async def sapart(session: IrcSession, line: Line) -> None:
    """SAPART <nick> <channel> [:<reason>]: make somebody of this server leave a channel."""
    user_id = await _local_user(session, line.params[0])
    room_id, channel = await _room(session, line.params[1])
    if channel.room.membership(user_id) != "join":
        text = Refusal.TARGET_NOT_JOINED.value
        raise IrcRefused(n.ERR_USERNOTINCHANNEL, echo(line.params[0]), channel.name, text)
    reason = line.param(2) or None
    await session.do(Leave(actor=user_id, room_id=room_id, reason=reason, origin=session.origin()))
    _told(session, line, f"They have left {channel.name}")


@command("SAMODE", min_params=2, cost=2, spec=_SPEC, privilege=Privilege.ROOMS)
async def samode(session: IrcSession, line: Line) -> None:
    """SAMODE <channel> <modes> [<argument>...]: set modes of a channel by the rights of its members of this server."""
    _, channel = await _room(session, line.params[0])
    changes = parse_changes(line.params[1:])
    if not changes:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, "SAMODE", "Not enough parameters")
    with _forcing():
        await apply_changes(session, channel, changes)
    _told(session, line, "That is all of it")


@command("SATOPIC", min_params=2, cost=2, spec=_SPEC, privilege=Privilege.ROOMS)
async def satopic(session: IrcSession, line: Line) -> None:
    """SATOPIC <channel> :<topic>: set the topic of a channel by the rights of its members of this server."""
    room_id, _ = await _room(session, line.params[0])
    with _forcing():
        await session.do(
            SetTopic(actor=session.user_id, room_id=room_id, topic=line.params[1], origin=session.origin())
        )
    _told(session, line, "It is done")


@command("SANICK", min_params=2, cost=2, spec=_SPEC, privilege=Privilege.ROOMS)
async def sanick(session: IrcSession, line: Line) -> None:
    """SANICK <nick> <new nick>: give a guest another nick. The nick of an account is its name."""
    user_id = await _local_user(session, line.params[0])
    wish = line.params[1]
    if not session.names.is_our_guest(user_id):
        text = "The nick of an account is its name"
        raise IrcRefused(n.ERR_CANTCHANGENICK, echo(wish), text)
    if not is_nick(wish):
        raise IrcRefused(n.ERR_ERRONEUSNICKNAME, echo(wish), "Erroneous nickname")
    holder = session.names.user(wish)
    if holder is not None and holder != user_id:
        raise IrcRefused(n.ERR_NICKNAMEINUSE, wish, "Nickname is already in use")
    try:
        await session.accounts.rename_guest(user_id, wish)
    except AccountRefused as refused:
        numeric = n.ERR_ERRONEUSNICKNAME if refused.refusal is AccountRefusal.BAD_NAME else n.ERR_NICKNAMEINUSE
        raise IrcRefused(numeric, wish, refused.text) from None
    _told(session, line, "It is done")

