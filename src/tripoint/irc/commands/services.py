"""NS, CS, OS, HS, HISTSERV and ZNC: what goes to a service and to nobody else, whatever their nicks are.

Importing this declares what the services can do.
spec: docs/mapping.md 18.1.  Read next: tripoint/irc/services.py.
"""

from __future__ import annotations

from tripoint.irc import chanserv, histserv, hostserv, nickserv, nickserv_apps, nickserv_cert, operserv, polls
from tripoint.irc import numerics as n
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.services import service
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import ZNC_PLAYBACK
from tripoint.irc.wire import Line
from tripoint.irc.znc_playback import NICK as PLAYBACK
from tripoint.irc.znc_playback import ask_playback

__all__ = ["chanserv", "histserv", "hostserv", "nickserv", "nickserv_apps", "nickserv_cert", "operserv", "polls"]


@command("NS", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def ns(session: IrcSession, line: Line) -> None:
    """NS <command> [<word>...]: ask NickServ, which keeps accounts; NS HELP lists what it knows."""
    await service(session, "NickServ", " ".join(line.params))


@command("NICKSERV", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def nickserv_(session: IrcSession, line: Line) -> None:
    """NICKSERV <command> [<word>...]: the same as NS."""
    await service(session, "NickServ", " ".join(line.params))


@command("CS", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def cs(session: IrcSession, line: Line) -> None:
    """CS <command> [<word>...]: ask ChanServ, which keeps channels; CS HELP lists what it knows."""
    await service(session, "ChanServ", " ".join(line.params))


@command("CHANSERV", min_params=1, cost=2, spec="docs/mapping.md 18.1")
async def chanserv_(session: IrcSession, line: Line) -> None:
    """CHANSERV <command> [<word>...]: the same as CS."""
    await service(session, "ChanServ", " ".join(line.params))


@command("OS", min_params=1, cost=2, spec="docs/mapping.md 18.4")
async def os(session: IrcSession, line: Line) -> None:
    """OS <command> [<word>...]: ask OperServ, which is for operators of this server; OS HELP lists what it knows."""
    await service(session, "OperServ", " ".join(line.params))


@command("OPERSERV", min_params=1, cost=2, spec="docs/mapping.md 18.4")
async def operserv_(session: IrcSession, line: Line) -> None:
    """OPERSERV <command> [<word>...]: the same as OS."""
    await service(session, "OperServ", " ".join(line.params))


@command("HS", min_params=1, cost=2, spec="docs/mapping.md 18.4")
async def hs(session: IrcSession, line: Line) -> None:
    """HS <command> [<word>...]: ask HostServ, which keeps hosts behind nicks; HS HELP lists what it knows."""
    await service(session, "HostServ", " ".join(line.params))


@command("HOSTSERV", min_params=1, cost=2, spec="docs/mapping.md 18.4")
async def hostserv_(session: IrcSession, line: Line) -> None:
    """HOSTSERV <command> [<word>...]: the same as HS."""
    await service(session, "HostServ", " ".join(line.params))


@command("HISTSERV", min_params=1, cost=2, spec="docs/mapping.md 14.1, 18.1")
async def histserv_(session: IrcSession, line: Line) -> None:
    """HISTSERV <command> [<word>...]: ask HistServ, which shows what was said before; HISTSERV HELP: what it knows."""
    await service(session, "HistServ", " ".join(line.params))


@command("ZNC", min_params=1, cost=2, spec="docs/mapping.md 14.4")
async def znc(session: IrcSession, line: Line) -> None:
    """ZNC *playback PLAY <channel> <time>: to be shown what was said, for clients of bouncers (znc.in/playback)."""
    if ZNC_PLAYBACK not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "ZNC", "Unknown command")
    module, *words = line.params
    if module.lower() != PLAYBACK:
        raise IrcRefused(n.ERR_NOSUCHNICK, echo(module), "No such nick/channel")
    await ask_playback(session, " ".join(words))
