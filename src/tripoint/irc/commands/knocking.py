"""KNOCK: asking to be let into a channel.

Members who may invite see it (710, telling.py); they answer with INVITE, or KICK.
spec: docs/mapping.md 9.11; the numerics 710-714 as servers with KNOCK have them.
"""

from __future__ import annotations

from tripoint.irc import numerics as n
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession
from tripoint.irc.wire import Line
from tripoint.rooms.commands import Knock
from tripoint.rooms.refusals import Refusal, Refused


@command("KNOCK", min_params=1, cost=2, guests=False, spec="docs/mapping.md 9.11")
async def knock(session: IrcSession, line: Line) -> None:
    """KNOCK <channel> [:<why>]."""
    word, why = line.params[0], line.param(1) or None
    room_id = await session.room_named(word)
    room = await session.reader.room(room_id)
    name = session.names.channel(room)
    membership = room.membership(session.user_id)
    if membership == "join":
        raise IrcRefused(n.ERR_KNOCKONCHAN, name, "You are on that channel already")
    if membership == "invite" or room.join_rule == "public":
        raise IrcRefused(n.ERR_CHANOPEN, name, "You can join this channel without knocking")
    if membership == "knock":
        raise IrcRefused(n.ERR_TOOMANYKNOCK, name, "You have knocked; wait until somebody answers")
    try:
        await session.do(Knock(actor=session.user_id, room_id=room_id, reason=why, origin=session.origin()))
    except Refused as refused:
        if refused.refusal is not Refusal.RATE_LIMITED:
            raise
        raise IrcRefused(n.ERR_TOOMANYKNOCK, name, refused.text) from None
    session.numeric(n.RPL_KNOCKDLVR, name, "Your knock has been delivered")
