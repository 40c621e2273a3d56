"""NickServ: making an account and logging in, by talking to somebody who is not there.

Services answer; they are no users of any room (docs/mapping.md 18.1).  What they cannot do yet they say.
spec: docs/mapping.md 18.1; IRCv3 account-registration for the same over REGISTER.
"""

from __future__ import annotations

from tripoint.accounts.refusals import AccountRefused
from tripoint.irc.identify import log_in_as, register_as
from tripoint.irc.render import fitted
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import fold

SERVICES = ("NickServ", "ChanServ", "OperServ")

_HELP = (
    "NickServ keeps accounts. An account works on IRC, XMPP and Matrix alike.",
    "REGISTER <password> [<email>]: make an account of your present nick",
    "IDENTIFY [<account>] <password>: log in",
    "HELP E2EE: about encrypted rooms",
)
_HELP_E2EE = (
    "Encrypted rooms can only be read in a client that holds the keys, which this server does not.",
    "Open them in a Matrix client with the same account; you stay a member while you are here.",
)


def is_service(target: str) -> bool:
    """Whether a message to this nick is for a service."""
    return fold(target) in _FOLDED


_FOLDED = {fold(name): name for name in SERVICES}


async def service(session: IrcSession, target: str, text: str) -> None:
    """One request to a service."""
    name = _FOLDED[fold(target)]
    if name != "NickServ":
        _say(session, name, f"{name} cannot do anything yet on this server")
        return
    words = text.split()
    command = words[0].upper() if words else "HELP"
    try:
        if command == "REGISTER" and len(words) >= 2:
            await _register(session, words[1])
        elif command == "IDENTIFY" and len(words) >= 2:
            account = words[1] if len(words) > 2 else session.nick
            await _identify(session, account, words[-1] if len(words) > 2 else words[1])
        elif command == "HELP":
            for line in _HELP_E2EE if words[1:2] == ["E2EE"] else _HELP:
                _say(session, name, line)
        else:
            _say(session, name, "I do not know that. /msg NickServ HELP lists what I know")
    except AccountRefused as refused:
        _say(session, name, refused.text)


async def _register(session: IrcSession, password: str) -> None:
    if not session.passwords_allowed:
        _say(session, "NickServ", "Passwords need TLS here: connect to the TLS port")
        return
    if not session.account.guest:
        _say(session, "NickServ", f"You are logged in as {session.account.name} already")
        return
    await register_as(
        session,
        fold(session.nick),
        password,
        lambda account: _say(session, "NickServ", f"Account {account.name} is made, and you are logged in"),
    )


async def _identify(session: IrcSession, name: str, password: str) -> None:
    if not session.passwords_allowed:
        _say(session, "NickServ", "Passwords need TLS here: connect to the TLS port")
        return
    account = await session.accounts.check_password(fold(name), password, address=session.address)
    if account.user_id == session.user_id:
        _say(session, "NickServ", "You are logged in already")
        return
    await log_in_as(session, account)
    _say(session, "NickServ", f"You are now logged in as {account.name}")


def _say(session: IrcSession, name: str, text: str) -> None:
    source = f":{name}!{name}@services.{session.names.server}"
    session.outbox.respond(fitted(f"{source} NOTICE {session.nick}", text), [])
