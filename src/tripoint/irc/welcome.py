"""What a client is told when it is logged in, and when it asks again: 001-005, LUSERS, MOTD.

spec: RFC2812 5.1, Modern IRC "RPL_WELCOME" and what follows.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tripoint import __version__
from tripoint.irc import numerics as n
from tripoint.irc.render import server_line
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import (
    CHANMODES,
    EXTENDED_ISUPPORT,
    ISUPPORT_BATCH,
    PREFIX_MODES,
    USER_MODES,
    isupport_lines,
)


def version() -> str:
    """``tripoint-0.1.0``"""
    return f"tripoint-{__version__}"


def show_welcome(session: IrcSession, metadata: list[str] | None = None) -> None:
    """Everything from 001 to the end of the MOTD; after it a client takes itself for connected.

    `metadata`: METADATA lines about the client itself; None where it has not asked for any.
    """
    network, server = session.network, session.names.server
    session.numeric(n.RPL_WELCOME, f"Welcome to the {network.title} network, {session.mask}")
    session.numeric(n.RPL_YOURHOST, f"Your host is {server}, running version {version()}")
    started = datetime.fromtimestamp(network.started_ts_ms / 1000, UTC)
    session.numeric(n.RPL_CREATED, f"This server was started {started:%Y-%m-%d %H:%M} UTC")
    letters = "".join(sorted(CHANMODES.replace(",", "") + PREFIX_MODES))
    with_argument = "".join(sorted("beIkl" + PREFIX_MODES))
    session.numeric(n.RPL_MYINFO, server, version(), USER_MODES, letters, with_argument)
    show_isupport(session)
    show_lusers(session)
    if session.account.guest and session.passwords_allowed and network.registration == "open":
        session.notice("You are a guest. To keep this nick: /msg NickServ REGISTER <password>")
    if metadata is not None:
        # spec: IRCv3 metadata: before the end of the MOTD, an empty batch where there is none
        session.own_batch("metadata", (session.nick,), [(line, []) for line in metadata])
    show_motd(session)


def show_isupport(session: IrcSession) -> None:
    """RPL_ISUPPORT lines; as a batch where the client wants it so.  spec: IRCv3 extended-isupport"""
    lines, nick = isupport_lines(session.network.isupport()), session.nick
    if EXTENDED_ISUPPORT in session.caps:
        server = session.names.server
        bodies = [server_line(server, n.RPL_ISUPPORT, (nick, *params)) for params in lines]
        session.own_batch(ISUPPORT_BATCH, (), [(body, []) for body in bodies])
        return
    for params in lines:
        session.numeric(n.RPL_ISUPPORT, *params)


def show_lusers(session: IrcSession) -> None:
    """Counts of this server: its IRC sessions and the channels that they are in."""
    network = session.network
    users, most = len(network.sessions), network.sessions.most
    channels = sum(not channel.direct for channel in network.channels.all())
    session.numeric(n.RPL_LUSERCLIENT, f"There are {users} users and 0 invisible on 1 servers")
    session.numeric(n.RPL_LUSEROP, str(len(network.operators)), "operator(s) online")
    session.numeric(n.RPL_LUSERUNKNOWN, str(network.unregistered), "unknown connection(s)")
    session.numeric(n.RPL_LUSERCHANNELS, str(channels), "channels formed")
    session.numeric(n.RPL_LUSERME, f"I have {users} clients and 1 servers")
    session.numeric(n.RPL_LOCALUSERS, str(users), str(most), f"Current local users {users}, max {most}")
    session.numeric(n.RPL_GLOBALUSERS, str(users), str(most), f"Current global users {users}, max {most}")


def show_motd(session: IrcSession) -> None:
    """RPL_MOTD lines, or ERR_NOMOTD."""
    text = session.accounts.greetings.motd(session.network.options.motd)
    if not text:
        session.numeric(n.ERR_NOMOTD, "MOTD File is missing")
        return
    session.numeric(n.RPL_MOTDSTART, f"- {session.names.server} Message of the day - ")
    for line in text.splitlines():
        session.numeric(n.RPL_MOTD, f"- {line}")
    session.numeric(n.RPL_ENDOFMOTD, "End of /MOTD command.")
