"""Which server a command is for: there is one, and everybody is on it.

spec: RFC2812 3.4: a target is a server's name, a mask of it, or a nick.
"""

from __future__ import annotations

import re

from tripoint.core.glob import glob_expression
from tripoint.irc import numerics as n
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import fold


def matches(mask: str, text: str) -> bool:
    """Whether a mask with * and ? is about this text, whatever its case."""
    return re.match(glob_expression(fold(mask)), fold(text), re.DOTALL) is not None


def check_server(session: IrcSession, target: str) -> None:
    """IrcRefused(402) unless `target` is this server, somebody on it, or nothing."""
    if target and not matches(target, session.names.server) and session.names.user(target) is None:
        raise IrcRefused(n.ERR_NOSUCHSERVER, echo(target), "No such server")
