"""RENAME: another name for a channel, which keeps all that it is.

The name is an alias of the room, and the one before still leads there. An alias is lower case; how the name is
written stands beside it. How others hear of it: telling.py.
spec: IRCv3 channel-rename; docs/mapping.md 3.7, 3.3
"""

from __future__ import annotations

from tripoint.core.ids import RoomAlias, server_of
from tripoint.irc import numerics as n
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import CHANNEL_RENAME, fold
from tripoint.irc.wire import Line
from tripoint.rooms.commands import RenameRoom
from tripoint.rooms.refusals import Refusal, Refused


@command("RENAME", min_params=2, cost=2, spec="IRCv3 channel-rename")
async def rename(session: IrcSession, line: Line) -> None:
    """RENAME <channel> <new name> [:<reason>]."""
    channel = await session.channel_named(line.params[0])
    word = line.params[1]
    context = (channel.name, echo(word))
    alias = session.network.alias_named(word)
    if alias is None or server_of(alias) != session.names.server:
        raise Failed("CANNOT_RENAME", *context, text="A channel of this server is named #name")
    case_alone = fold(word) == fold(channel.name)
    if word == channel.name or (alias == session.network.alias_named(channel.name) and not case_alone):
        raise Failed("CANNOT_RENAME", *context, text="It is called so already")
    try:
        await session.do(
            RenameRoom(
                actor=session.user_id,
                room_id=channel.room_id,
                alias=RoomAlias(session.names.alias(word) or alias),
                reason=line.param(2) or None,
                origin=session.origin(),
            )
        )
    except Refused as refused:
        if refused.refusal is Refusal.POWER_TOO_LOW:
            raise IrcRefused(n.ERR_CHANOPRIVSNEEDED, channel.name, refused.text) from None
        code = "CHANNEL_NAME_IN_USE" if refused.refusal is Refusal.ALIAS_TAKEN else "CANNOT_RENAME"
        if refused.refusal not in (Refusal.ALIAS_TAKEN, Refusal.BAD_ALIAS):
            raise
        raise Failed(code, *context, text=refused.text) from refused
    if case_alone and CHANNEL_RENAME not in session.caps:
        # Nobody without the capability is told: names that differ in case are one name to clients.
        session.notice(f"{context[0]} is written {word} from now on")
