"""Commands about the connection itself, after 001: CAP, AUTHENTICATE, NICK, REGISTER, QUIT and their kin.

What is left of negotiation after registration.  spec: RFC2812 3.1; IRCv3 capability-negotiation,
account-registration, sasl-3.2; docs/mapping.md 1.9, 2.1, 18.
"""

from __future__ import annotations

from tripoint.accounts.ports import Account
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.irc import numerics as n
from tripoint.irc.connection import NEEDS_TLS, NO_CODES, QUIT
from tripoint.irc.identify import log_in_as, register_as
from tripoint.irc.login import Rejected
from tripoint.irc.names import is_nick
from tripoint.irc.refusals import ACCOUNT_REFUSALS, Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import fold
from tripoint.irc.wire import Line


@command("CAP", min_params=1, spec="IRCv3 capability-negotiation")
async def cap(session: IrcSession, line: Line) -> None:
    """CAP <subcommand> [:<capabilities>]: ask for capabilities; LS, LIST, REQ and END."""
    negotiation = session.negotiation
    negotiation.nick = session.nick
    for step in negotiation.cap(line):
        session.step(step)
    if negotiation.caps != session.caps:
        session.set_caps(negotiation.caps)


@command("AUTHENTICATE", min_params=1, spec="IRCv3 sasl-3.1")
async def authenticate(session: IrcSession, line: Line) -> None:
    """AUTHENTICATE <mechanism>: log in. A guest can do so at any time."""
    login = session.login
    if not session.account.guest or login is None:
        raise IrcRefused(n.ERR_SASLALREADY, "You have already authenticated using SASL")
    session.negotiation.nick = session.nick
    proven = await login.authenticate(line)
    if isinstance(proven, Rejected):
        session.close(proven.reason)
    elif proven is not None:
        session.login = None
        await log_in_as(session, proven)
        session.let_in_by = login.let_in_by
        session.numeric(n.RPL_SASLSUCCESS, "SASL authentication successful")
        if login.let_in_by is not None and not await session.accounts.has_device(proven.user_id, login.let_in_by):
            session.close("logged out")  # between the login and this


@command("PASS", spec="RFC2812 3.1.1")
async def pass_(session: IrcSession, line: Line) -> None:
    """PASS <account>:<password>: log in, at the start of a connection."""
    raise IrcRefused(n.ERR_ALREADYREGISTERED, "You may not reregister")


@command("USER", spec="RFC2812 3.1.3")
async def user(session: IrcSession, line: Line) -> None:
    """USER <name> 0 * :<real name>: at the start of a connection."""
    raise IrcRefused(n.ERR_ALREADYREGISTERED, "You may not reregister")


@command("NICK", cost=3, spec="RFC2812 3.1.2")
async def nick(session: IrcSession, line: Line) -> None:
    """NICK <nick>: free for guests; the nick of an account is its name (MAPPING 2.1).

    Everybody, we too, hears of it when the guest's display name has changed: network.py.
    """
    wish = line.param(0)
    if not wish:
        raise IrcRefused(n.ERR_NONICKNAMEGIVEN, "No nickname given")
    if wish == session.nick:
        return
    if not session.account.guest:
        text = "Nickname is your account name; use SETNAME"
        raise IrcRefused(n.ERR_CANTCHANGENICK, echo(wish), text)
    if not is_nick(wish):
        raise IrcRefused(n.ERR_ERRONEUSNICKNAME, echo(wish), "Erroneous nickname")
    holder = session.names.user(wish)
    if holder is not None and holder != session.user_id:
        raise IrcRefused(n.ERR_NICKNAMEINUSE, wish, "Nickname is already in use")
    try:
        await session.accounts.rename_guest(session.user_id, wish)
    except AccountRefused as refused:
        numeric = n.ERR_ERRONEUSNICKNAME if refused.refusal is AccountRefusal.BAD_NAME else n.ERR_NICKNAMEINUSE
        raise IrcRefused(numeric, wish, refused.text) from None


@command("REGISTER", min_params=3, cost=4, spec="IRCv3 account-registration")
async def register(session: IrcSession, line: Line) -> None:
    """REGISTER <account> {<email> | *} <password>: a guest becomes an account."""
    name = session.nick if line.params[0] == "*" else line.params[0]
    if not session.account.guest:
        text = "You are already logged in"
        raise Failed("ALREADY_AUTHENTICATED", session.account.name, text=text)
    if not session.passwords_allowed:
        raise Failed("TEMPORARILY_UNAVAILABLE", echo(name), text=NEEDS_TLS)

    def made(account: Account) -> None:
        session.reply("REGISTER", "SUCCESS", account.name, "Account successfully registered")

    try:
        await register_as(session, fold(name), line.params[2], made)
    except AccountRefused as refused:
        # spec: account-registration: every FAIL REGISTER names the account.
        code = ACCOUNT_REFUSALS[refused.refusal].code or "TEMPORARILY_UNAVAILABLE"
        raise Failed(code, echo(name), text=refused.text) from None


@command("WEBIRC", spec="IRCv3 webirc")
async def webirc(session: IrcSession, line: Line) -> None:
    """WEBIRC <password> <gateway> <host> <address> [:<options>]: by gateways of web clients, before anything else."""
    raise IrcRefused(n.ERR_ALREADYREGISTERED, "You may not reregister")


@command("VERIFY", min_params=2, spec="IRCv3 account-registration")
async def verify(session: IrcSession, line: Line) -> None:
    """VERIFY <account> <code>: refused. Accounts need no verification here."""
    if not session.account.guest:
        raise Failed("ALREADY_AUTHENTICATED", session.account.name, text="You are already logged in")
    raise Failed("INVALID_CODE", echo(line.params[0]), text=NO_CODES)


@command("QUIT", cost=0, spec="RFC2812 3.1.7")
async def quit_(session: IrcSession, line: Line) -> None:
    """QUIT [:<reason>]. The server answers ERROR and closes; an account stays in its rooms (MAPPING 4.5)."""
    session.close(f"{QUIT}{line.param(0)}")
