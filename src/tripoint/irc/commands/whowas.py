"""WHOWAS: who had a nick.  spec: RFC2812 3.6.3; Modern IRC "WHOWAS message"."""

from __future__ import annotations

from datetime import UTC, datetime

from tripoint.irc import numerics as n
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.servers import check_server
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_TARGETS
from tripoint.irc.wire import Line


@command("WHOWAS", cost=2, spec="RFC2812 3.6.3")
async def whowas(session: IrcSession, line: Line) -> None:
    """WHOWAS <nick>{,<nick>} [<count> [<server>]]: who had a nick, the latest first."""
    nicks = list(dict.fromkeys(one for one in line.param(0).split(",") if one))
    if not nicks:
        raise IrcRefused(n.ERR_NONICKNAMEGIVEN, "No nickname given")
    check_server(session, line.param(2))
    word = line.param(1)
    count = int(word) if word.isascii() and word.isdigit() and len(word) < 6 else 0
    for nick in nicks[:MAX_TARGETS]:
        found = session.network.whowas.of(nick, count)
        if not found:
            session.numeric(n.ERR_WASNOSUCHNICK, echo(nick), "There was no such nickname")
        for was in found:
            realname = was.realname or was.nick
            if was.user_id is not None:
                realname = await session.network.realname(was.user_id)  # docs/mapping.md 2.3: as WHOIS has it
            session.numeric(n.RPL_WHOWASUSER, was.nick, was.username, was.host, "*", realname)
            at = datetime.fromtimestamp(was.ts_ms / 1000, UTC)
            session.numeric(n.RPL_WHOISSERVER, was.nick, session.names.server, f"{at:%a %b %d %Y %H:%M:%S} UTC")
        session.numeric(n.RPL_ENDOFWHOWAS, echo(nick), "End of WHOWAS")
    if len(nicks) > MAX_TARGETS:
        raise IrcRefused(n.ERR_TOOMANYTARGETS, echo(nicks[MAX_TARGETS]), "Too many targets")
