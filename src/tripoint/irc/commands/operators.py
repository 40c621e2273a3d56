"""What operators are and do to connections: OPER, KILL, WALLOPS, REHASH; DIE and RESTART, which nobody may.

spec: RFC2812 3.1.4, 3.7.1, 4.2-4.4, 4.7; docs/mapping.md 18.4, docs/decisions/operators.md.
"""

from __future__ import annotations

import structlog

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId, server_of
from tripoint.irc import numerics as n
from tripoint.irc.operators import DEFAULT_NOTICES, Notice, Operator, Privilege, operator_of
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.render import Outgoing, fitted
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import fold
from tripoint.irc.user_modes import set_operator, tell_changed
from tripoint.irc.wire import Line

log = structlog.get_logger()


@command("OPER", min_params=2, cost=5, spec="RFC2812 3.1.4")
async def oper(session: IrcSession, line: Line) -> None:
    """OPER <account> <password>: become an operator of this server, if your account is one's."""
    network, account = session.network, session.account
    if session.operator is not None:
        session.numeric(n.RPL_YOUREOPER, "You are an IRC operator already")
        return
    if account.guest:
        raise IrcRefused(n.ERR_NOOPERHOST, "Log in with your account first: operators are accounts")
    operator = operator_of(account, network.options.operators)
    if operator is None or fold(line.params[0]) != account.name:
        network.notify(Notice.OPERATORS, f"Failed OPER by {session.mask}: not an operator")
        raise IrcRefused(n.ERR_NOOPERHOST, "Your account is not an operator's")
    if not session.passwords_allowed:
        raise IrcRefused(n.ERR_NOOPERHOST, AccountRefusal.TLS_REQUIRED.value)
    try:
        await _check(session, operator, line.params[1])
    except AccountRefused as refused:
        log.warning("irc.oper_refused", account=account.name, refusal=refused.refusal.name)
        network.notify(Notice.OPERATORS, f"Failed OPER by {session.mask}: {refused.text}")
        if refused.refusal is not AccountRefusal.WRONG_CREDENTIALS:
            raise
        raise IrcRefused(n.ERR_PASSWDMISMATCH, "Password incorrect") from None
    log.info("irc.oper", account=account.name, session=session.id)
    network.notify(Notice.OPERATORS, f"{session.mask} is now an IRC operator")
    before = session.modes
    set_operator(session, operator)
    if operator.may(Privilege.NOTICES):
        session.notices = DEFAULT_NOTICES
        session.modes = session.modes | {"s"}
    tell_changed(session, before)
    session.numeric(n.RPL_YOUREOPER, "You are now an IRC operator")
    if session.notices:
        session.numeric(n.RPL_SNOMASK, f"+{session.notices}", "Server notice mask")


async def _check(session: IrcSession, operator: Operator, password: str) -> None:
    accounts, account = session.accounts, session.account
    if operator.hash is None:
        await accounts.check_password(account.name, password, address=session.address)
    else:
        await accounts.check_secret(account, operator.hash, password, address=session.address)


@command("KILL", min_params=2, cost=2, spec="RFC2812 3.7.1", privilege=Privilege.KILL)
async def kill(session: IrcSession, line: Line) -> None:
    """KILL <nick> :<reason>: close the connections of a user, on IRC and XMPP. The account stays in its rooms."""
    nick, reason = line.params[0], line.params[1]
    if not nick or not reason:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, "KILL", "Not enough parameters")
    if fold(nick) == fold(session.names.server):
        raise IrcRefused(n.ERR_CANTKILLSERVER, "You can't kill a server!")
    await kill_user(session, await session.user_named(nick), echo(nick), reason)


async def kill_user(session: IrcSession, user_id: UserId, nick: str, reason: str) -> None:
    """Close what a user has open. Raises IrcRefused(401) where that is nothing."""
    network, names = session.network, session.names
    live = network.sessions.of(user_id)
    devices = []
    if server_of(user_id) == names.server and not names.is_our_guest(user_id):
        online = session.reader.presence(user_id).presence != "offline"
        devices = [one for one in await session.accounts.devices(user_id) if online and one.protocol in ("irc", "xmpp")]
    if not live and not devices:
        text = "They have no connection that could be closed; KLINE keeps an account out"
        raise IrcRefused(n.ERR_NOSUCHNICK, nick, text)
    shown = names.nick(user_id)
    network.notify(Notice.KILLS, f"{session.mask} killed {names.mask(user_id)} ({reason})")
    log.info("irc.killed", user_id=user_id, by=session.account.name)
    text = f"Killed ({session.nick} ({reason}))"
    for other in live:
        if other is not session:
            line = fitted(f":{session.mask} KILL {shown}", reason)
            other.tell(Outgoing([line], ts_ms=network.now_ms(), who=names.who(session.user_id)))
            other.close(text)
    if session in live:
        session.close(text)
    await session.accounts.log_out(user_id, [one.device_id for one in devices], reason=text)


@command("WALLOPS", min_params=1, cost=2, spec="RFC2812 4.7", privilege=Privilege.WALLOPS)
async def wallops(session: IrcSession, line: Line) -> None:
    """WALLOPS :<text>: say something to all who have user mode +w."""
    text, network = line.params[0], session.network
    if not text:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, "WALLOPS", "Not enough parameters")
    body, who = fitted(f":{session.mask} WALLOPS", text), session.names.who(session.user_id)
    out = Outgoing([body], ts_ms=network.now_ms(), who=who)
    for other in network.sessions:
        if "w" in other.modes:
            if other is session:
                other.own(out)
            else:
                other.tell(out)


@command("REHASH", cost=10, spec="RFC2812 4.2", privilege=Privilege.REHASH)
async def rehash(session: IrcSession, line: Line) -> None:
    """REHASH: read the configuration and the certificates again, as a SIGHUP does."""
    network = session.network
    if network.rehash is None:
        raise IrcRefused(n.ERR_NOPRIVILEGES, "This server was started without a configuration that could be read again")
    session.numeric(n.RPL_REHASHING, "tripoint.toml", "Rehashing")
    network.notify(Notice.SERVER, f"{session.mask} has the configuration read again")
    for text in await network.rehash():
        session.notice(text)


@command("DIE", spec="RFC2812 4.3")
async def die(session: IrcSession, line: Line) -> None:
    """DIE: refused. This server is stopped where it runs."""
    _never()


@command("RESTART", spec="RFC2812 4.4")
async def restart(session: IrcSession, line: Line) -> None:
    """RESTART: refused. This server is restarted where it runs."""
    _never()


def _never() -> None:
    # spec: RFC2812 4.3: "optional since it may be viewed as a risk"; who may stop the process has other means.
    raise IrcRefused(n.ERR_NOPRIVILEGES, "Permission Denied- this server is stopped and started where it runs")

