"""NS and CS: what goes to a service and to nobody else, whatever their nicks are.

Importing this declares what the services can do.
spec: docs/mapping.md 18.1.  Read next: tripoint/irc/services.py.
"""

from __future__ import annotations

from tripoint.irc import chanserv, nickserv, polls
from tripoint.irc.registry import command
from tripoint.irc.services import service
from tripoint.irc.session import IrcSession
from tripoint.irc.wire import Line

__all__ = ["chanserv", "nickserv", "polls"]


@command("NS", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def ns(session: IrcSession, line: Line) -> None:
    """NS <command> [<word>...]: as PRIVMSG NickServ."""
    await service(session, "NickServ", " ".join(line.params))


@command("NICKSERV", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def nickserv_(session: IrcSession, line: Line) -> None:
    """The same, under the name by which some clients send it."""
    await service(session, "NickServ", " ".join(line.params))


@command("CS", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def cs(session: IrcSession, line: Line) -> None:
    """CS <command> [<word>...]: as PRIVMSG ChanServ."""
    await service(session, "ChanServ", " ".join(line.params))


@command("CHANSERV", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def chanserv_(session: IrcSession, line: Line) -> None:
    """The same, under the name by which some clients send it."""
    await service(session, "ChanServ", " ".join(line.params))
