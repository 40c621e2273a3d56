"""Who is here, told as it changes: MONITOR.

spec: IRCv3 monitor; docs/mapping.md 13.8, 13.9.
"""

from __future__ import annotations

from collections.abc import Iterable

from tripoint.core.ids import UserId
from tripoint.irc import numerics as n
from tripoint.irc.monitors import in_lines
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_MONITOR, NICKLEN, fold
from tripoint.irc.wire import Line

# A nick of another server's user holds its server's name too.
_MAX_TARGET = NICKLEN * 2
_NOT_IN_A_NICK = frozenset(" !*?@#,")


@command("MONITOR", min_params=1, spec="IRCv3 monitor")
async def monitor(session: IrcSession, line: Line) -> None:
    """MONITOR + <nick>{,<nick>}, - <nick>{,<nick>}, C, L or S."""
    asked = line.params[0].upper()
    monitors = session.network.monitors
    if asked in ("+", "-"):
        if not line.param(1):
            raise IrcRefused(n.ERR_NEEDMOREPARAMS, "MONITOR", "Not enough parameters")
        targets = list({fold(word): word for word in line.params[1].split(",") if word}.values())
        if asked == "+":
            _add(session, targets)
        for target in targets if asked == "-" else ():
            monitors.remove(session, target)
    elif asked == "C":
        monitors.forget(session)
    elif asked == "L":
        for part in in_lines(session.monitored.values()):
            session.numeric(n.RPL_MONLIST, part)
        session.numeric(n.RPL_ENDOFMONLIST, "End of MONITOR list")
    elif asked == "S":
        _show(session, session.monitored.values())
    else:
        raise Failed("INVALID_PARAMS", echo(line.params[0]), text="MONITOR knows +, -, C, L and S")


def _add(session: IrcSession, targets: list[str]) -> None:
    added = []
    for at, target in enumerate(targets):
        if len(target) > _MAX_TARGET or not target.isascii() or _NOT_IN_A_NICK & set(target):
            session.numeric(n.ERR_ERRONEUSNICKNAME, echo(target), "That is no nickname")
            continue
        if fold(target) not in session.monitored:
            if len(session.monitored) >= MAX_MONITOR:
                for part in in_lines(targets[at:]):
                    session.numeric(n.ERR_MONLISTFULL, str(MAX_MONITOR), part, "Monitor list is full.")
                break
            session.network.monitors.add(session, target)
        added.append(target)
    for user_id in _show(session, added):
        session.network.monitors.shown(session, user_id)


def _show(session: IrcSession, targets: Iterable[str]) -> list[UserId]:
    """Say who of them is here, with masks, and who is not; those who are."""
    users: list[UserId] = []
    here: list[str] = []
    gone: list[str] = []
    for target in targets:
        user_id = session.network.monitors.user_here(target)
        if user_id is None:
            gone.append(target)
        else:
            users.append(user_id)
            here.append(session.names.mask(user_id))
    for numeric, found in ((n.RPL_MONONLINE, here), (n.RPL_MONOFFLINE, gone)):
        for part in in_lines(found):
            session.numeric(numeric, part)
    return users
