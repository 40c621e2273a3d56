"""HostServ: hosts that stand behind a nick in the place of the server's name, below users.<server>.

Users ask for one, operators give it; who has one shows it or not.  spec: docs/mapping.md 18.4.
"""

from __future__ import annotations

from tripoint.accounts.vhosts import ASKED, ON
from tripoint.core.ids import UserId, server_of
from tripoint.irc import numerics as n
from tripoint.irc.operators import Notice, Privilege
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.render import Outgoing, fitted
from tripoint.irc.services import Request, service_command
from tripoint.irc.session import echo

MAX_SHOWN = 100
_NO_ACCOUNT = "You have no account here; REGISTER with NickServ makes one"


@service_command("HostServ", "REQUEST", "<word>{.<word>}: ask for a host", min_words=1)
async def request_(request: Request) -> None:
    """REQUEST."""
    session = request.session
    if session.account.guest:
        request.say(_NO_ACCOUNT)
        return
    row = session.accounts.vhosts.of(session.user_id)
    if row is not None and row.state != ASKED:
        request.say(f"You have {row.host} already; DROP it to ask for another")
        return
    host = await session.accounts.vhosts.put(session.user_id, request.word(0), ASKED)
    session.network.notify(Notice.OPERATORS, f"{session.nick} asks for the host {host}: /msg HostServ WAITING")
    request.say(f"You have asked for {host}; an operator decides")


@service_command("HostServ", "ON", ": show the host that you were given")
async def on(request: Request) -> None:
    """ON."""
    await _switch(request, on=True)


@service_command("HostServ", "OFF", ": show the server's name in its place")
async def off(request: Request) -> None:
    """OFF."""
    await _switch(request, on=False)


async def _switch(request: Request, *, on: bool) -> None:
    session = request.session
    if not await session.accounts.vhosts.switch(session.user_id, on=on):
        request.say("You were given no host; REQUEST asks for one")
    else:
        request.say(f"You are shown as {session.mask}")


@service_command("HostServ", "DROP", ": give up your host, or what you asked for")
async def drop(request: Request) -> None:
    """DROP."""
    gone = await request.session.accounts.vhosts.drop(request.session.user_id)
    request.say("It is gone" if gone else "You have no host, and asked for none")


@service_command("HostServ", "WAITING", ": who asks for which host", privilege=Privilege.VHOST)
async def waiting(request: Request) -> None:
    """WAITING."""
    rows = request.session.accounts.vhosts.asking()
    for row in rows[:MAX_SHOWN]:
        request.say(f"{request.session.names.nick(row.user_id)} asks for {row.host}")
    request.say(f"End of what is asked for ({len(rows)})")


@service_command("HostServ", "LIST", ": who has which host", privilege=Privilege.VHOST)
async def list_(request: Request) -> None:
    """LIST."""
    rows = request.session.accounts.vhosts.given()
    for user_id, row in list(rows.items())[:MAX_SHOWN]:
        request.say(f"{request.session.names.nick(user_id)} has {row.host} ({row.state})")
    request.say(f"End of hosts ({len(rows)})")


@service_command("HostServ", "ACTIVATE", "<nick>: give what was asked for", min_words=1, privilege=Privilege.VHOST)
async def activate(request: Request) -> None:
    """ACTIVATE."""
    user_id = await _account(request)
    row = request.session.accounts.vhosts.of(user_id)
    if row is None or row.host is None or row.state != ASKED:
        request.say("They ask for none")
        return
    await _give(request, user_id, row.host)


@service_command("HostServ", "REJECT", "<nick> [<reason>]: do not give it", min_words=1, privilege=Privilege.VHOST)
async def reject(request: Request) -> None:
    """REJECT."""
    session, user_id = request.session, await _account(request)
    row = session.accounts.vhosts.of(user_id)
    if row is None or row.state != ASKED:
        request.say("They ask for none")
        return
    await session.accounts.vhosts.drop(user_id)
    reason = " ".join(request.words[1:])
    _tell(request, user_id, f"You do not get {row.host}" + (f": {reason}" if reason else ""))
    request.say(f"{row.host} is not given")


@service_command("HostServ", "SET", "<nick> <word>{.<word>}: give a host", min_words=2, privilege=Privilege.VHOST)
async def set_(request: Request) -> None:
    """SET."""
    await _give(request, await _account(request), request.word(1))


@service_command("HostServ", "DEL", "<nick>: take a host away", min_words=1, privilege=Privilege.VHOST)
async def del_(request: Request) -> None:
    """DEL."""
    user_id = await _account(request)
    row = request.session.accounts.vhosts.of(user_id)
    if row is None or not await request.session.accounts.vhosts.drop(user_id):
        request.say("They have none")
        return
    _tell(request, user_id, f"{row.host} was taken away from you")
    request.say(f"{row.host} is gone")


async def _give(request: Request, user_id: UserId, wish: str) -> None:
    host = await request.session.accounts.vhosts.put(user_id, wish, ON)
    _tell(request, user_id, f"You are shown with the host {host} from now on; OFF hides it")
    request.say(f"{request.session.names.nick(user_id)} has {host}")


async def _account(request: Request) -> UserId:
    """Whose nick this is. Raises IrcRefused(401); only accounts of this server have hosts."""
    session = request.session
    user_id = await session.user_named(request.word(0))
    if server_of(user_id) != session.names.server or session.names.is_our_guest(user_id):
        raise IrcRefused(n.ERR_NOSUCHNICK, echo(request.word(0)), "Hosts are for accounts of this server")
    return user_id


def _tell(request: Request, user_id: UserId, text: str) -> None:
    network, server = request.session.network, request.session.names.server
    for other in network.sessions.of(user_id):
        if other is not request.session:
            head = f":HostServ!HostServ@services.{server} NOTICE {other.nick}"
            other.tell(Outgoing([fitted(head, text)], ts_ms=network.now_ms()))
