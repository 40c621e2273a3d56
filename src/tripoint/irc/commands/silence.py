"""SILENCE: whom one does not want to hear of.

A nick is a user of the account's list, everything else a mask beside it; Matrix and XMPP clients see the same list.
spec: docs/mapping.md 16.1, 16.2; the numerics 271, 272 and 511 as servers with SILENCE have them.
"""

from __future__ import annotations

from tripoint.irc import numerics as n
from tripoint.irc.masks import named_by
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line
from tripoint.rooms.commands import BlockUsers
from tripoint.rooms.refusals import Refusal, Refused


@command("SILENCE", guests=False, spec="docs/mapping.md 16")
async def silence(session: IrcSession, line: Line) -> None:
    """SILENCE [{+|-}<nick or mask>]: add, take off, or show the list."""
    word = line.param(0)
    if not word or word[0] not in "+-":
        _show(session)
        return
    on, mask = word[0] == "+", word[1:]
    user_id = await named_by(session, mask) if mask else None
    if user_id is None and ("!" not in mask and "@" not in mask and not set(mask) & set("*?")):
        raise IrcRefused(n.ERR_NOSUCHNICK, echo(mask), Refusal.NO_SUCH_USER.value)
    users, masks = ((), (mask,)) if user_id is None else ((user_id,), ())
    try:
        await session.do(BlockUsers(actor=session.user_id, users=users, masks=masks, on=on, origin=session.origin()))
    except Refused as refused:
        if refused.refusal is Refusal.BAD_MASK:
            raise Failed("INVALID_PARAMS", echo(mask), text=refused.text) from None
        if refused.refusal is not Refusal.LIST_FULL:
            raise
        raise IrcRefused(n.ERR_SILELISTFULL, echo(mask), refused.text) from None
    shown = session.names.nick(user_id) if user_id is not None else mask
    session.shown(f":{session.mask} SILENCE {word[0]}{shown}", own=True)


def _show(session: IrcSession) -> None:
    """RPL_SILELIST of users by nick, then of masks."""
    blocked = session.reader.block_list(session.user_id)
    for entry in (*(session.names.nick(user_id) for user_id in blocked.users), *blocked.masks):
        session.numeric(n.RPL_SILELIST, session.nick, echo(entry))
    session.numeric(n.RPL_ENDOFSILELIST, "End of SILENCE list")
