"""KLINE, DLINE, XLINE and their taking off: bans from the server, on every protocol where an address is concerned.

STATS k, d and x list them.  spec: docs/mapping.md 9.4, 18.4; the commands as other servers have them.
"""

from __future__ import annotations

from tripoint.core.server_bans import BanKind
from tripoint.irc.banning import drop_ban, set_ban
from tripoint.irc.operators import Privilege
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession
from tripoint.irc.wire import Line

_SPEC = "docs/mapping.md 9.4"


@command("KLINE", min_params=1, cost=2, spec=_SPEC, privilege=Privilege.BAN)
async def kline(session: IrcSession, line: Line) -> None:
    """KLINE [<duration>] {<nick> | <name>@<where>} [:<reason>]: keep an account or a guest out.

    <where> is an address, a network, a guest's host, or *. Durations are like 30m, 12h, 7d; a plain number is minutes.
    """
    session.notice(await set_ban(session, BanKind.KLINE, line.params))


@command("UNKLINE", min_params=1, spec=_SPEC, privilege=Privilege.BAN)
async def unkline(session: IrcSession, line: Line) -> None:
    """UNKLINE <name>@<where>: take a K-line off."""
    session.notice(await drop_ban(session, BanKind.KLINE, line.params[0]))


@command("DLINE", min_params=1, cost=2, spec=_SPEC, privilege=Privilege.BAN)
async def dline(session: IrcSession, line: Line) -> None:
    """DLINE [<duration>] <address or network> [:<reason>]: take no connections from there, on IRC, XMPP and Matrix."""
    session.notice(await set_ban(session, BanKind.DLINE, line.params))


@command("UNDLINE", min_params=1, spec=_SPEC, privilege=Privilege.BAN)
async def undline(session: IrcSession, line: Line) -> None:
    """UNDLINE <address or network>: take a D-line off."""
    session.notice(await drop_ban(session, BanKind.DLINE, line.params[0]))


@command("XLINE", min_params=1, cost=2, spec=_SPEC, privilege=Privilege.BAN)
async def xline(session: IrcSession, line: Line) -> None:
    """XLINE [<duration>] <mask> [:<reason>]: keep clients out whose real name is like that; ? stands for a space."""
    session.notice(await set_ban(session, BanKind.XLINE, line.params))


@command("UNXLINE", min_params=1, spec=_SPEC, privilege=Privilege.BAN)
async def unxline(session: IrcSession, line: Line) -> None:
    """UNXLINE <mask>: take an X-line off."""
    session.notice(await drop_ban(session, BanKind.XLINE, line.params[0]))
