"""HELP and HELPOP: what each command does.  spec: Modern IRC "HELP message"."""

from __future__ import annotations

from tripoint.irc import numerics as n
from tripoint.irc.help import help_of, index
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line


@command("HELP", cost=2, spec="Modern IRC HELP")
async def help_(session: IrcSession, line: Line) -> None:
    """HELP [<command>]: what a command does, or which there are."""
    subject = line.param(0)
    lines = help_of(subject.upper()) if subject else index(operator=session.operator is not None)
    word = echo(subject or "*")
    if lines is None:
        session.numeric(n.ERR_HELPNOTFOUND, word, "There is no help on that; HELP lists the commands")
        return
    session.numeric(n.RPL_HELPSTART, word, f"Help on {subject.upper()}" if subject else "The commands of this server")
    for text in ("", *lines):
        session.numeric(n.RPL_HELPTXT, word, text)
    session.numeric(n.RPL_ENDOFHELP, word, "End of HELP")


@command("HELPOP", cost=2, spec="Modern IRC HELP")
async def helpop(session: IrcSession, line: Line) -> None:
    """HELPOP [<command>]: the same as HELP."""
    await help_(session, line)
