"""Messages to everybody on a server, or with a host, that a mask is about: for operators.

They reach whoever is connected on IRC now, are kept nowhere, and are no room's.  spec: RFC2812 3.3.1 (targets).
"""

from __future__ import annotations

from collections.abc import Iterator

from tripoint.irc import numerics as n
from tripoint.irc.operators import Notice, Privilege
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.render import Outgoing, fitted, safe_client_tags
from tripoint.irc.servers import matches
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line


def is_mass(target: str) -> bool:
    """``$$<server mask>`` or ``$#<host mask>``."""
    return target[:2] in ("$$", "$#")


def say_to_all(session: IrcSession, line: Line, target: str) -> None:
    """Say it to all whom the mask meets. Raises IrcRefused: 481, 413, 414."""
    if not session.has(Privilege.MASS):
        raise IrcRefused(n.ERR_NOPRIVILEGES, "Permission Denied- messages to masks are for operators")
    mask = target[2:]
    # spec: RFC2812 3.3.1: "MUST have at least one "." in it and no wildcards following the last "." "
    if "." not in mask:
        raise IrcRefused(n.ERR_NOTOPLEVEL, echo(target), "No toplevel domain specified")
    if set(mask.rpartition(".")[2]) & set("*?"):
        raise IrcRefused(n.ERR_WILDTOPLEVEL, echo(target), "Wildcard in toplevel domain")
    network = session.network
    body = fitted(f":{session.mask} {line.command} {target}", line.params[1])
    who, tags = session.names.who(session.user_id), safe_client_tags(line.tags.items())
    out = Outgoing([body], ts_ms=network.now_ms(), who=who, client_tags=tags)
    for other in _met(session, target[1], mask):
        if other is not session:
            other.tell(out)
        elif "echo-message" in session.caps:
            session.own(out)
    network.notify(Notice.FORCED, f"{session.mask} said to {target}: {line.params[1]}")


def _met(session: IrcSession, kind: str, mask: str) -> Iterator[IrcSession]:
    names = session.names
    for other in session.network.sessions:
        if matches(mask, names.server if kind == "$" else names.username_and_host(other.user_id)[1]):
            yield other
