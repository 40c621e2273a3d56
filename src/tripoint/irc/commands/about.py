"""Who runs this server and what it is: ADMIN, INFO, TIME, USERS, SUMMON, SERVLIST, SQUERY, SERVICE.

spec: RFC2812 3.4.6, 3.4.9, 3.4.10, 3.5, 3.1.6, 4.5, 4.6.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tripoint.irc import numerics as n
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.servers import check_server, matches
from tripoint.irc.services import ABOUT, is_service, service
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.welcome import version
from tripoint.irc.wire import Line

_INFO = (
    "tripoint: every room is a Matrix room, an IRC channel and an XMPP multi-user chat at once.",
    "One account, one history, one set of rights; none of the three is a bridge to another.",
)


@command("ADMIN", cost=2, spec="RFC2812 3.4.9")
async def admin(session: IrcSession, line: Line) -> None:
    """ADMIN [<server>]: who runs this server."""
    check_server(session, line.param(0))
    lines, server = session.network.options.admin, session.names.server
    if not lines:
        raise IrcRefused(n.ERR_NOADMININFO, server, "No administrative info available")
    session.numeric(n.RPL_ADMINME, server, "Administrative info")
    for numeric, text in zip((n.RPL_ADMINLOC1, n.RPL_ADMINLOC2, n.RPL_ADMINEMAIL), lines, strict=False):
        session.numeric(numeric, text)


@command("INFO", cost=2, spec="RFC2812 3.4.10")
async def info(session: IrcSession, line: Line) -> None:
    """INFO [<server>]: what this server is."""
    check_server(session, line.param(0))
    started = datetime.fromtimestamp(session.network.started_ts_ms / 1000, UTC)
    for text in (*_INFO, f"Version: {version()}", f"Running since {started:%Y-%m-%d %H:%M} UTC"):
        session.numeric(n.RPL_INFO, text)
    session.numeric(n.RPL_ENDOFINFO, "End of INFO list")


@command("TIME", spec="RFC2812 3.4.6")
async def time(session: IrcSession, line: Line) -> None:
    """TIME [<server>]: what time it is here."""
    check_server(session, line.param(0))
    now = datetime.fromtimestamp(session.network.now_ms() / 1000, UTC)
    session.numeric(n.RPL_TIME, session.names.server, f"{now:%A %B %d %Y -- %H:%M:%S} +00:00")


@command("USERS", spec="RFC2812 4.6")
async def users(session: IrcSession, line: Line) -> None:
    """USERS [<server>]: refused. Who is logged in on this machine is not told."""
    check_server(session, line.param(0))
    raise IrcRefused(n.ERR_USERSDISABLED, "USERS has been disabled")


@command("SUMMON", spec="RFC2812 4.5")
async def summon(session: IrcSession, line: Line) -> None:
    """SUMMON <user> [<server> [<channel>]]: refused. Nobody is called from this machine."""
    if not line.param(0):
        raise IrcRefused(n.ERR_NORECIPIENT, "No recipient given (SUMMON)")
    raise IrcRefused(n.ERR_SUMMONDISABLED, "SUMMON has been disabled")


@command("SERVLIST", cost=2, spec="RFC2812 3.5.1")
async def servlist(session: IrcSession, line: Line) -> None:
    """SERVLIST [<mask> [<type>]]: the services of this server."""
    mask, kind = line.param(0, "*"), line.param(1, "0")
    if kind == "0":
        for name, about in ABOUT.items():
            if matches(mask, name):
                session.numeric(n.RPL_SERVLIST, name, session.names.server, "*", "0", "0", about)
    session.numeric(n.RPL_SERVLISTEND, echo(mask), echo(kind), "End of service listing")


@command("SQUERY", cost=2, spec="RFC2812 3.5.2")
async def squery(session: IrcSession, line: Line) -> None:
    """SQUERY <service> :<text>: say something to a service and to nobody else."""
    if not line.param(0):
        raise IrcRefused(n.ERR_NORECIPIENT, "No recipient given (SQUERY)")
    if not line.param(1):
        raise IrcRefused(n.ERR_NOTEXTTOSEND, "No text to send")
    name, _, server = line.params[0].partition("@")
    if not is_service(name) or (server and not matches(server, f"services.{session.names.server}")):
        raise IrcRefused(n.ERR_NOSUCHSERVICE, echo(line.params[0]), "No such service")
    await service(session, name, line.params[1])


@command("SERVICE", spec="RFC2812 3.1.6")
async def service_(session: IrcSession, line: Line) -> None:
    """SERVICE <nick> <reserved> <distribution> <type> <reserved> :<info>: refused. Services are built in here."""
    raise IrcRefused(n.ERR_ALREADYREGISTERED, "You may not reregister")
