"""RELAYMSG: what bots say for people of elsewhere, each under their own name.

On Matrix it is a message with a profile of its own (MSC4144), on XMPP the name stands before the text. Whoever reads it
sees which bot it came by; a name holds a `/`, which no nick here does, so it is nobody else's.
spec: RELAYMSG extension (an IRCv3 proposal); docs/mapping.md 10.14
"""

from __future__ import annotations

import re
from typing import Final

from tripoint.core.message_profile import under_name
from tripoint.core.power import Rank, rank_of
from tripoint.irc import numerics as n
from tripoint.irc.messages import MESSAGE, TagsTooLarge, content_of
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line
from tripoint.rooms.commands import SendEvent

CAPABILITY: Final = "draft/relaymsg"
SEPARATOR: Final = "/"
MAX_NICK: Final = 64
# spec: "Servers MUST also sanitize or reject nicks that contain reserved IRC characters"
_RESERVED: Final = re.compile(r"[\s\0-\x1f\x7f!+%@&#$:'\"?*,.~]")
_MAY: Final = frozenset({Rank.OWNER, Rank.ADMIN, Rank.OP})


@command("RELAYMSG", min_params=3, spec="IRCv3 proposal-417-relaymsg")
async def relaymsg(session: IrcSession, line: Line) -> None:
    """RELAYMSG <channel> <name>/<from where> :<text>: say something under that name. For operators of the channel."""
    if CAPABILITY not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "RELAYMSG", f"Ask for the {CAPABILITY} capability first")
    channel, name = await session.channel_named(line.params[0]), line.params[1]
    context = (channel.name, echo(name))
    if rank_of(channel.room.power, session.user_id, "join") not in _MAY:
        raise Failed("PRIVS_NEEDED", *context, text="Only operators of a channel speak in it under other names")
    if not _is_name(name):
        text = f"A name has a {SEPARATOR} in it, at most {MAX_NICK} bytes, and none of !+%@&#$:'\"?*,.~ nor spaces"
        raise Failed("INVALID_NICK", *context, text=text)
    if not line.params[2]:
        raise IrcRefused(n.ERR_NOTEXTTOSEND, "No text to send")
    try:
        content = content_of("PRIVMSG", line.params[2], line.tags, lambda _: None)
    except TagsTooLarge:
        raise IrcRefused(n.ERR_INPUTTOOLONG, "Your client-only tags are over 8 KiB") from None
    await session.do(
        SendEvent(
            actor=session.user_id,
            room_id=channel.room_id,
            type=MESSAGE,
            content=under_name(content, name),
            origin=session.origin(),
        )
    )


def _is_name(name: str) -> bool:
    before, separator, after = name.partition(SEPARATOR)
    return bool(before and separator and after) and len(name.encode()) <= MAX_NICK and not _RESERVED.search(name)
