"""How the server stands: STATS, TRACE, LINKS; CONNECT and SQUIT of a server that is linked to no other.

What only operators see is said where it is asked for.  spec: RFC2812 3.4.4, 3.4.5, 3.4.7, 3.4.8, 3.1.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tripoint.core.server_bans import BanKind
from tripoint.irc import numerics as n
from tripoint.irc.banning import NUMERICS, ban_lines
from tripoint.irc.operators import Privilege
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.render import as_word
from tripoint.irc.servers import check_server, matches
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import fold
from tripoint.irc.welcome import version
from tripoint.irc.wire import Line

# Connections that one STATS l or TRACE shows.
MAX_SHOWN = 500


@command("STATS", cost=3, spec="RFC2812 3.4.4")
async def stats(session: IrcSession, line: Line) -> None:
    """STATS [<letter> [<server>]]: u how long the server is up, m how often commands were used, o who is an operator,
    p which operators are here, l your connection. Operators see more: l all connections, k d x the bans."""
    check_server(session, line.param(1))
    letter = line.param(0)[:1]
    if letter:
        show = _STATS.get(letter) or _STATS.get(letter.lower())
        if show is not None:
            show(session)
    session.numeric(n.RPL_ENDOFSTATS, echo(letter or "*"), "End of STATS report")


def _uptime(session: IrcSession) -> None:
    seconds = (session.network.now_ms() - session.network.started_ts_ms) // 1000
    days, rest = divmod(seconds, 86_400)
    text = f"Server Up {days} days {rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    session.numeric(n.RPL_STATSUPTIME, text)


def _commands(session: IrcSession) -> None:
    """spec: "the usage count for each of commands"; bytes are not counted, and no other server sends any"""
    for name, count in sorted(session.network.usage.items()):
        session.numeric(n.RPL_STATSCOMMANDS, name, str(count), "0", "0")


def _configured(session: IrcSession) -> None:
    """Of administrators, who need no line in the configuration, those who are here."""
    network = session.network
    named = {one.account for one in network.options.operators}
    here = {one.account.name for one in network.operators.values()}
    for account in sorted(named | here):
        session.numeric(n.RPL_STATSOLINE, "O", f"*@{session.names.server}", "*", account)


def _present(session: IrcSession) -> None:
    for other in session.network.operators.values():
        assert other.operator is not None  # he is one
        text = f"{other.nick} {other.operator.title}"
        session.numeric(n.RPL_STATSDEBUG, "p", text)


def _connections(session: IrcSession) -> None:
    now = session.network.now_ms()
    everybody = list(session.network.sessions) if session.has(Privilege.LOOK) else [session]
    for other in everybody[:MAX_SHOWN]:
        outbox = other.outbox
        waiting = outbox.transport.get_write_buffer_size()
        name = f"{other.nick}[{other.address}]" if session.has(Privilege.LOOK) else other.nick
        session.numeric(
            n.RPL_STATSLINKINFO,
            *(name, str(waiting), str(outbox.sent), str(outbox.sent_bytes // 1024)),
            *(str(other.received), str(other.received_bytes // 1024), str((now - other.connected_ts_ms) // 1000)),
        )


def _bans(kind: BanKind) -> Callable[[IrcSession], None]:
    def show(session: IrcSession) -> None:
        if not session.has(Privilege.BAN):
            session.numeric(n.ERR_NOPRIVILEGES, "Permission Denied- bans are for operators who may set them")
            return
        for mask, text in ban_lines(session, kind):
            session.numeric(NUMERICS[kind], kind.value.upper(), echo(as_word(mask.replace(" ", "?"))), text)

    return show


_STATS: Mapping[str, Callable[[IrcSession], None]] = {
    "u": _uptime,
    "m": _commands,
    "o": _configured,
    "p": _present,
    "l": _connections,
    **{kind.value: _bans(kind) for kind in BanKind},
}


@command("TRACE", cost=3, spec="RFC2812 3.4.8")
async def trace(session: IrcSession, line: Line) -> None:
    """TRACE [<nick or server>]: who is connected. Others than operators see operators and themselves."""
    target, network = line.param(0), session.network
    shown = [other for other in network.sessions if fold(other.nick) == fold(target)] if target else []
    if not shown:
        check_server(session, target)
        everybody = session.has(Privilege.LOOK)
        shown = [other for other in network.sessions if everybody or other is session or other.operator is not None]
        if everybody and network.unregistered > 0:
            session.numeric(n.RPL_TRACEUNKNOWN, "????", "unregistered", f"{network.unregistered} connections")
    for other in shown[:MAX_SHOWN]:
        if other.operator is not None:
            session.numeric(n.RPL_TRACEOPERATOR, "Oper", "operators", other.nick)
        else:
            kind = "guests" if other.account.guest else "accounts"
            session.numeric(n.RPL_TRACEUSER, "User", kind, other.nick)
    session.numeric(n.RPL_TRACEEND, session.names.server, version(), "End of TRACE")


@command("LINKS", cost=2, spec="RFC2812 3.4.5")
async def links(session: IrcSession, line: Line) -> None:
    """LINKS [[<server>] <mask>]: the servers of the network; there is one."""
    mask = line.param(1) or line.param(0) or "*"
    if line.param(1):
        check_server(session, line.param(0))
    server = session.names.server
    if matches(mask, server):
        session.numeric(n.RPL_LINKS, server, server, f"0 {session.network.title}")
    session.numeric(n.RPL_ENDOFLINKS, echo(mask), "End of LINKS list")


@command("CONNECT", min_params=1, spec="RFC2812 3.4.7")
async def connect(session: IrcSession, line: Line) -> None:
    """CONNECT <server> <port>: refused. This server is linked to no other IRC server."""
    _no_link(session, line.params[0])


@command("SQUIT", min_params=1, spec="RFC2812 3.1.8")
async def squit(session: IrcSession, line: Line) -> None:
    """SQUIT <server> :<comment>: refused. This server is linked to no other IRC server."""
    _no_link(session, line.params[0])


def _no_link(session: IrcSession, target: str) -> None:
    if session.operator is None:
        raise IrcRefused(n.ERR_NOPRIVILEGES, "Permission Denied- You're not an IRC operator")
    raise IrcRefused(n.ERR_NOSUCHSERVER, echo(target), "This server is linked to no other IRC server")
