"""The modes of a user: what a client sets of itself with MODE <nick>, and what of it others see.

``i`` is always on: nobody can list strangers here. ``o`` is given by OPER and can only be taken off; ``Z`` is the
server's word that the connection is secure. They are of one connection; a user is a bot, or an operator, while one of
his is.
spec: RFC2812 3.1.5; Modern IRC "User Modes"; IRCv3 bot-mode; docs/mapping.md 8.7 (R), 18.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tripoint.core.ids import UserId
from tripoint.irc import numerics as n
from tripoint.irc.operators import DEFAULT_NOTICES, Notice, Operator, Privilege, change_notices, operator_of
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import fold
from tripoint.irc.wire import Line
from tripoint.rooms.refusals import Refusal

# What a client sets as it likes: it is a bot; nobody without an account writes to it; it hears WALLOPS.
_FREE = frozenset("BRw")
# What nobody can set by MODE, and what is always on. Asking for it is no mistake, and changes nothing.
_FIXED = frozenset("iZ")


def user_mode(session: IrcSession, line: Line) -> None:
    """MODE <nick> [<modes> [<notices>]]: of oneself alone."""
    if fold(line.params[0]) != fold(session.nick):
        user_id = session.names.user(line.params[0])
        if user_id is None:
            raise IrcRefused(n.ERR_NOSUCHNICK, echo(line.params[0]), Refusal.NO_SUCH_USER.value)
        raise IrcRefused(n.ERR_USERSDONTMATCH, "Cant change mode for other users")
    if not line.param(1):
        session.numeric(n.RPL_UMODEIS, shown(session))
        if session.notices:
            session.numeric(n.RPL_SNOMASK, f"+{session.notices}", "Server notice mask")
        return
    _change(session, line.params[1], line.params[2:])


def shown(session: IrcSession) -> str:
    """All modes of a connection."""
    return "+" + "".join(sorted(session.modes | {"i"}))


def _change(session: IrcSession, wish: str, args: Sequence[str]) -> None:
    before, on, unknown, held = session.modes, True, False, False
    for letter in wish:
        if letter in "+-":
            on = letter == "+"
        elif letter == "s":
            _notices(session, args, on=on)
        elif letter == "o":
            # spec: RFC2812 3.1.5: "the attempt SHOULD be ignored"; taking it off is free.
            if not on:
                set_operator(session, None)
        elif letter in _FREE:
            session.modes = session.modes | {letter} if on else session.modes - {letter}
        elif letter in _FIXED:
            held = held or not on
        else:
            unknown = True
    tell_changed(session, before)
    if unknown:
        raise IrcRefused(n.ERR_UMODEUNKNOWNFLAG, "Unknown MODE flag")
    if held and session.modes == before:
        session.numeric(n.RPL_UMODEIS, shown(session))


def _notices(session: IrcSession, args: Sequence[str], *, on: bool) -> None:
    """+s [<mask>] and -s [<mask>]: what operators hear of the server. Others have nothing to hear."""
    if on and not session.has(Privilege.NOTICES):
        return
    words = args[0] if args else ""
    if on:
        session.notices = change_notices(session.notices, words or DEFAULT_NOTICES)
        if not session.has(Privilege.LOOK):
            # Who comes and goes is told with addresses.
            session.notices = change_notices(session.notices, f"-{Notice.CONNECTIONS.value}")
    else:
        session.notices = change_notices(session.notices, f"-{words.lstrip('-')}") if words else ""
    session.modes = session.modes | {"s"} if session.notices else session.modes - {"s"}
    session.numeric(n.RPL_SNOMASK, f"+{session.notices}", "Server notice mask")


def set_operator(session: IrcSession, operator: Operator | None) -> None:
    """A connection becomes an operator's, or is one no more. The modes are told by `tell_changed`."""
    session.operator = operator
    network = session.network
    if operator is None:
        session.notices = ""
        session.modes = session.modes - {"o", "s"}
        network.operators.pop(session.id, None)
    else:
        session.modes = session.modes | {"o"}
        network.operators[session.id] = session


def reconsider(session: IrcSession, configured: Iterable[Operator]) -> None:
    """The configuration was read again: an operator may do what it says now, or is one no more."""
    before, operator = session.modes, operator_of(session.account, configured)
    if operator is None:
        set_operator(session, None)
    else:
        session.operator = operator
        if not operator.may(Privilege.NOTICES):
            session.notices, session.modes = "", session.modes - {"s"}
        elif not operator.may(Privilege.LOOK):
            session.notices = change_notices(session.notices, f"-{Notice.CONNECTIONS.value}")
    with session.outbox.apart():
        tell_changed(session, before)


def tell_changed(session: IrcSession, before: frozenset[str]) -> None:
    """MODE of what differs from before, to the connection itself; tags of its lines change with it."""
    came, went = sorted(session.modes - before), sorted(before - session.modes)
    if not came and not went:
        return
    words = (f"+{''.join(came)}" if came else "") + (f"-{''.join(went)}" if went else "")
    session.shown(f":{session.mask} MODE {session.nick} :{words}", own=True)
    mark(session, session.user_id)


def mark(session: IrcSession, user_id: UserId) -> None:
    """What tags and WHO say of a user, by what his connections are now."""
    live = session.network.sessions.of(user_id)
    session.names.mark(
        user_id, bot=any("B" in one.modes for one in live), operator=any(one.operator is not None for one in live)
    )
